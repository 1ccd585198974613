//! One user's place at its front end: the state behind its lock, and the way in for what arrives.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::core::Core;
use super::front_end::{FlowId, Shared};
use super::history::What;
use super::{UserOptions, Violation};
use crate::sip::{Message, StartLine};

/// Violations kept for each user; the rest is counted.
pub const VIOLATIONS_MAX: usize = 64;

/// Shared by the user's handle and the flows' tasks.
pub(super) struct Seat {
    pub name: Arc<str>,
    pub front_end: Arc<Shared>,
    pub changed: Notify,
    core: Mutex<Core>,
}

/// What must be sent now.
#[derive(Default)]
pub(super) struct Reaction {
    /// On the flow the message came on.
    pub replies: Vec<Message>,
    /// On whichever flow is next.
    pub sends: Vec<Message>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let call_id = self.core().dialog.call_id.clone();
        self.front_end.forget(&call_id);
    }
}

impl Seat {
    pub fn new(front_end: Arc<Shared>, options: UserOptions) -> Arc<Self> {
        let record_route = options.record_route.clone().unwrap_or_else(|| front_end.options.record_route.clone());
        let core = Core::new(options, record_route);
        let call_id = core.dialog.call_id.clone();
        let name = core.options.user.as_str().into();
        let seat = Arc::new(Self { name, front_end, changed: Notify::new(), core: Mutex::new(core) });
        seat.front_end.seat(call_id, &seat);
        seat
    }

    /// Held only for the length of one message, never across an await.
    pub fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one message of this dialog.
    pub fn receive(&self, message: Message, flow: FlowId) -> Reaction {
        let mut reaction = Reaction::default();
        {
            let mut violations = Vec::new();
            let mut core = self.core();
            match &message.start {
                StartLine::Response { status, .. } => {
                    let status = *status;
                    core.response(self, message, status, &mut reaction, &mut violations);
                }
                StartLine::Request { .. } => core.request(self, message, flow, &mut reaction, &mut violations),
            }
            for violation in violations {
                self.report(&mut core, violation);
            }
        }
        self.changed.notify_waiters();
        reaction
    }

    pub fn report(&self, core: &mut Core, violation: Violation) {
        self.front_end.note(&self.name, || What::Violation {
            at_us: self.front_end.origin.at_us(Instant::now()),
            violation: violation.clone(),
        });
        if core.violations.len() < VIOLATIONS_MAX {
            core.violations.push(violation);
        } else {
            core.violations_lost += 1;
        }
    }

    /// The flow ended: requests sent on it will not be answered there.
    pub fn flow_lost(&self, flow: FlowId) {
        self.core().flow_lost(flow);
        self.changed.notify_waiters();
    }
}
