//! Events in XML (ECMA-323, events).

use super::XmlError;
use super::fields::{
    Fields, write_connection, write_connections, write_device, write_device_if, write_ending, write_redirection,
};
use crate::csta::writer::Writer;
use crate::csta::{DeviceRef, Event, EventBody, RedirectionRef};

pub(super) fn read(root: &Fields<'_, '_>) -> Result<Option<Event>, XmlError> {
    let Some(body) = read_body(root)? else { return Ok(None) };
    Ok(Some(Event { xref: root.text("monitorCrossRefID")?, body }))
}

fn read_body(root: &Fields<'_, '_>) -> Result<Option<EventBody>, XmlError> {
    let (local, cause) = (root.local(), root.cause());
    let calling = || root.device("callingDevice");
    let called = || root.device("calledDevice");
    Ok(Some(match root.element().name() {
        "ServiceInitiatedEvent" => EventBody::ServiceInitiated {
            connection: root.connection("initiatedConnection")?,
            device: root.device("initiatingDevice"),
            local,
            cause,
        },
        "OriginatedEvent" => EventBody::Originated {
            connection: root.connection("originatedConnection")?,
            calling: calling(),
            called: called(),
            local,
            cause,
        },
        "DigitsDialedEvent" => EventBody::DigitsDialed {
            connection: root.connection("dialingConnection")?,
            device: root.device("dialingDevice"),
            digits: root.text_if("dialingSequence").unwrap_or_default(),
            local,
            cause,
        },
        "NetworkReachedEvent" => EventBody::NetworkReached {
            connection: root.connection("outboundConnection")?,
            interface: root.device("networkInterfaceUsed"),
            calling: calling(),
            called: called(),
            last_redirection: root.last_redirection(),
            local,
            cause,
        },
        "DeliveredEvent" => EventBody::Delivered {
            connection: root.connection("connection")?,
            alerting: root.device("alertingDevice"),
            calling: calling(),
            called: called(),
            last_redirection: root.last_redirection(),
            local,
            cause,
        },
        "OfferedEvent" => EventBody::Offered {
            connection: root.connection("offeredConnection")?,
            offered: root.device("offeredDevice"),
            calling: calling(),
            called: called(),
            last_redirection: root.last_redirection(),
            local,
            cause,
        },
        "EstablishedEvent" => EventBody::Established {
            connection: root.connection("establishedConnection")?,
            answering: root.device("answeringDevice"),
            calling: calling(),
            called: called(),
            last_redirection: root.last_redirection(),
            local,
            cause,
        },
        "HeldEvent" => EventBody::Held {
            connection: root.connection("heldConnection")?,
            holding: root.device("holdingDevice"),
            local,
            cause,
        },
        "RetrievedEvent" => EventBody::Retrieved {
            connection: root.connection("retrievedConnection")?,
            retrieving: root.device("retrievingDevice"),
            local,
            cause,
        },
        "ConnectionClearedEvent" => EventBody::ConnectionCleared {
            connection: root.connection("droppedConnection")?,
            releasing: root.device("releasingDevice"),
            local,
            cause,
        },
        "CallClearedEvent" => EventBody::CallCleared { call: root.connection("clearedCall")?, cause },
        "TransferedEvent" | "TransferredEvent" => EventBody::Transferred {
            primary: root.connection("primaryOldCall")?,
            secondary: root.connection_if("secondaryOldCall"),
            transferring: root.device("transferringDevice"),
            transferred_to: root.device("transferredToDevice"),
            connections: root.connections("transferredConnections"),
            local,
            cause,
        },
        "ConferencedEvent" => EventBody::Conferenced {
            primary: root.connection("primaryOldCall")?,
            secondary: root.connection_if("secondaryOldCall"),
            conferencing: root.device("conferencingDevice"),
            added: root.device("addedParty"),
            connections: root.connections("conferenceConnections"),
            local,
            cause,
        },
        "DivertedEvent" => EventBody::Diverted {
            connection: root.connection("connection")?,
            diverting: root.device("divertingDevice"),
            new_destination: root.device("newDestination"),
            calling: root.device_if("callingDevice"),
            called: root.device_if("calledDevice"),
            last_redirection: root.last_redirection(),
            local,
            cause,
        },
        "FailedEvent" => EventBody::Failed {
            connection: root.connection("failedConnection")?,
            failing: root.device("failingDevice"),
            calling: calling(),
            called: called(),
            last_redirection: root.last_redirection(),
            local,
            cause,
        },
        "QueuedEvent" => EventBody::Queued {
            connection: root.connection("queuedConnection")?,
            queue: root.device("queue"),
            calling: calling(),
            called: called(),
            last_redirection: root.last_redirection(),
            number_queued: root.word_if("numberQueued").and_then(|number| number.parse().ok()),
            local,
            cause,
        },
        "BridgedEvent" => EventBody::Bridged {
            connection: root.connection("bridgedConnection")?,
            appearance: root.device("bridgedAppearance"),
            local,
            cause,
        },
        _ => return read_feature_event(root),
    }))
}

/// Events that are about a device or carry information only: no cause, no localConnectionInfo.
fn read_feature_event(root: &Fields<'_, '_>) -> Result<Option<EventBody>, XmlError> {
    let device = || root.device("device");
    Ok(Some(match root.element().name() {
        "CallInformationEvent" => EventBody::CallInformation {
            connection: root.connection("connection")?,
            device: device(),
            calling: root.device_if("callingDevice"),
        },
        "DigitsGeneratedEvent" => EventBody::DigitsGenerated {
            connection: root.connection("connection")?,
            digits: root.text_if("digitGeneratedList").unwrap_or_default(),
        },
        "ForwardingEvent" => EventBody::Forwarding {
            device: device(),
            forwarding_type: root.word_if("forwardingType").unwrap_or_else(|| "forwardImmediate".to_owned()),
            on: root.flag("forwardStatus")?,
            to: root.text_if("forwardTo"),
        },
        "DoNotDisturbEvent" => EventBody::DoNotDisturb { device: device(), on: root.flag("doNotDisturbOn")? },
        "MessageWaitingEvent" => {
            EventBody::MessageWaiting { device: root.device("targetDevice"), on: root.flag("messageWaitingOn")? }
        }
        "BackInServiceEvent" => EventBody::BackInService { device: device(), cause: root.word_if("cause") },
        "OutOfServiceEvent" => EventBody::OutOfService { device: device(), cause: root.word_if("cause") },
        _ => return Ok(None),
    }))
}

pub(super) fn write(writer: &mut Writer, event: &Event) {
    writer.text("monitorCrossRefID", &event.xref);
    match &event.body {
        EventBody::ServiceInitiated { connection, device, local, cause } => {
            write_connection(writer, "initiatedConnection", connection);
            write_device(writer, "initiatingDevice", device);
            write_ending(writer, *local, cause);
        }
        EventBody::Originated { connection, calling, called, local, cause } => {
            write_connection(writer, "originatedConnection", connection);
            write_device(writer, "callingDevice", calling);
            write_device(writer, "calledDevice", called);
            write_ending(writer, *local, cause);
        }
        EventBody::DigitsDialed { connection, device, digits, local, cause } => {
            write_connection(writer, "dialingConnection", connection);
            write_device(writer, "dialingDevice", device);
            writer.text("dialingSequence", digits);
            write_ending(writer, *local, cause);
        }
        EventBody::NetworkReached { connection, interface, calling, called, last_redirection, local, cause } => {
            write_connection(writer, "outboundConnection", connection);
            write_device(writer, "networkInterfaceUsed", interface);
            write_parties(writer, calling, called, last_redirection);
            write_ending(writer, *local, cause);
        }
        EventBody::Delivered { connection, alerting, calling, called, last_redirection, local, cause } => {
            write_connection(writer, "connection", connection);
            write_device(writer, "alertingDevice", alerting);
            write_parties(writer, calling, called, last_redirection);
            write_ending(writer, *local, cause);
        }
        EventBody::Offered { connection, offered, calling, called, last_redirection, local, cause } => {
            write_connection(writer, "offeredConnection", connection);
            write_device(writer, "offeredDevice", offered);
            write_parties(writer, calling, called, last_redirection);
            write_ending(writer, *local, cause);
        }
        EventBody::Established { connection, answering, calling, called, last_redirection, local, cause } => {
            write_connection(writer, "establishedConnection", connection);
            write_device(writer, "answeringDevice", answering);
            write_parties(writer, calling, called, last_redirection);
            write_ending(writer, *local, cause);
        }
        EventBody::Held { connection, holding, local, cause } => {
            write_connection(writer, "heldConnection", connection);
            write_device(writer, "holdingDevice", holding);
            write_ending(writer, *local, cause);
        }
        EventBody::Retrieved { connection, retrieving, local, cause } => {
            write_connection(writer, "retrievedConnection", connection);
            write_device(writer, "retrievingDevice", retrieving);
            write_ending(writer, *local, cause);
        }
        EventBody::ConnectionCleared { connection, releasing, local, cause } => {
            write_connection(writer, "droppedConnection", connection);
            write_device(writer, "releasingDevice", releasing);
            write_ending(writer, *local, cause);
        }
        EventBody::CallCleared { call, cause } => {
            write_connection(writer, "clearedCall", call);
            write_ending(writer, None, cause);
        }
        EventBody::Transferred { primary, secondary, transferring, transferred_to, connections, local, cause } => {
            write_connection(writer, "primaryOldCall", primary);
            if let Some(secondary) = secondary {
                write_connection(writer, "secondaryOldCall", secondary);
            }
            write_device(writer, "transferringDevice", transferring);
            write_device(writer, "transferredToDevice", transferred_to);
            write_connections(writer, "transferredConnections", connections);
            write_ending(writer, *local, cause);
        }
        EventBody::Conferenced { primary, secondary, conferencing, added, connections, local, cause } => {
            write_connection(writer, "primaryOldCall", primary);
            if let Some(secondary) = secondary {
                write_connection(writer, "secondaryOldCall", secondary);
            }
            write_device(writer, "conferencingDevice", conferencing);
            write_device(writer, "addedParty", added);
            write_connections(writer, "conferenceConnections", connections);
            write_ending(writer, *local, cause);
        }
        EventBody::Diverted {
            connection,
            diverting,
            new_destination,
            calling,
            called,
            last_redirection,
            local,
            cause,
        } => {
            write_connection(writer, "connection", connection);
            write_device(writer, "divertingDevice", diverting);
            write_device(writer, "newDestination", new_destination);
            write_device_if(writer, "callingDevice", calling.as_ref());
            write_device_if(writer, "calledDevice", called.as_ref());
            write_redirection(writer, last_redirection);
            write_ending(writer, *local, cause);
        }
        EventBody::Failed { connection, failing, calling, called, last_redirection, local, cause } => {
            write_connection(writer, "failedConnection", connection);
            write_device(writer, "failingDevice", failing);
            write_parties(writer, calling, called, last_redirection);
            write_ending(writer, *local, cause);
        }
        EventBody::Queued { connection, queue, calling, called, last_redirection, number_queued, local, cause } => {
            write_connection(writer, "queuedConnection", connection);
            write_device(writer, "queue", queue);
            write_parties(writer, calling, called, last_redirection);
            writer.text_if("numberQueued", number_queued.map(|number| number.to_string()).as_deref());
            write_ending(writer, *local, cause);
        }
        EventBody::Bridged { connection, appearance, local, cause } => {
            write_connection(writer, "bridgedConnection", connection);
            write_device(writer, "bridgedAppearance", appearance);
            write_ending(writer, *local, cause);
        }
        EventBody::CallInformation { connection, device, calling } => {
            write_connection(writer, "connection", connection);
            write_device(writer, "device", device);
            write_device_if(writer, "callingDevice", calling.as_ref());
        }
        EventBody::DigitsGenerated { connection, digits } => {
            write_connection(writer, "connection", connection);
            writer.text("digitGeneratedList", digits);
        }
        EventBody::Forwarding { device, forwarding_type, on, to } => {
            write_device(writer, "device", device);
            writer.text("forwardingType", forwarding_type);
            writer.flag("forwardStatus", *on);
            writer.text_if("forwardTo", to.as_deref());
        }
        EventBody::DoNotDisturb { device, on } => {
            write_device(writer, "device", device);
            writer.flag("doNotDisturbOn", *on);
        }
        EventBody::MessageWaiting { device, on } => {
            write_device(writer, "targetDevice", device);
            writer.flag("messageWaitingOn", *on);
        }
        EventBody::BackInService { device, cause } | EventBody::OutOfService { device, cause } => {
            write_device(writer, "device", device);
            writer.text_if("cause", cause.as_deref());
        }
        EventBody::MonitorStopped => {}
    }
}

/// callingDevice, calledDevice, lastRedirectionDevice: in this order wherever all three are mandatory.
fn write_parties(writer: &mut Writer, calling: &DeviceRef, called: &DeviceRef, last_redirection: &RedirectionRef) {
    write_device(writer, "callingDevice", calling);
    write_device(writer, "calledDevice", called);
    write_redirection(writer, last_redirection);
}
