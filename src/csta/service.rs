//! Services: what a computing function asks of a switching function (ECMA-269 §13 to §21).

use serde::{Deserialize, Serialize};

use super::ConnectionId;

/// Children this gateway has no use for are skipped on reading. `line` is Microsoft's `lcs:line` private data: the
/// line URI as the client holds it, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Service {
    RequestSystemStatus {
        line: Option<String>,
    },
    /// The switching function's own report; a PBX sends it, e.g. `normal`.
    SystemStatus {
        system_status: String,
    },
    SystemRegister,
    GetCstaFeatures {
        line: Option<String>,
    },
    MonitorStart {
        object: MonitorObject,
        line: Option<String>,
    },
    MonitorStop {
        xref: String,
    },
    MakeCall {
        calling: String,
        called: String,
        /// `autoOriginate`: `prompt` or `doNotPrompt`.
        auto_originate: Option<String>,
        /// `correlatorData`, hexBinary: our intent id, so that a new owner knows the call again.
        correlator: Option<String>,
    },
    AnswerCall {
        call: ConnectionId,
    },
    ClearConnection {
        connection: ConnectionId,
        reason: Option<String>,
    },
    ClearCall {
        call: ConnectionId,
    },
    HoldCall {
        call: ConnectionId,
    },
    RetrieveCall {
        call: ConnectionId,
    },
    AlternateCall {
        held: ConnectionId,
        active: ConnectionId,
    },
    ReconnectCall {
        active: ConnectionId,
        held: ConnectionId,
    },
    ConsultationCall {
        existing: ConnectionId,
        consulted: String,
        correlator: Option<String>,
    },
    TransferCall {
        held: ConnectionId,
        active: ConnectionId,
    },
    SingleStepTransferCall {
        active: ConnectionId,
        to: String,
    },
    DeflectCall {
        call: ConnectionId,
        to: String,
    },
    ConferenceCall {
        held: ConnectionId,
        active: ConnectionId,
    },
    SingleStepConferenceCall {
        active: ConnectionId,
        join: String,
        participation: Option<String>,
    },
    GenerateDigits {
        connection: ConnectionId,
        characters: String,
    },
    /// A missing `forwardingType` is read as `forwardImmediate`.
    SetForwarding {
        device: String,
        forwarding_type: String,
        activate: bool,
        to: Option<String>,
    },
    GetForwarding {
        device: String,
    },
    SetDoNotDisturb {
        device: String,
        on: bool,
    },
    GetDoNotDisturb {
        device: String,
    },
    SnapshotDevice {
        device: String,
    },
    SnapshotCall {
        call: ConnectionId,
    },
    SetMessageWaitingIndicator {
        device: String,
        on: bool,
    },
    GetMessageWaitingIndicator {
        device: String,
    },
}

/// monitorObject: a device, or one call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MonitorObject {
    Device(String),
    Call(ConnectionId),
}
