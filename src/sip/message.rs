//! One SIP message: start line, headers, body (RFC 3261 §7).

use bytes::Bytes;

use super::{Headers, Malformed, Uri, parse};

/// A message as it stands on the wire; printing a parsed message yields its bytes again, up to line folding and blanks at
/// the ends of lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub start: StartLine,
    pub headers: Headers,
    pub body: Bytes,
}

/// Methods are any token (RFC 3261 §7.1), compared with case; the Request-URI is kept verbatim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartLine {
    Request { method: String, uri: String },
    Response { status: u16, reason: String },
}

impl Message {
    pub fn request(method: impl Into<String>, uri: impl Into<String>) -> Self {
        Self {
            start: StartLine::Request { method: method.into(), uri: uri.into() },
            headers: Headers::default(),
            body: Bytes::new(),
        }
    }

    pub fn response(status: u16, reason: impl Into<String>) -> Self {
        Self {
            start: StartLine::Response { status, reason: reason.into() },
            headers: Headers::default(),
            body: Bytes::new(),
        }
    }

    /// Parses one whole message (the framer has cut it out). The body is what Content-Length says, bytes beyond it are
    /// not part of the message; without one it is all the rest (RFC 3261 §18.3, datagrams). Syntax only: see
    /// [`Message::check`].
    pub fn parse(bytes: &Bytes) -> Result<Self, Malformed> {
        let head_bytes = parse::head_bytes(bytes).ok_or(Malformed::HeadUnended)?;
        let (start, headers) = parse::head(&bytes[..head_bytes], usize::MAX)?;
        let held = bytes.len() - head_bytes;
        let body_bytes = match headers.content_length()? {
            Some(declared) if declared as usize > held => return Err(Malformed::BodyShort),
            Some(declared) => declared as usize,
            None => held,
        };
        Ok(Self { start, headers, body: bytes.slice(head_bytes..head_bytes + body_bytes) })
    }

    /// Whether the message makes sense enough to be answered or matched (RFC 3261 §8.1.1, §8.2): one readable From, To,
    /// Call-ID and CSeq, a readable top Via, a Max-Forwards in range if any; for a request also a CSeq of its own method
    /// and, when the Request-URI is sip or sips, one that can be read and asks for no headers.
    pub fn check(&self) -> Result<(), Malformed> {
        self.headers.top_via()?;
        self.headers.call_id()?;
        self.headers.from()?;
        self.headers.to()?;
        let cseq = self.headers.cseq()?;
        self.headers.max_forwards()?;
        if let StartLine::Request { method, uri } = &self.start {
            if cseq.method != *method {
                return Err(Malformed::MethodMismatch);
            }
            let scheme = uri.split(':').next().unwrap_or_default();
            if scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips") {
                let uri = Uri::parse(uri)?;
                if uri.headers().is_some() {
                    return Err(Malformed::Uri);
                }
            }
        }
        Ok(())
    }

    /// Prints the message. `Content-Length` is always there and true: where the headers hold one it keeps its place and
    /// spelling, else it comes last. Line ends inside the start line are printed as spaces.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = Vec::with_capacity(128 + self.headers.printed_bytes() + self.body.len());
        match &self.start {
            StartLine::Request { method, uri } => {
                put_flat(method, &mut out);
                out.push(b' ');
                put_flat(uri, &mut out);
                out.extend_from_slice(b" SIP/2.0\r\n");
            }
            StartLine::Response { status, reason } => {
                out.extend_from_slice(b"SIP/2.0 ");
                out.extend_from_slice(status.to_string().as_bytes());
                out.push(b' ');
                put_flat(reason, &mut out);
                out.extend_from_slice(b"\r\n");
            }
        }
        self.headers.print(self.body.len(), &mut out);
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.body);
        Bytes::from(out)
    }

    pub fn method(&self) -> Option<&str> {
        match &self.start {
            StartLine::Request { method, .. } => Some(method),
            StartLine::Response { .. } => None,
        }
    }

    /// The Request-URI, verbatim.
    pub fn request_uri(&self) -> Option<&str> {
        match &self.start {
            StartLine::Request { uri, .. } => Some(uri),
            StartLine::Response { .. } => None,
        }
    }

    pub fn status(&self) -> Option<u16> {
        match &self.start {
            StartLine::Response { status, .. } => Some(*status),
            StartLine::Request { .. } => None,
        }
    }
}

/// No text of a start line can end the line.
fn put_flat(text: &str, out: &mut Vec<u8>) {
    out.extend(text.bytes().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Message, Malformed> {
        Message::parse(&Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn any_token_is_a_method_and_any_reason_is_kept() {
        for method in ["SERVICE", "BENOTIFY", "NEGOTIATE", "x!y"] {
            let text = format!("{method} sip:a SIP/2.0\r\nl: 0\r\n\r\n");
            let message = parse(&text).expect("valid");
            assert_eq!(message.method(), Some(method));
            assert_eq!(message.to_bytes(), text);
        }
        let text = "SIP/2.0 606 Nicht  anehmbar – nein\r\nl: 0\r\n\r\n";
        let message = parse(text).expect("valid");
        assert_eq!(message.start, StartLine::Response { status: 606, reason: "Nicht  anehmbar – nein".to_owned() });
        assert_eq!(message.to_bytes(), text);
    }

    #[test]
    fn a_stale_content_length_is_corrected_in_place_and_a_missing_one_comes_last() {
        let mut message = parse("INFO sip:a SIP/2.0\r\nl :  3\r\nX: y\r\n\r\nabc").expect("valid");
        assert_eq!(message.to_bytes(), "INFO sip:a SIP/2.0\r\nl :  3\r\nX: y\r\n\r\nabc");
        message.body = Bytes::from_static(b"\xff\x00");
        message.headers.push("Content-Length", "7");
        assert_eq!(&message.to_bytes()[..], b"INFO sip:a SIP/2.0\r\nl :  2\r\nX: y\r\n\r\n\xff\x00");
        message.headers.remove("Content-Length");
        assert_eq!(&message.to_bytes()[..], b"INFO sip:a SIP/2.0\r\nX: y\r\nContent-Length: 2\r\n\r\n\xff\x00");
    }

    #[test]
    fn folded_lines_become_one_line() {
        // RFC 3261 §7.3.1
        let message = parse("INFO sip:a SIP/2.0\r\nTO :\r\n sip:b ;\r\n\t tag=1  \r\nl:0\r\n\r\n").expect("valid");
        assert_eq!(message.headers.get("t"), Some("sip:b ; tag=1"));
        assert_eq!(message.to_bytes(), "INFO sip:a SIP/2.0\r\nTO : sip:b ; tag=1\r\nl:0\r\n\r\n");
    }

    #[test]
    fn no_start_line_text_ends_the_line() {
        let message = Message::response(400, "a\r\nVia: b");
        assert_eq!(message.to_bytes(), "SIP/2.0 400 a  Via: b\r\nContent-Length: 0\r\n\r\n");
    }

    #[test]
    fn syntax_two_parsers_could_read_differently_is_refused() {
        let line = |line: &str| parse(&format!("INFO sip:a SIP/2.0\r\nX: y\r\n{line}\r\n\r\n")).map(|_| ());
        assert_eq!(line("no colon"), Err(Malformed::HeaderName { line: 3 }));
        assert_eq!(line(": empty"), Err(Malformed::HeaderName { line: 3 }));
        assert_eq!(line("a b: c"), Err(Malformed::HeaderName { line: 3 }));
        assert_eq!(line("Content-Length\u{b}: 5"), Err(Malformed::Control { line: 3 }));
        assert_eq!(line("a: b\u{0}"), Err(Malformed::Control { line: 3 }));
        assert_eq!(line("a: b\rc: d"), Err(Malformed::LineEnd { line: 3 }));
        assert_eq!(line("a: b\nc: d"), Err(Malformed::LineEnd { line: 3 }));
        assert_eq!(line("a: b\r\n \t\r\nc: d"), Err(Malformed::LineEnd { line: 4 }));
        assert_eq!(line("Content-Length: 5"), Err(Malformed::BodyShort));
        assert_eq!(line("Content-Length: -5"), Err(Malformed::Value { name: "Content-Length" }));
        assert_eq!(line("a \t: b"), Ok(()));
        assert_eq!(parse("INFO sip:a SIP/2.0\r\n X: y\r\n\r\n"), Err(Malformed::LineEnd { line: 2 }));
        assert_eq!(
            Message::parse(&Bytes::from_static(b"INFO sip:a SIP/2.0\r\nX: \xff\r\n\r\n")),
            Err(Malformed::NotUtf8)
        );
        assert_eq!(parse("INFO sip:a SIP/2.0\r\nX: y\r\n"), Err(Malformed::HeadUnended));
    }

    #[test]
    fn start_lines_are_read_strictly() {
        let start = |line: &str| parse(&format!("{line}\r\nl: 0\r\n\r\n")).map(|m| m.start);
        for bad in [
            "INFO  sip:a SIP/2.0",
            "INFO sip:a  SIP/2.0",
            "INFO sip:a SIP/2.0 ",
            "INFO <sip:a> SIP/2.0",
            "INFO sip:a;  lr SIP/2.0",
            "INFO sip:a",
            "INFO",
            "",
            "IN(FO sip:a SIP/2.0",
            "SIP/2.0 20 OK",
            "SIP/2.0 2000 OK",
            "SIP/2.0 +20 OK",
            "SIP/2.0 099 x",
            "SIP/2.0 700 x",
            "SIP/2.0  200 OK",
            "SIP/2.0 4294967301 x",
            "INFO sip:a HTTP/1.1",
            "INFO sip:\u{7f} SIP/2.0",
        ] {
            assert!(
                matches!(start(bad), Err(Malformed::StartLine | Malformed::Control { .. })),
                "{bad}: {:?}",
                start(bad)
            );
        }
        assert_eq!(start("INFO sip:a SIP/7.0"), Err(Malformed::Version));
        assert_eq!(start("SIP/3.0 200 OK"), Err(Malformed::Version));
        assert_eq!(start("INFO sip:a sip/2.0"), Ok(StartLine::Request { method: "INFO".into(), uri: "sip:a".into() }));
        assert_eq!(start("SIP/2.0 100 "), Ok(StartLine::Response { status: 100, reason: String::new() }));
        assert_eq!(start("SIP/2.0 100"), Ok(StartLine::Response { status: 100, reason: String::new() }));
    }
}
