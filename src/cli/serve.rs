//! `lyncpin serve`: one data node, until it is told to stop.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::available_parallelism;

use clap::Args;
use tracing::{info, warn};

use super::check_config::Report;
use super::notify;
use crate::admin::AdminServer;
use crate::config::{Config, Lines, Problem, load};
use crate::directory::DirectoryWatch;
use crate::gateway::{self, Gateway, Options};

/// Serve; without a configuration: on loopback, with a simulated PBX and demo users.
#[derive(Debug, Default, Args)]
pub struct Serve {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Threads for sessions; 0: one for everything [default: one a core].
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

/// A checked configuration and its directory.
#[derive(Debug)]
pub struct Prepared {
    pub config: Config,
    pub directory: Arc<DirectoryWatch>,
    /// To be logged once logging is up.
    pub warnings: Vec<Problem>,
}

impl Serve {
    /// Serves until SIGINT or SIGTERM. Exit status 1: not started, or a part failed for good.
    pub fn run(&self, out: &mut impl Write, err: &mut impl Write) -> io::Result<ExitCode> {
        let prepared = match self.prepare() {
            Ok(prepared) => prepared,
            Err(report) => {
                writeln!(err, "{report}")?;
                return Ok(ExitCode::FAILURE);
            }
        };
        if prepared.config.is_witness() {
            writeln!(err, "lyncpin: node {} is a witness: start it with `lyncpin witness`", prepared.config.node.id)?;
            return Ok(ExitCode::FAILURE);
        }
        crate::logging::start(&prepared.config.log);
        let admin = prepared.config.admin.clone();
        let threads = self.threads.unwrap_or_else(|| available_parallelism().map_or(1, usize::from));
        let is_demo = self.config.is_none();
        let flows_max = prepared.config.sip.limits.flows_max;
        gateway::block_on(async {
            prepared.warnings.iter().for_each(|warning| warn!("{warning}"));
            if let Some(files) = open_files_max().filter(|files| !is_demo && *files < flows_max + FILES_BESIDE) {
                warn!(
                    "sip.limits.flows_max is {flows_max}, but this process may open {files} files: connections beyond that \
                     have to wait; raise LimitNOFILE of the unit (or `ulimit -n`), or lower flows_max"
                );
            }
            let options = Options { arbiters: threads, ..Options::default() };
            let gateway = match Gateway::start(prepared.config, prepared.directory, options).await {
                Ok(gateway) => gateway,
                Err(error) => {
                    writeln!(err, "lyncpin: {}", chain(&error))?;
                    return Ok(ExitCode::FAILURE);
                }
            };
            let door = match AdminServer::start(&admin, gateway.desk()).await {
                Ok(door) => door,
                Err(error) => {
                    writeln!(err, "lyncpin: {}", chain(&error))?;
                    gateway.stop().await;
                    return Ok(ExitCode::FAILURE);
                }
            };
            if is_demo {
                welcome(out, &gateway)?;
            }
            for address in door.addresses() {
                info!(%address, "listening for operators");
            }
            for address in gateway.addresses() {
                info!(%address, "listening for SIP");
            }
            until_told(gateway).await
        })
    }

    /// An `Err` is a report to print; nothing has been started.
    pub fn prepare(&self) -> Result<Prepared, Report> {
        let Some(path) = &self.config else {
            let config = Config::embedded();
            return match DirectoryWatch::open(&config, &Lines::default()) {
                Ok((directory, warnings)) => Ok(Prepared { config, directory: Arc::new(directory), warnings }),
                Err(problems) => Err(Report::new("the built-in configuration", problems)),
            };
        };
        let report = Report::of_file(path);
        if !report.is_good() {
            return Err(report);
        }
        let checked = load(path);
        match DirectoryWatch::open(&checked.config, &checked.lines) {
            Ok((directory, _)) => {
                let directory = Arc::new(directory);
                Ok(Prepared { config: checked.config, directory, warnings: report.problems })
            }
            Err(problems) => Err(Report::new(report.file, problems)),
        }
    }
}

/// Files a node opens beside its SIP flows: listeners, CTI links, voters, the store, logs.
const FILES_BESIDE: usize = 128;

/// The soft limit; `None` where the kernel does not say, or there is none.
fn open_files_max() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next()?.parse().ok())
}

/// What a newcomer should know, and the next command to type.
fn welcome(out: &mut impl Write, gateway: &Gateway) -> io::Result<()> {
    writeln!(out, "Lyncpin serves, on loopback, with a simulated PBX and twenty demo users.")?;
    for address in gateway.addresses() {
        writeln!(out, "  SIP        tcp://{address}")?;
    }
    if let Some(pbx) = gateway.pbx() {
        for address in pbx.addresses() {
            writeln!(out, "  PBX        csta://{address}  (phones 5101 to 5199)")?;
        }
        if let Some(address) = pbx.control_address() {
            writeln!(out, "  PBX desk   tcp://{address}  (one JSON object a line, e.g. {{\"op\":\"calls\"}})")?;
        }
    }
    writeln!(out, "\nIn another terminal, sign alice in and let her call bob:")?;
    writeln!(out, "  cargo run --release -- lab users --demo\n\nCtrl-C stops it.")?;
    out.flush()
}

/// Serves until a signal or a failed part.
async fn until_told(mut gateway: Gateway) -> io::Result<ExitCode> {
    let desk = gateway.desk();
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let code = tokio::select! {
        _ = tokio::signal::ctrl_c() => ExitCode::SUCCESS,
        _ = terminate.recv() => ExitCode::SUCCESS,
        () = gateway.failed() => ExitCode::FAILURE,
        // A node without a quorum lives; one whose session threads hang does not.
        () = notify::while_it_lives(async || desk.threads_answer().await) => ExitCode::FAILURE,
    };
    notify::stopping();
    info!(sessions = gateway.node().book.sessions_count(), "stopping");
    gateway.stop().await;
    Ok(code)
}

/// An error with what caused it, on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_file_the_demo_users_are_there() {
        let prepared = Serve::default().prepare().expect("built in");
        assert!(prepared.config.lab.embedded_pbx);
        assert!(prepared.directory.current().appearance("sip:carol@contoso.com", None).is_ok());
    }

    #[test]
    fn a_wrong_file_yields_its_whole_report_and_nothing_is_started() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("lyncpin.toml");
        std::fs::write(&path, "[users]\nfile = \"absent.csv\"\n").expect("write");
        let report = Serve { config: Some(path), ..Serve::default() }.prepare().expect_err("wrong");
        let rules: Vec<_> = report.problems.iter().map(|problem| problem.rule).collect();
        assert_eq!(rules, ["no_link", "unreadable"]);
    }
}
