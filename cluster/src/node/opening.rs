//! A node's way in: its store, and when that is blank, what the others say about it.
//!
//! ```text
//!   whole store ───────────────────────────────────────────▶ goes on under its id
//!   blank ──every other is blank too──▶ they begin together
//!     └────one of them takes part─────▶ fresh id, asks to be taken in
//!   damaged ──set aside───────────────▶ fresh id, asks to be taken in
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::sleep;

use super::StartError;
use crate::log::identity::{self, Identity};
use crate::log::{Log, OpenError};
use crate::membership::seat;
use crate::peer::{Link, Links};
use crate::raft::Voter;
use crate::wire::Hello;

/// Of 10 ms each.
const IN_USE_TURNS: u32 = 200;
const PATIENCE_TURNS: u32 = 200;

/// A store in a folder, opened or just made.
pub(super) struct Opened {
    pub log: Log,
    pub identity: Identity,
    pub is_blank: bool,
    /// Why there is a blank one in place of the former, and where that is now.
    pub damaged: Option<(String, PathBuf)>,
}

/// Opens the store of this seat, or makes one. A process that was told to end may hold it for a moment.
pub(super) async fn open(folder: &Path, cluster_id: &str, own_seat: u64) -> Result<Opened, StartError> {
    let mut damaged = None;
    let mut turn = 0;
    loop {
        match open_now(folder, cluster_id, own_seat) {
            Ok((log, identity)) => {
                // A store that was made by a start that came no further is as good as none.
                let is_blank = log.is_blank();
                return Ok(Opened { log, identity, is_blank, damaged });
            }
            Err(Failed::Other(StartError::InUse { .. })) if turn < IN_USE_TURNS => {
                turn += 1;
                sleep(Duration::from_millis(10)).await;
            }
            Err(Failed::Other(error)) => return Err(error),
            Err(Failed::Damaged(reason)) if damaged.is_none() => {
                let aside = identity::set_aside(folder)?;
                tracing::error!(reason, aside = %aside.display(), "the record store cannot be used and was set aside; this node does not vote with it");
                damaged = Some((reason, aside));
            }
            Err(Failed::Damaged(reason)) => {
                return Err(StartError::Damaged { reason, aside: folder.to_owned() });
            }
        }
    }
}

enum Failed {
    Damaged(String),
    Other(StartError),
}

fn open_now(folder: &Path, cluster_id: &str, own_seat: u64) -> Result<(Log, Identity), Failed> {
    let failed = |error: OpenError| match error {
        OpenError::Damaged(reason) => Failed::Damaged(reason),
        OpenError::InUse => Failed::Other(StartError::InUse { folder: folder.to_owned() }),
        OpenError::Io(error) => Failed::Other(error.into()),
    };
    if let Some(why) = identity::given_up(folder) {
        return Err(Failed::Damaged(why));
    }
    match Identity::read(folder).map_err(failed)? {
        Some(found) if found.cluster_id != cluster_id || seat(found.node_id) != own_seat => {
            let (folder, cluster_id) = (folder.to_owned(), cluster_id.to_owned());
            Err(Failed::Other(StartError::Foreign { folder, found, cluster_id, id: own_seat }))
        }
        Some(found) => identity::open(folder, &found).map(|log| (log, found)).map_err(failed),
        None => {
            let identity = Identity::fresh(cluster_id, 0, own_seat).map_err(|error| Failed::Other(error.into()))?;
            identity::create(folder, &identity).map(|log| (log, identity)).map_err(failed)
        }
    }
}

/// Makes a store under another id in place of one that was never used.
pub(super) async fn anew(
    opened: Opened,
    folder: &Path,
    node_id: u64,
    epoch: u64,
) -> Result<(Log, Identity), StartError> {
    let identity = Identity::fresh(&opened.identity.cluster_id, epoch, node_id)?;
    opened.log.close().await;
    drop(opened);
    for turn in 0.. {
        // The lock of a store that was just closed is given back on a thread of its own.
        identity::discard(folder)?;
        match identity::create(folder, &identity) {
            Ok(log) => return Ok((log, identity)),
            Err(OpenError::InUse) if turn < IN_USE_TURNS => sleep(Duration::from_millis(10)).await,
            Err(OpenError::InUse) => break,
            Err(OpenError::Damaged(reason)) => return Err(StartError::Damaged { reason, aside: folder.to_owned() }),
            Err(OpenError::Io(error)) => return Err(error.into()),
        }
    }
    Err(StartError::InUse { folder: folder.to_owned() })
}

/// Links to whoever has the other seats, for a node that knows no ids yet.
pub(super) struct Scouts(Vec<Link>);

/// What the others say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Every one of them is blank: these births begin together.
    AllBlank { births: BTreeSet<u64> },
    /// The cluster lives, in this epoch.
    Lives { epoch: u64 },
}

impl Scouts {
    pub(super) fn to(links: &Links, voters: &BTreeMap<u64, Voter>, own: u64) -> Self {
        Self(voters.iter().filter(|(id, _)| **id != own).map(|(id, voter)| links.scout(*id, &voter.address)).collect())
    }

    pub(super) fn links(&self) -> &[Link] {
        &self.0
    }

    /// Waits until one of them takes part, or all are known to be blank. With `must_live` blank ones are waited for, too.
    pub(super) async fn ask(&self, must_live: bool) -> Heard {
        for turn in 0_u32.. {
            let heard: Vec<Option<Hello>> = self.0.iter().map(Link::heard).collect();
            if let Some(hello) = heard.iter().flatten().find(|hello| hello.has_state) {
                return Heard::Lives { epoch: hello.epoch };
            }
            let births: Option<BTreeSet<u64>> = heard.iter().map(|hello| Some(hello.as_ref()?.birth)).collect();
            if let Some(births) = births.filter(|_| !must_live) {
                return Heard::AllBlank { births };
            }
            if turn == PATIENCE_TURNS {
                match must_live {
                    true => tracing::warn!("waiting for a voter that has the records"),
                    false => {
                        tracing::info!("waiting for the other voters: a new cluster begins when all of them are there")
                    }
                }
            }
            // A blank one may have begun with the others since it was heard.
            if turn % 50 == 49 {
                self.0.iter().for_each(Link::hang_up);
            }
            sleep(Duration::from_millis(10)).await;
        }
        Heard::AllBlank { births: BTreeSet::new() }
    }
}
