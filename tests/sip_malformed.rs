//! The framer against streams that mean harm: request smuggling, endless messages, other protocols (RFC 3261 §18.3,
//! RFC 4475 §3.1.2, §3.3.9).

use lyncpin::sip::Malformed;
use lyncpin::sip::stream::{Frame, FrameError, Framer, Limits, StreamFault};

const HEAD: &str = "INFO sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP c;branch=z9hG4bK1\r\nFrom: <sip:d@e>;tag=1\r\nTo: <sip:a@b>\r\n\
     Call-ID: x\r\nCSeq: 1 INFO\r\n";

fn framed(bytes: &[u8]) -> (Vec<Frame>, Option<FrameError>) {
    let mut framer = Framer::new(Limits::default());
    framer.push(bytes);
    let mut frames = Vec::new();
    loop {
        match framer.next_frame() {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return (frames, None),
            Err(error) => return (frames, Some(error)),
        }
    }
}

fn fault_of(more: &str) -> Option<StreamFault> {
    let (frames, error) = framed(format!("{HEAD}{more}").as_bytes());
    assert!(error.is_none() || frames.is_empty(), "{more}: {frames:?}");
    let error = error?;
    if !matches!(error.fault, StreamFault::NotSip) {
        let reply = error.reply().expect("the five headers are there");
        assert_eq!(reply.status(), Some(error.fault.status()), "{more}");
        assert_eq!(reply.headers.call_id(), Ok("x"));
    }
    Some(error.fault)
}

#[test]
fn messages_pings_and_single_line_ends_are_told_apart() {
    // RFC 3261 §7.5, RFC 5626 §3.5.1
    let one = format!("{HEAD}l: 3\r\n\r\nabc");
    let (frames, error) = framed(format!("\r\n\r\n\r\n{one}\r\n{one}\r\n\r\n").as_bytes());
    assert_eq!(error, None);
    assert!(
        matches!(&frames[..], [Frame::Ping, Frame::Message(a), Frame::Message(b), Frame::Ping] if a == b && a.body == "abc")
    );
}

#[test]
fn a_content_length_two_readers_could_differ_on_closes_the_stream() {
    // RFC 3261 §18.3, §20.14; RFC 4475 §3.1.2.3, §3.3.9
    for value in [
        "-1",
        "+5",
        "5,5",
        "5 5",
        "5;x",
        "",
        "0x5",
        "five",
        "2147483648",
        "4294967301",
        "18446744073709551616",
        "5\u{b}",
        "٣",
    ] {
        assert_eq!(fault_of(&format!("Content-Length: {value}\r\n\r\nhello")), Some(StreamFault::Length), "{value}");
    }
    for line in [
        "Content-Length\u{b}: 5",
        "Content-Length\0: 5",
        "\u{a0}Content-Length: 5",
        "Content-Length 5",
        "X: y\r\n Content-Length: 5",
        "X: y\r\n\tl : 5",
        "Content-Length: 5\r\nContent-Length\u{1}: 6",
    ] {
        assert_eq!(fault_of(&format!("{line}\r\n\r\nhello")), Some(StreamFault::Length), "{line}");
    }
    assert_eq!(fault_of("Content-Length: 5\r\nl: 6\r\n\r\nhello!"), Some(StreamFault::LengthsDiffer));
    assert_eq!(fault_of("Content-Type: application/csta+xml\r\n\r\n<a/>"), Some(StreamFault::LengthMissing));
    assert_eq!(fault_of("Content-Length:\r\n  0005\t\r\n\r\nhello"), None);
}

#[test]
fn a_missing_content_length_without_a_content_type_is_zero() {
    let (frames, error) = framed(format!("{HEAD}\r\n{HEAD}l: 0\r\n\r\n").as_bytes());
    assert!(error.is_none() && frames.len() == 2);
}

#[test]
fn a_declared_size_over_the_cap_is_refused_before_any_body_byte() {
    let (max, length) = (Limits::default().body_bytes_max, "Content-Length: 65537\r\n\r\n");
    assert_eq!(fault_of(length), Some(StreamFault::BodyTooLong { max }));
    assert_eq!(fault_of("Content-Length: 2147483647\r\n\r\n"), Some(StreamFault::BodyTooLong { max }));
    assert_eq!(fault_of("Content-Length: 65536\r\n\r\n"), None);
}

#[test]
fn an_endless_head_is_refused_at_the_cap() {
    let max = Limits::default().head_bytes_max;
    assert_eq!(fault_of(&"X: y\r\n".repeat(max / 6)), Some(StreamFault::HeadTooLong { max }));
    assert_eq!(fault_of(&format!("X: {}", "y".repeat(max))), Some(StreamFault::HeadTooLong { max }));
    let exact = max - HEAD.len() - "X: \r\n\r\n".len();
    assert_eq!(fault_of(&format!("X: {}\r\n\r\n", "y".repeat(exact))), None);
    assert_eq!(fault_of(&format!("X: {}\r\n\r\n", "y".repeat(exact + 1))), Some(StreamFault::HeadTooLong { max }));
}

#[test]
fn line_ends_that_are_not_crlf_close_the_stream() {
    for more in ["X: y\nZ: w\r\n\r\n", "X: y\rZ: w\r\n\r\n", "X: y\r\n \r\nZ: w\r\n\r\n", "\n", "X\r\r\n\r\n"] {
        assert_eq!(fault_of(more), Some(StreamFault::LineEnd), "{more:?}");
    }
    for start in ["\n", "\r\r", "\rX", "\r\n\n", "INFO sip:a SIP/2.0\r\n X: y\r\n", "INFO sip:a SIP/2.0\n"] {
        let (frames, error) = framed(start.as_bytes());
        assert_eq!((frames.len(), error.map(|e| e.fault)), (0, Some(StreamFault::LineEnd)), "{start:?}");
    }
}

#[test]
fn another_protocol_is_known_by_its_first_byte_or_line() {
    for start in ["\x16\x03\x01", "<?xml", "GET / HTTP/1.1\r\n", "v=0\r\n", " INFO", "{}"] {
        let (_, error) = framed(start.as_bytes());
        assert_eq!(error.map(|e| (e.fault, e.reply().is_none())), Some((StreamFault::NotSip, true)), "{start:?}");
    }
}

#[test]
fn a_malformed_message_with_a_known_end_does_not_kill_the_flow() {
    let good = format!("{HEAD}l: 0\r\n\r\n");
    for (bad, error) in [
        (HEAD.replace("CSeq: 1 INFO", "CSeq: 1 BYE"), Malformed::MethodMismatch),
        (HEAD.replace("Call-ID: x", "Call-ID: x\r\ni: y"), Malformed::Repeated { name: "Call-ID" }),
        (format!("{HEAD}no colon\r\n"), Malformed::HeaderName { line: 7 }),
        (format!("{HEAD}X: \u{1}\r\n"), Malformed::Control { line: 7 }),
        (format!("{HEAD}l: 5\r\n"), Malformed::Repeated { name: "Content-Length" }),
        (HEAD.replace("SIP/2.0\r\nVia", "SIP/7.0\r\nVia"), Malformed::Version),
        (HEAD.replace("sip:a@b SIP", "sip:a@b:x SIP"), Malformed::Uri),
        (HEAD.replace("INFO sip", "INFO  sip"), Malformed::StartLine),
        (format!("{HEAD}{}", "X: y\r\n".repeat(300)), Malformed::TooManyHeaders { max: 256 }),
    ] {
        let (frames, closed) = framed(format!("{bad}Content-Length: 5\r\n\r\nhello{good}").as_bytes());
        assert_eq!(closed, None, "{bad}");
        let [Frame::Malformed { error: found, reply: Some(reply) }, Frame::Message(_)] = &frames[..] else {
            panic!("{bad}: {frames:?}");
        };
        assert_eq!((*found, reply.status()), (error, Some(error.status())), "{bad}");
    }
}

#[test]
fn a_malformed_response_or_ack_is_not_answered() {
    for start in ["SIP/2.0 200 OK", "ACK sip:a@b SIP/2.0"] {
        let text = HEAD.replace("INFO sip:a@b SIP/2.0", start).replace("CSeq: 1 INFO", "CSeq: x");
        let (frames, _) = framed(format!("{text}\r\n").as_bytes());
        assert!(matches!(&frames[..], [Frame::Malformed { reply: None, .. }]), "{frames:?}");
    }
}

#[test]
fn an_idle_framer_holds_no_heap() {
    let mut framer = Framer::new(Limits::default());
    framer.push(format!("{HEAD}l: 0\r\n\r\n\r\n\r").as_bytes());
    assert!(framer.is_mid_message() && framer.buffer_bytes() > 0);
    while framer.next_frame() != Ok(None) {}
    assert!(framer.is_idle() && !framer.is_mid_message());
    assert_eq!(framer.buffer_bytes(), 0);
    framer.push(b"\n");
    assert_eq!(framer.next_frame(), Ok(Some(Frame::Ping)));
    assert_eq!(framer.buffer_bytes(), 0);
}

#[test]
fn a_closed_framer_buffers_nothing_and_says_the_same() {
    let mut framer = Framer::new(Limits::default());
    framer.push(b"<");
    let error = framer.next_frame();
    framer.push(HEAD.as_bytes());
    assert_eq!(framer.buffer_bytes(), 0);
    assert_eq!(framer.next_frame(), error);
}
