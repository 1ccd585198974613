//! Entries as they stand in the store: those that were appended together are one value, a run, under the index of the
//! first. The store beneath pays by the value: a node of its tree is copied for each.

use std::collections::BTreeMap;
use std::io;

use super::disk::Write;
use super::pieces::{self, Name};

/// Of this form of a run.
const VERSION: u8 = 2;
/// A run is closed when it reaches this size: what is cut from a run rewrites it.
const RUN_BYTES: usize = 64 * 1024;

/// The runs by their first index.
#[derive(Default)]
pub struct Runs(BTreeMap<u64, Run>);

struct Run {
    last: u64,
    pieces: u16,
}

impl Runs {
    /// Adds the writes of entries that follow each other, the first of this index.
    pub fn append(&mut self, writes: &mut Vec<Write>, mut first: u64, entries: &[Vec<u8>]) {
        let mut rest = entries;
        while !rest.is_empty() {
            let mut bytes = vec![VERSION];
            let mut count = 0;
            while count < rest.len() && (count == 0 || bytes.len() + rest[count].len() <= RUN_BYTES) {
                // 4 GB are more than the limits of an entry let through.
                bytes.extend(u32::try_from(rest[count].len()).unwrap_or(u32::MAX).to_be_bytes());
                bytes.extend(&rest[count]);
                count += 1;
            }
            let pieces = pieces::put(writes, Name::Entry(first), &bytes);
            let next = first + count as u64;
            self.0.insert(first, Run { last: next - 1, pieces });
            (first, rest) = (next, &rest[count..]);
        }
    }

    /// As it was found in the store.
    pub fn found(&mut self, first: u64, count: u64, pieces: u16) {
        self.0.insert(first, Run { last: (first + count).saturating_sub(1), pieces });
    }

    /// Adds the writes that remove every run which holds this entry or one behind it; yields the index from which on
    /// entries before it must be appended again.
    pub fn cut(&mut self, writes: &mut Vec<Write>, index: u64) -> u64 {
        let gone: Vec<u64> =
            self.0.iter().rev().take_while(|(_, run)| run.last >= index).map(|(first, _)| *first).collect();
        for first in &gone {
            if let Some(run) = self.0.remove(first) {
                pieces::delete(writes, Name::Entry(*first), run.pieces);
            }
        }
        gone.last().map_or(index, |first| index.min(*first))
    }

    /// Forgets the runs that hold nothing behind this entry, and names them.
    pub fn forget(&mut self, upto: u64) -> Vec<(Name, u16)> {
        let gone: Vec<u64> = self.0.iter().take_while(|(_, run)| run.last <= upto).map(|(first, _)| *first).collect();
        gone.into_iter().filter_map(|first| Some((Name::Entry(first), self.0.remove(&first)?.pieces))).collect()
    }
}

/// The entries of a run.
pub fn decode(run: &[u8]) -> io::Result<Vec<&[u8]>> {
    let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let (version, mut rest) = run.split_first().ok_or_else(|| invalid("a run of nothing"))?;
    if *version != VERSION {
        return Err(invalid(&format!("runs of form {version}, this version of Lyncpin reads {VERSION}")));
    }
    let mut entries = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk() {
        let (entry, behind) = behind
            .split_at_checked(u32::from_be_bytes(*length) as usize)
            .ok_or_else(|| invalid("a run is cut short"))?;
        entries.push(entry);
        rest = behind;
    }
    if rest.is_empty() && !entries.is_empty() { Ok(entries) } else { Err(invalid("a run is cut short")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::disk::Disk;
    use crate::log::memory::MemoryDisk;

    /// First indexes and counts on the disk.
    fn on(disk: &MemoryDisk) -> Vec<(u64, usize)> {
        let mut found = Vec::new();
        pieces::read_each(disk, pieces::ENTRIES, |(first, bytes, _)| {
            found.push((first, decode(&bytes)?.len()));
            Ok(())
        })
        .expect("readable");
        found
    }

    #[test]
    fn runs_are_closed_cut_and_forgotten_whole() {
        let (disk, mut runs) = (MemoryDisk::default(), Runs::default());
        let entries = vec![vec![7; 30_000]; 5];
        let commit = |writes: Vec<Write>| disk.commit(&writes).expect("memory");
        let mut writes = Vec::new();
        runs.append(&mut writes, 10, &entries);
        runs.append(&mut writes, 15, &[vec![1; 200_000], vec![2], vec![3]]);
        commit(writes);
        assert_eq!(on(&disk), [(10, 2), (12, 2), (14, 1), (15, 1), (16, 2)]);
        let mut writes = Vec::new();
        assert_eq!(runs.cut(&mut writes, 13), 12);
        commit(writes);
        assert_eq!(on(&disk), [(10, 2)]);
        let mut writes = Vec::new();
        assert_eq!(runs.cut(&mut writes, 13), 13, "nothing is there");
        runs.append(&mut writes, 12, &entries[..1]);
        commit(writes);
        assert!(runs.forget(10).is_empty(), "11 is in it");
        assert_eq!(runs.forget(11), [(Name::Entry(10), 12)]);
        assert_eq!(on(&disk), [(10, 2), (12, 1)], "whoever forgot it removes it");
    }

    #[test]
    fn a_run_cut_at_any_byte_is_refused() {
        let (disk, mut writes) = (MemoryDisk::default(), Vec::new());
        Runs::default().append(&mut writes, 0, &[vec![1, 2, 3], vec![], vec![4]]);
        disk.commit(&writes).expect("memory");
        let run = pieces::read_one(&disk, Name::Entry(0)).expect("readable").expect("there");
        assert_eq!(decode(&run).expect("whole"), [&[1, 2, 3][..], &[], &[4]]);
        let whole = [8, 12, run.len()];
        for length in 0..run.len() {
            assert_eq!(decode(&run[..length]).is_ok(), whole.contains(&length), "{length}");
        }
        assert!(decode(&[&[1], &run[1..]].concat()).is_err(), "of another form");
    }
}
