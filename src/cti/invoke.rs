//! Invoke ids of our own requests on one connection.

use std::collections::{BTreeSet, HashMap};

use super::frame::{REQUEST_ID_MAX, REQUEST_ID_MIN};
use crate::id::Moment;

/// How long the number of an abandoned request is not given out again. A late answer that comes within this time finds
/// nobody; one that comes later has outlived the heartbeat many times over.
pub const QUARANTINE_MS: u64 = 600_000;

/// Every number is in use or in quarantine; the service was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("all invoke ids of the connection are in use")]
pub struct NoInvokeId;

/// What each open request was for. Numbers go round, so a freed one is reused as late as possible. Made anew for each
/// connection: no number lives longer than it.
#[derive(Debug)]
pub struct InvokeTable<P> {
    next: u16,
    open: HashMap<u16, P>,
    /// Abandoned numbers and when they are free again.
    quarantine: HashMap<u16, Moment>,
    /// The same, earliest first.
    releases: BTreeSet<(Moment, u16)>,
}

impl<P> Default for InvokeTable<P> {
    fn default() -> Self {
        Self { next: REQUEST_ID_MIN, open: HashMap::new(), quarantine: HashMap::new(), releases: BTreeSet::new() }
    }
}

impl<P> InvokeTable<P> {
    pub fn open(&mut self, purpose: P, now: Moment) -> Result<u16, NoInvokeId> {
        while let Some((_, invoke)) = self.releases.first().copied().filter(|(until, _)| *until <= now) {
            self.release(invoke);
        }
        for _ in REQUEST_ID_MIN..=REQUEST_ID_MAX {
            let invoke = self.next;
            self.next = if invoke == REQUEST_ID_MAX { REQUEST_ID_MIN } else { invoke + 1 };
            if !self.open.contains_key(&invoke) && !self.quarantine.contains_key(&invoke) {
                self.open.insert(invoke, purpose);
                return Ok(invoke);
            }
        }
        Err(NoInvokeId)
    }

    /// The request an answer belongs to; `None` for the answer to an abandoned one, or to nothing. A late answer ends
    /// its number's quarantine: PBXs do answer twice, but not minutes apart, and numbers go round.
    pub fn answered(&mut self, invoke: u16) -> Option<P> {
        self.release(invoke);
        self.open.remove(&invoke)
    }

    /// Nobody waits for these answers any more.
    pub fn abandon(&mut self, now: Moment, is_meant: impl Fn(&P) -> bool) {
        let until = now.after_ms(QUARANTINE_MS);
        let mut meant: Vec<u16> =
            self.open.iter().filter(|(_, purpose)| is_meant(purpose)).map(|(invoke, _)| *invoke).collect();
        meant.sort_unstable();
        for invoke in meant {
            self.open.remove(&invoke);
            self.quarantine.insert(invoke, until);
            self.releases.insert((until, invoke));
        }
    }

    fn release(&mut self, invoke: u16) {
        if let Some(until) = self.quarantine.remove(&invoke) {
            self.releases.remove(&(until, invoke));
        }
    }

    pub fn open_count(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_run_from_1_to_9998_and_round() {
        let mut table = InvokeTable::default();
        for number in 1..=9998u16 {
            assert_eq!(table.open(number, Moment(0)), Ok(number));
            assert_eq!(table.answered(number), Some(number));
        }
        assert_eq!(table.open(0, Moment(0)), Ok(1));
    }

    #[test]
    fn an_answer_finds_its_request_once() {
        let mut table = InvokeTable::default();
        let invoke = table.open("make call", Moment(0)).unwrap();
        assert_eq!(table.answered(invoke), Some("make call"));
        assert_eq!(table.answered(invoke), None);
    }

    #[test]
    fn the_number_of_an_abandoned_request_is_not_reused_while_its_answer_may_come() {
        let mut table = InvokeTable::default();
        let invoke = table.open("late", Moment(0)).unwrap();
        table.abandon(Moment(0), |purpose| *purpose == "late");
        assert_eq!(table.answered(invoke), None);

        let invoke = table.open("never", Moment(0)).unwrap();
        table.abandon(Moment(0), |purpose| *purpose == "never");
        for _ in 0..9997 {
            assert_ne!(table.open("other", Moment(QUARANTINE_MS - 1)).unwrap(), invoke);
        }
        assert_eq!(table.open("one more", Moment(QUARANTINE_MS - 1)), Err(NoInvokeId));
        assert_eq!(table.open("one more", Moment(QUARANTINE_MS)), Ok(invoke));
    }
}
