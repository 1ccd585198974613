//! The program: parses the command line and calls.

use std::io::ErrorKind;
use std::process::ExitCode;

use clap::Parser;
use lyncpin::cli::{self, Cli};

fn main() -> ExitCode {
    match cli::run(Cli::parse()) {
        Ok(code) => code,
        // Whoever reads us has read enough (`| head`).
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lyncpin: cannot write: {error}; check where the output goes");
            ExitCode::FAILURE
        }
    }
}
