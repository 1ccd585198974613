//! What events are about, and what services are aimed at.

use crate::csta::{EventBody, Service};

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
