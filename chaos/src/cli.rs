//! The command line of `chaos`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::history::{History, OpenError};
use crate::live::{self, BalancerPart, Doctor, Live, Load, ObserverPart};
use crate::report;
#[cfg(feature = "sim")]
use crate::sim;
use crate::verdict::judge;

/// Breaks a pair of Lyncpin nodes on purpose and says what its users saw.
#[derive(Debug, Parser)]
#[command(name = "chaos", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  chaos doctor                           which faults this machine can do
  chaos live --scenario kill             kill the owner while 60 users call
  chaos live --profile ci                six scenarios, as for every change
  chaos live --list                      every scenario
  chaos replay 7                         the run of seed 7 again, with the same options
  chaos report chaos-runs/kill-7         the page about a run, made again from its history
  chaos load --users 200 --json          services a second, latencies, takeover, memory";

#[derive(Debug, Subcommand)]
pub enum Command {
    Doctor(Doctor),
    /// Simulate many seeds: consensus, records and sessions on simulated time, network and disks.
    #[cfg(feature = "sim")]
    Sim(sim::cli::SimArgs),
    /// Tell the story of one simulated seed.
    #[cfg(feature = "sim")]
    Story(sim::cli::ReplayArgs),
    /// Find the fewest faults with which a simulated seed still breaks the same promise.
    #[cfg(feature = "sim")]
    Shrink(sim::cli::ReplayArgs),
    /// Plant bugs in the product, one at a time, and see each caught.
    #[cfg(feature = "mutants")]
    Mutants(crate::mutants::MutantsArgs),
    Live(Box<Live>),
    Load(Load),
    /// A run that was made before, again: the same faults at the same times.
    Replay {
        seed: u64,
        /// Which one, when several scenarios had that seed.
        #[arg(long)]
        scenario: Option<String>,
        #[arg(long, value_name = "FOLDER", default_value = "chaos-runs")]
        dir: PathBuf,
        #[arg(long, value_name = "FILE")]
        program: Option<PathBuf>,
    },
    /// The page about a run, made again from its history: `report.html` and `verdict.json`.
    Report {
        /// The run's folder.
        folder: PathBuf,
    },
    /// Judge a history again. Exit status 0 green, 1 red, 3 invalid.
    Check {
        /// A history as a run left it (`history.jsonl`).
        history: PathBuf,
    },
    /// The built-in balancer as a process of its own.
    #[command(hide = true)]
    PartBalancer(BalancerPart),
    /// Reads one node's operator's door.
    #[command(hide = true)]
    PartObserver(ObserverPart),
}

pub fn run(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Doctor(doctor) => doctor.run(),
        #[cfg(feature = "sim")]
        Command::Sim(args) => or_one(sim::cli::sim(&args)),
        #[cfg(feature = "sim")]
        Command::Story(args) => or_one(sim::cli::replay(&args)),
        #[cfg(feature = "sim")]
        Command::Shrink(args) => or_one(sim::cli::shrink(&args)),
        #[cfg(feature = "mutants")]
        Command::Mutants(args) => or_one(crate::mutants::mutants(&args)),
        Command::Live(live) => live::run(&live),
        Command::Load(load) => load.run(),
        Command::PartBalancer(part) => or_two("balancer", part.run().map(|()| ExitCode::SUCCESS)),
        Command::PartObserver(part) => or_two("observer", part.run().map(|()| ExitCode::SUCCESS)),
        Command::Replay { seed, scenario, dir, program } => replay(seed, scenario.as_deref(), &dir, program),
        Command::Report { folder } => or_two(&folder.display().to_string(), write_report(&folder)),
        Command::Check { history } => {
            let judged = History::open(&history).map(|found| {
                let verdict = judge(&found);
                println!("{verdict}");
                ExitCode::from(verdict.exit_code())
            });
            or_two(&history.display().to_string(), judged)
        }
    }
}

fn or_two(what: &str, result: Result<ExitCode, impl std::fmt::Display>) -> ExitCode {
    result.unwrap_or_else(|why| {
        eprintln!("chaos: {what}: {why}");
        ExitCode::from(2)
    })
}

fn write_report(folder: &Path) -> Result<ExitCode, OpenError> {
    let history = History::open(&folder.join("history.jsonl"))?;
    let verdict = judge(&history);
    let page = folder.join("report.html");
    std::fs::write(&page, report::html(&history, &verdict))?;
    std::fs::write(folder.join("verdict.json"), serde_json::to_string_pretty(&verdict).map_err(std::io::Error::from)?)?;
    println!("{}", page.display());
    Ok(ExitCode::from(verdict.exit_code()))
}

/// Finds the run's own command in its history and carries it out.
fn replay(seed: u64, scenario: Option<&str>, dir: &Path, program: Option<PathBuf>) -> ExitCode {
    let ends = format!("-{seed}");
    let folders = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_wanted = |folder: &PathBuf| {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.strip_suffix(&ends).is_some_and(|of| scenario.is_none_or(|wanted| wanted == of))
    };
    let mut found: Vec<PathBuf> = folders.filter(is_wanted).collect();
    found.sort();
    let folder = match found.as_slice() {
        [one] => one,
        [] => return or_two(&dir.display().to_string(), Err(format!("no run of seed {seed}"))),
        many => {
            let names: Vec<String> = many.iter().map(|folder| folder.display().to_string()).collect();
            return or_two("several runs have that seed; choose with --scenario", Err(names.join(", ")));
        }
    };
    let history = match History::open(&folder.join("history.jsonl")) {
        Ok(history) => history,
        Err(why) => return or_two(&folder.display().to_string(), Err(why)),
    };
    println!("{}", history.run.replay);
    match Cli::try_parse_from(history.run.replay.split_whitespace()) {
        Ok(Cli { command: Command::Live(mut live) }) => {
            live.dir = dir.to_owned();
            live.program = program;
            live::run(&live)
        }
        Ok(_) => or_two("replay", Err("the run's command is not one of ours")),
        Err(why) => or_two("replay", Err(why)),
    }
}

#[cfg(feature = "sim")]
fn or_one(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("chaos: {why:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_well_formed_and_a_replay_line_can_be_read() {
        Cli::command().debug_assert();
        let line = "chaos live --scenario kill --seed 7 --faults-s 10 --calm-s 3 --users 60 --slack 8";
        let parsed = Cli::try_parse_from(line.split_whitespace()).expect("as the runs print it");
        assert!(matches!(parsed.command, Command::Live(live) if live.seed == Some(7) && live.scenario == "kill"));
    }
}
