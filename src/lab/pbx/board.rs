//! The switchboard: the call model, and everybody who is connected to it. All of it under one lock, nothing waits.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use super::fault::Faults;
use super::history::{Happening, History, SessionTurn};
use super::model::{Applied, Due, Model};
use super::options::PbxOptions;
use super::session::{Dialect, Session};
use crate::csta::{Event, EventBody, Payload, encode};
use crate::cti::frame;

/// A frame on its way out; not before a time when a fault delays it.
#[derive(Debug)]
pub struct Outgoing {
    pub bytes: Vec<u8>,
    pub not_before: Option<Instant>,
}

/// How long a flow may go on. Its tasks watch this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Open,
    /// Close, once the link is not frozen: a frozen process closes nothing.
    Closing,
    /// Close at once.
    Killed,
}

/// The board's end of one TCP connection.
pub struct FlowEnd {
    pub link: usize,
    pub peer: SocketAddr,
    pub outbox: mpsc::Sender<Outgoing>,
    pub life: watch::Sender<Life>,
    pub session: Option<u64>,
    /// Invoke ids of our own requests.
    pub next_invoke: u16,
}

/// One listening address.
pub struct Link {
    pub name: String,
    pub faults: Faults,
    pub is_frozen: watch::Sender<bool>,
    pub refuses: watch::Sender<bool>,
}

/// A monitor on a device.
#[derive(Debug)]
pub struct Monitor {
    pub session: u64,
    pub xref: Arc<str>,
}

/// What has been going on, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    pub services: u64,
    pub answers: u64,
    pub events: u64,
    /// Events of monitors whose session had no connection at the time.
    pub events_lost: u64,
    pub flows: usize,
    pub flows_overflowed: u64,
    pub flows_malformed: u64,
    pub sessions: usize,
    pub monitors: usize,
    pub calls: usize,
    pub devices: usize,
    pub timers: usize,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Task {
    Model(Due),
    Expire(u64),
    CleanUp(u64),
}

pub struct Board {
    pub(super) options: PbxOptions,
    pub(super) model: Model,
    pub(super) links: Vec<Link>,
    pub(super) flows: HashMap<u64, FlowEnd>,
    pub(super) sessions: BTreeMap<u64, Session>,
    pub(super) monitors: HashMap<Arc<str>, Vec<Monitor>>,
    pub(super) history: History,
    pub(super) stats: Stats,
    pub(super) next_id: u64,
    pub(super) next_xref: u64,
    timers: BinaryHeap<Reverse<(Instant, u64, Task)>>,
    timers_purged_above: usize,
    started: Instant,
    wake: Arc<Notify>,
}

/// Timers that have become pointless are thrown away when there are more than this, and twice as many as last time.
const TIMERS_PURGED_ABOVE: usize = 4_096;

impl Board {
    /// `wake` is notified whenever the next timer has moved closer.
    pub fn new(options: PbxOptions, model: Model, links: Vec<Link>, wake: Arc<Notify>) -> Self {
        Self {
            history: History::new(options.history_entries_max),
            options,
            model,
            links,
            flows: HashMap::new(),
            sessions: BTreeMap::new(),
            monitors: HashMap::new(),
            stats: Stats::default(),
            next_id: 1,
            next_xref: 0,
            timers: BinaryHeap::new(),
            timers_purged_above: TIMERS_PURGED_ABOVE,
            started: Instant::now(),
            wake,
        }
    }

    pub fn stats(&self) -> Stats {
        Stats {
            flows: self.flows.len(),
            sessions: self.sessions.len(),
            calls: self.model.calls_count(),
            devices: self.model.devices_count(),
            timers: self.timers.len(),
            ..self.stats.clone()
        }
    }

    pub(super) fn record(&mut self, what: Happening) {
        let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.history.add(ms, what);
    }

    /// A new connection on a link; `None` when there are too many.
    pub fn connected(
        &mut self,
        link: usize,
        peer: SocketAddr,
        outbox: mpsc::Sender<Outgoing>,
        life: watch::Sender<Life>,
    ) -> Option<u64> {
        if self.flows.len() >= self.options.connections_max {
            return None;
        }
        let id = self.new_id();
        self.flows.insert(id, FlowEnd { link, peer, outbox, life, session: None, next_invoke: 1 });
        Some(id)
    }

    pub(super) fn new_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// The connection is gone, or has to go.
    pub fn close(&mut self, flow: u64, life: Life) {
        let Some(end) = self.flows.remove(&flow) else { return };
        end.life.send_replace(life);
        if let Some(session) = end.session {
            self.lose_session(session, end.peer);
        }
    }

    /// Bytes that make no sense arrived: the connection ends here.
    pub fn malformed(&mut self, flow: u64) {
        self.stats.flows_malformed += 1;
        self.close(flow, Life::Closing);
    }

    pub(super) fn flows_of(&self, link: usize) -> Vec<u64> {
        let mut flows: Vec<u64> = self.flows.iter().filter(|(_, end)| end.link == link).map(|(id, _)| *id).collect();
        flows.sort_unstable();
        flows
    }

    /// Queues a frame. A flow that does not take its frames is closed.
    pub(super) fn send(&mut self, flow: u64, invoke: u16, body: &[u8], not_before: Option<Instant>) {
        let Some(end) = self.flows.get(&flow) else { return };
        // Only a snapshot of hundreds of calls at one device could be too long; like a dropped answer, it times out.
        let Ok(bytes) = frame::encode(invoke, body) else { return };
        if end.outbox.try_send(Outgoing { bytes, not_before }).is_err() {
            self.stats.flows_overflowed += 1;
            self.close(flow, Life::Closing);
        }
    }

    /// An answer, as the link's faults let it out. Gives whether it went.
    pub(super) fn answer(&mut self, flow: u64, invoke: u16, body: &[u8]) -> bool {
        let Some(end) = self.flows.get(&flow) else { return false };
        let faults = &mut self.links[end.link].faults;
        let copies = faults.copies_of_next_answer();
        let not_before = faults.answer_delay().map(|delay| Instant::now() + delay);
        for _ in 0..copies {
            self.stats.answers += 1;
            self.send(flow, invoke, body, not_before);
        }
        copies > 0
    }

    /// Tells the monitors, and sets the timers. Answers must have been queued before.
    pub(super) fn carry_out(&mut self, applied: Applied) {
        for later in applied.later {
            self.set_timer(Duration::from_millis(later.after_ms), Task::Model(later.what));
        }
        for (device, body) in applied.events {
            if self.options.history_has_events {
                self.record(Happening::Event { device: device.to_string(), event: body.clone() });
            }
            self.tell(&device, body);
        }
    }

    fn tell(&mut self, device: &str, body: EventBody) {
        let Some(monitors) = self.monitors.get(device) else { return };
        let mut ready = Vec::with_capacity(monitors.len());
        for monitor in monitors {
            let Some(session) = self.sessions.get(&monitor.session) else { continue };
            let Some(flow) = session.flow else {
                self.stats.events_lost += 1;
                continue;
            };
            let mut event = Event { xref: monitor.xref.to_string(), body: body.clone() };
            if let Dialect::Dmcc { switch, .. } = &session.dialect {
                event.for_each_connection_mut(|connection| self.rename(&mut connection.device, switch));
                event.for_each_device_mut(|device| {
                    if let crate::csta::DeviceRef::Device(name) = device {
                        self.rename(name, switch);
                    }
                });
            }
            ready.push((flow, encode(&Payload::Event(event), &session.namespace)));
        }
        for (flow, body) in ready {
            self.stats.events += 1;
            self.send(flow, frame::EVENT_ID, &body, None);
        }
    }

    /// Our devices' opaque ids in the DMCC dialect.
    pub(super) fn rename(&self, name: &mut String, switch: &str) {
        if self.model.device_named(name).is_some_and(|device| *device.name == **name) {
            name.push(':');
            name.push_str(switch);
            name.push_str("::0");
        }
    }

    pub(super) fn set_timer(&mut self, after: Duration, task: Task) {
        let at = Instant::now() + after;
        if self.timers.len() >= self.timers_purged_above {
            let model = &self.model;
            self.timers.retain(|Reverse((_, _, task))| match task {
                Task::Model(due) => model.is_still_due(due),
                Task::Expire(_) | Task::CleanUp(_) => true,
            });
            self.timers_purged_above = (self.timers.len() * 2).max(TIMERS_PURGED_ABOVE);
        }
        let is_next = self.timers.peek().is_none_or(|Reverse((next, ..))| at < *next);
        let id = self.new_id();
        self.timers.push(Reverse((at, id, task)));
        if is_next {
            self.wake.notify_one();
        }
    }

    /// Does what is due, and gives the time of the next timer.
    pub fn run_timers(&mut self) -> Option<Instant> {
        let now = Instant::now();
        loop {
            match self.timers.peek() {
                Some(Reverse((at, ..))) if *at <= now => {}
                Some(Reverse((at, ..))) => return Some(*at),
                None => return None,
            }
            let Reverse((_, _, task)) = self.timers.pop()?;
            match task {
                Task::Model(due) if self.model.is_still_due(&due) => {
                    self.record(Happening::Timer { what: format!("{due:?}") });
                    let applied = self.model.due(&due);
                    self.carry_out(applied);
                }
                Task::Model(_) => {}
                Task::Expire(session) => self.expire(session, now),
                Task::CleanUp(session) => self.clean_up(session, now),
            }
        }
    }

    pub(super) fn record_turn(&mut self, session: u64, peer: Option<SocketAddr>, turn: SessionTurn) {
        let Some(session) = self.sessions.get(&session) else { return };
        let what = Happening::Session {
            link: self.links[session.link].name.clone(),
            peer,
            application: session.application.clone(),
            session: session.name.clone(),
            turn,
        };
        self.record(what);
    }
}
