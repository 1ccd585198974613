//! A device's calls as its events tell them: what a client that only listens believes.

use std::collections::BTreeMap;

use crate::csta::{CallInSnapshot, ConnectionId, ConnectionListItem, DeviceRef, EventBody, LocalState};

/// Fold of one device's events over an empty view. It must always equal the device's snapshot; where the two differ,
/// either the PBX or somebody between has lost, doubled or reordered an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceView {
    device: String,
    calls: BTreeMap<String, CallView>,
}

/// One call: the own state, and the other parties with their states as far as events have told them. A party that
/// withholds its number is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallView {
    pub own: LocalState,
    pub parties: BTreeMap<String, Option<LocalState>>,
}

impl DeviceView {
    pub fn new(device: impl Into<String>) -> Self {
        Self { device: device.into(), calls: BTreeMap::new() }
    }

    pub fn calls(&self) -> &BTreeMap<String, CallView> {
        &self.calls
    }

    /// Whether the snapshot tells the same: the same calls, the same own states, and no far state that contradicts.
    pub fn matches(&self, snapshot: &[CallInSnapshot]) -> bool {
        self.calls.len() == snapshot.len()
            && snapshot.iter().all(|seen| {
                let Some(call) = self.calls.get(&seen.connection.call) else { return false };
                let mut far = seen.states.get(1..).unwrap_or_default().to_vec();
                let known = call.parties.values().flatten().all(|state| {
                    far.iter().position(|seen| seen == state).map(|index| far.swap_remove(index)).is_some()
                });
                known && seen.states.first() == Some(&call.own) && call.parties.len() < seen.states.len()
            })
    }

    pub fn apply(&mut self, event: &EventBody) {
        use LocalState::{Alerting, Connected, Fail, Hold};
        match event {
            EventBody::ServiceInitiated { connection, local, .. } | EventBody::Originated { connection, local, .. } => {
                self.own(connection, *local);
            }
            EventBody::Delivered { connection, calling, local, .. } => {
                self.party(connection, Alerting, *local);
                if connection.device == self.device {
                    self.know(connection, calling);
                }
            }
            EventBody::Established { connection, calling, local, .. } => {
                self.party(connection, Connected, *local);
                if connection.device == self.device {
                    self.know(connection, calling);
                }
            }
            EventBody::Retrieved { connection, local, .. } => self.party(connection, Connected, *local),
            EventBody::Held { connection, local, .. } => self.party(connection, Hold, *local),
            EventBody::Failed { connection, local, .. } => self.party(connection, Fail, *local),
            EventBody::ConnectionCleared { connection, local, .. } | EventBody::Diverted { connection, local, .. } => {
                self.leave(connection, *local);
            }
            EventBody::CallCleared { call, .. } => {
                self.calls.remove(&call.call);
            }
            EventBody::Transferred { primary, secondary, connections, local, .. }
            | EventBody::Conferenced { primary, secondary, connections, local, .. } => {
                self.join(primary, secondary.as_ref(), connections, *local);
            }
            _ => {}
        }
    }

    fn call(&mut self, id: &str) -> &mut CallView {
        let nothing = || CallView { own: LocalState::Null, parties: BTreeMap::new() };
        self.calls.entry(id.to_owned()).or_insert_with(nothing)
    }

    fn own(&mut self, connection: &ConnectionId, local: Option<LocalState>) {
        if let Some(local) = local {
            self.call(&connection.call).own = local;
        }
    }

    fn party(&mut self, connection: &ConnectionId, state: LocalState, local: Option<LocalState>) {
        self.own(connection, local);
        if connection.device != self.device {
            self.call(&connection.call).parties.insert(connection.device.clone(), Some(state));
        }
    }

    fn know(&mut self, connection: &ConnectionId, calling: &DeviceRef) {
        if let Some(calling) = calling.as_device().filter(|calling| *calling != self.device) {
            let calling = calling.to_owned();
            self.call(&connection.call).parties.entry(calling).or_insert(None);
        }
    }

    fn leave(&mut self, connection: &ConnectionId, local: Option<LocalState>) {
        if connection.device == self.device || local == Some(LocalState::Null) {
            self.calls.remove(&connection.call);
        } else if let Some(call) = self.calls.get_mut(&connection.call) {
            call.parties.remove(&connection.device);
            self.own(connection, local);
        }
    }

    fn join(
        &mut self,
        primary: &ConnectionId,
        secondary: Option<&ConnectionId>,
        rows: &[ConnectionListItem],
        local: Option<LocalState>,
    ) {
        let ids = [Some(primary), secondary];
        let before: BTreeMap<String, CallView> =
            ids.into_iter().flatten().filter_map(|id| self.calls.remove_entry(&id.call)).collect();
        let Some(own) = local.filter(|local| *local != LocalState::Null) else { return };
        let mine = rows.iter().filter_map(|row| row.new.as_ref()).find(|new| new.device == self.device);
        let Some(mine) = mine else { return };
        let far = rows.iter().filter(|row| !matches!(row.endpoint, Some(DeviceRef::Restricted)));
        let far = far.filter_map(|row| {
            let new = row.new.as_ref().filter(|new| new.device != self.device)?;
            let old = row.old.as_ref();
            let known = old.and_then(|old| before.get(&old.call)?.parties.get(&old.device).copied().flatten());
            Some((new.device.clone(), known))
        });
        let parties = far.collect();
        self.calls.insert(mine.call.clone(), CallView { own, parties });
    }
}
