//! A store that is not what it was: either it says so at open, or everything is right.

mod rig;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lyncpin_cluster::image::{Image, Shelf};
use lyncpin_cluster::log::disk::{Disk, Write};
use lyncpin_cluster::log::identity::{self, Identity};
use lyncpin_cluster::log::memory::MemoryDisk;
use lyncpin_cluster::log::{Log, Mode, OpenError};
use lyncpin_cluster::raft::{Entry, SnapshotMeta, Vote};
use openraft::EntryPayload;
use openraft::entry::RaftEntry;
use openraft::storage::{RaftLogReader, RaftLogStorage, RaftLogStorageExt};
use rig::{batch, copy, entries, fresh, image, log_id, reopened};
use tempfile::TempDir;

/// A stopped store with a vote, a snapshot of 200 records, and the entries after 150.
struct Stopped {
    folder: TempDir,
    identity: Identity,
    written: Vec<Entry>,
    snapshot: (SnapshotMeta, Image),
}

/// Yields the entries and the snapshot that are there then.
async fn live(log: &mut Log) -> (Vec<Entry>, (SnapshotMeta, Image)) {
    log.save_vote(&Vote::new_committed(1, 1)).await.unwrap();
    log.blocking_append((0..300).map(|n| batch(n, if n == 250 { 30_000 } else { 700 }))).await.unwrap();
    let (meta, image) = image(200);
    log.shelf().save(meta.clone(), image.clone()).await.unwrap();
    log.purge(log_id(1, 150)).await.unwrap();
    (entries(log).await, (meta, image))
}

impl Stopped {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (identity, mut log) = fresh(folder.path());
        let (written, snapshot) = live(&mut log).await;
        log.close().await;
        drop(log);
        drop(reopened(folder.path(), &identity).unwrap());
        Self { folder, identity, written, snapshot }
    }

    fn copy(&self) -> TempDir {
        let copied = tempfile::tempdir().unwrap();
        copy(self.folder.path(), copied.path());
        copied
    }

    /// Every file and its length.
    fn files(&self) -> Vec<(PathBuf, u64)> {
        let root = self.folder.path();
        let in_folder = |folder: PathBuf| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files = in_folder(root.to_owned()).chain(in_folder(root.join("records"))).filter(|path| path.is_file());
        let mut files: Vec<_> = files
            .map(|path| (path.strip_prefix(root).unwrap().to_owned(), fs::metadata(&path).unwrap().len()))
            .collect();
        files.sort();
        files
    }

    /// Opens a damaged copy as a node does. True: it said so; then a new store can take its place. False: all is right.
    async fn is_noticed(&self, folder: &Path, what: &str) -> bool {
        let opened = match Identity::read(folder) {
            Ok(found) => {
                assert_eq!(found.as_ref(), Some(&self.identity), "{what}");
                reopened(folder, &self.identity)
            }
            Err(error) => Err(error),
        };
        let mut log = match opened {
            Err(OpenError::Damaged(why)) => {
                assert!(!why.is_empty());
                identity::set_aside(folder).unwrap();
                assert_eq!(Identity::read(folder).unwrap(), None, "{what}");
                return true;
            }
            Err(error) => panic!("{what}: {error}"),
            Ok(log) => log,
        };
        assert_eq!(entries(&log).await, self.written, "{what}");
        assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new_committed(1, 1)), "{what}");
        assert_eq!(log.shelf().load().await.unwrap().as_ref(), Some(&self.snapshot), "{what}");
        false
    }
}

/// Numbers that are the same in every run.
fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(seed), |last| {
        let x = last ^ last << 13;
        let x = x ^ x >> 7;
        Some(x ^ x << 17)
    })
    .skip(1)
}

#[tokio::test]
async fn a_byte_flipped_at_a_thousand_places_is_noticed_or_does_no_harm() {
    let stopped = Stopped::new().await;
    let files = stopped.files();
    let mut numbers = numbers(0x5eed);
    let mut number = || numbers.next().unwrap();
    let mut noticed = 0;
    for n in 0..1_000 {
        let copied = stopped.copy();
        // Most of them in the one large file, of the rest each file in turn.
        let large = files.iter().max_by_key(|(_, length)| *length).unwrap();
        let (name, length) = if n % 4 == 0 { &files[n / 4 % files.len()] } else { large };
        let path = copied.path().join(name);
        let mut bytes = fs::read(&path).unwrap();
        if bytes.is_empty() {
            continue;
        }
        let at = usize::try_from(number() % length).unwrap();
        bytes[at] ^= 1 << (number() % 8);
        fs::write(&path, &bytes).unwrap();
        noticed += usize::from(stopped.is_noticed(copied.path(), &format!("byte {at} of {name:?}")).await);
    }
    println!("{noticed} of 1,000 noticed, {files:?}");
    assert!(noticed > 100, "only {noticed} of them hit anything");
}

#[tokio::test]
async fn a_file_cut_at_any_length_is_noticed_or_does_no_harm() {
    let stopped = Stopped::new().await;
    let mut numbers = numbers(0xc07);
    let mut noticed = 0;
    for (name, length) in stopped.files() {
        let some = if length > 10_000 { 150 } else { 10 };
        for cut in std::iter::once(0).chain(numbers.by_ref().take(some).map(|number| number % length.max(1))) {
            let copied = stopped.copy();
            fs::OpenOptions::new().write(true).open(copied.path().join(&name)).unwrap().set_len(cut).unwrap();
            noticed += usize::from(stopped.is_noticed(copied.path(), &format!("{name:?} cut at {cut}")).await);
        }
        let copied = stopped.copy();
        fs::remove_file(copied.path().join(&name)).unwrap();
        if name.ends_with("identity.json") || name.ends_with("mark") || name.ends_with("db") {
            assert!(stopped.is_noticed(copied.path(), &format!("{name:?} removed")).await, "{name:?}");
        } else {
            stopped.is_noticed(copied.path(), &format!("{name:?} removed")).await;
        }
    }
    println!("{noticed} noticed");
    assert!(noticed > 100, "only {noticed}");
}

#[tokio::test]
async fn an_emptied_exchanged_or_older_store_is_not_voted_with() {
    let stopped = Stopped::new().await;
    let damaged = |folder: &Path, identity: &Identity| matches!(reopened(folder, identity), Err(OpenError::Damaged(_)));
    let (folder, identity) = (&stopped.folder, stopped.identity.clone());
    let emptied = stopped.copy();
    fs::remove_dir_all(emptied.path().join("records")).unwrap();
    assert!(damaged(emptied.path(), &identity), "its files are gone");
    fs::create_dir(emptied.path().join("records")).unwrap();
    fs::write(emptied.path().join("records/db"), b"").unwrap();
    assert!(damaged(emptied.path(), &identity), "an empty file");
    let other = Stopped::new().await;
    let exchanged = stopped.copy();
    fs::remove_dir_all(exchanged.path().join("records")).unwrap();
    copy(&other.folder.path().join("records"), &exchanged.path().join("records"));
    assert!(damaged(exchanged.path(), &identity), "another node's store");
    // An older copy of its own store: the mark beside it knows more.
    let old = stopped.copy();
    let mut log = reopened(folder.path(), &identity).unwrap();
    // Not longer than the copy, but another leader's.
    log.truncate_after(Some(log_id(1, 280))).await.unwrap();
    let blank = |index: u64| Entry::new(log_id(2, index), EntryPayload::Blank);
    log.blocking_append((281..300).map(blank)).await.unwrap();
    log.close().await;
    drop(log);
    drop(reopened(folder.path(), &identity).unwrap());
    fs::copy(folder.path().join("mark"), old.path().join("mark")).unwrap();
    assert!(damaged(old.path(), &identity), "an older copy");
    let aside = identity::set_aside(old.path()).unwrap();
    assert!(aside.join("records/db").exists() && Identity::read(old.path()).unwrap().is_none());
}

/// The pairs of a disk.
fn pairs(disk: &MemoryDisk) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut pairs = Vec::new();
    disk.each(b"", &mut |key, value| {
        pairs.push((key.to_vec(), value.to_vec()));
        Ok(())
    })
    .unwrap();
    pairs
}

/// sled has checksums of its own, which notice most of what happens to its files. These are ours.
#[tokio::test]
async fn a_value_changed_lost_or_exchanged_beneath_the_log_is_noticed() {
    let disk = MemoryDisk::default();
    let mut log = Log::open(Arc::new(disk.clone()), None, Mode::Inline).unwrap();
    let (written, snapshot) = live(&mut log).await;
    let pairs = pairs(&disk);
    let mut numbers = numbers(0xd15c);
    for (at, (key, value)) in pairs.iter().enumerate() {
        let mut number = || usize::try_from(numbers.next().unwrap() >> 1).unwrap();
        let mut flipped = value.clone();
        flipped[number() % value.len()] ^= 1 << (number() % 8);
        let mut renamed = key.clone();
        renamed[number() % key.len()] ^= 1 << (number() % 8);
        let (other, of_other) = &pairs[number() % pairs.len()];
        let lost = Write::Delete(key.clone());
        for (what, writes) in [
            ("flipped", vec![Write::Put(key.clone(), flipped)]),
            ("cut", vec![Write::Put(key.clone(), value[..number() % value.len()].to_vec())]),
            ("renamed", vec![lost.clone(), Write::Put(renamed, value.clone())]),
            ("exchanged", vec![Write::Put(key.clone(), of_other.clone()), Write::Put(other.clone(), value.clone())]),
            ("lost", vec![lost]),
        ] {
            let damaged = MemoryDisk::default();
            damaged
                .commit(&pairs.iter().map(|(key, value)| Write::Put(key.clone(), value.clone())).collect::<Vec<_>>())
                .unwrap();
            damaged.commit(&writes).unwrap();
            let Ok(mut found) = Log::open(Arc::new(damaged), None, Mode::Inline) else { continue };
            let what = format!("{what}: key {at}, {key:?}");
            assert_eq!(found.shelf().load().await.unwrap().as_ref(), Some(&snapshot), "{what}");
            // The end of the log and the vote may be gone: what the mark is for.
            let kept = entries(&found).await;
            assert_eq!(kept, written[..kept.len()], "{what}");
            assert!(kept.len() >= written.len() - 1, "{what}");
            let vote = found.read_vote().await.unwrap();
            assert!(vote.is_none() && key[0] == b'v' || vote == Some(Vote::new_committed(1, 1)), "{what}");
        }
    }
}
