//! Everything a session can ask of the world: a closed list.

use super::input::FlowId;
use crate::csta::Service;
use crate::id::Moment;
use crate::machine::ask::AskId;
use crate::sip::Message;

/// One thing to be carried out, in order, after the record is committed.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Answer a request on the flow it came on. If the flow is gone the answer is dropped: the far side repeats its
    /// request and gets the recorded answer.
    Respond { flow: FlowId, message: Message },
    /// Send a request of ours to `next_hop`, over a living flow from there or a new one. Failing that:
    /// [`super::input::Input::Undeliverable`].
    Send { message: Message, next_hop: NextHop },
    /// Put a service to the PBX; answered by `Settled` before `deadline`.
    Invoke { ask: AskId, service: Service, deadline: Moment },
    /// The link may let the next session recover.
    Recovered,
    /// The number of calls went to or from zero.
    HasCalls(bool),
    /// Something for the log and the counters.
    Note(Note),
    /// The session is over: the record is deleted, nothing follows.
    End(EndReason),
}

/// Where a request of ours goes first (RFC 3261 §8.1.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NextHop {
    pub host: String,
    pub port: u16,
    pub secure: bool,
}

/// Why a session ended; each is counted under its `name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    SignedOut,
    Expired,
    /// The far side says the dialog or the endpoint is gone (481, 410, 404).
    Gone,
    /// No ACK and no request followed our 200.
    NeverConfirmed,
    RouteLost,
    Superseded,
    Closed,
}

impl EndReason {
    pub const ALL: [Self; 7] = [
        Self::SignedOut,
        Self::Expired,
        Self::Gone,
        Self::NeverConfirmed,
        Self::RouteLost,
        Self::Superseded,
        Self::Closed,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::SignedOut => "signed_out",
            Self::Expired => "expired",
            Self::Gone => "gone",
            Self::NeverConfirmed => "never_confirmed",
            Self::RouteLost => "route_lost",
            Self::Superseded => "superseded",
            Self::Closed => "closed",
        }
    }
}

/// What the carrier should tell and count. Healed by itself unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A request's CSeq was lower than one already seen, and was accepted (tolerant mode).
    LateCSeq { seen: u32, got: u32 },
    /// An event INFO got no answer in time.
    EventUnanswered,
    /// An event INFO was answered with this status; the event is not repeated.
    EventDisliked { status: u16 },
    /// The front end does not trust us (401, 403, 407): a person must act.
    NotTrusted { status: u16 },
    /// Events were dropped because the client could not be reached; a reconciliation follows.
    OutboxOverflow,
    /// Reconciliation after a link or flow loss sent this many events.
    Reconciled { events: usize },
    /// The PBX refused or did not answer the monitor.
    MonitorFailed,
    /// The PBX gave no usable snapshot; the client keeps its view until the next one.
    SnapshotFailed,
    /// A CSTA body could not be read.
    BadBody,
    /// What became of a command whose answer was lost with its link or its node.
    Settled { service: &'static str, verdict: &'static str },
}

impl Note {
    /// Stable name in counters and log lines.
    pub fn name(&self) -> &'static str {
        match self {
            Self::LateCSeq { .. } => "late_cseq",
            Self::EventUnanswered => "event_unanswered",
            Self::EventDisliked { .. } => "event_disliked",
            Self::NotTrusted { .. } => "not_trusted",
            Self::OutboxOverflow => "outbox_overflow",
            Self::Reconciled { .. } => "reconciled",
            Self::MonitorFailed => "monitor_failed",
            Self::SnapshotFailed => "snapshot_failed",
            Self::BadBody => "bad_body",
            Self::Settled { .. } => "settled",
        }
    }
}
