//! The command line of `chaos`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::history::History;
use crate::live::{self, BalancerPart, Live};
use crate::verdict::judge;

/// Breaks a pair of Lyncpin nodes on purpose and says what its users saw.
#[derive(Debug, Parser)]
#[command(name = "chaos", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Break a pair on this machine while users call, and say what they saw.
    Live(Box<Live>),
    /// Judge a history again. Exit status 0 green, 1 red, 3 invalid.
    Check {
        /// A history as a run left it (`history.jsonl`).
        history: PathBuf,
    },
    /// The built-in balancer as a process of its own.
    #[command(hide = true)]
    PartBalancer(BalancerPart),
}

pub fn run(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Live(live) => live::run(&live),
        Command::PartBalancer(part) => match part.run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                eprintln!("chaos: balancer: {why}");
                ExitCode::from(2)
            }
        },
        Command::Check { history } => match History::open(&history) {
            Ok(found) => {
                let verdict = judge(&found);
                println!("{verdict}");
                ExitCode::from(verdict.exit_code())
            }
            Err(why) => {
                eprintln!("chaos: {}: {why}", history.display());
                ExitCode::from(2)
            }
        },
    }
}
