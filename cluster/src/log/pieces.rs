//! Values under their names. A value is cut into pieces, because the store beneath keeps large ones in files of their
//! own, which the log's sync does not reach; each piece carries a checksum over its key and bytes.

use std::io;

use super::disk::{Disk, Write};

/// sled makes a page a file of its own from 128 KiB on, and a page holds up to some 18 values.
const PIECE_BYTES: usize = 5 * 1024;

/// What stands in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    Identity,
    Vote,
    Committed,
    Purged,
    Entry(u64),
    /// Which snapshot is the current one.
    Snapshot,
    /// A chunk of a snapshot: its number and the chunk's.
    Chunk(u64, u32),
}

impl Name {
    fn prefix(self) -> Vec<u8> {
        let (kind, rest): (u8, Vec<u8>) = match self {
            Self::Identity => (b'i', Vec::new()),
            Self::Vote => (b'v', Vec::new()),
            Self::Committed => (b'c', Vec::new()),
            Self::Purged => (b'p', Vec::new()),
            Self::Entry(index) => (b'l', index.to_be_bytes().to_vec()),
            Self::Snapshot => (b's', Vec::new()),
            Self::Chunk(snapshot, chunk) => (b'x', [&snapshot.to_be_bytes()[..], &chunk.to_be_bytes()[..]].concat()),
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

/// Adds the removal of a value of so many pieces.
pub fn delete(writes: &mut Vec<Write>, name: Name, pieces: u16) {
    // The first piece last: it says how many there are.
    writes.extend((0..pieces).rev().map(|piece| Write::Delete(name.key(piece))));
}

/// Every value of the name's kind, in order: the index (0 for kinds with one value), the value, its pieces. For chunks:
/// those of the snapshot named, indexed by chunk.
pub fn read_all(disk: &dyn Disk, name: Name) -> io::Result<Vec<(u64, Vec<u8>, u16)>> {
    let prefix = match name {
        Name::Entry(_) => vec![b'l'],
        Name::Chunk(snapshot, _) => [&b"x"[..], &snapshot.to_be_bytes()[..]].concat(),
        one => one.prefix(),
    };
    let mut values: Vec<(u64, Vec<u8>, u16)> = Vec::new();
    let mut open: Option<(Vec<u8>, u16, u16)> = None;
    for (key, sealed) in disk.scan(&prefix)? {
        let (stem, piece) =
            key.split_at_checked(key.len().wrapping_sub(2)).ok_or_else(|| invalid("a key too short"))?;
        let piece = u16::from_be_bytes([piece[0], piece[1]]);
        let (count, bytes) = unseal(&key, &sealed)?;
        let (own, next, of) = match open.take() {
            Some((own, next, of)) if own == stem => (own, next, of),
            Some(_) => return Err(invalid("a value's last pieces are missing")),
            None => (stem.to_vec(), 0, count),
        };
        if piece != next || count != of {
            return Err(invalid("a piece is missing"));
        }
        if piece == 0 {
            values.push((index_of(stem, &prefix), bytes.to_vec(), count));
        } else if let Some((_, value, _)) = values.last_mut() {
            value.extend(bytes);
        }
        if next + 1 < of {
            open = Some((own, next + 1, of));
        }
    }
    if open.is_some() {
        return Err(invalid("the last value's last pieces are missing"));
    }
    Ok(values)
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
