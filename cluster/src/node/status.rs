//! A voter as its operator sees it.

use std::collections::BTreeMap;

use openraft::async_runtime::WatchReceiver;
use serde::{Deserialize, Serialize};

use super::Node;
use crate::raft::{Role, Voter};

/// What an operator wants to see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub id: u64,
    pub name: String,
    pub role: Role,
    pub leader: Option<u64>,
    pub term: u64,
    pub may_act: bool,
    pub incarnation: Option<u64>,
    pub applied: Option<u64>,
    pub last: Option<u64>,
    pub records: usize,
    pub log_bytes: u64,
    pub disk_bytes: u64,
    pub voters: BTreeMap<u64, Voter>,
    pub feature_level: u32,
}

impl Node {
    pub fn status(&self) -> Status {
        let replica = self.0.life.replica();
        let metrics = replica.raft().metrics();
        let metrics = metrics.borrow_watched().clone();
        // One after the other: two guards of one thread wait for ever for a writer between them.
        let records = replica.records().machine().records_count();
        let feature_level = replica.records().machine().feature_level();
        Status {
            id: self.id(),
            name: self.0.life.name().to_owned(),
            role: self.0.options.role,
            leader: metrics.current_leader,
            term: metrics.current_term,
            may_act: self.may_act(),
            incarnation: self.incarnation().map(|incarnation| incarnation.0),
            applied: metrics.last_applied.map(|id| id.index()),
            last: metrics.last_log_index,
            records,
            log_bytes: self.0.log.log_bytes(),
            disk_bytes: self.0.log.disk_bytes(),
            voters: self.voters(),
            feature_level,
        }
    }
}
