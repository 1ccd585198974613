//! Byte-level transcripts against an AES as its documents and public clients describe it.

use super::*;
use crate::csta::{Event, EventBody, LocalState, MonitorObject, Outcome};
use crate::cti::frame::{self, FrameReader};
use crate::cti::{Address, Dialect, LinkConfig};

const NOW: Moment = Moment(0);

fn driver() -> Dmcc {
    let address = Address { dialect: Dialect::Dmcc, user: Some("gateway".into()), host: "aes".into(), port: 4721 };
    let config = LinkConfig { password: "secret".into(), switch_name: "CM1".into(), ..LinkConfig::default() };
    let mut driver = Dmcc::new(&config.at(&address));
    driver.connected();
    driver
}

/// (invoke id, document) of each frame.
fn cut(bytes: &[u8]) -> Vec<(u16, String)> {
    let frames = FrameReader::default().received(bytes).unwrap();
    frames.into_iter().map(|frame| (frame.invoke, String::from_utf8(frame.body).unwrap())).collect()
}

fn one(bytes: &[u8]) -> (u16, String) {
    let [frame] = cut(bytes).try_into().expect("one frame");
    frame
}

fn written(said: &[In]) -> Vec<(u16, String)> {
    let bytes: Vec<u8> = said
        .iter()
        .filter_map(|what| if let In::Write(bytes) = what { Some(&bytes[..]) } else { None })
        .flatten()
        .copied()
        .collect();
    cut(&bytes)
}

fn reply(driver: &mut Dmcc, invoke: u16, body: &str) -> Vec<In> {
    driver.received(&frame::encode(invoke, body.as_bytes()).unwrap(), NOW).unwrap()
}

fn started(session_id: &str) -> String {
    let document = AppSession::Started {
        session_id: session_id.into(),
        protocol_version: format!("{PROTOCOL_BASE}ed3/priv5"),
        duration_s: 60,
    };
    String::from_utf8(app_session::write(&document)).unwrap()
}

fn refused() -> String {
    String::from_utf8(app_session::write(&AppSession::StartRefused(LoginRefusal::InvalidApplicationInfo))).unwrap()
}

fn granted(resumed: bool) -> In {
    In::Heard(Heard::Granted { duration_ms: 60_000, resumed })
}

fn logged_in(session_id: &str) -> Dmcc {
    let mut driver = driver();
    let (invoke, _) = one(&driver.say(Say::Login, NOW).unwrap());
    assert_eq!(reply(&mut driver, invoke, &started(session_id)).last(), Some(&granted(false)));
    driver
}

fn named(driver: &mut Dmcc, device: &str, opaque: &str) {
    let make_call = Service::GetForwarding { device: device.into() };
    let (invoke, _) = one(&driver.send(Ticket(999), &make_call, NOW).unwrap());
    let answer = format!("<GetThirdPartyDeviceIdResponse><device>{opaque}</device></GetThirdPartyDeviceIdResponse>");
    let (invoke, _) = written(&reply(driver, invoke, &answer)).remove(0);
    reply(driver, invoke, "<GetForwardingResponse><forwardingList/></GetForwardingResponse>");
}

#[test]
fn a_first_login_names_user_and_password_and_puts_a_monitor_on_the_session() {
    let mut driver = driver();
    let (invoke, login) = one(&driver.say(Say::Login, NOW).unwrap());
    assert!(login.contains("<avaya:userName>gateway</avaya:userName><avaya:password>secret</avaya:password>"));
    assert!(login.contains("<avaya:sessionID/>"), "{login}");
    let said = reply(&mut driver, invoke, &started("S1"));
    let (_, monitor) = written(&said).remove(0);
    assert!(
        monitor
            .contains(r#"<MonitorStart xmlns="http://www.ecma-international.org/standards/ecma-323/csta/ed3/priv5">"#)
    );
    assert_eq!(said[1], granted(false));
}

#[test]
fn a_lost_session_is_resumed_by_its_id() {
    let mut driver = logged_in("S1");
    driver.connected();
    let (invoke, login) = one(&driver.say(Say::Login, NOW).unwrap());
    assert!(login.contains("<avaya:sessionID>S1</avaya:sessionID>"));
    assert_eq!(reply(&mut driver, invoke, &started("S1")), [granted(true)]);
}

#[test]
fn a_session_that_is_gone_is_replaced_and_its_monitors_are_moved() {
    let mut driver = logged_in("S1");
    driver.connected();
    let (invoke, _) = one(&driver.say(Say::Login, NOW).unwrap());
    let (invoke, login) = written(&reply(&mut driver, invoke, &refused())).remove(0);
    assert!(login.contains("<avaya:sessionID/>"));
    let said = reply(&mut driver, invoke, &started("S2"));
    let [(_, monitor), (invoke, transfer)] = written(&said).try_into().unwrap();
    assert!(monitor.contains("<MonitorStart") && monitor.contains("S2"));
    assert_eq!(
        transfer,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><TransferMonitorObjects xmlns=\"http://www.avaya.com/csta\">\
         <fromSessionID>S1</fromSessionID><toSessionID>S2</toSessionID></TransferMonitorObjects>"
    );
    assert_eq!(reply(&mut driver, invoke, "<TransferMonitorObjectsResponse/>"), [granted(true)]);
}

#[test]
fn monitors_that_cannot_be_moved_leave_a_fresh_session() {
    let mut driver = logged_in("S1");
    driver.connected();
    let (invoke, _) = one(&driver.say(Say::Login, NOW).unwrap());
    let (invoke, _) = written(&reply(&mut driver, invoke, &refused())).remove(0);
    let (invoke, _) = written(&reply(&mut driver, invoke, &started("S2"))).remove(1);
    let failed = "<CSTAErrorCode><operation>invalidSessionID</operation></CSTAErrorCode>";
    assert_eq!(reply(&mut driver, invoke, failed), [granted(false)]);
    // The next loss speaks of the new session.
    driver.connected();
    assert!(one(&driver.say(Say::Login, NOW).unwrap()).1.contains("<avaya:sessionID>S2</avaya:sessionID>"));
}

#[test]
fn a_fresh_login_that_is_refused_is_refused() {
    let mut driver = logged_in("S1");
    driver.connected();
    let (invoke, _) = one(&driver.say(Say::Login, NOW).unwrap());
    let (invoke, _) = written(&reply(&mut driver, invoke, &refused())).remove(0);
    let refusal = In::Heard(Heard::LoginRefused(LoginRefusal::InvalidApplicationInfo));
    assert_eq!(reply(&mut driver, invoke, &refused()), [refusal]);
}

#[test]
fn an_old_session_is_not_asked_for_for_ever() {
    let mut driver = logged_in("S1");
    for _ in 0..RESUMPTIONS_MAX {
        driver.connected();
        assert!(one(&driver.say(Say::Login, NOW).unwrap()).1.contains("<avaya:sessionID>S1<"));
    }
    driver.connected();
    assert!(one(&driver.say(Say::Login, NOW).unwrap()).1.contains("<avaya:sessionID/>"));
}

#[test]
fn a_session_that_was_ended_is_not_resumed() {
    let mut driver = logged_in("S1");
    let (invoke, _) = one(&driver.say(Say::Logout, NOW).unwrap());
    let stopped = String::from_utf8(app_session::write(&AppSession::Stopped)).unwrap();
    assert_eq!(reply(&mut driver, invoke, &stopped), [In::Heard(Heard::LoggedOut)]);
    driver.connected();
    assert!(one(&driver.say(Say::Login, NOW).unwrap()).1.contains("<avaya:sessionID/>"));
}

#[test]
fn a_device_is_asked_for_once_and_the_services_wait() {
    let mut driver = logged_in("S1");
    let monitor = Service::MonitorStart { object: MonitorObject::Device("5101".into()), line: Some("tel:5101".into()) };
    let (invoke, question) = one(&driver.send(Ticket(1), &monitor, NOW).unwrap());
    assert_eq!(
        question,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><GetThirdPartyDeviceId xmlns=\"http://www.avaya.com/csta\">\
         <switchName>CM1</switchName><extension>5101</extension><deviceInstance>0</deviceInstance>\
         </GetThirdPartyDeviceId>"
    );
    let snapshot = Service::SnapshotDevice { device: "5101".into() };
    assert_eq!(driver.send(Ticket(2), &snapshot, NOW).unwrap(), b"");
    let answer = "<GetThirdPartyDeviceIdResponse><device typeOfNumber=\"other\" mediaClass=\"notKnown\">\
        5101:CM1:0.0.0.0:0</device></GetThirdPartyDeviceIdResponse>";
    let said = written(&reply(&mut driver, invoke, answer));
    let opaque = " typeOfNumber=\"other\" mediaClass=\"notKnown\">5101:CM1:0.0.0.0:0<";
    assert!(said[0].1.contains(&format!("<monitorObject><deviceObject{opaque}/deviceObject>")), "{}", said[0].1);
    assert!(!said[0].1.contains("tel:"), "the line is the client's business");
    assert!(said[1].1.contains(&format!("<snapshotObject{opaque}/snapshotObject>")), "{}", said[1].1);
    let xref = "<MonitorStartResponse><monitorCrossRefID>3</monitorCrossRefID></MonitorStartResponse>";
    let outcome = Outcome::MonitorStart { xref: "3".into(), existing_calls: None };
    assert_eq!(reply(&mut driver, said[0].0, xref), [In::Heard(Heard::Answer { ticket: Ticket(1), outcome })]);
}

#[test]
fn a_device_the_aes_refuses_fails_its_services_and_may_be_asked_again() {
    let mut driver = logged_in("S1");
    let snapshot = Service::SnapshotDevice { device: "77".into() };
    let (invoke, _) = one(&driver.send(Ticket(1), &snapshot, NOW).unwrap());
    let failed = "<CSTAErrorCode><operation>invalidDeviceID</operation></CSTAErrorCode>";
    let said = reply(&mut driver, invoke, failed);
    assert!(matches!(&said[0], In::Heard(Heard::Answer { ticket: Ticket(1), outcome: Outcome::Failed(_) })));
    assert_eq!(cut(&driver.send(Ticket(2), &snapshot, NOW).unwrap()).len(), 1);
}

#[test]
fn a_device_that_is_never_answered_does_not_block_the_next_question() {
    let mut driver = logged_in("S1");
    let snapshot = Service::SnapshotDevice { device: "77".into() };
    let (invoke, _) = one(&driver.send(Ticket(1), &snapshot, NOW).unwrap());
    driver.abandon(Ticket(1), NOW);
    let again = one(&driver.send(Ticket(2), &snapshot, NOW).unwrap());
    assert_ne!(again.0, invoke);
    let late = "<GetThirdPartyDeviceIdResponse><device>77:CM1</device></GetThirdPartyDeviceIdResponse>";
    assert_eq!(reply(&mut driver, invoke, late), [In::Heard(Heard::Noise)]);
}

#[test]
fn events_name_extensions_and_services_name_ids() {
    let mut driver = logged_in("S1");
    named(&mut driver, "5101", "5101:CM1:0.0.0.0:0");
    let event = "<EstablishedEvent><monitorCrossRefID>3</monitorCrossRefID>\
        <establishedConnection><callID>9</callID><deviceID>5101:CM1:0.0.0.0:0</deviceID></establishedConnection>\
        <answeringDevice><deviceIdentifier>5101:CM1:0.0.0.0:0</deviceIdentifier></answeringDevice>\
        <callingDevice><deviceIdentifier>5102:CM1:1.2.3.4:0</deviceIdentifier></callingDevice>\
        <calledDevice><deviceIdentifier>5101:CM1:0.0.0.0:0</deviceIdentifier></calledDevice>\
        <lastRedirectionDevice><notKnown/></lastRedirectionDevice>\
        <localConnectionInfo>connected</localConnectionInfo><cause>normal</cause></EstablishedEvent>";
    let [In::Heard(Heard::Event(Event { xref, body }))] = &reply(&mut driver, 9999, event)[..] else {
        panic!("not an event")
    };
    let EventBody::Established { connection, answering, calling, local, .. } = body else { panic!("{body:?}") };
    assert_eq!((xref.as_str(), connection.device.as_str()), ("3", "5101"));
    assert_eq!((answering.as_device(), calling.as_device()), (Some("5101"), Some("5102")));
    assert_eq!(*local, Some(LocalState::Connected));
    let clear = Service::ClearConnection { connection: connection.clone(), reason: None };
    let (_, clear) = one(&driver.send(Ticket(4), &clear, NOW).unwrap());
    let device = "<deviceID typeOfNumber=\"other\" mediaClass=\"notKnown\">5101:CM1:0.0.0.0:0</deviceID>";
    assert!(clear.contains(device), "{clear}");
}
