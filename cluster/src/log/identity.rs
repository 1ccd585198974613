//! Which store this is, said twice: in the store and beside it. A store that is another one, or that holds less than it
//! must, is not voted with.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::disk::Disk;
use super::mark::Mark;
use super::pieces::{Name, put, read_one};
use super::sled::SledDisk;
use super::{Log, Mode, codec};

const IDENTITY: &str = "identity.json";
const MARK: &str = "mark";
const STORE: &str = "records";
const GIVEN_UP: &str = "given-up";

/// Whose store it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub cluster_id: String,
    /// Rises when a cluster is recovered by force: the old one may never speak again.
    pub epoch: u64,
    pub node_id: u64,
    /// Drawn when the store was made.
    pub store_id: String,
}

/// An identity in its file.
#[derive(Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    identity: Identity,
    checksum: u32,
}

impl Identity {
    /// For a store yet to be made.
    pub fn fresh(cluster_id: &str, epoch: u64, node_id: u64) -> io::Result<Self> {
        let bits = || getrandom::u64().map_err(|error| io::Error::other(error.to_string()));
        let store_id = format!("{:016x}{:016x}", bits()?, bits()?);
        Ok(Self { cluster_id: cluster_id.to_owned(), epoch, node_id, store_id })
    }

    /// Of the store in this folder; `None`: there is none.
    pub fn read(folder: &Path) -> Result<Option<Self>, OpenError> {
        match fs::read(folder.join(IDENTITY)) {
            Ok(bytes) => {
                let kept: Kept = serde_json::from_slice(&bytes)
                    .map_err(|why| OpenError::Damaged(format!("{IDENTITY} cannot be read: {why}")))?;
                if kept.checksum != kept.identity.checksum() {
                    return Err(OpenError::Damaged(format!("{IDENTITY} does not fit its checksum")));
                }
                Ok(Some(kept.identity))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let is_store = folder.join(STORE).exists() || folder.join(MARK).exists();
                if is_store && !is_unfinished(folder)? {
                    return Err(OpenError::Damaged(format!("{IDENTITY} is missing")));
                }
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn checksum(&self) -> u32 {
        let Self { cluster_id, epoch, node_id, store_id } = self;
        crc32fast::hash(format!("{cluster_id} {epoch} {node_id} {store_id}").as_bytes())
    }

    /// Written whole or not at all.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let next = folder.join("identity.next");
        fs::write(&next, serde_json::to_vec_pretty(&Kept { checksum: self.checksum(), identity: self.clone() })?)?;
        File::open(&next)?.sync_all()?;
        fs::rename(&next, folder.join(IDENTITY))?;
        File::open(folder)?.sync_all()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The node must not vote with it. [`set_aside`], then rejoin under a new node id.
    #[error("the record store is damaged: {0}")]
    Damaged(String),
    /// One process at a time.
    #[error("the record store is open in another process")]
    InUse,
    #[error("the record store cannot be read or written")]
    Io(#[from] io::Error),
}

/// Makes the store of a folder that has none.
pub fn create(folder: &Path, identity: &Identity) -> Result<Log, OpenError> {
    fs::create_dir_all(folder)?;
    // It may be there, and promise nothing: a start before this one was cut short, or is under way and has the store's lock.
    if !folder.join(MARK).exists() {
        Mark::create(&folder.join(MARK))?;
    }
    if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        File::open(parent)?.sync_all()?;
    }
    let disk = SledDisk::open(&folder.join(STORE))?;
    let mut writes = Vec::new();
    put(&mut writes, Name::Identity, &codec::encode(identity)?);
    disk.commit(&writes)?;
    identity.write(folder)?;
    Log::open(Arc::new(disk), Some(Mark::open(&folder.join(MARK))?), Mode::Thread)
}

/// Whether a store was begun and never used: its identity comes last, after a mark that promises nothing.
fn is_unfinished(folder: &Path) -> Result<bool, OpenError> {
    Ok(folder.join(MARK).exists() && Mark::open(&folder.join(MARK))?.is_blank())
}

/// Opens the store of a folder. Its identity is the one beside it, or it is damaged.
pub fn open(folder: &Path, identity: &Identity) -> Result<Log, OpenError> {
    if !folder.join(STORE).join("db").exists() {
        return Err(OpenError::Damaged("its files are gone".to_owned()));
    }
    if !folder.join(MARK).exists() {
        return Err(OpenError::Damaged("the mark file is gone".to_owned()));
    }
    let disk = SledDisk::open(&folder.join(STORE))?;
    check(&disk, identity)?;
    Log::open(Arc::new(disk), Some(Mark::open(&folder.join(MARK))?), Mode::Thread)
}

fn check(disk: &dyn Disk, identity: &Identity) -> Result<(), OpenError> {
    let damaged = |why: io::Error| OpenError::Damaged(format!("its identity: {why}"));
    let found = read_one(disk, Name::Identity).map_err(damaged)?;
    let Some(bytes) = found else { return Err(OpenError::Damaged("it has no identity".to_owned())) };
    let own: Identity = codec::decode(&bytes).map_err(damaged)?;
    if own.store_id != identity.store_id {
        return Err(OpenError::Damaged("it is another node's, or an older copy's".to_owned()));
    }
    Ok(())
}

/// Leaves word for the next start: the cluster went on without this store, in a newer epoch.
pub fn give_up(folder: &Path, epoch: u64) -> io::Result<()> {
    fs::write(folder.join(GIVEN_UP), epoch.to_string())?;
    File::open(folder.join(GIVEN_UP))?.sync_all()
}

/// The word [`give_up`] left.
pub fn given_up(folder: &Path) -> Option<String> {
    let epoch = fs::read_to_string(folder.join(GIVEN_UP)).ok()?;
    Some(format!("the cluster was recovered without this node and is in epoch {epoch} now"))
}

/// Moves a store that was made elsewhere into a folder that has none; its identity comes last and makes it one.
pub fn take_place(from: &Path, folder: &Path) -> io::Result<()> {
    for name in [STORE, MARK, IDENTITY] {
        if from.join(name).exists() {
            fs::rename(from.join(name), folder.join(name))?;
        }
    }
    fs::remove_dir(from)?;
    File::open(folder)?.sync_all()
}

/// Removes a store that was never used.
pub fn discard(folder: &Path) -> io::Result<()> {
    let unless_gone = |outcome: io::Result<()>| match outcome {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    unless_gone(fs::remove_file(folder.join(IDENTITY)))?;
    unless_gone(fs::remove_file(folder.join(MARK)))?;
    unless_gone(fs::remove_dir_all(folder.join(STORE)))
}

/// Moves a damaged store out of the way; yields where it is now.
pub fn set_aside(folder: &Path) -> io::Result<PathBuf> {
    let free = (1..).map(|n| folder.join(format!("damaged-{n}"))).find(|path| !path.exists());
    let aside = free.ok_or_else(|| io::Error::other("no free name"))?;
    fs::create_dir_all(&aside)?;
    for name in [STORE, MARK, IDENTITY, GIVEN_UP] {
        match fs::rename(folder.join(name), aside.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}
