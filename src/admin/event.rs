//! What is told to whoever follows the node: one change each, in the words of the API.

use serde::{Deserialize, Serialize};

use super::view::{Judgement, LinkView, RefusalView, SessionView, TakeoverView};

/// One change. A reader that does not know a kind passes over it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// The first one of a stream that goes on from now: read the rest of the API, then follow.
    Hello {
        node: String,
        version: String,
    },
    /// Events between the one named by `Last-Event-ID` and this one are gone: read everything again.
    Gap {
        why: String,
    },
    /// A node answers or does not any more, became ready or not, drains, heard or lost its quorum.
    Node(NodeEvent),
    /// Who leads; `None`: nobody this node knows.
    Leader {
        leader: Option<String>,
        term: u64,
    },
    /// What the pair can bear, and what may be begun.
    Pair {
        spare_failures: usize,
        ready_for_switchover: Judgement,
        ready_for_upgrade: Judgement,
    },
    /// What a node carries; at most once a second of each node.
    Load {
        node: String,
        sessions: usize,
        calls: usize,
        flows: usize,
    },
    /// A CTI link of this node changed its state, or the reason why it is not up.
    Link {
        node: String,
        link: LinkView,
    },
    /// A session began, or something of it other than its calls changed: its node, its monitors, its service.
    Session {
        session: SessionView,
    },
    /// A session's calls changed, and nothing else of it.
    Calls {
        id: String,
        user: String,
        calls: Vec<String>,
    },
    SessionEnded {
        id: String,
    },
    /// So many sessions changed at once that they are not told one by one: read the list again.
    Sessions {
        changed: u64,
    },
    Refusal {
        refusal: RefusalView,
    },
    /// Sessions changed their node.
    Takeover {
        takeover: TakeoverView,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEvent {
    pub node: String,
    pub role: String,
    pub is_answering: bool,
    pub version: Option<String>,
    /// A quorum hears it; `None`: it does not answer.
    pub may_act: Option<bool>,
    /// `None`: it serves nobody, or does not answer.
    pub is_ready: Option<bool>,
    pub not_ready: Vec<String>,
    pub is_draining: bool,
}

impl Event {
    /// As in the line `event:` of the stream, and in its field `kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::Gap { .. } => "gap",
            Self::Node(_) => "node",
            Self::Leader { .. } => "leader",
            Self::Pair { .. } => "pair",
            Self::Load { .. } => "load",
            Self::Link { .. } => "link",
            Self::Session { .. } => "session",
            Self::Calls { .. } => "calls",
            Self::SessionEnded { .. } => "session_ended",
            Self::Sessions { .. } => "sessions",
            Self::Refusal { .. } => "refusal",
            Self::Takeover { .. } => "takeover",
        }
    }
}
