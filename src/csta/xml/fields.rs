//! The types of ECMA-323 that many messages share, read from and written to children by local name.

use std::borrow::Cow;

use crate::csta::namespace::{LCS, Namespace};
use crate::csta::tree::Element;
use crate::csta::writer::Writer;
use crate::csta::xml::XmlError;
use crate::csta::{ConnectionId, ConnectionListItem, DeviceRef, LocalState, RedirectionRef};

/// One element whose children are asked for by name; faults carry the document's root and namespace.
#[derive(Clone, Copy)]
pub(super) struct Fields<'t, 'a> {
    element: Element<'t, 'a>,
    root: &'a str,
    namespace: &'t Namespace,
}

impl<'t, 'a> Fields<'t, 'a> {
    pub(super) fn new(root: Element<'t, 'a>, namespace: &'t Namespace) -> Self {
        Self { element: root, root: root.name(), namespace }
    }

    pub(super) fn element(&self) -> Element<'t, 'a> {
        self.element
    }

    /// The same document, seen from an inner element.
    pub(super) fn at(&self, element: Element<'t, 'a>) -> Self {
        Self { element, ..*self }
    }

    pub(super) fn missing(&self, child: &'static str) -> XmlError {
        XmlError::Missing { root: self.root.to_owned(), child, namespace: self.namespace.clone() }
    }

    pub(super) fn invalid(&self, child: &'static str) -> XmlError {
        XmlError::Invalid { root: self.root.to_owned(), child, namespace: self.namespace.clone() }
    }

    pub(super) fn child(&self, name: &'static str) -> Result<Element<'t, 'a>, XmlError> {
        self.element.child(name).ok_or_else(|| self.missing(name))
    }

    pub(super) fn text(&self, name: &'static str) -> Result<String, XmlError> {
        self.child(name).map(|child| child.text().into_owned())
    }

    pub(super) fn text_if(&self, name: &str) -> Option<String> {
        self.element.child(name).map(|child| child.text().into_owned())
    }

    pub(super) fn word(&self, name: &'static str) -> Result<String, XmlError> {
        self.child(name).map(|child| child.word().into_owned())
    }

    pub(super) fn word_if(&self, name: &str) -> Option<String> {
        self.element.child(name).map(|child| child.word().into_owned())
    }

    pub(super) fn flag(&self, name: &'static str) -> Result<bool, XmlError> {
        self.flag_if(name)?.ok_or_else(|| self.missing(name))
    }

    pub(super) fn flag_if(&self, name: &'static str) -> Result<Option<bool>, XmlError> {
        let Some(child) = self.element.child(name) else { return Ok(None) };
        match &*child.word() {
            "true" | "1" => Ok(Some(true)),
            "false" | "0" => Ok(Some(false)),
            _ => Err(self.invalid(name)),
        }
    }

    pub(super) fn connection(&self, name: &'static str) -> Result<ConnectionId, XmlError> {
        self.child(name).map(read_connection)
    }

    pub(super) fn connection_if(&self, name: &str) -> Option<ConnectionId> {
        self.element.child(name).map(read_connection)
    }

    /// A device of an event; a switch that leaves it out does not know it.
    pub(super) fn device(&self, name: &str) -> DeviceRef {
        self.device_if(name).unwrap_or_default()
    }

    pub(super) fn device_if(&self, name: &str) -> Option<DeviceRef> {
        self.element.child(name).map(read_device)
    }

    pub(super) fn last_redirection(&self) -> RedirectionRef {
        self.element.child("lastRedirectionDevice").map(read_redirection).unwrap_or_default()
    }

    /// `localConnectionInfo`; an unknown word counts as left out.
    pub(super) fn local(&self) -> Option<LocalState> {
        self.element.child("localConnectionInfo").and_then(|child| read_state(&child.word()))
    }

    pub(super) fn cause(&self) -> String {
        self.word_if("cause").unwrap_or_default()
    }

    /// The `connectionListItem`s of a list element; none when the list is missing.
    pub(super) fn connections(&self, list: &str) -> Vec<ConnectionListItem> {
        let Some(list) = self.element.child(list) else { return Vec::new() };
        list.children().filter(|child| child.name() == "connectionListItem").map(read_item).collect()
    }

    /// Microsoft's `lcs:line`, under whatever prefix.
    pub(super) fn line(&self) -> Option<String> {
        self.element.child("extensions")?.descendant("line").map(|line| line.text().into_owned())
    }
}

fn read_connection(element: Element<'_, '_>) -> ConnectionId {
    let part = |name| element.child(name).map(Element::text).map(Cow::into_owned).unwrap_or_default();
    ConnectionId { call: part("callID"), device: part("deviceID") }
}

fn read_device(element: Element<'_, '_>) -> DeviceRef {
    for child in element.children() {
        match child.name() {
            "deviceIdentifier" | "deviceID" => return DeviceRef::Device(child.text().into_owned()),
            "notKnown" => return DeviceRef::NotKnown,
            "restricted" => return DeviceRef::Restricted,
            _ => {}
        }
    }
    // Some switches write the number where the choice element belongs.
    let text = element.text();
    if text.trim_ascii().is_empty() { DeviceRef::NotKnown } else { DeviceRef::Device(text.into_owned()) }
}

fn read_redirection(element: Element<'_, '_>) -> RedirectionRef {
    for child in element.children() {
        match child.name() {
            "numberDialed" | "deviceIdentifier" => return RedirectionRef::NumberDialed(child.text().into_owned()),
            "notKnown" => return RedirectionRef::NotKnown,
            "notRequired" => return RedirectionRef::NotRequired,
            "notSpecified" => return RedirectionRef::NotSpecified,
            "restricted" => return RedirectionRef::Restricted,
            _ => {}
        }
    }
    RedirectionRef::default()
}

fn read_item(element: Element<'_, '_>) -> ConnectionListItem {
    ConnectionListItem {
        new: element.child("newConnection").map(read_connection),
        old: element.child("oldConnection").map(read_connection),
        endpoint: element.child("endpoint").map(read_device),
    }
}

pub(super) fn read_state(word: &str) -> Option<LocalState> {
    Some(match word {
        "null" => LocalState::Null,
        "initiated" => LocalState::Initiated,
        "alerting" => LocalState::Alerting,
        "connected" => LocalState::Connected,
        "hold" => LocalState::Hold,
        "queued" => LocalState::Queued,
        "fail" => LocalState::Fail,
        _ => return None,
    })
}

pub(super) fn write_connection(writer: &mut Writer, name: &str, connection: &ConnectionId) {
    writer.element(name, |writer| {
        writer.text_if("callID", Some(&*connection.call).filter(|call| !call.is_empty()));
        writer.text_if("deviceID", Some(&*connection.device).filter(|device| !device.is_empty()));
    });
}

pub(super) fn write_device(writer: &mut Writer, name: &str, device: &DeviceRef) {
    write_device_as(writer, name, "deviceIdentifier", device);
}

fn write_device_as(writer: &mut Writer, name: &str, identifier: &str, device: &DeviceRef) {
    writer.element(name, |writer| match device {
        DeviceRef::Device(device) => writer.text(identifier, device),
        DeviceRef::NotKnown => writer.empty("notKnown"),
        DeviceRef::Restricted => writer.empty("restricted"),
    });
}

pub(super) fn write_device_if(writer: &mut Writer, name: &str, device: Option<&DeviceRef>) {
    if let Some(device) = device {
        write_device(writer, name, device);
    }
}

pub(super) fn write_redirection(writer: &mut Writer, redirection: &RedirectionRef) {
    writer.element("lastRedirectionDevice", |writer| match redirection {
        RedirectionRef::NumberDialed(number) => writer.text("numberDialed", number),
        RedirectionRef::NotKnown => writer.empty("notKnown"),
        RedirectionRef::NotRequired => writer.empty("notRequired"),
        RedirectionRef::NotSpecified => writer.empty("notSpecified"),
        RedirectionRef::Restricted => writer.empty("restricted"),
    });
}

/// The end most events share: localConnectionInfo, then cause.
pub(super) fn write_ending(writer: &mut Writer, local: Option<LocalState>, cause: &str) {
    writer.text_if("localConnectionInfo", local.map(LocalState::as_str));
    writer.text_if("cause", Some(cause).filter(|cause| !cause.is_empty()));
}

/// An empty list is written for events, where it is mandatory; responses leave it out.
pub(super) fn write_connections(writer: &mut Writer, list: &str, items: &[ConnectionListItem]) {
    writer.element(list, |writer| {
        for item in items {
            writer.element("connectionListItem", |writer| {
                if let Some(connection) = &item.new {
                    write_connection(writer, "newConnection", connection);
                }
                if let Some(connection) = &item.old {
                    write_connection(writer, "oldConnection", connection);
                }
                if let Some(endpoint) = &item.endpoint {
                    write_device_as(writer, "endpoint", "deviceID", endpoint);
                }
            });
        }
    });
}

pub(super) fn write_line(writer: &mut Writer, line: Option<&str>) {
    let Some(line) = line else { return };
    writer.element("extensions", |writer| {
        writer.element("privateData", |writer| {
            writer.element("private", |writer| {
                writer.declared("lcs:line", "xmlns:lcs", LCS, |writer| writer.escaped(line));
            });
        });
    });
}
