//! The durable log: what openraft asks a log store for, over a [`Disk`].
//!
//! Everything that is not purged is kept in memory as well, so that readers never wait for the disk, which is read at
//! open only. One writer drains a queue: all that waits becomes one batch, one sync makes it durable, then every
//! callback is called, in order. A vote or an entry is acknowledged only after that sync. After a failed one nothing
//! is ever acknowledged again.

mod codec;
pub mod disk;
pub mod identity;
mod load;
mod mark;
pub mod memory;
mod pieces;
mod runs;
mod shelf;
pub mod sled;
mod writer;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use tokio::sync::{oneshot, watch};

use crate::log::disk::{Disk, Write};
use crate::log::pieces::{Name, put, removals};
use crate::log::runs::Runs;
use crate::log::writer::{Done, Job, Queue};
use crate::mutant::{Mutant, mutant};
use crate::raft::{Entry, LogId, Types, Vote};

pub use self::identity::{Identity, OpenError};
pub use self::shelf::DiskShelf;

/// Clones are the same log.
#[derive(Clone)]
pub struct Log(Arc<Shared>);

struct Shared {
    tail: Mutex<Tail>,
    queue: Arc<Queue>,
    disk: Arc<dyn Disk>,
    failed: watch::Receiver<Option<String>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The writer ends when it has written what waits, and gives the store back.
        self.queue.close();
    }
}

/// What has been written, or is on its way.
#[derive(Default)]
struct Tail {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    entries: BTreeMap<u64, Kept>,
    /// How the entries stand on the disk.
    runs: Runs,
    bytes: u64,
}

struct Kept {
    entry: Entry,
    bytes: u64,
}

impl Tail {
    fn last(&self) -> Option<LogId> {
        self.entries.last_key_value().map(|(_, kept)| kept.entry.log_id()).or(self.purged)
    }

    fn keep(&mut self, entry: Entry, bytes: u64) {
        self.bytes += bytes;
        self.entries.insert(entry.index(), Kept { entry, bytes });
    }

    fn forget(&mut self, range: impl RangeBounds<u64>) {
        let indexes: Vec<u64> = self.entries.range(range).map(|(index, _)| *index).collect();
        for index in indexes {
            self.bytes -= self.entries.remove(&index).map_or(0, |kept| kept.bytes);
        }
    }

    /// Forgets this entry and all behind it; the writes that remove them from the disk.
    fn cut(&mut self, index: u64) -> io::Result<Vec<Write>> {
        let mut writes = Vec::new();
        let from = self.runs.cut(&mut writes, index);
        self.forget(index..);
        // What stood before it in the same run.
        if let Some(first) = self.entries.range(from..).next().map(|(first, _)| *first) {
            let before = self.entries.range(first..).map(|(_, kept)| codec::encode(&kept.entry));
            let before = before.collect::<io::Result<Vec<_>>>()?;
            self.runs.append(&mut writes, first, &before);
        }
        Ok(writes)
    }
}

/// How the log is written.
pub enum Mode {
    /// By a thread of its own, many writes for one sync.
    Thread,
    /// At once, by whoever writes: for simulations, which have no threads.
    Inline,
    /// By [`Log::write_waiting`], when somebody calls it: for simulated disks that take their time.
    Turns,
}

impl Log {
    /// Reads what is there. `mark`: the file outside the store that says what it must hold; a simulation has none.
    pub fn open(disk: Arc<dyn Disk>, mark: Option<mark::Mark>, mode: Mode) -> Result<Self, OpenError> {
        let tail = load::load(&*disk)?;
        if let Some(mark) = &mark {
            mark.check(tail.vote, tail.last())?;
        }
        let (tell, failed) = watch::channel(None);
        let queue = Queue::new(disk.clone(), mark, tell, mode)?;
        Ok(Self(Arc::new(Shared { tail: Mutex::new(tail), queue, disk, failed })))
    }

    /// Says why the store failed, once it has: the process must not go on.
    pub fn failed(&self) -> watch::Receiver<Option<String>> {
        self.0.failed.clone()
    }

    /// Where snapshots are kept.
    pub fn shelf(&self) -> DiskShelf {
        DiskShelf::new(self.0.disk.clone(), self.0.queue.clone())
    }

    /// Whether this store never took part in anything: it knows no vote and no entry.
    pub fn is_blank(&self) -> bool {
        let tail = self.tail();
        tail.vote.is_none() && tail.last().is_none()
    }

    /// Bytes of the entries that are not purged.
    pub fn log_bytes(&self) -> u64 {
        self.tail().bytes
    }

    /// Bytes the store takes on its disk.
    pub fn disk_bytes(&self) -> u64 {
        self.0.disk.bytes()
    }

    /// Resolves when something waits to be written; in [`Mode::Turns`].
    pub async fn waits(&self) {
        self.0.queue.waits().await;
    }

    /// Whether nothing waits to be written.
    pub fn is_written(&self) -> bool {
        self.0.queue.is_empty()
    }

    /// Writes what waits, as one batch; in [`Mode::Turns`].
    pub fn write_waiting(&self) {
        self.0.queue.write_waiting();
    }

    /// Waits until all that was handed in is durable and the writer has ended. The store is free for another process when
    /// the last clone, and the last of its shelves, is dropped.
    pub async fn close(&self) {
        // Err: the store failed before, and has said so.
        let _ = self.durable(Vec::new(), None).await;
        self.0.queue.close();
        if self.0.queue.has_thread() {
            let mut failed = self.failed();
            // Err: the writer is gone.
            while failed.changed().await.is_ok() {}
        }
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.0.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn durable(&self, writes: Vec<Write>, promises: Option<mark::Promises>) -> io::Result<()> {
        let (tell, told) = oneshot::channel();
        self.0.queue.push(Job { writes, promises, done: Done::Tell(tell) });
        told.await.map_err(|_| writer::gone())?
    }

    fn promises(tail: &Tail) -> mark::Promises {
        mark::Promises::of(tail.vote, tail.last())
    }
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<R>(&mut self, range: R) -> Result<Vec<Entry>, io::Error>
    where
        R: RangeBounds<u64> + Clone + Debug + Send,
    {
        Ok(self.tail().entries.range(range).map(|(_, kept)| kept.entry.clone()).collect())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.tail().vote)
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let tail = self.tail();
        Ok(LogState { last_purged_log_id: tail.purged, last_log_id: tail.last() })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let mut writes = Vec::new();
        put(&mut writes, Name::Vote, &codec::encode(vote)?);
        let promises = {
            let mut tail = self.tail();
            tail.vote = Some(*vote);
            Self::promises(&tail)
        };
        self.durable(writes, Some(promises)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let Some(committed) = committed else { return Ok(()) };
        let mut writes = Vec::new();
        put(&mut writes, Name::Committed, &codec::encode(&committed)?);
        self.tail().committed = Some(committed);
        // Nobody waits for it: it rides with the next sync.
        self.0.queue.push(Job { writes, promises: None, done: Done::Nothing });
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        let tail = self.tail();
        // It may name an entry that was not durable: then the durable ones count.
        Ok(tail.committed.min(tail.last()))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let encoded = entries.iter().map(codec::encode).collect::<io::Result<Vec<_>>>()?;
        let mut writes = Vec::new();
        let promises = {
            let mut tail = self.tail();
            if let Some(first) = entries.first().map(RaftEntry::index) {
                if tail.entries.range(first..).next().is_some() {
                    writes = tail.cut(first)?;
                }
                tail.runs.append(&mut writes, first, &encoded);
            }
            for (entry, bytes) in entries.into_iter().zip(&encoded) {
                tail.keep(entry, bytes.len() as u64);
            }
            Self::promises(&tail)
        };
        self.0.queue.push(Job { writes, promises: Some(promises), done: Done::Flushed(callback) });
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let (writes, promises) = {
            let mut tail = self.tail();
            let first = last.map_or(0, |id| id.index() + 1);
            // In one batch: half of a tail must not stay.
            (tail.cut(first)?, Self::promises(&tail))
        };
        let writes = if mutant(Mutant::TruncateForgotten) { Vec::new() } else { writes };
        self.durable(writes, Some(promises)).await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        let mut writes = Vec::new();
        put(&mut writes, Name::Purged, &codec::encode(&upto)?);
        let (gone, promises) = {
            let mut tail = self.tail();
            if tail.purged >= Some(upto) {
                return Ok(());
            }
            tail.purged = Some(upto);
            tail.forget(..=upto.index());
            (removals(&tail.runs.forget(upto.index())), Self::promises(&tail))
        };
        // First the index, durable; what is left of a purge cut short is removed at open.
        self.durable(writes, Some(promises)).await?;
        for writes in gone {
            self.0.queue.push_later(Job { writes, promises: None, done: Done::Nothing });
        }
        Ok(())
    }
}
