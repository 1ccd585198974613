//! Durable commits a second of three voters, each in a process of its own: `cargo bench -p lyncpin-cluster --bench commits`.
//!
//! Every writer puts its own record again and again, 300 bytes (what a signed-in user's session record weighs), each put
//! over the version of the one before, and waits until it is committed, on disk at two voters, and can be read here. The
//! writers live in the voter's process, as the gateway's actors do, once at the leader and once at a follower.
//!
//! With `WRITERS=64,256` only these; `SECONDS=5` is how long a row takes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command as Process, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use lyncpin_cluster::node::{Node, NodeOptions};
use lyncpin_cluster::peer::{Relay, Security};
use lyncpin_cluster::raft::{Role, Voter};
use lyncpin_cluster::replica::Timers;
use lyncpin_cluster::{Change, Claims, Command, CommitError, FencedStore, Incarnation, Reply};

const BODY_BYTES: usize = 300;
const WARM: Duration = Duration::from_secs(1);

struct Silent;

impl Relay for Silent {
    fn heard(&self, _: u64, _: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, String>> {
        Box::pin(async { Err("a bench".to_owned()) })
    }
    fn status(&self) -> BoxFuture<'static, Vec<u8>> {
        Box::pin(async { b"{}".to_vec() })
    }
}

/// The voter's own process: it starts, then does what its parent says, a line each.
async fn voter(id: u64, addresses: &[String], folder: &Path) {
    let voters: BTreeMap<u64, Voter> = (1..)
        .zip(addresses)
        .map(|(id, address)| {
            let role = if id == 3 { Role::Witness } else { Role::Data };
            (id, Voter { name: format!("node-{id}"), address: address.clone(), role })
        })
        .collect();
    let node = Node::start(NodeOptions {
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
    .expect("a voter");
    println!("started");
    for line in std::io::stdin().lines() {
        let line = line.expect("the parent speaks");
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["leads"] => println!("{}", node.replica().is_leader() && node.replica().may_act()),
            ["lead", to] => println!("{}", node.hand_over(to.parse().expect("an id")).await.is_ok()),
            ["join"] => println!("{}", node.join().await.is_ok()),
            ["write", writers, seconds] => {
                let seconds = Duration::from_secs(seconds.parse().expect("a number"));
                println!("{}", write(&node, writers.parse().expect("a number"), seconds).await);
            }
            _ => return node.stop().await,
        }
    }
}

/// Commits a second, microseconds of p50 and p99, and how many failed.
async fn write(node: &Node, writers: usize, seconds: Duration) -> String {
    let writer = node.incarnation().expect("joined");
    let begin = Instant::now() + WARM;
    let end = begin + seconds;
    let tasks: Vec<_> = (0..writers)
        .map(|number| {
            let replica = node.replica().clone();
            let key: Arc<str> = format!("session/{writer}/{number}").into();
            tokio::spawn(async move {
                let version = || replica.read(&key).map_or(0, |record| record.version);
                let (mut times, mut failed, mut expected) = (Vec::new(), 0, version());
                loop {
                    let before = Instant::now();
                    let made = put(&replica, writer, &key, expected).await;
                    let after = Instant::now();
                    if after >= end {
                        return (times, failed);
                    }
                    match made {
                        Ok(made) => expected = made,
                        // The leader was lost: what it did last is read.
                        Err(_) => {
                            failed += 1;
                            // Err: the next put fails as well.
                            let _ = replica.catch_up().await;
                            expected = version();
                        }
                    }
                    if after >= begin && made.is_ok() {
                        times.push(after - before);
                    }
                }
            })
        })
        .collect();
    let (mut all, mut failed) = (Vec::new(), 0);
    for task in tasks {
        let (times, failures) = task.await.expect("a writer");
        all.extend(times);
        failed += failures;
    }
    all.sort();
    let at = |percent: usize| all[(all.len() - 1) * percent / 100].as_micros();
    format!("{:.0} {} {} {failed}", all.len() as f64 / seconds.as_secs_f64(), at(50), at(99))
}

async fn put(
    replica: &impl FencedStore,
    writer: Incarnation,
    key: &Arc<str>,
    expected: u64,
) -> Result<u64, CommitError> {
    let body = vec![b'x'; BODY_BYTES].into();
    let change = Change::Put { writer, key: key.clone(), expected, claims: Claims::default(), body };
    match replica.propose(Command::Batch { changes: vec![change] }).await {
        Ok(Reply::Applied { versions }) => Ok(versions[0]),
        Ok(refused) => panic!("{refused:?}: too slow a machine to measure anything"),
        Err(error) => Err(error),
    }
}

/// A voter as its parent sees it.
struct Remote {
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

    fn ask(&mut self, what: &str) -> String {
        writeln!(self.to, "{what}").expect("it listens");
        self.heard()
    }

    fn heard(&mut self) -> String {
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

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, mode, id, addresses, folder] = &arguments[..]
        && mode == "voter"
    {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let addresses: Vec<String> = addresses.split(',').map(str::to_owned).collect();
        return runtime.expect("a runtime").block_on(voter(id.parse().expect("an id"), &addresses, Path::new(folder)));
    }
    let writers: Vec<usize> = match std::env::var("WRITERS") {
        Ok(list) => list.split(',').map(|count| count.parse().expect("WRITERS are numbers")).collect(),
        Err(_) => vec![1, 64, 256, 1_024],
    };
    let seconds = number("SECONDS").unwrap_or(5);
    let free = || TcpListener::bind("127.0.0.1:0").expect("a port");
    let ports: Vec<TcpListener> = (0..3).map(|_| free()).collect();
    let addresses: Vec<String> = ports.iter().map(|port| port.local_addr().expect("bound").to_string()).collect();
    drop(ports);
    let folders: Vec<_> = (0..3).map(|_| tempfile::tempdir().expect("a folder")).collect();
    let mut voters: Vec<Remote> =
        (1..).zip(&folders).map(|(id, folder)| Remote::start(id, &addresses, folder.path())).collect();
    voters.iter_mut().for_each(|voter| assert_eq!(voter.heard(), "started"));
    let leader = loop {
        if let Some(leader) = (0..2).find(|at| voters[*at].ask("leads") == "true") {
            break leader;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    voters.iter_mut().take(2).for_each(|voter| assert_eq!(voter.ask("join"), "true"));
    println!("three voters, three processes, {BODY_BYTES} bytes a record, fdatasync before every acknowledgement");
    println!("| writers | at the   | commits/s | p50 us | p99 us | failed |");
    println!("|--------:|----------|----------:|-------:|-------:|-------:|");
    for count in writers {
        for (place, at) in [("leader", leader), ("follower", 1 - leader)] {
            let told = voters[at].ask(&format!("write {count} {seconds}"));
            let [rate, p50, p99, failed] = told.split(' ').collect::<Vec<_>>()[..] else { panic!("{told}") };
            println!("| {count:>7} | {place:<8} | {rate:>9} | {p50:>6} | {p99:>6} | {failed:>6} |");
        }
    }
}
