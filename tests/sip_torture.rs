//! RFC 4475 and RFC 5118: every message of both, byte-exact from their archives (appendix A), each with its verdict on a
//! stream.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use lyncpin::sip::stream::{Frame, Framer, Limits, StreamFault};
use lyncpin::sip::{Malformed, Message};

/// What the holder of a TCP or TLS flow sees of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// A message, for the layers above.
    Framed,
    /// Refused with this status; the flow goes on.
    Answered(u16, Malformed),
    /// Dropped: a response, or a request whose answer could not be addressed. The flow goes on.
    Dropped(Malformed),
    /// Refused with this status and closed: its end is in doubt.
    Closed(u16, StreamFault),
    /// Closed without a word.
    Cut(StreamFault),
    /// Not whole yet: the flow's time-out ends it.
    Waits,
}

use Verdict::{Answered, Closed, Cut, Dropped, Framed, Waits};

const fn value(name: &'static str) -> Malformed {
    Malformed::Value { name }
}

/// File, RFC 4475 section, verdict.
const RFC_4475: &[(&str, &str, Verdict)] = &[
    ("wsinv", "3.1.1.1", Framed),
    ("intmeth", "3.1.1.2", Framed),
    ("esc01", "3.1.1.3", Framed),
    ("escnull", "3.1.1.4", Framed),
    ("esc02", "3.1.1.5", Framed),
    ("lwsdisp", "3.1.1.6", Framed),
    ("longreq", "3.1.1.7", Framed),
    // The octets after the body are ignored in a datagram; on a stream they are the next message.
    ("dblreq", "3.1.1.8", Framed),
    ("semiuri", "3.1.1.9", Framed),
    ("transports", "3.1.1.10", Framed),
    ("mpart01", "3.1.1.11", Framed),
    ("unreason", "3.1.1.12", Framed),
    ("noreason", "3.1.1.13", Framed),
    ("badinv01", "3.1.2.1", Answered(400, value("Via"))),
    ("clerr", "3.1.2.2", Waits),
    ("ncl", "3.1.2.3", Closed(400, StreamFault::Length)),
    ("scalar02", "3.1.2.4", Answered(400, value("CSeq"))),
    ("scalarlg", "3.1.2.5", Dropped(value("CSeq"))),
    ("quotbal", "3.1.2.6", Answered(400, value("To"))),
    ("ltgtruri", "3.1.2.7", Answered(400, Malformed::StartLine)),
    ("lwsruri", "3.1.2.8", Answered(400, Malformed::StartLine)),
    ("lwsstart", "3.1.2.9", Answered(400, Malformed::StartLine)),
    ("trws", "3.1.2.10", Answered(400, Malformed::StartLine)),
    ("escruri", "3.1.2.11", Answered(400, Malformed::Uri)),
    // Allowed: whoever has no use for a Date ignores it.
    ("baddate", "3.1.2.12", Framed),
    // The fault is in Contact, which only a registrar must read: `contact()` refuses it, see below.
    ("regbadct", "3.1.2.13", Framed),
    ("badaspec", "3.1.2.14", Answered(400, value("To"))),
    ("baddn", "3.1.2.15", Answered(400, value("From"))),
    ("badvers", "3.1.2.16", Answered(505, Malformed::Version)),
    ("mismatch01", "3.1.2.17", Answered(400, Malformed::MethodMismatch)),
    // 501 would do as well.
    ("mismatch02", "3.1.2.18", Answered(400, Malformed::MethodMismatch)),
    ("bigcode", "3.1.2.19", Dropped(Malformed::StartLine)),
    ("badbranch", "3.2.1", Framed),
    // "Ideally" a 400; without From, To and Call-ID to copy it would be no SIP message.
    ("insuf", "3.3.1", Dropped(Malformed::Missing { name: "Call-ID" })),
    ("unkscm", "3.3.2", Framed),
    ("novelsc", "3.3.3", Framed),
    ("unksm2", "3.3.4", Framed),
    ("bext01", "3.3.5", Framed),
    ("invut", "3.3.6", Framed),
    ("regaut01", "3.3.7", Framed),
    ("multi01", "3.3.8", Answered(400, Malformed::Repeated { name: "Call-ID" })),
    ("mcl01", "3.3.9", Closed(400, StreamFault::LengthsDiffer)),
    ("bcast", "3.3.10", Framed),
    ("zeromf", "3.3.11", Framed),
    ("cparam01", "3.3.12", Framed),
    ("cparam02", "3.3.13", Framed),
    ("regescrt", "3.3.14", Framed),
    ("sdp01", "3.3.15", Framed),
    // Valid in a datagram, see below; a stream must say how long the body is.
    ("inv2543", "3.4.1", Closed(400, StreamFault::LengthMissing)),
    // In the archive, in no section; its Request-Line has no version.
    ("test", "-", Cut(StreamFault::NotSip)),
];

/// File, RFC 5118 section, verdict.
const RFC_5118: &[(&str, &str, Verdict)] = &[
    ("ipv6-good", "4.1", Framed),
    ("ipv6-bad", "4.2", Answered(400, Malformed::Uri)),
    ("port-ambiguous", "4.3", Framed),
    ("port-unambiguous", "4.4", Framed),
    ("via-received-param-with-delim", "4.5", Framed),
    ("via-received-param-no-delim", "4.5", Framed),
    ("ipv6-in-sdp", "4.6", Framed),
    ("mult-ip-in-header", "4.7", Framed),
    ("mult-ip-in-sdp", "4.8", Framed),
    ("ipv4-mapped-ipv6", "4.9", Framed),
    // "An implementation must tolerate both."
    ("ipv6-bug-abnf-3-colons", "4.10", Framed),
    ("ipv6-correct-abnf-2-colons", "4.10", Framed),
];

fn read(folder: &str, name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder).join(format!("{name}.dat"));
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rfc_4475(name: &str) -> Bytes {
    let mut bytes = read("rfc4475", name);
    if name == "baddn" {
        // The archive's file lacks the empty line that RFC 4475 prints.
        bytes.extend_from_slice(b"\r\n");
    }
    Bytes::from(bytes)
}

/// RFC 5118's archive holds bare LFs, two files without the empty line, and Content-Lengths counted otherwise: put on the
/// wire as SIP asks.
fn rfc_5118(name: &str) -> Bytes {
    let text = String::from_utf8(read("rfc5118", name)).expect("ASCII").replace('\n', "\r\n");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text.trim_end(), ""));
    let lines = head.lines().map(|line| match line.starts_with("Content-Length") {
        true => format!("Content-Length: {}\r\n", body.len()),
        false => format!("{line}\r\n"),
    });
    Bytes::from(format!("{}\r\n{body}", lines.collect::<String>()))
}

fn frames(bytes: &[u8], piece: usize) -> (Vec<Frame>, Verdict) {
    let mut framer = Framer::new(Limits::default());
    let mut frames = Vec::new();
    for piece in bytes.chunks(piece) {
        framer.push(piece);
        loop {
            match framer.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => {
                    let status = error.reply().and_then(Message::status);
                    return (frames, status.map_or(Cut(error.fault), |status| Closed(status, error.fault)));
                }
            }
        }
    }
    (frames, Waits)
}

/// The verdict on the first message.
fn verdict(bytes: &[u8]) -> Verdict {
    let (whole, rest) = frames(bytes, bytes.len());
    assert_eq!(frames(bytes, 1), (whole.clone(), rest), "fed byte by byte");
    match whole.into_iter().next() {
        None => rest,
        Some(Frame::Message(_)) => Framed,
        Some(Frame::Malformed { error, reply: None }) => Dropped(error),
        Some(Frame::Malformed { error, reply: Some(reply) }) => Answered(reply.status().expect("a response"), error),
        Some(Frame::Ping) => panic!("no message begins with a ping"),
    }
}

fn parsed(bytes: &Bytes) -> Message {
    let message = Message::parse(bytes).expect("well-formed");
    message.check().expect("it makes sense");
    message
}

#[test]
fn every_rfc_4475_message_gets_its_verdict() {
    for (name, section, expected) in RFC_4475 {
        assert_eq!(verdict(&rfc_4475(name)), *expected, "RFC 4475 section {section}: {name}");
    }
    let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rfc4475")).expect("there").count();
    assert_eq!((RFC_4475.len(), files), (50, 50), "49 messages and the archive's test.dat");
}

#[test]
fn every_rfc_5118_message_gets_its_verdict() {
    for (name, section, expected) in RFC_5118 {
        assert_eq!(verdict(&rfc_5118(name)), *expected, "RFC 5118 section {section}: {name}");
    }
}

#[test]
fn a_message_that_is_read_prints_its_own_bytes_unless_it_was_folded() {
    for (name, _, verdict) in RFC_4475.iter().chain(RFC_5118) {
        let ipv6 = RFC_5118.iter().any(|(other, ..)| other == name);
        let bytes = if ipv6 { rfc_5118(name) } else { rfc_4475(name) };
        if *verdict != Framed {
            continue;
        }
        let message = Message::parse(&bytes).expect("framed");
        let printed = message.to_bytes();
        assert_eq!(Message::parse(&printed).as_ref(), Ok(&message), "{name}");
        match *name {
            "wsinv" | "esc01" | "semiuri" => assert_ne!(printed, bytes, "{name} is folded"),
            "dblreq" => assert_eq!(printed, bytes[..printed.len()], "the first of two"),
            _ => assert_eq!(printed, bytes, "{name}"),
        }
    }
}

#[test]
fn wsinv_is_read_through_its_folds() {
    // RFC 4475 §3.1.1.1
    let message = parsed(&rfc_4475("wsinv"));
    let headers = &message.headers;
    assert_eq!(message.request_uri(), Some("sip:vivekg@chair-dnrc.example.com;unknownparam"));
    assert_eq!(headers.to().expect("To").tag(), Some("1918181833n"));
    let from = headers.from().expect("From");
    assert_eq!((from.display.as_str(), from.tag()), (r#""J Rosenberg \\\"""#, Some("98asjd8")));
    assert_eq!((headers.max_forwards(), headers.cseq().expect("CSeq").number), (Ok(Some(68)), 9));
    let vias: Vec<_> = headers.values("Via").map(|via| lyncpin::sip::Via::parse(via).expect("Via")).collect();
    let read: Vec<_> =
        vias.iter().map(|via| (via.transport.as_str(), via.sent_by.as_str(), via.branch.as_deref())).collect();
    let expected = [
        ("UDP", "192.0.2.2", Some("390skdjuw")),
        ("TCP", "spindle.example.com", Some("z9hG4bK9ikj8")),
        ("UDP", "192.168.255.111", Some("z9hG4bK30239")),
    ];
    assert_eq!(read, expected);
    assert_eq!(headers.get("Subject"), Some(""));
    assert_eq!(headers.get("NewFangledHeader"), Some("newfangled value continued newfangled value"));
    assert_eq!(headers.get("UnknownHeaderWithUnusualValue"), Some(";;,,;;,;"));
    let contact = headers.contact().expect("readable").expect("there");
    assert_eq!(
        (contact.param("newparam"), contact.param("secondparam"), contact.param("q")),
        (Some("newvalue"), Some(""), Some("0.33"))
    );
    let route = headers.get("Route").map(lyncpin::sip::NameAddr::parse).expect("there").expect("readable");
    assert_eq!((route.uri.param("lr"), route.uri.param("unknown-no-value")), (Some(""), Some("")));
}

#[test]
fn unusual_characters_survive() {
    // RFC 4475 §3.1.1.2 to §3.1.1.5, §3.1.1.9, §3.1.1.12
    let message = parsed(&rfc_4475("intmeth"));
    assert_eq!(message.method(), Some("!interesting-Method0123456789_*+`.%indeed'~"));
    assert_eq!(message.headers.to().expect("To").display, "\"BEL:\\\u{7} NUL:\\\0 DEL:\\\u{7f}\"");
    let from = message.headers.from().expect("From");
    assert_eq!((from.tag(), from.param("fromParam''~+*_!.-%")), (Some("_token~1'+`*%!-."), Some("\"работающий\"")));
    let message = parsed(&rfc_4475("esc01"));
    let contact = message.headers.contact().expect("readable").expect("there").uri;
    assert_eq!((contact.param("lr"), contact.param("name")), (Some(""), Some("v%61lue%25%34%31")));
    assert_eq!(message.headers.to().expect("To").uri.address_of_record(), "user@example.com");
    let message = parsed(&rfc_4475("escnull"));
    assert_eq!(
        message.headers.values("Contact").collect::<Vec<_>>(),
        ["<sip:%00@host5.example.com>", "<sip:%00%00@host5.example.com>"]
    );
    let message = parsed(&rfc_4475("esc02"));
    assert_eq!(message.method(), Some("RE%47IST%45R"));
    assert_eq!((message.headers.fields("Contact").count(), message.headers.get("C%6Fntact").is_some()), (2, true));
    let message = parsed(&rfc_4475("semiuri"));
    let uri = lyncpin::sip::Uri::parse(message.request_uri().expect("a request")).expect("readable");
    assert_eq!(
        (uri.user.as_str(), uri.host.as_str(), uri.params.as_str()),
        ("user;par=u%40example.net", "example.com", "")
    );
    assert_eq!(message.headers.values("Accept").count(), 6);
    let message = parsed(&rfc_4475("unreason"));
    assert!(
        matches!(&message.start, lyncpin::sip::StartLine::Response { status: 200, reason } if reason.starts_with("= 2**3 * 5**2 но"))
    );
    let message = parsed(&rfc_4475("mpart01"));
    assert_eq!((message.body.len(), std::str::from_utf8(&message.body).is_err()), (553, true));
}

#[test]
fn long_values_are_read_whole() {
    // RFC 4475 §3.1.1.7
    let message = parsed(&rfc_4475("longreq"));
    assert_eq!(message.headers.fields("Via").count(), 34);
    assert_eq!(message.headers.from().expect("From").uri.user.len(), "amazinglylongcallername".len() * 5);
    assert_eq!(message.body.len(), 150);
}

#[test]
fn on_a_stream_trailing_octets_are_the_next_message() {
    // RFC 4475 §3.1.1.8
    let (frames, end) = frames(&rfc_4475("dblreq"), 64);
    let methods: Vec<_> = frames.iter().map(|f| matches!(f, Frame::Message(_))).collect();
    // The second one's Content-Length leaves a byte of its body, which begins no message.
    assert_eq!((methods, end), (vec![true, true], Cut(StreamFault::NotSip)));
    assert_eq!(parsed(&rfc_4475("dblreq")).method(), Some("REGISTER"));
}

#[test]
fn faults_outside_what_every_answer_needs_show_in_their_own_view() {
    // RFC 4475 §3.1.2.13, §3.2.1, §3.3.2 to §3.3.14, §3.4.1
    assert_eq!(parsed(&rfc_4475("regbadct")).headers.contact(), Err(value("Contact")));
    assert_eq!(parsed(&rfc_4475("badbranch")).headers.top_via().expect("Via").transaction_branch(), None);
    assert_eq!(parsed(&rfc_4475("unksm2")).headers.to().expect("To").uri.scheme, "isbn");
    assert_eq!(parsed(&rfc_4475("zeromf")).headers.max_forwards(), Ok(Some(0)));
    assert_eq!(parsed(&rfc_4475("bcast")).headers.fields("Via").count(), 2);
    let contact = |name| parsed(&rfc_4475(name)).headers.contact().expect("readable").expect("there");
    assert_eq!((contact("cparam01").params.as_str(), contact("cparam01").uri.params.as_str()), ("unknownparam", ""));
    assert_eq!((contact("cparam02").params.as_str(), contact("cparam02").uri.params.as_str()), ("", "unknownparam"));
    assert_eq!(contact("regescrt").uri.headers(), Some("Route=%3Csip:sip.example.com%3E"));
    let old = parsed(&rfc_4475("inv2543"));
    assert_eq!(
        (old.body.len(), old.headers.from().expect("From").tag(), old.headers.max_forwards()),
        (105, None, Ok(None))
    );
}

#[test]
fn ipv6_hosts_and_ports_are_told_apart() {
    // RFC 5118 §4.3 to §4.5, §4.7, §4.9, §4.10
    let uri = |name| {
        let message = parsed(&rfc_5118(name));
        let uri = lyncpin::sip::Uri::parse(message.request_uri().expect("a request")).expect("readable");
        (uri.host, uri.port)
    };
    assert_eq!(uri("port-ambiguous"), ("[2001:db8::10:5070]".to_owned(), None));
    assert_eq!(uri("port-unambiguous"), ("[2001:db8::10]".to_owned(), Some(5070)));
    assert_eq!(uri("ipv6-bug-abnf-3-colons").0, "[2001:db8:::192.0.2.1]");
    let via = |name| parsed(&rfc_5118(name)).headers.top_via().expect("Via");
    assert_eq!(via("via-received-param-no-delim").param("received"), Some("2001:db8::9:255"));
    assert_eq!(via("via-received-param-with-delim").param("received"), Some("[2001:db8::9:255]"));
    assert_eq!(via("mult-ip-in-header").sent_by, "[2001:db8::9:1]:6050");
    let contact = parsed(&rfc_5118("ipv4-mapped-ipv6")).headers.contact().expect("readable").expect("there");
    assert_eq!(contact.uri.host, "[::ffff:192.0.2.2]");
}
