//! The one writer: what waits becomes one batch, one sync, then its callbacks in order.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use openraft::storage::IOFlushed;
use tokio::sync::{Notify, oneshot, watch};

use super::Mode;
use super::disk::{Disk, Write};
use super::mark::{Mark, Promises};
use crate::raft::Types;

/// A batch takes no further job from here on.
const BATCH_WRITES_MAX: usize = 8_192;

pub struct Job {
    pub writes: Vec<Write>,
    /// What is promised once this is durable.
    pub promises: Option<Promises>,
    pub done: Done,
}

pub enum Done {
    Nothing,
    Tell(oneshot::Sender<io::Result<()>>),
    Flushed(IOFlushed<Types>),
}

impl Done {
    fn tell(self, result: io::Result<()>) {
        match self {
            Self::Nothing => {}
            // Err: who asked is gone.
            Self::Tell(tell) => drop(tell.send(result)),
            Self::Flushed(callback) => callback.io_completed(result),
        }
    }
}

/// Jobs in order, and those that may wait until nothing else does.
pub struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    /// The queue has no thread: it is drained by whoever pushes, or in turns.
    writer: Option<Mutex<Writer>>,
    is_inline: bool,
    /// Said when something waits for its turn.
    turn: Notify,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    later: VecDeque<Job>,
    is_closed: bool,
}

impl Waiting {
    fn batch(&mut self) -> Vec<Job> {
        let mut batch = Vec::new();
        let mut writes = 0;
        while writes < BATCH_WRITES_MAX
            && let Some(job) = self.jobs.pop_front()
        {
            writes += job.writes.len();
            batch.push(job);
        }
        batch.extend(self.later.pop_front());
        batch
    }
}

struct Writer {
    disk: Arc<dyn Disk>,
    mark: Option<Mark>,
    tell: watch::Sender<Option<String>>,
    failed: Option<String>,
}

impl Queue {
    pub fn new(
        disk: Arc<dyn Disk>,
        mark: Option<Mark>,
        tell: watch::Sender<Option<String>>,
        mode: Mode,
    ) -> io::Result<Arc<Self>> {
        let mut writer = Writer { disk, mark, tell, failed: None };
        let queue = |writer, is_inline| {
            let (waiting, wake, turn) = (Mutex::default(), Condvar::new(), Notify::new());
            Arc::new(Self { waiting, wake, writer, is_inline, turn })
        };
        match mode {
            Mode::Inline | Mode::Turns => Ok(queue(Some(Mutex::new(writer)), matches!(mode, Mode::Inline))),
            Mode::Thread => {
                let queue = queue(None, false);
                let own = queue.clone();
                std::thread::Builder::new().name("log".into()).spawn(move || {
                    while let Some(batch) = own.next_batch() {
                        writer.write(batch);
                    }
                    writer.end();
                })?;
                Ok(queue)
            }
        }
    }

    pub fn push(&self, job: Job) {
        self.put(job, |waiting| &mut waiting.jobs);
    }

    /// A job without haste: it goes alone, when nothing else waits or after each batch.
    pub fn push_later(&self, job: Job) {
        self.put(job, |waiting| &mut waiting.later);
    }

    fn put(&self, job: Job, place: impl FnOnce(&mut Waiting) -> &mut VecDeque<Job>) {
        if let Some(writer) = self.writer.as_ref().filter(|_| self.is_inline) {
            return writer.lock().unwrap_or_else(PoisonError::into_inner).write(vec![job]);
        }
        let mut waiting = self.lock();
        if waiting.is_closed {
            drop(waiting);
            return job.done.tell(Err(gone()));
        }
        place(&mut waiting).push_back(job);
        self.wake.notify_one();
        self.turn.notify_one();
    }

    pub fn has_thread(&self) -> bool {
        self.writer.is_none()
    }

    pub fn is_empty(&self) -> bool {
        let waiting = self.lock();
        waiting.jobs.is_empty() && waiting.later.is_empty()
    }

    pub async fn waits(&self) {
        while self.is_empty() {
            self.turn.notified().await;
        }
    }

    /// One batch, if there is anything to write and nobody else writes it.
    pub fn write_waiting(&self) {
        let batch = self.lock().batch();
        if let Some(writer) = &self.writer {
            writer.lock().unwrap_or_else(PoisonError::into_inner).write(batch);
        }
    }

    /// The writer ends when it has written what waits.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.wake.notify_one();
    }

    fn next_batch(&self) -> Option<Vec<Job>> {
        let mut waiting = self.lock();
        loop {
            let batch = waiting.batch();
            if !batch.is_empty() {
                return Some(batch);
            }
            if waiting.is_closed {
                return None;
            }
            waiting = self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    fn write(&mut self, batch: Vec<Job>) {
        if self.failed.is_none()
            && let Err(error) = self.commit(&batch)
        {
            let why = error.to_string();
            tracing::error!(%error, "the record store cannot be written; this node stops, so that it promises nothing more");
            self.tell.send_replace(Some(why.clone()));
            self.failed = Some(why);
        }
        for job in batch {
            job.done.tell(match &self.failed {
                None => Ok(()),
                Some(why) => Err(io::Error::other(why.clone())),
            });
        }
    }

    fn end(&self) {
        if let Some(Err(error)) = self.mark.as_ref().map(Mark::sync) {
            tracing::warn!(%error, "the mark beside the record store may be older than the store");
        }
    }

    fn commit(&self, batch: &[Job]) -> io::Result<()> {
        let promises = batch.iter().rev().find_map(|job| job.promises);
        if let (Some(mark), Some(promises)) = (&self.mark, promises) {
            mark.lower_to(promises)?;
        }
        let writes: Vec<Write> = batch.iter().flat_map(|job| job.writes.iter().cloned()).collect();
        if !writes.is_empty() {
            self.disk.commit(&writes)?;
        }
        match (&self.mark, promises) {
            (Some(mark), Some(promises)) => mark.raise_to(promises),
            _ => Ok(()),
        }
    }
}

pub fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the record store is closed")
}
