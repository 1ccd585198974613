//! How the gateway reaches the records, whatever stands beneath.
//!
//! The owner of a record reads it from its own node's memory, decides, and proposes a change with the version it saw.
//! A read that was old costs a refusal (`Stale`), never a wrong write.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::machine::{Command, Reply};
use crate::mutant::{Mutant, mutant};
use crate::record::{Incarnation, Record};

/// The store as one node sees it. Object-safe, so that what stands beneath does not show in the gateway's types.
pub trait FencedStore: Send + Sync {
    /// Puts a command to the cluster. Resolves when it is committed and can be read here. Whether or not the returned value
    /// is awaited, the command is on its way; dropping it makes the outcome unknown to the caller only.
    fn propose(&self, command: Command) -> Pending<Reply>;

    /// Resolves when everything that was committed anywhere before this call can be read here: `catch_up`, then `read`,
    /// is a linearizable read.
    fn catch_up(&self) -> Pending<()>;

    /// A record as this node knows it.
    fn read(&self, key: &str) -> Option<Record>;

    /// The records whose key begins with `prefix`, as this node knows them, of one moment, in order of keys.
    fn scan(&self, prefix: &str) -> Vec<Record>;

    /// The living incarnations.
    fn members(&self) -> Vec<Member>;

    /// What is applied here from now on, in the order of the log.
    fn watch(&self) -> Watch;
}

/// A living incarnation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub incarnation: Incarnation,
    pub node: Arc<str>,
}

/// Why a command has no reply. A refusal is a reply, and not one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum CommitError {
    /// Definite: no quorum, or none that knows a leader. The node answers 503 until it is back.
    #[error("no quorum takes the command")]
    NoQuorum,
    /// Definite: too many commands are waiting. The caller answers 503 and keeps its state.
    #[error("too many commands are waiting")]
    Full,
    /// Definite: the store is shutting down.
    #[error("the store is closed")]
    Closed,
    /// Unsettled: the leader was lost before it answered. The caller catches up and reads the record.
    #[error("the leader was lost before it answered")]
    Lost,
    /// Unsettled: no answer in time. The caller catches up and reads the record.
    #[error("no answer in time")]
    TimedOut,
}

impl CommitError {
    /// Whether the command certainly was not applied, and never will be.
    pub fn is_definite(self) -> bool {
        match self {
            Self::NoQuorum | Self::Full | Self::Closed => true,
            Self::Lost | Self::TimedOut => mutant(Mutant::LostIsDefinite),
        }
    }
}

/// An answer under way, or already there: then it costs neither a task nor an allocation.
#[must_use = "a command whose outcome nobody reads may have been refused"]
pub struct Pending<T>(State<T>);

enum State<T> {
    Ready(Option<Result<T, CommitError>>),
    Waiting(Pin<Box<dyn Future<Output = Result<T, CommitError>> + Send>>),
}

impl<T> Pending<T> {
    pub fn ready(result: Result<T, CommitError>) -> Self {
        Self(State::Ready(Some(result)))
    }

    pub fn waiting(future: impl Future<Output = Result<T, CommitError>> + Send + 'static) -> Self {
        Self(State::Waiting(Box::pin(future)))
    }

    /// The answer if it was there from the start, without polling.
    pub fn now(self) -> Result<Result<T, CommitError>, Self> {
        match self.0 {
            State::Ready(Some(result)) => Ok(result),
            state => Err(Self(state)),
        }
    }
}

impl<T: Unpin> Future for Pending<T> {
    type Output = Result<T, CommitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Ready(result) => Poll::Ready(result.take().expect("a future is not polled after it is ready")),
            State::Waiting(future) => future.as_mut().poll(cx),
        }
    }
}

/// Something was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    Joined {
        node: Arc<str>,
        incarnation: Incarnation,
        inherited: u64,
    },
    /// A snapshot of another node took the place of everything: the subscriber scans.
    Replaced,
    /// A new feature level.
    Raised {
        level: u32,
    },
    /// One notice, however many records moved: the heir scans.
    Fenced {
        incarnation: Incarnation,
        heir: Incarnation,
        moved: u64,
    },
    Put {
        key: Arc<str>,
        owner: Incarnation,
        version: u64,
    },
    Deleted {
        key: Arc<str>,
        version: u64,
    },
    Taken {
        key: Arc<str>,
        owner: Incarnation,
        version: u64,
    },
}

impl Notice {
    /// Whether this ends a life of the node `name`: it was fenced, or the node has joined anew, be it by a word of its own
    /// that arrived late.
    pub fn ends(&self, own: Incarnation, name: &str) -> bool {
        let is_later = |life: Incarnation| life > own || (mutant(Mutant::OwnJoinEndsLife) && life == own);
        match self {
            _ if mutant(Mutant::FencedLivesOn) => false,
            Self::Fenced { incarnation, .. } => *incarnation == own,
            Self::Joined { node, incarnation, .. } => **node == *name && is_later(*incarnation),
            _ => false,
        }
    }
}

/// What a subscriber gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watched {
    Notice(Notice),
    /// The subscriber was slow and this many notices are gone: it scans and goes on from there.
    Missed(u64),
}

/// A bounded subscription in log order.
#[derive(Debug)]
pub struct Watch(broadcast::Receiver<Notice>);

impl Watch {
    /// Notices kept for the slowest subscriber.
    pub const NOTICES_MAX: usize = 4096;

    pub(crate) fn new(receiver: broadcast::Receiver<Notice>) -> Self {
        Self(receiver)
    }

    /// The next notice; `None` when the store is closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Watched> {
        match self.0.recv().await {
            Ok(notice) => Some(Watched::Notice(notice)),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Watched::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `Join` of a node whose answer was lost may be applied after the one it was asked again with: the later life lives,
    /// and the node did not know that its own was over. Found by `chaos sim`, seed 3.
    #[test]
    fn a_life_ends_when_it_is_fenced_or_when_its_node_joins_anew() {
        let joined =
            |node: &str, life| Notice::Joined { node: node.into(), incarnation: Incarnation(life), inherited: 0 };
        let fenced = |life| Notice::Fenced { incarnation: Incarnation(life), heir: Incarnation(9), moved: 0 };
        let own = Incarnation(3);
        assert!(joined("node-1", 4).ends(own, "node-1") && fenced(3).ends(own, "node-1"));
        assert!(!joined("node-1", 3).ends(own, "node-1"), "its own beginning");
        assert!(!joined("node-2", 4).ends(own, "node-1") && !fenced(2).ends(own, "node-1"));
    }
}
