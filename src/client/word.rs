//! The names of services, outcomes and events, and what an event is about.

use crate::csta::{ConnectionId, EventBody, LocalState, Outcome, Service};

pub(super) fn event(body: &EventBody) -> &'static str {
    match body {
        EventBody::ServiceInitiated { .. } => "ServiceInitiated",
        EventBody::Originated { .. } => "Originated",
        EventBody::DigitsDialed { .. } => "DigitsDialed",
        EventBody::NetworkReached { .. } => "NetworkReached",
        EventBody::Delivered { .. } => "Delivered",
        EventBody::Offered { .. } => "Offered",
        EventBody::Established { .. } => "Established",
        EventBody::Held { .. } => "Held",
        EventBody::Retrieved { .. } => "Retrieved",
        EventBody::ConnectionCleared { .. } => "ConnectionCleared",
        EventBody::CallCleared { .. } => "CallCleared",
        EventBody::Transferred { .. } => "Transfered",
        EventBody::Conferenced { .. } => "Conferenced",
        EventBody::Diverted { .. } => "Diverted",
        EventBody::Failed { .. } => "Failed",
        EventBody::Queued { .. } => "Queued",
        EventBody::Bridged { .. } => "Bridged",
        EventBody::CallInformation { .. } => "CallInformation",
        EventBody::DigitsGenerated { .. } => "DigitsGenerated",
        EventBody::Forwarding { .. } => "Forwarding",
        EventBody::DoNotDisturb { .. } => "DoNotDisturb",
        EventBody::MessageWaiting { .. } => "MessageWaiting",
        EventBody::BackInService { .. } => "BackInService",
        EventBody::OutOfService { .. } => "OutOfService",
        EventBody::MonitorStopped => "MonitorStop",
    }
}

/// The connection whose state changed (ECMA-269's rule), and what became of our own.
pub(super) fn subject(body: &EventBody) -> Option<(&ConnectionId, Option<LocalState>)> {
    match body {
        EventBody::ServiceInitiated { connection, local, .. }
        | EventBody::Originated { connection, local, .. }
        | EventBody::DigitsDialed { connection, local, .. }
        | EventBody::NetworkReached { connection, local, .. }
        | EventBody::Delivered { connection, local, .. }
        | EventBody::Offered { connection, local, .. }
        | EventBody::Established { connection, local, .. }
        | EventBody::Held { connection, local, .. }
        | EventBody::Retrieved { connection, local, .. }
        | EventBody::ConnectionCleared { connection, local, .. }
        | EventBody::Diverted { connection, local, .. }
        | EventBody::Failed { connection, local, .. }
        | EventBody::Queued { connection, local, .. }
        | EventBody::Bridged { connection, local, .. }
        | EventBody::Transferred { primary: connection, local, .. }
        | EventBody::Conferenced { primary: connection, local, .. } => Some((connection, *local)),
        EventBody::CallCleared { call, .. } => Some((call, None)),
        EventBody::CallInformation { connection, .. } | EventBody::DigitsGenerated { connection, .. } => {
            Some((connection, None))
        }
        EventBody::Forwarding { .. }
        | EventBody::DoNotDisturb { .. }
        | EventBody::MessageWaiting { .. }
        | EventBody::BackInService { .. }
        | EventBody::OutOfService { .. }
        | EventBody::MonitorStopped => None,
    }
}

/// How far a call is set up; 0 for events that may come at any time.
pub(super) fn set_up_rank(body: &EventBody) -> u8 {
    match body {
        EventBody::ServiceInitiated { .. } => 1,
        EventBody::Originated { .. } => 2,
        EventBody::NetworkReached { .. } => 3,
        EventBody::Delivered { .. } | EventBody::Offered { .. } => 4,
        EventBody::Established { .. } => 5,
        _ => 0,
    }
}

/// Causes for which a phone rings in a call that was set up before (ECMA-269 EventCause).
pub(super) fn rings_again(body: &EventBody) -> bool {
    let (EventBody::Delivered { cause, .. }
    | EventBody::Offered { cause, .. }
    | EventBody::NetworkReached { cause, .. }) = body
    else {
        return false;
    };
    cause.starts_with("recall")
        || cause.starts_with("callForward")
        || matches!(cause.as_str(), "transfer" | "singleStepTransfer" | "redirected" | "distributed" | "conference")
}

pub(super) fn may_repeat(body: &EventBody) -> bool {
    matches!(
        body,
        EventBody::CallInformation { .. } | EventBody::DigitsGenerated { .. } | EventBody::DigitsDialed { .. }
    )
}

pub(super) fn service(service: &Service) -> &'static str {
    match service {
        Service::RequestSystemStatus { .. } => "RequestSystemStatus",
        Service::SystemStatus { .. } => "SystemStatus",
        Service::SystemRegister => "SystemRegister",
        Service::GetCstaFeatures { .. } => "GetCSTAFeatures",
        Service::MonitorStart { .. } => "MonitorStart",
        Service::MonitorStop { .. } => "MonitorStop",
        Service::MakeCall { .. } => "MakeCall",
        Service::AnswerCall { .. } => "AnswerCall",
        Service::ClearConnection { .. } => "ClearConnection",
        Service::ClearCall { .. } => "ClearCall",
        Service::HoldCall { .. } => "HoldCall",
        Service::RetrieveCall { .. } => "RetrieveCall",
        Service::AlternateCall { .. } => "AlternateCall",
        Service::ReconnectCall { .. } => "ReconnectCall",
        Service::ConsultationCall { .. } => "ConsultationCall",
        Service::TransferCall { .. } => "TransferCall",
        Service::SingleStepTransferCall { .. } => "SingleStepTransferCall",
        Service::DeflectCall { .. } => "DeflectCall",
        Service::ConferenceCall { .. } => "ConferenceCall",
        Service::SingleStepConferenceCall { .. } => "SingleStepConferenceCall",
        Service::GenerateDigits { .. } => "GenerateDigits",
        Service::SetForwarding { .. } => "SetForwarding",
        Service::GetForwarding { .. } => "GetForwarding",
        Service::SetDoNotDisturb { .. } => "SetDoNotDisturb",
        Service::GetDoNotDisturb { .. } => "GetDoNotDisturb",
        Service::SnapshotDevice { .. } => "SnapshotDevice",
        Service::SnapshotCall { .. } => "SnapshotCall",
        Service::SetMessageWaitingIndicator { .. } => "SetMessageWaitingIndicator",
        Service::GetMessageWaitingIndicator { .. } => "GetMessageWaitingIndicator",
    }
}

/// The service an outcome answers; `Failed` answers any.
pub(super) fn outcome(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::RequestSystemStatus { .. } => "RequestSystemStatus",
        Outcome::SystemStatus => "SystemStatus",
        Outcome::SystemRegister { .. } => "SystemRegister",
        Outcome::GetCstaFeatures { .. } => "GetCSTAFeatures",
        Outcome::MonitorStart { .. } => "MonitorStart",
        Outcome::MonitorStop => "MonitorStop",
        Outcome::MakeCall { .. } => "MakeCall",
        Outcome::AnswerCall => "AnswerCall",
        Outcome::ClearConnection => "ClearConnection",
        Outcome::ClearCall => "ClearCall",
        Outcome::HoldCall => "HoldCall",
        Outcome::RetrieveCall => "RetrieveCall",
        Outcome::AlternateCall => "AlternateCall",
        Outcome::ReconnectCall => "ReconnectCall",
        Outcome::ConsultationCall { .. } => "ConsultationCall",
        Outcome::TransferCall { .. } => "TransferCall",
        Outcome::SingleStepTransferCall { .. } => "SingleStepTransferCall",
        Outcome::DeflectCall => "DeflectCall",
        Outcome::ConferenceCall { .. } => "ConferenceCall",
        Outcome::SingleStepConferenceCall { .. } => "SingleStepConferenceCall",
        Outcome::GenerateDigits => "GenerateDigits",
        Outcome::SetForwarding => "SetForwarding",
        Outcome::GetForwarding { .. } => "GetForwarding",
        Outcome::SetDoNotDisturb => "SetDoNotDisturb",
        Outcome::GetDoNotDisturb { .. } => "GetDoNotDisturb",
        Outcome::SnapshotDevice { .. } => "SnapshotDevice",
        Outcome::SnapshotCall { .. } => "SnapshotCall",
        Outcome::SetMessageWaitingIndicator => "SetMessageWaitingIndicator",
        Outcome::GetMessageWaitingIndicator { .. } => "GetMessageWaitingIndicator",
        Outcome::Failed(_) => "CSTAErrorCode",
    }
}

/// What a service is aimed at: the number dialled, or else the call.
pub(super) fn target(service: &Service) -> Option<String> {
    match service {
        Service::MakeCall { called: number, .. }
        | Service::ConsultationCall { consulted: number, .. }
        | Service::SingleStepTransferCall { to: number, .. }
        | Service::DeflectCall { to: number, .. }
        | Service::SingleStepConferenceCall { join: number, .. } => Some(number.clone()),
        Service::AnswerCall { call }
        | Service::ClearConnection { connection: call, .. }
        | Service::ClearCall { call }
        | Service::HoldCall { call }
        | Service::RetrieveCall { call }
        | Service::AlternateCall { active: call, .. }
        | Service::ReconnectCall { active: call, .. }
        | Service::TransferCall { active: call, .. }
        | Service::ConferenceCall { active: call, .. }
        | Service::GenerateDigits { connection: call, .. }
        | Service::SnapshotCall { call } => Some(call.call.clone()),
        Service::SetForwarding { to, .. } => to.clone(),
        _ => None,
    }
}
