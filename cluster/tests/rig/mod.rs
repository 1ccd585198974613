//! What the tests of the log share: entries, snapshots, and the ways in and out of a store.
// Each test file takes what it needs.
#![allow(dead_code)]

use std::path::Path;
use std::time::Duration;

use lyncpin_cluster::image::Image;
use lyncpin_cluster::log::identity::{self, Identity};
use lyncpin_cluster::log::{Log, OpenError};
use lyncpin_cluster::raft::{Entry, LogId, SnapshotMeta};
use lyncpin_cluster::{Change, Claims, Command, Incarnation, Machine};
use openraft::EntryPayload;
use openraft::entry::RaftEntry;
use openraft::storage::RaftLogReader;

pub fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(openraft::impls::leader_id_adv::LeaderId { term, node_id: 1 }, index)
}

pub fn put(key: u64, bytes: usize, fill: u64) -> Command {
    put_over(key, 0, bytes, fill)
}

/// Over the record's version `expected`.
pub fn put_over(key: u64, expected: u64, bytes: usize, fill: u64) -> Command {
    let change = Change::Put {
        writer: Incarnation(1),
        key: format!("session/{key}").into(),
        expected,
        claims: Claims::default(),
        body: vec![fill as u8; bytes].into(),
    };
    Command::Batch { changes: vec![change] }
}

/// The entry at `index` of term 1: a record of that many bytes.
pub fn batch(index: u64, bytes: usize) -> Entry {
    Entry::new(log_id(1, index), EntryPayload::Normal(put(index, bytes, index)))
}

pub fn fresh(folder: &Path) -> (Identity, Log) {
    let identity = Identity::fresh("c1", 0, 1).unwrap();
    let log = identity::create(folder, &identity).unwrap();
    (identity, log)
}

pub async fn entries(log: &Log) -> Vec<Entry> {
    log.clone().try_get_log_entries(..).await.unwrap()
}

/// sled gives its lock back a moment after the last handle is dropped, on a thread of its own.
pub fn reopened(folder: &Path, identity: &Identity) -> Result<Log, OpenError> {
    for _ in 0..500 {
        match identity::open(folder, identity) {
            Err(OpenError::InUse) => {
                std::thread::sleep(Duration::from_millis(10));
            }
            other => return other,
        }
    }
    panic!("the store stays locked")
}

/// A snapshot of that many records of 1,000 bytes, up to the entry of the same index.
pub fn image(records: u64) -> (SnapshotMeta, Image) {
    let mut machine = Machine::default();
    machine.apply(Command::Join { node: "a".into() });
    for n in 0..records {
        machine.apply(put(n, 1_000, n));
    }
    (SnapshotMeta { last_log_id: Some(log_id(1, records)), ..SnapshotMeta::default() }, Image::new(machine.snapshot()))
}

pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, next) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() { copy(&path, &next) } else { std::fs::copy(&path, &next).map(drop).unwrap() }
    }
}
