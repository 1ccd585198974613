//! Calls begin: an outside caller rings, a user dials, a service dials for him.

use std::sync::Arc;

use super::call::{Call, Connection, Party, PartyKind};
use super::model::{Applied, At, Due, Model, Said, operation, state};
use super::routing::Target;
use crate::csta::{ConnectionId, DeviceRef, EventBody, Failure, LocalState, Outcome};

impl Model {
    /// Someone outside calls a device; `from: None` withholds the number. The outcome names the caller's connection. A
    /// busy or unwilling device refuses, and there is no call.
    pub fn ring(&mut self, device: &str, from: Option<&str>) -> Applied {
        let mut said = Said::default();
        let outcome = self.ring_in(device, from, &mut said).unwrap_or_else(Outcome::Failed);
        said.applied(outcome)
    }

    fn ring_in(&mut self, device: &str, from: Option<&str>, said: &mut Said) -> Result<Outcome, Failure> {
        let called = self.device_named(device).ok_or_else(|| operation("invalidCalledDeviceID"))?.name.clone();
        let party = match from {
            Some(from) => {
                let from = self.number(from).ok_or_else(|| operation("invalidCallingDeviceID"))?;
                if self.devices.contains_key(&from) {
                    self.may_call(&from, &called)?;
                    return self.originate(&from, &called, None, "newCall", "newCall", said);
                }
                Party::outside(from)
            }
            None => Party { name: format!("T{}", self.next_call).into(), kind: PartyKind::Withheld },
        };
        let route = self.route(called.clone());
        if let Target::Unreachable(_, cause) = route.target {
            return Err(state(if cause == "busy" { "invalidCalledDeviceState" } else { "generic" }));
        }
        if route.target.party().name == party.name {
            return Err(operation("invalidCallingDeviceID"));
        }
        let mut call = self.new_call(party.shown(), DeviceRef::device(&*called), "newCall")?;
        let id = call.id;
        let calling = call.connection_id(&party.name);
        call.connections.push(Connection::connected(party));
        self.calls.insert(id, call);
        self.place(id, route, "newCall", said);
        Ok(Outcome::MakeCall { calling })
    }

    /// The user dials at the phone itself.
    pub fn dial(&mut self, device: &str, to: &str) -> Applied {
        let mut said = Said::default();
        let outcome = match self.may_call(device, to) {
            Ok((from, to)) => self.originate(&from, &to, None, "newCall", "newCall", &mut said),
            Err(failure) => Err(failure),
        };
        said.applied(outcome.unwrap_or_else(Outcome::Failed))
    }

    pub(super) fn make_call(
        &mut self,
        calling: &str,
        called: &str,
        correlator: Option<String>,
        prompts: bool,
        said: &mut Said,
    ) -> Result<Outcome, Failure> {
        let (from, to) = self.may_call(calling, called)?;
        if prompts {
            self.prompt(&from, &to, correlator, said)
        } else {
            self.originate(&from, &to, correlator, "makeCall", "newCall", said)
        }
    }

    /// Checks who calls whom: a device without an active or ringing call, and a number that is not its own.
    fn may_call(&self, calling: &str, called: &str) -> Result<(Arc<str>, Arc<str>), Failure> {
        let device = self.device_named(calling).ok_or_else(|| operation("invalidCallingDeviceID"))?;
        let to = self.number(called).ok_or_else(|| operation("invalidCalledDeviceID"))?;
        if to == device.name {
            return Err(operation("invalidCalledDeviceID"));
        }
        let is_held = |id: &u64| self.call(*id).find(&device.name).is_some_and(|c| c.state == LocalState::Hold);
        if !device.calls.iter().all(is_held) || device.calls.len() > self.options.calls_per_device_max {
            return Err(state("invalidCallingDeviceState"));
        }
        Ok((device.name.clone(), to))
    }

    pub(super) fn room_for_a_call(&self) -> Result<(), Failure> {
        if self.calls.len() < self.options.calls_max {
            return Ok(());
        }
        Err(Failure::SystemResource("resourceLimitExceeded".to_owned()))
    }

    pub(super) fn new_call(
        &mut self,
        calling: DeviceRef,
        called: DeviceRef,
        cause: &'static str,
    ) -> Result<Call, Failure> {
        self.room_for_a_call()?;
        let id = self.next_call;
        self.next_call += 1;
        Ok(Call::new(id, calling, called, cause))
    }

    /// The device goes off hook (`initiated_by` says why), dials, and the call goes its way.
    pub(super) fn originate(
        &mut self,
        from: &Arc<str>,
        to: &Arc<str>,
        correlator: Option<String>,
        initiated_by: &str,
        cause: &'static str,
        said: &mut Said,
    ) -> Result<Outcome, Failure> {
        let at = self.off_hook(from, to, correlator, initiated_by, cause, said)?;
        self.originated(&at, to.clone(), said);
        Ok(self.outcome_of(&at))
    }

    /// The phone asks its user to lift the handset; the call waits for it.
    fn prompt(
        &mut self,
        from: &Arc<str>,
        to: &Arc<str>,
        correlator: Option<String>,
        said: &mut Said,
    ) -> Result<Outcome, Failure> {
        let at = self.off_hook(from, to, correlator, "makeCall", "newCall", said)?;
        let alert = self.next_alert;
        self.next_alert += 1;
        let call = self.call_mut(at.call);
        call.prompted_to = Some(to.clone());
        call.connections[0].alert = alert;
        if let Some(after_ms) = self.options.ring_timeout_ms {
            said.later(after_ms, Due::RingTimeout { call: at.call, alert });
        }
        Ok(self.outcome_of(&at))
    }

    fn outcome_of(&self, at: &At) -> Outcome {
        Outcome::MakeCall { calling: ConnectionId::new(at.call.to_string(), &*at.name) }
    }

    fn off_hook(
        &mut self,
        from: &Arc<str>,
        to: &str,
        correlator: Option<String>,
        initiated_by: &str,
        cause: &'static str,
        said: &mut Said,
    ) -> Result<At, Failure> {
        let mut call = self.new_call(DeviceRef::device(&**from), DeviceRef::device(to), cause)?;
        call.correlator = correlator;
        let own = Connection { party: Party::device(from.clone()), state: LocalState::Initiated, alert: 0 };
        call.connections.push(own);
        said.tell(&call, |own| EventBody::ServiceInitiated {
            connection: call.connection_id(from),
            device: DeviceRef::device(&**from),
            local: Some(own.state),
            cause: initiated_by.to_owned(),
        });
        let at = At { call: call.id, name: from.clone() };
        self.calls.insert(call.id, call);
        self.attach(from, at.call);
        Ok(at)
    }

    pub(super) fn originated(&mut self, at: &At, to: Arc<str>, said: &mut Said) {
        self.set_state(at, LocalState::Connected);
        let call = self.call(at.call);
        said.tell(call, |own| EventBody::Originated {
            connection: call.connection_id(&at.name),
            calling: call.calling.clone(),
            called: call.called.clone(),
            local: Some(own.state),
            cause: call.cause.to_owned(),
        });
        let (route, cause) = (self.route(to), call.cause);
        self.place(at.call, route, cause, said);
    }
}
