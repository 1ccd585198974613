//! When a link looks again: its own deadlines, full mailboxes, and the chance in its pauses.

use std::time::Duration;

use actix::prelude::*;

use super::inbox::Delivery;
use super::{FLUSH_MS, LinkActor};
use crate::machine::link::{Input, Jitter};

impl LinkActor {
    pub(super) fn wake(&mut self, ctx: &mut Context<Self>) {
        self.wake = None;
        let now = self.clock.now();
        for session in self.recovery.expire(now) {
            tracing::debug!(link = %self.config.name, %session, "session has not recovered in its time");
        }
        self.admit(now);
        self.step(Input::Tick, ctx);
        self.stop_monitors(ctx);
    }

    /// A timer that fires early costs a turn; one that is moved with every message would cost more.
    pub(super) fn arm_wake(&mut self, ctx: &mut Context<Self>) {
        let deadline = [self.machine.deadline(), self.recovery.deadline()].into_iter().flatten().min();
        let Some(deadline) = deadline else { return };
        match self.wake {
            Some((armed, _)) if armed <= deadline => return,
            Some((_, timer)) => drop(ctx.cancel_future(timer)),
            None => {}
        }
        let wait = Duration::from_millis(deadline.ms_from(self.clock.now()));
        self.wake = Some((deadline, ctx.run_later(wait, Self::wake)));
    }

    pub(super) fn arm_flush(&mut self, ctx: &mut Context<Self>) {
        if self.flush_armed || self.stuck.is_empty() {
            return;
        }
        self.flush_armed = true;
        ctx.run_later(Duration::from_millis(FLUSH_MS), |link, ctx| {
            link.flush_armed = false;
            let Self { stuck, sessions, .. } = link;
            stuck
                .retain(|session| sessions.of_mut(session).is_some_and(|bound| bound.inbox.flush() == Delivery::Stuck));
            link.arm_flush(ctx);
        });
    }

    /// xorshift64; only spreads reconnections.
    pub(super) fn jitter(&mut self) -> Jitter {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        Jitter::from_random(self.chance)
    }
}
