//! Where a PBX is reached and which dialect it speaks.

use std::fmt;

pub use crate::config::Dialect;

/// A configured address, with the user who logs in: `dmcc://user@host:port`. The password comes from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    pub dialect: Dialect,
    pub user: Option<String>,
    /// Without brackets.
    pub host: String,
    pub port: u16,
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
    fn an_address_shows_who_logs_in_where() {
        let address = |user: Option<&str>, host: &str| Address {
            dialect: Dialect::Dmcc,
            user: user.map(str::to_owned),
            host: host.to_owned(),
            port: 4721,
        };
        assert_eq!(address(Some("gateway"), "aes").to_string(), "dmcc://gateway@aes:4721");
        assert_eq!(address(None, "2001:db8::1").to_string(), "dmcc://[2001:db8::1]:4721");
    }
}
