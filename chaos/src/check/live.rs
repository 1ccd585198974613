//! I13: with the faults gone every operation succeeds within 10 s, and all nodes serve.

use std::collections::BTreeMap;

use super::{Breach, Checked};
use crate::history::{Done, History, Phase, What};

const WITHIN_US: u64 = 10_000_000;

pub fn check(history: &History) -> Checked {
    let Some(begun_us) = history.phase_at(Phase::Convergence) else { return (0, Vec::new()) };
    let (mut observed, mut breaches) = (0, Vec::new());
    for (at_us, operation) in history.operations().filter(|(_, operation)| operation.start_us >= begun_us) {
        observed += 1;
        let took_us = at_us - operation.start_us;
        let (user, op) = (&operation.user, &operation.op);
        match &operation.result {
            Done::Ok if took_us <= WITHIN_US => {}
            Done::Ok => breaches.push(Breach::at(at_us, format!("{op} of user {user} took {} ms", took_us / 1000))),
            Done::Failed(_, why) | Done::Unknown(why) => {
                breaches.push(Breach::at(at_us, format!("{op} of user {user} with all faults gone: {why}")));
            }
        }
    }
    let mut serves: BTreeMap<u32, (u64, bool)> = BTreeMap::new();
    for entry in &history.entries {
        if let What::Health { node, serves: is } = &entry.what {
            serves.insert(*node, (entry.at_us, *is));
        }
    }
    for (node, (at_us, _)) in serves.iter().filter(|(_, (_, serves))| !serves) {
        breaches.push(Breach::at(*at_us, format!("node {node} does not serve at the end")));
    }
    (observed, breaches)
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::check::golden::{Golden, broken, holds};
    use crate::history::Phase;

    fn converging() -> Golden {
        Golden::default().health(1, true).kill(1).health(1, false).refused("10001", 503).phase(Phase::Convergence)
    }

    #[test]
    fn refusals_before_the_healing_are_no_matter() {
        holds(check, &converging().health(1, true).asked_ok("10001"));
    }

    #[test]
    fn a_refusal_a_late_answer_and_a_node_that_stays_away_are_seen() {
        broken(check, &converging().health(1, true).refused("10001", 503), "with all faults gone");
        broken(check, &converging().health(1, true).asked_slowly("10001", 10_500), "took 10501 ms");
        broken(check, &converging().asked_ok("10001"), "node 1 does not serve");
    }
}
