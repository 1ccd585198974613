//! Calls go on and end: answering, holding, clearing, and what happens by itself.

use super::call::{Connection, Party};
use super::model::{Applied, At, Due, Model, Said, state};
use crate::csta::{ConnectionId, DeviceRef, EventBody, Failure, LocalState, Outcome};

impl Model {
    /// Answers a ringing call, holding the active one first; a prompted call is dialled.
    pub(super) fn answer(&mut self, at: &At, said: &mut Said) -> Result<(), Failure> {
        match self.state(at) {
            LocalState::Initiated => {
                let to = self.call_mut(at.call).prompted_to.take().ok_or_else(|| state("noCallToAnswer"))?;
                self.originated(at, to, said);
                return Ok(());
            }
            LocalState::Alerting => {}
            _ => return Err(state("noCallToAnswer")),
        }
        if let Some(active) = self.active_call(&at.name) {
            self.hold(&At { call: active, name: at.name.clone() }, "normal", said);
        }
        self.set_state(at, LocalState::Connected);
        let call = self.call(at.call);
        let answering = call.find(&at.name).map(|own| own.party.shown()).unwrap_or_default();
        said.tell(call, |own| EventBody::Established {
            connection: call.connection_id(&at.name),
            answering: answering.clone(),
            calling: call.calling.clone(),
            called: call.called.clone(),
            last_redirection: call.last_redirection.clone(),
            local: Some(own.state),
            cause: call.cause.to_owned(),
        });
        Ok(())
    }

    pub(super) fn hold(&mut self, at: &At, cause: &str, said: &mut Said) {
        self.set_state(at, LocalState::Hold);
        let call = self.call(at.call);
        said.tell(call, |own| EventBody::Held {
            connection: call.connection_id(&at.name),
            holding: DeviceRef::device(&*at.name),
            local: Some(own.state),
            cause: cause.to_owned(),
        });
    }

    pub(super) fn retrieve(&mut self, at: &At, cause: &str, said: &mut Said) {
        self.set_state(at, LocalState::Connected);
        let call = self.call(at.call);
        said.tell(call, |own| EventBody::Retrieved {
            connection: call.connection_id(&at.name),
            retrieving: DeviceRef::device(&*at.name),
            local: Some(own.state),
            cause: cause.to_owned(),
        });
    }

    /// One party leaves. When nobody is left to talk, the call ends for all.
    pub(super) fn clear(&mut self, at: &At, cause: &str, said: &mut Said) {
        let call = self.call_mut(at.call);
        let Some(index) = call.connections.iter().position(|c| c.party.name == at.name) else { return };
        let gone = call.connections.remove(index);
        let is_over = call.is_over();
        if let Some(heir) = call.connections.first().filter(|_| call.calling == gone.party.shown()) {
            // Who is rung later must be told somebody who is there.
            call.calling = heir.party.shown();
        }
        let cleared = |party: &Party, local: LocalState, cause: &str| EventBody::ConnectionCleared {
            connection: ConnectionId::new(at.call.to_string(), &*party.name),
            releasing: party.shown(),
            local: Some(local),
            cause: cause.to_owned(),
        };
        if gone.is_at_device() {
            said.events.push((gone.party.name.clone(), cleared(&gone.party, LocalState::Null, cause)));
        }
        for own in call.devices() {
            let gave_up = is_over && own.state == LocalState::Alerting && cause == "normalClearing";
            let cause = if gave_up { "callCancelled" } else { cause };
            said.events.push((own.party.name.clone(), cleared(&gone.party, own.state, cause)));
            if is_over {
                said.events.push((own.party.name.clone(), cleared(&own.party, LocalState::Null, cause)));
            }
        }
        self.detach(&gone.party.name, at.call);
        if is_over {
            self.forget(at.call);
        } else {
            self.leave_outside(at.call, said);
        }
    }

    /// Everybody leaves, the asking party first.
    pub(super) fn clear_call(&mut self, at: &At, said: &mut Said) {
        self.clear(at, "normalClearing", said);
        while let Some(next) = self.calls.get(&at.call).and_then(|call| call.connections.first()) {
            let next = At { call: at.call, name: next.party.name.clone() };
            self.clear(&next, "normalClearing", said);
        }
    }

    /// Drops the call from the book and from its devices.
    pub(super) fn forget(&mut self, id: u64) {
        let Some(call) = self.calls.remove(&id) else { return };
        for connection in &call.connections {
            self.detach(&connection.party.name, id);
        }
    }

    /// A call that has lost its last device ends by itself after a while.
    pub(super) fn leave_outside(&mut self, id: u64, said: &mut Said) {
        if self.call(id).devices().next().is_none() {
            said.later(self.options.trunk_to_trunk_ms, Due::OutsideLeaves { call: id });
        }
    }

    /// What happens by itself, if it still can. The outcome says nothing.
    pub fn due(&mut self, what: &Due) -> Applied {
        let mut said = Said::default();
        match *what {
            Due::OutsideAnswers { call, alert } => {
                if let Some(at) = self.ringing(call, alert) {
                    // Only a party that still rings is found, so the answer is never refused.
                    let _ = self.answer(&at, &mut said);
                }
            }
            Due::RingTimeout { call, alert } => {
                if let Some(at) = self.ringing(call, alert) {
                    self.ring_out(&at, &mut said);
                }
            }
            Due::OutsideLeaves { call } => {
                if self.calls.get(&call).is_some_and(|call| call.devices().next().is_none()) {
                    self.forget(call);
                }
            }
        }
        said.applied(Outcome::SystemStatus)
    }

    /// Whether [`Model::due`] would still do something; what would not may be thrown away early.
    pub fn is_still_due(&self, what: &Due) -> bool {
        match *what {
            Due::OutsideAnswers { call, alert } | Due::RingTimeout { call, alert } => {
                self.ringing(call, alert).is_some()
            }
            Due::OutsideLeaves { call } => self.calls.contains_key(&call),
        }
    }

    fn ringing(&self, call: u64, alert: u64) -> Option<At> {
        let found = self.calls.get(&call)?.connections.iter().find(|c| c.alert == alert)?;
        let waits = matches!(found.state, LocalState::Alerting | LocalState::Initiated);
        waits.then(|| At { call, name: found.party.name.clone() })
    }

    /// Nobody answered: a caller at one of our devices hears a tone until he hangs up; any other caller just goes.
    fn ring_out(&mut self, at: &At, said: &mut Said) {
        let call = self.call_mut(at.call);
        let has_waiting_caller = call.connections.len() == 2 && call.others(&at.name).any(Connection::is_at_device);
        if !has_waiting_caller {
            return self.clear(at, "callNotAnswered", said);
        }
        let connection = call.connection_id(&at.name);
        let Some(own) = call.find_mut(&at.name) else { return };
        let party = own.party.clone();
        if own.is_at_device() {
            let event = EventBody::ConnectionCleared {
                connection,
                releasing: party.shown(),
                local: Some(LocalState::Null),
                cause: "callNotAnswered".to_owned(),
            };
            said.events.push((party.name.clone(), event));
        }
        own.state = LocalState::Fail;
        self.detach(&at.name, at.call);
        self.fail(at.call, party, "callNotAnswered", said);
    }
}
