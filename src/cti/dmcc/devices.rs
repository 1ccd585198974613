//! The AES's own device ids, and the extensions they stand for.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::csta::{ConnectionId, DeviceRef, Service};

/// Pairs kept; the oldest is dropped for the next, and asked for again when needed.
pub(super) const DEVICES_MAX: usize = 65_536;
/// The elements of services whose text is a device id.
const DEVICE_ELEMENTS: [&str; 10] = [
    "deviceID",
    "deviceObject",
    "device",
    "callingDevice",
    "calledDirectoryNumber",
    "consultedDevice",
    "transferredTo",
    "newDestination",
    "deviceToJoin",
    "snapshotObject",
];
const DEVICE_ATTRIBUTES: &[u8] = br#" typeOfNumber="other" mediaClass="notKnown""#;

/// Extension ↔ opaque id, both ways.
#[derive(Debug, Default)]
pub(super) struct Devices {
    opaque: HashMap<String, String>,
    plain: HashMap<String, String>,
    age: VecDeque<String>,
    asked: HashSet<String>,
}

impl Devices {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Questions of a lost connection get no answer.
    pub(super) fn forget_questions(&mut self) {
        self.asked.clear();
    }

    pub(super) fn forget_question(&mut self, device: &str) {
        self.asked.remove(device);
    }

    /// Whether the question is to be put; `false` while one is open.
    pub(super) fn ask(&mut self, device: &str) -> bool {
        self.asked.insert(device.to_owned())
    }

    pub(super) fn named(&mut self, device: &str, opaque: &str) {
        self.asked.remove(device);
        if let Some(old) = self.opaque.insert(device.to_owned(), opaque.to_owned()) {
            self.plain.remove(&old);
        } else {
            self.age.push_back(device.to_owned());
        }
        self.plain.insert(opaque.to_owned(), device.to_owned());
        if self.age.len() > DEVICES_MAX
            && let Some(oldest) = self.age.pop_front()
            && let Some(opaque) = self.opaque.remove(&oldest)
        {
            self.plain.remove(&opaque);
        }
    }

    /// The devices of a service that have no id yet, each once.
    pub(super) fn unnamed(&self, service: &Service) -> Vec<String> {
        let mut unnamed: Vec<String> = Vec::new();
        let mut note = |device: &str| {
            if !device.is_empty() && !self.opaque.contains_key(device) && !unnamed.iter().any(|known| known == device) {
                unnamed.push(device.to_owned());
            }
        };
        let mut service = service.clone();
        service.for_each_device_mut(|device| note(device));
        service.for_each_connection_mut(|connection| note(&connection.device));
        unnamed
    }

    /// Extension → opaque id.
    pub(super) fn hide(&self, device: &mut String) {
        if let Some(opaque) = self.opaque.get(device.as_str()) {
            device.clone_from(opaque);
        }
    }

    /// Opaque id → extension. An id we never asked for names another party; it begins with the number, up to a colon,
    /// and is kept, because services may name that party's connection.
    pub(super) fn show(&mut self, device: &mut String) {
        if let Some(plain) = self.plain.get(device.as_str()) {
            device.clone_from(plain);
        } else if let Some((number, _)) = device.split_once(':').filter(|(number, _)| !number.is_empty()) {
            let number = number.to_owned();
            if !self.opaque.contains_key(&number) {
                self.named(&number, device);
            }
            *device = number;
        }
    }

    pub(super) fn show_connection(&mut self, connection: &mut ConnectionId) {
        self.show(&mut connection.device);
    }

    pub(super) fn show_device(&mut self, device: &mut DeviceRef) {
        if let DeviceRef::Device(name) = device {
            self.show(name);
        }
    }
}

/// The document with the attributes an AES wants on device ids. Escaped text holds no `<`, so a tag is a tag.
pub(super) fn with_attributes(document: &[u8]) -> Vec<u8> {
    let mut written = Vec::with_capacity(document.len() + 128);
    let mut rest = document;
    while let Some(start) = rest.iter().position(|byte| *byte == b'<') {
        let (before, tag) = rest.split_at(start);
        let Some(end) = tag.iter().position(|byte| *byte == b'>') else { break };
        written.extend_from_slice(before);
        let has_text = tag.get(end + 1).is_some_and(|byte| *byte != b'<');
        let name = &tag[1..end];
        written.extend_from_slice(&tag[..end]);
        if has_text && DEVICE_ELEMENTS.iter().any(|element| element.as_bytes() == name) {
            written.extend_from_slice(DEVICE_ATTRIBUTES);
        }
        rest = &tag[end..];
    }
    written.extend_from_slice(rest);
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_ids_get_their_attributes_and_nothing_else_does() {
        let document =
            b"<HoldCall><callToBeHeld><callID>1</callID><deviceID>5101:CM</deviceID></callToBeHeld></HoldCall>";
        let expected = "<HoldCall><callToBeHeld><callID>1</callID>\
            <deviceID typeOfNumber=\"other\" mediaClass=\"notKnown\">5101:CM</deviceID></callToBeHeld></HoldCall>";
        assert_eq!(String::from_utf8(with_attributes(document)).unwrap(), expected);
        for same in ["<snapshotObject><callID>1</callID></snapshotObject>", "no tag", "<broken", "<", "", "<device/>"] {
            assert_eq!(String::from_utf8(with_attributes(same.as_bytes())).unwrap(), same);
        }
    }

    #[test]
    fn the_other_party_is_shown_by_its_number_and_found_again() {
        let mut devices = Devices::default();
        let mut device = "5102:CM1:10.0.0.1:0".to_owned();
        devices.show(&mut device);
        assert_eq!(device, "5102");
        devices.hide(&mut device);
        assert_eq!(device, "5102:CM1:10.0.0.1:0");
    }

    #[test]
    fn the_map_is_bounded_and_drops_the_oldest() {
        let mut devices = Devices::default();
        for number in 0..=DEVICES_MAX {
            devices.named(&number.to_string(), &format!("{number}:CM"));
        }
        assert_eq!(
            (devices.opaque.len(), devices.plain.len(), devices.age.len()),
            (DEVICES_MAX, DEVICES_MAX, DEVICES_MAX)
        );
        assert!(!devices.opaque.contains_key("0"));
    }
}
