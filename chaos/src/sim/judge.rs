//! What must hold, looked at from outside: what users were told, what the PBX did, and what the records say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lyncpin::client::{Surprise, Violation as Seen};
use lyncpin::csta::Service;
use tokio::time::Instant;

use super::pbx;
use super::run::Violation;
use super::users::{Memory, Told};

/// At most once, and truly: done is once, failed is never, unknown is at most once.
pub fn at_most_once(memory: &Memory, seen: &[pbx::Seen], found: &mut Vec<Violation>) {
    let mut made: BTreeMap<&str, usize> = BTreeMap::new();
    for one in seen.iter().filter(|one| one.is_done) {
        if let Service::MakeCall { called, .. } = &one.service {
            *made.entry(digits(called)).or_default() += 1;
        }
    }
    for (number, told) in memory.made.borrow().iter() {
        let times = made.get(digits(number)).copied().unwrap_or_default();
        let is_wrong = match told {
            Told::Done => times != 1,
            Told::Failed => times != 0,
            Told::Unknown => times > 1,
        };
        if is_wrong {
            let what = format!("{number}: the user was told {told:?}, the PBX made the call {times} times");
            found.push(Violation { invariant: "I2", what });
        }
    }
}

/// The number without the plan's prefixes.
fn digits(number: &str) -> &str {
    let bare = number.trim_start_matches("tel:").trim_start_matches('+');
    bare.split(';').next().unwrap_or(bare)
}

/// What a node did this long after its successor's first act was on its way already: its commit was answered before the
/// fence, and the network took its time. The guardian's own margin.
const ON_ITS_WAY: Duration = Duration::from_millis(100);

/// Of each session the acts are A..A B..B, in order of their leaving the nodes.
pub fn one_owner_acts(seen: &[pbx::Seen], found: &mut Vec<Violation>) {
    let mut by_session: BTreeMap<&str, Vec<&pbx::Seen>> = BTreeMap::new();
    for one in seen {
        by_session.entry(&one.session).or_default().push(one);
    }
    for (session, mut acts) in by_session {
        acts.sort_by_key(|act| act.sent);
        let mut first: BTreeMap<u64, Instant> = BTreeMap::new();
        acts.retain(|act| {
            let since = *first.entry(act.asker.life).or_insert(act.sent);
            let succeeded = first.values().filter(|other| **other > since).min();
            succeeded.is_none_or(|succeeded| act.sent > *succeeded + ON_ITS_WAY)
        });
        let mut owners: Vec<u64> = acts.iter().map(|act| act.asker.life).collect();
        owners.dedup();
        let mut before = BTreeSet::new();
        if let Some(again) = owners.iter().find(|owner| !before.insert(**owner)) {
            let what = format!("session {session}: life {again} acted again after another: {owners:?}");
            found.push(Violation { invariant: "I5", what });
        }
    }
}

/// What a client does not put up with, by the promise it breaks; `None`: a takeover explains it.
pub fn of_client(seen: &Seen) -> Option<&'static str> {
    match seen {
        Seen::CSeqGap { .. } | Seen::CSeqRepeated { .. } => None,
        // Over several connections, or after a repetition, answers and events pass each other.
        Seen::UnaskedResponse { .. } | Seen::EventBeforeOutcome { .. } | Seen::CSeqBackwards { .. } => None,
        Seen::CSeqReused { .. } | Seen::RemoteTagChanged { .. } | Seen::LocalTagChanged { .. } => Some("I6"),
        Seen::AnswersDiffer { .. } => Some("I7"),
        Seen::DialogDenied { .. } | Seen::ByeReceived => Some("I1"),
        Seen::Call(Surprise::AfterEnd { .. } | Surprise::Repeated { .. } | Surprise::OutOfOrder { .. }) => Some("I3"),
        Seen::Call(Surprise::UnknownCall { .. }) => Some("I3"),
        _ => Some("protocol"),
    }
}

pub fn clients(memory: &Memory, found: &mut Vec<Violation>) {
    for (user, seen) in memory.violations.borrow().iter() {
        if let Some(invariant) = of_client(seen) {
            found.push(Violation { invariant, what: format!("user {user} saw {seen:?}") });
        }
    }
    for unknown in memory.unknown_there.borrow().iter() {
        found.push(Violation { invariant: "I7", what: unknown.clone() });
    }
    for lost in memory.lost.borrow().iter() {
        found.push(Violation { invariant: "I1", what: lost.clone() });
    }
}
