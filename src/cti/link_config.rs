//! What a link needs to know.

use std::fmt;

use super::{Address, Dialect};
use crate::machine::link::LinkTiming;

/// One configured CTI link. `Default` holds the documented defaults; [`LinkConfig::check`] the bounds.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkConfig {
    /// Names the link in logs, counters and commands; unique, 1 to 64 bytes.
    pub name: String,
    pub dialect: Dialect,
    pub host: String,
    pub port: u16,
    /// DMCC's log-in.
    pub user: String,
    pub password: String,
    /// DMCC: the switch whose extensions are controlled, as the AES names it.
    pub switch_name: String,
    /// A PBX silent for so long is asked for its status; 100 to 600,000, default 10,000.
    pub heartbeat_ms: u64,
    /// So many unanswered questions and the link is lost; 1 to 10, default 3.
    pub heartbeat_misses_max: u32,
    /// 100 to 120,000, default 5,000.
    pub connect_timeout_ms: u64,
    /// The most a service may take, also for the log-in; 100 to 60,000, default 5,000.
    pub request_timeout_ms: u64,
    /// The first pause before connecting again, doubled each time; 10 to 60,000, default 250.
    pub backoff_min_ms: u64,
    /// The longest pause; `backoff_min_ms` to 600,000, default 15,000.
    pub backoff_max_ms: u64,
    /// Services open at the PBX at a time; 1 to 5,000, default 1,000. The rest of the 9,998 invoke ids is for numbers in
    /// quarantine.
    pub outstanding_max: usize,
    /// Sessions that recover at a time after the link has come up; 1 to 1,000, default 64.
    pub recovery_window: usize,
    /// What we ask for; the PBX may grant another. 10 to 86,400, default 180.
    pub session_duration_s: u32,
    /// DMCC: how long the AES keeps a session whose connection is lost; 0 to 7,200, default 60.
    pub cleanup_delay_s: u32,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            name: "cti".into(),
            dialect: Dialect::Csta,
            host: "127.0.0.1".into(),
            port: 8800,
            user: String::new(),
            password: String::new(),
            switch_name: String::new(),
            heartbeat_ms: 10_000,
            heartbeat_misses_max: 3,
            connect_timeout_ms: 5_000,
            request_timeout_ms: 5_000,
            backoff_min_ms: 250,
            backoff_max_ms: 15_000,
            outstanding_max: 1_000,
            recovery_window: 64,
            session_duration_s: 180,
            cleanup_delay_s: 60,
        }
    }
}

/// A field out of its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkConfigError {
    #[error("{field} is {value}; {min} to {max} are possible")]
    OutOfBounds { field: &'static str, value: u64, min: u64, max: u64 },
    #[error("{field} must not be empty")]
    Empty { field: &'static str },
}

impl LinkConfig {
    /// Every field out of bounds.
    pub fn check(&self) -> Result<(), Vec<LinkConfigError>> {
        let bounds = [
            ("name length", self.name.len() as u64, 1, 64),
            ("port", self.port.into(), 1, 65_535),
            ("heartbeat_ms", self.heartbeat_ms, 100, 600_000),
            ("heartbeat_misses_max", self.heartbeat_misses_max.into(), 1, 10),
            ("connect_timeout_ms", self.connect_timeout_ms, 100, 120_000),
            ("request_timeout_ms", self.request_timeout_ms, 100, 60_000),
            ("backoff_min_ms", self.backoff_min_ms, 10, 60_000),
            ("backoff_max_ms", self.backoff_max_ms, self.backoff_min_ms, 600_000),
            ("outstanding_max", self.outstanding_max as u64, 1, 5_000),
            ("recovery_window", self.recovery_window as u64, 1, 1_000),
            ("session_duration_s", self.session_duration_s.into(), 10, 86_400),
            ("cleanup_delay_s", self.cleanup_delay_s.into(), 0, 7_200),
        ];
        let mut errors: Vec<_> = bounds
            .into_iter()
            .filter(|(_, value, min, max)| value < min || value > max)
            .map(|(field, value, min, max)| LinkConfigError::OutOfBounds { field, value, min, max })
            .collect();
        if self.host.is_empty() {
            errors.push(LinkConfigError::Empty { field: "host" });
        }
        if self.dialect == Dialect::Dmcc {
            let needed = [("user", &self.user), ("switch_name", &self.switch_name)];
            let missing = needed.into_iter().filter(|(_, value)| value.is_empty());
            errors.extend(missing.map(|(field, _)| LinkConfigError::Empty { field }));
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Takes dialect, user, host and port from an address.
    pub fn at(mut self, address: &Address) -> Self {
        self.dialect = address.dialect;
        self.host = address.host.clone();
        self.port = address.port;
        if let Some(user) = &address.user {
            self.user = user.clone();
        }
        self
    }

    pub fn address(&self) -> Address {
        let user = (self.dialect == Dialect::Dmcc).then(|| self.user.clone());
        Address { dialect: self.dialect, user, host: self.host.clone(), port: self.port }
    }

    pub fn timing(&self) -> LinkTiming {
        LinkTiming {
            heartbeat_ms: self.heartbeat_ms,
            heartbeat_misses_max: self.heartbeat_misses_max,
            connect_timeout_ms: self.connect_timeout_ms,
            request_timeout_ms: self.request_timeout_ms,
            backoff_min_ms: self.backoff_min_ms,
            backoff_max_ms: self.backoff_max_ms,
            outstanding_max: self.outstanding_max,
        }
    }

    /// How long a session may take to recover before its place in the window goes to the next: a monitor and a
    /// snapshot, each with its whole time.
    pub fn recovery_guard_ms(&self) -> u64 {
        self.request_timeout_ms.saturating_mul(2)
    }
}

impl fmt::Debug for LinkConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkConfig")
            .field("name", &self.name)
            .field("address", &format_args!("{}", self.address()))
            .field("timing", &self.timing())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_within_their_bounds() {
        assert_eq!(LinkConfig::default().check(), Ok(()));
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let config = LinkConfig {
            dialect: Dialect::Dmcc,
            heartbeat_ms: 1,
            backoff_min_ms: 500,
            backoff_max_ms: 499,
            ..LinkConfig::default()
        };
        assert_eq!(
            config.check().unwrap_err(),
            [
                LinkConfigError::OutOfBounds { field: "heartbeat_ms", value: 1, min: 100, max: 600_000 },
                LinkConfigError::OutOfBounds { field: "backoff_max_ms", value: 499, min: 500, max: 600_000 },
                LinkConfigError::Empty { field: "user" },
                LinkConfigError::Empty { field: "switch_name" },
            ]
        );
    }

    #[test]
    fn the_password_is_not_in_the_debug_output() {
        let config = LinkConfig { password: "hunter2".into(), ..LinkConfig::default() };
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
