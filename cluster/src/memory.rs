//! The store of a single node: commands are applied at once, in memory.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::broadcast;

use crate::machine::{Command, Machine, Reply, Snapshot};
use crate::record::{Change, Limit, Record, Refusal};
use crate::store::{FencedStore, Member, Notice, Pending, Watch};

/// A one-node cluster without a log. Clones share the records; a process that starts anew starts empty.
#[derive(Clone, Debug)]
pub struct MemoryStore(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    machine: Mutex<Machine>,
    notices: broadcast::Sender<Notice>,
}

impl MemoryStore {
    pub fn new() -> Self {
        Self::with(Machine::default())
    }

    pub fn from_snapshot(snapshot: Snapshot) -> Self {
        Self::with(Machine::restore(snapshot))
    }

    pub fn snapshot(&self) -> Snapshot {
        self.machine().snapshot()
    }

    fn with(machine: Machine) -> Self {
        let (notices, _) = broadcast::channel(Watch::NOTICES_MAX);
        Self(Arc::new(Shared { machine: Mutex::new(machine), notices }))
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.0.machine.lock().expect("applying a command does not panic; records half changed must not be served")
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
        // Notices leave under the lock: their order is the order of the log.
        let mut machine = self.machine();
        if self.0.notices.receiver_count() == 0 {
            return Pending::ready(Ok(machine.apply(command)));
        }
        let reply = machine.apply(command.clone());
        for notice in notices(command, &reply) {
            // Err: the last subscriber has just gone.
            let _ = self.0.notices.send(notice);
        }
        Pending::ready(Ok(reply))
    }

    fn catch_up(&self) -> Pending<()> {
        Pending::ready(Ok(()))
    }

    fn read(&self, key: &str) -> Option<Record> {
        self.machine().read(key).cloned()
    }

    fn scan(&self, prefix: &str) -> Vec<Record> {
        self.machine().scan(prefix).cloned().collect()
    }

    fn members(&self) -> Vec<Member> {
        self.machine().living().map(|(incarnation, node)| Member { incarnation, node: node.clone() }).collect()
    }

    fn watch(&self) -> Watch {
        // Under the lock: a subscription begins between two commands.
        let _machine = self.machine();
        Watch::new(self.0.notices.subscribe())
    }
}

/// What a command and its reply mean to a subscriber; nothing for a refusal.
fn notices(command: Command, reply: &Reply) -> Vec<Notice> {
    match (command, reply) {
        (Command::Join { node }, Reply::Joined { incarnation, inherited }) => {
            vec![Notice::Joined { node, incarnation: *incarnation, inherited: *inherited }]
        }
        (Command::Fence { incarnation, heir }, Reply::Fenced { moved }) => {
            vec![Notice::Fenced { incarnation, heir, moved: *moved }]
        }
        (Command::Batch { changes }, Reply::Applied { versions }) => changes
            .into_iter()
            .zip(versions.iter().copied())
            .map(|(change, version)| match change {
                Change::Put { writer, key, .. } => Notice::Put { key, owner: writer, version },
                Change::Delete { key, .. } => Notice::Deleted { key, version },
                Change::Take { writer, key, .. } => Notice::Taken { key, owner: writer, version },
            })
            .collect(),
        _ => Vec::new(),
    }
}
