//! URIs: sip, sips and tel, with parameters kept verbatim (RFC 3261 §19.1, RFC 3966).

use super::Malformed;

/// A URI whose text is never rewritten; the fields are views for decisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uri {
    /// Lower case: `sip`, `sips`, `tel` or another token.
    pub scheme: String,
    /// For sip: before the `@`, as written; empty when absent. For tel: the number.
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
    pub fn parse(_text: &str) -> Result<Self, Malformed> {
        Err(Malformed::Placeholder)
    }

    /// A parameter by name, without case; `Some("")` for one without a value.
    pub fn param(&self, _name: &str) -> Option<&str> {
        None
    }

    /// `user@host` in the form two spellings of one address of record share: user as written, host in lower case.
    pub fn address_of_record(&self) -> String {
        format!("{}@{}", self.user, self.host)
    }
}
