//! I7: a request repeated over another connection gets the same final answer.

use std::collections::{BTreeMap, BTreeSet};

use super::{Breach, Checked};
use crate::history::{History, What};

#[derive(Default)]
struct Request {
    flows: BTreeSet<u64>,
    answers: Vec<(u64, u16, u64)>,
}

/// Overload and a lost quorum may be told to one copy and not to the other: nothing was done then.
const MEANWHILE: [u16; 3] = [500, 503, 504];

pub fn check(history: &History) -> Checked {
    let mut requests: BTreeMap<(&str, u32, &str), Request> = BTreeMap::new();
    for entry in &history.entries {
        let What::Message(message) = &entry.what else { continue };
        if message.method == "ACK" {
            continue;
        }
        let request = || (message.call_id.as_str(), message.cseq, message.method.as_str());
        match message.status {
            None if message.is_from_client => {
                requests.entry(request()).or_default().flows.insert(message.flow);
            }
            Some(status) if status >= 200 && !message.is_from_client => {
                requests.entry(request()).or_default().answers.push((entry.at_us, status, message.digest));
            }
            _ => {}
        }
    }
    let repeated = requests.iter().filter(|(_, request)| request.flows.len() > 1);
    let mut observed = 0;
    let mut breaches = Vec::new();
    for ((call_id, cseq, method), request) in repeated {
        observed += 1;
        let final_ones = request.answers.iter().filter(|(_, status, _)| !MEANWHILE.contains(status));
        let answers: Vec<_> = final_ones.collect();
        if let Some(pair) = answers.windows(2).find(|pair| (pair[0].1, pair[0].2) != (pair[1].1, pair[1].2)) {
            breaches.push(Breach::at(
                pair[1].0,
                format!(
                    "{method} {cseq} of dialog {call_id} was answered {} and then {}, or with another body",
                    pair[0].1, pair[1].1
                ),
            ));
        }
    }
    (observed, breaches)
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::check::golden::{Golden, broken, holds};

    #[test]
    fn the_same_answer_over_both_connections_is_good() {
        let good = Golden::default().info_out("a", 3, 1).answer("a", 3, (200, 7)).info_out("a", 3, 2);
        holds(check, &good.answer("a", 3, (200, 7)));
        holds(
            check,
            &Golden::default().info_out("a", 3, 1).answer("a", 3, (503, 0)).info_out("a", 3, 2).answer(
                "a",
                3,
                (200, 7),
            ),
        );
    }

    #[test]
    fn another_status_or_body_the_second_time_is_seen() {
        let begun = || Golden::default().info_out("a", 3, 1).answer("a", 3, (200, 7)).info_out("a", 3, 2);
        broken(check, &begun().answer("a", 3, (200, 8)), "another body");
        broken(check, &begun().answer("a", 3, (481, 7)), "answered 200 and then 481");
    }
}
