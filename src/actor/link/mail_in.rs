//! What each piece of mail makes the link do.

use actix::prelude::*;

use super::connection::{Arrived, Ended, Opened};
use super::{AskStatus, DrainLink, LinkActor, LinkStatus, Owner, StartLink};
use crate::actor::mail::{Bind, FromLink, HasCalls, Invoke, Recovered, Unbind};
use crate::csta::{MonitorObject, Outcome, Service};
use crate::machine::link::{Input, LinkState};

impl Handler<Bind> for LinkActor {
    type Result = ();

    fn handle(&mut self, bind: Bind, ctx: &mut Self::Context) {
        let Bind { session, inbox, has_calls } = bind;
        self.sessions.bind(session.clone(), inbox, has_calls);
        if self.machine.state() == LinkState::Up {
            self.recovery.wait(session, has_calls);
            self.admit(self.clock.now());
        } else {
            self.deliver(&session, FromLink::Down);
        }
        self.after_step(ctx);
    }
}

impl Handler<Unbind> for LinkActor {
    type Result = ();

    fn handle(&mut self, Unbind { session }: Unbind, ctx: &mut Self::Context) {
        for pending in self.asks.values_mut() {
            if matches!(&pending.owner, Owner::Session { session: owner, .. } if *owner == session) {
                pending.owner = Owner::Nobody;
            }
        }
        self.recovery.leave(&session);
        self.stuck.remove(&session);
        self.to_stop.extend(self.sessions.unbind(&session));
        self.stop_monitors(ctx);
        self.admit(self.clock.now());
        self.after_step(ctx);
    }
}

impl Handler<HasCalls> for LinkActor {
    type Result = ();

    fn handle(&mut self, HasCalls { session, has_calls }: HasCalls, _: &mut Self::Context) {
        if let Some(bound) = self.sessions.of_mut(&session) {
            bound.has_calls = has_calls;
            self.recovery.has_calls(&session, has_calls);
        }
    }
}

impl Handler<Recovered> for LinkActor {
    type Result = ();

    fn handle(&mut self, Recovered { session }: Recovered, ctx: &mut Self::Context) {
        self.recovery.recovered(&session);
        self.to_stop.extend(self.sessions.drop_inherited(&session));
        self.stop_monitors(ctx);
        self.admit(self.clock.now());
        self.after_step(ctx);
    }
}

impl Handler<Invoke> for LinkActor {
    type Result = ();

    fn handle(&mut self, invoke: Invoke, ctx: &mut Self::Context) {
        let Invoke { session, ask, service, deadline_ms } = invoke;
        if !self.sessions.is_bound(&session) {
            return tracing::debug!(link = %self.config.name, %session, "a session asks that is not bound");
        }
        if self.machine.state() == LinkState::Up
            && let Service::MonitorStart { object: MonitorObject::Device(device), .. } = &service
            && let Some(xref) = self.sessions.take_up(&session, device)
        {
            let result = Ok(Outcome::MonitorStart { xref, existing_calls: None });
            self.deliver(&session, FromLink::Settled { ask, result });
            return self.after_step(ctx);
        }
        self.ask(Owner::Session { session, ask }, service, deadline_ms, ctx);
    }
}

impl Handler<AskStatus> for LinkActor {
    type Result = LinkStatus;

    fn handle(&mut self, _: AskStatus, _: &mut Self::Context) -> LinkStatus {
        let now = self.clock.now();
        LinkStatus {
            name: self.config.name.clone(),
            address: self.config.address().to_string(),
            state: self.machine.state().name(),
            generation: self.machine.generation(),
            last_error: self.machine.last_trouble().map(ToString::to_string),
            next_try_in_ms: self.machine.next_try().map(|next_try| next_try.ms_from(now)),
            sessions: self.sessions.len(),
            monitors: self.sessions.monitors(),
            recovering: self.recovery.recovering(),
            waiting: self.recovery.waiting(),
            outstanding: self.machine.outstanding(),
            heartbeat_rtt_ms: self.machine.heartbeat_rtt_ms(),
            stray_events: self.stray_events,
            missed_events: self.missed_events,
        }
    }
}

impl Handler<DrainLink> for LinkActor {
    type Result = ();

    fn handle(&mut self, _: DrainLink, ctx: &mut Self::Context) {
        self.step(Input::Drain, ctx);
    }
}

impl Handler<StartLink> for LinkActor {
    type Result = ();

    fn handle(&mut self, _: StartLink, ctx: &mut Self::Context) {
        self.step(Input::Start, ctx);
    }
}

impl Handler<Opened> for LinkActor {
    type Result = ();

    fn handle(&mut self, Opened { generation }: Opened, ctx: &mut Self::Context) {
        self.step(Input::Connected { generation }, ctx);
    }
}

impl Handler<Arrived> for LinkActor {
    type Result = ();

    fn handle(&mut self, Arrived { generation, bytes }: Arrived, ctx: &mut Self::Context) {
        self.arrived(generation, &bytes, ctx);
    }
}

impl Handler<Ended> for LinkActor {
    type Result = ();

    fn handle(&mut self, Ended { generation, trouble }: Ended, ctx: &mut Self::Context) {
        self.step(Input::Closed { generation, trouble }, ctx);
    }
}
