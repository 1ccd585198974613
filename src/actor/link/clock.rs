//! The link's time: moments of the world, counted by a clock that nobody sets.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::id::Moment;

/// Begins at the wall clock's time and then runs with tokio's, so that a wall clock that is set does not end heartbeats
/// and deadlines, and a test may stop time.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinkClock {
    began: Moment,
    instant: Instant,
}

impl LinkClock {
    pub(super) fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let began = Moment(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX));
        Self { began, instant: Instant::now() }
    }

    pub(super) fn now(&self) -> Moment {
        self.began.after_ms(u64::try_from(self.instant.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}
