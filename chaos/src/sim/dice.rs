//! Numbers that look random and are all the seed's.

use std::ops::Range;

use lyncpin_cluster::runtime;

/// A stream of its own: what is drawn from it does not depend on what happens in the run.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start).max(1)
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.within(0..from.len() as u64) as usize]
    }
}

/// From the run's own stream: the same run draws the same numbers.
pub fn within(range: Range<u64>) -> u64 {
    range.start + runtime::chance() % (range.end - range.start).max(1)
}

/// Of a thousand.
pub fn happens(permille: u64) -> bool {
    permille > 0 && runtime::chance() % 1_000 < permille
}
