//! Going on without a quorum, on a person's word: the survivor of a lost majority becomes a cluster of one, in a new epoch.
//! Whatever the lost voters acknowledged and this one never heard of is gone; whoever comes back from the old epoch is
//! turned away for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use openraft::entry::RaftEntry;
use openraft::storage::{RaftLogReader, RaftLogStorage};
use openraft::{EntryPayload, Membership};

use crate::image::{Image, Shelf};
use crate::log::identity::{self, Identity};
use crate::log::{Log, OpenError};
use crate::machine::Machine;
use crate::raft::{LogId, SnapshotMeta, StoredMembership, Voter};

/// Where the recovered store is made before it takes the old one's place.
const NEXT: &str = "recovering";

#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    #[error("there is no record store in {}", .0.display())]
    NoStore(PathBuf),
    #[error("a process has the store open: stop this node first")]
    InUse,
    #[error("the store is damaged ({0}) and nothing can be recovered from it; use the other node's, or a backup")]
    Damaged(String),
    #[error("this store has no membership: it never took part in a cluster")]
    NoMembership,
    #[error("the store cannot be read or written")]
    Io(#[from] io::Error),
}

impl From<OpenError> for RecoverError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Damaged(reason) => Self::Damaged(reason),
            OpenError::InUse => Self::InUse,
            OpenError::Io(error) => Self::Io(error),
        }
    }
}

/// What the survivor's store holds.
pub struct Survey {
    pub identity: Identity,
    /// Every voter of its last membership.
    pub voters: BTreeMap<u64, Voter>,
    /// Known to be committed here; `last` may be, too.
    pub committed: Option<u64>,
    pub last: Option<u64>,
    /// The records with every entry of the log applied: what was acknowledged by a majority of which this node is the only
    /// one left stands in its log, committed or not.
    pub machine: Machine,
    last_id: Option<LogId>,
}

/// Reads the store of a node that is stopped.
pub async fn survey(folder: &Path) -> Result<Survey, RecoverError> {
    let next = folder.join(NEXT);
    if Identity::read(folder).is_ok_and(|own| own.is_none()) && Identity::read(&next).is_ok_and(|made| made.is_some()) {
        // A recovery was cut short after the old store had gone aside.
        identity::take_place(&next, folder)?;
    }
    let identity = Identity::read(folder)?.ok_or_else(|| RecoverError::NoStore(folder.to_owned()))?;
    let mut log = identity::open(folder, &identity)?;
    let loaded = log.shelf().load().await?;
    let (mut machine, mut membership, mut last_id) = (Machine::default(), StoredMembership::default(), None);
    if let Some((meta, image)) = loaded {
        machine = Machine::restore(image.snapshot().clone());
        (membership, last_id) = (meta.last_membership, meta.last_log_id);
    }
    let from = last_id.map_or(0, |id: LogId| id.index() + 1);
    for entry in log.try_get_log_entries(from..).await? {
        let id = entry.log_id();
        match entry.payload {
            EntryPayload::Normal(command) => {
                machine.apply(command);
            }
            EntryPayload::Membership(named) => membership = StoredMembership::new(Some(id), named),
            EntryPayload::Blank => {}
        }
        last_id = Some(id);
    }
    let committed = log.read_committed().await?.map(|id| id.index());
    close(log).await;
    let voters: BTreeMap<u64, Voter> = membership.nodes().map(|(id, voter)| (*id, voter.clone())).collect();
    if voters.is_empty() {
        return Err(RecoverError::NoMembership);
    }
    Ok(Survey { identity, voters, committed, last: last_id.map(|id| id.index()), machine, last_id })
}

/// Makes the survivor a cluster of one. Yields the new epoch and where the old store is now. Cut short, it leaves the old
/// store as it was, or the new one in its place.
pub async fn recover(folder: &Path, survey: &Survey) -> Result<(u64, PathBuf), RecoverError> {
    let Survey { identity, voters, .. } = survey;
    let own = voters.get(&identity.node_id).cloned().ok_or(RecoverError::NoMembership)?;
    let last = survey.last_id.ok_or(RecoverError::NoMembership)?;
    let epoch = identity.epoch + 1;
    let next = folder.join(NEXT);
    if next.exists() {
        std::fs::remove_dir_all(&next)?;
    }
    let fresh = Identity::fresh(&identity.cluster_id, epoch, identity.node_id)?;
    let mut log = identity::create(&next, &fresh)?;
    let alone = Membership::new(vec![BTreeSet::from([identity.node_id])], BTreeMap::from([(identity.node_id, own)]))
        .map_err(io::Error::other)?;
    let membership = StoredMembership::new(Some(last), alone);
    let meta = SnapshotMeta { last_log_id: Some(last), last_membership: membership };
    log.shelf().save(meta, Image::new(survey.machine.snapshot())).await?;
    log.purge(last).await?;
    close(log).await;
    let aside = identity::set_aside(folder)?;
    identity::take_place(&next, folder)?;
    Ok((epoch, aside))
}

async fn close(log: Log) {
    log.close().await;
}
