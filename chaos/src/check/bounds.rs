//! I11: what a node uses stays bounded under flood, and legitimate users are served meanwhile.

use super::{Breach, Checked};
use crate::fault::Kind;
use crate::history::{History, What};

pub fn check(history: &History) -> Checked {
    let bounds = &history.run.bounds;
    let (mut observed, mut breaches) = (0, Vec::new());
    for entry in &history.entries {
        let What::Sample { node, rss_bytes, files, threads, log_bytes } = &entry.what else { continue };
        observed += 1;
        for (what, is, max) in [
            ("bytes of memory", *rss_bytes, bounds.rss_bytes_max),
            ("open files", *files, bounds.files_max),
            ("threads", *threads, bounds.threads_max),
            ("bytes of log", *log_bytes, bounds.log_bytes_max),
        ] {
            if is > max {
                breaches.push(Breach::at(entry.at_us, format!("node {node} has {is} {what}; at most {max}")));
            }
        }
    }
    if observed == 0 {
        return (0, breaches);
    }
    for fault in history.faults() {
        if !matches!(fault.kind, Kind::Flood | Kind::Slowloris | Kind::Torture | Kind::Intruders) {
            continue;
        }
        let meanwhile = history.operations().filter(|(at_us, _)| fault.contains(*at_us, 0, 0));
        let mut took_us: Vec<u64> = meanwhile.map(|(at_us, operation)| at_us - operation.start_us).collect();
        took_us.sort_unstable();
        let p99_us = took_us.get((took_us.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or(0);
        let max_ms = bounds.p99_ms_max * history.run.slack.max(1);
        if p99_us > max_ms * 1000 {
            breaches.push(Breach::at(
                fault.began_us,
                format!("{}: users wait {} ms (p99); at most {max_ms}", fault.kind.text(), p99_us / 1000),
            ));
        }
    }
    (observed, breaches)
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::check::golden::{Golden, broken, holds};
    use crate::fault::Kind;

    #[test]
    fn a_flood_that_costs_little_is_good() {
        let good = Golden::default().sample(1, 100 << 20, 90).fault(Kind::Flood, &[]).asked_ok("10001");
        holds(check, &good.sample(1, 120 << 20, 400).healed(1));
    }

    #[test]
    fn memory_files_and_waiting_beyond_bounds_are_seen() {
        broken(check, &Golden::default().sample(1, 600 << 20, 90), "bytes of memory");
        broken(check, &Golden::default().sample(1, 1 << 20, 3_000), "open files");
        let slow = Golden::default().sample(1, 1 << 20, 90).fault(Kind::Slowloris, &[]).asked_slowly("10001", 1_500);
        broken(check, &slow.healed(1), "users wait 15");
    }
}
