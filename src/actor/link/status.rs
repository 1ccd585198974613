//! What an operator may see of a link, and do to it.

use actix::{Message, MessageResponse};
use serde::Serialize;

/// Anyone → link: how are you?
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "LinkStatus")]
pub struct AskStatus;

/// Operator → link: take no new service, finish the open ones, log out, stay down.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct DrainLink;

/// Operator → link: serve again after a drain.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct StartLink;

/// One moment of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, MessageResponse)]
pub struct LinkStatus {
    pub name: String,
    /// Without the password.
    pub address: String,
    /// down, connecting, authenticating, syncing, up or draining.
    pub state: &'static str,
    /// Connections made or tried since the process began.
    pub generation: u64,
    /// What took it down last, or keeps it from coming up.
    pub last_error: Option<String>,
    /// While down: ms until the next try; `None` when it is drained.
    pub next_try_in_ms: Option<u64>,
    pub sessions: usize,
    pub monitors: usize,
    /// Sessions that were told to recover and have not said that they have.
    pub recovering: usize,
    /// Sessions that wait for their turn to recover.
    pub waiting: usize,
    /// Services the PBX has not answered yet.
    pub outstanding: usize,
    pub heartbeat_rtt_ms: Option<u64>,
    /// Events of monitors nobody knows, since the process began.
    pub stray_events: u64,
    /// Events dropped because a session's mailbox was full, since the process began.
    pub missed_events: u64,
}
