//! What the log takes of its disk, and what of that a power cut can reach.

mod rig;

use std::fs;

use lyncpin_cluster::image::{Image, Shelf};
use lyncpin_cluster::raft::{Entry, SnapshotMeta};
use lyncpin_cluster::{Command, Machine};
use openraft::EntryPayload;
use openraft::entry::RaftEntry;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use rig::{batch, entries, fresh, image, log_id, reopened};

/// sled keeps what it finds large in files of their own, and syncs none of them: whatever stands there is not durable.
#[tokio::test]
async fn nothing_is_kept_outside_of_the_file_that_is_synced() {
    let folder = tempfile::tempdir().unwrap();
    let (_, mut log) = fresh(folder.path());
    let blobs = || fs::read_dir(folder.path().join("records/blobs")).unwrap().count();
    let mut outside = 0;
    for round in 0..4 {
        let (meta, image) = image(3_000 + round * 100);
        log.shelf().save(meta, image).await.unwrap();
        outside += blobs();
        let first = round * 60;
        log.blocking_append((first..first + 60).map(|n| batch(n, if n % 20 == 7 { 200_000 } else { 6_000 })))
            .await
            .unwrap();
        outside += blobs();
        log.purge(log_id(1, first + 30)).await.unwrap();
    }
    assert_eq!(outside, 0);
    log.close().await;
}

/// A day by its volume: records of about 1 KB are changed one after the other, and whenever the log has outgrown the
/// records (and `log_bytes_min`) it is cut to a snapshot, as a node's housekeeping does. Yields the disk's use at each cut.
async fn day(records: u64, commits: u64, log_bytes_min: u64) -> Vec<u64> {
    let folder = tempfile::tempdir().unwrap();
    let (identity, mut log) = fresh(folder.path());
    let mut machine = Machine::default();
    machine.apply(Command::Join { node: "a".into() });
    let mut used = Vec::new();
    let mut index = 0;
    while index < commits {
        let change = |index: u64, machine: &mut Machine| {
            let key = index * 7_919 % records;
            let version = machine.read(&format!("session/{key}")).map_or(0, |record| record.version);
            let command = rig::put_over(key, version, 1_000, index);
            machine.apply(command.clone());
            Entry::new(log_id(1, index), EntryPayload::Normal(command))
        };
        let some: Vec<Entry> = (index..index + 256).map(|index| change(index, &mut machine)).collect();
        index += 256;
        log.blocking_append(some).await.unwrap();
        if log.log_bytes() > log_bytes_min.max(machine.bytes()) {
            let upto = log_id(1, index - 1);
            let meta = SnapshotMeta { last_log_id: Some(upto), ..SnapshotMeta::default() };
            log.shelf().save(meta, Image::new(machine.snapshot())).await.unwrap();
            log.purge(upto).await.unwrap();
            used.push(log.disk_bytes());
        }
    }
    log.close().await;
    drop(log);
    let before = std::time::Instant::now();
    let log = reopened(folder.path(), &identity).unwrap();
    let opened = before.elapsed();
    let (meta, image) = log.shelf().load().await.unwrap().unwrap();
    println!("opened in {opened:?}, with its snapshot in {:?}", before.elapsed());
    println!("MB at each cut: {:?}", used.iter().map(|bytes| bytes >> 20).collect::<Vec<_>>());
    let left = entries(&log).await;
    assert_eq!(left.len() as u64, index - 1 - meta.last_log_id.unwrap().index());
    let mut found = Machine::restore(image.snapshot().clone());
    for entry in left {
        let EntryPayload::Normal(command) = entry.payload else { panic!("only commands were written") };
        found.apply(command);
    }
    assert!(found == machine, "snapshot and log together are all that was written");
    used
}

#[tokio::test]
async fn what_the_log_takes_of_its_disk_does_not_grow_with_what_was_written() {
    let used = day(1_000, 60_000, 1 << 20).await;
    assert!(used.len() > 40, "cut often enough to show growth: {used:?}");
    let most = |some: &[u64]| some.iter().copied().max().unwrap();
    assert!(most(&used[30..]) <= most(&used[..10]) * 3 / 2, "{used:?}");
}

#[tokio::test]
#[ignore = "writes 10 GB and takes minutes; to be run with --release"]
async fn a_hundred_thousand_records_and_a_day_of_commits_take_less_than_a_gibibyte() {
    let used = day(100_000, 4_000_000, 16 << 20).await;
    assert!(used.iter().all(|bytes| *bytes < 1 << 30), "{used:?}");
}
