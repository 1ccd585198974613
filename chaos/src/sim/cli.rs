//! What a person asks of the simulation.

use std::time::Instant;

use anyhow::ensure;
use clap::Args;
use serde_json::json;

use super::batch::{Batch, run_seed};
use super::plan::{Plan, Profile};
use super::run::Outcome;

#[derive(Debug, Args)]
pub struct SimArgs {
    /// How many seeds
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    from: u64,
    #[arg(long, value_enum, default_value_t)]
    profile: Profile,
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// As many of the first seeds are run a second time and must be the same run
    #[arg(long, default_value_t = 20)]
    twice: usize,
    /// One JSON object to standard output instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct ReplayArgs {
    seed: u64,
    #[arg(long, value_enum, default_value_t)]
    profile: Profile,
}

/// Fails if a violation was found, or a run was not the same twice.
pub fn sim(args: &SimArgs) -> anyhow::Result<()> {
    let seeds: Vec<u64> = (args.from..args.from + args.seeds).collect();
    let began = Instant::now();
    let batch = |seeds: &[u64]| Batch {
        profile: args.profile,
        seeds: seeds.to_vec(),
        threads: args.threads,
        stops_early: false,
        shows_progress: true,
    };
    let outcomes = batch(&seeds).run();
    let took = began.elapsed().as_secs_f64();
    let again = batch(&seeds[..args.twice.min(seeds.len())]).run();
    let differ: Vec<u64> =
        outcomes.iter().zip(&again).filter(|(one, two)| one.print != two.print).map(|(one, _)| one.seed).collect();
    let bad: Vec<&Outcome> = outcomes.iter().filter(|outcome| !outcome.violations.is_empty()).collect();
    let sum = |of: fn(&Outcome) -> usize| outcomes.iter().map(of).sum::<usize>();
    let (operations, acknowledged) = (sum(|one| one.operations), sum(|one| one.acknowledged));
    let mut converged: Vec<u64> = outcomes.iter().filter_map(|one| one.converged_ms).collect();
    converged.sort_unstable();
    let p99 = converged.get(converged.len() * 99 / 100).copied().unwrap_or_default();
    if args.json {
        let text = json!({
            "profile": args.profile, "seeds": outcomes.len(), "seconds": took, "operations": operations,
            "acknowledged": acknowledged, "converged_p99_ms": p99, "not_the_same_twice": differ, "violating": bad,
        });
        println!("{text:#}");
    } else {
        for outcome in &bad {
            for violation in outcome.violations.iter().take(3) {
                println!("seed {}: {} {}", outcome.seed, violation.invariant, violation.what);
            }
            println!("    chaos replay {} --profile {}", outcome.seed, name(args.profile));
        }
        println!(
            "{} seeds in {took:.1} s ({:.0} a minute), {operations} operations, {acknowledged} writes acknowledged, \
             converged after {p99} ms (p99), {} run twice",
            outcomes.len(),
            outcomes.len() as f64 / took * 60.0,
            again.len()
        );
    }
    ensure!(differ.is_empty(), "seeds {differ:?} were not the same run twice");
    ensure!(bad.is_empty(), "{} of {} seeds broke a promise", bad.len(), outcomes.len());
    ensure!(acknowledged > 0, "nothing was acknowledged: the runs say nothing");
    Ok(())
}

/// Prints what the seed means, and what happened.
pub fn replay(args: &ReplayArgs) -> anyhow::Result<()> {
    let plan = Plan::of(args.seed, args.profile);
    println!("{plan:#?}");
    let outcome = run_seed(args.seed, args.profile, true);
    for line in &outcome.story {
        println!("{line}");
    }
    ensure!(outcome.violations.is_empty(), "{} violations", outcome.violations.len());
    Ok(())
}

fn name(profile: Profile) -> &'static str {
    match profile {
        Profile::Mixed => "mixed",
        Profile::Fence => "fence",
    }
}
