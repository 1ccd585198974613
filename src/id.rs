//! Identifiers that cross the floors.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Names one session: one SIP dialog controlling one line appearance. 16 hex digits, random, never used twice; it is
/// also our tag in the dialog and the key of the session's record.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionId(Arc<str>);

impl SessionId {
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for SessionId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A point in time in milliseconds since the Unix epoch. Deadlines in records are absolute, so that they mean the same
/// on the node that takes a record over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Moment(pub u64);

impl Moment {
    pub fn after_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// How long until `self`, seen from `now`; 0 when it has passed.
    pub fn ms_from(self, now: Moment) -> u64 {
        self.0.saturating_sub(now.0)
    }
}
