//! Wall time that tokio's paused clock moves too: deadlines in records are wall time, timers are tokio's.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::id::Moment;

/// Reads the wall clock once and counts on from there by the monotonic one, so that a jump of the wall clock moves no
/// deadline of this process. Copies share the origin.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    origin_ms: u64,
}

impl Clock {
    pub fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { origin: Instant::now(), origin_ms: u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX) }
    }

    pub fn now(&self) -> Moment {
        let passed = Instant::now().saturating_duration_since(self.origin);
        Moment(self.origin_ms.saturating_add(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)))
    }
}
