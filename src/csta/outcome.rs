//! Outcomes: what answers a service (ECMA-269: positive and negative acknowledgement).

use serde::{Deserialize, Serialize};

use super::{ConnectionId, ConnectionListItem, DeviceRef, Failure, Features, LocalState};

/// One outcome for each [`super::Service`], and the refusal. What a gateway never sends nor needs is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// `system_status` is one of ECMA-323's systemStatus values, e.g. `normal`.
    RequestSystemStatus {
        system_status: String,
    },
    SystemStatus,
    SystemRegister {
        register_id: String,
    },
    GetCstaFeatures {
        features: Features,
    },
    MonitorStart {
        xref: String,
        existing_calls: Option<bool>,
    },
    MonitorStop,
    /// `calling` is a connection: the new call's id and our device.
    MakeCall {
        calling: ConnectionId,
    },
    AnswerCall,
    ClearConnection,
    ClearCall,
    HoldCall,
    RetrieveCall,
    AlternateCall,
    ReconnectCall,
    ConsultationCall {
        initiated: ConnectionId,
    },
    TransferCall {
        transferred: ConnectionId,
        connections: Vec<ConnectionListItem>,
    },
    SingleStepTransferCall {
        transferred: ConnectionId,
        connections: Vec<ConnectionListItem>,
    },
    DeflectCall,
    ConferenceCall {
        conference: ConnectionId,
        connections: Vec<ConnectionListItem>,
    },
    SingleStepConferenceCall {
        conferenced: ConnectionId,
    },
    GenerateDigits,
    SetForwarding,
    GetForwarding {
        list: Vec<ForwardItem>,
    },
    SetDoNotDisturb,
    GetDoNotDisturb {
        on: bool,
    },
    /// `service_xref` instead of data: some switches answer so and send the data later, or never.
    SnapshotDevice {
        calls: Vec<CallInSnapshot>,
        service_xref: Option<String>,
    },
    SnapshotCall {
        parties: Vec<PartyInSnapshot>,
        calling: Option<DeviceRef>,
        called: Option<DeviceRef>,
        /// hexBinary in XML, bytes' hex kept as text here.
        correlator: Option<String>,
    },
    SetMessageWaitingIndicator,
    GetMessageWaitingIndicator {
        on: Option<bool>,
    },
    /// CSTAErrorCode.
    Failed(Failure),
}

/// snapshotDeviceResponseInfo: one call at the device. The own state first, then the other parties'.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallInSnapshot {
    pub connection: ConnectionId,
    /// `compoundCallState`; `simpleCallState` is read into its compound equivalent.
    pub states: Vec<LocalState>,
}

/// snapshotCallResponseInfo: one party of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartyInSnapshot {
    pub device: DeviceRef,
    pub connection: ConnectionId,
    pub state: Option<LocalState>,
}

/// forwardListItem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardItem {
    pub forwarding_type: String,
    pub on: bool,
    pub to: Option<String>,
}
