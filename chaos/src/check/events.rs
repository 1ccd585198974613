//! I3: each event of the PBX reaches its monitor once and in order, or a later one covers it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Breach, Checked};
use crate::history::{FaultSeen, History, What};

/// A fault excuses a gap in the events this long after its end, if something later covers it.
const EXCUSED_US: u64 = 5_000_000;

#[derive(Default)]
struct OneCall<'a> {
    told: Vec<(u64, &'a str)>,
    heard: Vec<(u64, &'a str)>,
}

pub fn check(history: &History) -> Checked {
    let mut calls: BTreeMap<(&str, &str), OneCall> = BTreeMap::new();
    let mut watched: BTreeSet<&str> = BTreeSet::new();
    let mut agreed_us = None;
    let mut breaches = Vec::new();
    let faults = history.faults();
    for entry in &history.entries {
        match &entry.what {
            What::SignedIn { user, .. } => drop(watched.insert(user)),
            What::SignedOut { user } => drop(watched.remove(user.as_str())),
            What::Told { user, event, call } if watched.contains(user.as_str()) => {
                calls.entry((user, call)).or_default().told.push((entry.at_us, event));
            }
            What::Event { user, event, call, .. } if !call.is_empty() => {
                calls.entry((user, call)).or_default().heard.push((entry.at_us, event));
            }
            What::Compared { differ, .. } if differ.is_empty() => agreed_us = Some(entry.at_us),
            // Reconciliation tells the truth, not the way there.
            What::Broke { rule, .. } if rule == "Call: OutOfOrder" && is_excused(&faults, entry.at_us) => {}
            What::Broke { user, rule, detail } if rule.starts_with("Call: ") || rule == "WrongXref" => {
                breaches.push(Breach::at(entry.at_us, format!("user {user}: {detail}")));
            }
            _ => {}
        }
    }
    let observed = calls.values().map(|call| call.told.len()).sum();
    for ((user, id), call) in &calls {
        compare(call, &faults, agreed_us, |at_us, what| {
            breaches.push(Breach::at(at_us, format!("user {user}, call {id}: {what}")));
        });
    }
    (observed, breaches)
}

fn is_excused(faults: &[FaultSeen], at_us: u64) -> bool {
    faults.iter().any(|fault| fault.contains(at_us, EXCUSED_US, EXCUSED_US))
}

fn compare(call: &OneCall, faults: &[FaultSeen], agreed_us: Option<u64>, mut breach: impl FnMut(u64, String)) {
    let mut matched = vec![false; call.told.len()];
    let mut from = 0;
    for (at_us, event) in &call.heard {
        let next = (from..call.told.len()).find(|n| call.told[*n].1 == *event);
        match next {
            Some(n) => {
                matched[n] = true;
                from = n + 1;
            }
            // A takeover's reconciliation says what the PBX has told already, or says it in other words.
            None if is_excused(faults, *at_us) => {}
            None => {
                let is_known = call.told.iter().any(|(_, told)| told == event);
                let what = if is_known { "came twice or late" } else { "was never told by the PBX" };
                breach(*at_us, format!("{event} {what}"));
            }
        }
    }
    for (n, (at_us, event)) in call.told.iter().enumerate().filter(|(n, _)| !matched[*n]) {
        let is_followed =
            matched[n..].iter().any(|matched| *matched) || call.heard.iter().any(|(heard, _)| heard > at_us);
        let is_covered = is_followed || agreed_us.is_some_and(|agreed| agreed >= *at_us);
        if !is_excused(faults, *at_us) {
            breach(*at_us, format!("{event} never reached the client, and no fault explains it"));
        } else if !is_covered {
            breach(*at_us, format!("{event} never reached the client, and nothing later covers it"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::check::golden::{Golden, broken, holds};

    fn told_and_heard(events: &[&str]) -> Golden {
        let begun = Golden::default().signed_in("10001", "a", "t");
        events.iter().fold(begun, |golden, event| golden.told("10001", event, "c1").heard("10001", event, "c1"))
    }

    #[test]
    fn each_event_once_and_in_order_is_good() {
        holds(check, &told_and_heard(&["OriginatedEvent", "DeliveredEvent", "EstablishedEvent"]));
    }

    #[test]
    fn an_event_missed_at_a_takeover_is_covered_by_a_later_one_or_by_agreement() {
        let missed = told_and_heard(&["OriginatedEvent"]).kill(1).told("10001", "DeliveredEvent", "c1");
        let later = missed.clone().told("10001", "EstablishedEvent", "c1").heard("10001", "EstablishedEvent", "c1");
        holds(check, &later);
        holds(check, &missed.clone().compared(&[]));
        broken(check, &missed, "nothing later covers it");
    }

    #[test]
    fn a_lost_a_doubled_a_late_and_an_invented_event_are_seen() {
        let lost = told_and_heard(&["OriginatedEvent"]).told("10001", "DeliveredEvent", "c1").compared(&[]);
        broken(check, &lost, "no fault explains it");
        broken(check, &told_and_heard(&["OriginatedEvent"]).heard("10001", "OriginatedEvent", "c1"), "twice");
        let late = told_and_heard(&[]).told("10001", "DeliveredEvent", "c1").told("10001", "EstablishedEvent", "c1");
        let late = late.heard("10001", "EstablishedEvent", "c1").heard("10001", "DeliveredEvent", "c1");
        broken(check, &late, "DeliveredEvent came twice or late");
        broken(check, &told_and_heard(&[]).heard("10001", "HeldEvent", "c9"), "never told by the PBX");
        broken(check, &told_and_heard(&[]).broke("10001", "Call: AfterEnd"), "AfterEnd");
        broken(check, &told_and_heard(&[]).broke("10001", "Call: OutOfOrder"), "OutOfOrder");
    }
}
