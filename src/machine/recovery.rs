//! Who may recover next after a link has come up: sessions with live calls first, so many at a time.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{Moment, SessionId};

/// The queue before a link's recovery window. `window` sessions recover at a time; one that says nothing for `guard_ms`
/// gives its place away, so that a hung session holds up nobody.
#[derive(Debug)]
pub struct Recovery {
    window: usize,
    guard_ms: u64,
    arrivals: u64,
    /// (0 with live calls, 1 without; order of arrival; who).
    queue: BTreeSet<(u8, u64, SessionId)>,
    places: BTreeMap<SessionId, (u8, u64)>,
    admitted: BTreeMap<SessionId, Moment>,
    guards: BTreeSet<(Moment, SessionId)>,
}

impl Recovery {
    pub fn new(window: usize, guard_ms: u64) -> Self {
        Self {
            window: window.max(1),
            guard_ms,
            arrivals: 0,
            queue: BTreeSet::new(),
            places: BTreeMap::new(),
            admitted: BTreeMap::new(),
            guards: BTreeSet::new(),
        }
    }

    /// Puts a session in the queue, or, when it stands there, moves it to where its calls put it. One that was admitted
    /// before waits again.
    pub fn wait(&mut self, session: SessionId, has_calls: bool) {
        self.recovered(&session);
        let rank = u8::from(!has_calls);
        let arrival = match self.places.get(&session) {
            Some((old_rank, arrival)) => {
                let (old_rank, arrival) = (*old_rank, *arrival);
                self.queue.remove(&(old_rank, arrival, session.clone()));
                arrival
            }
            None => {
                self.arrivals += 1;
                self.arrivals
            }
        };
        self.places.insert(session.clone(), (rank, arrival));
        self.queue.insert((rank, arrival, session));
    }

    /// Calls came or went; matters only to a session that waits.
    pub fn has_calls(&mut self, session: &SessionId, has_calls: bool) {
        if self.places.contains_key(session) {
            self.wait(session.clone(), has_calls);
        }
    }

    /// The next session to recover, while the window has room: call until `None`.
    pub fn admit(&mut self, now: Moment) -> Option<SessionId> {
        if self.admitted.len() >= self.window {
            return None;
        }
        let (_, _, session) = self.queue.pop_first()?;
        self.places.remove(&session);
        let until = now.after_ms(self.guard_ms);
        self.admitted.insert(session.clone(), until);
        self.guards.insert((until, session.clone()));
        Some(session)
    }

    /// Its place in the window is free; harmless when it had none.
    pub fn recovered(&mut self, session: &SessionId) {
        if let Some(until) = self.admitted.remove(session) {
            self.guards.remove(&(until, session.clone()));
        }
    }

    /// Forgets a session, waiting or admitted.
    pub fn leave(&mut self, session: &SessionId) {
        self.recovered(session);
        if let Some((rank, arrival)) = self.places.remove(session) {
            self.queue.remove(&(rank, arrival, session.clone()));
        }
    }

    /// Frees the places of sessions that said nothing in their time, and names them, first expired first.
    pub fn expire(&mut self, now: Moment) -> Vec<SessionId> {
        let mut silent = Vec::new();
        while let Some((until, _)) = self.guards.first() {
            if *until > now {
                break;
            }
            let (_, session) = self.guards.pop_first().expect("a first guard was just seen");
            self.admitted.remove(&session);
            silent.push(session);
        }
        silent
    }

    /// When `expire` next has something to say.
    pub fn deadline(&self) -> Option<Moment> {
        self.guards.first().map(|(until, _)| *until)
    }

    pub fn clear(&mut self) {
        self.queue.clear();
        self.places.clear();
        self.admitted.clear();
        self.guards.clear();
    }

    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub fn recovering(&self) -> usize {
        self.admitted.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> SessionId {
        SessionId::new(text)
    }

    fn admitted(recovery: &mut Recovery, now: Moment) -> Vec<String> {
        std::iter::from_fn(|| recovery.admit(now)).map(|session| session.to_string()).collect()
    }

    #[test]
    fn sessions_with_live_calls_go_first_and_each_group_in_order_of_arrival() {
        let mut recovery = Recovery::new(10, 1000);
        for (name, live) in [("a", false), ("b", true), ("c", false), ("d", true)] {
            recovery.wait(id(name), live);
        }
        assert_eq!(admitted(&mut recovery, Moment(0)), ["b", "d", "a", "c"]);
    }

    #[test]
    fn the_window_bounds_how_many_recover_at_a_time() {
        let mut recovery = Recovery::new(2, 1000);
        for name in ["a", "b", "c"] {
            recovery.wait(id(name), false);
        }
        assert_eq!(admitted(&mut recovery, Moment(0)), ["a", "b"]);
        recovery.recovered(&id("b"));
        recovery.recovered(&id("b"));
        assert_eq!(admitted(&mut recovery, Moment(0)), ["c"]);
        assert_eq!(recovery.recovering(), 2);
    }

    #[test]
    fn a_silent_session_gives_its_place_away_after_the_guard() {
        let mut recovery = Recovery::new(1, 1000);
        recovery.wait(id("hung"), true);
        recovery.wait(id("next"), false);
        assert_eq!(admitted(&mut recovery, Moment(5)), ["hung"]);
        assert_eq!(recovery.deadline(), Some(Moment(1005)));
        assert!(recovery.expire(Moment(1004)).is_empty());
        assert_eq!(recovery.expire(Moment(1005)), [id("hung")]);
        assert_eq!(admitted(&mut recovery, Moment(1005)), ["next"]);
    }

    #[test]
    fn a_call_that_begins_while_waiting_moves_the_session_forward() {
        let mut recovery = Recovery::new(5, 1000);
        for name in ["a", "b", "c"] {
            recovery.wait(id(name), false);
        }
        recovery.has_calls(&id("c"), true);
        recovery.has_calls(&id("stranger"), true);
        assert_eq!(recovery.waiting(), 3);
        assert_eq!(admitted(&mut recovery, Moment(0)), ["c", "a", "b"]);
    }

    #[test]
    fn one_that_leaves_is_forgotten_wherever_it_stood() {
        let mut recovery = Recovery::new(1, 1000);
        recovery.wait(id("a"), false);
        recovery.wait(id("b"), false);
        assert_eq!(admitted(&mut recovery, Moment(0)), ["a"]);
        recovery.leave(&id("a"));
        recovery.leave(&id("b"));
        assert_eq!((recovery.waiting(), recovery.recovering(), recovery.deadline()), (0, 0, None));
    }

    #[test]
    fn waiting_again_gives_the_place_in_the_window_back() {
        let mut recovery = Recovery::new(1, 1000);
        recovery.wait(id("a"), false);
        assert_eq!(admitted(&mut recovery, Moment(0)), ["a"]);
        recovery.wait(id("a"), false);
        assert_eq!(recovery.recovering(), 0);
        assert_eq!(admitted(&mut recovery, Moment(1)), ["a"]);
    }
}
