//! The current snapshot, in the same store as the log.

use std::io;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::codec;
use super::disk::{Disk, Write};
use super::pieces::{CHUNKS, Name, chunks_of, put, read_each, read_one, removals};
use super::writer::{Done, Job, Queue, gone};
use crate::image::{Assembly, Image, Shelf};
use crate::raft::{LogId, SnapshotMeta};

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
    snapshot: u32,
    chunks: u32,
    meta: SnapshotMeta,
}

impl Current {
    fn read(disk: &dyn Disk) -> io::Result<Option<Self>> {
        read_one(disk, Name::Snapshot)?.map(|bytes| codec::decode(&bytes)).transpose()
    }
}

/// What an opened store holds of snapshots.
pub(super) struct Held {
    /// Up to where the log is not needed any more.
    pub last: Option<LogId>,
    /// Chunks of no current snapshot, with their pieces: a save or a removal was cut short.
    pub stale: Vec<(Name, u16)>,
}

/// Reads every chunk. Err: the current snapshot is not whole.
pub(super) fn look_over(disk: &dyn Disk) -> io::Result<Held> {
    let current = Current::read(disk)?;
    let (mut next, mut stale) = (0, Vec::new());
    read_each(disk, CHUNKS, |(number, _, pieces)| {
        let (snapshot, chunk) = ((number >> 32) as u32, number as u32);
        if current.as_ref().is_none_or(|current| current.snapshot != snapshot) {
            stale.push((Name::Chunk(snapshot, chunk), pieces));
        } else if chunk == next {
            next += 1;
        }
        Ok(())
    })?;
    match current {
        Some(current) if current.chunks != next => {
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("{next} chunks of {} are there", current.chunks)))
        }
        current => Ok(Held { last: current.and_then(|current| current.meta.last_log_id), stale }),
    }
}

impl DiskShelf {
    pub(super) fn new(disk: Arc<dyn Disk>, queue: Arc<Queue>) -> Self {
        Self { disk, queue, saving: Arc::default() }
    }

    async fn write(&self, writes: Vec<Write>) -> io::Result<()> {
        let (tell, told) = oneshot::channel();
        self.queue.push(Job { writes, promises: None, done: Done::Tell(tell) });
        told.await.map_err(|_| gone())?
    }

    /// New chunks under a new number, then the name of the current one, then the old chunks go.
    async fn replace(&self, meta: SnapshotMeta, image: Image) -> io::Result<()> {
        let _saving = self.saving.lock().await;
        let former = Current::read(&*self.disk)?.map_or(0, |current| current.snapshot);
        let snapshot = former.wrapping_add(1);
        // Left behind by a save that was given up.
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

    async fn remove(&self, snapshot: u32) -> io::Result<()> {
        let mut gone = Vec::new();
        read_each(&*self.disk, &chunks_of(snapshot), |(chunk, _, pieces)| {
            gone.push((Name::Chunk(snapshot, chunk as u32), pieces));
            Ok(())
        })?;
        for writes in removals(&gone) {
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
            let Some(current) = Current::read(&*shelf.disk)? else { return Ok(None) };
            let mut assembly = Assembly::default();
            read_each(&*shelf.disk, &chunks_of(current.snapshot), |(_, chunk, _)| assembly.push(&chunk))?;
            Ok(Some((current.meta, assembly.finish()?)))
        })
    }
}
