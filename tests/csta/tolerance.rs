//! What real peers do differently and is read all the same.

use lyncpin::csta::{
    ConnectionId, DeviceRef, ED3, ED5, Event, EventBody, LocalState, MonitorObject, Outcome, Payload, RedirectionRef,
    Service, XmlError, decode, encode, namespace,
};

fn payload(body: &str) -> Result<Payload, XmlError> {
    decode(body.as_bytes()).map(|document| document.payload)
}

fn service(body: &str) -> Service {
    match payload(body) {
        Ok(Payload::Service(service)) => service,
        other => panic!("{other:?}"),
    }
}

fn hold(call: &str, device: &str) -> Service {
    Service::HoldCall { call: ConnectionId::new(call, device) }
}

#[test]
fn children_are_read_in_any_order_under_any_prefix_past_unknown_ones() {
    let body = r#"<c:HoldCall xmlns:c="http://www.ecma-international.org/standards/ecma-323/csta/ed5">
        <!-- swapped --><c:novelty><callToBeHeld>no</callToBeHeld></c:novelty>
        <c:callToBeHeld kind="x"><c:deviceID typeOfNumber="other">tel:1</c:deviceID><?skip me?><c:callID>7</c:callID>
        </c:callToBeHeld></c:HoldCall>"#;
    let document = decode(body.as_bytes()).expect("well-formed");
    assert_eq!(&*document.namespace, ED5);
    assert_eq!(document.payload, Payload::Service(hold("7", "tel:1")));
}

#[test]
fn nested_text_is_read_through() {
    // Some phones nest a device element into newDestination.
    let body = "<DeflectCall><callToBeDiverted><callID>1</callID></callToBeDiverted>
        <newDestination>\n  <device>tel:2</device>\n</newDestination></DeflectCall>";
    assert_eq!(service(body), Service::DeflectCall { call: ConnectionId::new("1", ""), to: "tel:2".to_owned() });
}

#[test]
fn references_and_cdata_are_joined_with_the_text_around_them() {
    let body = "<MonitorStop><monitorCrossRefID>a&amp;b&#65;&#x42;<![CDATA[<&amp;>]]>&lt;&gt;&quot;&apos;z</monitorCrossRefID></MonitorStop>";
    assert_eq!(service(body), Service::MonitorStop { xref: "a&bAB<&amp;><>\"'z".to_owned() });
}

/// XML 1.0 §2.11.
#[test]
fn line_ends_are_read_as_line_feeds_unless_they_are_references() {
    let body = "<MonitorStop><monitorCrossRefID>a\r\nb\rc&#13;\n<![CDATA[\r\n]]>\r</monitorCrossRefID></MonitorStop>";
    assert_eq!(service(body), Service::MonitorStop { xref: "a\nb\nc\r\n\n\n".to_owned() });
    let body = "<MonitorStop><monitorCrossRefID>a\r\nb\rc</monitorCrossRefID></MonitorStop>";
    assert_eq!(service(body), Service::MonitorStop { xref: "a\nb\nc".to_owned() });
}

#[test]
fn a_line_is_kept_byte_for_byte_and_read_under_any_prefix() {
    let line = " tel:+1(425)\u{a0}555;ext=&amp;5 ";
    let body = format!(
        r#"<GetCSTAFeatures xmlns="{ED3}"><extensions><privateData><private><x:line xmlns:x="urn:y">{line}</x:line></private></privateData></extensions></GetCSTAFeatures>"#
    );
    assert_eq!(service(&body), Service::GetCstaFeatures { line: Some(line.replace("&amp;", "&")) });
}

#[test]
fn a_byte_order_mark_a_missing_prolog_and_leading_line_ends_are_accepted() {
    let plain = "<SystemRegister/>";
    for before in
        ["", "\u{feff}", "\r\n", "<?xml version=\"1.0\"?>", "\u{feff}<?xml version='1.0' encoding='utf-8'?>\r\n"]
    {
        for after in ["", "\r\n", "<!-- end -->", "<?end?>\n"] {
            assert_eq!(service(&format!("{before}{plain}{after}")), Service::SystemRegister, "{before:?} {after:?}");
        }
    }
    for encoding in ["UTF-8", "utf-8", "US-ASCII", "us-ascii"] {
        assert_eq!(service(&format!(r#"<?xml version="1.0" encoding="{encoding}"?>{plain}"#)), Service::SystemRegister);
    }
}

#[test]
fn booleans_come_in_four_spellings_and_no_fifth() {
    let body = |on: &str| {
        format!("<SetDoNotDisturb><device>d</device><doNotDisturbOn>{on}</doNotDisturbOn></SetDoNotDisturb>")
    };
    for (spelled, on) in [("true", true), (" 1\n", true), ("false", false), ("0", false)] {
        assert_eq!(service(&body(spelled)), Service::SetDoNotDisturb { device: "d".to_owned(), on });
    }
    for spelled in ["TRUE", "yes", "", "2"] {
        let fault = payload(&body(spelled)).expect_err("no boolean");
        let meant =
            XmlError::Invalid { root: "SetDoNotDisturb".to_owned(), child: "doNotDisturbOn", namespace: namespace("") };
        assert_eq!(fault, meant);
    }
}

#[test]
fn a_missing_mandatory_child_is_no_malformed_document() {
    let body = format!(r#"<MakeCall xmlns="{ED5}"><callingDevice>tel:1</callingDevice></MakeCall>"#);
    let fault = payload(&body).expect_err("calledDirectoryNumber is mandatory");
    let meant =
        XmlError::Missing { root: "MakeCall".to_owned(), child: "calledDirectoryNumber", namespace: namespace(ED5) };
    assert_eq!(fault, meant);
    assert_eq!(fault.as_bad_parameter(), Some(("MakeCall", &namespace(ED5))));
    assert_eq!(payload("<MakeCall>").expect_err("unclosed").as_bad_parameter(), None);
}

#[test]
fn a_snapshot_without_data_is_not_a_snapshot_without_calls() {
    for inside in ["", "<crossRefIDorSnapshotData/>"] {
        let fault = payload(&format!("<SnapshotDeviceResponse>{inside}</SnapshotDeviceResponse>"));
        assert!(matches!(fault, Err(XmlError::Missing { .. })), "{inside}: {fault:?}");
    }
}

#[test]
fn simple_call_states_are_read_into_their_compound_equivalents() {
    let states = |inside: &str| {
        let body = format!(
            "<SnapshotDeviceResponse><crossRefIDorSnapshotData><snapshotData><snapshotDeviceResponseInfo>
            <connectionIdentifier><callID>1</callID></connectionIdentifier><localCallState>{inside}</localCallState>
            </snapshotDeviceResponseInfo></snapshotData></crossRefIDorSnapshotData></SnapshotDeviceResponse>"
        );
        payload(&body).map(|payload| match payload {
            Payload::Outcome(Outcome::SnapshotDevice { calls, .. }) => calls[0].states.clone(),
            other => panic!("{other:?}"),
        })
    };
    use LocalState::{Alerting, Connected, Hold};
    assert_eq!(states("<simpleCallState>callReceived</simpleCallState>"), Ok(vec![Alerting, Connected]));
    assert_eq!(states("<simpleCallState>callEstablishedHeld</simpleCallState>"), Ok(vec![Hold, Connected]));
    assert_eq!(states("<unknown/>"), Ok(Vec::new()));
    // The first state is our own: an unknown one must not let the second take its place.
    let odd = "<compoundCallState><localConnectionState>odd</localConnectionState>
        <localConnectionState>hold</localConnectionState></compoundCallState>";
    assert!(matches!(states(odd), Err(XmlError::Invalid { child: "localConnectionState", .. })));
}

#[test]
fn an_event_that_leaves_devices_out_does_not_know_them() {
    let body = "<DeliveredEvent><monitorCrossRefID>m</monitorCrossRefID><connection><callID>1</callID></connection>
        <alertingDevice>tel:5</alertingDevice><localConnectionInfo>dozing</localConnectionInfo></DeliveredEvent>";
    let body = payload(body);
    let meant = EventBody::Delivered {
        connection: ConnectionId::new("1", ""),
        alerting: DeviceRef::device("tel:5"),
        calling: DeviceRef::NotKnown,
        called: DeviceRef::NotKnown,
        last_redirection: RedirectionRef::NotRequired,
        local: None,
        cause: String::new(),
    };
    assert_eq!(body, Ok(Payload::Event(Event { xref: "m".to_owned(), body: meant })));
}

#[test]
fn an_unknown_root_is_handed_back_by_name() {
    for root in ["ParkCall", "NoveltyEvent", "ParkCallResponse", "x"] {
        let read = payload(&format!(r#"<p:{root} xmlns:p="{ED3}"><callID>1</callID></p:{root}>"#));
        assert_eq!(read, Ok(Payload::Unknown { root: root.to_owned() }));
    }
}

#[test]
fn monitor_stop_from_a_switch_is_the_end_of_the_monitor() {
    let stopped = Payload::Event(Event { xref: "m".to_owned(), body: EventBody::MonitorStopped });
    let read = decode(&encode(&stopped, ED3)).expect("our own").payload;
    assert_eq!(read, Payload::Service(Service::MonitorStop { xref: "m".to_owned() }));
    assert_eq!(read.said_by_switch(), stopped);
}

#[test]
fn a_monitor_may_watch_one_call() {
    let body =
        "<MonitorStart><monitorObject><callObject><callID>1</callID></callObject></monitorObject></MonitorStart>";
    let object = MonitorObject::Call(ConnectionId::new("1", ""));
    assert_eq!(service(body), Service::MonitorStart { object, line: None });
    assert!(matches!(payload("<MonitorStart><monitorObject/></MonitorStart>"), Err(XmlError::Missing { .. })));
}

#[test]
fn what_xml_cannot_carry_is_replaced_and_everything_else_survives() {
    let xref = "a\u{0}\u{b}\u{ffff}<&>\"']]>\r\n\t b";
    let written = encode(&Payload::Service(Service::MonitorStop { xref: xref.to_owned() }), "urn:\"<&>");
    let document = decode(&written).expect("well-formed");
    let meant = "a\u{fffd}\u{fffd}\u{fffd}<&>\"']]>\r\n\t b";
    assert_eq!(document.payload, Payload::Service(Service::MonitorStop { xref: meant.to_owned() }));
    assert_eq!(&*document.namespace, "urn:\"<&>");
}
