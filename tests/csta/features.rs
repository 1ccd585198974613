//! GetCSTAFeatures.

use lyncpin::csta::{ConnectionId, ED3, EVENTS, Features, Outcome, Payload, SERVICES, Service, decode, encode};

fn names(lists: &[(String, Vec<String>)]) -> Vec<(&str, &str)> {
    lists.iter().flat_map(|(list, leaves)| leaves.iter().map(move |leaf| (list.as_str(), leaf.as_str()))).collect()
}

#[test]
fn the_standard_set_is_spelled_and_ordered_as_the_schema() {
    let standard = Features::standard();
    assert_eq!(standard, standard.in_schema_order());
    for (lists, schema) in [(&standard.services, SERVICES), (&standard.events, EVENTS)] {
        for (list, leaf) in names(lists) {
            let known = schema.iter().find(|(name, _)| *name == list);
            assert!(known.is_some_and(|(_, leaves)| leaves.contains(&leaf)), "{list}/{leaf}");
        }
    }
}

#[test]
fn capabilities_are_written_in_schema_order_and_only_as_xml_names() {
    let own = |list: &str, leaves: &[&str]| (list.to_owned(), leaves.iter().map(|leaf| (*leaf).to_owned()).collect());
    let features = Features {
        services: vec![
            own("logicalServList", &["setForwarding", "getForwarding", "own", "x><y"]),
            own("not a name", &["makeCall"]),
            own("monitoringServList", &["monitorStop", "monitorStart"]),
        ],
        events: Vec::new(),
    };
    let written = encode(&Payload::Outcome(Outcome::GetCstaFeatures { features }), ED3);
    let expected = Features {
        services: vec![
            own("monitoringServList", &["monitorStart", "monitorStop"]),
            own("logicalServList", &["getForwarding", "setForwarding", "own"]),
        ],
        events: Vec::new(),
    };
    let read = decode(&written).map(|document| document.payload);
    assert_eq!(read, Ok(Payload::Outcome(Outcome::GetCstaFeatures { features: expected })));
}

#[test]
fn an_intersection_keeps_what_both_offer_and_no_empty_list() {
    let own = |list: &str, leaves: &[&str]| (list.to_owned(), leaves.iter().map(|leaf| (*leaf).to_owned()).collect());
    let switch = Features {
        services: vec![
            own("callControlServList", &["parkCall", "makeCall", "clearConnection"]),
            own("voiceServList", &["x"]),
        ],
        events: vec![own("callControlEvtsList", &["established"]), own("physDevEvtsList", &["hookswitch"])],
    };
    let both = Features::standard().intersect(&switch);
    assert_eq!(
        names(&both.services),
        [("callControlServList", "clearConnection"), ("callControlServList", "makeCall")]
    );
    assert_eq!(names(&both.events), [("callControlEvtsList", "established")]);
    assert!(both.offers("makeCall") && !both.offers("parkCall") && !both.offers("established"));
    assert_eq!(Features::standard().intersect(&Features::standard()), Features::standard());
}

/// The leaves are not the services' names throughout (ECMA-323, capability exchange).
#[test]
fn every_service_has_a_leaf_the_schema_knows() {
    let call = ConnectionId::default();
    let transfer = Service::SingleStepTransferCall { active: call.clone(), to: String::new() };
    assert_eq!(Features::of_service(&transfer), Some("singleStepTransfer"));
    let conference = Service::SingleStepConferenceCall { active: call, join: String::new(), participation: None };
    assert_eq!(Features::of_service(&conference), Some("singleStepConference"));
    assert!(Features::standard().offers("singleStepTransfer") && Features::standard().offers("singleStepConference"));
}
