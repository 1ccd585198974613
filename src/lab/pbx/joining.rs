//! Calls meet and part: consultation, transfer, deflection, conference.

use std::sync::Arc;

use super::call::{Call, Connection};
use super::model::{At, Model, Said, operation, state};
use super::routing::{Route, Target};
use crate::csta::{ConnectionId, DeviceRef, EventBody, Failure, LocalState, Outcome, RedirectionRef};

impl Model {
    /// Holds the call and dials another party (ECMA-269, Consultation Call).
    pub(super) fn consult(
        &mut self,
        at: &At,
        consulted: &str,
        correlator: Option<String>,
        said: &mut Said,
    ) -> Result<Outcome, Failure> {
        self.require(at, LocalState::Connected, "invalidActiveConnectionState")?;
        let device = self.devices.get(&at.name).ok_or_else(|| operation("invalidConnectionID"))?;
        let to =
            self.number(consulted).filter(|to| *to != at.name).ok_or_else(|| operation("invalidCalledDeviceID"))?;
        if device.calls.len() > self.options.calls_per_device_max {
            return Err(state("invalidDeviceState"));
        }
        self.room_for_a_call()?;
        self.hold(at, "consultation", said);
        match self.originate(&at.name, &to, correlator, "consultation", "consultation", said)? {
            Outcome::MakeCall { calling } => Ok(Outcome::ConsultationCall { initiated: calling }),
            other => Ok(other),
        }
    }

    /// The held call's parties join the active one, whose id stays; the transferring device leaves both.
    pub(super) fn transfer(&mut self, held: &At, active: &At, said: &mut Said) -> Result<Outcome, Failure> {
        self.may_join(held, active, &[LocalState::Connected, LocalState::Hold, LocalState::Alerting])?;
        let (from, moved, transferred_to) = self.join(held, active);
        let mine = from.connection_id(&held.name);
        let call = self.call_mut(active.call);
        let gone = call.connections.iter().position(|c| c.party.name == active.name);
        let me = call.connections.remove(gone.expect("the active connection was found")).party.shown();
        let heir = moved.first().map(|c| c.party.shown()).unwrap_or_default();
        if call.calling == me {
            call.calling = heir;
        } else if call.called == me {
            call.called = heir;
        }
        let call = self.call(active.call);
        let rows = call.rows(|c| Some(if moved.contains(c) { held.call } else { active.call }));
        let event =
            |primary: ConnectionId, secondary: Option<ConnectionId>, local: LocalState| EventBody::Transferred {
                primary,
                secondary,
                transferring: me.clone(),
                transferred_to: transferred_to.clone(),
                connections: rows.clone(),
                local: Some(local),
                cause: "transfer".to_owned(),
            };
        let second = call.connection_id(&active.name);
        said.events.push((active.name.clone(), event(mine.clone(), Some(second.clone()), LocalState::Null)));
        said.tell(call, |own| event(if moved.contains(own) { mine.clone() } else { second.clone() }, None, own.state));
        let transferred = call.connection_id(transferred_to.as_device().unwrap_or_default());
        self.detach(&active.name, active.call);
        self.leave_outside(active.call, said);
        Ok(Outcome::TransferCall { transferred, connections: rows })
    }

    /// Both calls become one conference under the active call's id.
    pub(super) fn conference(&mut self, held: &At, active: &At, said: &mut Said) -> Result<Outcome, Failure> {
        self.may_join(held, active, &[LocalState::Connected, LocalState::Hold])?;
        let parties = self.call(held.call).connections.len() + self.call(active.call).connections.len() - 1;
        self.room_for_parties(parties)?;
        let (from, moved, added) = self.join(held, active);
        let call = self.call(active.call);
        let rows = call.rows(|c| Some(if moved.contains(c) { held.call } else { active.call }));
        let (first, second) = (from.connection_id(&held.name), call.connection_id(&active.name));
        said.tell(call, |own| {
            let is_mine = own.party.name == active.name;
            let primary = if is_mine || moved.contains(own) { first.clone() } else { second.clone() };
            EventBody::Conferenced {
                primary,
                secondary: is_mine.then(|| second.clone()),
                conferencing: DeviceRef::device(&*active.name),
                added: added.clone(),
                connections: rows.clone(),
                local: Some(own.state),
                cause: "conference".to_owned(),
            }
        });
        Ok(Outcome::ConferenceCall { conference: second, connections: rows })
    }

    /// Two calls may be joined when they share nobody but the joining device and everybody can be talked to.
    fn may_join(&self, held: &At, active: &At, far: &[LocalState]) -> Result<(), Failure> {
        let (first, second) = (self.call(held.call), self.call(active.call));
        if first.others(&held.name).any(|c| second.find(&c.party.name).is_some()) {
            return Err(operation("requestIncompatibleWithConnection"));
        }
        let talks = |c: &Connection| matches!(c.state, LocalState::Connected | LocalState::Hold);
        if !first.others(&held.name).all(talks) {
            return Err(state("invalidHeldConnectionState"));
        }
        if !second.others(&active.name).all(|c| far.contains(&c.state)) {
            return Err(state("invalidActiveConnectionState"));
        }
        self.room_for_parties(first.connections.len() + second.connections.len() - 2)
    }

    /// Moves the held call's other parties to the active one and drops the held call. Gives the old call, the moved
    /// connections, and the active call's first far party.
    fn join(&mut self, held: &At, active: &At) -> (Call, Vec<Connection>, DeviceRef) {
        let from = self.call(held.call).clone();
        let far = self.call(active.call).others(&active.name).next().map(|c| c.party.shown()).unwrap_or_default();
        let moved: Vec<Connection> = from.others(&held.name).cloned().collect();
        self.forget(held.call);
        let call = self.call_mut(active.call);
        call.connections.splice(0..0, moved.iter().cloned());
        for connection in moved.iter().filter(|c| c.is_at_device()) {
            self.attach(&connection.party.name, active.call);
        }
        (from, moved, far)
    }

    /// The far party goes to a new call that rings the destination (ECMA-269, Single Step Transfer Call). Calls of two
    /// parties only, and the destination has to be reachable.
    pub(super) fn single_step_transfer(&mut self, at: &At, to: &str, said: &mut Said) -> Result<Outcome, Failure> {
        self.require_device(at)?;
        self.require(at, LocalState::Connected, "invalidActiveConnectionState")?;
        let call = self.call(at.call);
        let [far] = call.others(&at.name).collect::<Vec<_>>()[..] else {
            return Err(operation("requestIncompatibleWithConnection"));
        };
        if !matches!(far.state, LocalState::Connected | LocalState::Hold) {
            return Err(state("invalidActiveConnectionState"));
        }
        let (to, route) = self.reachable(to, call)?;
        let far = far.clone();
        let old = call.clone();
        let mut new = self.new_call(far.party.shown(), DeviceRef::device(&*to), "newCall")?;
        new.connections.push(far.clone());
        let (id, target) = (new.id, route.target.party());
        let mut rows = new.rows(|_| Some(old.id));
        let transferred = new.connection_id(&target.name);
        rows.push(crate::csta::ConnectionListItem {
            new: Some(transferred.clone()),
            old: None,
            endpoint: Some(target.shown()),
        });
        self.forget(old.id);
        self.calls.insert(id, new);
        if far.is_at_device() {
            self.attach(&far.party.name, id);
        }
        let event = |local: LocalState| EventBody::Transferred {
            primary: old.connection_id(&at.name),
            secondary: None,
            transferring: DeviceRef::device(&*at.name),
            transferred_to: DeviceRef::device(&*to),
            connections: rows.clone(),
            local: Some(local),
            cause: "singleStepTransfer".to_owned(),
        };
        said.events.push((at.name.clone(), event(LocalState::Null)));
        said.tell(self.call(id), |own| event(own.state));
        self.place(id, route, "transfer", said);
        self.leave_outside(id, said);
        Ok(Outcome::SingleStepTransferCall { transferred, connections: rows })
    }

    /// A ringing device sends its call elsewhere; the call id stays.
    pub(super) fn deflect(&mut self, at: &At, to: &str, said: &mut Said) -> Result<(), Failure> {
        self.require_device(at)?;
        self.require(at, LocalState::Alerting, "invalidConnectionState")?;
        let call = self.call(at.call);
        if call.connections.len() > 2 {
            return Err(operation("requestIncompatibleWithConnection"));
        }
        let (to, route) = self.reachable(to, call)?;
        let call = self.call_mut(at.call);
        let event = |local: LocalState| EventBody::Diverted {
            connection: ConnectionId::new(at.call.to_string(), &*at.name),
            diverting: DeviceRef::device(&*at.name),
            new_destination: DeviceRef::device(&*to),
            calling: Some(call.calling.clone()),
            called: Some(call.called.clone()),
            last_redirection: call.last_redirection.clone(),
            local: Some(local),
            cause: "redirected".to_owned(),
        };
        said.events.push((at.name.clone(), event(LocalState::Null)));
        for own in call.devices().filter(|own| own.party.name != at.name) {
            said.events.push((own.party.name.clone(), event(own.state)));
        }
        call.connections.retain(|c| c.party.name != at.name);
        call.last_redirection = RedirectionRef::NumberDialed(at.name.to_string());
        self.detach(&at.name, at.call);
        self.place(at.call, route, "redirected", said);
        self.leave_outside(at.call, said);
        Ok(())
    }

    /// Rings one more party into a call; it takes part once it answers.
    pub(super) fn single_step_conference(
        &mut self,
        at: &At,
        join: &str,
        participation: Option<&str>,
        said: &mut Said,
    ) -> Result<Outcome, Failure> {
        self.require_device(at)?;
        self.require(at, LocalState::Connected, "invalidActiveConnectionState")?;
        let call = self.call(at.call);
        self.room_for_parties(call.connections.len() + 1)?;
        if call.others(&at.name).any(|c| !matches!(c.state, LocalState::Connected | LocalState::Hold)) {
            return Err(state("invalidActiveConnectionState"));
        }
        let (_, route) = self.reachable(join, call)?;
        let joined = route.target.party();
        let mut rows = call.rows(|_| Some(at.call));
        let conferenced = call.connection_id(&joined.name);
        rows.push(crate::csta::ConnectionListItem {
            new: Some(conferenced.clone()),
            old: None,
            endpoint: Some(joined.shown()),
        });
        let cause = if participation == Some("silent") { "silentParticipation" } else { "activeParticipation" };
        let event = |local: LocalState| EventBody::Conferenced {
            primary: call.connection_id(&at.name),
            secondary: None,
            conferencing: DeviceRef::device(&*at.name),
            added: joined.shown(),
            connections: rows.clone(),
            local: Some(local),
            cause: cause.to_owned(),
        };
        said.tell(call, |own| event(own.state));
        if matches!(route.target, Target::Device(_)) {
            said.events.push((joined.name.clone(), event(LocalState::Alerting)));
        }
        self.place(at.call, route, "conference", said);
        Ok(Outcome::SingleStepConferenceCall { conferenced })
    }

    /// A destination for a redirected call: a number that leads to somebody who can be rung and is not in the call.
    fn reachable(&self, to: &str, call: &Call) -> Result<(Arc<str>, Route), Failure> {
        let to = self.number(to).ok_or_else(|| operation("invalidDestination"))?;
        if call.find(&to).is_some() {
            return Err(operation("invalidDestination"));
        }
        let route = self.route(to.clone());
        if matches!(route.target, Target::Unreachable(..)) {
            return Err(state("invalidCalledDeviceState"));
        }
        if call.find(&route.target.party().name).is_some() {
            return Err(operation("invalidDestination"));
        }
        Ok((to, route))
    }

    fn room_for_parties(&self, parties: usize) -> Result<(), Failure> {
        if parties <= self.options.conference_parties_max {
            return Ok(());
        }
        Err(Failure::SystemResource("conferenceMemberLimitExceeded".to_owned()))
    }
}
