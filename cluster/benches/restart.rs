//! How long from the start of a voter's process until it has its records and a quorum:
//! `cargo bench -p lyncpin-cluster --bench restart`.
//!
//! 100,000 records of 300 bytes, what a session weighs (`RECORDS`, `BYTES`). All three voters are killed with -9 and started
//! at once, then one follower, then the leader; each several times (`TIMES`). The clock starts before the process does.

mod voters;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lyncpin_cluster::node::Node;
use lyncpin_cluster::{Change, Claims, Command, FencedStore, Reply};
use voters::{Cluster, was_voter};

/// While the store is filled.
const WRITERS: usize = 256;

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
            let status = node.status();
            format!("{} {} {} {}", status.records, cpu_ms(), status.disk_bytes >> 20, status.log_bytes >> 20)
        }
        _ => panic!("{words:?}"),
    }
}

/// Puts every record, then half of them again, each put an entry of its own: a snapshot, and a log behind it.
async fn fill(node: &Node, records: u64, bytes: u64) -> String {
    let writer = node.incarnation().expect("joined");
    let body = vec![b'x'; usize::try_from(bytes).expect("a size")];
    let next = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (node, next, body) = (node.clone(), next.clone(), body.clone());
            tokio::spawn(async move {
                loop {
                    let turn = next.fetch_add(1, Ordering::Relaxed);
                    if turn >= records * 3 / 2 {
                        return;
                    }
                    let number = turn % records;
                    let key: Arc<str> = format!("session/{number}").into();
                    let expected = node.replica().read(&key).map_or(0, |record| record.version);
                    let claims = Claims::new([(format!("dialog/{number}"), key.clone())]);
                    let change = Change::Put { writer, key, expected, claims, body: body.clone().into() };
                    let reply = node.replica().propose(Command::Batch { changes: vec![change] }).await;
                    assert!(matches!(reply, Ok(Reply::Applied { .. })), "{reply:?}");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a writer");
    }
    // Two turns of the housekeeping.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    "filled".to_owned()
}

/// Processor time of this process so far.
fn cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // In hundredths of a second: utime and stime.
    fields[11..13].iter().map(|field| field.parse::<u64>().unwrap_or(0) * 10).sum()
}

/// Kills these, starts them at once; when all of them were ready, and the processor time of the one that took most.
fn restart(cluster: &mut Cluster, which: &[usize], records: u64) -> (Duration, u64) {
    which.iter().for_each(|at| cluster.kill(*at));
    // The others have their new leader, and the kernel its pages.
    std::thread::sleep(Duration::from_millis(1_000));
    let begun = Instant::now();
    which.iter().for_each(|at| cluster.launch(*at));
    which.iter().for_each(|at| cluster.voter(*at).say(&format!("ready {records}")));
    let mut cpu_ms = 0;
    for at in which {
        assert_eq!(cluster.voter(*at).heard(), "started");
        let told = cluster.voter(*at).heard();
        let told: Vec<u64> = told.split(' ').map(|number| number.parse().expect("a number")).collect();
        assert_eq!(told[0], records);
        cpu_ms = cpu_ms.max(told[1]);
    }
    (begun.elapsed(), cpu_ms)
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
    println!("{records} records of {bytes} bytes; records, ms of processor, MB on the disk, MB of log: {megabytes}");
    println!("| started anew | until the last has its records and a quorum, ms | processor of one voter, ms |");
    println!("|--------------|-------------------------------------------------|---------------------------:|");
    for what in ["all three", "a follower", "the leader"] {
        let mut took: Vec<(u128, u64)> = (0..times)
            .map(|_| {
                let leader = cluster.leader();
                let which = match what {
                    "all three" => vec![0, 1, 2],
                    "a follower" => vec![1 - leader],
                    _ => vec![leader],
                };
                let (took, cpu_ms) = restart(&mut cluster, &which, records);
                (took.as_millis(), cpu_ms)
            })
            .collect();
        took.sort_unstable();
        let all: Vec<u128> = took.iter().map(|(took, _)| *took).collect();
        let cpu_ms = took.iter().map(|(_, cpu_ms)| *cpu_ms).max().unwrap_or_default();
        println!("| {what:<12} | {} of {all:?} | {cpu_ms} |", all[all.len() / 2]);
    }
}
