//! Three voters for a bench, each in a process of its own: the bench starts itself again with other arguments, and speaks
//! with each voter in lines.
// Each bench takes what it needs.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command as Process, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use lyncpin_cluster::node::{Node, NodeOptions};
use lyncpin_cluster::peer::{Relay, Security};
use lyncpin_cluster::raft::{Role, Voter};
use lyncpin_cluster::replica::Timers;
use tempfile::TempDir;

struct Silent;

impl Relay for Silent {
    fn heard(&self, _: u64, _: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, String>> {
        Box::pin(async { Err("a bench".to_owned()) })
    }
    fn status(&self) -> BoxFuture<'static, Vec<u8>> {
        Box::pin(async { b"{}".to_vec() })
    }
}

pub async fn node(id: u64, addresses: &[String], folder: &Path) -> Node {
    let voters: BTreeMap<u64, Voter> = (1..)
        .zip(addresses)
        .map(|(id, address)| {
            let role = if id == 3 { Role::Witness } else { Role::Data };
            (id, Voter { name: format!("node-{id}"), address: address.clone(), role })
        })
        .collect();
    Node::start(NodeOptions {
        cluster_id: "bench".into(),
        id,
        name: voters[&id].name.clone(),
        role: voters[&id].role,
        listen: voters[&id].address.parse().expect("an address"),
        voters,
        joins: false,
        folder: folder.to_owned(),
        security: Security::Loopback,
        timers: Timers::DEFAULT,
        runtime: tokio::runtime::Handle::current(),
        relay: Arc::new(Silent),
    })
    .await
    .expect("a voter")
}

/// The voter, if this process was started to be one: it does what its parent says, a line each, and a bench's own words as
/// `answer` has it. False: this process is the bench.
pub fn was_voter(answer: impl AsyncFn(&Node, &[&str]) -> String) -> bool {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, mode, id, addresses, folder] = &arguments[..] else { return false };
    if mode != "voter" {
        return false;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let addresses: Vec<String> = addresses.split(',').map(str::to_owned).collect();
    runtime.expect("a runtime").block_on(async {
        let node = node(id.parse().expect("an id"), &addresses, Path::new(folder)).await;
        println!("started");
        for line in std::io::stdin().lines() {
            let line = line.expect("the parent speaks");
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["leads"] => println!("{}", node.replica().is_leader() && node.replica().may_act()),
                ["join"] => println!("{}", node.join().await.is_ok()),
                _ => println!("{}", answer(&node, &words).await),
            }
        }
    });
    true
}

/// A voter as the bench sees it.
pub struct Remote {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Remote {
    fn start(id: u64, addresses: &[String], folder: &Path) -> Self {
        let mut process = Process::new(std::env::current_exe().expect("this program"))
            .args(["voter", &id.to_string(), &addresses.join(",")])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let to = process.stdin.take().expect("piped");
        let from = BufReader::new(process.stdout.take().expect("piped"));
        Self { process, to, from }
    }

    pub fn ask(&mut self, what: &str) -> String {
        self.say(what);
        self.heard()
    }

    pub fn say(&mut self, what: &str) {
        writeln!(self.to, "{what}").expect("it listens");
    }

    pub fn heard(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).expect("it speaks");
        line.trim().to_owned()
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // Err: it has ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub struct Cluster {
    addresses: Vec<String>,
    folders: Vec<TempDir>,
    pub voters: Vec<Option<Remote>>,
}

impl Cluster {
    /// Two data nodes and a witness; the data nodes have joined.
    pub fn start() -> Self {
        let ports: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
        let addresses = ports.iter().map(|port| port.local_addr().expect("bound").to_string()).collect();
        drop(ports);
        let folders = (0..3).map(|_| tempfile::tempdir().expect("a folder")).collect();
        let mut cluster = Self { addresses, folders, voters: vec![None, None, None] };
        (0..3).for_each(|at| cluster.launch(at));
        (0..3).for_each(|at| assert_eq!(cluster.voter(at).heard(), "started"));
        cluster.leader();
        (0..2).for_each(|at| assert_eq!(cluster.voter(at).ask("join"), "true"));
        cluster
    }

    /// Starts the process; it says `started` when it is a voter.
    pub fn launch(&mut self, at: usize) {
        self.voters[at] = Some(Remote::start(at as u64 + 1, &self.addresses, self.folders[at].path()));
    }

    /// By kill -9.
    pub fn kill(&mut self, at: usize) {
        self.voters[at] = None;
    }

    pub fn voter(&mut self, at: usize) -> &mut Remote {
        self.voters[at].as_mut().expect("it was started")
    }

    /// Which of the two data nodes leads.
    pub fn leader(&mut self) -> usize {
        loop {
            if let Some(leader) = (0..2).find(|at| self.voter(*at).ask("leads") == "true") {
                return leader;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
