//! How many entries a second the log makes durable: `cargo bench -p lyncpin-cluster --bench log`.
//!
//! First one append after the other in batches, then appenders that each wait for their own entry, which is what group
//! commit is for; last how long a store of 100,000 records takes to open.

use std::path::Path;
use std::time::{Duration, Instant};

use lyncpin_cluster::image::{Image, Shelf};
use lyncpin_cluster::log::identity::{self, Identity};
use lyncpin_cluster::log::{Log, OpenError};
use lyncpin_cluster::raft::{Entry, LogId, SnapshotMeta, Types};
use lyncpin_cluster::{Change, Claims, Command, Incarnation, Machine};
use openraft::EntryPayload;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage, RaftLogStorageExt};
use openraft::type_config::TypeConfigExt;

const ROUND: Duration = Duration::from_secs(2);
const ROUNDS: usize = 5;

fn put(key: u64, expected: u64, bytes: usize) -> Command {
    let key = format!("session/{key}").into();
    let body = vec![7; bytes].into();
    let change = Change::Put { writer: Incarnation(1), key, expected, claims: Claims::default(), body };
    Command::Batch { changes: vec![change] }
}

fn log_id(index: u64) -> LogId {
    LogId::new(openraft::impls::leader_id_adv::LeaderId { term: 1, node_id: 1 }, index)
}

fn entry(index: u64, bytes: usize) -> Entry {
    Entry::new(log_id(index), EntryPayload::Normal(put(index, 0, bytes)))
}

fn fresh(folder: &Path) -> (Identity, Log) {
    let identity = Identity::fresh("bench", 0, 1).expect("random bits");
    let log = identity::create(folder, &identity).expect("a new store");
    (identity, log)
}

/// Entries a second, and the p50 and p99 of an append in microseconds.
fn figures(mut rounds: Vec<(f64, Vec<Duration>)>) -> String {
    rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut all: Vec<Duration> = rounds.iter().flat_map(|(_, times)| times.iter().copied()).collect();
    all.sort();
    let at = |percent: usize| all[(all.len() - 1) * percent / 100].as_micros();
    format!(
        "{:>8.0} [{:.0}-{:.0}] entries/s; p50 {} us, p99 {} us",
        rounds[rounds.len() / 2].0,
        rounds[0].0,
        rounds[rounds.len() - 1].0,
        at(50),
        at(99)
    )
}

async fn in_batches(batch: u64) -> (f64, Vec<Duration>) {
    let folder = tempfile::tempdir().expect("a folder");
    let (_, mut log) = fresh(folder.path());
    let (begun, mut next, mut times) = (Instant::now(), 0, Vec::new());
    while begun.elapsed() < ROUND {
        let some: Vec<Entry> = (next..next + batch).map(|index| entry(index, 300)).collect();
        let before = Instant::now();
        log.blocking_append(some).await.expect("appended");
        times.push(before.elapsed());
        next += batch;
    }
    let rate = next as f64 / begun.elapsed().as_secs_f64();
    log.close().await;
    (rate, times)
}

/// As many entries as there are appenders are always on their way, each with a callback of its own.
async fn appenders(count: usize) -> (f64, Vec<Duration>) {
    let folder = tempfile::tempdir().expect("a folder");
    let (_, mut log) = fresh(folder.path());
    let (tell, mut told) = tokio::sync::mpsc::channel(count);
    let (begun, mut next, mut times) = (Instant::now(), 0, Vec::new());
    let mut open = 0;
    while begun.elapsed() < ROUND {
        while open < count {
            let (done, hear) = Types::oneshot();
            let before = Instant::now();
            log.append([entry(next, 300)], IOFlushed::signal(done)).await.expect("appended");
            let tell = tell.clone();
            tokio::spawn(async move {
                hear.await.expect("an answer").expect("durable");
                tell.send(before.elapsed()).await.expect("the bench listens");
            });
            next += 1;
            open += 1;
        }
        times.push(told.recv().await.expect("an appender"));
        open -= 1;
        while let Ok(time) = told.try_recv() {
            times.push(time);
            open -= 1;
        }
    }
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    log.close().await;
    (rate, times)
}

/// 100,000 records of 1 KB in a snapshot, 16 MB of log, 20 snapshots before: what a busy day leaves.
async fn opening() {
    let folder = tempfile::tempdir().expect("a folder");
    let (identity, mut log) = fresh(folder.path());
    let mut machine = Machine::default();
    machine.apply(Command::Join { node: "a".into() });
    (0..100_000).for_each(|key| drop(machine.apply(put(key, 0, 1_000))));
    let mut next = 0;
    for _ in 0..20 {
        for _ in 0..400 {
            log.blocking_append((next..next + 256).map(|index| entry(index, 1_000))).await.expect("appended");
            next += 256;
        }
        let meta = SnapshotMeta { last_log_id: Some(log_id(next - 1)), ..SnapshotMeta::default() };
        log.shelf().save(meta, Image::new(machine.snapshot())).await.expect("saved");
        log.purge(log_id(next - 1)).await.expect("purged");
    }
    for _ in 0..60 {
        log.blocking_append((next..next + 256).map(|index| entry(index, 1_000))).await.expect("appended");
        next += 256;
    }
    let megabytes = log.disk_bytes() >> 20;
    log.close().await;
    drop(log);
    for _ in 0..3 {
        let (log, begun) = opened(folder.path(), &identity);
        let opened = begun.elapsed();
        let loaded = log.shelf().load().await.expect("whole");
        println!(
            "{} records, {megabytes} MB on disk: opened in {opened:.2?}, with the snapshot in {:.2?}",
            loaded.map_or(0, |(_, image)| Machine::restore(image.snapshot().clone()).records_count()),
            begun.elapsed()
        );
        log.close().await;
    }
}

/// The log, and when its opening began that did not find the lock taken.
fn opened(folder: &Path, identity: &Identity) -> (Log, Instant) {
    loop {
        let begun = Instant::now();
        match identity::open(folder, identity) {
            Ok(log) => return (log, begun),
            Err(OpenError::InUse) => std::thread::sleep(Duration::from_millis(10)),
            Err(error) => panic!("{error}"),
        }
    }
}

fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        for batch in [1, 16, 128] {
            let mut rounds = Vec::new();
            for _ in 0..ROUNDS {
                rounds.push(in_batches(batch).await);
            }
            println!("batches of {batch:>3}: {}", figures(rounds));
        }
        for count in [1, 16, 64, 256] {
            let mut rounds = Vec::new();
            for _ in 0..ROUNDS {
                rounds.push(appenders(count).await);
            }
            println!("{count:>3} appenders:   {}", figures(rounds));
        }
        opening().await;
    });
}
