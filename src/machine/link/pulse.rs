//! Is the other end alive: asks when it is silent, gives it up after so many missed answers.

use crate::id::Moment;

/// Heartbeat of one connection. Anything heard counts as life, so a busy link sends no heartbeats at all; a frozen PBX,
/// whose kernel keeps the connection open, is found after `(misses_max + 1) * interval_ms` of silence. Each question has
/// its whole interval, so that a node which was itself stopped for a while does not declare the PBX dead when it wakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulse {
    interval_ms: u64,
    misses_max: u32,
    due: Moment,
    asked: u32,
    asked_at: Option<Moment>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// Nothing to do.
    Quiet,
    /// Ask now.
    Ask,
    /// It has missed too many.
    Dead,
}

impl Pulse {
    pub fn new(interval_ms: u64, misses_max: u32, now: Moment) -> Self {
        let interval_ms = interval_ms.max(1);
        Self { interval_ms, misses_max: misses_max.max(1), due: now.after_ms(interval_ms), asked: 0, asked_at: None }
    }

    pub fn heard(&mut self, now: Moment) {
        self.due = now.after_ms(self.interval_ms);
        self.asked = 0;
    }

    /// Round trip time in ms, if a question is open; closes it.
    pub fn answered(&mut self, now: Moment) -> Option<u64> {
        self.asked_at.take().map(|asked_at| now.ms_from(asked_at))
    }

    /// A question goes out for another reason than silence, and its answer is timed too.
    pub fn asked(&mut self, now: Moment) {
        self.asked_at = Some(now);
    }

    pub fn beat(&mut self, now: Moment) -> Beat {
        if now < self.due {
            return Beat::Quiet;
        }
        if self.asked >= self.misses_max {
            return Beat::Dead;
        }
        self.asked += 1;
        self.asked_at = Some(now);
        self.due = now.after_ms(self.interval_ms);
        Beat::Ask
    }

    pub fn deadline(&self) -> Moment {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_missed_answers_are_death_and_anything_heard_is_life() {
        let mut pulse = Pulse::new(100, 3, Moment(0));
        assert_eq!(pulse.beat(Moment(99)), Beat::Quiet);
        for at in [100, 200, 300] {
            assert_eq!(pulse.beat(Moment(at)), Beat::Ask);
        }
        assert_eq!(pulse.clone().beat(Moment(400)), Beat::Dead);
        pulse.heard(Moment(399));
        assert_eq!(pulse.beat(Moment(400)), Beat::Quiet);
        assert_eq!(pulse.deadline(), Moment(499));
    }

    #[test]
    fn a_node_that_slept_asks_before_it_judges() {
        let mut pulse = Pulse::new(100, 1, Moment(0));
        assert_eq!(pulse.beat(Moment(100)), Beat::Ask);
        let mut pulse = Pulse::new(100, 1, Moment(0));
        assert_eq!(pulse.beat(Moment(9_000)), Beat::Ask);
        assert_eq!(pulse.beat(Moment(9_000)), Beat::Quiet);
        assert_eq!(pulse.beat(Moment(9_100)), Beat::Dead);
    }

    #[test]
    fn a_busy_link_asks_nothing() {
        let mut pulse = Pulse::new(100, 3, Moment(0));
        for at in (0..10_000).step_by(99) {
            assert_eq!(pulse.beat(Moment(at)), Beat::Quiet);
            pulse.heard(Moment(at));
        }
    }
}
