//! Services in XML (ECMA-323, requests).

use super::XmlError;
use super::fields::{Fields, write_connection, write_line};
use crate::csta::writer::Writer;
use crate::csta::{MonitorObject, Service};

pub(super) fn read(root: &Fields<'_, '_>) -> Result<Option<Service>, XmlError> {
    Ok(Some(match root.element().name() {
        "RequestSystemStatus" => Service::RequestSystemStatus { line: root.line() },
        "SystemStatus" => Service::SystemStatus { system_status: root.word("systemStatus")? },
        "SystemRegister" => Service::SystemRegister,
        "GetCSTAFeatures" => Service::GetCstaFeatures { line: root.line() },
        "MonitorStart" => Service::MonitorStart { object: read_object(root)?, line: root.line() },
        "MonitorStop" => Service::MonitorStop { xref: root.text("monitorCrossRefID")? },
        "MakeCall" => Service::MakeCall {
            calling: root.text("callingDevice")?,
            called: root.text("calledDirectoryNumber")?,
            auto_originate: root.word_if("autoOriginate"),
            correlator: root.word_if("correlatorData"),
        },
        "AnswerCall" => Service::AnswerCall { call: root.connection("callToBeAnswered")? },
        "ClearConnection" => Service::ClearConnection {
            connection: root.connection("connectionToBeCleared")?,
            reason: root.word_if("reason"),
        },
        "ClearCall" => Service::ClearCall { call: root.connection("callToBeCleared")? },
        "HoldCall" => Service::HoldCall { call: root.connection("callToBeHeld")? },
        "RetrieveCall" => Service::RetrieveCall { call: root.connection("callToBeRetrieved")? },
        "AlternateCall" => {
            Service::AlternateCall { held: root.connection("heldCall")?, active: root.connection("activeCall")? }
        }
        "ReconnectCall" => {
            Service::ReconnectCall { active: root.connection("activeCall")?, held: root.connection("heldCall")? }
        }
        "ConsultationCall" => Service::ConsultationCall {
            existing: root.connection("existingCall")?,
            consulted: root.text("consultedDevice")?,
            correlator: root.word_if("correlatorData"),
        },
        "TransferCall" => {
            Service::TransferCall { held: root.connection("heldCall")?, active: root.connection("activeCall")? }
        }
        "SingleStepTransferCall" => {
            Service::SingleStepTransferCall { active: root.connection("activeCall")?, to: root.text("transferredTo")? }
        }
        "DeflectCall" => {
            Service::DeflectCall { call: root.connection("callToBeDiverted")?, to: root.text("newDestination")? }
        }
        "ConferenceCall" => {
            Service::ConferenceCall { held: root.connection("heldCall")?, active: root.connection("activeCall")? }
        }
        "SingleStepConferenceCall" => Service::SingleStepConferenceCall {
            active: root.connection("activeCall")?,
            join: root.text("deviceToJoin")?,
            participation: root.word_if("participationType"),
        },
        "GenerateDigits" => Service::GenerateDigits {
            connection: root.connection("connectionToSendDigits")?,
            characters: root.text("charactersToSend")?,
        },
        "SetForwarding" => Service::SetForwarding {
            device: root.text("device")?,
            forwarding_type: root.word_if("forwardingType").unwrap_or_else(|| "forwardImmediate".to_owned()),
            activate: root.flag("activateForward")?,
            to: root.text_if("forwardDN"),
        },
        "GetForwarding" => Service::GetForwarding { device: root.text("device")? },
        "SetDoNotDisturb" => {
            Service::SetDoNotDisturb { device: root.text("device")?, on: root.flag("doNotDisturbOn")? }
        }
        "GetDoNotDisturb" => Service::GetDoNotDisturb { device: root.text("device")? },
        "SnapshotDevice" => Service::SnapshotDevice { device: root.text("snapshotObject")? },
        "SnapshotCall" => Service::SnapshotCall { call: root.connection("snapshotObject")? },
        "SetMessageWaitingIndicator" => {
            Service::SetMessageWaitingIndicator { device: root.text("device")?, on: root.flag("messageWaitingOn")? }
        }
        "GetMessageWaitingIndicator" => Service::GetMessageWaitingIndicator { device: root.text("device")? },
        _ => return Ok(None),
    }))
}

fn read_object(root: &Fields<'_, '_>) -> Result<MonitorObject, XmlError> {
    let object = root.at(root.child("monitorObject")?);
    if let Some(device) = object.text_if("deviceObject") {
        return Ok(MonitorObject::Device(device));
    }
    object.connection("callObject").map(MonitorObject::Call).map_err(|_| root.missing("deviceObject"))
}

pub(super) fn write(writer: &mut Writer, service: &Service) {
    match service {
        Service::RequestSystemStatus { line } | Service::GetCstaFeatures { line } => {
            write_line(writer, line.as_deref())
        }
        Service::SystemStatus { system_status } => writer.text("systemStatus", system_status),
        Service::SystemRegister => {}
        Service::MonitorStart { object, line } => {
            writer.element("monitorObject", |writer| match object {
                MonitorObject::Device(device) => writer.text("deviceObject", device),
                MonitorObject::Call(call) => write_connection(writer, "callObject", call),
            });
            write_line(writer, line.as_deref());
        }
        Service::MonitorStop { xref } => writer.text("monitorCrossRefID", xref),
        Service::MakeCall { calling, called, auto_originate, correlator } => {
            writer.text("callingDevice", calling);
            writer.text("calledDirectoryNumber", called);
            writer.text_if("autoOriginate", auto_originate.as_deref());
            writer.text_if("correlatorData", correlator.as_deref());
        }
        Service::AnswerCall { call } => write_connection(writer, "callToBeAnswered", call),
        Service::ClearConnection { connection, reason } => {
            write_connection(writer, "connectionToBeCleared", connection);
            writer.text_if("reason", reason.as_deref());
        }
        Service::ClearCall { call } => write_connection(writer, "callToBeCleared", call),
        Service::HoldCall { call } => write_connection(writer, "callToBeHeld", call),
        Service::RetrieveCall { call } => write_connection(writer, "callToBeRetrieved", call),
        Service::AlternateCall { held, active }
        | Service::TransferCall { held, active }
        | Service::ConferenceCall { held, active } => {
            write_connection(writer, "heldCall", held);
            write_connection(writer, "activeCall", active);
        }
        // The one pair that is asked for the other way round.
        Service::ReconnectCall { active, held } => {
            write_connection(writer, "activeCall", active);
            write_connection(writer, "heldCall", held);
        }
        Service::ConsultationCall { existing, consulted, correlator } => {
            write_connection(writer, "existingCall", existing);
            writer.text("consultedDevice", consulted);
            writer.text_if("correlatorData", correlator.as_deref());
        }
        Service::SingleStepTransferCall { active, to } => {
            write_connection(writer, "activeCall", active);
            writer.text("transferredTo", to);
        }
        Service::DeflectCall { call, to } => {
            write_connection(writer, "callToBeDiverted", call);
            writer.text("newDestination", to);
        }
        Service::SingleStepConferenceCall { active, join, participation } => {
            write_connection(writer, "activeCall", active);
            writer.text("deviceToJoin", join);
            writer.text_if("participationType", participation.as_deref());
        }
        Service::GenerateDigits { connection, characters } => {
            write_connection(writer, "connectionToSendDigits", connection);
            writer.text("charactersToSend", characters);
        }
        Service::SetForwarding { device, forwarding_type, activate, to } => {
            writer.text("device", device);
            writer.text("forwardingType", forwarding_type);
            writer.flag("activateForward", *activate);
            writer.text_if("forwardDN", to.as_deref());
        }
        Service::SetDoNotDisturb { device, on } => {
            writer.text("device", device);
            writer.flag("doNotDisturbOn", *on);
        }
        Service::SetMessageWaitingIndicator { device, on } => {
            writer.text("device", device);
            writer.flag("messageWaitingOn", *on);
        }
        Service::GetForwarding { device }
        | Service::GetDoNotDisturb { device }
        | Service::GetMessageWaitingIndicator { device } => writer.text("device", device),
        Service::SnapshotDevice { device } => writer.text("snapshotObject", device),
        Service::SnapshotCall { call } => write_connection(writer, "snapshotObject", call),
    }
}
