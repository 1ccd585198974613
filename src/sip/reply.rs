//! Responses made from their request (RFC 3261 §8.2.6), also from one that cannot be parsed.

use super::header::is_named;
use super::text::has_stray_control;
use super::{Headers, Malformed, Message};

/// What a response copies, in the order it is written.
const COPIED: [&str; 5] = ["Via", "From", "To", "Call-ID", "CSeq"];

impl Message {
    /// A response with every Via, From, To, Call-ID and CSeq of the request, values verbatim (RFC 3261 §8.2.6.2). The
    /// caller adds a To tag ([`Headers::tag_to`]) and, in a dialog-forming answer, Record-Route. Never answer an ACK.
    pub fn reply_to(request: &Message, status: u16, reason: impl Into<String>) -> Self {
        let mut reply = Self::response(status, reason);
        for name in COPIED {
            for value in request.headers.fields(name) {
                reply.headers.push(name, value);
            }
        }
        reply
    }
}

/// The refusal of a request that cannot be used, made from the lines that can be read; repeated single-valued headers
/// give their first. `None` when one of the five is missing or unreadable, for a response, and for an ACK.
///
/// `head` need not be complete; only whole lines count.
pub(super) fn refusal(head: &[u8], status: u16, reason: String) -> Option<Box<Message>> {
    let mut lines = head.split_inclusive(|byte| *byte == b'\n').map_while(|line| line.strip_suffix(b"\r\n"));
    let start = lines.next()?;
    let is = |prefix: &[u8]| start.get(..prefix.len()).is_some_and(|found| found.eq_ignore_ascii_case(prefix));
    if is(b"SIP/") || start.starts_with(b"ACK ") {
        return None;
    }
    let mut found = Headers::default();
    let mut field: Vec<u8> = Vec::new();
    for line in lines.chain(std::iter::once(&b""[..])) {
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            field.push(b' ');
            field.extend_from_slice(line.trim_ascii());
            continue;
        }
        take(&field, &mut found);
        field.clear();
        field.extend_from_slice(line);
    }
    let mut reply = Message::response(status, reason);
    for name in COPIED {
        let mut values = found.fields(name);
        reply.headers.push(name, values.next()?);
        if name == "Via" {
            values.for_each(|via| reply.headers.push(name, via));
        }
    }
    let tag = fingerprint(&reply.headers);
    reply.headers.tag_to(&format!("{tag:016x}"));
    Some(Box::new(reply))
}

/// Keeps a field a response copies, if it is readable.
fn take(field: &[u8], found: &mut Headers) {
    let Ok(text) = std::str::from_utf8(field) else { return };
    let Some((name, _)) = text.split_once(':') else { return };
    let name = name.trim_end_matches([' ', '\t']);
    if COPIED.iter().any(|copied| is_named(name, copied)) && !has_stray_control(field) {
        // A field that is no field after all is left out like an unreadable one.
        let _: Result<(), Malformed> = found.append_line(text, 0);
    }
}

/// A To tag that is the same for a repeated request (RFC 3261 §8.2.7): FNV-1a over what the response copies.
fn fingerprint(headers: &Headers) -> u64 {
    let bytes = headers.iter().flat_map(|(_, value)| value.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "INFO sip:a SIP/2.0\r\nv: SIP/2.0/TCP a\r\n ;branch=1\r\nVIA: SIP/2.0/TCP b\r\nX: \u{1}\r\nf: <sip:b>;tag=1\r\n\
         t : sip:c\r\ni: x\r\nCSeq: 99999999999 INFO\r\n";

    #[test]
    fn a_reply_copies_every_via_and_the_four_others() {
        let mut request = Message::request("INFO", "sip:a");
        for (name, value) in
            [("t", "<sip:b>"), ("v", "V1, V2"), ("X", "y"), ("Via", "V3"), ("i", "id"), ("CSeq", "1 INFO"), ("f", "F")]
        {
            request.headers.push(name, value);
        }
        let reply = Message::reply_to(&request, 200, "OK");
        let copied: Vec<_> = reply.headers.iter().collect();
        let expected =
            [("Via", "V1, V2"), ("Via", "V3"), ("From", "F"), ("To", "<sip:b>"), ("Call-ID", "id"), ("CSeq", "1 INFO")];
        assert_eq!(copied, expected);
    }

    #[test]
    fn a_refusal_is_made_from_what_can_be_read() {
        let reply = refusal(HEAD.as_bytes(), 400, "Bad Request".to_owned()).expect("all five are there");
        let copied: Vec<_> = reply.headers.iter().filter(|(name, _)| *name != "To").collect();
        let vias = [("Via", "SIP/2.0/TCP a ;branch=1"), ("Via", "SIP/2.0/TCP b")];
        assert_eq!(copied[..2], vias);
        assert_eq!(copied[2..], [("From", "<sip:b>;tag=1"), ("Call-ID", "x"), ("CSeq", "99999999999 INFO")]);
        assert!(reply.headers.get("To").is_some_and(|to| to.starts_with("sip:c;tag=") && to.len() == 26));
    }

    #[test]
    fn what_cannot_be_answered_is_not() {
        let refused = |head: &str| refusal(head.as_bytes(), 400, String::new()).is_none();
        assert!(refused(&HEAD.replace("INFO sip", "ACK sip")));
        assert!(refused(&HEAD.replace("INFO sip:a SIP/2.0", "SIP/2.0 200 OK")));
        assert!(refused(&HEAD.replace("i: x", "i: \u{2}")));
        assert!(refused(HEAD.trim_end()));
        assert!(refused(""));
    }
}
