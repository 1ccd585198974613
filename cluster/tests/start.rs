//! What a voter does with its snapshot when it starts.

mod rig;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use lyncpin_cluster::apply::Applier;
use lyncpin_cluster::image::{Image, Shelf};
use lyncpin_cluster::raft::SnapshotMeta;
use openraft::storage::RaftStateMachine;
use rig::image;

/// Counts how often it is read and written.
#[derive(Default)]
struct Counted {
    loads: AtomicUsize,
    saves: AtomicUsize,
}

impl Shelf for Counted {
    fn save(&self, _: SnapshotMeta, _: Image) -> BoxFuture<'static, io::Result<()>> {
        self.saves.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Ok(()) })
    }

    fn load(&self) -> BoxFuture<'static, io::Result<Option<(SnapshotMeta, Image)>>> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Ok(Some(image(200))) })
    }
}

/// It wrote the whole snapshot again, a sync for every 128 KiB, and read it three times.
#[tokio::test]
async fn a_start_reads_the_snapshot_once_and_writes_nothing() {
    let shelf = Arc::new(Counted::default());
    let mut opened = Applier::open(shelf.clone()).await.unwrap();
    let (meta, image) = image(200);
    // What openraft does at a start: it installs a snapshot that is newer than what is applied.
    let (applied, membership) = opened.applier.applied_state().await.unwrap();
    let current = opened.applier.get_current_snapshot().await.unwrap().unwrap();
    assert_eq!((applied, &membership), (meta.last_log_id, &meta.last_membership));
    assert_eq!((current.meta, current.snapshot), (meta, image.clone()));
    assert_eq!(opened.records.machine().snapshot(), *image.snapshot());
    assert_eq!((shelf.loads.load(Ordering::SeqCst), shelf.saves.load(Ordering::SeqCst)), (1, 0));
    // Later the shelf has a newer one.
    opened.snapshot.lock().unwrap().take();
    opened.applier.get_current_snapshot().await.unwrap();
    assert_eq!(shelf.loads.load(Ordering::SeqCst), 2);
}
