//! Events: what a monitor reports (ECMA-269 §17.2 and its kin).

use serde::{Deserialize, Serialize};

use super::{ConnectionId, ConnectionListItem, DeviceRef, LocalState, RedirectionRef};

/// `xref` is `monitorCrossRefID`, always the first child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub xref: String,
    pub body: EventBody,
}

/// `local` is `localConnectionInfo`: the state of the monitored device's own connection; `None` when the switch left
/// it out. `cause` is an ECMA-323 EventCause; empty when missing on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventBody {
    ServiceInitiated {
        connection: ConnectionId,
        device: DeviceRef,
        local: Option<LocalState>,
        cause: String,
    },
    Originated {
        connection: ConnectionId,
        calling: DeviceRef,
        called: DeviceRef,
        local: Option<LocalState>,
        cause: String,
    },
    DigitsDialed {
        connection: ConnectionId,
        device: DeviceRef,
        digits: String,
        local: Option<LocalState>,
        cause: String,
    },
    NetworkReached {
        connection: ConnectionId,
        interface: DeviceRef,
        calling: DeviceRef,
        called: DeviceRef,
        last_redirection: RedirectionRef,
        local: Option<LocalState>,
        cause: String,
    },
    Delivered {
        connection: ConnectionId,
        alerting: DeviceRef,
        calling: DeviceRef,
        called: DeviceRef,
        last_redirection: RedirectionRef,
        local: Option<LocalState>,
        cause: String,
    },
    Offered {
        connection: ConnectionId,
        offered: DeviceRef,
        calling: DeviceRef,
        called: DeviceRef,
        last_redirection: RedirectionRef,
        local: Option<LocalState>,
        cause: String,
    },
    Established {
        connection: ConnectionId,
        answering: DeviceRef,
        calling: DeviceRef,
        called: DeviceRef,
        last_redirection: RedirectionRef,
        local: Option<LocalState>,
        cause: String,
    },
    Held {
        connection: ConnectionId,
        holding: DeviceRef,
        local: Option<LocalState>,
        cause: String,
    },
    Retrieved {
        connection: ConnectionId,
        retrieving: DeviceRef,
        local: Option<LocalState>,
        cause: String,
    },
    ConnectionCleared {
        connection: ConnectionId,
        releasing: DeviceRef,
        local: Option<LocalState>,
        cause: String,
    },
    CallCleared {
        call: ConnectionId,
        cause: String,
    },
    /// `TransferedEvent` on the wire, with one r.
    Transferred {
        primary: ConnectionId,
        secondary: Option<ConnectionId>,
        transferring: DeviceRef,
        transferred_to: DeviceRef,
        connections: Vec<ConnectionListItem>,
        local: Option<LocalState>,
        cause: String,
    },
    Conferenced {
        primary: ConnectionId,
        secondary: Option<ConnectionId>,
        conferencing: DeviceRef,
        added: DeviceRef,
        connections: Vec<ConnectionListItem>,
        local: Option<LocalState>,
        cause: String,
    },
    Diverted {
        connection: ConnectionId,
        diverting: DeviceRef,
        new_destination: DeviceRef,
        calling: Option<DeviceRef>,
        called: Option<DeviceRef>,
        last_redirection: RedirectionRef,
        local: Option<LocalState>,
        cause: String,
    },
    Failed {
        connection: ConnectionId,
        failing: DeviceRef,
        calling: DeviceRef,
        called: DeviceRef,
        last_redirection: RedirectionRef,
        local: Option<LocalState>,
        cause: String,
    },
    Queued {
        connection: ConnectionId,
        queue: DeviceRef,
        calling: DeviceRef,
        called: DeviceRef,
        last_redirection: RedirectionRef,
        number_queued: Option<u32>,
        local: Option<LocalState>,
        cause: String,
    },
    Bridged {
        connection: ConnectionId,
        appearance: DeviceRef,
        local: Option<LocalState>,
        cause: String,
    },
    CallInformation {
        connection: ConnectionId,
        device: DeviceRef,
        calling: Option<DeviceRef>,
    },
    DigitsGenerated {
        connection: ConnectionId,
        digits: String,
    },
    Forwarding {
        device: DeviceRef,
        forwarding_type: String,
        on: bool,
        to: Option<String>,
    },
    DoNotDisturb {
        device: DeviceRef,
        on: bool,
    },
    MessageWaiting {
        device: DeviceRef,
        on: bool,
    },
    BackInService {
        device: DeviceRef,
        cause: Option<String>,
    },
    OutOfService {
        device: DeviceRef,
        cause: Option<String>,
    },
    /// MonitorStop sent by the switching function: this monitor is gone.
    MonitorStopped,
}
