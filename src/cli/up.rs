//! `lyncpin up`: a whole pair on one machine, to look at and to hit.

mod drill;
mod kills;
mod site;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use self::site::Site;

/// Start a pair on this machine: two nodes and a witness as processes, a simulated PBX, a balancer and demo users.
#[derive(Debug, Args)]
pub struct Up {
    /// Where configurations, records and logs go [default: a folder that is removed at the end].
    #[arg(long, value_name = "FOLDER")]
    pub dir: Option<PathBuf>,
    /// How many demo users; every second one calls the next.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    pub users: u32,
    /// Over so many front ends, each with one connection.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub front_ends: u32,
    /// Calls between demo users [default: every eighth user talks].
    #[arg(long)]
    pub calls: Option<u32>,
    /// The clock of elections: default, lan or wan.
    #[arg(long, default_value = "default")]
    pub pace: String,
    /// Hit the node that serves the users, tell what that cost, bring it back, and end. Exit status 1: the promise did not hold.
    #[arg(long)]
    pub drill: bool,
    /// What the drill does to the node.
    #[arg(long, value_enum, default_value_t = Fault::Kill)]
    pub fault: Fault,
    /// Kill nodes in turn this many times while users place calls; count what was done twice, lost, or left over, and end.
    #[arg(long, value_name = "KILLS")]
    pub kills: Option<u32>,
}

/// What a drill does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Fault {
    /// kill -9.
    Kill,
    /// SIGSTOP: the kernel still takes connections for it, nobody answers.
    Freeze,
    /// Both nodes are killed and started; the witness stays.
    RestartBoth,
}

impl Up {
    pub fn run(&self, out: &mut impl Write, err: &mut impl Write) -> io::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(async {
            let mut terminate = signal(SignalKind::terminate())?;
            // Whatever ends this, the site is dropped with it and stops all that it started.
            let ended = tokio::select! {
                ended = self.stay(out, err) => ended,
                _ = terminate.recv() => Ok(ExitCode::SUCCESS),
                _ = tokio::signal::ctrl_c() => Ok(ExitCode::SUCCESS),
            };
            match ended {
                // Not of the output: the site is not what it should be.
                Err(problem) if problem.kind() == io::ErrorKind::Other => {
                    writeln!(err, "lyncpin: {problem}")?;
                    Ok(ExitCode::FAILURE)
                }
                ended => ended,
            }
        })
    }

    async fn stay(&self, out: &mut impl Write, err: &mut impl Write) -> io::Result<ExitCode> {
        let mut site = match Site::start(self, out).await {
            Ok(site) => site,
            Err(problem) => {
                writeln!(err, "lyncpin: {problem}")?;
                return Ok(ExitCode::FAILURE);
            }
        };
        if self.drill {
            let report = drill::run(&mut site, self.fault, out).await?;
            writeln!(out, "{report}")?;
            return Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        if let Some(kills) = self.kills {
            let totals = kills::run(&mut site, kills, out).await?;
            return Ok(if totals.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        writeln!(
            out,
            "\nKill what you like, for instance `kill -9 {}`; it is started again. Look at the pair at\n  http://{}/\nor with\n  \
             lyncpin ctl --admin http://{} status\nCtrl-C stops everything.",
            site.pid(1),
            site.admin(),
            site.admin()
        )?;
        let mut look = tokio::time::interval(Duration::from_secs(1));
        loop {
            look.tick().await;
            site.restart_the_dead()?;
            write!(out, "\r{}  ", site.line().await)?;
            out.flush()?;
        }
    }
}
