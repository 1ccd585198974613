//! I15: a fault of a node shows to a watcher within 5 s, and its end does.

use super::{Breach, Checked};
use crate::history::{History, What};

const WITHIN_US: u64 = 5_000_000;

pub fn check(history: &History) -> Checked {
    let (mut observed, mut breaches) = (0, Vec::new());
    let end_us = history.entries.last().map_or(0, |entry| entry.at_us);
    for fault in history.faults().iter().filter(|fault| fault.kind.must_show()) {
        for node in &fault.nodes {
            observed += 1;
            let said_us = |wanted: bool| {
                history.entries.iter().find_map(|entry| match &entry.what {
                    What::Notice { fault: of, node: at, shown, .. }
                        if *of == fault.fault && at == node && *shown == wanted =>
                    {
                        Some(entry.at_us)
                    }
                    _ => None,
                })
            };
            let name = fault.kind.text();
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
