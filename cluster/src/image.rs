//! A snapshot of the machine in the form in which it is kept and sent: a run of chunks, so that no node ever holds a
//! second copy of all bytes, and no reader has to trust a length it was told.

use std::io;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::machine::Snapshot;
use crate::raft::SnapshotMeta;
use crate::record::{Incarnation, Record};

/// A chunk is closed when its records reach this size; one record may pass it.
pub const CHUNK_BYTES: usize = 128 * 1024;

/// The machine at one log index. Cloning shares it, and its records share their bytes with the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image(Arc<Snapshot>);

/// One chunk. The head comes first and says how many records follow.
#[derive(Serialize, Deserialize)]
enum Chunk {
    Head(Head),
    Records(Vec<Record>),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Head {
    revision: u64,
    incarnation: u64,
    #[serde(default)]
    feature_level: u32,
    living: Vec<(Incarnation, Arc<str>)>,
    records: u64,
}

impl Image {
    pub fn new(snapshot: Snapshot) -> Self {
        Self(Arc::new(snapshot))
    }

    pub fn snapshot(&self) -> &Snapshot {
        &self.0
    }

    /// The chunks in order, each written when it is asked for.
    pub fn chunks(&self) -> impl Iterator<Item = Vec<u8>> + Send + use<> {
        let image = self.0.clone();
        let mut next = None;
        std::iter::from_fn(move || {
            let from = match next {
                None => {
                    next = Some(0);
                    let head = Head {
                        revision: image.revision,
                        incarnation: image.incarnation,
                        feature_level: image.feature_level,
                        living: image.living.clone(),
                        records: image.records.len() as u64,
                    };
                    return Some(encode(&Chunk::Head(head)));
                }
                Some(from) if from == image.records.len() => return None,
                Some(from) => from,
            };
            let mut bytes = 0;
            let taken = image.records[from..].iter().take_while(|record| {
                let has_room = bytes < CHUNK_BYTES;
                bytes += record.key.len() + record.body.len();
                has_room
            });
            let records: Vec<Record> = taken.cloned().collect();
            next = Some(from + records.len());
            Some(encode(&Chunk::Records(records)))
        })
    }
}

/// Puts an image together again.
#[derive(Debug, Default)]
pub struct Assembly {
    head: Option<Head>,
    records: Vec<Record>,
}

impl Assembly {
    /// `InvalidData`: not a chunk, or not one that follows.
    pub fn push(&mut self, chunk: &[u8]) -> io::Result<()> {
        let chunk: Chunk = rmp_serde::from_slice(chunk).map_err(|error| invalid(&error.to_string()))?;
        match (chunk, &self.head) {
            (Chunk::Head(head), None) => self.head = Some(head),
            (Chunk::Records(mut records), Some(head)) => {
                self.records.append(&mut records);
                if self.records.len() as u64 > head.records {
                    return Err(invalid("more records than the head says"));
                }
            }
            _ => return Err(invalid("the head comes first, and once")),
        }
        Ok(())
    }

    /// `InvalidData`: chunks are missing.
    pub fn finish(self) -> io::Result<Image> {
        let head = self.head.ok_or_else(|| invalid("there is no head"))?;
        if self.records.len() as u64 != head.records {
            return Err(invalid(&format!("{} records of {}", self.records.len(), head.records)));
        }
        Ok(Image::new(Snapshot {
            revision: head.revision,
            incarnation: head.incarnation,
            feature_level: head.feature_level,
            living: head.living,
            records: self.records,
        }))
    }
}

fn encode(chunk: &Chunk) -> Vec<u8> {
    rmp_serde::to_vec_named(chunk).expect("memory takes every chunk")
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a snapshot that cannot be read: {why}"))
}

/// Where the one current snapshot is kept.
pub trait Shelf: Send + Sync + 'static {
    /// Replaces the former snapshot; resolves when a power cut cannot undo it.
    fn save(&self, meta: SnapshotMeta, image: Image) -> BoxFuture<'static, io::Result<()>>;

    fn load(&self) -> BoxFuture<'static, io::Result<Option<(SnapshotMeta, Image)>>>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Command, Machine};
    use crate::record::{Change, Claims};

    fn image(records: usize, body: usize) -> Image {
        let mut machine = Machine::default();
        machine.apply(Command::Join { node: "a".into() });
        for n in 0..records {
            let change = Change::Put {
                writer: Incarnation(1),
                key: format!("session/{n}").into(),
                expected: 0,
                claims: Claims::new([(format!("dialog/{n}"), "x")]),
                body: vec![7; body].into(),
            };
            machine.apply(Command::Batch { changes: vec![change] });
        }
        machine.apply(Command::Raise { level: 3 });
        Image::new(machine.snapshot())
    }

    fn assembled(chunks: impl IntoIterator<Item = Vec<u8>>) -> io::Result<Image> {
        let mut assembly = Assembly::default();
        chunks.into_iter().try_for_each(|chunk| assembly.push(&chunk))?;
        assembly.finish()
    }

    #[test]
    fn an_image_comes_back_from_its_chunks() {
        for image in [image(0, 0), image(1, CHUNK_BYTES * 3), image(700, 1_000)] {
            let chunks: Vec<_> = image.chunks().collect();
            assert_eq!(assembled(chunks).expect("assembled"), image);
        }
        assert!(image(700, 1_000).chunks().count() > 5, "700 KB are several chunks");
    }

    #[test]
    fn chunks_missing_doubled_cut_or_out_of_order_are_refused() {
        let chunks: Vec<_> = image(700, 1_000).chunks().collect();
        let last = chunks.len() - 1;
        for wrong in 0..chunks.len() {
            let without = chunks.iter().enumerate().filter(|(n, _)| *n != wrong).map(|(_, chunk)| chunk.clone());
            assert!(assembled(without).is_err(), "without chunk {wrong}");
            let mut doubled = chunks.clone();
            doubled.insert(wrong, chunks[wrong].clone());
            assert!(assembled(doubled).is_err(), "chunk {wrong} twice");
            let mut cut = chunks.clone();
            cut[wrong].truncate(chunks[wrong].len() / 2);
            assert!(assembled(cut).is_err(), "chunk {wrong} cut");
        }
        let mut turned = chunks;
        turned.swap(0, last);
        assert!(assembled(turned).is_err());
    }
}
