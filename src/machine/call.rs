//! The calls of one device, folded from events: what somebody who saw exactly these events believes (ECMA-269 §6.1).
//!
//! The gateway keeps two of these per session while calls live: the PBX's truth and the client's view. The fold is the
//! definition both share, so that [`super::reconcile`] can promise to move one to the other.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::csta::{ConnectionId, ConnectionListItem, DeviceRef, EventBody, LocalState};

/// Calls one device may have at once; further ones are not tracked.
pub const CALLS_MAX: usize = 32;
/// Parties tracked in one call.
pub const PARTIES_MAX: usize = 32;

/// One call as the own device sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The own connection: never `Null`, a cleared call is removed.
    pub local: LocalState,
    pub calling: DeviceRef,
    pub called: DeviceRef,
    /// The other parties by device id, never the own device.
    pub parties: BTreeMap<String, LocalState>,
}

impl Call {
    pub fn new(local: LocalState) -> Self {
        Self { local, calling: DeviceRef::NotKnown, called: DeviceRef::NotKnown, parties: BTreeMap::new() }
    }
}

/// Calls by call id.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Calls(pub BTreeMap<String, Call>);

impl Calls {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, call: &str) -> bool {
        self.0.contains_key(call)
    }

    /// Folds one event in. `own` is the monitored device as the events write it.
    pub fn apply(&mut self, own: &str, event: &EventBody) {
        match event {
            EventBody::ServiceInitiated { connection, local, .. } => {
                self.own_moves(connection, (*local).or(Some(LocalState::Initiated)));
            }
            EventBody::Originated { connection, calling, called, local, .. } => {
                if let Some(call) = self.own_moves(connection, (*local).or(Some(LocalState::Connected))) {
                    call.calling = calling.clone();
                    call.called = called.clone();
                }
            }
            EventBody::DigitsDialed { connection, local, .. } => {
                self.own_moves(connection, *local);
            }
            EventBody::NetworkReached { connection, calling, called, local, .. } => {
                self.moves(own, connection, LocalState::Alerting, *local, calling, called);
            }
            EventBody::Delivered { connection, calling, called, local, .. }
            | EventBody::Offered { connection, calling, called, local, .. } => {
                self.moves(own, connection, LocalState::Alerting, *local, calling, called);
            }
            EventBody::Established { connection, calling, called, local, .. } => {
                self.moves(own, connection, LocalState::Connected, *local, calling, called);
            }
            EventBody::Failed { connection, calling, called, local, .. } => {
                self.moves(own, connection, LocalState::Fail, *local, calling, called);
            }
            EventBody::Queued { connection, calling, called, local, .. } => {
                self.moves(own, connection, LocalState::Queued, *local, calling, called);
            }
            EventBody::Held { connection, local, .. } => self.party_moves(own, connection, LocalState::Hold, *local),
            EventBody::Retrieved { connection, local, .. } => {
                self.party_moves(own, connection, LocalState::Connected, *local);
            }
            EventBody::ConnectionCleared { connection, local, .. } => {
                self.party_moves(own, connection, LocalState::Null, *local);
            }
            EventBody::Diverted { connection, local, .. } => {
                self.party_moves(own, connection, LocalState::Null, *local);
            }
            EventBody::CallCleared { call, .. } => {
                self.0.remove(&call.call);
            }
            EventBody::Transferred { primary, secondary, connections, local, .. } => {
                self.joined(own, primary, secondary.as_ref(), connections, *local);
            }
            EventBody::Conferenced { primary, secondary, connections, local, .. } => {
                self.joined(own, primary, secondary.as_ref(), connections, *local);
            }
            EventBody::Bridged { .. }
            | EventBody::CallInformation { .. }
            | EventBody::DigitsGenerated { .. }
            | EventBody::Forwarding { .. }
            | EventBody::DoNotDisturb { .. }
            | EventBody::MessageWaiting { .. }
            | EventBody::BackInService { .. }
            | EventBody::OutOfService { .. }
            | EventBody::MonitorStopped => {}
        }
    }

    /// The own connection takes a state; a call not known yet begins.
    fn own_moves(&mut self, connection: &ConnectionId, local: Option<LocalState>) -> Option<&mut Call> {
        if local == Some(LocalState::Null) {
            self.0.remove(&connection.call);
            return None;
        }
        if !self.0.contains_key(&connection.call) && self.0.len() >= CALLS_MAX {
            return None;
        }
        let call = self.0.entry(connection.call.clone()).or_insert_with(|| Call::new(LocalState::Initiated));
        if let Some(local) = local {
            call.local = local;
        }
        Some(call)
    }

    /// An event that names caller and called: the connection in it takes `state`.
    fn moves(
        &mut self,
        own: &str,
        connection: &ConnectionId,
        state: LocalState,
        local: Option<LocalState>,
        calling: &DeviceRef,
        called: &DeviceRef,
    ) {
        let is_own = connection.device == own;
        let was_there = self.0.contains_key(&connection.call);
        // A far event without localConnectionInfo about a call we do not know: the least we can believe is that we are in it.
        let local = local.or(match (is_own, was_there) {
            (true, _) => Some(state),
            (false, true) => None,
            (false, false) => Some(LocalState::Connected),
        });
        let Some(call) = self.own_moves(connection, local) else { return };
        call.calling = calling.clone();
        call.called = called.clone();
        if is_own {
            // Whoever calls us is in the call.
            if let Some(caller) = calling.as_device().filter(|caller| *caller != own) {
                insert_party(call, caller, LocalState::Connected, false);
            }
        } else if !connection.device.is_empty() {
            insert_party(call, &connection.device, state, true);
        }
    }

    /// An event about one connection of a call that exists.
    fn party_moves(&mut self, own: &str, connection: &ConnectionId, state: LocalState, local: Option<LocalState>) {
        let Some(call) = self.0.get_mut(&connection.call) else { return };
        if connection.device == own {
            call.local = local.unwrap_or(state);
        } else {
            match state {
                LocalState::Null => {
                    call.parties.remove(&connection.device);
                }
                state => insert_party(call, &connection.device, state, true),
            }
            if let Some(local) = local {
                call.local = local;
            }
        }
        if call.local == LocalState::Null {
            self.0.remove(&connection.call);
        }
    }

    /// Transfer and conference: old calls end, and unless we left (`local` is null) one call goes on with the listed
    /// parties (ECMA-269, Transferred and Conferenced).
    fn joined(
        &mut self,
        own: &str,
        primary: &ConnectionId,
        secondary: Option<&ConnectionId>,
        connections: &[ConnectionListItem],
        local: Option<LocalState>,
    ) {
        let first = self.0.remove(&primary.call);
        let second = secondary.and_then(|old| self.0.remove(&old.call));
        let Some(mut call) = first.or(second) else { return };
        call.local = local.unwrap_or(call.local);
        if call.local == LocalState::Null {
            return;
        }
        let id = connections
            .iter()
            .find_map(|item| item.new.as_ref().map(|new| new.call.clone()))
            .or_else(|| secondary.map(|old| old.call.clone()))
            .unwrap_or_else(|| primary.call.clone());
        let listed = connections.iter().filter_map(|item| item.new.as_ref()).map(|new| new.device.as_str());
        let parties: BTreeMap<String, LocalState> = listed
            .filter(|device| *device != own && !device.is_empty())
            .map(|device| (device.to_owned(), call.parties.get(device).copied().unwrap_or(LocalState::Connected)))
            .take(PARTIES_MAX)
            .collect();
        if !parties.is_empty() {
            call.parties = parties;
        }
        if self.0.len() < CALLS_MAX {
            self.0.insert(id, call);
        }
    }
}

fn insert_party(call: &mut Call, device: &str, state: LocalState, replace: bool) {
    let has_room = call.parties.len() < PARTIES_MAX;
    match call.parties.get_mut(device) {
        Some(known) if replace => *known = state,
        Some(_) => {}
        None if has_room => {
            call.parties.insert(device.to_owned(), state);
        }
        None => {}
    }
}
