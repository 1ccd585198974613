//! Whatever can be said can be written and read back.

use lyncpin::csta::{
    CallInSnapshot, ConnectionId, ConnectionListItem, DeviceRef, ED3, Event, EventBody, Failure, Features, ForwardItem,
    LocalState, MonitorObject, Outcome, PartyInSnapshot, Payload, RedirectionRef, Service, decode, encode,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

/// Free text: identifiers, and every kind of character XML treats specially.
fn text() -> BoxedStrategy<String> {
    prop_oneof![
        "tel:\\+[0-9]{1,12}(;ext=[0-9]{1,4})?",
        "[ -~]{0,20}",
        "[\t\n\r<>&\"' \\]a\u{85}\u{2028}\u{e9}\u{fffd}\u{1f600}]{0,12}",
    ]
    .boxed()
}

/// A word of the standard.
fn word() -> BoxedStrategy<String> {
    "[a-zA-Z0-9:]{1,20}".boxed()
}

fn connection() -> BoxedStrategy<ConnectionId> {
    (text(), text()).prop_map(|(call, device)| ConnectionId { call, device }).boxed()
}

fn device() -> BoxedStrategy<DeviceRef> {
    prop_oneof![text().prop_map(DeviceRef::Device), Just(DeviceRef::NotKnown), Just(DeviceRef::Restricted)].boxed()
}

fn redirection() -> BoxedStrategy<RedirectionRef> {
    prop_oneof![
        text().prop_map(RedirectionRef::NumberDialed),
        Just(RedirectionRef::NotKnown),
        Just(RedirectionRef::NotRequired),
        Just(RedirectionRef::NotSpecified),
        Just(RedirectionRef::Restricted),
    ]
    .boxed()
}

fn state() -> BoxedStrategy<LocalState> {
    use LocalState::{Alerting, Connected, Fail, Hold, Initiated, Null, Queued};
    select(vec![Null, Initiated, Alerting, Connected, Hold, Queued, Fail]).boxed()
}

fn items() -> BoxedStrategy<Vec<ConnectionListItem>> {
    let item = (option::of(connection()), option::of(connection()), option::of(device()))
        .prop_map(|(new, old, endpoint)| ConnectionListItem { new, old, endpoint });
    vec(item, 0..4).boxed()
}

/// Builds a message from one strategy for each field, named as the field.
macro_rules! message {
    ($($variant:ident)::+ { $($field:ident: $strategy:expr),+ $(,)? }) => {
        ($($strategy),+,).prop_map(|($($field),+,)| $($variant)::+ { $($field),+ }).boxed()
    };
}

fn service() -> BoxedStrategy<Service> {
    use Service as S;
    let object = prop_oneof![text().prop_map(MonitorObject::Device), connection().prop_map(MonitorObject::Call)];
    let line = || option::of(text());
    let all: Vec<BoxedStrategy<Service>> = vec![
        message!(S::RequestSystemStatus { line: line() }),
        message!(S::SystemStatus { system_status: word() }),
        Just(S::SystemRegister).boxed(),
        message!(S::GetCstaFeatures { line: line() }),
        message!(S::MonitorStart { object: object, line: line() }),
        message!(S::MonitorStop { xref: text() }),
        message!(S::MakeCall {
            calling: text(),
            called: text(),
            auto_originate: option::of(word()),
            correlator: option::of(word()),
        }),
        message!(S::AnswerCall { call: connection() }),
        message!(S::ClearConnection { connection: connection(), reason: option::of(word()) }),
        message!(S::ClearCall { call: connection() }),
        message!(S::HoldCall { call: connection() }),
        message!(S::RetrieveCall { call: connection() }),
        message!(S::AlternateCall { held: connection(), active: connection() }),
        message!(S::ReconnectCall { active: connection(), held: connection() }),
        message!(S::ConsultationCall { existing: connection(), consulted: text(), correlator: option::of(word()) }),
        message!(S::TransferCall { held: connection(), active: connection() }),
        message!(S::SingleStepTransferCall { active: connection(), to: text() }),
        message!(S::DeflectCall { call: connection(), to: text() }),
        message!(S::ConferenceCall { held: connection(), active: connection() }),
        message!(S::SingleStepConferenceCall { active: connection(), join: text(), participation: option::of(word()) }),
        message!(S::GenerateDigits { connection: connection(), characters: text() }),
        message!(S::SetForwarding {
            device: text(),
            forwarding_type: word(),
            activate: any::<bool>(),
            to: option::of(text()),
        }),
        message!(S::GetForwarding { device: text() }),
        message!(S::SetDoNotDisturb { device: text(), on: any::<bool>() }),
        message!(S::GetDoNotDisturb { device: text() }),
        message!(S::SnapshotDevice { device: text() }),
        message!(S::SnapshotCall { call: connection() }),
        message!(S::SetMessageWaitingIndicator { device: text(), on: any::<bool>() }),
        message!(S::GetMessageWaitingIndicator { device: text() }),
    ];
    select(all).prop_flat_map(|one| one).boxed()
}

/// Some lists and leaves of the standard set, in its order.
fn features() -> BoxedStrategy<Features> {
    fn some(lists: Vec<(String, Vec<String>)>) -> BoxedStrategy<Vec<(String, Vec<String>)>> {
        let leaves = |(list, leaves): (String, Vec<String>)| {
            let count = leaves.len();
            (Just(list), subsequence(leaves, 0..=count))
        };
        let all: Vec<_> = lists.into_iter().map(leaves).collect();
        let count = all.len();
        (all, 0..=count).prop_map(|(lists, kept)| lists.into_iter().take(kept).collect()).boxed()
    }
    let standard = Features::standard();
    message!(Features { services: some(standard.services), events: some(standard.events) })
}

fn failure() -> BoxedStrategy<Failure> {
    prop_oneof![
        select(Failure::all()),
        word().prop_map(Failure::Operation),
        text().prop_map(Failure::PrivateErrorCode),
        Just(Failure::Unspecified),
    ]
    .boxed()
}

fn device_snapshot() -> BoxedStrategy<Outcome> {
    let call = message!(CallInSnapshot { connection: connection(), states: vec(state(), 0..4) });
    prop_oneof![
        vec(call, 0..4).prop_map(|calls| Outcome::SnapshotDevice { calls, service_xref: None }),
        text().prop_map(|xref| Outcome::SnapshotDevice { calls: Vec::new(), service_xref: Some(xref) }),
    ]
    .boxed()
}

fn outcome() -> BoxedStrategy<Outcome> {
    use Outcome as O;
    let forward = message!(ForwardItem { forwarding_type: word(), on: any::<bool>(), to: option::of(text()) });
    let party = message!(PartyInSnapshot { device: device(), connection: connection(), state: option::of(state()) });
    let mut all: Vec<BoxedStrategy<Outcome>> = vec![
        message!(O::RequestSystemStatus { system_status: word() }),
        message!(O::SystemRegister { register_id: text() }),
        message!(O::GetCstaFeatures { features: features() }),
        message!(O::MonitorStart { xref: text(), existing_calls: option::of(any::<bool>()) }),
        message!(O::MakeCall { calling: connection() }),
        message!(O::ConsultationCall { initiated: connection() }),
        message!(O::TransferCall { transferred: connection(), connections: items() }),
        message!(O::SingleStepTransferCall { transferred: connection(), connections: items() }),
        message!(O::ConferenceCall { conference: connection(), connections: items() }),
        message!(O::SingleStepConferenceCall { conferenced: connection() }),
        message!(O::GetForwarding { list: vec(forward, 0..4) }),
        message!(O::GetDoNotDisturb { on: any::<bool>() }),
        device_snapshot(),
        message!(O::SnapshotCall {
            parties: vec(party, 0..4),
            calling: option::of(device()),
            called: option::of(device()),
            correlator: option::of(word()),
        }),
        message!(O::GetMessageWaitingIndicator { on: option::of(any::<bool>()) }),
        failure().prop_map(O::Failed).boxed(),
    ];
    let bare = [
        O::SystemStatus,
        O::MonitorStop,
        O::AnswerCall,
        O::ClearConnection,
        O::ClearCall,
        O::HoldCall,
        O::RetrieveCall,
        O::AlternateCall,
        O::ReconnectCall,
        O::DeflectCall,
        O::GenerateDigits,
        O::SetForwarding,
        O::SetDoNotDisturb,
        O::SetMessageWaitingIndicator,
    ];
    all.extend(bare.map(|outcome| Just(outcome).boxed()));
    select(all).prop_flat_map(|one| one).boxed()
}

fn event_body() -> BoxedStrategy<EventBody> {
    use EventBody as B;
    let local = || option::of(state());
    let cause = || prop_oneof![word(), Just(String::new())];
    let all: Vec<BoxedStrategy<EventBody>> = vec![
        message!(B::ServiceInitiated { connection: connection(), device: device(), local: local(), cause: cause() }),
        message!(B::Originated {
            connection: connection(),
            calling: device(),
            called: device(),
            local: local(),
            cause: cause(),
        }),
        message!(B::DigitsDialed {
            connection: connection(),
            device: device(),
            digits: text(),
            local: local(),
            cause: cause(),
        }),
        message!(B::NetworkReached {
            connection: connection(),
            interface: device(),
            calling: device(),
            called: device(),
            last_redirection: redirection(),
            local: local(),
            cause: cause(),
        }),
        message!(B::Delivered {
            connection: connection(),
            alerting: device(),
            calling: device(),
            called: device(),
            last_redirection: redirection(),
            local: local(),
            cause: cause(),
        }),
        message!(B::Offered {
            connection: connection(),
            offered: device(),
            calling: device(),
            called: device(),
            last_redirection: redirection(),
            local: local(),
            cause: cause(),
        }),
        message!(B::Established {
            connection: connection(),
            answering: device(),
            calling: device(),
            called: device(),
            last_redirection: redirection(),
            local: local(),
            cause: cause(),
        }),
        message!(B::Held { connection: connection(), holding: device(), local: local(), cause: cause() }),
        message!(B::Retrieved { connection: connection(), retrieving: device(), local: local(), cause: cause() }),
        message!(B::ConnectionCleared {
            connection: connection(),
            releasing: device(),
            local: local(),
            cause: cause(),
        }),
        message!(B::CallCleared { call: connection(), cause: cause() }),
        message!(B::Transferred {
            primary: connection(),
            secondary: option::of(connection()),
            transferring: device(),
            transferred_to: device(),
            connections: items(),
            local: local(),
            cause: cause(),
        }),
        message!(B::Conferenced {
            primary: connection(),
            secondary: option::of(connection()),
            conferencing: device(),
            added: device(),
            connections: items(),
            local: local(),
            cause: cause(),
        }),
        message!(B::Diverted {
            connection: connection(),
            diverting: device(),
            new_destination: device(),
            calling: option::of(device()),
            called: option::of(device()),
            last_redirection: redirection(),
            local: local(),
            cause: cause(),
        }),
        message!(B::Failed {
            connection: connection(),
            failing: device(),
            calling: device(),
            called: device(),
            last_redirection: redirection(),
            local: local(),
            cause: cause(),
        }),
        message!(B::Queued {
            connection: connection(),
            queue: device(),
            calling: device(),
            called: device(),
            last_redirection: redirection(),
            number_queued: option::of(any::<u32>()),
            local: local(),
            cause: cause(),
        }),
        message!(B::Bridged { connection: connection(), appearance: device(), local: local(), cause: cause() }),
        message!(B::CallInformation { connection: connection(), device: device(), calling: option::of(device()) }),
        message!(B::DigitsGenerated { connection: connection(), digits: text() }),
        message!(B::Forwarding {
            device: device(),
            forwarding_type: word(),
            on: any::<bool>(),
            to: option::of(text()),
        }),
        message!(B::DoNotDisturb { device: device(), on: any::<bool>() }),
        message!(B::MessageWaiting { device: device(), on: any::<bool>() }),
        message!(B::BackInService { device: device(), cause: option::of(word()) }),
        message!(B::OutOfService { device: device(), cause: option::of(word()) }),
        Just(B::MonitorStopped).boxed(),
    ];
    select(all).prop_flat_map(|one| one).boxed()
}

fn payload() -> BoxedStrategy<Payload> {
    prop_oneof![
        service().prop_map(Payload::Service),
        outcome().prop_map(Payload::Outcome),
        message!(Event { xref: text(), body: event_body() }).prop_map(Payload::Event),
        "[A-Z][a-z]{2,8}Novelty".prop_map(|root| Payload::Unknown { root }),
    ]
    .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn what_is_written_is_read_back_the_same(payload in payload(), namespace in prop_oneof![Just(ED3.to_owned()), text()]) {
        let document = decode(&encode(&payload, &namespace)).expect("our own XML is well-formed");
        prop_assert_eq!(&*document.namespace, &*namespace);
        // MonitorStop is the one root that means two things; who said it decides.
        let read = match &payload {
            Payload::Event(_) => document.payload.said_by_switch(),
            _ => document.payload,
        };
        prop_assert_eq!(read, payload);
    }
}
