//! A log-linear histogram of durations: bounded memory, under 1.6 % error, from a microsecond to a day.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Values below this are exact; above, each doubling has half as many buckets.
const EXACT: u64 = 128;
const PER_DOUBLING: usize = EXACT as usize / 2;
/// 2^37 us is 38 hours; longer counts as that.
const DOUBLINGS: usize = 30;
const BUCKETS: usize = EXACT as usize + DOUBLINGS * PER_DOUBLING;

/// Written by many tasks at once.
#[derive(Debug)]
pub struct Meter {
    buckets: Box<[AtomicU64]>,
    max_us: AtomicU64,
}

impl Default for Meter {
    fn default() -> Self {
        Self { buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(), max_us: AtomicU64::new(0) }
    }
}

impl Meter {
    pub fn record(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket(us)].fetch_add(1, Ordering::Relaxed);
        self.max_us.fetch_max(us, Ordering::Relaxed);
    }

    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|b| b.load(Ordering::Relaxed)).sum()
    }

    pub fn max_us(&self) -> u64 {
        self.max_us.load(Ordering::Relaxed)
    }

    /// The value that `per_mille` of all are at or below, rounded up to its bucket's end; 0 when empty.
    pub fn quantile_us(&self, per_mille: u64) -> u64 {
        let wanted = (self.count() * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (at, bucket) in self.buckets.iter().enumerate() {
            seen += bucket.load(Ordering::Relaxed);
            if seen >= wanted {
                return highest(at).min(self.max_us());
            }
        }
        self.max_us()
    }
}

fn bucket(us: u64) -> usize {
    if us < EXACT {
        return us as usize;
    }
    let doubling = us.ilog2() - EXACT.ilog2();
    let within = (us >> (doubling + 1)) as usize - PER_DOUBLING;
    (EXACT as usize + doubling as usize * PER_DOUBLING + within).min(BUCKETS - 1)
}

/// The largest value in a bucket.
fn highest(bucket: usize) -> u64 {
    let Some(past) = bucket.checked_sub(EXACT as usize) else { return bucket as u64 };
    let (doubling, within) = (past / PER_DOUBLING, past % PER_DOUBLING);
    ((PER_DOUBLING + within + 1) as u64) << (doubling + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantiles_of_one_to_a_thousand_are_within_two_percent() {
        let meter = Meter::default();
        (1..=1000).for_each(|ms| meter.record(Duration::from_millis(ms)));
        assert_eq!(meter.count(), 1000);
        assert_eq!(meter.max_us(), 1_000_000);
        for (per_mille, us) in [(500, 500_000), (900, 900_000), (990, 990_000)] {
            let got = meter.quantile_us(per_mille);
            assert!(got >= us && got <= us + us / 50, "{per_mille}: {got}");
        }
    }

    #[test]
    fn an_empty_meter_says_zero() {
        assert_eq!(Meter::default().quantile_us(990), 0);
    }

    proptest! {
        #[test]
        fn a_bucket_holds_its_value_within_a_sixty_fourth(us in 0_u64..(1 << 37)) {
            let end = highest(bucket(us));
            prop_assert!(us <= end && end - us <= us / 64 + 1, "{us} in {end}");
        }

        #[test]
        fn buckets_rise_with_values(a in 0_u64..(1 << 40), b in 0_u64..(1 << 40)) {
            prop_assert_eq!(a.cmp(&b).is_le() || bucket(a) >= bucket(b), true);
        }
    }
}
