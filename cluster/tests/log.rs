//! The durable log against openraft's own conformance suite, power cuts and failures.

mod rig;

use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use lyncpin_cluster::Machine;
use lyncpin_cluster::apply::Applier;
use lyncpin_cluster::image::Shelf;
use lyncpin_cluster::log::disk::{Disk, See, Write};
use lyncpin_cluster::log::memory::MemoryDisk;
use lyncpin_cluster::log::sled::SledDisk;
use lyncpin_cluster::log::{Log, Mode};
use lyncpin_cluster::raft::{Types, Vote};
use lyncpin_cluster::records::Records;
use openraft::StorageError;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage, RaftLogStorageExt};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::TypeConfigExt;
use rig::{batch, entries, fresh, image, log_id, reopened};
use tempfile::TempDir;

struct OnSled;

impl StoreBuilder<Types, Log, Applier, TempDir> for OnSled {
    async fn build(&self) -> Result<(TempDir, Log, Applier), StorageError<Types>> {
        let folder = tempfile::tempdir().unwrap();
        let (_, log) = fresh(folder.path());
        let applier = Applier::new(Arc::new(Records::new(Machine::default())), Arc::new(log.shelf()));
        Ok((folder, log, applier))
    }
}

struct InMemory;

impl StoreBuilder<Types, Log, Applier> for InMemory {
    async fn build(&self) -> Result<((), Log, Applier), StorageError<Types>> {
        let log = Log::open(Arc::new(MemoryDisk::default()), None, Mode::Inline).unwrap();
        let applier = Applier::new(Arc::new(Records::new(Machine::default())), Arc::new(log.shelf()));
        Ok(((), log, applier))
    }
}

#[tokio::test]
async fn the_log_on_sled_conforms() {
    Suite::test_all(OnSled).await.unwrap();
}

#[tokio::test]
async fn the_log_in_memory_conforms() {
    Suite::test_all(InMemory).await.unwrap();
}

#[tokio::test]
async fn what_was_acknowledged_is_there_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let (identity, mut log) = fresh(folder.path());
    let vote = Vote::new_committed(3, 2);
    log.save_vote(&vote).await.unwrap();
    // One value of several pieces, and many small ones.
    log.blocking_append((0..500).map(|n| batch(n, if n == 7 { 200_000 } else { 300 }))).await.unwrap();
    log.truncate_after(Some(log_id(1, 449))).await.unwrap();
    log.save_committed(Some(log_id(1, 300))).await.unwrap();
    let (meta, snapshot) = image(99);
    log.shelf().save(meta, snapshot).await.unwrap();
    log.purge(log_id(1, 99)).await.unwrap();
    log.blocking_append((450..460).map(|n| batch(n, 10))).await.unwrap();
    let written = entries(&log).await;
    log.close().await;
    drop(log);
    let mut log = reopened(folder.path(), &identity).unwrap();
    assert_eq!(entries(&log).await, written);
    assert_eq!((written.len(), written[0].index(), written[359].index()), (360, 100, 459));
    assert_eq!(log.read_vote().await.unwrap(), Some(vote));
    assert_eq!(log.read_committed().await.unwrap(), Some(log_id(1, 300)));
    let state = log.get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(log_id(1, 99)), Some(log_id(1, 459))));
}

#[tokio::test]
async fn a_snapshot_takes_the_place_of_the_former_and_outlives_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let (identity, log) = fresh(folder.path());
    let shelf = log.shelf();
    assert!(shelf.load().await.unwrap().is_none());
    for records in [2_000, 10, 3_000] {
        let (meta, image) = image(records);
        shelf.save(meta.clone(), image.clone()).await.unwrap();
        assert_eq!(shelf.load().await.unwrap(), Some((meta, image)), "{records}");
    }
    log.close().await;
    drop((log, shelf));
    let log = reopened(folder.path(), &identity).unwrap();
    assert_eq!(log.shelf().load().await.unwrap(), Some(image(3_000)));
}

/// What the platter holds: the bytes of the store's file at each sync, and nothing between two of them.
struct Platter {
    folder: TempDir,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Platter {
    fn disk(syncs: bool) -> (Self, SledDisk) {
        let folder = tempfile::tempdir().unwrap();
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let (file, kept) = (folder.path().join("db"), bytes.clone());
        let sync = Box::new(move |_: &fs::File| {
            if syncs {
                *kept.lock().unwrap() = fs::read(&file)?;
            }
            Ok(())
        });
        let disk = SledDisk::open_with(folder.path(), sync).unwrap();
        *bytes.lock().unwrap() = fs::read(folder.path().join("db")).unwrap();
        (Self { folder, bytes }, disk)
    }

    /// The disk after a power cut at this moment.
    fn cut(&self) -> TempDir {
        let after = tempfile::tempdir().unwrap();
        fs::write(after.path().join("db"), &*self.bytes.lock().unwrap()).unwrap();
        fs::copy(self.folder.path().join("conf"), after.path().join("conf")).unwrap();
        after
    }
}

/// Appends in many batches, and cuts the power each time right after the acknowledgement. Yields how many cuts lost something.
async fn losses(syncs: bool) -> usize {
    let (platter, disk) = Platter::disk(syncs);
    let mut log = Log::open(Arc::new(disk), None, Mode::Thread).unwrap();
    let mut lost = 0;
    for round in 0..8 {
        log.save_vote(&Vote::new(round + 1, 1)).await.unwrap();
        log.blocking_append((round * 40..(round + 1) * 40).map(|n| batch(n, 900))).await.unwrap();
        let snapshot = image(400 + round);
        log.shelf().save(snapshot.0.clone(), snapshot.1.clone()).await.unwrap();
        let after = platter.cut();
        let kept = match SledDisk::open(after.path()).and_then(|disk| Log::open(Arc::new(disk), None, Mode::Inline)) {
            Ok(mut found) => {
                entries(&found).await == entries(&log).await
                    && found.read_vote().await.unwrap() == log.read_vote().await.unwrap()
                    && found.shelf().load().await.is_ok_and(|found| found == Some(snapshot))
            }
            Err(_) => false,
        };
        lost += usize::from(!kept);
    }
    log.close().await;
    lost
}

#[tokio::test]
async fn a_power_cut_takes_nothing_that_was_acknowledged() {
    assert_eq!(losses(true).await, 0);
}

#[tokio::test]
async fn without_the_sync_of_our_own_a_power_cut_takes_everything() {
    // The proof of the test above: sled's own flush does not reach the platter.
    assert_eq!(losses(false).await, 8);
}

/// A disk whose sync fails when told to.
struct Failing(SledDisk, Arc<AtomicBool>);

impl Disk for Failing {
    fn commit(&self, writes: &[Write]) -> io::Result<()> {
        if self.1.load(Ordering::Relaxed) { Err(io::Error::other("EIO")) } else { self.0.commit(writes) }
    }
    fn each(&self, prefix: &[u8], see: See<'_>) -> io::Result<()> {
        self.0.each(prefix, see)
    }
    fn bytes(&self) -> u64 {
        self.0.bytes()
    }
}

#[tokio::test]
async fn after_a_failed_write_nothing_is_acknowledged_again() {
    let folder = tempfile::tempdir().unwrap();
    let fails = Arc::new(AtomicBool::new(false));
    let disk = Failing(SledDisk::open(folder.path()).unwrap(), fails.clone());
    let mut log = Log::open(Arc::new(disk), None, Mode::Thread).unwrap();
    log.save_vote(&Vote::new(1, 1)).await.unwrap();
    fails.store(true, Ordering::Relaxed);
    assert!(log.save_vote(&Vote::new(2, 1)).await.is_err());
    fails.store(false, Ordering::Relaxed);
    assert!(log.save_vote(&Vote::new(3, 1)).await.is_err(), "the disk may have lost what it failed to write");
    assert!(log.blocking_append([batch(0, 1)]).await.is_err());
    assert_eq!(log.failed().borrow().as_deref(), Some("EIO"));
}

/// Callbacks must come in the order of the writes (openraft issue 1960).
#[tokio::test]
async fn callbacks_come_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (_, mut log) = fresh(folder.path());
    let mut told = Vec::new();
    for n in 0..200 {
        let (tell, hear) = Types::oneshot();
        log.append([batch(n, 100)], IOFlushed::signal(tell)).await.unwrap();
        told.push(hear);
    }
    for hear in told {
        hear.await.unwrap().unwrap();
    }
}
