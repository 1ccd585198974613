//! Where a PBX is reached and which dialect it speaks.

use std::fmt;
use std::str::FromStr;

/// What the PBX speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// CSTA XML over TCP with an ECMA-354 application session, as the standards have it.
    Csta,
    /// Avaya AES: the same with a log-in, resumable sessions and device ids of its own.
    Dmcc,
}

impl Dialect {
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Csta => "csta",
            Self::Dmcc => "dmcc",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Csta => 8800,
            Self::Dmcc => 4721,
        }
    }
}

/// `csta://host:port`, `dmcc://user@host:port`; an IPv6 host stands in brackets. The password comes from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    pub dialect: Dialect,
    pub user: Option<String>,
    /// Without brackets.
    pub host: String,
    pub port: u16,
}

/// Why a text is no CTI address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("begin with csta:// or dmcc://")]
    Scheme,
    #[error("name a host")]
    Host,
    #[error("the port is a number from 1 to 65535")]
    Port,
    #[error("name the user: dmcc://user@host")]
    UserMissing,
    #[error("csta:// has no log-in, leave the user out")]
    UserUnused,
    #[error("keep the password out of the address")]
    PasswordInAddress,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = text.split_once("://").ok_or(AddressError::Scheme)?;
        let dialect = [Dialect::Csta, Dialect::Dmcc]
            .into_iter()
            .find(|dialect| scheme.eq_ignore_ascii_case(dialect.scheme()))
            .ok_or(AddressError::Scheme)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, rest),
        };
        match (dialect, user) {
            (_, Some(user)) if user.contains(':') => return Err(AddressError::PasswordInAddress),
            (Dialect::Csta, Some(_)) => return Err(AddressError::UserUnused),
            (Dialect::Dmcc, None | Some("")) => return Err(AddressError::UserMissing),
            _ => {}
        }
        let (host, port) = split_port(place)?;
        let is_host_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'%');
        if host.is_empty() || !host.bytes().all(is_host_byte) {
            return Err(AddressError::Host);
        }
        let port = match port {
            None => dialect.default_port(),
            // The standard parser would take a plus sign.
            Some(port) if !port.bytes().all(|byte| byte.is_ascii_digit()) => return Err(AddressError::Port),
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or(AddressError::Port)?,
        };
        Ok(Self { dialect, user: user.map(str::to_owned), host: host.to_owned(), port })
    }
}

fn split_port(place: &str) -> Result<(&str, Option<&str>), AddressError> {
    if let Some(bracketed) = place.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']').ok_or(AddressError::Host)?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(AddressError::Host),
        };
    }
    match place.split_once(':') {
        Some((_, port)) if port.contains(':') => Err(AddressError::Host),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((place, None)),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.dialect.scheme())?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_alike() {
        for text in ["csta://pbx.contoso.com:8800", "csta://[2001:db8::1]:8800", "dmcc://gateway@aes:4721"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("csta://10.0.0.1".parse::<Address>().unwrap().port, 8800);
        assert_eq!("dmcc://u@10.0.0.1/".parse::<Address>().unwrap().port, 4721);
    }

    #[test]
    fn each_wrong_address_is_told_what_is_wrong() {
        for (text, error) in [
            ("10.0.0.1:8800", AddressError::Scheme),
            ("http://10.0.0.1", AddressError::Scheme),
            ("csta://", AddressError::Host),
            ("csta://a b:1", AddressError::Host),
            ("csta://2001:db8::1", AddressError::Host),
            ("csta://pbx:0", AddressError::Port),
            ("csta://pbx:+80", AddressError::Port),
            ("csta://pbx:65536", AddressError::Port),
            ("csta://pbx:", AddressError::Port),
            ("csta://user@pbx", AddressError::UserUnused),
            ("dmcc://pbx", AddressError::UserMissing),
            ("dmcc://user:secret@pbx", AddressError::PasswordInAddress),
        ] {
            assert_eq!(text.parse::<Address>(), Err(error), "{text}");
        }
    }
}
