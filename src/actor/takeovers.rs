//! The last time sessions changed their node, with what it cost them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::id::Moment;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Takeover {
    /// When it was over.
    pub at: Moment,
    /// The operator's wish; false: the other node was lost.
    pub is_planned: bool,
    pub from: Option<String>,
    pub to: String,
    pub moved: usize,
    pub stayed: usize,
    /// How long a session may have been served by nobody.
    pub gap: Duration,
}

#[derive(Default)]
pub struct LastTakeover(Mutex<Option<Takeover>>);

impl LastTakeover {
    pub fn was(&self, takeover: Takeover) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(takeover);
    }

    pub fn last(&self) -> Option<Takeover> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
