//! Everything that can happen to a session: a closed list.

use std::sync::Arc;

use super::transaction::fingerprint;
use crate::csta::{Event, Features, Outcome};
use crate::machine::ask::{AskId, LinkFailed};
use crate::sip::Message;

/// Names a flow (one TCP or TLS connection) on this node, never on another: it is not part of any record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct FlowId(pub u64);

/// One thing that happened. `step` has an answer for each in every state.
#[derive(Clone, Debug)]
pub enum Input {
    /// A request of this dialog, on whichever flow it came.
    Request {
        flow: FlowId,
        message: Box<Message>,
    },
    /// A final or provisional answer to one of our requests.
    Response {
        message: Box<Message>,
    },
    /// Our request could not be sent: no connection to the next hop.
    Undeliverable {
        cseq: u32,
    },
    /// A request of ours would arrive now: a connection to the front end is open.
    Reachable,
    /// The link is up; `features` is what its PBX offers, when it said so.
    LinkUp {
        features: Option<Arc<Features>>,
    },
    LinkDown,
    /// What became of a service put to the PBX.
    Settled {
        ask: AskId,
        result: Result<Outcome, LinkFailed>,
    },
    /// The PBX reports; the cross-reference id is its own.
    PbxEvent {
        event: Event,
    },
    /// Events of this session were lost on the way: ask for the truth.
    Missed,
    /// A deadline of [`super::session::Session::deadline`] has passed.
    Tick,
    /// Somebody else ends the session.
    Retire {
        why: Retire,
    },
}

impl Input {
    /// Tells this input from others after it came again, for the count of crashes; 0 for inputs of our own making.
    pub fn fingerprint(&self) -> u64 {
        match self {
            Self::Request { message, .. } | Self::Response { message } => {
                let cseq = message.headers.get("CSeq").unwrap_or_default();
                fingerprint(cseq.as_bytes()) ^ fingerprint(&message.body).rotate_left(1)
            }
            Self::PbxEvent { event } => {
                let call = event.call().unwrap_or_default();
                fingerprint(event.body.name().as_bytes()) ^ fingerprint(call.as_bytes()).rotate_left(1)
            }
            _ => 0,
        }
    }
}

/// Why the session is ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retire {
    /// The same endpoint (user and epid) signed in again on this line: the older dialog goes without a word.
    Superseded,
    /// An operator closed it: BYE.
    Closed,
}
