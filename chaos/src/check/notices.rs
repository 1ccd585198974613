//! I15: a fault of a node shows to a watcher within 5 s, and its end does: to whoever asks it for service, and where an
//! operator's tools looked in this run, in metrics and API.

use super::{Breach, Checked};
use crate::fault::Kind;
use crate::history::{By, History, OPERATOR, What};

const WITHIN_US: u64 = 5_000_000;

pub fn check(history: &History) -> Checked {
    let (mut observed, mut breaches) = (0, Vec::new());
    let end_us = history.entries.last().map_or(0, |entry| entry.at_us);
    let has_operator = history.run.options.contains_key(OPERATOR);
    let must_show = |kind: Kind, by| match by {
        By::Service => kind.must_show(),
        By::Metrics | By::Api => has_operator && kind.must_show_to_operator(),
    };
    let faults = history.faults();
    for (fault, by) in faults.iter().flat_map(|fault| [By::Service, By::Metrics, By::Api].map(|by| (fault, by))) {
        if !must_show(fault.kind, by) {
            continue;
        }
        for node in &fault.nodes {
            observed += 1;
            let said_us = |wanted: bool| {
                history.entries.iter().find_map(|entry| match &entry.what {
                    What::Notice { fault: of, node: at, shown, by: seen, .. }
                        if *seen == by && *of == fault.fault && at == node && *shown == wanted =>
                    {
                        Some(entry.at_us)
                    }
                    _ => None,
                })
            };
            let name = match by {
                By::Service => fault.kind.text().to_owned(),
                By::Metrics => format!("in /metrics {}", fault.kind.text()),
                By::Api => format!("in the API {}", fault.kind.text()),
            };
            let mut must = |wanted, since_us: u64, what: &str| match said_us(wanted) {
                Some(at) if at <= since_us + WITHIN_US => {}
                Some(at) => {
                    let late_ms = (at - since_us) / 1000;
                    breaches.push(Breach::at(at, format!("{name} of node {node} {what} only after {late_ms} ms")));
                }
                None if end_us > since_us + WITHIN_US => {
                    breaches.push(Breach::at(since_us, format!("{name} of node {node} never {what}")));
                }
                None => {}
            };
            must(true, fault.began_us, "showed");
            if let Some(healed_us) = fault.healed_us {
                must(false, healed_us, "was seen to end");
            }
        }
    }
    (observed, breaches)
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::check::golden::{Golden, broken, holds};
    use crate::history::By;

    #[test]
    fn where_an_operator_looks_a_fault_shows_in_metrics_and_in_the_api() {
        let seen = |shown: &[By], cleared: &[By]| {
            let killed = Golden::default().with_operator().kill(1);
            let killed = shown.iter().fold(killed, |golden, by| golden.notice_by(*by, 1, 1, true)).healed(1);
            cleared
                .iter()
                .fold(killed, |golden, by| golden.notice_by(*by, 1, 1, false))
                .wait_ms(6_000)
                .asked_ok("10001")
        };
        let all = [By::Service, By::Metrics, By::Api];
        holds(check, &seen(&all, &all));
        broken(check, &seen(&all[..2], &all[..2]), "in the API kill -9 of node 1 never showed");
        broken(check, &seen(&all, &[By::Service, By::Api]), "in /metrics kill -9 of node 1 never was seen to end");
    }

    #[test]
    fn a_fault_shown_and_cleared_in_time_is_good() {
        let good = Golden::default().kill(1).wait_ms(300).notice(1, 1, true).healed(1).wait_ms(900).notice(1, 1, false);
        holds(check, &good.wait_ms(6_000).asked_ok("10001"));
    }

    #[test]
    fn a_fault_that_never_shows_shows_late_or_stays_shown_is_seen() {
        let late = || Golden::default().kill(1).wait_ms(5_500);
        broken(check, &late().asked_ok("10001"), "never showed");
        broken(check, &late().notice(1, 1, true), "showed only after 55");
        let stays = Golden::default().kill(1).notice(1, 1, true).healed(1).wait_ms(5_500).asked_ok("10001");
        broken(check, &stays, "never was seen to end");
    }
}
