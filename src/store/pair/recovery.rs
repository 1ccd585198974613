//! A stopped node's store, looked at and recovered in the words of the gateway.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lyncpin_cluster::recover;
pub use lyncpin_cluster::recover::RecoverError;

use super::super::{RecordBody, envelope};
use crate::machine::session::Session;

/// What the store of a stopped node holds.
pub struct Survey(recover::Survey);

pub async fn survey(folder: &Path) -> Result<Survey, RecoverError> {
    recover::survey(folder).await.map(Survey)
}

/// Yields the new epoch, and where the former store is now.
pub async fn recover(folder: &Path, survey: &Survey) -> Result<(u64, PathBuf), RecoverError> {
    recover::recover(folder, &survey.0).await
}

impl Survey {
    pub fn name(&self) -> String {
        let own = self.0.voters.get(&self.0.identity.node_id);
        own.map_or_else(|| format!("node {}", self.0.identity.node_id), |voter| voter.name.clone())
    }

    pub fn epoch(&self) -> u64 {
        self.0.identity.epoch
    }

    pub fn committed(&self) -> Option<u64> {
        self.0.committed
    }

    pub fn last(&self) -> Option<u64> {
        self.0.last
    }

    /// Name → address of every other voter.
    pub fn others(&self) -> BTreeMap<String, String> {
        let others = self.0.voters.iter().filter(|(id, _)| **id != self.0.identity.node_id);
        others.map(|(_, voter)| (voter.name.clone(), voter.address.clone())).collect()
    }

    pub fn sessions(&self) -> usize {
        self.0.machine.scan("session/").count()
    }

    /// The users whose sessions are in it.
    pub fn users(&self) -> impl Iterator<Item = String> {
        let sessions = self.0.machine.scan("session/");
        let read = sessions.filter_map(|record| envelope::decode::<Session>(Session::KIND, &record.body).ok());
        read.map(|(session, _)| session.appearance.sip)
    }
}
