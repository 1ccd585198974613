//! I10: a damaged store yields no wrong answer: its node sets itself aside, says so, and serves again.

use super::{Breach, Checked, calls, dialog, sessions};
use crate::history::{By, History, What};

pub fn check(history: &History) -> Checked {
    let damages: Vec<_> = history.faults().into_iter().filter(|fault| fault.kind.damages_store()).collect();
    let Some(first_us) = damages.iter().map(|fault| fault.began_us).min() else { return (0, Vec::new()) };
    let mut breaches = Vec::new();
    for (check, what) in
        [(sessions::check as fn(&History) -> Checked, "I1"), (calls::check, "I2"), (dialog::check, "I6")]
    {
        let wrong = check(history).1.into_iter().filter(|breach| breach.at_us >= first_us);
        breaches.extend(
            wrong.map(|breach| Breach::at(breach.at_us, format!("after the damage ({what}): {}", breach.what))),
        );
    }
    for fault in &damages {
        for node in &fault.nodes {
            let said = |shown: bool| {
                history.entries.iter().any(|entry| {
                    matches!(&entry.what, What::Notice { fault: of, node: at, shown: is, by: By::Service, .. }
                        if of == &fault.fault && at == node && *is == shown)
                })
            };
            if !said(true) {
                breaches
                    .push(Breach::at(fault.began_us, format!("node {node} did not notice that its store is damaged")));
            }
            if !said(false) {
                breaches.push(Breach::at(
                    fault.began_us,
                    format!("node {node} did not come back after its store was damaged"),
                ));
            }
        }
    }
    (damages.len(), breaches)
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::check::golden::{Golden, broken, holds};
    use crate::fault::Kind;
    use crate::history::Done;

    fn flipped() -> Golden {
        Golden::default().signed_in("10001", "a", "t").fault(Kind::FlipByte, &[2])
    }

    #[test]
    fn a_node_that_says_so_and_comes_back_is_good() {
        holds(check, &flipped().notice(1, 2, true).asked_ok("10001").notice(1, 2, false));
    }

    #[test]
    fn a_damage_unnoticed_unhealed_or_answered_from_is_seen() {
        broken(check, &flipped().asked_ok("10001").notice(1, 2, false), "did not notice");
        broken(check, &flipped().notice(1, 2, true), "did not come back");
        let healed = || flipped().notice(1, 2, true).notice(1, 2, false);
        broken(check, &healed().refused("10001", 481), "after the damage (I1)");
        broken(check, &healed().dialled("10001", "+1900", Done::Ok), "after the damage (I2)");
    }
}
