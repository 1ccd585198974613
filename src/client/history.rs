//! What users did and saw, for a checker that does not trust the gateway.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Violation;

/// One line of a history.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// The user's SIP URI.
    pub user: Arc<str>,
    pub what: What,
}

/// Times are microseconds since the Unix epoch, all from one monotonic clock of the process.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum What {
    Operation(Operation),
    Event { at_us: u64, cseq: u32, event: &'static str, call: String, xref: String },
    Violation { at_us: u64, violation: Violation },
}

/// One request and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Operation {
    /// The CSTA service, or the SIP method when there was none.
    pub op: &'static str,
    /// The number dialled, or the call acted on.
    pub target: Option<String>,
    pub cseq: u32,
    pub start_us: u64,
    pub end_us: u64,
    pub result: OperationResult,
    /// The call an ok outcome named.
    pub call: Option<String>,
}

/// What the user may conclude about the world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum OperationResult {
    /// It was done, once.
    Ok,
    /// Definite: it was not done and will not be. Holds the SIP status or the CSTA failure.
    Failed(String),
    /// It was done once, or not at all.
    Unknown(String),
}

/// Where entries go. Called from the flows' tasks: must not block.
pub trait History: Send + Sync {
    fn note(&self, entry: Entry);
}

/// Keeps the newest entries; the rest is counted.
#[derive(Debug)]
pub struct RecentHistory {
    entries_max: usize,
    entries: Mutex<VecDeque<Entry>>,
    lost: AtomicU64,
}

impl RecentHistory {
    pub fn new(entries_max: usize) -> Arc<Self> {
        Arc::new(Self { entries_max, entries: Mutex::default(), lost: AtomicU64::new(0) })
    }

    pub fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// How many entries made room for newer ones.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl History for RecentHistory {
    fn note(&self, entry: Entry) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= self.entries_max {
            entries.pop_front();
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        entries.push_back(entry);
    }
}

/// Streams entries to a bounded channel. A run whose `lost` is not 0 proves nothing.
#[derive(Debug)]
pub struct StreamedHistory {
    sink: mpsc::Sender<Entry>,
    lost: AtomicU64,
}

impl StreamedHistory {
    pub fn new(entries_max: usize) -> (Arc<Self>, mpsc::Receiver<Entry>) {
        let (sink, entries) = mpsc::channel(entries_max);
        (Arc::new(Self { sink, lost: AtomicU64::new(0) }), entries)
    }

    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl History for StreamedHistory {
    fn note(&self, entry: Entry) {
        if self.sink.try_send(entry).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One reading of the wall clock, carried on by the monotonic one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    instant: Instant,
    unix_us: u64,
}

impl Origin {
    pub(super) fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { instant: Instant::now(), unix_us: since.as_micros() as u64 }
    }

    pub(super) fn at_us(&self, instant: Instant) -> u64 {
        self.unix_us + instant.saturating_duration_since(self.instant).as_micros() as u64
    }
}
