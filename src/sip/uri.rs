//! URIs: sip, sips and tel, with parameters kept verbatim (RFC 3261 §19.1, RFC 3966).

use super::Malformed;
use super::text::{number, trim};

/// A URI whose text is never rewritten; the fields are views for decisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uri {
    /// Lower case: `sip`, `sips`, `tel` or another token.
    pub scheme: String,
    /// For sip: before the `@`, as written, a password included; empty when absent. For tel: the number.
    pub user: String,
    /// Lower case; IPv6 in brackets; empty for tel.
    pub host: String,
    pub port: Option<u16>,
    /// After the first `;`, as written, up to `?`; may hold colons, as Lync's GRUUs do.
    pub params: String,
    /// The whole URI, verbatim.
    pub text: String,
}

impl Uri {
    /// Escapes stay as written; a broken one (`%4`) is text like any other. A URI with two `@` is refused: where its host
    /// begins would depend on the reader.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        Self::read(text).ok_or(Malformed::Uri)
    }

    fn read(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once(':')?;
        let valid_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        let stray = |byte: u8| byte <= b' ' || byte == 0x7f || matches!(byte, b'<' | b'>' | b'"');
        if !valid_scheme || rest.is_empty() || rest.bytes().any(stray) {
            return None;
        }
        let mut uri = Self {
            scheme: scheme.to_ascii_lowercase(),
            user: String::new(),
            host: String::new(),
            port: None,
            params: String::new(),
            text: text.to_owned(),
        };
        match uri.scheme.as_str() {
            "sip" | "sips" => uri.read_sip(rest)?,
            "tel" => {
                let (number, params) = rest.split_once(';').unwrap_or((rest, ""));
                if number.is_empty() {
                    return None;
                }
                uri.user = number.to_owned();
                uri.params = params.to_owned();
            }
            _ => {}
        }
        Some(uri)
    }

    fn read_sip(&mut self, rest: &str) -> Option<()> {
        let rest = match rest.split_once('@') {
            Some(("", _)) => return None,
            Some((user, rest)) if !rest.contains('@') => {
                self.user = user.to_owned();
                rest
            }
            Some(_) => return None,
            None => rest,
        };
        let (rest, _headers) = rest.split_once('?').unwrap_or((rest, ""));
        let (address, params) = rest.split_once(';').unwrap_or((rest, ""));
        if trim(address) != address {
            return None;
        }
        let (host, port) = host_and_port(address)?;
        self.host = host.to_ascii_lowercase();
        self.port = port;
        self.params = params.to_owned();
        Some(())
    }

    /// A parameter by name, without case, escapes resolved in the name; `Some("")` for one without a value.
    pub fn param(&self, name: &str) -> Option<&str> {
        let named = |found: &str| match found.contains('%') {
            true => unescaped(found).eq_ignore_ascii_case(name),
            false => found.eq_ignore_ascii_case(name),
        };
        let params = self.params.split(';').map(|param| param.split_once('=').unwrap_or((param, "")));
        params.into_iter().find(|(found, _)| named(found)).map(|(_, value)| value)
    }

    /// After the `?` of a sip URI, as written: headers a caller is asked to add. `None` when there are none.
    pub fn headers(&self) -> Option<&str> {
        if !matches!(self.scheme.as_str(), "sip" | "sips") {
            return None;
        }
        let after_user = self.text.split_once('@').map_or(self.text.as_str(), |(_, rest)| rest);
        after_user.split_once('?').map(|(_, headers)| headers)
    }

    /// The user without its password: `alice` of `alice:secret@host`.
    pub fn user_name(&self) -> &str {
        self.user.split_once(':').map_or(self.user.as_str(), |(name, _)| name)
    }

    /// `user@host` in the form two spellings of one address of record share (RFC 3261 §19.1.4): host in lower case, escapes
    /// that need not be escapes resolved, the others in upper case, no password, no port. For tel: the number alone.
    pub fn address_of_record(&self) -> String {
        let user = unescaped(self.user_name());
        match (self.host.is_empty(), user.is_empty()) {
            (true, _) => user,
            (false, true) => self.host.clone(),
            (false, false) => format!("{user}@{}", self.host),
        }
    }
}

/// `host`, `host:port` or `[IPv6]:port`, blanks around the colon allowed as in Via; `None` when it is none of them.
///
/// An address in brackets is checked for its letters only: RFC 5118 §4.10 asks to tolerate three colons in a row.
pub(super) fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let host_end = match text.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']')?;
            let valid =
                !rest[..end].is_empty() && rest[..end].bytes().all(|b| b.is_ascii_hexdigit() || b == b':' || b == b'.');
            if !valid {
                return None;
            }
            end + 2
        }
        None => {
            let end = text.find([':', ' ', '\t']).unwrap_or(text.len());
            let valid =
                end > 0 && text[..end].bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
            if !valid {
                return None;
            }
            end
        }
    };
    let (host, rest) = text.split_at(host_end);
    match trim(rest) {
        "" => Some((host, None)),
        rest => {
            let port = number(trim(rest.strip_prefix(':')?), u32::from(u16::MAX))?;
            Some((host, u16::try_from(port).ok()))
        }
    }
}

/// Escapes of characters that need none are resolved, the hex digits of the others put in upper case.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(percent) = rest.find('%') {
        out.push_str(&rest[..percent]);
        let escape = rest.get(percent + 1..percent + 3).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(byte) = escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()) else {
            out.push('%');
            rest = &rest[percent + 1..];
            continue;
        };
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&rest[percent + 1..percent + 3].to_ascii_uppercase());
        }
        rest = &rest[percent + 3..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Uri {
        Uri::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_gruu_keeps_every_parameter() {
        let uri = read("sip:alice@Contoso.com;opaque=user:epid:Qx3mZr0sG1eT5uVw7yAbCgAA;gruu");
        assert_eq!((uri.user.as_str(), uri.host.as_str(), uri.port), ("alice", "contoso.com", None));
        assert_eq!(uri.params, "opaque=user:epid:Qx3mZr0sG1eT5uVw7yAbCgAA;gruu");
        assert_eq!(uri.param("OPAQUE"), Some("user:epid:Qx3mZr0sG1eT5uVw7yAbCgAA"));
        assert_eq!((uri.param("gruu"), uri.param("lr")), (Some(""), None));
    }

    #[test]
    fn every_part_finds_its_place() {
        // RFC 3261 §19.1.1
        let uri = read("SIPS:user;x=y:pa?s/s@[2001:DB8::1]:5061;lr;%6Cr2=1?Route=%3Csip:x%3E&a=b");
        assert_eq!((uri.scheme.as_str(), uri.user.as_str(), uri.user_name()), ("sips", "user;x=y:pa?s/s", "user;x=y"));
        assert_eq!((uri.host.as_str(), uri.port), ("[2001:db8::1]", Some(5061)));
        assert_eq!((uri.params.as_str(), uri.param("lr2")), ("lr;%6Cr2=1", Some("1")));
        assert_eq!(uri.headers(), Some("Route=%3Csip:x%3E&a=b"));
        let tel = read("tel:+14255550101;ext=5101");
        assert_eq!((tel.user.as_str(), tel.param("ext"), tel.host.as_str()), ("+14255550101", Some("5101"), ""));
        assert_eq!(read("soap.beep://192.0.2.103:3002").scheme, "soap.beep");
    }

    #[test]
    fn two_spellings_of_an_address_of_record_meet() {
        // RFC 3261 §19.1.4
        assert_eq!(read("sip:%61lice@AtlanTa.CoM;Transport=TCP").address_of_record(), "alice@atlanta.com");
        assert_eq!(read("sip:alice:pw@atlanta.com:5060").address_of_record(), "alice@atlanta.com");
        assert_eq!(read("sip:a%2fb%4@x").address_of_record(), "a%2Fb%4@x");
        assert_eq!(read("tel:+1555").address_of_record(), "+1555");
    }

    #[test]
    fn what_is_no_uri_is_refused() {
        for bad in [
            "",
            "sip:",
            "sip",
            ":x",
            "sip:@h",
            "sip:a@b@c",
            "sip:a@",
            "sip:a b@c",
            "sip:2001:db8::10",
            "sip:h:",
            "sip:h:65536",
            "sip:[::1",
            "sip:[]",
            "sip:[x]",
            "<sip:a@b>",
            "sip:a@b\u{0}",
            "tel:",
            "tel:;ext=1",
            "1x:y",
            "sip: h",
            "sip:a@h ",
            "sip:h;\tx",
        ] {
            assert_eq!(Uri::parse(bad), Err(Malformed::Uri), "{bad}");
        }
    }
}
