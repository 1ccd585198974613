//! Walks over participants, names, and what is asked of a message as a whole.

use lyncpin::csta::{
    ConnectionId, DeviceRef, Event, EventBody, Failure, LocalState, MonitorObject, Outcome, Payload, RedirectionRef,
    Service, encode,
};

use crate::expected::expected;

/// Every text in an encoded message that names a call or a device.
fn participants(payload: &Payload) -> Vec<String> {
    let places = [
        "<callID>",
        "<deviceID>",
        "<deviceIdentifier>",
        "<numberDialed>",
        "<forwardTo>",
        "<forwardDN>",
        "<device>",
        "<snapshotObject>",
        "<deviceObject>",
        "<callingDevice>",
        "<calledDirectoryNumber>",
        "<consultedDevice>",
        "<transferredTo>",
        "<newDestination>",
    ];
    let xml = String::from_utf8(encode(payload, "")).expect("UTF-8");
    let text_after = |place: &str| {
        let texts = xml.split(place).skip(1).filter_map(|rest| rest.split('<').next());
        texts.filter(|text| !text.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut all: Vec<String> = places.iter().flat_map(|place| text_after(place)).collect();
    all.sort();
    all
}

fn rename(payload: &mut Payload) {
    let connection = |connection: &mut ConnectionId| {
        connection.call.push('!');
        connection.device.push('!');
    };
    let device = |device: &mut DeviceRef| {
        if let DeviceRef::Device(device) = device {
            device.push('!');
        }
    };
    match payload {
        Payload::Service(service) => {
            service.for_each_connection_mut(connection);
            service.for_each_device_mut(|text| text.push('!'));
        }
        Payload::Outcome(outcome) => {
            outcome.for_each_connection_mut(connection);
            outcome.for_each_device_mut(device);
            outcome.for_each_device_text_mut(|text| text.push('!'));
        }
        Payload::Event(event) => {
            event.for_each_connection_mut(connection);
            event.for_each_device_mut(device);
            event.for_each_device_text_mut(|text| text.push('!'));
        }
        Payload::Unknown { .. } => {}
    }
}

#[test]
fn the_walks_reach_every_participant_of_every_message_exactly_once() {
    let samples = expected().into_iter().map(|(_, payload)| payload);
    for mut payload in samples.chain(rare()) {
        let before = participants(&payload);
        rename(&mut payload);
        let renamed: Vec<String> = before.iter().map(|name| format!("{name}!")).collect();
        assert_eq!(participants(&payload), renamed, "{payload:?}");
    }
}

/// Messages of kinds the samples do not have.
fn rare() -> Vec<Payload> {
    let at = || ConnectionId::new("7", "tel:1");
    let dev = || DeviceRef::device("tel:2");
    let event = |body| Payload::Event(Event { xref: "m".to_owned(), body });
    let (local, cause) = (None, "normal".to_owned());
    vec![
        event(EventBody::DigitsDialed {
            connection: at(),
            device: dev(),
            digits: "12".to_owned(),
            local,
            cause: cause.clone(),
        }),
        event(EventBody::Offered {
            connection: at(),
            offered: dev(),
            calling: dev(),
            called: dev(),
            last_redirection: RedirectionRef::NumberDialed("tel:3".to_owned()),
            local,
            cause: cause.clone(),
        }),
        event(EventBody::Bridged { connection: at(), appearance: dev(), local, cause: cause.clone() }),
        event(EventBody::CallCleared { call: at(), cause }),
        event(EventBody::DigitsGenerated { connection: at(), digits: "1".to_owned() }),
        event(EventBody::MessageWaiting { device: dev(), on: true }),
        Payload::Service(Service::MonitorStart { object: MonitorObject::Call(at()), line: None }),
        Payload::Service(Service::GetMessageWaitingIndicator { device: "tel:4".to_owned() }),
        Payload::Outcome(Outcome::SingleStepConferenceCall { conferenced: at() }),
        Payload::Outcome(Outcome::SnapshotCall {
            parties: Vec::new(),
            calling: Some(dev()),
            called: Some(DeviceRef::Restricted),
            correlator: None,
        }),
    ]
}

#[test]
fn an_event_tells_its_call_state_and_cause() {
    let body = EventBody::Held {
        connection: ConnectionId::new("7", "tel:1"),
        holding: DeviceRef::NotKnown,
        local: Some(LocalState::Hold),
        cause: "consultation".to_owned(),
    };
    let mut event = Event { xref: "m".to_owned(), body };
    assert_eq!((event.call(), event.local(), event.cause()), (Some("7"), Some(LocalState::Hold), Some("consultation")));
    event.set_local(Some(LocalState::Connected));
    assert_eq!(event.local(), Some(LocalState::Connected));
    event.connections_mut()[0].call = String::new();
    assert_eq!(event.call(), None);

    let device = DeviceRef::NotKnown;
    let mut event = Event { xref: "m".to_owned(), body: EventBody::DoNotDisturb { device, on: true } };
    event.set_local(Some(LocalState::Hold));
    assert_eq!((event.call(), event.local(), event.cause()), (None, None, None));
}

#[test]
fn the_number_dialled_before_a_redirection_is_a_device_text() {
    let body = EventBody::Offered {
        connection: ConnectionId::default(),
        offered: DeviceRef::NotKnown,
        calling: DeviceRef::NotKnown,
        called: DeviceRef::NotKnown,
        last_redirection: RedirectionRef::NumberDialed("tel:9".to_owned()),
        local: None,
        cause: String::new(),
    };
    let mut event = Event { xref: String::new(), body };
    let mut seen = Vec::new();
    event.for_each_device_text_mut(|text| seen.push(text.clone()));
    assert_eq!(seen, ["tel:9"]);
}

#[test]
fn what_changes_the_world_is_known_and_asking_does_not() {
    let changing: Vec<&str> = expected()
        .iter()
        .filter_map(|(_, payload)| match payload {
            Payload::Service(service) if service.changes_world() => Some(service.name()),
            _ => None,
        })
        .collect();
    let meant = "AnswerCall MakeCall ClearConnection ClearCall HoldCall RetrieveCall AlternateCall ReconnectCall \
        ConsultationCall TransferCall SingleStepTransferCall DeflectCall ConferenceCall SetForwarding SetForwarding \
        SetDoNotDisturb GenerateDigits SetMessageWaitingIndicator MakeCall AnswerCall HoldCall";
    assert_eq!(changing, meant.split_whitespace().collect::<Vec<_>>());
    assert!(!Service::MonitorStop { xref: String::new() }.changes_world());
}

#[test]
fn a_refusal_is_a_failure_and_an_answer_is_not() {
    assert!(Outcome::Failed(Failure::Unspecified).is_failure());
    assert!(!Outcome::AnswerCall.is_failure());
}
