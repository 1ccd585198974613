//! I9: after a power cut every acknowledged session is there again, without a new sign-in.

use std::collections::BTreeMap;

use super::{Breach, Checked};
use crate::history::{Done, History, What};

pub fn check(history: &History) -> Checked {
    let (mut observed, mut breaches) = (0, Vec::new());
    for fault in history.faults().iter().filter(|fault| fault.kind.is_power_cut()) {
        let mut sessions: BTreeMap<&str, (&str, bool)> = BTreeMap::new();
        for entry in &history.entries {
            let is_after = fault.healed_us.is_some_and(|healed| entry.at_us > healed);
            match &entry.what {
                What::SignedIn { user, call_id, .. } if entry.at_us < fault.began_us => {
                    sessions.insert(user, (call_id, false));
                }
                What::SignedIn { user, call_id, .. } => {
                    if let Some((old, false)) = sessions.get(user.as_str())
                        && old != call_id
                    {
                        breaches.push(Breach::at(
                            entry.at_us,
                            format!("user {user} had to sign in anew after the power cut"),
                        ));
                        sessions.remove(user.as_str());
                    }
                }
                What::SignedOut { user } => drop(sessions.remove(user.as_str())),
                What::Operation(operation) if is_after && operation.start_us > fault.began_us => {
                    if let Some((_, is_back)) = sessions.get_mut(operation.user.as_str()) {
                        *is_back |= matches!(operation.result, Done::Ok | Done::Failed(0, _));
                    }
                }
                _ => {}
            }
        }
        observed += sessions.len();
        let end_us = history.entries.last().map_or(0, |entry| entry.at_us);
        for (user, _) in sessions.iter().filter(|(_, (_, is_back))| !is_back) {
            breaches
                .push(Breach::at(end_us, format!("the session of user {user} did not come back after the power cut")));
        }
    }
    (observed, breaches)
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::check::golden::{Golden, broken, holds};
    use crate::fault::Kind;

    fn cut() -> Golden {
        let begun = Golden::default().signed_in("10001", "a", "t").signed_in("10002", "b", "u");
        begun.fault(Kind::PowerCutAll, &[1, 2, 3]).healed(1).asked_ok("10001")
    }

    #[test]
    fn sessions_that_answer_afterwards_are_good() {
        holds(check, &cut().asked_ok("10002"));
    }

    #[test]
    fn a_session_that_is_gone_or_begun_anew_is_seen() {
        broken(check, &cut().refused("10002", 481), "10002 did not come back");
        broken(check, &cut().signed_in("10002", "c", "v").asked_ok("10002"), "sign in anew");
    }
}
