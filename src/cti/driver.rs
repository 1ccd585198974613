//! What a CTI dialect is: a codec with a memory of its open requests, and no I/O.

use super::frame::{FrameError, TooLong};
use super::invoke::NoInvokeId;
use crate::csta::Service;
use crate::id::Moment;
use crate::machine::link::{Heard, Say, Ticket};

/// After so many documents in a row that make no sense the peer is not the PBX it was taken for.
pub const UNREADABLE_IN_A_ROW_MAX: u32 = 16;

/// One thing the bytes of a PBX came to, in the order it said them.
#[derive(Clone, Debug, PartialEq)]
pub enum In {
    Heard(Heard),
    /// The dialect goes on with something it has begun: write this.
    Write(Vec<u8>),
    /// An event that cannot be read, of this monitor if that much could be made out: the view of its session is stale.
    EventUnreadable {
        xref: Option<String>,
    },
}

/// The conversation cannot go on: close the connection, begin a new generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkBroken {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("{UNREADABLE_IN_A_ROW_MAX} documents in a row could not be read")]
    Unreadable,
    /// A continuation the dialect owes (`In::Write`) could not be said.
    #[error(transparent)]
    Unsayable(#[from] Unsayable),
}

/// Nothing was written, nothing is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsayable {
    #[error(transparent)]
    TooLong(#[from] TooLong),
    #[error(transparent)]
    NoInvokeId(#[from] NoInvokeId),
    #[error("the dialect holds as many device ids as it may")]
    DevicesFull,
    #[error("no application session stands")]
    NoSession,
}

/// One dialect on one link. It lives as long as the link and outlasts connections, so that a dialect which can resume
/// knows its last session.
pub trait Driver: Send {
    /// A new connection stands: half a frame and every open request of the old one are forgotten.
    fn connected(&mut self);

    /// What these bytes come to, whatever pieces they come in. After an error the connection is of no more use.
    fn received(&mut self, bytes: &[u8], now: Moment) -> Result<Vec<In>, LinkBroken>;

    /// The bytes of one of the link's own sentences.
    fn say(&mut self, say: Say, now: Moment) -> Result<Vec<u8>, Unsayable>;

    /// The bytes that put a service to the PBX; its answer comes back as `Heard::Answer` with the ticket.
    fn send(&mut self, ticket: Ticket, service: &Service, now: Moment) -> Result<Vec<u8>, Unsayable>;

    /// Nobody waits for this ticket any more: a late answer is noise, its invoke id is kept out of use.
    fn abandon(&mut self, ticket: Ticket, now: Moment);
}
