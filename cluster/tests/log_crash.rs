//! A process that ends in the middle of its work: nothing acknowledged is lost, nothing half done stays for ever.

mod rig;

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lyncpin_cluster::image::{Image, Shelf};
use lyncpin_cluster::log::disk::{Disk, See, Write};
use lyncpin_cluster::log::identity::{self, Identity};
use lyncpin_cluster::log::memory::MemoryDisk;
use lyncpin_cluster::log::{Log, Mode};
use lyncpin_cluster::raft::{SnapshotMeta, Vote};
use openraft::entry::RaftEntry;
use openraft::storage::{RaftLogReader, RaftLogStorage, RaftLogStorageExt};
use rig::{batch, entries, fresh, image, log_id, reopened};

const CHILD: &str = "LOG_CRASH_FOLDER";

/// The child of the test below: appends until it is killed, and says what was acknowledged.
#[tokio::test]
#[ignore = "runs as the child of the test that kills it"]
async fn a_child_appends_until_it_is_killed() {
    let Some(folder) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let identity = Identity::read(&folder).unwrap().unwrap();
    let mut log = reopened(&folder, &identity).unwrap();
    let mut next = log.get_log_state().await.unwrap().last_log_id.map_or(0, |id| id.index() + 1);
    loop {
        let some = 1 + next % 64;
        log.blocking_append((next..next + some).map(|n| batch(n, if n % 200 == 7 { 40_000 } else { 300 })))
            .await
            .unwrap();
        next += some;
        let mut out = std::io::stdout();
        writeln!(out, "acknowledged {}", next - 1).unwrap();
        out.flush().unwrap();
    }
}

#[tokio::test]
async fn a_killed_process_loses_nothing_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let (identity, log) = fresh(folder.path());
    log.close().await;
    drop(log);
    drop(reopened(folder.path(), &identity).unwrap());
    let mut before = None;
    for round in 0..12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_child_appends_until_it_is_killed", "--ignored", "--nocapture"])
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| line.rsplit_once("acknowledged ")?.1.trim().parse::<u64>().ok());
        let mut last = told.nth(round).expect("the child writes");
        child.kill().unwrap();
        child.wait().unwrap();
        // What stood in the pipe was acknowledged as well.
        last = told.last().unwrap_or(last);
        let log = reopened(folder.path(), &identity).unwrap();
        let found = entries(&log).await;
        assert!(found.len() as u64 > last, "round {round}: {last} was acknowledged, {} are there", found.len());
        assert!(Some(last) > before, "it went on where it was");
        before = Some(last);
        log.close().await;
    }
}

/// A disk whose process dies at its n-th commit.
struct Fuse(MemoryDisk, AtomicUsize);

impl Disk for Fuse {
    fn commit(&self, writes: &[Write]) -> io::Result<()> {
        let left = self.1.load(Ordering::Relaxed).checked_sub(1).ok_or_else(|| io::Error::other("dead"))?;
        self.1.store(left, Ordering::Relaxed);
        self.0.commit(writes)
    }
    fn each(&self, prefix: &[u8], see: See<'_>) -> io::Result<()> {
        self.0.each(prefix, see)
    }
    fn bytes(&self) -> u64 {
        self.0.bytes()
    }
}

/// What was acknowledged before the disk died.
#[derive(Clone, Debug, Default, PartialEq)]
struct Told {
    last: Option<u64>,
    snapshot: Option<(SnapshotMeta, Image)>,
    vote: Option<Vote>,
}

async fn live(log: &mut Log, snapshots: &[(SnapshotMeta, Image)], told: &mut Told) -> io::Result<()> {
    for (round, (meta, image)) in (1..).zip(snapshots) {
        let vote = Vote::new_committed(round, 1);
        log.save_vote(&vote).await?;
        told.vote = Some(vote);
        let next = told.last.map_or(0, |last| last + 1);
        let upto = meta.last_log_id.unwrap();
        for first in (next..upto.index() + 20).step_by(100) {
            let end = (first + 100).min(upto.index() + 20);
            log.blocking_append((first..end).map(|n| batch(n, if n % 90 == 7 { 15_000 } else { 50 }))).await?;
            told.last = Some(end - 1);
        }
        log.shelf().save(meta.clone(), image.clone()).await?;
        told.snapshot = Some((meta.clone(), image.clone()));
        log.purge(upto).await?;
        // Another leader's entries in place of the last ten.
        log.truncate_after(Some(log_id(1, upto.index() + 9))).await?;
        told.last = Some(upto.index() + 9);
    }
    Ok(())
}

#[tokio::test]
async fn a_death_between_any_two_writes_leaves_a_store_that_opens_and_keeps_no_remains() {
    let snapshots: Vec<_> = [300, 450, 700].map(image).into();
    let mut deaths = 0;
    for commits in 0.. {
        let disk = MemoryDisk::default();
        let dying = Arc::new(Fuse(disk.clone(), AtomicUsize::new(commits)));
        let mut told = Told::default();
        let mut log = Log::open(dying.clone(), None, Mode::Inline).unwrap();
        let end = live(&mut log, &snapshots, &mut told).await;
        let mut log = Log::open(Arc::new(disk.clone()), None, Mode::Inline)
            .unwrap_or_else(|why| panic!("death at commit {commits}: {why}"));
        let state = log.get_log_state().await.unwrap();
        // The write the process died of may be there, or not; one that takes back is never acknowledged and undone.
        let last = state.last_log_id.map(|id| id.index());
        assert!(
            last >= told.last || end.is_err() && last.is_some_and(|last| last + 10 == told.last.unwrap()),
            "{commits}"
        );
        assert!(log.read_vote().await.unwrap() >= told.vote, "{commits}");
        let found = log.shelf().load().await.unwrap();
        assert!(found == told.snapshot || snapshots.iter().any(|newer| Some(newer) == found.as_ref()), "{commits}");
        let (mut indexes, mut numbers) = (BTreeSet::new(), BTreeSet::new());
        disk.each(b"l", &mut |key, _| {
            indexes.insert(u64::from_be_bytes(key[1..9].try_into().unwrap()));
            Ok(())
        })
        .unwrap();
        disk.each(b"x", &mut |key, _| {
            numbers.insert(key[1..5].to_vec());
            Ok(())
        })
        .unwrap();
        let kept: BTreeSet<u64> = entries(&log).await.iter().map(|entry| entry.index()).collect();
        // Entries stand together; of what was purged the run may be left that holds the first one that is kept.
        let remains = indexes.iter().filter(|index| !kept.contains(index)).count();
        assert!(remains <= 1 && indexes.last() <= kept.last(), "death at commit {commits}: {indexes:?} of {kept:?}");
        assert!(numbers.len() <= 1, "death at commit {commits}: remains of snapshots {numbers:?}");
        if end.is_ok() {
            break;
        }
        deaths += 1;
    }
    assert!(deaths > 40, "{deaths}");
}

#[tokio::test]
async fn a_store_whose_making_was_cut_short_is_made_anew() {
    // A node that died in its first moment has promised nothing: no operator is needed.
    for what in [&["mark"][..], &["mark", "records"][..]] {
        let folder = tempfile::tempdir().unwrap();
        let made = tempfile::tempdir().unwrap();
        let (_, log) = fresh(made.path());
        log.close().await;
        drop(log);
        for name in what {
            std::fs::rename(made.path().join(name), folder.path().join(name)).unwrap();
        }
        assert_eq!(Identity::read(folder.path()).unwrap(), None, "{what:?}");
        let (identity, log) = fresh(folder.path());
        log.close().await;
        drop(log);
        reopened(folder.path(), &identity).unwrap();
    }
    // One that has voted, and lost its identity, is damaged.
    let folder = tempfile::tempdir().unwrap();
    let (_, mut log) = fresh(folder.path());
    log.save_vote(&Vote::new(1, 1)).await.unwrap();
    log.close().await;
    std::fs::remove_file(folder.path().join("identity.json")).unwrap();
    assert!(matches!(Identity::read(folder.path()), Err(identity::OpenError::Damaged(_))));
}

#[tokio::test]
async fn a_store_that_is_open_is_not_opened_again_and_is_not_taken_for_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let (identity, log) = fresh(folder.path());
    assert!(matches!(identity::open(folder.path(), &identity), Err(identity::OpenError::InUse)));
    assert!(matches!(identity::create(folder.path(), &identity), Err(identity::OpenError::InUse)));
    log.close().await;
    drop(log);
    reopened(folder.path(), &identity).unwrap();
}
