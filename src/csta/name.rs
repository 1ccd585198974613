//! Root element names.

use super::{EventBody, Outcome, Service};

impl Service {
    /// The root element's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RequestSystemStatus { .. } => "RequestSystemStatus",
            Self::SystemStatus { .. } => "SystemStatus",
            Self::SystemRegister => "SystemRegister",
            Self::GetCstaFeatures { .. } => "GetCSTAFeatures",
            Self::MonitorStart { .. } => "MonitorStart",
            Self::MonitorStop { .. } => "MonitorStop",
            Self::MakeCall { .. } => "MakeCall",
            Self::AnswerCall { .. } => "AnswerCall",
            Self::ClearConnection { .. } => "ClearConnection",
            Self::ClearCall { .. } => "ClearCall",
            Self::HoldCall { .. } => "HoldCall",
            Self::RetrieveCall { .. } => "RetrieveCall",
            Self::AlternateCall { .. } => "AlternateCall",
            Self::ReconnectCall { .. } => "ReconnectCall",
            Self::ConsultationCall { .. } => "ConsultationCall",
            Self::TransferCall { .. } => "TransferCall",
            Self::SingleStepTransferCall { .. } => "SingleStepTransferCall",
            Self::DeflectCall { .. } => "DeflectCall",
            Self::ConferenceCall { .. } => "ConferenceCall",
            Self::SingleStepConferenceCall { .. } => "SingleStepConferenceCall",
            Self::GenerateDigits { .. } => "GenerateDigits",
            Self::SetForwarding { .. } => "SetForwarding",
            Self::GetForwarding { .. } => "GetForwarding",
            Self::SetDoNotDisturb { .. } => "SetDoNotDisturb",
            Self::GetDoNotDisturb { .. } => "GetDoNotDisturb",
            Self::SnapshotDevice { .. } => "SnapshotDevice",
            Self::SnapshotCall { .. } => "SnapshotCall",
            Self::SetMessageWaitingIndicator { .. } => "SetMessageWaitingIndicator",
            Self::GetMessageWaitingIndicator { .. } => "GetMessageWaitingIndicator",
        }
    }
}

impl Outcome {
    /// The root element's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RequestSystemStatus { .. } => "RequestSystemStatusResponse",
            Self::SystemStatus => "SystemStatusResponse",
            Self::SystemRegister { .. } => "SystemRegisterResponse",
            Self::GetCstaFeatures { .. } => "GetCSTAFeaturesResponse",
            Self::MonitorStart { .. } => "MonitorStartResponse",
            Self::MonitorStop => "MonitorStopResponse",
            Self::MakeCall { .. } => "MakeCallResponse",
            Self::AnswerCall => "AnswerCallResponse",
            Self::ClearConnection => "ClearConnectionResponse",
            Self::ClearCall => "ClearCallResponse",
            Self::HoldCall => "HoldCallResponse",
            Self::RetrieveCall => "RetrieveCallResponse",
            Self::AlternateCall => "AlternateCallResponse",
            Self::ReconnectCall => "ReconnectCallResponse",
            Self::ConsultationCall { .. } => "ConsultationCallResponse",
            Self::TransferCall { .. } => "TransferCallResponse",
            Self::SingleStepTransferCall { .. } => "SingleStepTransferCallResponse",
            Self::DeflectCall => "DeflectCallResponse",
            Self::ConferenceCall { .. } => "ConferenceCallResponse",
            Self::SingleStepConferenceCall { .. } => "SingleStepConferenceCallResponse",
            Self::GenerateDigits => "GenerateDigitsResponse",
            Self::SetForwarding => "SetForwardingResponse",
            Self::GetForwarding { .. } => "GetForwardingResponse",
            Self::SetDoNotDisturb => "SetDoNotDisturbResponse",
            Self::GetDoNotDisturb { .. } => "GetDoNotDisturbResponse",
            Self::SnapshotDevice { .. } => "SnapshotDeviceResponse",
            Self::SnapshotCall { .. } => "SnapshotCallResponse",
            Self::SetMessageWaitingIndicator => "SetMessageWaitingIndicatorResponse",
            Self::GetMessageWaitingIndicator { .. } => "GetMessageWaitingIndicatorResponse",
            Self::Failed(_) => "CSTAErrorCode",
        }
    }
}

impl EventBody {
    /// The root element's name; [`EventBody::MonitorStopped`] shares its root with a service.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ServiceInitiated { .. } => "ServiceInitiatedEvent",
            Self::Originated { .. } => "OriginatedEvent",
            Self::DigitsDialed { .. } => "DigitsDialedEvent",
            Self::NetworkReached { .. } => "NetworkReachedEvent",
            Self::Delivered { .. } => "DeliveredEvent",
            Self::Offered { .. } => "OfferedEvent",
            Self::Established { .. } => "EstablishedEvent",
            Self::Held { .. } => "HeldEvent",
            Self::Retrieved { .. } => "RetrievedEvent",
            Self::ConnectionCleared { .. } => "ConnectionClearedEvent",
            Self::CallCleared { .. } => "CallClearedEvent",
            Self::Transferred { .. } => "TransferedEvent",
            Self::Conferenced { .. } => "ConferencedEvent",
            Self::Diverted { .. } => "DivertedEvent",
            Self::Failed { .. } => "FailedEvent",
            Self::Queued { .. } => "QueuedEvent",
            Self::Bridged { .. } => "BridgedEvent",
            Self::CallInformation { .. } => "CallInformationEvent",
            Self::DigitsGenerated { .. } => "DigitsGeneratedEvent",
            Self::Forwarding { .. } => "ForwardingEvent",
            Self::DoNotDisturb { .. } => "DoNotDisturbEvent",
            Self::MessageWaiting { .. } => "MessageWaitingEvent",
            Self::BackInService { .. } => "BackInServiceEvent",
            Self::OutOfService { .. } => "OutOfServiceEvent",
            Self::MonitorStopped => "MonitorStop",
        }
    }
}
