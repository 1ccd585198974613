//! What the sample bodies mean, by the number their file names begin with.

use lyncpin::csta::{
    CallInSnapshot, ConnectionId, ConnectionListItem, DeviceRef, Event, EventBody, Failure, Features, ForwardItem,
    LocalState, MonitorObject, Outcome, PartyInSnapshot, Payload, RedirectionRef, Service,
};

const ME: &str = "tel:+14255550101;ext=5101";
const BOB: &str = "tel:+14255550202";
const CAROL: &str = "tel:+14255550303";

fn at(call: &str, device: &str) -> ConnectionId {
    ConnectionId::new(call, device)
}

fn dev(device: &str) -> DeviceRef {
    DeviceRef::device(device)
}

fn item(new: ConnectionId, old: Option<ConnectionId>) -> ConnectionListItem {
    let endpoint = Some(dev(&new.device));
    ConnectionListItem { new: Some(new), old, endpoint }
}

fn service(number: &'static str, service: Service) -> (&'static str, Payload) {
    (number, Payload::Service(service))
}

fn outcome(number: &'static str, outcome: Outcome) -> (&'static str, Payload) {
    (number, Payload::Outcome(outcome))
}

fn event(number: &'static str, body: EventBody) -> (&'static str, Payload) {
    (number, Payload::Event(Event { xref: "7f3a19c2".to_owned(), body }))
}

fn delivered(connection: ConnectionId, calling: &str, called: &str, local: LocalState, cause: &str) -> EventBody {
    EventBody::Delivered {
        alerting: dev(&connection.device),
        connection,
        calling: dev(calling),
        called: dev(called),
        last_redirection: RedirectionRef::NotRequired,
        local: Some(local),
        cause: cause.to_owned(),
    }
}

fn established(connection: ConnectionId, calling: &str, called: &str, cause: &str) -> EventBody {
    EventBody::Established {
        answering: dev(&connection.device),
        connection,
        calling: dev(calling),
        called: dev(called),
        last_redirection: RedirectionRef::NotRequired,
        local: Some(LocalState::Connected),
        cause: cause.to_owned(),
    }
}

fn cleared(connection: ConnectionId, local: LocalState) -> EventBody {
    EventBody::ConnectionCleared {
        releasing: dev(&connection.device),
        connection,
        local: Some(local),
        cause: "normalClearing".to_owned(),
    }
}

fn initiated(call: &str, cause: &str) -> EventBody {
    EventBody::ServiceInitiated {
        connection: at(call, ME),
        device: dev(ME),
        local: Some(LocalState::Initiated),
        cause: cause.to_owned(),
    }
}

fn originated(call: &str, called: &str, cause: &str) -> EventBody {
    EventBody::Originated {
        connection: at(call, ME),
        calling: dev(ME),
        called: dev(called),
        local: Some(LocalState::Connected),
        cause: cause.to_owned(),
    }
}

fn held(call: &str, cause: &str) -> EventBody {
    EventBody::Held {
        connection: at(call, ME),
        holding: dev(ME),
        local: Some(LocalState::Hold),
        cause: cause.to_owned(),
    }
}

fn forwarding(on: bool, to: Option<&str>) -> EventBody {
    EventBody::Forwarding {
        device: dev(ME),
        forwarding_type: "forwardImmediate".to_owned(),
        on,
        to: to.map(str::to_owned),
    }
}

fn line() -> Option<String> {
    Some(ME.to_owned())
}

fn make_call(called: &str) -> Service {
    Service::MakeCall {
        calling: ME.to_owned(),
        called: called.to_owned(),
        auto_originate: Some("doNotPrompt".to_owned()),
        correlator: None,
    }
}

fn set_forwarding(activate: bool, to: Option<&str>) -> Service {
    Service::SetForwarding {
        device: ME.to_owned(),
        forwarding_type: "forwardImmediate".to_owned(),
        activate,
        to: to.map(str::to_owned),
    }
}

fn system_status(status: &str) -> Outcome {
    Outcome::RequestSystemStatus { system_status: status.to_owned() }
}

fn transfer_items() -> Vec<ConnectionListItem> {
    vec![item(at("4741", BOB), Some(at("4740", BOB))), item(at("4741", CAROL), Some(at("4741", CAROL)))]
}

fn conference_items() -> Vec<ConnectionListItem> {
    vec![
        item(at("4771", ME), Some(at("4771", ME))),
        item(at("4771", BOB), Some(at("4770", BOB))),
        item(at("4771", CAROL), Some(at("4771", CAROL))),
    ]
}

fn features() -> Features {
    let list = |name: &str, leaves: &str| (name.to_owned(), leaves.split(' ').map(str::to_owned).collect());
    Features {
        services: vec![
            list("capExchangeServList", "getCSTAFeatures"),
            list("systemStatServList", "requestSystemStatus"),
            list("monitoringServList", "monitorStart monitorStop"),
            list("snapshotServList", "snapshotCall snapshotDevice"),
            list(
                "callControlServList",
                "alternateCall answerCall clearCall clearConnection conferenceCall consultationCall deflectCall \
                 holdCall makeCall reconnectCall retrieveCall singleStepTransfer transferCall",
            ),
            list("callAssociatedServList", "generateDigits"),
            list("logicalServList", "getDoNotDisturb getForwarding setDoNotDisturb setForwarding"),
        ],
        events: vec![
            list(
                "callControlEvtsList",
                "conferenced connectionCleared delivered diverted established failed held netwReached originated \
                 queued retrieved serviceInitiated transferred",
            ),
            list("callAssociatedEvtsList", "callInformation"),
            list("logicalEvtsList", "doNotDisturb forwarding"),
            list("deviceMaintEvtsList", "backInService outOfService"),
        ],
    }
}

pub fn expected() -> Vec<(&'static str, Payload)> {
    let mut all = services();
    all.extend(outcomes());
    all.extend(events());
    all
}

fn services() -> Vec<(&'static str, Payload)> {
    vec![
        service("A01", Service::RequestSystemStatus { line: line() }),
        service("A05", Service::GetCstaFeatures { line: line() }),
        service("A07", Service::MonitorStart { object: MonitorObject::Device(ME.to_owned()), line: None }),
        service("A09", Service::GetForwarding { device: ME.to_owned() }),
        service("A11", Service::GetDoNotDisturb { device: ME.to_owned() }),
        service("A13", Service::SnapshotDevice { device: ME.to_owned() }),
        service("B03", Service::RequestSystemStatus { line: line() }),
        service("C03", Service::AnswerCall { call: at("4711", ME) }),
        service("D01", make_call(BOB)),
        service("D08", Service::ClearConnection { connection: at("4720", ME), reason: None }),
        service("D12", Service::ClearCall { call: at("4721", ME) }),
        service("E01", Service::HoldCall { call: at("4730", ME) }),
        service("E04", Service::RetrieveCall { call: at("4730", ME) }),
        service("E07", Service::AlternateCall { held: at("4730", ME), active: at("4731", ME) }),
        service("E09", Service::ReconnectCall { active: at("4731", ME), held: at("4730", ME) }),
        service(
            "F01",
            Service::ConsultationCall { existing: at("4740", ME), consulted: CAROL.to_owned(), correlator: None },
        ),
        service("F08", Service::TransferCall { held: at("4740", ME), active: at("4741", ME) }),
        service("G01", Service::SingleStepTransferCall { active: at("4750", ME), to: CAROL.to_owned() }),
        service("G04", Service::DeflectCall { call: at("4760", ME), to: CAROL.to_owned() }),
        service("H01", Service::ConferenceCall { held: at("4770", ME), active: at("4771", ME) }),
        service("I01", set_forwarding(true, Some(CAROL))),
        service("I04", set_forwarding(false, None)),
        service("I07", Service::SetDoNotDisturb { device: ME.to_owned(), on: true }),
        service("I10", Service::GenerateDigits { connection: at("4780", ME), characters: "1234#".to_owned() }),
        service("I12", Service::SetMessageWaitingIndicator { device: ME.to_owned(), on: true }),
        service("J01", Service::SnapshotDevice { device: ME.to_owned() }),
        service("J03", Service::SnapshotCall { call: at("4711", ME) }),
        service("K01", make_call("tel:000")),
        service("K03", Service::AnswerCall { call: at("9999", ME) }),
        service("K05", Service::HoldCall { call: at("4711", ME) }),
        service("K07", Service::GetCstaFeatures { line: line() }),
        service("K09", Service::RequestSystemStatus { line: line() }),
        service("L01", Service::MonitorStop { xref: "7f3a19c2".to_owned() }),
    ]
}

fn outcomes() -> Vec<(&'static str, Payload)> {
    let party = |device: &str| PartyInSnapshot {
        device: dev(device),
        connection: at("4711", device),
        state: Some(LocalState::Connected),
    };
    vec![
        outcome("A03", system_status("normal")),
        outcome("A06", Outcome::GetCstaFeatures { features: features() }),
        outcome("A08", Outcome::MonitorStart { xref: "7f3a19c2".to_owned(), existing_calls: Some(false) }),
        outcome(
            "A10",
            Outcome::GetForwarding {
                list: vec![ForwardItem {
                    forwarding_type: "forwardImmediate".to_owned(),
                    on: false,
                    to: Some(BOB.to_owned()),
                }],
            },
        ),
        outcome("A12", Outcome::GetDoNotDisturb { on: false }),
        outcome("A14", Outcome::SnapshotDevice { calls: Vec::new(), service_xref: None }),
        outcome("B04", system_status("normal")),
        outcome("C04", Outcome::AnswerCall),
        outcome("D02", Outcome::MakeCall { calling: at("4720", ME) }),
        outcome("D09", Outcome::ClearConnection),
        outcome("D13", Outcome::ClearCall),
        outcome("E02", Outcome::HoldCall),
        outcome("E05", Outcome::RetrieveCall),
        outcome("E08", Outcome::AlternateCall),
        outcome("E10", Outcome::ReconnectCall),
        outcome("F02", Outcome::ConsultationCall { initiated: at("4741", ME) }),
        outcome("F09", Outcome::TransferCall { transferred: at("4741", CAROL), connections: transfer_items() }),
        outcome("G02", Outcome::SingleStepTransferCall { transferred: at("4751", CAROL), connections: Vec::new() }),
        outcome("G05", Outcome::DeflectCall),
        outcome("H02", Outcome::ConferenceCall { conference: at("4771", ME), connections: conference_items() }),
        outcome("I02", Outcome::SetForwarding),
        outcome("I05", Outcome::SetForwarding),
        outcome("I08", Outcome::SetDoNotDisturb),
        outcome("I11", Outcome::GenerateDigits),
        outcome("I13", Outcome::SetMessageWaitingIndicator),
        outcome(
            "J02",
            Outcome::SnapshotDevice {
                calls: vec![CallInSnapshot {
                    connection: at("4711", ME),
                    states: vec![LocalState::Connected, LocalState::Connected],
                }],
                service_xref: None,
            },
        ),
        outcome(
            "J04",
            Outcome::SnapshotCall {
                parties: vec![party(ME), party(BOB)],
                calling: None,
                called: None,
                correlator: None,
            },
        ),
        outcome("K02", Outcome::Failed(Failure::invalid_called_device_id())),
        outcome("K04", Outcome::Failed(Failure::no_call_to_answer())),
        outcome("K06", Outcome::Failed(Failure::resource_out_of_service())),
        outcome("K13", system_status("partiallyDisabled")),
        outcome("L02", Outcome::MonitorStop),
    ]
}

fn events() -> Vec<(&'static str, Payload)> {
    use LocalState::{Alerting, Connected, Null};
    vec![
        event("C01", delivered(at("4711", ME), BOB, ME, Alerting, "newCall")),
        event("C05", established(at("4711", ME), BOB, ME, "normal")),
        event("C07", cleared(at("4711", BOB), Connected)),
        event("C09", cleared(at("4711", ME), Null)),
        event(
            "C11",
            EventBody::Delivered {
                connection: at("4712", ME),
                alerting: dev(ME),
                calling: DeviceRef::Restricted,
                called: dev(ME),
                last_redirection: RedirectionRef::NumberDialed(CAROL.to_owned()),
                local: Some(Alerting),
                cause: "callForwardBusy".to_owned(),
            },
        ),
        event("D03", initiated("4720", "makeCall")),
        event("D04", originated("4720", BOB, "newCall")),
        event(
            "D05",
            EventBody::NetworkReached {
                connection: at("4720", BOB),
                interface: DeviceRef::NotKnown,
                calling: dev(ME),
                called: dev(BOB),
                last_redirection: RedirectionRef::NotRequired,
                local: Some(Connected),
                cause: "normal".to_owned(),
            },
        ),
        event("D06", delivered(at("4720", BOB), ME, BOB, Connected, "newCall")),
        event("D07", established(at("4720", BOB), ME, BOB, "newCall")),
        event("D10", cleared(at("4720", ME), Null)),
        event(
            "D11",
            EventBody::Failed {
                connection: at("4721", BOB),
                failing: dev(BOB),
                calling: dev(ME),
                called: dev(BOB),
                last_redirection: RedirectionRef::NotRequired,
                local: Some(Connected),
                cause: "busy".to_owned(),
            },
        ),
        event("E03", held("4730", "normal")),
        event(
            "E06",
            EventBody::Retrieved {
                connection: at("4730", ME),
                retrieving: dev(ME),
                local: Some(Connected),
                cause: "normal".to_owned(),
            },
        ),
        event("F03", held("4740", "consultation")),
        event("F04", initiated("4741", "consultation")),
        event("F05", originated("4741", CAROL, "consultation")),
        event("F06", delivered(at("4741", CAROL), ME, CAROL, Connected, "consultation")),
        event("F07", established(at("4741", CAROL), ME, CAROL, "consultation")),
        event(
            "F10",
            EventBody::Transferred {
                primary: at("4740", ME),
                secondary: Some(at("4741", ME)),
                transferring: dev(ME),
                transferred_to: dev(CAROL),
                connections: transfer_items(),
                local: Some(Null),
                cause: "transfer".to_owned(),
            },
        ),
        event(
            "G03",
            EventBody::Transferred {
                primary: at("4750", ME),
                secondary: None,
                transferring: dev(ME),
                transferred_to: dev(CAROL),
                connections: vec![item(at("4751", BOB), Some(at("4750", BOB))), item(at("4751", CAROL), None)],
                local: Some(Null),
                cause: "singleStepTransfer".to_owned(),
            },
        ),
        event(
            "G06",
            EventBody::Diverted {
                connection: at("4760", ME),
                diverting: dev(ME),
                new_destination: dev(CAROL),
                calling: Some(dev(BOB)),
                called: Some(dev(ME)),
                last_redirection: RedirectionRef::NotRequired,
                local: Some(Null),
                cause: "redirected".to_owned(),
            },
        ),
        event(
            "H03",
            EventBody::Conferenced {
                primary: at("4770", ME),
                secondary: Some(at("4771", ME)),
                conferencing: dev(ME),
                added: dev(CAROL),
                connections: conference_items(),
                local: Some(Connected),
                cause: "conference".to_owned(),
            },
        ),
        event("I03", forwarding(true, Some(CAROL))),
        event("I06", forwarding(false, None)),
        event("I09", EventBody::DoNotDisturb { device: dev(ME), on: true }),
        event(
            "I14",
            EventBody::Queued {
                connection: at("4781", BOB),
                queue: dev(BOB),
                calling: dev(ME),
                called: dev(BOB),
                last_redirection: RedirectionRef::NotRequired,
                number_queued: Some(3),
                local: Some(Connected),
                cause: "normal".to_owned(),
            },
        ),
        event(
            "I15",
            EventBody::CallInformation { connection: at("4711", ME), device: dev(ME), calling: Some(dev(BOB)) },
        ),
        event("I16", EventBody::OutOfService { device: dev(ME), cause: Some("maintenance".to_owned()) }),
        event("I17", EventBody::BackInService { device: dev(ME), cause: Some("normal".to_owned()) }),
        event("M03", forwarding(false, None)),
    ]
}
