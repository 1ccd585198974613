//! The store on sled 0.34, the only file that names it.
//!
//! sled's `flush` calls `sync_file_range`, which neither writes file sizes nor empties the disk's cache: of 15 power cuts
//! 15 lost everything (measured). So each batch is followed by an `fdatasync` of our own, and nothing is flushed behind
//! our back. A damaged file makes sled panic while it opens, so it opens on a thread of its own.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::disk::{Disk, See, Write};
use super::identity::OpenError;

const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// What makes a file's bytes durable.
pub type Sync = Box<dyn Fn(&File) -> io::Result<()> + Send + std::marker::Sync>;

pub struct SledDisk {
    db: sled::Db,
    file: File,
    folder: PathBuf,
    sync: Sync,
}

impl SledDisk {
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        Self::open_with(folder, Box::new(File::sync_data))
    }

    /// With another sync: a test's.
    pub fn open_with(folder: &Path, sync: Sync) -> Result<Self, OpenError> {
        fs::create_dir_all(folder)?;
        let path = folder.to_owned();
        let opening = std::thread::Builder::new().name("sled".into()).spawn(move || {
            let config = sled::Config::new().path(path).cache_capacity(CACHE_BYTES).flush_every_ms(None);
            config.open()
        })?;
        let db = match opening.join() {
            Ok(Ok(db)) => db,
            Ok(Err(sled::Error::Io(error))) if error.to_string().contains("acquire lock") => {
                return Err(OpenError::InUse);
            }
            Ok(Err(sled::Error::Io(error))) if !is_of_damage(&error) => return Err(error.into()),
            Ok(Err(error)) => return Err(OpenError::Damaged(error.to_string())),
            Err(_) => return Err(OpenError::Damaged("sled panicked while it opened it".to_owned())),
        };
        let file = File::open(folder.join("db"))?;
        // The files themselves must outlive a power cut, not only their bytes.
        file.sync_all()?;
        File::open(folder)?.sync_all()?;
        if let Some(parent) = folder.parent() {
            File::open(parent)?.sync_all()?;
        }
        Ok(Self { db, file, folder: folder.to_owned(), sync })
    }
}

/// sled panics over a damaged page, whenever it comes to it.
fn unpanicked<T>(what: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(what))
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::InvalidData, "sled panicked over a page it cannot read")))
}

impl Disk for SledDisk {
    fn commit(&self, writes: &[Write]) -> io::Result<()> {
        unpanicked(|| self.write(writes))
    }

    fn each(&self, prefix: &[u8], see: See<'_>) -> io::Result<()> {
        unpanicked(|| {
            self.db.scan_prefix(prefix).try_for_each(|pair| {
                let (key, value) = pair.map_err(failed)?;
                see(&key, &value)
            })
        })
    }

    fn bytes(&self) -> u64 {
        let sizes = fs::read_dir(&self.folder).into_iter().flatten().filter_map(|entry| entry.ok()?.metadata().ok());
        sizes.map(|metadata| metadata.len()).sum()
    }
}

impl SledDisk {
    fn write(&self, writes: &[Write]) -> io::Result<()> {
        let mut batch = sled::Batch::default();
        for write in writes {
            match write {
                Write::Put(key, value) => batch.insert(key.as_slice(), value.as_slice()),
                Write::Delete(key) => batch.remove(key.as_slice()),
            }
        }
        self.db.apply_batch(batch).map_err(failed)?;
        self.db.flush().map_err(failed)?;
        (self.sync)(&self.file)
    }
}

/// A file shorter or other than sled expects, and not a disk that cannot be read.
fn is_of_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

fn failed(error: sled::Error) -> io::Error {
    match error {
        sled::Error::Io(error) => error,
        other => io::Error::other(other),
    }
}
