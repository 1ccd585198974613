//! Properties of any message: what is printed is read back, and no cut of a stream changes what it says.

use bytes::Bytes;
use lyncpin::sip::stream::{Frame, Framer, Limits};
use lyncpin::sip::{Headers, Message, NameAddr, StartLine, Uri, Via};
use proptest::collection::vec;
use proptest::prelude::*;

fn token() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9.!%*_+`'~-]{1,20}"
}

/// A value as it stands after parsing: trimmed, no control bytes.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), r#"[!-~é日]([ -~\té日]{0,60}[!-~é日])?"#]
}

fn start_line() -> impl Strategy<Value = StartLine> {
    prop_oneof![
        (token(), r#"[!#-;=?-~é]{1,60}"#).prop_map(|(method, uri)| StartLine::Request { method, uri }),
        (100_u16..700, value()).prop_map(|(status, reason)| StartLine::Response { status, reason }),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    (start_line(), vec((token(), value()), 0..12), vec(any::<u8>(), 0..200)).prop_map(|(start, fields, body)| {
        let mut headers = Headers::default();
        for (name, value) in fields.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("l")) {
            headers.push(name, value);
        }
        headers.push("Content-Length", body.len().to_string());
        Message { start, headers, body: Bytes::from(body) }
    })
}

/// One that makes sense, for a stream.
fn sensible() -> impl Strategy<Value = Message> {
    let start = prop_oneof![token().prop_map(Ok), (100_u16..700).prop_map(Err)];
    (start, token(), 0_u32..0x8000_0000, vec((token(), value()), 0..4), vec(any::<u8>(), 0..100)).prop_map(
        |(start, id, number, fields, body)| {
            let method = start.clone().unwrap_or_else(|_| "INFO".to_owned());
            let mut message = match start {
                Ok(method) => Message::request(method, "sip:rccgw@rccgw.contoso.com"),
                Err(status) => Message::response(status, "as it is"),
            };
            for (name, value) in
                [("Via", "SIP/2.0/TLS a.b:1;branch=z9hG4bK1"), ("From", "<sip:a@b>;tag=1"), ("To", "sip:c@d")]
            {
                message.headers.push(name, value);
            }
            message.headers.push("Call-ID", id);
            message.headers.push("CSeq", format!("{number} {method}"));
            for (name, value) in fields {
                message.headers.push(format!("X-{name}"), value);
            }
            message.headers.push("l", body.len().to_string());
            message.body = Bytes::from(body);
            message
        },
    )
}

fn frames(stream: &[u8], cuts: &[usize]) -> Vec<Frame> {
    let mut framer = Framer::new(Limits::default());
    let mut frames = Vec::new();
    let mut from = 0;
    for to in cuts.iter().copied().chain([stream.len()]) {
        framer.push(&stream[from..to]);
        from = to;
        while let Some(frame) = framer.next_frame().expect("valid messages") {
            frames.push(frame);
        }
    }
    assert_eq!(framer.buffer_bytes(), 0, "idle");
    frames
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(message in message()) {
        let printed = message.to_bytes();
        let read = Message::parse(&printed);
        prop_assert_eq!(read.as_ref(), Ok(&message));
        prop_assert_eq!(read.map(|read| read.to_bytes()), Ok(printed));
    }

    #[test]
    fn no_cut_of_a_stream_changes_what_it_says(
        messages in vec((sensible(), "(\r\n){0,5}"), 1..5),
        cuts in vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut stream = Vec::new();
        let mut expected = Vec::new();
        for (message, gap) in &messages {
            stream.extend_from_slice(&message.to_bytes());
            expected.push(Frame::Message(Box::new(message.clone())));
            stream.extend_from_slice(gap.as_bytes());
            expected.extend(std::iter::repeat_n(Frame::Ping, gap.len() / 4));
        }
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        cuts.sort_unstable();
        prop_assert_eq!(frames(&stream, &cuts), expected);
    }

    #[test]
    fn any_bytes_are_read_the_same_whole_and_in_pieces(bytes in vec(any::<u8>(), 0..300), head in any::<bool>()) {
        let start: &[u8] = if head { b"INFO sip:a SIP/2.0\r\n" } else { b"" };
        let stream = [start, &bytes].concat();
        let read = |piece: usize| {
            let mut framer = Framer::new(Limits::default());
            let mut seen = Vec::new();
            for piece in stream.chunks(piece.max(1)) {
                framer.push(piece);
                loop {
                    match framer.next_frame() {
                        Ok(Some(frame)) => seen.push(Ok(frame)),
                        Ok(None) => break,
                        Err(error) => {
                            seen.push(Err(error));
                            return seen;
                        }
                    }
                }
            }
            seen
        };
        prop_assert_eq!(read(stream.len()), read(1));
    }

    #[test]
    fn views_never_panic_and_keep_their_text(text in r#"[ -~\té]{0,80}"#) {
        if let Ok(uri) = Uri::parse(&text) {
            prop_assert_eq!(&uri.text, &text);
            let _ = (uri.param("lr"), uri.headers(), uri.user_name(), uri.address_of_record());
        }
        if let Ok(address) = NameAddr::parse(&text) {
            prop_assert_eq!(address.text.as_str(), text.trim_matches([' ', '\t']));
            prop_assert_eq!(NameAddr::parse(&address.text), Ok(address));
        }
        if let Ok(via) = Via::parse(&text) {
            prop_assert_eq!(via.text.as_str(), text.trim_matches([' ', '\t']));
        }
    }

    #[test]
    fn name_addrs_made_of_parts_give_the_parts_back(
        display in prop_oneof![Just(String::new()), Just("\"a, \\\"b\\\" <c>;d\" ".to_owned()), token().prop_map(|t| t + " ")],
        user in "[a-z0-9.;=%_]{1,12}",
        host in prop_oneof![Just("[2001:db8::1]".to_owned()), "[a-z][a-z0-9.-]{0,12}"],
        port in proptest::option::of(any::<u16>()),
        opaque in "[a-zA-Z0-9:_.-]{1,20}",
        tag in token(),
    ) {
        let port_text = port.map(|port| format!(":{port}")).unwrap_or_default();
        let text = format!("{display}<sip:{user}@{host}{port_text};opaque={opaque};gruu>;tag={tag};epid=1");
        let read = NameAddr::parse(&text).expect("valid");
        prop_assert_eq!(read.display.as_str(), display.trim_end());
        prop_assert_eq!((&read.uri.user, &read.uri.host, read.uri.port), (&user, &host, port));
        prop_assert_eq!(read.uri.param("opaque"), Some(opaque.as_str()));
        prop_assert_eq!((read.tag(), read.param("epid")), (Some(tag.as_str()), Some("1")));
    }
}
