//! A disk with a power switch: what was synced stays, what was only written is gone, and it may lie about which is which.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lyncpin_cluster::log::disk::{Disk, See, Write};
use lyncpin_cluster::mutant::{Mutant, mutant};

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;

/// Clones are the same disk.
#[derive(Clone, Default)]
pub struct SimDisk(Arc<Mutex<Platter>>);

#[derive(Default)]
struct Platter {
    synced: Pairs,
    /// Written after the last true sync, in order.
    unsynced: Vec<Write>,
    /// As a reader sees it: synced and unsynced.
    seen: Pairs,
    lies: bool,
    /// What an opened log writes belongs to this life; a log of an earlier one writes nothing any more.
    life: u64,
}

/// The disk as one process holds it.
pub struct Handle {
    disk: SimDisk,
    life: u64,
}

impl SimDisk {
    /// For a process that starts now; the handles of earlier ones are dead.
    pub fn open(&self) -> Handle {
        let mut platter = self.lock();
        platter.life += 1;
        Handle { disk: self.clone(), life: platter.life }
    }

    /// For somebody who only looks.
    pub fn peek(&self) -> Handle {
        Handle { disk: self.clone(), life: self.lock().life }
    }

    /// The process is gone, the machine runs: what it wrote is there.
    pub fn close(&self) {
        self.lock().life += 1;
    }

    /// The power is gone: yields how many writes that were said to be durable are lost.
    pub fn cut_power(&self, kept_of_unsynced: usize) -> usize {
        let mut platter = self.lock();
        platter.life += 1;
        let kept = kept_of_unsynced.min(platter.unsynced.len());
        let unsynced = std::mem::take(&mut platter.unsynced);
        for write in &unsynced[..kept] {
            apply(&mut platter.synced, write);
        }
        platter.seen = platter.synced.clone();
        unsynced.len() - kept
    }

    /// From now on a sync is acknowledged and not done; or done again, with all that waits.
    pub fn lie(&self, lies: bool) {
        let mut platter = self.lock();
        platter.lies = lies;
        if !lies {
            let unsynced = std::mem::take(&mut platter.unsynced);
            unsynced.iter().for_each(|write| apply(&mut platter.synced, write));
        }
    }

    pub fn unsynced(&self) -> usize {
        self.lock().unsynced.len()
    }

    /// A new, empty disk is put in.
    pub fn lose_all(&self) {
        let mut platter = self.lock();
        let life = platter.life + 1;
        *platter = Platter { life, ..Platter::default() };
    }

    fn lock(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn apply(pairs: &mut Pairs, write: &Write) {
    match write {
        Write::Put(key, value) => drop(pairs.insert(key.clone(), value.clone())),
        Write::Delete(key) => drop(pairs.remove(key)),
    }
}

impl Disk for Handle {
    fn commit(&self, writes: &[Write]) -> io::Result<()> {
        let mut platter = self.disk.lock();
        if platter.life != self.life {
            return Err(io::Error::other("the process that wrote this is gone"));
        }
        for write in writes {
            apply(&mut platter.seen, write);
            if platter.lies || mutant(Mutant::NoFsync) {
                platter.unsynced.push(write.clone());
            } else {
                apply(&mut platter.synced, write);
            }
        }
        Ok(())
    }

    fn each(&self, prefix: &[u8], see: See<'_>) -> io::Result<()> {
        let platter = self.disk.lock();
        let mut found = platter.seen.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
        found.try_for_each(|(key, value)| see(key, value))
    }

    fn bytes(&self) -> u64 {
        self.disk.lock().seen.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum()
    }
}
