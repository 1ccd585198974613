//! The invariants, each a pure function from a history to a finding. None trusts what a node says of itself.

mod actors;
mod agreement;
mod bounds;
mod calls;
mod damage;
mod dialog;
mod durable;
mod events;
pub(crate) mod intruders;
mod linear;
mod live;
mod notices;
mod recovery;
mod repeats;
mod sessions;

#[cfg(test)]
pub(crate) mod golden;

use serde::{Deserialize, Serialize};

pub use recovery::{Recovery, recoveries};

use crate::history::History;

/// What one invariant's check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// `I1` to `I15`.
    pub id: String,
    pub title: String,
    /// How many things were held against the invariant; 0: this run says nothing about it.
    pub observed: usize,
    pub breaches: Vec<Breach>,
}

/// One violation, at the time of the entry that shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breach {
    pub at_us: u64,
    pub what: String,
}

impl Breach {
    pub fn at(at_us: u64, what: impl Into<String>) -> Self {
        Self { at_us, what: what.into() }
    }
}

/// How many things were observed, and the breaches among them.
pub(crate) type Checked = (usize, Vec<Breach>);

type Check = (&'static str, &'static str, fn(&History) -> Checked);

const CHECKS: [Check; 15] = [
    ("I1", "a session once acknowledged is never denied, ended or begun anew", sessions::check),
    ("I2", "a call is made once when answered ok, never when refused, at most once when unknown", calls::check),
    ("I3", "each event of the PBX reaches its monitor once and in order, or a later one covers it", events::check),
    ("I4", "no ghosts: 5 s after the last fault the clients' calls are the PBX's calls", agreement::check),
    ("I5", "one owner acts on a session: nobody acts again once another has acted", actors::check),
    ("I6", "a dialog keeps its tags, and CSeq rises in each direction, none used for two things", dialog::check),
    ("I7", "a request repeated over another connection gets the same answer", repeats::check),
    ("I8", "the longest pause of a user stays within the goal of the fault", recovery::check),
    ("I9", "after a power cut every acknowledged session is there again", durable::check),
    ("I10", "a damaged store never yields a wrong answer; its node sets itself aside and comes back", damage::check),
    ("I11", "memory, files, threads and logs stay bounded under flood, and users are still served", bounds::check),
    ("I12", "nobody without a right gets in, or hears a byte", intruders::check),
    ("I13", "with the faults gone every operation succeeds within 10 s, and both nodes serve", live::check),
    ("I14", "the record store is linearizable, each key for itself", linear::check),
    ("I15", "a fault shows within 5 s, and its end does", notices::check),
];

/// All fifteen, in order.
pub fn all(history: &History) -> Vec<Finding> {
    CHECKS
        .iter()
        .map(|(id, title, check)| {
            let (observed, mut breaches) = check(history);
            breaches.sort_by_key(|breach| breach.at_us);
            Finding { id: (*id).to_owned(), title: (*title).to_owned(), observed, breaches }
        })
        .collect()
}
