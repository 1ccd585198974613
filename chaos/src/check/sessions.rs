//! I1: a session whose 200 was sent never gets 481, 404 or another tag, until BYE.

use std::collections::BTreeMap;

use super::{Breach, Checked};
use crate::history::{Done, History, What};

/// What a client notes when its dialog is denied, ended from the other side, or goes on under another tag.
const DENIED: [&str; 3] = ["DialogDenied", "RemoteTagChanged", "ByeReceived"];

pub fn check(history: &History) -> Checked {
    let mut signed_in: BTreeMap<&str, &str> = BTreeMap::new();
    let (mut observed, mut breaches) = (0, Vec::new());
    for entry in &history.entries {
        let mut breach = |what: String| breaches.push(Breach::at(entry.at_us, what));
        match &entry.what {
            What::SignedIn { user, call_id, .. } => {
                observed += 1;
                if let Some(old) = signed_in.insert(user, call_id)
                    && old != call_id
                {
                    breach(format!("user {user} had to sign in again"));
                }
            }
            What::SignedOut { user } => drop(signed_in.remove(user.as_str())),
            What::Operation(operation) if signed_in.contains_key(operation.user.as_str()) => {
                observed += 1;
                if let Done::Failed(status @ (404 | 410 | 481), _) = &operation.result {
                    breach(format!("user {}: {} was answered {status}", operation.user, operation.op));
                }
            }
            What::Broke { user, rule, detail }
                if DENIED.contains(&rule.as_str()) && signed_in.contains_key(user.as_str()) =>
            {
                breach(format!("user {user}: {detail}"));
            }
            _ => {}
        }
    }
    (observed, breaches)
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::check::golden::{Golden, broken, holds};

    #[test]
    fn a_session_that_goes_on_over_a_takeover_is_good() {
        let good = Golden::default().signed_in("10001", "a", "t1").asked_ok("10001").kill(1).asked_ok("10001");
        holds(check, &good.signed_out("10001").refused("10001", 481));
    }

    #[test]
    fn a_denied_dialog_another_tag_and_a_second_sign_in_are_seen() {
        let begun = || Golden::default().signed_in("10001", "a", "t1").kill(1);
        broken(check, &begun().refused("10001", 481), "answered 481");
        broken(check, &begun().broke("10001", "RemoteTagChanged"), "RemoteTagChanged");
        broken(check, &begun().broke("10001", "ByeReceived"), "ByeReceived");
        broken(check, &begun().signed_in("10001", "b", "t2"), "sign in again");
    }
}
