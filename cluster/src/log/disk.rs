//! What the log is written on: keys and values, durable when `commit` returns.

use std::io;

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
}

/// Takes a key and its value.
pub type See<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> io::Result<()>;

pub trait Disk: Send + Sync + 'static {
    /// Carries out a batch in order; a power cut after this returned cannot undo it. After an error the disk is not
    /// written to again.
    fn commit(&self, writes: &[Write]) -> io::Result<()>;

    /// Shows the pairs whose key begins with `prefix`, in order of keys, one at a time; the first error ends it.
    fn each(&self, prefix: &[u8], see: See<'_>) -> io::Result<()>;

    /// Bytes taken.
    fn bytes(&self) -> u64;
}
