//! Where carriers show what they hear and say.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::hep::Collector;
use super::line::{Line, Way, What};
use super::mask::{masked_message, masked_xml};
use super::{Ends, Whom};
use crate::id::SessionId;
use crate::sip::Message;

/// Lines that wait for one listener; what comes meanwhile is counted and dropped.
pub const TRACE_LINES_MAX: usize = 1_024;

/// There are as many traces as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{traces_max} traces run already; end one, or raise traces_max in [trace]")]
pub struct TooMany {
    pub traces_max: usize,
}

/// One node's.
#[derive(Debug)]
pub struct Tap {
    /// Traces and collectors: all that is looked at while there is none.
    listeners: AtomicUsize,
    traces: Mutex<Vec<Arc<Trace>>>,
    traces_max: usize,
    collector: Option<Collector>,
    lost: AtomicU64,
}

#[derive(Debug)]
struct Trace {
    whom: Whom,
    shows_numbers: bool,
    lines: mpsc::Sender<(u64, Line)>,
    /// Since the last line that was taken.
    lost: AtomicU64,
}

impl Tap {
    pub fn new(traces_max: usize, collector: Option<Collector>) -> Self {
        let listeners = AtomicUsize::new(usize::from(collector.is_some()));
        Self { listeners, traces: Mutex::default(), traces_max, collector, lost: AtomicU64::new(0) }
    }

    pub fn is_open(&self) -> bool {
        self.listeners.load(Ordering::Relaxed) != 0
    }

    /// Traces that run.
    pub fn traces(&self) -> usize {
        self.lock().len()
    }

    /// Lines and copies that were dropped because a listener was too slow.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed) + self.collector.as_ref().map_or(0, Collector::lost)
    }

    /// Follows `whom` for `length`, or until the tracing is dropped; `first` is told before anything else.
    pub fn begin(
        self: &Arc<Self>,
        whom: Whom,
        first: What,
        shows_numbers: bool,
        length: Duration,
    ) -> Result<Tracing, TooMany> {
        let (lines, taken) = mpsc::channel(TRACE_LINES_MAX);
        let trace = Arc::new(Trace { whom, shows_numbers, lines, lost: AtomicU64::new(0) });
        let mut traces = self.lock();
        if traces.len() >= self.traces_max {
            return Err(TooMany { traces_max: self.traces_max });
        }
        traces.push(trace.clone());
        self.listeners.fetch_add(1, Ordering::Relaxed);
        drop(traces);
        let until = Instant::now() + length;
        let next = Some(Line { at_us: now_us(), what: first });
        Ok(Tracing { tap: self.clone(), trace, taken, next, until, is_over: false })
    }

    /// A SIP message came.
    pub fn heard(&self, ends: impl FnOnce() -> Ends, message: &Message) {
        if self.is_open() {
            self.sip(Way::In, &ends(), message, &message.to_bytes());
        }
    }

    /// A SIP message goes out; what is none, as the answer to a ping, is nobody's.
    pub fn said(&self, ends: impl FnOnce() -> Ends, bytes: &Bytes) {
        if self.is_open()
            && let Ok(message) = Message::parse(bytes)
        {
            self.sip(Way::Out, &ends(), &message, bytes);
        }
    }

    fn sip(&self, way: Way, ends: &Ends, message: &Message, bytes: &Bytes) {
        let at_us = now_us();
        if let Some(collector) = &self.collector {
            collector.copy(at_us, way, ends, message, bytes);
        }
        for trace in self.all() {
            if trace.whom.is_in(message) {
                let text = String::from_utf8_lossy(bytes);
                let text = if trace.shows_numbers { text.into_owned() } else { masked_message(&text) };
                self.tell(&trace, Line { at_us, what: What::of_sip(way, ends, message, text) });
            }
        }
    }

    /// A session has begun here: if it is one of theirs, it is followed on its link, too.
    pub fn meets(&self, session: &SessionId, user: &str, device: &str) {
        if self.is_open() {
            for trace in self.all() {
                if trace.whom.has(user, device) {
                    trace.whom.meet(session.clone());
                }
            }
        }
    }

    /// A link says something to the PBX for a session, or hears it; `what`: its name and its XML.
    pub fn cti(&self, way: Way, link: &str, session: &SessionId, what: impl FnOnce() -> (String, Vec<u8>)) {
        if !self.is_open() {
            return;
        }
        let theirs: Vec<_> = self.all().into_iter().filter(|trace| trace.whom.has_session(session)).collect();
        if theirs.is_empty() {
            return;
        }
        let (at_us, (summary, xml)) = (now_us(), what());
        for trace in theirs {
            let text = String::from_utf8_lossy(&xml);
            let text = if trace.shows_numbers { text.into_owned() } else { masked_xml(&text) };
            let what = What::Cti { way, link: link.to_owned(), summary: summary.clone(), text };
            self.tell(&trace, Line { at_us, what });
        }
    }

    fn tell(&self, trace: &Trace, line: Line) {
        let lost = trace.lost.swap(0, Ordering::Relaxed);
        if trace.lines.try_send((lost, line)).is_err() {
            trace.lost.fetch_add(lost + 1, Ordering::Relaxed);
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Few: nothing is told under the lock.
    fn all(&self) -> Vec<Arc<Trace>> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Trace>>> {
        self.traces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One trace, as long as it is held.
#[derive(Debug)]
pub struct Tracing {
    tap: Arc<Tap>,
    trace: Arc<Trace>,
    taken: mpsc::Receiver<(u64, Line)>,
    /// Behind the news of how many were lost before it.
    next: Option<Line>,
    until: Instant,
    is_over: bool,
}

impl Tracing {
    /// In the order it happened, [`What::Ended`] last, and then `None`.
    pub async fn next(&mut self) -> Option<Line> {
        if let Some(line) = self.next.take() {
            return Some(line);
        }
        if self.is_over {
            return None;
        }
        match timeout_at(self.until, self.taken.recv()).await {
            Ok(Some((0, line))) => Some(line),
            Ok(Some((count, line))) => {
                let lost = Line { at_us: line.at_us, what: What::Lost { count } };
                self.next = Some(line);
                Some(lost)
            }
            Ok(None) | Err(_) => {
                self.is_over = true;
                let ended = Line { at_us: now_us(), what: What::Ended { why: "its time is over".to_owned() } };
                match self.trace.lost.swap(0, Ordering::Relaxed) {
                    0 => Some(ended),
                    count => {
                        self.next = Some(ended);
                        Some(Line { at_us: now_us(), what: What::Lost { count } })
                    }
                }
            }
        }
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        self.tap.lock().retain(|trace| !Arc::ptr_eq(trace, &self.trace));
        self.tap.listeners.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(super) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
