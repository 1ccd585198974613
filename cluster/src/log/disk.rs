//! What the log is written on: keys and values, durable when `commit` returns.

use std::io;

/// One change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
}

pub type Pair = (Vec<u8>, Vec<u8>);

pub trait Disk: Send + Sync + 'static {
    /// Carries out a batch in order; a power cut after this returned cannot undo it. After an error the disk is not
    /// written to again.
    fn commit(&self, writes: &[Write]) -> io::Result<()>;

    /// Pairs whose key begins with `prefix`, in order of keys.
    fn scan(&self, prefix: &[u8]) -> io::Result<Vec<Pair>>;

    /// Bytes taken.
    fn bytes(&self) -> u64;
}
