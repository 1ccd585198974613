//! The program: parses the command line and calls.

use std::process::ExitCode;

use clap::Parser;
use lyncpin_chaos::cli::{self, Cli};

fn main() -> ExitCode {
    cli::run(Cli::parse())
}
