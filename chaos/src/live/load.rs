//! What a pair carries, measured from outside: services a second, how long they take, what a takeover costs, memory.

use std::collections::BTreeMap;
use std::fmt;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::conductor::{self, Live};
use crate::check::{Recovery, recoveries};
use crate::history::{Done, History, Phase, What};

/// Measure a pair under load, then with one node killed; a table, and JSON with `--json`.
#[derive(Args, Clone, Debug)]
pub struct Load {
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(10..=2_000))]
    pub users: u32,
    /// How long users work before the kill.
    #[arg(long, default_value_t = 20, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub duration_s: u64,
    #[arg(long)]
    pub seed: Option<u64>,
    #[arg(long)]
    pub json: bool,
    #[arg(long, value_name = "FOLDER", default_value = "chaos-runs")]
    pub dir: std::path::PathBuf,
    #[arg(long, value_name = "FILE")]
    pub program: Option<std::path::PathBuf>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LoadReport {
    pub users: usize,
    pub calm_s: u64,
    pub services_per_s: u64,
    /// By service, while nothing was broken.
    pub latencies: BTreeMap<String, Latency>,
    pub takeover: Option<Recovery>,
    /// Of the gateways' processes, at most.
    pub rss_bytes_max: BTreeMap<u32, u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Latency {
    pub count: usize,
    pub p50_us: u64,
    pub p90_us: u64,
    pub p99_us: u64,
    pub max_us: u64,
}

impl Load {
    pub fn run(&self) -> ExitCode {
        let seed = self.seed.unwrap_or(1);
        let line = [
            "live".to_owned(),
            "--scenario=kill".to_owned(),
            format!("--seed={seed}"),
            format!("--users={}", self.users),
            format!("--calm-s={}", self.duration_s),
            format!("--dir={}", self.dir.display()),
            "--quiet".to_owned(),
        ];
        let program = self.program.iter().map(|program| format!("--program={}", program.display()));
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            live: Live,
        }
        let parsed = <Line as clap::Parser>::try_parse_from(line.into_iter().chain(program));
        let live = match parsed {
            Ok(parsed) => parsed.live,
            Err(error) => {
                eprintln!("chaos: {error}");
                return ExitCode::from(2);
            }
        };
        let code = conductor::run(&live);
        match History::open(&self.dir.join(format!("kill-{seed}")).join("history.jsonl")) {
            Ok(history) => {
                let report = LoadReport::of(&history);
                match self.json.then(|| serde_json::to_string_pretty(&report)) {
                    Some(Ok(text)) => println!("{text}"),
                    _ => println!("{report}"),
                }
                code
            }
            Err(error) => {
                eprintln!("chaos: {error}");
                ExitCode::from(2)
            }
        }
    }
}

impl LoadReport {
    pub fn of(history: &History) -> Self {
        let from_us = history.phase_at(Phase::Calm).unwrap_or(0);
        let to_us = history.phase_at(Phase::Faults).unwrap_or(from_us);
        let mut took: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        let mut count = 0;
        for (at_us, operation) in history.operations() {
            if (from_us..to_us).contains(&at_us) && matches!(operation.result, Done::Ok | Done::Failed(0, _)) {
                took.entry(operation.op.clone()).or_default().push(at_us.saturating_sub(operation.start_us));
                count += 1;
            }
        }
        let latencies = took.into_iter().map(|(op, mut took)| {
            took.sort_unstable();
            let at = |per_cent: usize| took[(took.len() * per_cent).div_ceil(100).clamp(1, took.len()) - 1];
            let latency =
                Latency { count: took.len(), p50_us: at(50), p90_us: at(90), p99_us: at(99), max_us: at(100) };
            (op, latency)
        });
        let latencies = latencies.collect();
        let mut users = std::collections::BTreeSet::new();
        let mut rss_bytes_max: BTreeMap<u32, u64> = BTreeMap::new();
        for entry in &history.entries {
            match &entry.what {
                What::SignedIn { user, .. } => drop(users.insert(user)),
                What::Sample { node, rss_bytes, .. } => {
                    let max = rss_bytes_max.entry(*node).or_default();
                    *max = (*max).max(*rss_bytes);
                }
                _ => {}
            }
        }
        Self {
            users: users.len(),
            calm_s: (to_us - from_us) / 1_000_000,
            services_per_s: count * 1_000_000 / (to_us - from_us).max(1),
            latencies,
            takeover: recoveries(history).into_iter().next(),
            rss_bytes_max,
        }
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} users, {} s: {} services/s", self.users, self.calm_s, self.services_per_s)?;
        writeln!(f, "{:<22}{:>8}{:>12}{:>12}{:>12}{:>12}", "", "count", "p50", "p90", "p99", "max")?;
        for (op, latency) in &self.latencies {
            let [p50, p90, p99, max] = [latency.p50_us, latency.p90_us, latency.p99_us, latency.max_us]
                .map(|us| format!("{:.1} ms", us as f64 / 1000.0));
            writeln!(f, "{op:<22}{:>8}{p50:>12}{p90:>12}{p99:>12}{max:>12}", latency.count)?;
        }
        if let Some(takeover) = &self.takeover {
            writeln!(
                f,
                "takeover after kill -9: longest pause of {} users p50 {} ms, p99 {} ms, max {} ms",
                takeover.users, takeover.p50_ms, takeover.p99_ms, takeover.max_ms
            )?;
        }
        for (node, bytes) in &self.rss_bytes_max {
            writeln!(f, "memory of node {node}: {:.1} MiB at most", *bytes as f64 / 1_048_576.0)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::golden::Golden;

    #[test]
    fn only_what_was_answered_in_the_calm_counts() {
        let golden = Golden::default().signed_in("10001", "a", "t").asked_ok("10001").phase(Phase::Calm);
        let golden = golden.asked_slowly("10001", 100).asked_ok("10001").refused("10001", 503).wait_ms(890);
        let golden = golden.phase(Phase::Faults).asked_slowly("10001", 900).sample(1, 1 << 20, 9);
        let report = LoadReport::of(&golden.history());
        let latency = &report.latencies["GetDoNotDisturb"];
        assert_eq!((report.users, latency.count, latency.max_us / 1000), (1, 2, 101));
        assert_eq!((report.services_per_s, report.rss_bytes_max[&1]), (2, 1 << 20));
    }
}
