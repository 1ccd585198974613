//! Values under their names. A value is cut into pieces, because the store beneath keeps large ones in files of their
//! own, which the log's sync does not reach; each piece carries a checksum over its key and bytes.

use std::io;

use super::disk::{Disk, Write};

/// sled makes a page a file of its own from 128 KiB on, and a page holds up to some 18 values.
const PIECE_BYTES: usize = 5 * 1024;

/// How the keys of entries begin; the index follows.
pub const ENTRIES: &[u8] = b"l";
/// How the keys of chunks begin; the snapshot's number follows, then the chunk's, 32 bits each of what [`read_each`] shows.
pub const CHUNKS: &[u8] = b"x";

/// How the keys of one snapshot's chunks begin.
pub fn chunks_of(snapshot: u32) -> Vec<u8> {
    [CHUNKS, &snapshot.to_be_bytes()].concat()
}

/// What stands in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    Identity,
    Vote,
    Committed,
    Purged,
    /// A run of entries, by the first one's index.
    Entry(u64),
    /// Which snapshot is the current one.
    Snapshot,
    /// A chunk of a snapshot: its number and the chunk's.
    Chunk(u32, u32),
}

impl Name {
    fn prefix(self) -> Vec<u8> {
        let (kind, rest): (u8, Vec<u8>) = match self {
            Self::Identity => (b'i', Vec::new()),
            Self::Vote => (b'v', Vec::new()),
            Self::Committed => (b'c', Vec::new()),
            Self::Purged => (b'p', Vec::new()),
            Self::Entry(index) => (ENTRIES[0], index.to_be_bytes().to_vec()),
            Self::Snapshot => (b's', Vec::new()),
            Self::Chunk(snapshot, chunk) => (CHUNKS[0], [snapshot.to_be_bytes(), chunk.to_be_bytes()].concat()),
        };
        [&[kind][..], &rest[..]].concat()
    }

    fn key(self, piece: u16) -> Vec<u8> {
        let mut key = self.prefix();
        key.extend(piece.to_be_bytes());
        key
    }
}

/// Adds the writes of one value; yields how many pieces it has.
pub fn put(writes: &mut Vec<Write>, name: Name, value: &[u8]) -> u16 {
    let count = value.len().div_ceil(PIECE_BYTES).max(1);
    for piece in 0..count {
        let bytes = &value[piece * PIECE_BYTES..value.len().min((piece + 1) * PIECE_BYTES)];
        let key = name.key(number(piece));
        let mut sealed = number(count).to_be_bytes().to_vec();
        sealed.extend(bytes);
        let sum = checksum(&key, &sealed);
        sealed.extend(sum.to_be_bytes());
        writes.push(Write::Put(key, sealed));
    }
    number(count)
}

/// Keys removed by one batch, more or less: more at once would keep the appends behind it waiting.
const REMOVED_KEYS: usize = 256;

/// Adds the writes that remove one value.
pub fn delete(writes: &mut Vec<Write>, name: Name, pieces: u16) {
    writes.extend((0..pieces).map(|piece| Write::Delete(name.key(piece))));
}

/// The batches that remove these values; each removes whole values.
pub fn removals(values: &[(Name, u16)]) -> Vec<Vec<Write>> {
    let mut batches = vec![Vec::new()];
    for (name, pieces) in values {
        if batches.last().is_some_and(|batch: &Vec<Write>| batch.len() >= REMOVED_KEYS) {
            batches.push(Vec::new());
        }
        if let Some(batch) = batches.last_mut() {
            delete(batch, *name, *pieces);
        }
    }
    batches.retain(|batch| !batch.is_empty());
    batches
}

/// A value as it is read: what its key says behind the prefix, its bytes, its pieces.
pub type Value = (u64, Vec<u8>, u16);

/// Shows every value whose key begins with `prefix`, in order: [`ENTRIES`], [`chunks_of`], or a name's own.
pub fn read_each(disk: &dyn Disk, prefix: &[u8], mut see: impl FnMut(Value) -> io::Result<()>) -> io::Result<()> {
    let mut open: Option<Open> = None;
    disk.each(prefix, &mut |key, sealed| {
        let (stem, piece) =
            key.split_at_checked(key.len().wrapping_sub(2)).ok_or_else(|| invalid("a key too short"))?;
        let piece = u16::from_be_bytes([piece[0], piece[1]]);
        let (count, bytes) = unseal(key, sealed)?;
        let mut value = match open.take() {
            Some(value) if value.stem == stem => value,
            Some(_) => return Err(invalid("a value's last pieces are missing")),
            None => Open { stem: stem.to_vec(), bytes: Vec::new(), next: 0, count },
        };
        if piece != value.next || count != value.count {
            return Err(invalid("a piece is missing"));
        }
        value.bytes.extend(bytes);
        value.next += 1;
        if value.next == count {
            return see((index_of(stem, prefix), value.bytes, count));
        }
        open = Some(value);
        Ok(())
    })?;
    match open {
        Some(_) => Err(invalid("the last value's last pieces are missing")),
        None => Ok(()),
    }
}

/// A value whose last piece is not read yet.
struct Open {
    stem: Vec<u8>,
    bytes: Vec<u8>,
    next: u16,
    count: u16,
}

/// The one value of that name.
pub fn read_one(disk: &dyn Disk, name: Name) -> io::Result<Option<Vec<u8>>> {
    let mut found = None;
    read_each(disk, &name.prefix(), |(_, bytes, _)| {
        found = Some(bytes);
        Ok(())
    })?;
    Ok(found)
}

fn index_of(stem: &[u8], prefix: &[u8]) -> u64 {
    stem[prefix.len().min(stem.len())..].iter().fold(0, |index, byte| index << 8 | u64::from(*byte))
}

fn unseal<'a>(key: &[u8], sealed: &'a [u8]) -> io::Result<(u16, &'a [u8])> {
    let (body, sum) = sealed.split_at_checked(sealed.len().wrapping_sub(4)).ok_or_else(|| invalid("cut short"))?;
    if checksum(key, body).to_be_bytes() != sum {
        return Err(invalid("the checksum is wrong"));
    }
    let (count, bytes) = body.split_at_checked(2).ok_or_else(|| invalid("cut short"))?;
    Ok((u16::from_be_bytes([count[0], count[1]]), bytes))
}

fn checksum(key: &[u8], bytes: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(key);
    sum.update(bytes);
    sum.finalize()
}

fn number(count: usize) -> u16 {
    // 65,535 pieces are 335 MB; a batch's limits keep it under 270 MB.
    u16::try_from(count).unwrap_or(u16::MAX)
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}
