//! `lyncpin completions`: a completion script for a shell.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;

/// The arguments.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell.
    pub shell: Shell,
}

impl Completions {
    pub fn run(&self, out: &mut impl Write) -> io::Result<ExitCode> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "lyncpin", &mut script);
        out.write_all(&script)?;
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_names_the_commands() {
        let mut script = Vec::new();
        Completions { shell: Shell::Bash }.run(&mut script).expect("written");
        assert!(String::from_utf8_lossy(&script).contains("check-config"));
    }
}
