//! The latest refused sign-ins, for an operator who is asked why somebody cannot sign in.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::id::Moment;

const KEPT_MAX: usize = 256;
/// Of what came from outside.
const TEXT_BYTES_MAX: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedSignIn {
    pub at: Moment,
    pub user: String,
    /// A stable name: `line_unknown` ...
    pub reason: &'static str,
    /// What the client calls itself.
    pub agent: String,
}

#[derive(Default)]
pub struct Refusals(Mutex<VecDeque<RefusedSignIn>>);

impl Refusals {
    pub fn add(&self, at: Moment, user: &str, reason: &'static str, agent: &str) {
        let cut = |text: &str| text.chars().take(TEXT_BYTES_MAX / 4).collect();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            kept.pop_back();
        }
        kept.push_front(RefusedSignIn { at, user: cut(user), reason, agent: cut(agent) });
    }

    /// Newest first.
    pub fn latest(&self) -> Vec<RefusedSignIn> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_come_first_and_the_oldest_are_forgotten() {
        let refusals = Refusals::default();
        for n in 0..1_000_u64 {
            refusals.add(Moment(n), &"x".repeat(10_000), "line_unknown", "UCCAPI");
        }
        let latest = refusals.latest();
        assert_eq!((latest.len(), latest[0].at), (KEPT_MAX, Moment(999)));
        assert!(latest[0].user.len() <= TEXT_BYTES_MAX);
    }
}
