//! `lyncpin witness`: the third vote of a pair, until it is told to stop.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info};

use super::check_config::Report;
use super::notify;
use super::serve::chain;
use crate::admin::AdminServer;
use crate::config::load;
use crate::gateway::WitnessDesk;
use crate::store::pair::Pair;

/// Be the witness of a pair: keep the log and vote, serve nobody.
#[derive(Debug, Args)]
pub struct Witness {
    /// The configuration file: [node], [cluster] and, if wanted, [log].
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

impl Witness {
    /// Votes until SIGINT or SIGTERM. Exit status 1: not started, or its store failed.
    pub fn run(&self, err: &mut impl Write) -> io::Result<ExitCode> {
        let report = Report::of_file(&self.config);
        if !report.is_good() {
            writeln!(err, "{report}")?;
            return Ok(ExitCode::FAILURE);
        }
        let config = load(&self.config).config;
        if !config.is_witness() {
            let id = config.node.id;
            writeln!(
                err,
                "lyncpin: node {id} is no witness: give its [[cluster.voter]] role = \"witness\", or start it with `lyncpin serve`"
            )?;
            return Ok(ExitCode::FAILURE);
        }
        crate::logging::start(&config.log);
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
            let pair = match Pair::start(&config).await {
                Ok(pair) => pair,
                Err(problem) => {
                    writeln!(err, "lyncpin: {}", chain(&problem))?;
                    return Ok(ExitCode::FAILURE);
                }
            };
            let door = AdminServer::start(&config.admin, WitnessDesk::of(pair.clone(), &config)).await;
            let _door = match door {
                Ok(door) => door,
                Err(problem) => {
                    writeln!(err, "lyncpin: {}", chain(&problem))?;
                    pair.stop().await;
                    return Ok(ExitCode::FAILURE);
                }
            };
            info!(node = config.node.id, "the witness votes");
            let mut terminate = signal(SignalKind::terminate())?;
            let mut failed = pair.failed();
            let code = tokio::select! {
                _ = tokio::signal::ctrl_c() => ExitCode::SUCCESS,
                _ = terminate.recv() => ExitCode::SUCCESS,
                () = notify::while_it_lives(async || true) => ExitCode::FAILURE,
                Ok(why) = failed.wait_for(Option::is_some) => {
                    error!(reason = why.clone().unwrap_or_default(), "the witness ends");
                    ExitCode::FAILURE
                }
            };
            notify::stopping();
            pair.stop().await;
            Ok(code)
        })
    }
}
