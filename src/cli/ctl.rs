//! `lyncpin ctl`: the operator's tool, over the admin listener of a node.

mod call;
mod recover;
mod table;
mod trace;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use self::call::{Call, Method};
use self::recover::Recover;
use self::trace::Trace;
use super::duration;
use crate::admin::{ClusterView, Done, LinkView, LogLevelView, LogLevelWish, NodeView, RefusalView, SessionView};

/// Look at a running pair and operate it: status, sessions, links, drain, switchover, backup, recover.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Ctl {
    /// The node to ask: its admin address.
    #[arg(long, global = true, value_name = "URL", env = "LYNCPIN_ADMIN")]
    pub admin: Option<String>,
    /// Take the admin address, token and authority from a node's configuration file instead.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A file with the token; else the environment variable LYNCPIN_TOKEN.
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// A PEM file with the authority of the node's admin certificate.
    #[arg(long, global = true, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Report as JSON, for programs.
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub what: What,
}

const EXAMPLES: &str = "\
Examples:
  lyncpin ctl status                             the pair, who leads, who serves, what may be done now
  lyncpin ctl sessions alice                     where alice's session is, and her calls
  lyncpin ctl refusals                           who could not sign in, and why
  lyncpin ctl trace alice --pcap alice.pcap      what alice's client and the PBX say, and a file for Wireshark
  lyncpin ctl log-level debug --for 10m          more record lines for a while
  lyncpin ctl switchover                         hand all users of this node to the other one
  lyncpin ctl drain                              the same, and take nobody in any more: before an upgrade
  lyncpin ctl --admin https://10.0.0.2:8480 --ca ca.pem --token-file token status
  lyncpin ctl recover lyncpin.toml --accept-data-loss   both other voters are lost for good

Without --admin and --config: http://127.0.0.1:8480.";

#[derive(Debug, Subcommand)]
pub enum What {
    /// Nodes, roles, leases, versions, lag, and whether a switchover or an upgrade may begin.
    Status,
    /// Sessions of all nodes, optionally those whose user, line or device contains a text.
    Sessions {
        like: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        max: usize,
    },
    /// The CTI links of this node.
    Links,
    /// The latest refused sign-ins of this node, with the reason and what to do.
    Refusals,
    /// Follow one user's SIP and CSTA live, numbers masked.
    Trace(Trace),
    /// Hand all users to the other node, take nobody in, and show red to the balancer.
    Drain,
    /// Take users again after a drain.
    Undrain,
    /// Hand all users and the leadership to the other node; both go on.
    Switchover,
    /// Look at the users file and the certificates now.
    Reload,
    /// Show which record lines this node writes, or change that: a level, or levels for parts (info,lyncpin::actor=debug).
    LogLevel {
        filter: Option<String>,
        /// Take what is configured again after this time, e.g. 10m.
        #[arg(long = "for", value_name = "TIME", value_parser = duration::parse, requires = "filter")]
        length: Option<Duration>,
        /// Take what is configured again now.
        #[arg(long, conflicts_with = "filter")]
        reset: bool,
    },
    /// Write all records to a file.
    Backup { file: PathBuf },
    /// Put the records of a backup into a new cluster that has none.
    Restore { file: PathBuf },
    /// Let the voter with this id go for ever; its id is in `status`.
    Remove { id: u64 },
    /// After every node was upgraded: let them do what all of them can.
    RaiseFeatureLevel,
    /// Make the Argon2 hash of a token read from standard input, for [admin] secret_file.
    Hash,
    /// On a stopped node, when all other voters are lost for good: go on alone, without what only they knew.
    Recover(Recover),
}

impl Ctl {
    /// Exit status 1: it was not done, and the standard error stream says why.
    pub fn run(&self, out: &mut impl Write, err: &mut impl Write) -> io::Result<ExitCode> {
        let outcome = match &self.what {
            What::Recover(recover) => recover.run(self.json, out),
            What::Hash => hash(out),
            what => self.ask(what, out),
        };
        match outcome {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(Failed::Output(error)) => Err(error),
            Err(Failed::Told(why)) => {
                match self.json {
                    true => writeln!(out, "{}", json!({ "error": why }))?,
                    false => writeln!(err, "lyncpin ctl: {why}")?,
                }
                Ok(ExitCode::FAILURE)
            }
        }
    }

    fn ask(&self, what: &What, out: &mut impl Write) -> Result<(), Failed> {
        let call = Call::of(self)?;
        match what {
            What::Status => {
                let node = call.get("/api/v1/node")?;
                let cluster = call.get_if_any("/api/v1/cluster")?;
                if self.json {
                    return shown(out, &json!({ "node": node, "cluster": cluster }));
                }
                let (node, cluster) = (read::<NodeView>(node)?, cluster.map(read::<ClusterView>).transpose()?);
                table::status(out, &node, cluster.as_ref())?;
            }
            What::Sessions { like, max } => {
                let like = call::escaped(like.as_deref().unwrap_or_default());
                let found = call.get(&format!("/api/v1/sessions?like={like}&max={max}"))?;
                if self.json {
                    return shown(out, &found);
                }
                let Found { total, sessions } = read(found)?;
                table::sessions(out, &sessions, total)?;
            }
            What::Links => {
                let links = call.get("/api/v1/links")?;
                if self.json {
                    return shown(out, &links);
                }
                table::links(out, &read::<Vec<LinkView>>(links)?)?;
            }
            What::Refusals => {
                let refusals = call.get("/api/v1/refusals")?;
                if self.json {
                    return shown(out, &refusals);
                }
                table::refusals(out, &read::<Vec<RefusalView>>(refusals)?)?;
            }
            What::Trace(trace) => trace.run(&call, self.json, out)?,
            What::Drain => self.act(&call, Method::Post, "/api/v1/drain", out)?,
            What::Undrain => self.act(&call, Method::Delete, "/api/v1/drain", out)?,
            What::Switchover => self.act(&call, Method::Post, "/api/v1/switchover", out)?,
            What::Reload => self.act(&call, Method::Post, "/api/v1/reload", out)?,
            What::LogLevel { filter, length, reset } => {
                let path = "/api/v1/log-level";
                let level = if *reset || filter.is_some() {
                    let wish = LogLevelWish { filter: filter.clone(), for_s: length.map(|length| length.as_secs()) };
                    call.send(Method::Put, path, &serde_json::to_vec(&wish).unwrap_or_default())?
                } else {
                    call.get(path)?
                };
                if self.json {
                    return shown(out, &level);
                }
                let LogLevelView { filter, configured, returns_in_s } = read(level)?;
                writeln!(out, "{filter}")?;
                if let Some(seconds) = returns_in_s {
                    writeln!(out, "  {configured} again in {seconds} s")?;
                } else if filter != configured {
                    writeln!(out, "  until it is changed or the node ends; configured: {configured}")?;
                }
            }
            What::Remove { id } => self.act(&call, Method::Delete, &format!("/api/v1/voters/{id}"), out)?,
            What::RaiseFeatureLevel => self.act(&call, Method::Post, "/api/v1/feature-level", out)?,
            What::Backup { file } => {
                let bytes = call.bytes("/api/v1/backup")?;
                keep(file, &bytes).map_err(|why| Failed::Told(format!("{}: {why}", file.display())))?;
                let done = Done::told(format!("{} bytes in {}", bytes.len(), file.display()));
                self.done(&done, out)?;
            }
            What::Restore { file } => {
                let bytes = std::fs::read(file).map_err(|why| Failed::Told(format!("{}: {why}", file.display())))?;
                let done = read::<Done>(call.send(Method::Post, "/api/v1/restore", &bytes)?)?;
                self.done(&done, out)?;
            }
            What::Hash | What::Recover(_) => {}
        }
        Ok(())
    }

    fn act(&self, call: &Call, method: Method, path: &str, out: &mut impl Write) -> Result<(), Failed> {
        self.done(&read::<Done>(call.send(method, path, &[])?)?, out)
    }

    fn done(&self, done: &Done, out: &mut impl Write) -> Result<(), Failed> {
        if self.json {
            return shown(out, &serde_json::to_value(done).unwrap_or_default());
        }
        writeln!(out, "{}", done.done)?;
        if let Some(ms) = done.pause_max_ms {
            writeln!(out, "  sessions moved   {}", done.moved)?;
            writeln!(out, "  sessions stayed  {}", done.stayed)?;
            writeln!(out, "  longest pause    {ms} ms")?;
        }
        match done.stayed {
            0 => Ok(()),
            _ => Err(Failed::Told("some sessions were not taken; see the log of this node, and try again".to_owned())),
        }
    }
}

#[derive(Deserialize)]
struct Found {
    total: usize,
    sessions: Vec<SessionView>,
}

/// Why it was not done.
#[derive(Debug)]
enum Failed {
    Told(String),
    Output(io::Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, Failed> {
    serde_json::from_value(value).map_err(|why| {
        Failed::Told(format!("the node's answer is not understood, it may be of another version: {why}"))
    })
}

fn shown(out: &mut impl Write, value: &Value) -> Result<(), Failed> {
    Ok(writeln!(out, "{value:#}")?)
}

/// Whole or not at all.
fn keep(file: &std::path::Path, bytes: &[u8]) -> io::Result<()> {
    let next = file.with_extension("partial");
    let mut opened = std::fs::File::create(&next)?;
    opened.write_all(bytes)?;
    opened.sync_all()?;
    std::fs::rename(next, file)
}

fn hash(out: &mut impl Write) -> Result<(), Failed> {
    let mut token = String::new();
    io::stdin().read_line(&mut token)?;
    let token = token.trim_end_matches(['\r', '\n']);
    if token.len() < 16 {
        return Err(Failed::Told("expected a token of 16 characters or more on standard input".to_owned()));
    }
    let hash = crate::admin::hash_of(token).ok_or_else(|| Failed::Told("there is no randomness".to_owned()))?;
    Ok(writeln!(out, "{hash}")?)
}
