//! In the manner of PROTOS c07-sip: one valid message, one anomaly, one place; every combination, in a fixed order.

use std::ops::Range;

use lyncpin::sip::stream::{Frame, FrameError, Framer, Limits};

const LIMITS: Limits = Limits { head_bytes_max: 32 * 1024, headers_max: 256, body_bytes_max: 64 * 1024 };

/// The valid message; `{n}` is place n of [`PLACES`]. A line turned into a fold continues a header, not the start line.
const TEMPLATE: &str = "{0} {1} {2}\r\nUser-Agent: x\r\n{3}: SIP/2.0/{4} {5};branch={6};rport\r\nMax-Forwards: {7}\r\n\
    From: {8} <{9}>;tag={10};epid=bd23d94254\r\nTo: <{11}>;{12}\r\nCall-ID: {13}\r\nCSeq: {14} {15}\r\n\
    Contact: <{16}>;{17}\r\nSupported: {18}\r\nContent-Type: {19}\r\n{20}: {21}\r\nContent-Length: {22}\r\n\r\n{23}";

const PLACES: [&str; 24] = [
    "INFO",
    "sip:rccgw@rccgw.contoso.com:5065;transport=tls",
    "SIP/2.0",
    "Via",
    "TLS",
    "10.0.0.10:58201",
    "z9hG4bK6A0D3F16",
    "69",
    "\"Alice\"",
    "sip:alice@contoso.com",
    "9c41d7e2b0",
    "sip:rccgw@rccgw.contoso.com",
    "tag=gw1",
    "c7a1f0b2e4d94c6f8a35d1907be2c4aa",
    "3",
    "INFO",
    "sip:alice@contoso.com;opaque=user:epid:Qx3m;gruu",
    "expires=7200",
    "timer",
    "application/csta+xml",
    "X-Note",
    "anything",
    "",
    "<MonitorStart/>",
];

const METHOD: usize = 0;
const VERSION: usize = 2;
const CONTENT_LENGTH: usize = 22;
const BODY: usize = 23;

/// Repeated to the sizes below.
const REPEATED: [&[u8]; 34] = [
    b"a",
    b"9",
    b"0",
    b" ",
    b"\t",
    b"\"",
    b"\\",
    b"<",
    b">",
    b";",
    b",",
    b":",
    b"@",
    b"%",
    b"=",
    b"/",
    b"?",
    b"[",
    b"]",
    b"(",
    b"&",
    b"\0",
    b"\x0b",
    b"\x7f",
    b"\xc3\xa9",
    b"\xff",
    b"\xc0\x80",
    b"%s%n",
    b"%00",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n ",
    b"\r\n\r\n",
];

const SIZES: [usize; 6] = [0, 1, 255, 256, 4096, 65536];

/// Put in once: numbers at their edges, and texts that mean something elsewhere.
const ONCE: [&[u8]; 26] = [
    b"-1",
    b"+1",
    b"0x10",
    b"1e3",
    b"5,5",
    b"255",
    b"256",
    b"65535",
    b"65536",
    b"65537",
    b"2147483647",
    b"2147483648",
    b"4294967295",
    b"4294967296",
    b"4294967301",
    b"18446744073709551615",
    b"18446744073709551616",
    b"340282366920938463463374607431768211456",
    b"*",
    b"\"unended",
    b"<unended",
    b"a b",
    b"[::1]",
    b"\r\nContent-Length: 0",
    b"\r\nVia: SIP/2.0/TLS 192.0.2.1",
    b"\r\n\tl: 0",
];

/// An anomaly instead of the text of its place, before it, after it, and inside it.
fn joined(text: &[u8], anomaly: &[u8]) -> [Vec<u8>; 4] {
    let (left, right) = text.split_at(text.len() / 2);
    [anomaly.to_vec(), [anomaly, text].concat(), [text, anomaly].concat(), [left, anomaly, right].concat()]
}

fn message(place: usize, text: &[u8]) -> Vec<u8> {
    let body = if place == BODY { text } else { PLACES[BODY].as_bytes() };
    let length = body.len().to_string();
    let mut out = Vec::new();
    let mut rest = TEMPLATE;
    while let Some((fixed, more)) = rest.split_once('{') {
        let (number, more) = more.split_once('}').expect("places are closed");
        let number: usize = number.parse().expect("places are numbers");
        out.extend_from_slice(fixed.as_bytes());
        match number {
            _ if number == place => out.extend_from_slice(text),
            CONTENT_LENGTH => out.extend_from_slice(length.as_bytes()),
            _ => out.extend_from_slice(PLACES[number].as_bytes()),
        }
        rest = more;
    }
    out
}

fn place_text(place: usize) -> String {
    if place == CONTENT_LENGTH { PLACES[BODY].len().to_string() } else { PLACES[place].to_owned() }
}

/// (place, the text put there), all of them.
fn cases(places: Range<usize>) -> impl Iterator<Item = (usize, Vec<u8>)> {
    let repeated = REPEATED.iter().flat_map(|unit| {
        SIZES.iter().map(move |size| {
            unit.iter().copied().cycle().take(size.div_ceil(unit.len()) * unit.len()).collect::<Vec<u8>>()
        })
    });
    let anomalies: Vec<Vec<u8>> = repeated.chain(ONCE.iter().map(|text| text.to_vec())).collect();
    places.flat_map(move |place| {
        let text = place_text(place);
        let texts = anomalies.iter().flat_map(|anomaly| joined(text.as_bytes(), anomaly));
        texts.map(|text| (place, text)).collect::<Vec<_>>()
    })
}

/// Whether everyone must agree where the message ends, whatever its headers look like.
fn has_known_end(place: usize, text: &[u8], case: &[u8]) -> bool {
    let head_bytes = memchr::memmem::find(case, b"\r\n\r\n").expect("the template has an end") + 4;
    match place {
        BODY => text.len() <= LIMITS.body_bytes_max,
        _ if text.contains(&b'\r') || text.contains(&b'\n') => false,
        // A first line is known by its method and its version.
        METHOD => {
            let word = text.split(|byte| b" \t".contains(byte)).next().unwrap_or_default();
            head_bytes <= LIMITS.head_bytes_max && !word.is_empty() && word.iter().all(|b| is_token(*b))
        }
        VERSION => {
            let word = text.split(|byte| b" \t".contains(byte)).rfind(|word| !word.is_empty());
            head_bytes <= LIMITS.head_bytes_max && word.is_some_and(|word| word.starts_with(b"SIP/"))
        }
        CONTENT_LENGTH => {
            head_bytes <= LIMITS.head_bytes_max
                && text.iter().all(u8::is_ascii_digit)
                && std::str::from_utf8(text).is_ok_and(|t| t.parse() == Ok(PLACES[BODY].len()))
        }
        _ => head_bytes <= LIMITS.head_bytes_max,
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte)
}

/// Feeds the stream in pieces, drains after each, and watches the memory.
fn fed(stream: &[u8], mut piece: impl FnMut() -> usize) -> (Vec<Frame>, Option<FrameError>) {
    let mut framer = Framer::new(LIMITS);
    let mut frames = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(piece().clamp(1, rest.len()));
        rest = later;
        framer.push(now);
        loop {
            match framer.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
        // Growth doubles.
        let bound = 2 * (LIMITS.head_bytes_max + LIMITS.body_bytes_max + now.len());
        assert!(framer.buffer_bytes() <= bound, "{} bytes held", framer.buffer_bytes());
    }
    (frames, None)
}

/// Sizes from 1 to `max`, the same every time (xorshift).
fn pieces(seed: usize, max: u64) -> impl FnMut() -> usize {
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ seed as u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % max).expect("small") + 1
    }
}

#[test]
fn an_anomaly_in_start_line_via_or_from_never_panics_never_multiplies_and_never_deafens() {
    judge(0..11);
}

#[test]
fn an_anomaly_in_other_headers_or_body_never_panics_never_multiplies_and_never_deafens() {
    judge(11..PLACES.len());
}

/// Every anomaly in these places, each followed by a valid message.
fn judge(places: Range<usize>) {
    let marker =
        message(usize::MAX, b"").iter().map(|b| char::from(*b)).collect::<String>().replace("c7a1f0b2", "marker00");
    let (mut count, mut known, mut usable, mut closed) = (0, 0, 0, 0);
    for (place, text) in cases(places) {
        let case = message(place, &text);
        let at = || {
            format!("place {place}, {} bytes, {:?}", text.len(), String::from_utf8_lossy(&text[..text.len().min(80)]))
        };
        let stream = [&case[..], marker.as_bytes()].concat();
        let whole = fed(&stream, || stream.len());
        let split = match text.len() {
            0..=64 => fed(&stream, || 1),
            65..=8192 => fed(&stream, pieces(text.len(), 97)),
            _ => fed(&stream, pieces(text.len(), 4999)),
        };
        assert!(whole == split, "{}: {whole:?} in one piece, {split:?} in many", at());
        let (frames, error) = whole;
        let messages = frames.iter().filter(|frame| **frame != Frame::Ping).count();
        assert!(messages <= 2, "{}: {frames:?}", at());
        let is_marker = |frame: &Frame| matches!(frame, Frame::Message(m) if m.headers.call_id().is_ok_and(|id| id.starts_with("marker00")));
        if has_known_end(place, &text, &case) {
            assert!(error.is_none(), "{}: closed: {error:?}", at());
            assert!(messages == 2 && frames.last().is_some_and(is_marker), "{}: deaf: {frames:?}", at());
            known += 1;
        }
        // Whoever is neither closed nor waiting has read the next message, and read it right.
        assert!(error.is_some() || messages < 2 || frames.last().is_some_and(is_marker), "{}: {frames:?}", at());
        count += 1;
        usable += usize::from(frames.iter().any(|frame| matches!(frame, Frame::Message(_)) && !is_marker(frame)));
        closed += usize::from(error.is_some());
    }
    println!("{count} cases: {known} with a known end, {usable} usable, {closed} closed");
    assert!(count >= 10_000 && known > count / 2 && usable > 1_000 && closed > 1_000);
}

#[test]
fn a_flood_of_line_ends_buffers_nothing_and_yields_only_pings() {
    let mut framer = Framer::new(LIMITS);
    let flood = b"\r\n".repeat(16 * 1024);
    let mut pings = 0;
    for _ in 0..64 {
        framer.push(&flood);
        while let Some(frame) = framer.next_frame().expect("nothing is wrong with line ends") {
            assert_eq!(frame, Frame::Ping);
            pings += 1;
        }
        assert_eq!(framer.buffer_bytes(), 0);
    }
    assert_eq!(pings, 64 * 8 * 1024);
}

#[test]
fn a_body_cut_anywhere_waits_and_then_is_whole() {
    let whole = message(usize::MAX, b"");
    for cut in 1..whole.len() {
        let mut framer = Framer::new(LIMITS);
        framer.push(&whole[..cut]);
        assert_eq!(framer.next_frame(), Ok(None), "{cut}");
        assert!(framer.is_mid_message(), "{cut}");
        framer.push(&whole[cut..]);
        assert!(matches!(framer.next_frame(), Ok(Some(Frame::Message(_)))), "{cut}");
    }
}
