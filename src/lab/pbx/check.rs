//! What must hold of the model after every step.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::call::PartyKind;
use super::model::Model;
use crate::csta::LocalState;

/// A broken invariant: a bug in the model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Inconsistent {
    #[error("call {0} has nobody who could talk or is being asked to")]
    Dead(u64),
    #[error("call {0} has {1} twice")]
    Twice(u64, Arc<str>),
    #[error("call {0}: {1} is {2:?}")]
    IllegalState(u64, Arc<str>, LocalState),
    #[error("call {0} and device {1} disagree on whether they belong together")]
    Unattached(u64, Arc<str>),
    #[error("device {0} has two active calls")]
    TwoActive(Arc<str>),
    #[error("more than the {0} calls allowed")]
    TooManyCalls(usize),
}

impl Model {
    pub fn check(&self) -> Result<(), Inconsistent> {
        if self.calls.len() > self.options.calls_max {
            return Err(Inconsistent::TooManyCalls(self.options.calls_max));
        }
        for call in self.calls.values() {
            let mut names = BTreeSet::new();
            for connection in &call.connections {
                let name = &connection.party.name;
                if !names.insert(name) {
                    return Err(Inconsistent::Twice(call.id, name.clone()));
                }
                if !is_legal(connection.state) || (connection.state == LocalState::Alerting && connection.alert == 0) {
                    return Err(Inconsistent::IllegalState(call.id, name.clone(), connection.state));
                }
                let is_listed = self.devices.get(name).is_some_and(|device| device.calls.contains(&call.id));
                if is_listed != connection.is_at_device() {
                    return Err(Inconsistent::Unattached(call.id, name.clone()));
                }
                if connection.party.kind == PartyKind::Device && !self.devices.contains_key(name) {
                    return Err(Inconsistent::Unattached(call.id, name.clone()));
                }
            }
            let lives = |state| matches!(state, LocalState::Connected | LocalState::Hold | LocalState::Initiated);
            if !call.connections.iter().any(|c| lives(c.state)) {
                return Err(Inconsistent::Dead(call.id));
            }
        }
        for device in self.devices.values() {
            let mut active = 0;
            for id in &device.calls {
                let own = self.calls.get(id).and_then(|call| call.find(&device.name));
                let own = own.ok_or_else(|| Inconsistent::Unattached(*id, device.name.clone()))?;
                active += usize::from(matches!(own.state, LocalState::Connected | LocalState::Initiated));
            }
            if active > 1 {
                return Err(Inconsistent::TwoActive(device.name.clone()));
            }
        }
        Ok(())
    }
}

fn is_legal(state: LocalState) -> bool {
    !matches!(state, LocalState::Null | LocalState::Queued)
}
