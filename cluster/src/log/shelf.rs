//! The current snapshot, in the same store as the log.

use std::io;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::codec;
use super::disk::{Disk, Write};
use super::pieces::{Name, delete, put, read_all};
use super::writer::{Done, Job, Queue, gone};
use crate::image::{Assembly, Image, Shelf};
use crate::raft::SnapshotMeta;

/// Clones are the same shelf.
#[derive(Clone)]
pub struct DiskShelf {
    disk: Arc<dyn Disk>,
    queue: Arc<Queue>,
    /// Snapshots are saved one after the other.
    saving: Arc<tokio::sync::Mutex<()>>,
}

/// Which chunks are the current snapshot.
#[derive(Debug, Serialize, Deserialize)]
struct Current {
    snapshot: u64,
    chunks: u32,
    meta: SnapshotMeta,
}

impl DiskShelf {
    pub(super) fn new(disk: Arc<dyn Disk>, queue: Arc<Queue>) -> Self {
        Self { disk, queue, saving: Arc::default() }
    }

    fn current(&self) -> io::Result<Option<Current>> {
        let found = read_all(&*self.disk, Name::Snapshot)?.into_iter().next();
        found.map(|(_, bytes, _)| codec::decode(&bytes)).transpose()
    }

    async fn write(&self, writes: Vec<Write>) -> io::Result<()> {
        let (tell, told) = oneshot::channel();
        self.queue.push(Job { writes, promises: None, done: Done::Tell(tell) });
        told.await.map_err(|_| gone())?
    }

    /// New chunks under a new number, then the name of the current one, then the old chunks go.
    async fn replace(&self, meta: SnapshotMeta, image: Image) -> io::Result<()> {
        let _saving = self.saving.lock().await;
        let former = self.current()?.map_or(0, |current| current.snapshot);
        let snapshot = former + 1;
        // Left behind by a save that was cut short.
        self.remove(snapshot).await?;
        let mut chunks = 0;
        for chunk in image.chunks() {
            let mut writes = Vec::new();
            put(&mut writes, Name::Chunk(snapshot, chunks), &chunk);
            self.write(writes).await?;
            chunks += 1;
        }
        let mut writes = Vec::new();
        put(&mut writes, Name::Snapshot, &codec::encode(&Current { snapshot, chunks, meta })?);
        self.write(writes).await?;
        self.remove(former).await
    }

    async fn remove(&self, snapshot: u64) -> io::Result<()> {
        for (chunk, _, pieces) in read_all(&*self.disk, Name::Chunk(snapshot, 0))? {
            let mut writes = Vec::new();
            delete(&mut writes, Name::Chunk(snapshot, u32::try_from(chunk).unwrap_or(u32::MAX)), pieces);
            self.write(writes).await?;
        }
        Ok(())
    }
}

impl Shelf for DiskShelf {
    fn save(&self, meta: SnapshotMeta, image: Image) -> BoxFuture<'static, io::Result<()>> {
        let shelf = self.clone();
        Box::pin(async move { shelf.replace(meta, image).await })
    }

    fn load(&self) -> BoxFuture<'static, io::Result<Option<(SnapshotMeta, Image)>>> {
        let shelf = self.clone();
        Box::pin(async move {
            let Some(current) = shelf.current()? else { return Ok(None) };
            let chunks = read_all(&*shelf.disk, Name::Chunk(current.snapshot, 0))?;
            let mut assembly = Assembly::default();
            chunks.iter().try_for_each(|(_, chunk, _)| assembly.push(chunk))?;
            Ok(Some((current.meta, assembly.finish()?)))
        })
    }
}
