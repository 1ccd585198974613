//! I5: per session the PBX sees runs A..A B..B, and never A again once B was there.

use std::collections::{BTreeMap, BTreeSet};

use super::{Breach, Checked};
use crate::history::{Entry, History, What};

/// One life of one node's process.
type Actor = (u32, u32);

pub fn check(history: &History) -> Checked {
    let mut acting: BTreeMap<&str, Actor> = BTreeMap::new();
    let mut retired: BTreeSet<(&str, Actor)> = BTreeSet::new();
    let (mut observed, mut breaches) = (0, Vec::new());
    for Entry { at_us, what } in &history.entries {
        let asked = match what {
            What::Asked(asked) => asked,
            // A new session may begin at any node.
            What::SignedIn { user, .. } | What::SignedOut { user } => {
                acting.remove(user.as_str());
                retired.retain(|(of, _)| of != user);
                continue;
            }
            _ => continue,
        };
        let Some(user) = asked.user.as_deref() else { continue };
        observed += 1;
        let actor = (asked.node, asked.life);
        if retired.contains(&(user, actor)) {
            let (node, life) = acting.get(user).copied().unwrap_or_default();
            breaches.push(Breach::at(
                *at_us,
                format!(
                    "{} for user {user} came from node {} (life {}) after node {node} (life {life}) had acted",
                    asked.service, asked.node, asked.life
                ),
            ));
        } else if let Some(before) = acting.insert(user, actor).filter(|before| *before != actor) {
            retired.insert((user, before));
        }
    }
    (observed, breaches)
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::check::golden::{Golden, broken, holds};

    #[test]
    fn a_takeover_and_a_way_back_to_a_new_life_are_good() {
        let good = Golden::default().pbx_asked((1, 1), "10001").pbx_asked((2, 1), "10001").pbx_asked((1, 2), "10001");
        holds(check, &good.pbx_asked((2, 1), "10002"));
        let anew = Golden::default().pbx_asked((1, 1), "10001").pbx_asked((2, 1), "10001").signed_out("10001");
        holds(check, &anew.signed_in("10001", "b", "t").pbx_asked((1, 1), "10001"));
    }

    #[test]
    fn an_owner_that_acts_after_its_heir_is_seen() {
        let bad = Golden::default().pbx_asked((1, 1), "10001").pbx_asked((2, 1), "10001").pbx_asked((1, 1), "10001");
        broken(check, &bad, "came from node 1 (life 1) after node 2");
    }
}
