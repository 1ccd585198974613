//! A disk that is none, for simulations and tests: what was committed outlives its log, and nothing else does.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, See, Write};

/// Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk(Arc<Mutex<BTreeMap<Vec<u8>, Vec<u8>>>>);

impl MemoryDisk {
    fn pairs(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for MemoryDisk {
    fn commit(&self, writes: &[Write]) -> io::Result<()> {
        let mut pairs = self.pairs();
        for write in writes {
            match write {
                Write::Put(key, value) => pairs.insert(key.clone(), value.clone()),
                Write::Delete(key) => pairs.remove(key),
            };
        }
        Ok(())
    }

    fn each(&self, prefix: &[u8], see: See<'_>) -> io::Result<()> {
        let pairs = self.pairs();
        let mut found = pairs.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
        found.try_for_each(|(key, value)| see(key, value))
    }

    fn bytes(&self) -> u64 {
        self.pairs().iter().map(|(key, value)| (key.len() + value.len()) as u64).sum()
    }
}
