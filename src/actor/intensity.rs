//! How often a child may be restarted, and how soon.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// OTP's `intensity` and `period`: more than `restarts_max` restarts within `period_ms` are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    pub restarts_max: u32,
    pub period_ms: u64,
}

impl Default for Intensity {
    fn default() -> Self {
        Self { restarts_max: 5, period_ms: 10_000 }
    }
}

/// The wait before a restart: `first_ms`, doubled with each restart of the period, at most `ceiling_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub first_ms: u64,
    pub ceiling_ms: u64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first_ms: 1, ceiling_ms: 5_000 }
    }
}

impl Backoff {
    /// `nth` counts from 1.
    pub fn delay(self, nth: u32) -> Duration {
        let factor = 1u64.checked_shl(nth.saturating_sub(1)).unwrap_or(u64::MAX);
        Duration::from_millis(self.first_ms.saturating_mul(factor).min(self.ceiling_ms))
    }
}

/// The restarts of the last period; at most `restarts_max` of them.
#[derive(Clone, Debug, Default)]
pub struct Window {
    restarts: VecDeque<Instant>,
}

impl Window {
    /// Counts a restart: which one of the period it is, from 1; `None` when it is one too many.
    pub fn admit(&mut self, now: Instant, intensity: Intensity) -> Option<u32> {
        let period = Duration::from_millis(intensity.period_ms);
        while self.restarts.front().is_some_and(|at| now.duration_since(*at) > period) {
            self.restarts.pop_front();
        }
        let nth = u32::try_from(self.restarts.len()).ok()?.checked_add(1)?;
        if nth > intensity.restarts_max {
            return None;
        }
        self.restarts.push_back(now);
        Some(nth)
    }

    /// Whether the last restart is over a period ago.
    pub fn is_quiet(&self, now: Instant, intensity: Intensity) -> bool {
        self.restarts.back().is_none_or(|at| now.duration_since(*at) > Duration::from_millis(intensity.period_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWICE_A_SECOND: Intensity = Intensity { restarts_max: 2, period_ms: 1000 };

    #[test]
    fn one_restart_more_than_the_intensity_within_the_period_is_too_many() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut window = Window::default();
        assert_eq!(window.admit(at(0), TWICE_A_SECOND), Some(1));
        assert_eq!(window.admit(at(900), TWICE_A_SECOND), Some(2));
        assert_eq!(window.admit(at(1000), TWICE_A_SECOND), None);
    }

    #[test]
    fn the_period_slides() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut window = Window::default();
        for (ms, nth) in [(0, Some(1)), (900, Some(2)), (1001, Some(2)), (1800, None), (1901, Some(2))] {
            assert_eq!(window.admit(at(ms), TWICE_A_SECOND), nth, "at {ms} ms");
        }
        assert!(!window.is_quiet(at(2901), TWICE_A_SECOND));
        assert!(window.is_quiet(at(2902), TWICE_A_SECOND));
    }

    #[test]
    fn the_back_off_doubles_up_to_its_ceiling() {
        let backoff = Backoff { first_ms: 10, ceiling_ms: 65 };
        let delays: Vec<_> = [1, 2, 3, 4, 64, u32::MAX].map(|nth| backoff.delay(nth).as_millis()).into();
        assert_eq!(delays, [10, 20, 40, 65, 65, 65]);
    }
}
