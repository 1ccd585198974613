//! Headers: an ordered list whose values keep their bytes, and typed views on them (RFC 3261 §20).

use super::{Malformed, Uri};

/// Names compare without case and in their compact forms (RFC 3261 §7.3.3); order and spelling stay as received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    fields: Vec<(String, String)>,
}

impl Headers {
    /// Adds a field at the end.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.fields.push((name.into(), value.into()));
    }

    /// The first field of this name (long form; a compact field answers to it), unfolded and trimmed.
    pub fn get(&self, _name: &str) -> Option<&str> {
        None
    }

    /// Every value of this name in order: fields repeated and values joined by commas alike, split outside quotes and angle brackets.
    pub fn values<'a>(&'a self, _name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        std::iter::empty()
    }

    /// Every field of this name in order, unsplit and verbatim: for copying Via and Record-Route.
    pub fn fields<'a>(&'a self, _name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        std::iter::empty()
    }

    /// All fields in order, (name as received, value).
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// Whether a list header of this name (Supported, Require, Allow) holds the token, compared without case.
    pub fn has_token(&self, _name: &str, _token: &str) -> bool {
        false
    }

    pub fn call_id(&self) -> Result<&str, Malformed> {
        Err(Malformed::Placeholder)
    }

    pub fn cseq(&self) -> Result<CSeq, Malformed> {
        Err(Malformed::Placeholder)
    }

    pub fn from(&self) -> Result<NameAddr, Malformed> {
        Err(Malformed::Placeholder)
    }

    pub fn to(&self) -> Result<NameAddr, Malformed> {
        Err(Malformed::Placeholder)
    }

    /// The first Contact; `None` when there is none.
    pub fn contact(&self) -> Result<Option<NameAddr>, Malformed> {
        Err(Malformed::Placeholder)
    }

    pub fn top_via(&self) -> Result<Via, Malformed> {
        Err(Malformed::Placeholder)
    }

    /// `Session-Expires: 1800;refresher=uac` (RFC 4028 §4): seconds, and `uac` or `uas` when named.
    pub fn session_expires(&self) -> Result<Option<(u32, Option<String>)>, Malformed> {
        Ok(None)
    }
}

/// CSeq (RFC 3261 §20.16): at most 2^31 - 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CSeq {
    pub number: u32,
    pub method: String,
}

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
    pub fn parse(_text: &str) -> Result<Self, Malformed> {
        Err(Malformed::Placeholder)
    }

    /// A header parameter by name, without case; `Some("")` for one without a value.
    pub fn param(&self, _name: &str) -> Option<&str> {
        None
    }

    pub fn tag(&self) -> Option<&str> {
        self.param("tag")
    }
}

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
