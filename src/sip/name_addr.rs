//! name-addr and addr-spec (RFC 3261 §20.10, §25.1).

use super::text::{are_params, closing_quote, find_outside, is_token_byte, param, trim};
use super::{Malformed, Uri};

/// From, To, Contact, Route: a name-addr or addr-spec with its header parameters (RFC 3261 §20.10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameAddr {
    /// The display name as written, quotes included; empty when there is none.
    pub display: String,
    pub uri: Uri,
    /// Header parameters as received, without the leading `;`, e.g. `tag=9c41d7e2b0;epid=bd23d94254`.
    pub params: String,
    /// The whole value, verbatim.
    pub text: String,
}

impl NameAddr {
    /// Without angle brackets the first `;` begins the header's parameters, and a `?` is refused (RFC 3261 §20.10). A
    /// display name may hold letters beyond ASCII without quotes, which the grammar does not allow and servers send.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let text = trim(text);
        let (display, rest) = match text.strip_prefix('"') {
            Some(quoted) => {
                let end = closing_quote(quoted).ok_or(Malformed::NameAddr)? + 2;
                let rest = trim(&text[end..]);
                (&text[..end], rest.strip_prefix('<').ok_or(Malformed::NameAddr)?)
            }
            None => match text.find(['<', ';']).filter(|at| text.as_bytes()[*at] == b'<') {
                Some(bracket) => (trim(&text[..bracket]), &text[bracket + 1..]),
                None => return Self::from_addr_spec(text),
            },
        };
        if !display.starts_with('"') && !display.bytes().all(is_display_byte) {
            return Err(Malformed::NameAddr);
        }
        let end = rest.find('>').ok_or(Malformed::NameAddr)?;
        let params = match trim(&rest[end + 1..]) {
            "" => "",
            after => valid_params(after.strip_prefix(';').ok_or(Malformed::NameAddr)?)?,
        };
        Ok(Self {
            display: display.to_owned(),
            uri: Uri::parse(&rest[..end])?,
            params: params.to_owned(),
            text: text.to_owned(),
        })
    }

    fn from_addr_spec(text: &str) -> Result<Self, Malformed> {
        let (uri, params) = match find_outside(text, b';', false) {
            Some(semicolon) => (trim(&text[..semicolon]), valid_params(&text[semicolon + 1..])?),
            None => (text, ""),
        };
        if uri.contains(['?', ',']) {
            return Err(Malformed::NameAddr);
        }
        Ok(Self { display: String::new(), uri: Uri::parse(uri)?, params: params.to_owned(), text: text.to_owned() })
    }

    /// A header parameter by name, without case; `Some("")` for one without a value. A quoted value keeps its quotes.
    pub fn param(&self, name: &str) -> Option<&str> {
        param(&self.params, name)
    }

    /// `None` also for an empty tag, which identifies nobody.
    pub fn tag(&self) -> Option<&str> {
        self.param("tag").filter(|tag| !tag.is_empty())
    }
}

fn valid_params(text: &str) -> Result<&str, Malformed> {
    let text = trim(text);
    if text.is_empty() || !are_params(text) {
        return Err(Malformed::NameAddr);
    }
    Ok(text)
}

fn is_display_byte(byte: u8) -> bool {
    is_token_byte(byte) || byte == b' ' || byte == b'\t' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> NameAddr {
        NameAddr::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_gruu_in_brackets_keeps_its_parameters_apart_from_the_headers() {
        let contact = read(
            r#""Alice, A" <sip:alice@contoso.com;opaque=user:epid:Qx3AA;gruu>;+sip.instance="<urn:uuid:1;2>";q=1"#,
        );
        assert_eq!(contact.display, r#""Alice, A""#);
        assert_eq!(contact.uri.params, "opaque=user:epid:Qx3AA;gruu");
        assert_eq!(contact.param("+sip.instance"), Some(r#""<urn:uuid:1;2>""#));
        assert_eq!(contact.param("Q"), Some("1"));
        assert_eq!(contact.param("gruu"), None);
    }

    #[test]
    fn without_brackets_parameters_belong_to_the_header() {
        // RFC 3261 §20.10
        let from = read("sip:caller@example.com ; tag = 938;x");
        assert_eq!(
            (from.uri.text.as_str(), from.tag(), from.param("x")),
            ("sip:caller@example.com", Some("938"), Some(""))
        );
        assert_eq!(read("caller<sip:caller@example.com>;tag=323").display, "caller");
        assert_eq!(read("Jürgen M. <tel:+1;ext=5>").uri.params, "ext=5");
    }

    #[test]
    fn what_could_be_read_two_ways_is_refused() {
        for bad in [
            "",
            "*",
            "\"Mr. J. User <sip:j.user@example.com>",
            "\"A\" < sip:a@b >",
            "Bell, Alexander <sip:a@b>",
            "<sip:a@b",
            "<sip:a@b> x",
            "<sip:a@b>;;;;",
            "<sip:a@b>;",
            "sip:a@b?Route=%3Csip:c%3E",
            "\"A\" sip:a@b",
            "<sip:a@b>;tag=\"x",
            "<>",
            "\"\\\"<sip:a@b>",
            "sip:a@b <sip:c@d>",
            "<sip:a@b<sip:c@d>>",
        ] {
            assert!(NameAddr::parse(bad).is_err(), "{bad}");
        }
    }
}
