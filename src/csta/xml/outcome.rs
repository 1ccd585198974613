//! Outcomes in XML (ECMA-323, responses and CSTAErrorCode).

use super::XmlError;
use super::fields::{Fields, read_state, write_connection, write_connections, write_device, write_device_if};
use crate::csta::tree::{Element, is_name};
use crate::csta::writer::Writer;
use crate::csta::{
    CallInSnapshot, ConnectionListItem, Failure, Features, ForwardItem, LocalState, Outcome, PartyInSnapshot,
};

pub(super) fn read(root: &Fields<'_, '_>) -> Result<Option<Outcome>, XmlError> {
    Ok(Some(match root.element().name() {
        "RequestSystemStatusResponse" => Outcome::RequestSystemStatus { system_status: root.word("systemStatus")? },
        "SystemStatusResponse" => Outcome::SystemStatus,
        "SystemRegisterResponse" => {
            Outcome::SystemRegister { register_id: root.text_if("sysStatRegisterID").unwrap_or_default() }
        }
        "GetCSTAFeaturesResponse" => Outcome::GetCstaFeatures { features: read_features(root) },
        "MonitorStartResponse" => Outcome::MonitorStart {
            xref: root.text("monitorCrossRefID")?,
            existing_calls: root.flag_if("monitorExistingCalls")?,
        },
        "MonitorStopResponse" => Outcome::MonitorStop,
        "MakeCallResponse" => Outcome::MakeCall { calling: root.connection("callingDevice")? },
        "AnswerCallResponse" => Outcome::AnswerCall,
        "ClearConnectionResponse" => Outcome::ClearConnection,
        "ClearCallResponse" => Outcome::ClearCall,
        "HoldCallResponse" => Outcome::HoldCall,
        "RetrieveCallResponse" => Outcome::RetrieveCall,
        "AlternateCallResponse" => Outcome::AlternateCall,
        "ReconnectCallResponse" => Outcome::ReconnectCall,
        "ConsultationCallResponse" => Outcome::ConsultationCall { initiated: root.connection("initiatedCall")? },
        "TransferCallResponse" => Outcome::TransferCall {
            transferred: root.connection("transferredCall")?,
            connections: root.connections("connections"),
        },
        "SingleStepTransferCallResponse" => Outcome::SingleStepTransferCall {
            transferred: root.connection("transferredCall")?,
            connections: root.connections("connections"),
        },
        "DeflectCallResponse" => Outcome::DeflectCall,
        "ConferenceCallResponse" => Outcome::ConferenceCall {
            conference: root.connection("conferenceCall")?,
            connections: root.connections("connections"),
        },
        "SingleStepConferenceCallResponse" => {
            Outcome::SingleStepConferenceCall { conferenced: root.connection("conferencedCall")? }
        }
        "GenerateDigitsResponse" => Outcome::GenerateDigits,
        "SetForwardingResponse" => Outcome::SetForwarding,
        "GetForwardingResponse" => Outcome::GetForwarding { list: read_forwards(root)? },
        "SetDoNotDisturbResponse" => Outcome::SetDoNotDisturb,
        "GetDoNotDisturbResponse" => Outcome::GetDoNotDisturb { on: root.flag("doNotDisturbOn")? },
        "SnapshotDeviceResponse" => read_device_snapshot(root)?,
        "SnapshotCallResponse" => read_call_snapshot(root)?,
        "SetMessageWaitingIndicatorResponse" => Outcome::SetMessageWaitingIndicator,
        "GetMessageWaitingIndicatorResponse" => {
            Outcome::GetMessageWaitingIndicator { on: root.flag_if("messageWaitingOn")? }
        }
        "CSTAErrorCode" => Outcome::Failed(read_failure(root.element())),
        _ => return Ok(None),
    }))
}

fn read_failure(root: Element<'_, '_>) -> Failure {
    let Some(group) = root.children().next() else { return Failure::Unspecified };
    let value = group.word().into_owned();
    match group.name() {
        "operation" => Failure::Operation(value),
        "stateIncompatibility" => Failure::StateIncompatibility(value),
        "systemResourceAvailibility" | "systemResourceAvailability" => Failure::SystemResource(value),
        "subscribedResourceAvailability" | "subscribedResourceAvailibility" => Failure::SubscribedResource(value),
        "performanceManagement" => Failure::Performance(value),
        "security" => Failure::Security(value),
        "privateData" => Failure::PrivateData(value),
        "privateErrorCode" => Failure::PrivateErrorCode(group.text().into_owned()),
        _ => Failure::Unspecified,
    }
}

fn read_features(root: &Fields<'_, '_>) -> Features {
    let lists = |name: &str| {
        let Some(lists) = root.element().child(name) else { return Vec::new() };
        let leaves = |list: Element<'_, '_>| list.children().map(|leaf| leaf.name().to_owned()).collect();
        lists.children().map(|list| (list.name().to_owned(), leaves(list))).collect()
    };
    Features { services: lists("supportedServices"), events: lists("supportedEvents") }
}

fn read_forwards(root: &Fields<'_, '_>) -> Result<Vec<ForwardItem>, XmlError> {
    let items = root.child("forwardingList")?.children().filter(|child| child.name() == "forwardListItem");
    let read_item = |item| {
        let item = root.at(item);
        Ok(ForwardItem {
            forwarding_type: item.word_if("forwardingType").unwrap_or_else(|| "forwardImmediate".to_owned()),
            on: item.flag("forwardStatus")?,
            to: item.text_if("forwardDN"),
        })
    };
    items.map(read_item).collect()
}

fn read_device_snapshot(root: &Fields<'_, '_>) -> Result<Outcome, XmlError> {
    let either = root.at(root.child("crossRefIDorSnapshotData")?);
    if let Some(service_xref) = either.text_if("serviceCrossRefID") {
        return Ok(Outcome::SnapshotDevice { calls: Vec::new(), service_xref: Some(service_xref) });
    }
    let calls = either.child("snapshotData")?.children().filter(|call| call.name() == "snapshotDeviceResponseInfo");
    let read_call = |call| {
        let call = root.at(call);
        Ok(CallInSnapshot { connection: call.connection("connectionIdentifier")?, states: read_states(&call)? })
    };
    Ok(Outcome::SnapshotDevice { calls: calls.map(read_call).collect::<Result<_, _>>()?, service_xref: None })
}

/// `localCallState`; empty when it is missing or `unknown`.
fn read_states(call: &Fields<'_, '_>) -> Result<Vec<LocalState>, XmlError> {
    let Some(state) = call.element().child("localCallState") else { return Ok(Vec::new()) };
    if let Some(compound) = state.child("compoundCallState") {
        let states = compound.children().filter(|child| child.name() == "localConnectionState");
        // Not skipped when unknown: the first is our own, and the others must not move up.
        return states
            .map(|state| read_state(&state.word()).ok_or_else(|| call.invalid("localConnectionState")))
            .collect();
    }
    let Some(simple) = state.child("simpleCallState") else { return Ok(Vec::new()) };
    simple_state(&simple.word()).map(<[LocalState]>::to_vec).ok_or_else(|| call.invalid("simpleCallState"))
}

/// The simple call states of a two-party call, own state first.
fn simple_state(word: &str) -> Option<&'static [LocalState]> {
    use LocalState::{Alerting, Connected, Fail, Hold, Initiated, Null, Queued};
    Some(match word {
        "callNull" => &[Null],
        "callPending" => &[Initiated],
        "callOriginated" => &[Connected],
        "callDelivered" => &[Connected, Alerting],
        "callDeliveredHeld" => &[Hold, Alerting],
        "callReceived" => &[Alerting, Connected],
        "callEstablished" => &[Connected, Connected],
        "callEstablishedHeld" => &[Hold, Connected],
        "callReceivedOnHold" => &[Alerting, Hold],
        "callEstablishedOnHold" => &[Connected, Hold],
        "callQueued" => &[Connected, Queued],
        "callQueuedHeld" => &[Hold, Queued],
        "callFailed" => &[Connected, Fail],
        "callFailedHeld" => &[Hold, Fail],
        "callBlocked" => &[Null, Fail],
        _ => return None,
    })
}

fn read_call_snapshot(root: &Fields<'_, '_>) -> Result<Outcome, XmlError> {
    let data = root.at(root.child("crossRefIDorSnapshotData")?).child("snapshotData")?;
    let parties = data.children().filter(|party| party.name() == "snapshotCallResponseInfo");
    let read_party = |party| {
        let party = root.at(party);
        Ok(PartyInSnapshot {
            device: party.device("deviceOnCall"),
            connection: party.connection("callIdentifier")?,
            state: party.local(),
        })
    };
    Ok(Outcome::SnapshotCall {
        parties: parties.map(read_party).collect::<Result<_, _>>()?,
        calling: root.device_if("callingDevice"),
        called: root.device_if("calledDevice"),
        correlator: root.word_if("correlatorData"),
    })
}

pub(super) fn write(writer: &mut Writer, outcome: &Outcome) {
    match outcome {
        Outcome::RequestSystemStatus { system_status } => writer.text("systemStatus", system_status),
        Outcome::SystemRegister { register_id } => writer.text("sysStatRegisterID", register_id),
        Outcome::GetCstaFeatures { features } => write_features(writer, features),
        Outcome::MonitorStart { xref, existing_calls } => {
            writer.text("monitorCrossRefID", xref);
            if let Some(existing_calls) = existing_calls {
                writer.flag("monitorExistingCalls", *existing_calls);
            }
        }
        Outcome::MakeCall { calling } => write_connection(writer, "callingDevice", calling),
        Outcome::ConsultationCall { initiated } => write_connection(writer, "initiatedCall", initiated),
        Outcome::TransferCall { transferred, connections }
        | Outcome::SingleStepTransferCall { transferred, connections } => {
            write_connection(writer, "transferredCall", transferred);
            write_connections_if_any(writer, connections);
        }
        Outcome::ConferenceCall { conference, connections } => {
            write_connection(writer, "conferenceCall", conference);
            write_connections_if_any(writer, connections);
        }
        Outcome::SingleStepConferenceCall { conferenced } => write_connection(writer, "conferencedCall", conferenced),
        Outcome::GetForwarding { list } => writer.element("forwardingList", |writer| {
            for item in list {
                writer.element("forwardListItem", |writer| {
                    writer.text("forwardingType", &item.forwarding_type);
                    writer.flag("forwardStatus", item.on);
                    writer.text_if("forwardDN", item.to.as_deref());
                });
            }
        }),
        Outcome::GetDoNotDisturb { on } => writer.flag("doNotDisturbOn", *on),
        Outcome::SnapshotDevice { calls, service_xref } => {
            write_device_snapshot(writer, calls, service_xref.as_deref());
        }
        Outcome::SnapshotCall { parties, calling, called, correlator } => {
            write_parties(writer, parties);
            write_device_if(writer, "callingDevice", calling.as_ref());
            write_device_if(writer, "calledDevice", called.as_ref());
            writer.text_if("correlatorData", correlator.as_deref());
        }
        Outcome::GetMessageWaitingIndicator { on } => {
            if let Some(on) = on {
                writer.flag("messageWaitingOn", *on);
            }
        }
        Outcome::Failed(failure) => match failure.value() {
            Some(value) => writer.text(failure.group(), value),
            None => writer.empty(failure.group()),
        },
        Outcome::SystemStatus
        | Outcome::MonitorStop
        | Outcome::AnswerCall
        | Outcome::ClearConnection
        | Outcome::ClearCall
        | Outcome::HoldCall
        | Outcome::RetrieveCall
        | Outcome::AlternateCall
        | Outcome::ReconnectCall
        | Outcome::DeflectCall
        | Outcome::GenerateDigits
        | Outcome::SetForwarding
        | Outcome::SetDoNotDisturb
        | Outcome::SetMessageWaitingIndicator => {}
    }
}

fn write_connections_if_any(writer: &mut Writer, connections: &[ConnectionListItem]) {
    if !connections.is_empty() {
        write_connections(writer, "connections", connections);
    }
}

fn write_features(writer: &mut Writer, features: &Features) {
    let ordered = features.in_schema_order();
    for (name, lists) in [("supportedServices", &ordered.services), ("supportedEvents", &ordered.events)] {
        writer.element(name, |writer| {
            for (list, leaves) in lists.iter().filter(|(list, _)| is_name(list)) {
                writer.element(list, |writer| {
                    leaves.iter().filter(|leaf| is_name(leaf)).for_each(|leaf| writer.empty(leaf));
                });
            }
        });
    }
}

fn write_device_snapshot(writer: &mut Writer, calls: &[CallInSnapshot], service_xref: Option<&str>) {
    writer.element("crossRefIDorSnapshotData", |writer| {
        if let Some(service_xref) = service_xref {
            return writer.text("serviceCrossRefID", service_xref);
        }
        writer.element("snapshotData", |writer| {
            for call in calls {
                writer.element("snapshotDeviceResponseInfo", |writer| {
                    write_connection(writer, "connectionIdentifier", &call.connection);
                    writer.element("localCallState", |writer| {
                        if call.states.is_empty() {
                            return writer.empty("unknown");
                        }
                        writer.element("compoundCallState", |writer| {
                            call.states.iter().for_each(|state| writer.text("localConnectionState", state.as_str()));
                        });
                    });
                });
            }
        });
    });
}

fn write_parties(writer: &mut Writer, parties: &[PartyInSnapshot]) {
    writer.element("crossRefIDorSnapshotData", |writer| {
        writer.element("snapshotData", |writer| {
            for party in parties {
                writer.element("snapshotCallResponseInfo", |writer| {
                    write_device(writer, "deviceOnCall", &party.device);
                    write_connection(writer, "callIdentifier", &party.connection);
                    writer.text_if("localConnectionInfo", party.state.map(LocalState::as_str));
                });
            }
        });
    });
}
