//! The store of a single node: commands are applied at once, in memory.

use std::sync::Arc;

use crate::machine::{Command, Machine, Reply, Snapshot};
use crate::record::{Limit, Record, Refusal};
use crate::records::Records;
use crate::store::{FencedStore, Member, Pending, Watch};

/// A one-node cluster without a log. Clones share the records; a process that starts anew starts empty.
#[derive(Clone, Debug)]
pub struct MemoryStore(Arc<Records>);

impl MemoryStore {
    pub fn new() -> Self {
        Self(Arc::new(Records::new(Machine::default())))
    }

    pub fn from_snapshot(snapshot: Snapshot) -> Self {
        Self(Arc::new(Records::new(Machine::restore(snapshot))))
    }

    pub fn snapshot(&self) -> Snapshot {
        self.0.machine().snapshot()
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl FencedStore for MemoryStore {
    fn propose(&self, command: Command) -> Pending<Reply> {
        if let Command::Batch { changes } = &command
            && let Some(limit) = Limit::passed_by(changes)
        {
            return Pending::ready(Ok(Reply::Refused { change: 0, refusal: Refusal::TooLarge { limit } }));
        }
        Pending::ready(Ok(self.0.apply(command)))
    }

    fn catch_up(&self) -> Pending<()> {
        Pending::ready(Ok(()))
    }

    fn read(&self, key: &str) -> Option<Record> {
        self.0.read(key)
    }

    fn scan(&self, prefix: &str) -> Vec<Record> {
        self.0.scan(prefix)
    }

    fn members(&self) -> Vec<Member> {
        self.0.members()
    }

    fn watch(&self) -> Watch {
        self.0.watch()
    }
}
