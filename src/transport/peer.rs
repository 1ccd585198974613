//! Who is at the other end, and the two lists that say who may be.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
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

/// A network in CIDR notation; a bare address is a network of one. IPv4-mapped IPv6 addresses count as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

/// Not a network; the text is a mistake in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadNetwork {
    #[error("not an IP address")]
    Address,
    #[error("the prefix length is not a number between 0 and {bits_max}")]
    Prefix { bits_max: u8 },
    #[error("bits are set behind the prefix; was one address meant, or a shorter prefix?")]
    HostBits,
}

impl Network {
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(host)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix_bits)).unwrap_or(0);
                net.to_bits() == host.to_bits() & mask
            }
            (IpAddr::V6(net), IpAddr::V6(host)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix_bits)).unwrap_or(0);
                net.to_bits() == host.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self { address, prefix_bits: if address.is_ipv4() { 32 } else { 128 } }
    }
}

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| BadNetwork::Address)?;
        let Some(prefix) = prefix else { return Ok(Self::from(address)) };
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let digits_only = !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit());
        let prefix_bits = prefix.parse::<u8>().ok().filter(|bits| digits_only && *bits <= bits_max);
        let network = Self { address, prefix_bits: prefix_bits.ok_or(BadNetwork::Prefix { bits_max })? };
        // Only an address whose host bits are zero lies in its own network.
        if network.contains(address) { Ok(network) } else { Err(BadNetwork::HostBits) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
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

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    fn pattern(text: &str) -> NamePattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_holds_its_addresses_and_no_neighbour() {
        let cases = [
            ("10.1.2.0/23", "10.1.3.255", true),
            ("10.1.2.0/23", "10.1.4.0", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "2001:db8::1", true),
            ("10.0.0.0/8", "::ffff:10.9.9.9", true),
        ];
        for (net, address, inside) in cases {
            assert_eq!(network(net).contains(address.parse().unwrap()), inside, "{net} {address}");
        }
    }

    #[test]
    fn a_network_with_a_mistake_is_named() {
        assert_eq!("10.0.0.1/8".parse::<Network>(), Err(BadNetwork::HostBits));
        assert_eq!("10.0.0.0/33".parse::<Network>(), Err(BadNetwork::Prefix { bits_max: 32 }));
        assert_eq!("10.0.0.0/+8".parse::<Network>(), Err(BadNetwork::Prefix { bits_max: 32 }));
        assert_eq!("10.0.0.0/".parse::<Network>(), Err(BadNetwork::Prefix { bits_max: 32 }));
        assert_eq!("2001:db8::/129".parse::<Network>(), Err(BadNetwork::Prefix { bits_max: 128 }));
        assert_eq!("front-end".parse::<Network>(), Err(BadNetwork::Address));
        assert_eq!(network("192.0.2.0/24").to_string(), "192.0.2.0/24");
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
