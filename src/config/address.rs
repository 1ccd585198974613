//! Addresses as the file spells them: listeners, networks, CTI links, host names.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The text has not the form the key asks for; the report says which form that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text has not the form asked for")]
pub struct Unfit;

/// What protects a listener's flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Security {
    #[default]
    Tcp,
    /// TLS; a client certificate is not asked for.
    Tls,
    /// TLS with a client certificate that `[sip.tls] ca` vouches for.
    Mtls,
}

impl Security {
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Mtls => "mtls",
        }
    }

    pub fn is_secure(self) -> bool {
        self != Self::Tcp
    }
}

/// `tcp://127.0.0.1:5060`, `mtls://[::]:5061`. Port 0: the system chooses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ListenAddress {
    pub security: Security,
    /// An IP address without brackets, or a host name.
    pub host: String,
    pub port: u16,
}

impl ListenAddress {
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

impl FromStr for ListenAddress {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        let (scheme, rest) = text.split_once("://").ok_or(Unfit)?;
        let security = match scheme {
            "tcp" => Security::Tcp,
            "tls" => Security::Tls,
            "mtls" => Security::Mtls,
            _ => return Err(Unfit),
        };
        let (host, port) = host_and_port(rest)?;
        Ok(Self { security, host, port })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.security.scheme(), bracketed(&self.host), self.port)
    }
}

/// Which language a CTI link speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// CSTA XML over TCP with an application session (ECMA-323 J.2, ECMA-354).
    #[default]
    Csta,
    /// The same with DMCC's log-in and device ids.
    Dmcc,
}

impl Dialect {
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Csta => "csta",
            Self::Dmcc => "dmcc",
        }
    }
}

/// `csta://10.0.0.5:8800`, `dmcc://aes.contoso.com:4721`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CtiAddress {
    pub dialect: Dialect,
    /// An IP address without brackets, or a host name.
    pub host: String,
    pub port: u16,
}

impl FromStr for CtiAddress {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        let (scheme, rest) = text.split_once("://").ok_or(Unfit)?;
        let dialect = match scheme {
            "csta" => Dialect::Csta,
            "dmcc" => Dialect::Dmcc,
            _ => return Err(Unfit),
        };
        let (host, port) = host_and_port(rest)?;
        if port == 0 {
            return Err(Unfit);
        }
        Ok(Self { dialect, host, port })
    }
}

impl fmt::Display for CtiAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.dialect.scheme(), bracketed(&self.host), self.port)
    }
}

/// `udp://homer.contoso.com:9060`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HepAddress {
    /// An IP address without brackets, or a host name.
    pub host: String,
    pub port: u16,
}

impl FromStr for HepAddress {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        let (host, port) = host_and_port(text.strip_prefix("udp://").ok_or(Unfit)?)?;
        if port == 0 { Err(Unfit) } else { Ok(Self { host, port }) }
    }
}

impl fmt::Display for HepAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "udp://{}:{}", bracketed(&self.host), self.port)
    }
}

/// An address or CIDR network. An IPv4 network also holds its IPv4-mapped IPv6 addresses, which is how a dual-stack
/// socket shows IPv4 peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    pub address: IpAddr,
    pub prefix_bits: u8,
}

impl Network {
    pub fn contains(&self, address: IpAddr) -> bool {
        let (ours, theirs) = (bits(self.address), bits(address.to_canonical()));
        ours.1 == theirs.1 && mask(ours.0, ours.1, self.prefix_bits) == mask(theirs.0, theirs.1, self.prefix_bits)
    }

    pub fn is_everything(&self) -> bool {
        self.prefix_bits == 0
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self { address, prefix_bits: bits(address).1 }
    }
}

impl Default for Network {
    fn default() -> Self {
        Self { address: IpAddr::from([127, 0, 0, 1]), prefix_bits: 32 }
    }
}

impl FromStr for Network {
    type Err = Unfit;

    /// Bits behind the prefix must be zero: `10.0.0.5/8` is either a slip for `10.0.0.5` or for `10.0.0.0/8`.
    fn from_str(text: &str) -> Result<Self, Unfit> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| Unfit)?;
        let (value, width) = bits(address);
        let prefix_bits = match prefix {
            None => width,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().map_err(|_| Unfit)?,
            Some(_) => return Err(Unfit),
        };
        let is_network = prefix_bits <= width && mask(value, width, prefix_bits) == value;
        if is_network { Ok(Self { address, prefix_bits }) } else { Err(Unfit) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match bits(self.address).1 == self.prefix_bits {
            true => write!(f, "{}", self.address),
            false => write!(f, "{}/{}", self.address, self.prefix_bits),
        }
    }
}

fn bits(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    }
}

fn mask(value: u128, width: u8, prefix_bits: u8) -> u128 {
    let dropped = u32::from(width - prefix_bits.min(width));
    value.checked_shr(dropped).and_then(|kept| kept.checked_shl(dropped)).unwrap_or(0)
}

/// A host name (RFC 1123 §2.1) or an IP address, as it stands in SIP URIs and certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Host(String);

impl Host {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Host {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        if is_host(text) { Ok(Self(text.to_ascii_lowercase())) } else { Err(Unfit) }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A certificate name: a host name, `*.` and one (one label more), or `*` for every name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PeerName(String);

impl PeerName {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_everybody(&self) -> bool {
        self.0 == "*"
    }
}

impl FromStr for PeerName {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        let name = text.strip_prefix("*.").unwrap_or(text);
        let is_name = is_host(name) && name.parse::<IpAddr>().is_err();
        if is_name || text == "*" { Ok(Self(text.to_ascii_lowercase())) } else { Err(Unfit) }
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    let is_name = text.len() <= 253 && text.split('.').all(is_label) && !last.bytes().all(|b| b.is_ascii_digit());
    is_name || text.parse::<IpAddr>().is_ok()
}

/// IPv6 addresses stand in brackets before a port.
fn host_and_port(text: &str) -> Result<(String, u16), Unfit> {
    let (host, port) = text.rsplit_once(':').ok_or(Unfit)?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').filter(|inner| inner.contains(':')).ok_or(Unfit)?,
        None if host.contains(':') => return Err(Unfit),
        None => host,
    };
    let is_port = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    match is_host(host) && is_port {
        true => Ok((host.to_ascii_lowercase(), port.parse().map_err(|_| Unfit)?)),
        false => Err(Unfit),
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap_or_else(|_| panic!("{text}"))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("address")
    }

    #[test]
    fn listeners_are_scheme_host_and_port() {
        for text in ["tcp://127.0.0.1:5060", "tls://0.0.0.0:0", "mtls://[::]:5061", "tcp://sip.contoso.com:65535"] {
            assert_eq!(text.parse::<ListenAddress>().map(|address| address.to_string()), Ok(text.to_owned()));
        }
        let wrong = "udp://1.2.3.4:5060 tcp://1.2.3.4 tcp://:5060 tcp://::1:5060 tcp://1.2.3.4:65536 tcp://a_b:1 \
                     tcp://300.1.1.1:1 tcp://[1.2.3.4]:1 tcp://a:+1 tcp:a:1 1.2.3.4:5060 TCP://a:1";
        for text in wrong.split_whitespace() {
            assert_eq!(text.parse::<ListenAddress>(), Err(Unfit), "{text}");
        }
    }

    #[test]
    fn cti_addresses_name_their_dialect_and_a_real_port() {
        for text in ["csta://127.0.0.1:8800", "dmcc://aes.contoso.com:4721"] {
            assert_eq!(text.parse::<CtiAddress>().map(|address| address.to_string()), Ok(text.to_owned()));
        }
        for text in ["csta://127.0.0.1:0", "tapi://a:1", "csta://user@host:1", "csta://127.0.0.1:8800/"] {
            assert_eq!(text.parse::<CtiAddress>(), Err(Unfit), "{text}");
        }
    }

    #[test]
    fn networks_hold_their_addresses_and_no_others() {
        assert!(network("10.1.0.0/16").contains(ip("10.1.255.255")));
        assert!(!network("10.1.0.0/16").contains(ip("10.2.0.0")));
        assert!(network("10.1.2.3").contains(ip("::ffff:10.1.2.3")), "a dual-stack socket's spelling");
        assert!(!network("10.1.2.3").contains(ip("::10.1.2.3")));
        assert!(network("0.0.0.0/0").contains(ip("1.2.3.4")));
        assert!(!network("0.0.0.0/0").contains(ip("::1")));
        assert!(network("::/0").contains(ip("fe80::1")));
        assert!(network("fd00::/8").contains(ip("fd12::1")) && !network("fd00::/8").contains(ip("fe00::1")));
        for text in ["10.0.0.5/8", "10.0.0.0/33", "10.0.0", "10.0.0.0/", "10.0.0.0/+8", "::/129", "localhost"] {
            assert_eq!(text.parse::<Network>(), Err(Unfit), "{text}");
        }
    }

    #[test]
    fn host_names_follow_rfc_1123() {
        for text in ["rccgw.contoso.com", "RCCGW", "3com.com", "10.0.0.20", "::1", &format!("{}.a", "a".repeat(63))] {
            assert!(text.parse::<Host>().is_ok(), "{text}");
        }
        for text in ["", "a..b", "-a.com", "a-.com", "a b", "a_b.com", "10.0.0.256", "a.1", &"a".repeat(64)] {
            assert!(text.parse::<Host>().is_err(), "{text}");
        }
        assert!("*.contoso.com".parse::<PeerName>().is_ok());
        for text in ["", "*.", "a.*.com", "10.0.0.1", "**"] {
            assert!(text.parse::<PeerName>().is_err(), "{text}");
        }
    }
}
