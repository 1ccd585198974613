//! What a person asks of the simulation.

use std::time::Instant;

use anyhow::ensure;
use clap::{Args, ValueEnum};
use serde_json::json;

use super::batch::{Batch, run_plan};
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
    /// Leave out the seeds that once found a bug
    #[arg(long)]
    no_corpus: bool,
}

#[derive(Debug, Args)]
pub struct ReplayArgs {
    seed: u64,
    #[arg(long, value_enum, default_value_t)]
    profile: Profile,
    /// Suffer only these of the plan's faults, by their place in it from 0
    #[arg(long, value_delimiter = ',')]
    faults: Option<Vec<usize>>,
}

impl ReplayArgs {
    fn plan(&self) -> Plan {
        let mut plan = Plan::of(self.seed, self.profile);
        if let Some(wanted) = &self.faults {
            let mut at = 0..;
            plan.faults.retain(|_| at.next().is_some_and(|at| wanted.contains(&at)));
        }
        plan
    }
}

/// Fails if a violation was found, or a run was not the same twice.
pub fn sim(args: &SimArgs) -> anyhow::Result<()> {
    let seeds: Vec<u64> = (args.from..args.from + args.seeds).collect();
    let began = Instant::now();
    let batch = |profile: Profile, seeds: &[u64]| Batch {
        profile,
        seeds: seeds.to_vec(),
        threads: args.threads,
        stops_on: Vec::new(),
        shows_progress: !args.json,
        #[cfg(feature = "mutants")]
        mutant: None,
    };
    let mut known = Vec::new();
    for profile in Profile::ALL.into_iter().filter(|_| !args.no_corpus) {
        let seeds: Vec<u64> = corpus()?.into_iter().filter(|(_, own)| *own == profile).map(|(seed, _)| seed).collect();
        known.extend(batch(profile, &seeds).run().into_iter().filter(|one| !one.violations.is_empty()));
    }
    let known: Vec<u64> = known.into_iter().map(|one| one.seed).collect();
    ensure!(known.is_empty(), "seeds {known:?} of the corpus break a promise again: chaos replay");
    let outcomes = batch(args.profile, &seeds).run();
    let took = began.elapsed().as_secs_f64();
    let again = batch(args.profile, &seeds[..args.twice.min(seeds.len())]).run();
    let differ: Vec<u64> =
        outcomes.iter().zip(&again).filter(|(one, two)| one.print != two.print).map(|(one, _)| one.seed).collect();
    let bad: Vec<&Outcome> = outcomes.iter().filter(|outcome| !outcome.violations.is_empty()).collect();
    let sum = |of: fn(&Outcome) -> usize| outcomes.iter().map(of).sum::<usize>();
    let (operations, acknowledged) = (sum(|one| one.operations), sum(|one| one.acknowledged));
    let (answered, calls) = (sum(|one| one.answered), sum(|one| one.calls));
    let mut converged: Vec<u64> = outcomes.iter().filter_map(|one| one.converged_ms).collect();
    converged.sort_unstable();
    let p99 = converged.get(converged.len() * 99 / 100).copied().unwrap_or_default();
    if args.json {
        let text = json!({
            "profile": args.profile, "seeds": outcomes.len(), "seconds": took, "operations": operations,
            "acknowledged": acknowledged, "answered": answered, "calls": calls, "converged_p99_ms": p99, "not_the_same_twice": differ, "violating": bad,
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
            "{} seeds in {took:.1} s ({:.0} a minute), {operations} operations on records, {acknowledged} writes \
             acknowledged, {answered} services of users answered, {calls} calls, converged after {p99} ms (p99), {} run twice",
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
    let plan = args.plan();
    println!("{plan:#?}");
    let outcome = run_plan(&plan, true);
    for line in &outcome.story {
        println!("{line}");
    }
    ensure!(outcome.violations.is_empty(), "{} violations", outcome.violations.len());
    Ok(())
}

/// The seeds that once found a bug.
fn corpus() -> anyhow::Result<Vec<(u64, Profile)>> {
    let lines = include_str!("../../corpus.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let mut words = line.split_whitespace();
            let seed = words.next().unwrap_or_default().parse()?;
            let profile = Profile::from_str(words.next().unwrap_or_default(), false).map_err(anyhow::Error::msg)?;
            Ok((seed, profile))
        })
        .collect()
}

/// Prints the smallest run that breaks the same promise.
pub fn shrink(args: &ReplayArgs) -> anyhow::Result<()> {
    let plan = args.plan();
    let Some(small) = super::shrink::shrink(&plan) else {
        println!("seed {} breaks nothing", args.seed);
        return Ok(());
    };
    println!("{:#?}", small.plan);
    for line in run_plan(&small.plan, true).story {
        println!("{line}");
    }
    let (faults, left) = (plan.faults.len(), small.plan.faults.len());
    println!(
        "{} of {faults} faults left after {} runs: {} {}",
        left, small.runs, small.violation.invariant, small.violation.what
    );
    Ok(())
}

fn name(profile: Profile) -> &'static str {
    match profile {
        Profile::Mixed => "mixed",
        Profile::Fence => "fence",
        Profile::Stores => "stores",
    }
}
