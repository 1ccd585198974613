//! Durable commits a second of three voters, each in a process of its own: `cargo bench -p lyncpin-cluster --bench commits`.
//!
//! Every writer puts its own record again and again, 300 bytes (what a signed-in user's session record weighs), each put
//! over the version of the one before, and waits until it is committed, on disk at two voters, and can be read here. The
//! writers live in the voter's process, as the gateway's actors do, once at the leader and once at a follower.
//!
//! With `WRITERS=64,256` only these; `SECONDS=5` is how long a row takes.

mod voters;

use std::sync::Arc;
use std::time::{Duration, Instant};

use lyncpin_cluster::node::Node;
use lyncpin_cluster::{Change, Claims, Command, CommitError, FencedStore, Incarnation, Reply};
use voters::{Cluster, was_voter};

const BODY_BYTES: usize = 300;
const WARM: Duration = Duration::from_secs(1);

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

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

async fn answer(node: &Node, words: &[&str]) -> String {
    let ["write", writers, seconds] = words else { panic!("{words:?}") };
    let seconds = Duration::from_secs(seconds.parse().expect("a number"));
    write(node, writers.parse().expect("a number"), seconds).await
}

fn main() {
    if was_voter(answer) {
        return;
    }
    let writers: Vec<usize> = match std::env::var("WRITERS") {
        Ok(list) => list.split(',').map(|count| count.parse().expect("WRITERS are numbers")).collect(),
        Err(_) => vec![1, 64, 256, 1_024],
    };
    let seconds = number("SECONDS").unwrap_or(5);
    let mut cluster = Cluster::start();
    let leader = cluster.leader();
    println!("three voters, three processes, {BODY_BYTES} bytes a record, fdatasync before every acknowledgement");
    println!("| writers | at the   | commits/s | p50 us | p99 us | failed |");
    println!("|--------:|----------|----------:|-------:|-------:|-------:|");
    for count in writers {
        for (place, at) in [("leader", leader), ("follower", 1 - leader)] {
            let told = cluster.voter(at).ask(&format!("write {count} {seconds}"));
            let [rate, p50, p99, failed] = told.split(' ').collect::<Vec<_>>()[..] else { panic!("{told}") };
            println!("| {count:>7} | {place:<8} | {rate:>9} | {p50:>6} | {p99:>6} | {failed:>6} |");
        }
    }
}
