//! What the operator's door needs of a node.

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::metrics::Figures;
use super::view::{ClusterView, Done, LinkView, NodeView, RefusalView, SessionView};
use crate::store::Watch;
use crate::trace::Tracing;

/// What an operator may have done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Hand all sessions to the other node, take no new one, and show red to the balancer.
    Drain,
    /// Take users again.
    Undrain,
    /// Hand all sessions and the leadership to the other node, and go on.
    Switchover,
    /// Look at the users file and the certificates now.
    Reload,
    /// Take a voter in, which catches up first.
    AddVoter { id: u64, address: String, is_witness: bool },
    /// Let a voter go for ever.
    RemoveVoter { id: u64 },
    /// Let every node do what all of them can.
    RaiseFeatureLevel,
    /// Put the records of a backup into a cluster that has none.
    Restore { bytes: Vec<u8> },
}

impl Act {
    /// For the audit line and the answer.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Undrain => "undrain",
            Self::Switchover => "switchover",
            Self::Reload => "reload",
            Self::AddVoter { .. } => "add_voter",
            Self::RemoveVoter { .. } => "remove_voter",
            Self::RaiseFeatureLevel => "raise_feature_level",
            Self::Restore { .. } => "restore",
        }
    }
}

/// Whom an operator wants to follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceWish {
    /// A user's SIP address or its part before the `@`, a Line URI, a number or a device.
    pub who: String,
    /// Whole numbers instead of their last two digits.
    #[serde(default)]
    pub shows_numbers: bool,
    /// How long, at most [`TRACE_S_MAX`].
    #[serde(default = "trace_s")]
    pub for_s: u64,
}

/// The longest trace.
pub const TRACE_S_MAX: u64 = 4 * 3600;

fn trace_s() -> u64 {
    600
}

/// An act that was not done, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// It makes no sense here.
    #[error("{0}")]
    Refused(String),
    /// It may work later.
    #[error("{0}")]
    Failed(String),
}

/// A node as the operator's door sees it.
pub trait Desk: Send + Sync + 'static {
    fn node(&self) -> NodeView;

    /// Whether users should come here: asked of every part a user's request goes through. Err: every reason why not.
    fn readiness(&self) -> BoxFuture<'_, Result<(), Vec<String>>>;

    /// `None`: the node is alone.
    fn cluster(&self) -> BoxFuture<'_, Option<ClusterView>>;

    /// Of all nodes, those whose user or device contains `like`, in order of users; at most `max`, and how many there are.
    fn sessions(&self, like: &str, max: usize) -> (Vec<SessionView>, usize);

    /// One session; `None`: it is over, or this node keeps none.
    fn session(&self, _id: &str) -> Option<SessionView> {
        None
    }

    /// What is applied to the records from now on; `None`: this node shows no sessions.
    fn watch(&self) -> Option<Watch> {
        None
    }

    fn links(&self) -> BoxFuture<'_, Vec<LinkView>>;

    /// The latest refused sign-ins of this node, newest first.
    fn refusals(&self) -> Vec<RefusalView>;

    /// Named counters: group, name, value.
    fn counters(&self) -> Vec<(&'static str, &'static str, u64)>;

    /// What the metrics tell beside that.
    fn figures(&self) -> Figures {
        Figures::default()
    }

    /// All records, as they are at one moment, to be kept.
    fn backup(&self) -> BoxFuture<'_, Result<Vec<u8>, NotDone>>;

    /// Follows what one user says and hears, until it is dropped.
    fn trace(&self, wish: TraceWish) -> Result<Tracing, NotDone> {
        Err(NotDone::Refused(format!("this node serves nobody, {} neither", wish.who)))
    }

    fn act(&self, act: Act) -> BoxFuture<'_, Result<Done, NotDone>>;
}
