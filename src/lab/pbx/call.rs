//! A call and its connections.

use std::sync::Arc;

use crate::csta::{ConnectionId, ConnectionListItem, DeviceRef, LocalState, RedirectionRef};

/// Who takes part. The name is also the deviceID of the party's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    pub name: Arc<str>,
    pub kind: PartyKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartyKind {
    /// One of our extensions.
    Device,
    /// Somebody beyond the trunks.
    Outside,
    /// Somebody beyond the trunks who withholds the number; the name is a trunk's.
    Withheld,
}

impl Party {
    pub fn device(name: Arc<str>) -> Self {
        Self { name, kind: PartyKind::Device }
    }

    pub fn outside(name: Arc<str>) -> Self {
        Self { name, kind: PartyKind::Outside }
    }

    pub fn shown(&self) -> DeviceRef {
        match self.kind {
            PartyKind::Withheld => DeviceRef::Restricted,
            PartyKind::Device | PartyKind::Outside => DeviceRef::device(&*self.name),
        }
    }
}

/// A call as one party has it. `Fail` marks a party that could not be reached: the caller hears a tone, the party
/// itself knows nothing of the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    pub party: Party,
    pub state: LocalState,
    /// Which ringing this is; timers name it, so that an old timer cannot end a new ringing. 0: never rang.
    pub alert: u64,
}

impl Connection {
    pub fn connected(party: Party) -> Self {
        Self { party, state: LocalState::Connected, alert: 0 }
    }

    /// Whether this is one of our devices, and it knows of the call.
    pub fn is_at_device(&self) -> bool {
        self.party.kind == PartyKind::Device && self.is_alive()
    }

    pub fn is_alive(&self) -> bool {
        self.state != LocalState::Fail
    }
}

/// One call. `cause` is what Originated, Delivered and Established say unless something else happened on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub id: u64,
    pub calling: DeviceRef,
    pub called: DeviceRef,
    pub last_redirection: RedirectionRef,
    pub correlator: Option<String>,
    pub cause: &'static str,
    /// Where a prompted call goes once the user lifts the handset.
    pub prompted_to: Option<Arc<str>>,
    pub connections: Vec<Connection>,
}

impl Call {
    pub fn new(id: u64, calling: DeviceRef, called: DeviceRef, cause: &'static str) -> Self {
        Self {
            id,
            calling,
            called,
            last_redirection: RedirectionRef::NotRequired,
            correlator: None,
            cause,
            prompted_to: None,
            connections: Vec::with_capacity(2),
        }
    }

    pub fn connection_id(&self, name: &str) -> ConnectionId {
        ConnectionId::new(self.id.to_string(), name)
    }

    pub fn find(&self, name: &str) -> Option<&Connection> {
        self.connections.iter().find(|connection| &*connection.party.name == name)
    }

    pub fn find_mut(&mut self, name: &str) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|connection| &*connection.party.name == name)
    }

    pub fn others<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Connection> {
        self.connections.iter().filter(move |connection| &*connection.party.name != name)
    }

    pub fn devices(&self) -> impl Iterator<Item = &Connection> {
        self.connections.iter().filter(|connection| connection.is_at_device())
    }

    /// Whether nobody is left who could talk: fewer than two living parties, or all of them only ringing.
    pub fn is_over(&self) -> bool {
        let talks = |c: &Connection| matches!(c.state, LocalState::Connected | LocalState::Hold);
        self.connections.iter().filter(|c| c.is_alive()).count() < 2 || !self.connections.iter().any(talks)
    }

    /// Every party of this call as a row of transferredConnections; `old` tells which call it came from.
    pub fn rows(&self, old: impl Fn(&Connection) -> Option<u64>) -> Vec<ConnectionListItem> {
        let row = |connection: &Connection| ConnectionListItem {
            new: Some(self.connection_id(&connection.party.name)),
            old: old(connection).map(|id| ConnectionId::new(id.to_string(), &*connection.party.name)),
            endpoint: Some(connection.party.shown()),
        };
        self.connections.iter().map(row).collect()
    }
}
