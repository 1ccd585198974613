//! All records in one file, to be put into a new cluster when every voter's store is lost.
//!
//! ```text
//! "LYNCPIN-BACKUP 1\n" | (length u32 | crc32 u32 | chunk)*        big endian; chunks as snapshots are sent
//! ```

use std::io;

use crate::image::{Assembly, Image};
use crate::machine::Snapshot;
use crate::record::Record;

const MAGIC: &[u8] = b"LYNCPIN-BACKUP 1\n";
/// Of a chunk: a record may pass the size at which chunks are closed.
const CHUNK_BYTES_MAX: usize = 8 * 1024 * 1024;

pub fn write(snapshot: Snapshot) -> Vec<u8> {
    let mut file = MAGIC.to_vec();
    for chunk in Image::new(snapshot).chunks() {
        file.extend(u32::try_from(chunk.len()).unwrap_or(u32::MAX).to_be_bytes());
        file.extend(crc32fast::hash(&chunk).to_be_bytes());
        file.extend(chunk);
    }
    file
}

/// `InvalidData`: it is no backup, or a damaged one.
pub fn read(file: &[u8]) -> io::Result<Snapshot> {
    let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidData, format!("not a whole backup: {why}"));
    let mut rest = file.strip_prefix(MAGIC).ok_or_else(|| invalid("it does not begin as one"))?;
    let mut assembly = Assembly::default();
    while !rest.is_empty() {
        let (head, body) = rest.split_at_checked(8).ok_or_else(|| invalid("it is cut"))?;
        let number = |bytes: &[u8]| bytes.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        let (length, checksum) = (number(&head[..4]) as usize, number(&head[4..]));
        if length > CHUNK_BYTES_MAX {
            return Err(invalid("a chunk is too long"));
        }
        let (chunk, after) = body.split_at_checked(length).ok_or_else(|| invalid("it is cut"))?;
        if crc32fast::hash(chunk) != checksum {
            return Err(invalid("a checksum does not fit"));
        }
        assembly.push(chunk)?;
        rest = after;
    }
    Ok(assembly.finish()?.snapshot().clone())
}

/// In order of their keys.
pub fn records_of(snapshot: Snapshot) -> Vec<Record> {
    snapshot.records
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Command, Machine};
    use crate::record::{Change, Claims, Incarnation};

    fn machine() -> Machine {
        let mut machine = Machine::default();
        machine.apply(Command::Join { node: "a".into() });
        for n in 0..500 {
            let key = format!("session/{n}").into();
            let claims = Claims::new([(format!("station/{n}"), "x")]);
            let body = vec![7; 600].into();
            let change = Change::Put { writer: Incarnation(1), key, expected: 0, claims, body };
            machine.apply(Command::Batch { changes: vec![change] });
        }
        machine
    }

    #[test]
    fn a_backup_comes_back_whole_and_a_damaged_one_does_not() {
        let machine = machine();
        let file = write(machine.snapshot());
        assert_eq!(Machine::restore(read(&file).unwrap()), machine);
        for at in (0..file.len()).step_by(97) {
            let mut flipped = file.clone();
            flipped[at] ^= 1;
            assert!(read(&flipped).is_err(), "byte {at}");
            assert!(read(&file[..at]).is_err(), "cut at {at}");
        }
        assert!(read(b"").is_err());
    }
}
