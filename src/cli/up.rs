//! `lyncpin up`: a whole pair on one machine, to look at and to hit.

mod drill;
mod site;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use self::site::Site;

/// Start a pair on this machine: two nodes and a witness as processes, a simulated PBX, a balancer and demo users.
#[derive(Debug, Args)]
pub struct Up {
    /// Where configurations, records and logs go [default: a folder that is removed at the end].
    #[arg(long, value_name = "FOLDER")]
    pub dir: Option<PathBuf>,
    /// How many demo users; every second one calls the next.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(2..=2_000))]
    pub users: u32,
    /// Kill the node that serves most users, tell what that cost, bring it back, and end. Exit status 1: the promise did not hold.
    #[arg(long)]
    pub drill: bool,
}

impl Up {
    pub fn run(&self, out: &mut impl Write, err: &mut impl Write) -> io::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(async {
            let mut site = match Site::start(self.dir.as_deref(), self.users as usize, out).await {
                Ok(site) => site,
                Err(problem) => {
                    writeln!(err, "lyncpin: {problem}")?;
                    return Ok(ExitCode::FAILURE);
                }
            };
            if self.drill {
                let report = drill::run(&mut site, out).await?;
                writeln!(out, "{report}")?;
                return Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
            }
            writeln!(
                out,
                "\nKill what you like, for instance `kill -9 {}`; it is started again. Look at the pair with\n  lyncpin ctl --admin \
                 http://{} status\nCtrl-C stops everything.",
                site.pid(1),
                site.admin()
            )?;
            let mut look = tokio::time::interval(Duration::from_secs(1));
            loop {
                tokio::select! {
                    _ = tokio::signal::ctrl_c() => break,
                    _ = look.tick() => {
                        site.restart_the_dead()?;
                        write!(out, "\r{}  ", site.line().await)?;
                        out.flush()?;
                    }
                }
            }
            writeln!(out)?;
            Ok(ExitCode::SUCCESS)
        })
    }
}
