//! I2: MakeCall and its kin: ok means once, refused means never, unknown means at most once.

use std::collections::{BTreeMap, BTreeSet};

use super::{Breach, Checked};
use crate::history::{Done, History, What};

/// A node without a quorum says to ask later.
const LATER: u16 = 503;

/// Requests in the order of their last copy: user, when that left, over how many connections it went. What 503 says of the
/// second copy it does not say of the first, which may have been carried out by a node that has died since: to the client the
/// outcome is unknown.
fn requests(history: &History) -> Vec<(&str, u64, usize)> {
    let mut users: BTreeMap<&str, &str> = BTreeMap::new();
    let mut flows: BTreeMap<(&str, u32), (u64, BTreeSet<u64>)> = BTreeMap::new();
    for entry in &history.entries {
        match &entry.what {
            What::SignedIn { user, call_id, .. } => drop(users.insert(call_id, user)),
            What::Message(sent) if sent.is_from_client && sent.status.is_none() => {
                let (last_us, flows) = flows.entry((&sent.call_id, sent.cseq)).or_default();
                *last_us = entry.at_us;
                flows.insert(sent.flow);
            }
            _ => {}
        }
    }
    let sent = flows.into_iter();
    let mut sent: Vec<_> = sent
        .filter_map(|((call_id, _), (last_us, flows))| Some((*users.get(call_id)?, last_us, flows.len())))
        .collect();
    sent.sort_by_key(|(_, last_us, _)| *last_us);
    sent
}

/// Each operation dials a number that no other dials, so the PBX's account names the operation.
pub fn check(history: &History) -> Checked {
    let mut made: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (at_us, asked) in history.asked() {
        if let Some(number) = asked.number.as_deref().filter(|_| asked.was_done) {
            made.entry(number).or_default().push(at_us);
        }
    }
    let requests = requests(history);
    // A caller asks one thing at a time: its last request before the answer is the one that was answered.
    let was_repeated = |user: &str, at_us: u64| {
        let sent = requests.iter().rev().find(|(own, last_us, _)| *own == user && *last_us <= at_us);
        sent.is_some_and(|(_, _, flows)| *flows > 1)
    };
    let (mut observed, mut breaches) = (0, Vec::new());
    let mut wanted = BTreeMap::new();
    for (at_us, operation) in history.operations() {
        let Some(number) = operation.number.as_deref() else { continue };
        observed += 1;
        wanted.insert(number, ());
        let times = made.get(number).map_or(0, Vec::len);
        let (user, op) = (&operation.user, &operation.op);
        match (&operation.result, times) {
            (Done::Ok, 0) => {
                breaches
                    .push(Breach::at(at_us, format!("{op} {number} of user {user} was answered ok and never made")));
            }
            (Done::Failed(LATER, _), 1) if was_repeated(user, at_us) => {}
            (Done::Failed(_, why), 1..) => {
                breaches.push(Breach::at(at_us, format!("{op} {number} of user {user} was refused ({why}) and made")));
            }
            _ => {}
        }
    }
    for (number, at_us) in &made {
        if let [_, second, ..] = at_us.as_slice() {
            breaches.push(Breach::at(*second, format!("{number} was dialled {} times", at_us.len())));
        }
        if !wanted.contains_key(number) {
            breaches.push(Breach::at(at_us[0], format!("{number} was dialled, and nobody had asked for it")));
        }
    }
    (observed, breaches)
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::check::golden::{Golden, broken, holds};
    use crate::history::Done;

    #[test]
    fn once_never_and_at_most_once_are_good() {
        let good = Golden::default()
            .pbx_dials(1, "10001", "+1900")
            .dialled("10001", "+1900", Done::Ok)
            .dialled("10001", "+1901", Done::Failed(503, "no quorum".to_owned()))
            .dialled("10001", "+1902", Done::Unknown("no answer".to_owned()))
            .pbx_dials(1, "10001", "+1903")
            .dialled("10001", "+1903", Done::Unknown("no answer".to_owned()));
        holds(check, &good);
    }

    #[test]
    fn ask_later_said_to_a_second_copy_leaves_the_first_open() {
        let sent = |flows: &[u64]| {
            let begun = Golden::default().signed_in("10001", "a", "t").pbx_dials(1, "10001", "+1900");
            let sent = flows.iter().fold(begun, |golden, flow| golden.info_out("a", 1, *flow));
            sent.dialled("10001", "+1900", Done::Failed(503, "ask later".to_owned()))
        };
        holds(check, &sent(&[1, 2]));
        broken(check, &sent(&[1, 1]), "refused (ask later) and made");
        let denied = Golden::default().signed_in("10001", "a", "t").info_out("a", 1, 1).info_out("a", 1, 2);
        let denied = denied.pbx_dials(1, "10001", "+1900").dialled("10001", "+1900", Done::Failed(403, String::new()));
        broken(check, &denied, "and made");
    }

    #[test]
    fn a_call_lost_doubled_made_against_its_refusal_or_unasked_is_seen() {
        let golden = Golden::default;
        broken(check, &golden().dialled("10001", "+1900", Done::Ok), "never made");
        let twice = golden().pbx_dials(1, "10001", "+1900").kill(1).pbx_dials(2, "10001", "+1900");
        broken(check, &twice.clone().dialled("10001", "+1900", Done::Ok), "dialled 2 times");
        broken(check, &twice.dialled("10001", "+1900", Done::Unknown(String::new())), "dialled 2 times");
        let refused = golden().pbx_dials(1, "10001", "+1900");
        broken(check, &refused.clone().dialled("10001", "+1900", Done::Failed(503, String::new())), "refused");
        broken(check, &refused, "nobody had asked");
    }
}
