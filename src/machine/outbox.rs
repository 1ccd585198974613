//! Events on their way to the client: INFO requests, one in flight a dialog, in order, bounded.
//!
//! ```text
//!            send                     200, 500, 4xx "disliked", no answer
//!   Idle ───────────▶ InFlight ──────────────────────────────────────────▶ Idle
//!                      │   │ 480, 408, 503, 504, undeliverable
//!                      │   └────────────▶ Resting(until) ── until ──▶ InFlight (same event, next attempt)
//!                      │                      │ after 64 s of it
//!                      │ 430 wait,            ▼
//!                      │ repeated in vain
//!                      └────────────────▶ Held ── UPDATE, re-INVITE ──▶ Idle
//! ```

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::csta::EventBody;
use crate::id::Moment;
use crate::mutant::{Mutant, mutant};

/// Events waiting in one session. One more and all are dropped: when the client can be reached again it is told the
/// difference between what it saw and what is true, which is never more than a few events.
pub const WAITING_MAX: usize = 64;
/// An event that an answering client does not answer goes out again this often, the same each time; then it is held.
pub const REPEATS_MAX: u8 = 5;
/// A temporarily unreachable client is tried again for this long (rcc sheet, answers to event INFOs).
pub const REST_TOTAL_MAX_MS: u64 = 64_000;

/// One INFO to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outgoing {
    /// An event for one monitor, by index of its cross-reference id.
    Event { xref: String, body: Box<EventBody> },
    /// An INFO without body, so that the front end and the client know that we live and we that they do.
    KeepAlive,
    /// UPDATE without Route, to have the front end record a fresh route set.
    RepairRoute,
}

impl Outgoing {
    /// The call the event is about.
    pub fn call(&self) -> Option<&str> {
        match self {
            Self::Event { body, .. } => body.call(),
            Self::KeepAlive | Self::RepairRoute => None,
        }
    }
}

/// What is on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    pub cseq: u32,
    pub outgoing: Outgoing,
    /// When to go on without an answer.
    pub wait_until: Moment,
}

/// See the diagram above.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Lane {
    #[default]
    Idle,
    InFlight(InFlight),
    Resting {
        until: Moment,
        outgoing: Outgoing,
    },
    Held,
}

/// The queue and its lane.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Outbox {
    pub lane: Lane,
    /// Was on the wire and came back: goes out before all that wait. Never dropped, because the view of what the client
    /// has seen counts it already.
    #[serde(default)]
    pub returned: Option<Outgoing>,
    pub waiting: VecDeque<Outgoing>,
    /// Set while a rest goes on over several attempts of one event.
    pub rested_ms: u64,
    /// The event that waits to be sent again has its CSeq already: it may have arrived in a former life of this session, and
    /// the far side takes only the same number for the same event.
    #[serde(default)]
    pub is_numbered: bool,
    /// Call events were dropped: reconcile when the lane is free.
    pub is_stale: bool,
    /// The route was repaired and nothing has arrived since.
    #[serde(default)]
    pub is_repaired: bool,
    /// This client answers events (pidgin-sipe answers none): one that it does not answer has not arrived.
    #[serde(default)]
    pub is_answering: bool,
    /// How often the event on the wire was repeated.
    #[serde(default)]
    pub repeats: u8,
}

impl Outbox {
    /// Queues an INFO; `false` when the queue overflowed. Events of calls are then dropped, all of them, because a
    /// reconciliation tells them again; of the others, which nothing tells again, the oldest goes.
    pub fn push(&mut self, outgoing: Outgoing) -> bool {
        if self.is_stale && outgoing.call().is_some() {
            return true;
        }
        if mutant(Mutant::EventOutOfOrder) && self.waiting.len() < WAITING_MAX {
            self.waiting.push_front(outgoing);
            return true;
        }
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(outgoing);
            return true;
        }
        if outgoing == Outgoing::KeepAlive {
            return true;
        }
        self.make_stale();
        if outgoing.call().is_none() {
            if self.waiting.len() >= WAITING_MAX {
                self.waiting.pop_front();
            }
            self.waiting.push_back(outgoing);
        }
        false
    }

    /// Drops the events of calls: the difference is told instead, when the lane is free.
    pub fn make_stale(&mut self) {
        self.waiting.retain(|waiting| waiting.call().is_none());
        self.is_stale = true;
    }

    /// What goes out next. A route to be repaired comes first: nothing else arrives without.
    pub fn pop(&mut self) -> Option<Outgoing> {
        if self.waiting.front() == Some(&Outgoing::RepairRoute) {
            return self.waiting.pop_front();
        }
        self.returned.take().or_else(|| self.waiting.pop_front())
    }

    /// The monitors of these events are gone.
    pub fn drop_events(&mut self, is_gone: impl Fn(&Outgoing) -> bool) {
        self.waiting.retain(|waiting| !is_gone(waiting));
        if self.returned.as_ref().is_some_and(&is_gone) {
            self.returned = None;
        }
        if matches!(&self.lane, Lane::Resting { outgoing, .. } if is_gone(outgoing)) {
            self.lane = Lane::Idle;
        }
    }

    pub fn has_call_events(&self) -> bool {
        self.waiting.iter().any(|waiting| waiting.call().is_some())
    }

    pub fn room(&self) -> usize {
        WAITING_MAX.saturating_sub(self.waiting.len())
    }

    /// An INFO has arrived.
    pub fn answered(&mut self) {
        self.rested_ms = 0;
        self.is_repaired = false;
        self.is_answering = true;
        self.repeats = 0;
    }

    pub fn deadline(&self) -> Option<Moment> {
        match &self.lane {
            Lane::Idle | Lane::Held => None,
            Lane::InFlight(flight) => Some(flight.wait_until),
            Lane::Resting { until, .. } => Some(*until),
        }
    }

    /// The far side is there again: what was held or resting goes out next.
    pub fn release(&mut self) {
        match std::mem::take(&mut self.lane) {
            Lane::Resting { outgoing, .. } => self.returned = Some(outgoing),
            Lane::Idle | Lane::Held => {}
            lane @ Lane::InFlight(_) => self.lane = lane,
        }
        self.rested_ms = 0;
    }
}
