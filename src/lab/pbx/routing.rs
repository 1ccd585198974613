//! Where a number leads, and bringing a call there.

use std::sync::Arc;

use super::call::{Connection, Party};
use super::model::{Due, Model, OutsideDoes, Said};
use crate::csta::{DeviceRef, EventBody, LocalState, RedirectionRef};

/// How often a call is forwarded before it is given up.
const FORWARDS_MAX: usize = 8;

/// Where a number leads: over which forwarding devices, and to whom.
pub(super) struct Route {
    pub via: Vec<Arc<str>>,
    pub target: Target,
}

pub(super) enum Target {
    Device(Arc<str>),
    Outside(Arc<str>, OutsideDoes),
    /// Cannot be reached, and why (an ECMA-323 EventCause).
    Unreachable(Party, &'static str),
}

impl Target {
    pub fn party(&self) -> Party {
        match self {
            Self::Device(name) => Party::device(name.clone()),
            Self::Outside(number, _) => Party::outside(number.clone()),
            Self::Unreachable(party, _) => party.clone(),
        }
    }
}

impl Model {
    fn is_busy(&self, name: &str) -> bool {
        let Some(device) = self.devices.get(name) else { return false };
        let taken = |id: &u64| {
            let state = self.call(*id).find(name).map(|connection| connection.state);
            matches!(state, Some(LocalState::Alerting | LocalState::Initiated))
        };
        device.calls.len() >= self.options.calls_per_device_max || device.calls.iter().any(taken)
    }

    pub(super) fn route(&self, to: Arc<str>) -> Route {
        let (mut via, mut to) = (Vec::new(), to);
        while let Some(device) = self.devices.get(&to) {
            let Some(next) = device.forwarded_to() else {
                let party = Party::device(to.clone());
                let target = match (device.do_not_disturb, self.is_busy(&to)) {
                    (true, _) => Target::Unreachable(party, "doNotDisturb"),
                    (false, true) => Target::Unreachable(party, "busy"),
                    (false, false) => Target::Device(to),
                };
                return Route { via, target };
            };
            if via.len() == FORWARDS_MAX {
                return Route { via, target: Target::Unreachable(Party::device(to), "destNotObtainable") };
            }
            via.push(std::mem::replace(&mut to, next.clone()));
        }
        let rule = self.options.outside.iter().find(|rule| to.starts_with(rule.prefix.as_str()));
        let by_default = self.options.outside_answer_after_ms.map_or(OutsideDoes::RingOn, OutsideDoes::AnswerAfterMs);
        let target = match rule.map_or(by_default, |rule| rule.does) {
            OutsideDoes::Busy => Target::Unreachable(Party::outside(to), "busy"),
            OutsideDoes::Unobtainable => Target::Unreachable(Party::outside(to), "destNotObtainable"),
            does => Target::Outside(to, does),
        };
        Route { via, target }
    }

    /// Brings the call to where the route leads: forwarding devices say Diverted, then the target rings or fails.
    pub(super) fn place(&mut self, id: u64, route: Route, cause: &'static str, said: &mut Said) {
        let mut party = route.target.party();
        let mut cause = cause;
        let destinations = route.via.iter().skip(1).chain([&party.name]);
        for (forwarder, next) in route.via.iter().zip(destinations) {
            let call = self.call_mut(id);
            let event = EventBody::Diverted {
                connection: call.connection_id(forwarder),
                diverting: DeviceRef::device(&**forwarder),
                new_destination: DeviceRef::device(&**next),
                calling: Some(call.calling.clone()),
                called: Some(call.called.clone()),
                last_redirection: call.last_redirection.clone(),
                local: Some(LocalState::Null),
                cause: "callForwardImmediate".to_owned(),
            };
            call.last_redirection = RedirectionRef::NumberDialed(forwarder.to_string());
            // A forwarder that is itself in the call (the caller has forwarded his own phone to here) keeps his view.
            if call.find(forwarder).is_none() {
                said.events.push((forwarder.clone(), event));
            }
            cause = "callForwardImmediate";
        }
        let call = self.call(id);
        if call.find(&party.name).is_some() {
            // Forwarded back to somebody who is in the call already: the line they lead to is engaged.
            if let Some(last) = route.via.last() {
                party = Party::device(last.clone());
            }
            return self.fail(id, party, "busy", said);
        }
        match route.target {
            Target::Unreachable(_, cause) => self.fail(id, party, cause, said),
            Target::Device(name) => {
                self.attach(&name, id);
                self.alert(id, party, cause, self.options.ring_timeout_ms, said);
            }
            Target::Outside(_, does) => {
                self.reach_network(id, &party, said);
                let alert = self.alert(id, party, cause, self.options.ring_timeout_ms, said);
                if let OutsideDoes::AnswerAfterMs(after_ms) = does {
                    said.later(after_ms, Due::OutsideAnswers { call: id, alert });
                }
            }
        }
    }

    fn reach_network(&self, id: u64, party: &Party, said: &mut Said) {
        let call = self.call(id);
        said.tell(call, |own| EventBody::NetworkReached {
            connection: call.connection_id(&party.name),
            interface: DeviceRef::NotKnown,
            calling: call.calling.clone(),
            called: call.called.clone(),
            last_redirection: call.last_redirection.clone(),
            local: Some(own.state),
            cause: "normal".to_owned(),
        });
    }

    /// Adds a ringing party; every device in the call, the ringing one too, hears Delivered.
    fn alert(&mut self, id: u64, party: Party, cause: &str, timeout_ms: Option<u64>, said: &mut Said) -> u64 {
        let alert = self.next_alert;
        self.next_alert += 1;
        let (name, alerting) = (party.name.clone(), party.shown());
        let call = self.call_mut(id);
        call.connections.push(Connection { party, state: LocalState::Alerting, alert });
        said.tell(call, |own| EventBody::Delivered {
            connection: call.connection_id(&name),
            alerting: alerting.clone(),
            calling: call.calling.clone(),
            called: call.called.clone(),
            last_redirection: call.last_redirection.clone(),
            local: Some(own.state),
            cause: cause.to_owned(),
        });
        if let Some(after_ms) = timeout_ms {
            said.later(after_ms, Due::RingTimeout { call: id, alert });
        }
        alert
    }

    /// The party stays in the call as a failed connection until the caller hangs up.
    pub(super) fn fail(&mut self, id: u64, party: Party, cause: &str, said: &mut Said) {
        let call = self.call_mut(id);
        let (name, failing) = (party.name.clone(), party.shown());
        if call.find(&name).is_none() {
            call.connections.push(Connection { party, state: LocalState::Fail, alert: 0 });
        }
        said.tell(call, |own| EventBody::Failed {
            connection: call.connection_id(&name),
            failing: failing.clone(),
            calling: call.calling.clone(),
            called: call.called.clone(),
            last_redirection: call.last_redirection.clone(),
            local: Some(own.state),
            cause: cause.to_owned(),
        });
    }
}
