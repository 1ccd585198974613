//! Headers: an ordered list whose values keep their bytes (RFC 3261 §7.3). The typed views are in `view.rs`.

use std::fmt;

use super::Malformed;
use super::text::{has_stray_control, is_token, is_token_byte, list, number, trim};

/// Names compare without case and in their compact forms (RFC 3261 §7.3.3); order and spelling stay as received, and so
/// do the blanks around the colon. One buffer holds all fields, so a message costs two allocations for its headers and
/// a look-up none.
#[derive(Clone, Default)]
pub struct Headers {
    /// Every field as `name: value`, one after the other; a removed field stays until the headers are dropped.
    text: String,
    fields: Vec<Field>,
}

/// Offsets into `Headers::text`: `start..name_end` is the name, `value..end` the trimmed value.
#[derive(Clone, Copy)]
struct Field {
    start: u32,
    name_end: u32,
    value: u32,
    end: u32,
}

/// Headers beyond this are refused at the parser, so that an offset fits; a thousand times any configured limit.
pub(super) const HEADERS_BYTES_MAX: usize = 64 * 1024 * 1024;

impl Headers {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        // Most header lines of real traffic are 40 to 90 bytes long.
        Self { text: String::with_capacity(bytes), fields: Vec::with_capacity(bytes / 64 + 4) }
    }

    /// Appends one received field, already unfolded, keeping its spelling.
    pub(super) fn append_line(&mut self, text: &str, line: usize) -> Result<(), Malformed> {
        if has_stray_control(text.as_bytes()) {
            return Err(Malformed::Control { line });
        }
        let colon = text.find(':').ok_or(Malformed::HeaderName { line })?;
        let name = text[..colon].trim_end_matches([' ', '\t']);
        if !is_token(name) {
            return Err(Malformed::HeaderName { line });
        }
        let text = text.trim_end_matches([' ', '\t']);
        let value = text[colon + 1..].trim_start_matches([' ', '\t']);
        self.append(text, name.len(), text.len() - value.len());
        Ok(())
    }

    fn append(&mut self, field: &str, name_bytes: usize, value_at: usize) {
        let field = self.field_of(field, name_bytes, value_at);
        self.fields.push(field);
    }

    fn field_of(&mut self, field: &str, name_bytes: usize, value_at: usize) -> Field {
        let offset = |at: usize| u32::try_from(at).expect("headers stay under HEADERS_BYTES_MAX");
        let start = self.text.len();
        self.text.push_str(field);
        Field {
            start: offset(start),
            name_end: offset(start + name_bytes),
            value: offset(start + value_at),
            end: offset(self.text.len()),
        }
    }

    /// Makes a field of our own. Bytes that could end the line or the name are replaced, so that no value, wherever it
    /// came from, can add a header.
    fn written(&mut self, name: &str, value: &str) -> Field {
        let name: String = name.chars().filter(|c| c.is_ascii() && is_token_byte(*c as u8)).collect();
        let value = trim(value);
        let mut field = format!("{name}: ");
        let value_at = field.len();
        if has_stray_control(value.as_bytes()) {
            field.extend(value.chars().map(|c| if c.is_ascii_control() { ' ' } else { c }));
        } else {
            field.push_str(value);
        }
        self.field_of(&field, name.len(), value_at)
    }

    /// Adds a field at the end.
    pub fn push(&mut self, name: impl AsRef<str>, value: impl AsRef<str>) {
        let field = self.written(name.as_ref(), value.as_ref());
        self.fields.push(field);
    }

    /// Adds a field before all others: a Via on top, a Route in front.
    pub fn insert_first(&mut self, name: impl AsRef<str>, value: impl AsRef<str>) {
        let field = self.written(name.as_ref(), value.as_ref());
        self.fields.insert(0, field);
    }

    /// Gives the first field of this name a new value where it stands, and removes the others; adds one when there is none.
    pub fn set(&mut self, name: impl AsRef<str>, value: impl AsRef<str>) {
        let field = self.written(name.as_ref(), value.as_ref());
        match self.position(name.as_ref()) {
            Some(first) => {
                self.remove(name.as_ref());
                self.fields.insert(first, field);
            }
            None => self.fields.push(field),
        }
    }

    /// Removes every field of this name; says how many there were.
    pub fn remove(&mut self, name: &str) -> usize {
        let before = self.fields.len();
        let text = &self.text;
        self.fields.retain(|field| !is_named(field.name(text), name));
        before - self.fields.len()
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| is_named(field.name(&self.text), name))
    }

    pub fn len(&self) -> usize {
        self.fields.len()
    }

    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The first field of this name (long form; a compact field answers to it), unfolded and trimmed.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.position(name).map(|at| self.fields[at].value(&self.text))
    }

    /// Every value of this name in order: fields repeated and values joined by commas alike, split outside quotes and
    /// angle brackets. Only for headers that are lists; a Date or a Subject has commas of its own.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.fields(name).flat_map(list)
    }

    /// Every field of this name in order, unsplit and verbatim: for copying Via and Record-Route.
    pub fn fields<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.iter().filter(move |(found, _)| is_named(found, name)).map(|(_, value)| value)
    }

    /// All fields in order, (name as received, value).
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|field| (field.name(&self.text), field.value(&self.text)))
    }

    /// Whether a list header of this name (Supported, Require, Allow) holds the token, compared without case.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.fields(name).flat_map(list).any(|value| value.eq_ignore_ascii_case(token))
    }

    /// Bytes the fields take when printed, about: for sizing the buffer.
    pub(super) fn printed_bytes(&self) -> usize {
        self.text.len() + 2 * self.fields.len() + 32
    }

    /// Prints the fields, each with CRLF. Content-Length keeps its place and spelling and gets the true value; a second
    /// one is not printed, a missing one comes last.
    pub(super) fn print(&self, body_bytes: usize, out: &mut Vec<u8>) {
        let mut has_length = false;
        for field in &self.fields {
            if is_named(field.name(&self.text), "Content-Length") {
                if has_length {
                    continue;
                }
                has_length = true;
                let value = field.value(&self.text);
                if number(value, u32::MAX).is_none_or(|value| value as usize != body_bytes) {
                    out.extend_from_slice(&self.text.as_bytes()[field.start as usize..field.value as usize]);
                    out.extend_from_slice(body_bytes.to_string().as_bytes());
                    out.extend_from_slice(b"\r\n");
                    continue;
                }
            }
            out.extend_from_slice(&self.text.as_bytes()[field.start as usize..field.end as usize]);
            out.extend_from_slice(b"\r\n");
        }
        if !has_length {
            out.extend_from_slice(format!("Content-Length: {body_bytes}\r\n").as_bytes());
        }
    }
}

impl Field {
    fn name(self, text: &str) -> &str {
        &text[self.start as usize..self.name_end as usize]
    }

    fn value(self, text: &str) -> &str {
        &text[self.value as usize..self.end as usize]
    }
}

/// Equal when names (as spelled) and values are, in order.
impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.fields.len() == other.fields.len() && self.iter().eq(other.iter())
    }
}

impl Eq for Headers {}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Whether a received name is this one: without case, either in its compact form.
pub(super) fn is_named(found: &str, wanted: &str) -> bool {
    long_form(found).eq_ignore_ascii_case(long_form(wanted))
}

/// RFC 3261 §20, RFC 3515, 3841, 3892, 4028, 4474, 6665: the compact forms of IANA's registry.
fn long_form(name: &str) -> &str {
    let &[letter] = name.as_bytes() else { return name };
    match letter.to_ascii_lowercase() {
        b'a' => "Accept-Contact",
        b'b' => "Referred-By",
        b'c' => "Content-Type",
        b'd' => "Request-Disposition",
        b'e' => "Content-Encoding",
        b'f' => "From",
        b'i' => "Call-ID",
        b'j' => "Reject-Contact",
        b'k' => "Supported",
        b'l' => "Content-Length",
        b'm' => "Contact",
        b'n' => "Identity-Info",
        b'o' => "Event",
        b'r' => "Refer-To",
        b's' => "Subject",
        b't' => "To",
        b'u' => "Allow-Events",
        b'v' => "Via",
        b'x' => "Session-Expires",
        b'y' => "Identity",
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Headers {
        let mut headers = Headers::default();
        headers.push("v", "SIP/2.0/TCP a");
        headers.push("Supported", "timer, ms-x");
        headers.push("Via", "SIP/2.0/TCP b, SIP/2.0/TCP c");
        headers
    }

    #[test]
    fn a_compact_name_answers_to_the_long_one_and_back() {
        let headers = sample();
        assert_eq!(headers.get("VIA"), Some("SIP/2.0/TCP a"));
        assert_eq!(headers.values("v").collect::<Vec<_>>(), ["SIP/2.0/TCP a", "SIP/2.0/TCP b", "SIP/2.0/TCP c"]);
        assert_eq!(headers.fields("Via").count(), 2);
        assert!(headers.has_token("k", "Timer") && !headers.has_token("k", "tim"));
        assert_eq!(headers.get("w"), None);
    }

    #[test]
    fn set_keeps_the_place_of_the_first_and_drops_the_rest() {
        let mut headers = sample();
        headers.set("Via", "one");
        headers.set("Expires", "0");
        headers.insert_first("Route", "<sip:r;lr>");
        let all: Vec<_> = headers.iter().collect();
        assert_eq!(all, [("Route", "<sip:r;lr>"), ("Via", "one"), ("Supported", "timer, ms-x"), ("Expires", "0")]);
        assert_eq!(headers.remove("Via"), 1);
        assert_eq!(headers.len(), 3);
    }

    #[test]
    fn a_value_cannot_add_a_header() {
        let mut headers = Headers::default();
        headers.push("X: y\r\nA", "1\r\nContent-Length: 9\r\n\r\nINVITE\0");
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("XyA", "1  Content-Length: 9    INVITE ")]);
    }
}
