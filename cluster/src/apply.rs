//! The record machine as openraft drives it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{Stream, StreamExt};
use openraft::EntryPayload;
use openraft::entry::RaftEntry;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::type_config::alias::SnapshotOf;

use crate::image::{Image, Shelf};
use crate::machine::{Machine, Reply};
use crate::raft::{LogId, SnapshotMeta, StoredMembership, Types};
use crate::records::Records;

type Snapshot = SnapshotOf<Types, Image>;
pub type Raft = openraft::Raft<Types, Applier>;

/// Applies what is committed. The machine lives in memory; snapshots are durable, and openraft applies the log's rest
/// again at start.
pub struct Applier {
    records: Arc<Records>,
    shelf: Arc<dyn Shelf>,
    /// What the records were made from, while the voter starts: it is asked for more than once then.
    opened: Arc<Mutex<Option<(SnapshotMeta, Image)>>>,
    applied: Option<LogId>,
    membership: StoredMembership,
}

/// An applier at a start, its records, and what to drop when the start is over.
pub struct Opened {
    pub applier: Applier,
    pub records: Arc<Records>,
    pub snapshot: Arc<Mutex<Option<(SnapshotMeta, Image)>>>,
}

impl Applier {
    pub fn new(records: Arc<Records>, shelf: Arc<dyn Shelf>) -> Self {
        Self { records, shelf, opened: Arc::default(), applied: None, membership: StoredMembership::default() }
    }

    /// From the snapshot on the shelf. openraft would install it, which writes all of it again.
    pub async fn open(shelf: Arc<dyn Shelf>) -> io::Result<Opened> {
        let loaded = shelf.load().await?;
        let (applied, membership, machine) = match &loaded {
            Some((meta, image)) => {
                let machine = Machine::restore(image.snapshot().clone());
                (meta.last_log_id, meta.last_membership.clone(), machine)
            }
            None => (None, StoredMembership::default(), Machine::default()),
        };
        let records = Arc::new(Records::new(machine));
        records.applied_up_to(applied.map_or(0, |id| id.index()));
        let snapshot = Arc::new(Mutex::new(loaded));
        let applier = Self { records: records.clone(), shelf, opened: snapshot.clone(), applied, membership };
        Ok(Opened { applier, records, snapshot })
    }
}

impl RaftStateMachine<Types> for Applier {
    type SnapshotData = Image;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + Send,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let id = entry.log_id();
            let reply = match entry.payload {
                EntryPayload::Normal(command) => self.records.apply(command),
                EntryPayload::Blank => Reply::Applied { versions: Vec::new() },
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(id), membership);
                    Reply::Applied { versions: Vec::new() }
                }
            };
            self.applied = Some(id);
            self.records.applied_up_to(id.index());
            if let Some(responder) = responder {
                responder.send(reply);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            image: Image::new(self.records.machine().snapshot()),
            shelf: self.shelf.clone(),
            applied: self.applied,
            membership: self.membership.clone(),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, image: Image) -> Result<(), io::Error> {
        // First what a power cut must not undo, then what is seen.
        self.shelf.save(meta.clone(), image.clone()).await?;
        self.records.install(image.snapshot().clone());
        self.applied = meta.last_log_id;
        self.records.applied_up_to(meta.last_log_id.map_or(0, |id| id.index()));
        self.membership = meta.last_membership.clone();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let loaded = if opened.is_some() { opened } else { self.shelf.load().await? };
        Ok(loaded.map(|(meta, snapshot)| Snapshot { meta, snapshot }))
    }
}

/// The machine as it was when the builder was asked for; it is written while the machine goes on.
pub struct Builder {
    image: Image,
    shelf: Arc<dyn Shelf>,
    applied: Option<LogId>,
    membership: StoredMembership,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = Image;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let meta = SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone() };
        self.shelf.save(meta.clone(), self.image.clone()).await?;
        Ok(Snapshot { meta, snapshot: self.image.clone() })
    }
}
