//! How long from the start of a voter's process until it has its records and a quorum:
//! `cargo bench -p lyncpin-cluster --bench restart`.
//!
//! 100,000 records of 300 bytes, what a session weighs (`RECORDS`, `BYTES`). All three voters are killed with -9 and started
//! at once, then one follower, then the leader; each several times (`TIMES`). The clock starts before the process does.

mod voters;

use std::time::{Duration, Instant};

use lyncpin_cluster::node::Node;
use lyncpin_cluster::{Change, Claims, Command, FencedStore, Reply};
use voters::{Cluster, was_voter};

/// Records of one command while the store is filled.
const TOGETHER: u64 = 500;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

async fn answer(node: &Node, words: &[&str]) -> String {
    let numbers: Vec<u64> = words[1..].iter().map(|word| word.parse().expect("a number")).collect();
    match (words[0], &numbers[..]) {
        ("fill", [records, bytes]) => fill(node, *records, *bytes).await,
        ("ready", [records]) => {
            let records = usize::try_from(*records).expect("as many as memory holds");
            while !node.replica().may_act() || node.replica().records().machine().records_count() < records {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            format!("{} {}", node.replica().records().machine().records_count(), node.status().disk_bytes >> 20)
        }
        _ => panic!("{words:?}"),
    }
}

async fn fill(node: &Node, records: u64, bytes: u64) -> String {
    let writer = node.incarnation().expect("joined");
    let body = vec![b'x'; usize::try_from(bytes).expect("a size")];
    for first in (0..records).step_by(TOGETHER as usize) {
        let put = |number: u64| Change::Put {
            writer,
            key: format!("session/{number}").into(),
            expected: 0,
            claims: Claims::new([(format!("dialog/{number}"), format!("session/{number}"))]),
            body: body.clone().into(),
        };
        let changes = (first..records.min(first + TOGETHER)).map(put).collect();
        let reply = node.replica().propose(Command::Batch { changes }).await;
        assert!(matches!(reply, Ok(Reply::Applied { .. })), "{reply:?}");
    }
    // Two turns of the housekeeping: what is too long in the log becomes a snapshot.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    "filled".to_owned()
}

/// Kills these, starts them at once; when each of them was ready.
fn restart(cluster: &mut Cluster, which: &[usize], records: u64) -> Vec<Duration> {
    which.iter().for_each(|at| cluster.kill(*at));
    // The others have their new leader, and the kernel its pages.
    std::thread::sleep(Duration::from_millis(1_000));
    let begun = Instant::now();
    which.iter().for_each(|at| cluster.launch(*at));
    which.iter().for_each(|at| cluster.voter(*at).say(&format!("ready {records}")));
    let mut times = Vec::new();
    for at in which {
        assert_eq!(cluster.voter(*at).heard(), "started");
        let told = cluster.voter(*at).heard();
        assert!(told.starts_with(&format!("{records} ")), "{told}");
        times.push(begun.elapsed());
    }
    times
}

fn main() {
    if was_voter(answer) {
        return;
    }
    let (records, bytes, times) = (number("RECORDS", 100_000), number("BYTES", 300), number("TIMES", 5));
    let mut cluster = Cluster::start();
    let leader = cluster.leader();
    assert_eq!(cluster.voter(leader).ask(&format!("fill {records} {bytes}")), "filled");
    let megabytes = cluster.voter(leader).ask(&format!("ready {records}"));
    println!("{records} records of {bytes} bytes; records, and MB on the leader's disk: {megabytes}");
    println!("| started anew | until the last has its records and a quorum, ms |");
    println!("|--------------|-------------------------------------------------|");
    for what in ["all three", "a follower", "the leader"] {
        let mut took: Vec<u128> = (0..times)
            .map(|_| {
                let leader = cluster.leader();
                let which = match what {
                    "all three" => vec![0, 1, 2],
                    "a follower" => vec![1 - leader],
                    _ => vec![leader],
                };
                restart(&mut cluster, &which, records).into_iter().max().unwrap_or_default().as_millis()
            })
            .collect();
        took.sort_unstable();
        println!("| {what:<12} | {} {took:?} |", took[took.len() / 2]);
    }
}
