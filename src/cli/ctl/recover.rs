//! `lyncpin ctl recover`: the survivor of a lost quorum goes on alone, on a person's word.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::Failed;
use crate::cli::check_config::Report;
use crate::config::load;
use crate::store::pair::recovery::{self, Survey};

/// Users named one by one; of more the number is told.
const USERS_NAMED_MAX: usize = 20;
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// Go on alone when all other voters are lost for good.
#[derive(Debug, Args)]
pub struct Recover {
    /// The configuration of this node, which must be stopped.
    pub file: PathBuf,
    /// Do it: what the lost voters acknowledged and this node never heard of is gone. Without it: tell only.
    #[arg(long)]
    pub accept_data_loss: bool,
}

impl Recover {
    pub(super) fn run(&self, as_json: bool, out: &mut impl Write) -> Result<(), Failed> {
        let told = |why: &dyn std::fmt::Display| Failed::Told(why.to_string());
        let report = Report::of_file(&self.file);
        if !report.is_good() {
            return Err(told(&report));
        }
        let config = load(&self.file).config;
        let folder = config.node.data_dir;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let survey = runtime.block_on(recovery::survey(&folder)).map_err(|why| told(&why))?;
        let answering: Vec<String> = survey
            .others()
            .into_iter()
            .filter(|(_, address)| answers(address))
            .map(|(name, address)| format!("{name} ({address})"))
            .collect();
        if !answering.is_empty() {
            return Err(Failed::Told(format!(
                "{} answers: while another voter lives nothing is given up. If it cannot serve because too many are lost, stop \
                 it first; the newer of the two stores is the one to recover",
                answering.join(" and ")
            )));
        }
        let users: BTreeSet<String> = survey.users().collect();
        if !as_json {
            tell(out, &survey, &users)?;
        }
        if !self.accept_data_loss {
            let why = "nothing was changed; with --accept-data-loss this node goes on alone, and the lost ones can never come back \
                       as they were";
            return Err(told(&why));
        }
        let (epoch, aside) = runtime.block_on(recovery::recover(&folder, &survey)).map_err(|why| told(&why))?;
        if as_json {
            let survey = json!({
                "committed": survey.committed(), "last": survey.last(), "users": users, "epoch": epoch, "former_store": aside,
            });
            return super::shown(out, &survey);
        }
        writeln!(out, "\nThis node is the cluster now, in epoch {epoch}. The former store is in {}.", aside.display())?;
        writeln!(
            out,
            "Start it as always. The other nodes come back by themselves when they are started: each takes what it has for"
        )?;
        writeln!(
            out,
            "given up, sets it aside, and is taken in anew. Until one of them is back, nothing here may fail."
        )?;
        Ok(())
    }
}

fn tell(out: &mut impl Write, survey: &Survey, users: &BTreeSet<String>) -> Result<(), Failed> {
    let index = |index: Option<u64>| index.map_or_else(|| "none".to_owned(), |index| index.to_string());
    writeln!(out, "Store of {}, epoch {}", survey.name(), survey.epoch())?;
    writeln!(out, "  last entry known to be committed  {}", index(survey.committed()))?;
    writeln!(out, "  last entry in the log             {}  (all of it is kept)", index(survey.last()))?;
    writeln!(out, "  sessions                          {}", survey.sessions())?;
    for (name, address) in survey.others() {
        writeln!(out, "  given up                          {name} ({address})")?;
    }
    writeln!(out, "  users concerned                   {}", users.len())?;
    for user in users.iter().take(USERS_NAMED_MAX) {
        writeln!(out, "    {user}")?;
    }
    if users.len() > USERS_NAMED_MAX {
        writeln!(out, "    and {} more", users.len() - USERS_NAMED_MAX)?;
    }
    Ok(())
}

fn answers(address: &str) -> bool {
    let addresses = address.to_socket_addrs().map(Iterator::collect::<Vec<_>>).unwrap_or_default();
    addresses.iter().any(|address| TcpStream::connect_timeout(address, ANSWERS_WITHIN).is_ok())
}
