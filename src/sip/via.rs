//! Via (RFC 3261 §20.42).

use super::Malformed;
use super::text::{are_params, is_token, param, trim};
use super::uri::host_and_port;

/// One Via value (RFC 3261 §20.42). Microsoft clients leave the branch out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    /// `TCP`, `TLS`, as written.
    pub transport: String,
    /// Host and port as written.
    pub sent_by: String,
    pub branch: Option<String>,
    pub text: String,
}

impl Via {
    /// One value, without its neighbours in the line. Blanks around slashes and colons are allowed (RFC 3261 §25.1).
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let text = trim(text);
        Self::read(text).ok_or(Malformed::Value { name: "Via" })
    }

    fn read(text: &str) -> Option<Self> {
        let (protocol, rest) = text.split_once('/')?;
        let (version, rest) = rest.split_once('/')?;
        let rest = trim(rest);
        let (transport, rest) = rest.split_at(rest.find([' ', '\t'])?);
        if ![trim(protocol), trim(version), transport].into_iter().all(is_token) {
            return None;
        }
        let (sent_by, params) = match rest.split_once(';') {
            Some((sent_by, params)) => (trim(sent_by), Some(params)),
            None => (trim(rest), None),
        };
        host_and_port(sent_by)?;
        if params.is_some_and(|params| trim(params).is_empty() || !are_params(params)) {
            return None;
        }
        let branch = param(params.unwrap_or_default(), "branch").map(str::to_owned);
        Some(Self { transport: transport.to_owned(), sent_by: sent_by.to_owned(), branch, text: text.to_owned() })
    }

    /// A parameter by name, without case; a quoted value keeps its quotes.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.text.split_once(';').and_then(|(_, params)| param(params, name))
    }

    /// The branch, when it identifies a transaction: it begins with `z9hG4bK` and goes on (RFC 3261 §8.1.1.7, §17.2.3).
    pub fn transaction_branch(&self) -> Option<&str> {
        let cookie = |branch: &&str| {
            branch.len() > 7 && branch.is_char_boundary(7) && branch[..7].eq_ignore_ascii_case("z9hG4bK")
        };
        self.branch.as_deref().filter(cookie)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_front_ends_via_is_read_whole() {
        let text = r#"SIP/2.0/TLS 10.0.0.10:58201;branch=z9hG4bK6A.5B;branched=FALSE;ms-internal-info="ab;c""#;
        let via = Via::parse(text).expect("valid");
        assert_eq!((via.transport.as_str(), via.sent_by.as_str()), ("TLS", "10.0.0.10:58201"));
        assert_eq!(via.transaction_branch(), Some("z9hG4bK6A.5B"));
        assert_eq!(via.param("ms-internal-info"), Some("\"ab;c\""));
        assert_eq!(via.text, text);
    }

    #[test]
    fn a_client_leaves_the_branch_out() {
        let via =
            Via::parse("SIP/2.0/TLS 10.0.0.50:51063;ms-received-port=51063;ms-received-cid=2A1F00").expect("valid");
        assert_eq!((via.branch, via.transport.as_str()), (None, "TLS"));
        let bare = Via::parse("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK").expect("valid");
        assert_eq!((bare.branch.as_deref(), bare.transaction_branch()), (Some("z9hG4bK"), None));
    }

    #[test]
    fn blanks_and_addresses_of_any_kind_are_read() {
        let via = Via::parse("SIP  / 2.0  / TCP     spindle.example.com   ;  branch  =   z9hG4bK9ikj8").expect("valid");
        assert_eq!((via.sent_by.as_str(), via.branch.as_deref()), ("spindle.example.com", Some("z9hG4bK9ikj8")));
        let via =
            Via::parse("SIP/2.0/UDP [2001:db8::9:1]:6050;received=2001:db8::9:255;branch=z9hG4bKas3").expect("valid");
        assert_eq!((via.sent_by.as_str(), via.param("received")), ("[2001:db8::9:1]:6050", Some("2001:db8::9:255")));
    }

    #[test]
    fn broken_vias_are_refused() {
        for bad in [
            "",
            "SIP/2.0/UDP",
            "SIP/2.0/UDP ;branch=x",
            "SIP/2.0 host",
            "SIP/2.0/UDP a;;,;,,",
            "SIP/2.0/UDP a:b",
            "SIP/2.0/UDP a b",
            "SIP/2.0/UDP 2001:db8::1",
            "SIP/2.0/UDP a:70000",
            "SIP/2.0/UDP a;",
        ] {
            assert!(Via::parse(bad).is_err(), "{bad}");
        }
    }
}
