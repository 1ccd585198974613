//! The types openraft is built with here. Nothing outside this crate sees them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::machine::{Command, Reply};

openraft::declare_raft_types!(
    /// Records replicated by openraft.
    pub Types:
        D = Command,
        R = Reply,
        NodeId = u64,
        Node = Voter,
        AsyncRuntime = crate::runtime::Turns,
);

pub type LeaderId = openraft::type_config::alias::LeaderIdOf<Types>;
pub type LogId = openraft::type_config::alias::LogIdOf<Types>;
pub type Entry = openraft::type_config::alias::EntryOf<Types>;
pub type Vote = openraft::type_config::alias::VoteOf<Types>;
pub type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<Types>;
pub type StoredMembership = openraft::type_config::alias::StoredMembershipOf<Types>;

/// What the membership says of a voter, beside its id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voter {
    /// The node's name in the configuration; stays when a wiped node comes back under a new id.
    pub name: String,
    /// host:port of its cluster listener.
    pub address: String,
    pub role: Role,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Serves telephony.
    #[default]
    Data,
    /// Votes and keeps the log; leads only for the moment in which it alone has the newest log.
    Witness,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Data => "data",
            Self::Witness => "witness",
        })
    }
}

/// For openraft's own log lines.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Join { node } => write!(f, "join {node}"),
            Self::Fence { incarnation, heir } => write!(f, "fence {incarnation}, heir {heir}"),
            Self::Batch { changes } => write!(f, "batch of {}", changes.len()),
            Self::Raise { level } => write!(f, "raise to level {level}"),
        }
    }
}
