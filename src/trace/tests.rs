use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::id::SessionId;
use crate::sip::Message;

const INFO: &str = "INFO sip:rccgw@rccgw.contoso.com SIP/2.0\r\n\
    Via: SIP/2.0/TLS 192.0.2.31:5061;branch=z9hG4bK12345678\r\n\
    From: \"+1 (425) 555-0101\" <sip:alice@contoso.com>;tag=12345678;epid=0123456789\r\n\
    To: <sip:rccgw@rccgw.contoso.com>;tag=87654321\r\n\
    P-Asserted-Identity: <tel:+14255550101;ext=51010>\r\n\
    Call-ID: 123456789012@192.0.2.31\r\n\
    CSeq: 1234567 INFO\r\n\
    Contact: <sip:192.0.2.31:5061;transport=tls>\r\n\
    Content-Length: ";

fn body() -> &'static str {
    "<?xml version=\"1.0\"?><MakeCall xmlns=\"http://www.ecma-international.org/standards/ecma-323/csta/ed3\">\
     <callingDevice>tel:+14255550101;ext=5101</callingDevice><calledDirectoryNumber>+1 206 555 0100</calledDirectoryNumber>\
     <callID>16777216</callID></MakeCall>"
}

fn info() -> Bytes {
    let text = format!("{INFO}{}\r\nContent-Type: application/csta+xml\r\n\r\n{}", body().len(), body());
    Bytes::from(text)
}

fn ends() -> Ends {
    let (local, peer) = ("192.0.2.31:5061".parse().unwrap(), "192.0.2.10:49152".parse().unwrap());
    Ends { flow: 7, local: Some(local), peer, is_secure: true }
}

fn begun() -> What {
    What::Begun {
        node: "node1".into(),
        users: vec![],
        devices: vec![],
        served_by: vec![],
        shows_numbers: false,
        ends_in_s: 60,
    }
}

fn alice() -> Whom {
    Whom::new(["sip:Alice@contoso.com".to_owned()], ["5101".to_owned()])
}

fn hear(tap: &Tap) {
    tap.heard(ends, &Message::parse(&info()).unwrap());
}

#[test]
fn numbers_are_masked_up_to_the_last_two_digits() {
    assert_eq!(masked("tel:+14255550101"), "tel:+xxxxxxxxx01");
    assert_eq!(masked("5101"), "5101");
}

#[test]
fn a_masked_message_hides_numbers_and_nothing_that_is_none() {
    let head = masked_head(INFO);
    for kept in [
        "192.0.2.31:5061",
        "branch=z9hG4bK12345678",
        "tag=12345678",
        "epid=0123456789",
        "Call-ID: 123456789012@192.0.2.31",
        "CSeq: 1234567",
        "Contact: <sip:192.0.2.31:5061;transport=tls>",
        "<sip:alice@contoso.com>",
    ] {
        assert!(head.contains(kept), "{kept}\n{head}");
    }
    assert!(head.contains("\"+x (xxx) xxx-xx01\"") && head.contains("<tel:+xxxxxxxxx01;ext=xxx10>"), "{head}");
    assert_eq!(masked_head("INVITE sip:+14255550102@contoso.com;user=phone SIP/2.0"), {
        "INVITE sip:+xxxxxxxxx02@contoso.com;user=phone SIP/2.0"
    });
    let xml = masked_xml(body());
    assert!(xml.contains("tel:+xxxxxxxxx01;ext=5101") && xml.contains(">+x xxx xxx xx00<"), "{xml}");
    assert!(xml.contains("<callID>16777216</callID>") && xml.contains("ecma-323/csta/ed3"), "{xml}");
    assert_eq!((head.len(), xml.len()), (INFO.len(), body().len()), "Content-Length stays true");
    assert_eq!(masked_xml("a > 4255550101 <x>4255550102"), "a > xxxxxxxx01 <x>xxxxxxxx02");
}

proptest::proptest! {
    /// Also of what a stranger says: lengths stay, and of a number only its last two digits.
    #[test]
    fn masking_keeps_every_length_and_hides_every_long_number(
        before in "[^0-9+. ()-]{0,40}", number in "[0-9]{5,20}", after in "[^0-9+. ()-]{0,40}", any in ".{0,200}"
    ) {
        for text in [masked_head(&any), masked_xml(&any)] {
            proptest::prop_assert_eq!(text.len(), any.len());
        }
        let uri = masked_head(&format!("{before} tel:{number}\r\n"));
        proptest::prop_assert!(!uri.contains(&number), "{}", uri);
        let body = masked_xml(&format!("{}{number}{}", before.replace('<', ""), after.replace('<', "")));
        proptest::prop_assert!(!body.contains(&number), "{}", body);
        proptest::prop_assert!(body.contains(&number[number.len() - 2..]), "{}", body);
    }
}

#[tokio::test]
async fn while_nobody_listens_nothing_is_looked_at() {
    let tap = Arc::new(Tap::new(1, None));
    tap.heard(|| panic!("the ends are asked for"), &Message::parse(&info()).unwrap());
    tap.cti(Way::Out, "cm1", &SessionId::new("s"), || panic!("the XML is written"));
    let tracing = tap.begin(alice(), begun(), false, Duration::from_secs(60)).unwrap();
    assert!(tap.is_open());
    assert_eq!(tap.begin(alice(), begun(), false, Duration::from_secs(60)).err(), Some(TooMany { traces_max: 1 }));
    drop(tracing);
    assert_eq!((tap.is_open(), tap.traces()), (false, 0));
}

#[tokio::test]
async fn a_trace_shows_the_user_s_messages_and_their_sessions_links_alone() {
    let tap = Arc::new(Tap::new(2, None));
    let mut masked = tap.begin(alice(), begun(), false, Duration::from_secs(60)).unwrap();
    let mut whole = tap.begin(alice(), begun(), true, Duration::from_secs(60)).unwrap();
    let (hers, his) = (SessionId::new("hers"), SessionId::new("his"));
    tap.meets(&hers, "sip:alice@CONTOSO.com", "5101");
    tap.meets(&his, "sip:bob@contoso.com", "5102");
    hear(&tap);
    let other = Bytes::from(String::from_utf8(info().to_vec()).unwrap().replace("alice@", "bob@"));
    tap.said(ends, &other);
    tap.said(ends, &Bytes::from_static(b"\r\n"));
    let xml = || ("MakeCall".to_owned(), b"<called>14255550101</called>".to_vec());
    tap.cti(Way::Out, "cm1", &his, || panic!("bob's"));
    tap.cti(Way::Out, "cm1", &hers, xml);
    for (tracing, number) in [(&mut masked, "xxxxxxxxx01"), (&mut whole, "14255550101")] {
        assert_eq!(tracing.next().await.unwrap().what, begun());
        let What::Sip { way, summary, text, peer, .. } = tracing.next().await.unwrap().what else { panic!("SIP") };
        assert_eq!((way, summary.as_str(), peer), (Way::In, "INFO MakeCall", ends().peer));
        assert!(text.contains(&format!("tel:+{number}")), "{text}");
        let What::Cti { way, link, summary, text } = tracing.next().await.unwrap().what else { panic!("CTI") };
        assert_eq!((way, link.as_str(), summary.as_str()), (Way::Out, "cm1", "MakeCall"));
        assert_eq!(text, format!("<called>{number}</called>"));
    }
}

#[tokio::test]
async fn a_slow_listener_loses_lines_and_is_told_how_many() {
    let tap = Arc::new(Tap::new(1, None));
    let mut tracing = tap.begin(alice(), begun(), false, Duration::from_secs(60)).unwrap();
    for _ in 0..TRACE_LINES_MAX + 5 {
        hear(&tap);
    }
    assert_eq!(tap.lost(), 5);
    assert_eq!(tracing.next().await.unwrap().what, begun());
    for _ in 0..TRACE_LINES_MAX {
        assert!(matches!(tracing.next().await.unwrap().what, What::Sip { .. }));
    }
    hear(&tap);
    assert_eq!(tracing.next().await.unwrap().what, What::Lost { count: 5 }, "before what came next");
    assert!(matches!(tracing.next().await.unwrap().what, What::Sip { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_trace_ends_by_itself_and_says_so() {
    let tap = Arc::new(Tap::new(1, None));
    let mut tracing = tap.begin(alice(), begun(), false, Duration::from_secs(60)).unwrap();
    assert_eq!(tracing.next().await.unwrap().what, begun());
    assert!(matches!(tracing.next().await.unwrap().what, What::Ended { .. }));
    assert_eq!(tracing.next().await, None);
}

#[test]
fn a_line_reads_back_as_it_was_written() {
    let message = Message::parse(&info()).unwrap();
    let what = What::of_sip(Way::Out, &ends(), &message, "INFO ...".into());
    let line = Line { at_us: 1_700_000_000_123_456, what };
    let text = serde_json::to_string(&line).unwrap();
    assert!(text.contains("\"kind\":\"sip\"") && text.contains("\"way\":\"out\""), "{text}");
    assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line);
}

/// Chunks of a HEP3 packet: type and value.
fn chunks(packet: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let two = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    assert_eq!((&packet[..4], usize::from(two(4))), (&b"HEP3"[..], packet.len()));
    let (mut at, mut found) = (6, Vec::new());
    while at < packet.len() {
        let length = usize::from(two(at + 4));
        assert_eq!(two(at), 0, "no vendor's");
        found.push((two(at + 2), packet[at + 6..at + length].to_vec()));
        at += length;
    }
    found
}

#[test]
fn copies_reach_a_collector_as_hep3_and_are_masked() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let target = ("127.0.0.1".to_owned(), socket.local_addr().unwrap().port());
    let tap = Tap::new(1, Some(Collector::start(target, 42, false).unwrap()));
    assert!(tap.is_open(), "all SIP is copied, whoever is followed");
    hear(&tap);
    tap.said(ends, &info());
    let mut taken = [0; 65_536];
    for way in [Way::In, Way::Out] {
        let length = socket.recv(&mut taken).unwrap();
        let found = chunks(&taken[..length]);
        let value = |kind: u16| &found.iter().find(|(of, _)| *of == kind).unwrap_or_else(|| panic!("{kind}")).1[..];
        let (us, peer) = ((3_u16, 7_u16), (4_u16, 8_u16));
        let (us, peer) = if way == Way::Out { (us, peer) } else { (peer, us) };
        assert_eq!((value(us.0), value(us.1)), (&[192, 0, 2, 31][..], &5061_u16.to_be_bytes()[..]));
        assert_eq!((value(peer.0), value(peer.1)), (&[192, 0, 2, 10][..], &49152_u16.to_be_bytes()[..]));
        assert_eq!((value(1), value(2), value(11)), (&[2][..], &[6][..], &[1][..]), "IPv4, TCP, SIP");
        assert_eq!(value(12), 42_u32.to_be_bytes());
        assert_eq!(value(17), b"123456789012@192.0.2.31");
        let payload = String::from_utf8(value(15).to_vec()).unwrap();
        assert!(payload.starts_with("INFO sip:rccgw") && payload.contains("tel:+xxxxxxxxx01"), "{payload}");
        assert!(!payload.contains("4255550101"), "{payload}");
    }
}

#[test]
fn ipv6_ends_have_chunks_of_their_own() {
    let ends = Ends { local: None, peer: "[2001:db8::1]:5061".parse().unwrap(), ..ends() };
    let found = chunks(&packet(1, Way::In, &ends, 1, "c", b"text").unwrap());
    let peer: std::net::Ipv6Addr = "2001:db8::1".parse().unwrap();
    assert!(found.contains(&(1, vec![10])) && found.contains(&(5, peer.octets().to_vec())), "{found:?}");
}
