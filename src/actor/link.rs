//! The carrier of one CTI link: its connection, its sessions, and nothing it decides by itself.
//!
//! What the link does is decided by [`machine::link`](crate::machine::link), who recovers next by
//! [`machine::recovery`](crate::machine::recovery), and what bytes mean by a [`Driver`]. Start it on an arbiter or in a
//! local set; sessions bind to it with the mail of [`mail`](crate::actor::mail). A link that was restarted knows no
//! session: whoever restarts it has them bind again.

mod clock;
mod connection;
mod inbox;
mod mail_in;
mod sessions;
mod shown;
mod status;
mod timers;

#[cfg(test)]
mod tests;

pub use status::{AskStatus, DrainLink, LinkStatus, StartLink};

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix::prelude::*;
use tokio::sync::watch;

use self::clock::LinkClock;
use self::connection::Connection;
use self::inbox::Delivery;
use self::sessions::Sessions;
use super::mail::FromLink;
use crate::csta::{Event, EventBody, MonitorObject, Outcome, Service};
use crate::cti::csta_tcp::CstaTcp;
use crate::cti::dmcc::Dmcc;
use crate::cti::{AskId, Connector, Dialect, Driver, In, LinkConfig, LinkFailed};
use crate::id::{Moment, SessionId};
use crate::machine::link::{Effect, Heard, Input, Link, LinkState, Say, Ticket, Trouble};
use crate::machine::recovery::Recovery;
use crate::trace::Tap;

/// Mail the link takes before it refuses; what it refuses a session counts as not sent.
const MAILBOX_MAX: usize = 4_096;
/// A full session mailbox is tried again after this.
const FLUSH_MS: u64 = 20;
/// Monitors of departed sessions that are stopped at a time, so that a thousand sign-outs leave room for services.
const STOPS_OPEN_MAX: usize = 16;

/// The actor of one link.
pub struct LinkActor {
    config: LinkConfig,
    connector: Arc<dyn Connector>,
    driver: Box<dyn Driver>,
    machine: Link,
    clock: LinkClock,
    chance: u64,
    connection: Option<Connection>,
    sessions: Sessions,
    recovery: Recovery,
    asks: HashMap<Ticket, Pending>,
    tickets: u64,
    /// Monitors nobody wants any more; at most as many as the PBX runs for this link.
    to_stop: VecDeque<Arc<str>>,
    stops_open: usize,
    stuck: HashSet<SessionId>,
    flush_armed: bool,
    wake: Option<(Moment, SpawnHandle)>,
    state: watch::Sender<LinkState>,
    stray_events: u64,
    missed_events: u64,
    times_up: Arc<AtomicU64>,
    tap: Arc<Tap>,
}

/// Who waits for a ticket.
struct Pending {
    owner: Owner,
    /// Until it is sent.
    service: Option<Service>,
    effect: OnSuccess,
}

enum Owner {
    Session {
        session: SessionId,
        ask: AskId,
    },
    /// The session has gone.
    Nobody,
    /// The link, stopping a monitor.
    Link,
}

/// What an answer changes in the link's own tables.
enum OnSuccess {
    Nothing,
    /// A monitor runs on this device.
    Monitor {
        device: String,
    },
    /// This monitor is gone.
    MonitorStop {
        xref: String,
    },
}

impl LinkActor {
    pub fn new(config: LinkConfig, connector: Arc<dyn Connector>) -> Self {
        let driver: Box<dyn Driver> = match config.dialect {
            Dialect::Csta => Box::new(CstaTcp::new(&config)),
            Dialect::Dmcc => Box::new(Dmcc::new(&config)),
        };
        Self::with_driver(config, connector, driver)
    }

    pub fn with_driver(config: LinkConfig, connector: Arc<dyn Connector>, driver: Box<dyn Driver>) -> Self {
        Self {
            machine: Link::new(config.timing()),
            recovery: Recovery::new(config.recovery_window, config.recovery_guard_ms()),
            config,
            connector,
            driver,
            clock: LinkClock::start(),
            chance: seed(),
            connection: None,
            sessions: Sessions::default(),
            asks: HashMap::new(),
            tickets: 0,
            to_stop: VecDeque::new(),
            stops_open: 0,
            stuck: HashSet::new(),
            flush_armed: false,
            wake: None,
            state: watch::Sender::new(LinkState::Down),
            stray_events: 0,
            missed_events: 0,
            times_up: Arc::default(),
            tap: Arc::new(Tap::new(0, None)),
        }
    }

    /// Counts there how often the link comes up.
    pub fn counting(self, times_up: Arc<AtomicU64>) -> Self {
        Self { times_up, ..self }
    }

    /// Shows there what sessions say and hear.
    pub fn tapped(self, tap: Arc<Tap>) -> Self {
        Self { tap, ..self }
    }

    /// The state as it changes; take it before starting the actor. A closed watch means that the actor is gone.
    pub fn watch_state(&self) -> watch::Receiver<LinkState> {
        self.state.subscribe()
    }

    fn step(&mut self, input: Input, ctx: &mut Context<Self>) {
        let mut todo = VecDeque::from([input]);
        while let Some(input) = todo.pop_front() {
            let now = self.clock.now();
            let jitter = self.jitter();
            for effect in self.machine.step(input, now, jitter) {
                todo.extend(self.carry_out(effect, now, ctx));
            }
        }
        self.after_step(ctx);
    }

    fn after_step(&mut self, ctx: &mut Context<Self>) {
        let state = self.machine.state();
        self.state.send_if_modified(|known| std::mem::replace(known, state) != state);
        self.arm_flush(ctx);
        self.arm_wake(ctx);
    }

    fn carry_out(&mut self, effect: Effect, now: Moment, ctx: &mut Context<Self>) -> Option<Input> {
        match effect {
            Effect::Connect { generation } => {
                tracing::debug!(link = %self.config.name, generation, "connecting");
                let connecting = self.connector.connect(&self.config.address());
                self.connection = Some(Connection::open(generation, connecting, ctx.address().downgrade()));
            }
            Effect::Disconnect { generation } => {
                if self.connection.as_ref().is_some_and(|connection| connection.generation == generation) {
                    self.connection = None;
                }
            }
            Effect::Say(say) => {
                if say == Say::Login {
                    self.driver.connected();
                }
                self.say(say, now);
            }
            Effect::Send { ticket } => return self.send(ticket, now),
            Effect::Settle { ticket, result } => self.settle(ticket, result, now),
            Effect::Report(event) => self.report(event),
            Effect::Up { generation, resumed } => self.come_up(generation, resumed, now),
            Effect::EventsLost => self.recover_all(now),
            Effect::Down { trouble } => self.go_down(&trouble),
        }
        None
    }

    /// A sentence that cannot be said is a silence; the machine's deadlines deal with it.
    fn say(&mut self, say: Say, now: Moment) {
        let Some(room) = self.connection.as_ref().and_then(Connection::room) else { return };
        match self.driver.say(say, now) {
            Ok(bytes) => room.send(bytes),
            Err(unsayable) => tracing::warn!(link = %self.config.name, ?say, %unsayable, "sentence not said"),
        }
    }

    fn send(&mut self, ticket: Ticket, now: Moment) -> Option<Input> {
        let service = self.asks.get_mut(&ticket).and_then(|pending| pending.service.take());
        let room = self.connection.as_ref().and_then(Connection::room);
        let (Some(service), Some(room)) = (service, room) else { return Some(Input::NotTaken { ticket }) };
        match self.driver.send(ticket, &service, now) {
            Ok(bytes) => {
                room.send(bytes);
                if let Some(Pending { owner: Owner::Session { session, .. }, .. }) = self.asks.get(&ticket) {
                    shown::said(&self.tap, &self.config.name, session, service);
                }
                None
            }
            Err(unsayable) => {
                tracing::warn!(link = %self.config.name, %unsayable, "service not sent");
                Some(Input::NotTaken { ticket })
            }
        }
    }

    fn settle(&mut self, ticket: Ticket, result: Result<Outcome, LinkFailed>, now: Moment) {
        let Some(pending) = self.asks.remove(&ticket) else { return };
        if result == Err(LinkFailed::TimedOut) {
            self.driver.abandon(ticket, now);
        }
        match (&pending.effect, &result) {
            (OnSuccess::Monitor { device }, Ok(Outcome::MonitorStart { xref, .. })) => match &pending.owner {
                Owner::Session { session, .. } => self.sessions.route(session, xref, device),
                Owner::Nobody | Owner::Link => self.to_stop.push_back(xref.as_str().into()),
            },
            // A monitor the PBX does not know is stopped, too.
            (OnSuccess::MonitorStop { xref }, Ok(_)) => self.sessions.unroute(xref),
            _ => {}
        }
        if let Owner::Session { session, .. } = &pending.owner {
            shown::heard(&self.tap, &self.config.name, session, &result);
        }
        match pending.owner {
            Owner::Session { session, ask } => self.deliver(&session, FromLink::Settled { ask, result }),
            Owner::Nobody => {}
            Owner::Link => self.stops_open -= 1,
        }
    }

    fn report(&mut self, event: Event) {
        let Some(session) = self.sessions.routed(&event.xref).cloned() else {
            self.stray_events += 1;
            return;
        };
        shown::reported(&self.tap, &self.config.name, &session, &event);
        if event.body == EventBody::MonitorStopped {
            self.sessions.unroute(&event.xref);
        }
        // One that waits for its turn to recover takes a snapshot then.
        if self.sessions.of_mut(&session).is_some_and(|bound| bound.knows_up) {
            self.deliver(&session, FromLink::Event(event));
        }
    }

    fn come_up(&mut self, generation: u64, resumed: bool, now: Moment) {
        tracing::info!(link = %self.config.name, generation, resumed, sessions = self.sessions.len(), "link up");
        self.times_up.fetch_add(1, Ordering::Relaxed);
        self.sessions.begin_generation(resumed);
        if !resumed {
            self.to_stop.clear();
        }
        self.recover_all(now);
    }

    fn recover_all(&mut self, now: Moment) {
        for (session, bound) in self.sessions.all_mut() {
            self.recovery.wait(session.clone(), bound.has_calls);
        }
        self.admit(now);
    }

    /// Lets sessions recover while the window has room.
    fn admit(&mut self, now: Moment) {
        while let Some(session) = self.recovery.admit(now) {
            let generation = self.machine.generation();
            let Some(bound) = self.sessions.of_mut(&session) else { continue };
            let mail = if bound.knows_up { FromLink::Missed } else { FromLink::Up { generation } };
            bound.knows_up = true;
            self.deliver(&session, mail);
        }
    }

    fn go_down(&mut self, trouble: &Trouble) {
        match trouble {
            Trouble::Drained => tracing::info!(link = %self.config.name, "link drained"),
            Trouble::LoginRefused(_) => tracing::error!(
                link = %self.config.name, %trouble, "the PBX refuses the log-in: check user, password and licence"
            ),
            _ => tracing::warn!(link = %self.config.name, %trouble, "link down"),
        }
        self.recovery.clear();
        let told: Vec<_> = self
            .sessions
            .all_mut()
            .filter_map(|(session, bound)| std::mem::take(&mut bound.knows_up).then(|| session.clone()))
            .collect();
        for session in told {
            self.deliver(&session, FromLink::Down);
        }
    }

    fn deliver(&mut self, session: &SessionId, mail: FromLink) {
        let Some(bound) = self.sessions.of_mut(session) else { return };
        let is_event = matches!(mail, FromLink::Event(_));
        match bound.inbox.deliver(mail) {
            Delivery::Done => {}
            Delivery::Stuck => {
                self.missed_events += u64::from(is_event);
                if !self.stuck.contains(session) {
                    self.stuck.insert(session.clone());
                }
            }
            // Nobody recovers there; the next bind will.
            Delivery::Gone => self.recovery.leave(session),
        }
    }

    fn arrived(&mut self, generation: u64, bytes: &[u8], ctx: &mut Context<Self>) {
        if !self.machine.is_current(generation) {
            return;
        }
        let now = self.clock.now();
        let said = match self.driver.received(bytes, now) {
            Ok(said) => said,
            Err(broken) => {
                tracing::warn!(link = %self.config.name, %broken, "the PBX cannot be understood");
                return self.step(Input::Closed { generation, trouble: Trouble::ProtocolViolated }, ctx);
            }
        };
        for what in said {
            match what {
                In::Heard(heard) => self.step(Input::Heard { generation, heard }, ctx),
                In::Write(bytes) => {
                    if !self.write(bytes) {
                        return self.step(Input::Closed { generation, trouble: Trouble::PbxNotReading }, ctx);
                    }
                }
                In::EventUnreadable { xref } => {
                    self.step(Input::Heard { generation, heard: Heard::Noise }, ctx);
                    let session = xref.and_then(|xref| self.sessions.routed(&xref).cloned());
                    tracing::warn!(link = %self.config.name, ?session, "an event cannot be read");
                    if let Some(session) = session {
                        self.deliver(&session, FromLink::Missed);
                    }
                }
            }
        }
        self.stop_monitors(ctx);
        self.after_step(ctx);
    }

    fn write(&self, bytes: Vec<u8>) -> bool {
        let room = self.connection.as_ref().and_then(Connection::room);
        room.map(|room| room.send(bytes)).is_some()
    }

    fn ask(&mut self, owner: Owner, service: Service, timeout_ms: u64, ctx: &mut Context<Self>) {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let effect = match &service {
            Service::MonitorStart { object: MonitorObject::Device(device), .. } => {
                OnSuccess::Monitor { device: device.clone() }
            }
            Service::MonitorStart { object: MonitorObject::Call(call), .. } => {
                OnSuccess::Monitor { device: call.device.clone() }
            }
            Service::MonitorStop { xref } => OnSuccess::MonitorStop { xref: xref.clone() },
            _ => OnSuccess::Nothing,
        };
        self.asks.insert(ticket, Pending { owner, service: Some(service), effect });
        self.step(Input::Ask { ticket, timeout_ms }, ctx);
    }

    fn stop_monitors(&mut self, ctx: &mut Context<Self>) {
        while self.machine.state() == LinkState::Up && self.stops_open < STOPS_OPEN_MAX {
            let Some(xref) = self.to_stop.pop_front() else { return };
            self.stops_open += 1;
            let stop = Service::MonitorStop { xref: xref.as_ref().into() };
            self.ask(Owner::Link, stop, self.config.request_timeout_ms, ctx);
        }
    }
}

fn seed() -> u64 {
    getrandom::u64().unwrap_or(0).max(1)
}

impl Actor for LinkActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX_MAX);
        self.step(Input::Start, ctx);
    }

    /// Nobody is left waiting for an answer.
    fn stopped(&mut self, _: &mut Self::Context) {
        self.connection = None;
        for (_, pending) in std::mem::take(&mut self.asks) {
            if let Owner::Session { session, ask } = pending.owner {
                let result = Err(if pending.service.is_some() { LinkFailed::NotSent } else { LinkFailed::Lost });
                self.deliver(&session, FromLink::Settled { ask, result });
            }
        }
        self.go_down(&Trouble::Drained);
    }
}
