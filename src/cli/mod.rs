//! The command line: parsed here, one file a subcommand. Reports go to standard output, what must be mended to standard
//! error; the exit status is 0 when all is well, 1 when something must be mended, 2 when the command was not understood.

pub mod certs;
pub mod check_config;
pub mod completions;
pub mod ctl;
mod duration;
pub mod lab;
mod notify;
pub mod serve;
pub mod up;
pub mod witness;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Remote Call Control for Lync that does not drop anybody.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  lyncpin serve                                    try it: one node on loopback with a simulated PBX
  lyncpin serve --config lyncpin.toml              one node for Lync
  lyncpin up --drill                               a whole pair on this machine, and a node killed
  lyncpin witness --config witness.toml            the third vote of a pair
  lyncpin ctl status                               who leads, who serves, what may be done now
  lyncpin check-config lyncpin.toml                tell everything that is wrong with a file
  lyncpin check-config --reference > lyncpin.toml  every key, its meaning and its default
  lyncpin certs --fqdn rccgw.contoso.com           certificates for a laboratory's pair
  lyncpin lab directory --count 20000 > users.csv  users to try out with
  lyncpin completions bash > lyncpin.bash          completions for a shell";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve; without a configuration: on loopback, with a simulated PBX and demo users.
    Serve(serve::Serve),
    /// Be the witness of a pair: keep the log and vote, serve nobody.
    Witness(witness::Witness),
    /// Start a pair on this machine, with a simulated PBX, a balancer and demo users; `--drill` kills a node.
    Up(up::Up),
    /// Look at a running pair and operate it: status, sessions, links, drain, switchover, backup, recover.
    Ctl(ctl::Ctl),
    /// Check a configuration and its users file; tell every fault at once.
    CheckConfig(check_config::CheckConfig),
    /// Make authorities and certificates for a laboratory's pair.
    Certs(certs::Certs),
    /// Parts to try out with, without Lync or a PBX.
    #[command(subcommand)]
    Lab(lab::Lab),
    /// Print a completion script for a shell.
    Completions(completions::Completions),
}

/// Carries a command out, writing to the standard streams. An `Err` is a stream that cannot be written.
pub fn run(cli: Cli) -> std::io::Result<ExitCode> {
    // Not locked: a server logs to the standard error stream from all its threads.
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    match cli.command {
        Command::Serve(command) => command.run(&mut out, &mut err),
        Command::Witness(command) => command.run(&mut err),
        Command::Up(command) => command.run(&mut out, &mut err),
        Command::Ctl(command) => command.run(&mut out, &mut err),
        Command::CheckConfig(command) => command.run(&mut out, &mut err),
        Command::Certs(command) => command.run(&mut out, &mut err),
        Command::Lab(command) => command.run(&mut out, &mut err),
        Command::Completions(command) => command.run(&mut out),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn each_command_has_one_line_of_help() {
        let help = Cli::command().render_help().to_string();
        for name in ["serve", "witness", "up", "ctl", "check-config", "certs", "lab", "completions"] {
            let lines = help.lines().filter(|line| line.trim_start().starts_with(&format!("{name} "))).count();
            assert_eq!(lines, 1, "{name}\n{help}");
        }
        assert!(help.contains("Examples:"));
    }

    #[test]
    fn commands_are_parsed_as_the_help_says() {
        let parsed = |line: &str| Cli::try_parse_from(line.split(' ')).map(|cli| cli.command);
        assert!(matches!(parsed("lyncpin check-config a.toml --json"), Ok(Command::CheckConfig(c)) if c.json));
        assert!(matches!(parsed("lyncpin completions zsh"), Ok(Command::Completions(_))));
        assert!(parsed("lyncpin check-config").is_err());
        assert!(parsed("lyncpin lab directory --count 3").is_ok());
        assert!(parsed("lyncpin lab directory --count 200001").is_err());
    }
}
