//! The mail between flows, session actors and link actors.

use std::sync::Arc;

use actix::{Message, Recipient};

use super::book::Place;
use super::node::Node;
use super::unheard;
use crate::csta::{Event, Outcome, Service};
use crate::cti::{AskId, LinkFailed};
use crate::id::SessionId;
use crate::machine::input::FlowId;
use crate::sip;

/// Session → link: this session lives on this link. Answered by [`FromLink::Down`] at once when the link is not up;
/// when it is, by [`FromLink::Up`], at once while the recovery window has room, else in its turn. A second `Bind` of the
/// same session replaces the first (restart, takeover).
#[derive(Message)]
#[rtype(result = "()")]
pub struct Bind {
    pub session: SessionId,
    pub inbox: Recipient<FromLink>,
    /// Sessions with live calls are recovered first.
    pub has_calls: bool,
}

/// Session → link: forget the session, its monitors and its open asks. The link sends MonitorStop for its monitors.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Unbind {
    pub session: SessionId,
}

/// Session → link: call count went to or from zero.
#[derive(Message)]
#[rtype(result = "()")]
pub struct HasCalls {
    pub session: SessionId,
    pub has_calls: bool,
}

/// Session → link: re-monitor and snapshot are done (or given up) after an `Up` or `Missed`; the link lets the next
/// session recover.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Recovered {
    pub session: SessionId,
}

/// Session → link: put this service to the PBX. Always answered by exactly one [`FromLink::Settled`], at the latest
/// `deadline_ms` from now, or after the link's own `request_timeout_ms` when that is shorter.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Invoke {
    pub session: SessionId,
    pub ask: AskId,
    pub service: Service,
    pub deadline_ms: u64,
}

/// Link → session, in the order the PBX said it.
#[derive(Clone, Debug, PartialEq, Message)]
#[rtype(result = "()")]
pub enum FromLink {
    /// The link is up in this generation: monitor again, take a snapshot, reconcile, then say `Recovered`. Sent at a
    /// bounded rate, sessions with live calls first.
    Up { generation: u64 },
    /// The link is down; open asks have been settled as failed.
    Down,
    /// What became of an ask. A positive MonitorStart outcome routes its cross-reference id to this session from the
    /// very next message on.
    Settled { ask: AskId, result: Result<Outcome, LinkFailed> },
    /// An event of one of this session's monitors; `xref` is the PBX's, of this generation.
    Event(Event),
    /// Events for this session were dropped because its mailbox was full: take a snapshot and reconcile.
    Missed,
}

/// A SIP message of a session's dialog. Dropped unheard, because its actor died or ended, it is handed in again: over
/// TCP nobody asks twice.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Inbound {
    pub node: Arc<Node>,
    pub flow: FlowId,
    /// `None` when it has been heard.
    pub message: Option<Box<sip::Message>>,
    pub place: Place,
}

impl Drop for Inbound {
    fn drop(&mut self) {
        if let Some(message) = self.message.take() {
            unheard::keep(&self.node, self.flow, message);
        }
    }
}
