//! What an opened store holds, read once; a store that does not hold together is damaged.

use std::io;

use openraft::entry::RaftEntry;
use serde::de::DeserializeOwned;

use super::disk::Disk;
use super::pieces::{ENTRIES, Name, read_each, read_one, removals};
use super::{OpenError, Tail, codec, runs, shelf};
use crate::raft::Entry;

pub(super) fn load(disk: &dyn Disk) -> Result<Tail, OpenError> {
    let mut tail = Tail {
        vote: one(disk, Name::Vote, "the vote")?,
        committed: one(disk, Name::Committed, "the commit index")?,
        purged: one(disk, Name::Purged, "the purge index")?,
        ..Tail::default()
    };
    let held = shelf::look_over(disk).map_err(|why| damaged("the snapshot", &why))?;
    if held.last < tail.purged {
        return Err(OpenError::Damaged("there is no snapshot of what the log no longer holds".to_owned()));
    }
    let mut stale = held.stale;
    let first = tail.purged.map_or(0, |id| id.index() + 1);
    let mut next = first;
    read_each(disk, ENTRIES, |(begins, bytes, pieces)| {
        let run = runs::decode(&bytes)?;
        if begins + run.len() as u64 <= first {
            stale.push((Name::Entry(begins), pieces));
            return Ok(());
        }
        tail.runs.found(begins, run.len() as u64, pieces);
        // Of a run that was purged in part only the rest counts.
        for (index, bytes) in (begins..).zip(run).filter(|(index, _)| *index >= first) {
            let entry: Entry = codec::decode(bytes)?;
            if index != next || entry.index() != index {
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("entry {next} is missing")));
            }
            next += 1;
            tail.keep(entry, bytes.len() as u64);
        }
        Ok(())
    })
    .map_err(|why| damaged("the log", &why))?;
    // Purges and saves that were cut short, before anything is written anew under the same keys.
    removals(&stale).iter().try_for_each(|writes| disk.commit(writes))?;
    Ok(tail)
}

fn one<T: DeserializeOwned>(disk: &dyn Disk, name: Name, what: &str) -> Result<Option<T>, OpenError> {
    let read = read_one(disk, name).and_then(|found| found.map(|bytes| codec::decode(&bytes)).transpose());
    read.map_err(|why| damaged(what, &why))
}

fn damaged(what: &str, why: &io::Error) -> OpenError {
    OpenError::Damaged(format!("{what}: {why}"))
}
