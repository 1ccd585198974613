//! Events on their way to the client: INFO requests, one in flight a dialog, in order, bounded.
//!
//! ```text
//!            send                     200, 500, 4xx "disliked", no answer
//!   Idle ───────────▶ InFlight ──────────────────────────────────────────▶ Idle
//!                      │   │ 480, 408, 503, 504, undeliverable
//!                      │   └────────────▶ Resting(until) ── until ──▶ InFlight (same event, next attempt)
//!                      │                      │ after 64 s of it
//!                      │ 430 wait             ▼
//!                      └────────────────▶ Held ── UPDATE, re-INVITE ──▶ Idle
//! ```

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::csta::EventBody;
use crate::id::Moment;

/// Events waiting in one session. One more and all are dropped: when the client can be reached again it is told the
/// difference between what it saw and what is true, which is never more than a few events.
pub const WAITING_MAX: usize = 64;
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
    pub waiting: VecDeque<Outgoing>,
    /// Set while a rest goes on over several attempts of one event.
    pub rested_ms: u64,
    /// Events were dropped: reconcile when the lane is free.
    pub is_stale: bool,
}

impl Outbox {
    /// Queues an event; `false` when the queue overflowed and was dropped.
    pub fn push(&mut self, outgoing: Outgoing) -> bool {
        if self.is_stale && matches!(outgoing, Outgoing::Event { .. }) {
            return true;
        }
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(outgoing);
            return true;
        }
        self.waiting.retain(|waiting| !matches!(waiting, Outgoing::Event { .. }));
        self.is_stale = true;
        false
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
            Lane::Resting { outgoing, .. } => self.waiting.push_front(outgoing),
            Lane::Idle | Lane::Held => {}
            lane @ Lane::InFlight(_) => self.lane = lane,
        }
        self.rested_ms = 0;
    }
}
