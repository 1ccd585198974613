//! What an operator sees: the same words in the API, in `lyncpin ctl --json` and on the page.

use serde::{Deserialize, Serialize};

pub use crate::store::pair::Status as VoterView;

/// One node, as it says itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    pub name: String,
    pub version: String,
    /// What this version can do once every node can.
    pub feature_level_max: u32,
    pub uptime_s: u64,
    /// Its vote; `None`: it is alone.
    pub voter: Option<VoterView>,
    /// What it does for users; `None`: it is a witness.
    pub service: Option<ServiceView>,
}

/// What a data node does for users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceView {
    pub is_ready: bool,
    /// Why not, in plain words.
    pub not_ready: Vec<String>,
    pub is_draining: bool,
    /// Sessions it serves.
    pub sessions: usize,
    /// Calls in those sessions: one between two users of this node counts twice.
    pub calls: usize,
    /// SIP connections.
    pub flows: usize,
    pub links_up: usize,
    pub links: usize,
    /// Names of those that are not up.
    #[serde(default)]
    pub links_down: Vec<String>,
    /// The last time sessions came here from a node that was lost, or went from here as an operator wished.
    #[serde(default)]
    pub last_takeover: Option<TakeoverView>,
}

/// Sessions got another node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakeoverView {
    /// When it was over, in milliseconds since 1970.
    pub at_ms: u64,
    /// A switchover or a drain; false: `from` was lost.
    pub is_planned: bool,
    /// `None`: nobody knows its name any more.
    pub from: Option<String>,
    pub to: String,
    /// Sessions that moved, and those that should have and did not.
    pub moved: usize,
    pub stayed: usize,
    /// The longest time a session may have been served by nobody: planned, from its stop here to its beginning there; else from the
    /// last word that was heard of the lost node to the beginning of the last session.
    pub gap_ms: u64,
}

/// The whole pair, as one node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterView {
    pub name: String,
    /// Rises when the cluster is recovered by force.
    pub epoch: u64,
    pub feature_level: u32,
    pub leader: Option<u64>,
    pub nodes: Vec<SeenNode>,
    /// How many more voters may be lost before nobody serves.
    pub spare_failures: usize,
    pub ready_for_switchover: Judgement,
    pub ready_for_upgrade: Judgement,
}

/// One voter, as another one sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenNode {
    pub id: u64,
    pub name: String,
    pub role: String,
    pub address: String,
    /// Entries it has yet to apply; `None`: it did not answer.
    pub lag: Option<u64>,
    pub says: Option<NodeView>,
}

/// Yes, or no with every reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    pub is_so: bool,
    pub reasons: Vec<String>,
}

impl Judgement {
    pub fn of(reasons: Vec<String>) -> Self {
        Self { is_so: reasons.is_empty(), reasons }
    }
}

/// One user's session, whichever node serves it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SessionView {
    pub id: String,
    pub user: String,
    pub device: String,
    pub line: String,
    pub link: String,
    /// The node that serves it.
    pub node: String,
    pub client: String,
    /// The client has been told that the phone is out of service.
    pub is_out_of_service: bool,
    pub monitors: usize,
    /// Each call's state at the user's phone: "connected", "alerting" ...
    pub calls: Vec<String>,
}

/// One CTI link of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkView {
    pub name: String,
    pub address: String,
    pub state: String,
    pub generation: u64,
    pub last_error: Option<String>,
    pub next_try_in_ms: Option<u64>,
    pub sessions: usize,
    pub monitors: usize,
    pub recovering: usize,
    pub outstanding: usize,
    pub heartbeat_rtt_ms: Option<u64>,
}

/// A sign-in that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalView {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    pub user: String,
    /// `no_client_license`, `line_unknown` ...
    pub reason: String,
    /// What to do about it.
    pub remedy: String,
    pub client: String,
}

/// What an act came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    pub done: String,
    /// Sessions that changed their node, where that was the point.
    #[serde(default)]
    pub moved: usize,
    /// Sessions that stayed although they should have gone.
    #[serde(default)]
    pub stayed: usize,
    /// The longest time one of them was served by nobody.
    #[serde(default)]
    pub pause_max_ms: Option<u64>,
}

impl Done {
    pub fn told(done: impl Into<String>) -> Self {
        Self { done: done.into(), moved: 0, stayed: 0, pause_max_ms: None }
    }
}
