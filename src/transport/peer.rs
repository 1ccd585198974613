//! Who is at the other end, and the two lists that say who may be.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// The other end of an accepted flow, as far as it is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where the peer is; behind a balancer this is what the PROXY header announced.
    pub address: SocketAddr,
    /// The far end of the socket itself: the balancer, or the same as `address`.
    pub via: SocketAddr,
    /// Names its certificate proves, lower case; empty without a client certificate. See
    /// [`CertificateFacts::names`](super::CertificateFacts::names) for which names count.
    pub names: Vec<String>,
    /// Whether the flow is TLS.
    pub secure: bool,
}

/// A certificate name that may speak: a DNS name, `*.` for exactly one left-most label (RFC 6125 §6.4.3), or a lone
/// `*` for every name the authority vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamePattern {
    Any,
    Exact(String),
    /// What follows the `*`, with its leading dot.
    OneLabelBefore(String),
}

/// Not a name pattern; the text is a mistake in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    #[error("empty, or longer than 253 characters")]
    Length,
    #[error("`*` stands for the whole left-most label only, with at least two labels after it")]
    Wildcard,
    #[error("a DNS name holds letters, digits, `-`, `_` and single dots")]
    Character,
}

impl NamePattern {
    /// Compares without case; `name` is a certificate's.
    pub fn admits(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => exact.eq_ignore_ascii_case(name),
            Self::OneLabelBefore(suffix) => {
                let Some(label_bytes) = name.len().checked_sub(suffix.len()) else { return false };
                let (Some(label), Some(rest)) = (name.get(..label_bytes), name.get(label_bytes..)) else {
                    return false;
                };
                !label.is_empty() && !label.contains('.') && rest.eq_ignore_ascii_case(suffix)
            }
        }
    }
}

impl FromStr for NamePattern {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        if text == "*" {
            return Ok(Self::Any);
        }
        if text.is_empty() || text.len() > 253 {
            return Err(BadName::Length);
        }
        let lower = text.to_ascii_lowercase();
        let (wild, name) = match lower.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, lower.as_str()),
        };
        if name.contains('*') || (wild && !name.contains('.')) {
            return Err(BadName::Wildcard);
        }
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if !name.split('.').all(is_label) {
            return Err(BadName::Character);
        }
        Ok(if wild { Self::OneLabelBefore(format!(".{name}")) } else { Self::Exact(name.to_owned()) })
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(name) => f.write_str(name),
            Self::OneLabelBefore(suffix) => write!(f, "*{suffix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> NamePattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_wildcard_stands_for_exactly_one_label() {
        let cases = [
            ("fe01.contoso.com", "FE01.contoso.COM", true),
            ("fe01.contoso.com", "fe02.contoso.com", false),
            ("*.contoso.com", "fe01.contoso.com", true),
            ("*.contoso.com", "a.fe01.contoso.com", false),
            ("*.contoso.com", "contoso.com", false),
            ("*.contoso.com", ".contoso.com", false),
            ("*.contoso.com", "evilcontoso.com", false),
            ("*.contoso.com", "x\u{e9}.contoso.com.evil.org", false),
            ("*", "anything", true),
        ];
        for (text, name, admitted) in cases {
            assert_eq!(pattern(text).admits(name), admitted, "{text} {name}");
        }
    }

    #[test]
    fn a_name_pattern_with_a_mistake_is_named() {
        for text in ["fe*.contoso.com", "a.*.com", "*.com", "**"] {
            assert_eq!(text.parse::<NamePattern>(), Err(BadName::Wildcard), "{text}");
        }
        for text in ["fe..contoso.com", ".contoso.com", "fe 01", "fe01.contoso.com."] {
            assert_eq!(text.parse::<NamePattern>(), Err(BadName::Character), "{text}");
        }
        assert_eq!("".parse::<NamePattern>(), Err(BadName::Length));
    }
}
