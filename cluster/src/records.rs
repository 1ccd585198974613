//! The records of one node: its copy of the machine, read by many, changed by one, with its notices.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::{Notify, broadcast};

use crate::machine::{Command, Machine, Reply, Snapshot};
use crate::record::{Change, Record};
use crate::store::{Member, Notice, Watch};

#[derive(Debug)]
pub struct Records {
    machine: RwLock<Machine>,
    notices: broadcast::Sender<Notice>,
    /// Index of the last entry applied.
    applied: AtomicU64,
    /// Those who wait for an entry, woken in the order in which they came.
    advanced: Notify,
}

impl Records {
    pub fn new(machine: Machine) -> Self {
        let (notices, _) = broadcast::channel(Watch::NOTICES_MAX);
        Self { machine: RwLock::new(machine), notices, applied: AtomicU64::new(0), advanced: Notify::new() }
    }

    pub fn apply(&self, command: Command) -> Reply {
        // Notices leave under the lock: their order is the order of the log.
        let mut machine = self.machine.write().expect("applying does not panic; records half changed are not served");
        if self.notices.receiver_count() == 0 {
            return machine.apply(command);
        }
        let reply = machine.apply(command.clone());
        for notice in notices(command, &reply) {
            // Err: the last subscriber has just gone.
            let _ = self.notices.send(notice);
        }
        reply
    }

    /// Everything is replaced by what another node knows.
    pub fn install(&self, snapshot: Snapshot) {
        let mut machine = self.machine.write().unwrap_or_else(PoisonError::into_inner);
        *machine = Machine::restore(snapshot);
        let _ = self.notices.send(Notice::Replaced);
    }

    /// Everything up to this entry can be read.
    pub fn applied_up_to(&self, index: u64) {
        if self.applied.fetch_max(index, Ordering::AcqRel) < index {
            self.advanced.notify_waiters();
        }
    }

    /// Waits until this entry can be read.
    pub async fn applied(&self, index: u64) {
        loop {
            let mut advanced = pin!(self.advanced.notified());
            // Registered before looking: an advance in between is not missed.
            advanced.as_mut().enable();
            if self.applied.load(Ordering::Acquire) >= index {
                return;
            }
            advanced.await;
        }
    }

    pub fn machine(&self) -> RwLockReadGuard<'_, Machine> {
        self.machine.read().expect("applying does not panic; records half changed are not served")
    }

    pub fn read(&self, key: &str) -> Option<Record> {
        self.machine().read(key).cloned()
    }

    pub fn scan(&self, prefix: &str) -> Vec<Record> {
        self.machine().scan(prefix).cloned().collect()
    }

    pub fn members(&self) -> Vec<Member> {
        self.machine().living().map(|(incarnation, node)| Member { incarnation, node: node.clone() }).collect()
    }

    pub fn watch(&self) -> Watch {
        // Under the lock: a subscription begins between two commands.
        let _machine = self.machine();
        Watch::new(self.notices.subscribe())
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
        (Command::Raise { .. }, Reply::Raised { level }) => vec![Notice::Raised { level: *level }],
        _ => Vec::new(),
    }
}
