//! The high-water mark: what the store must hold, written outside of it. sled opens an emptied or shortened store without
//! a word (measured); a voter that believed it would forget its vote and what it has acknowledged.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::identity::OpenError;
use crate::raft::{LogId, Vote};

const SLOT_BYTES: usize = 64;
const VERSION: u8 = 1;
/// A mark that a power cut undoes only misses the damage of that moment, so it is synced now and then.
const SYNC_EVERY: Duration = Duration::from_millis(100);

/// What has been acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promises {
    /// Term and node of the vote.
    vote: Option<(u64, u64)>,
    /// The last entry: term and node it was proposed under, index. The index alone would take an older copy of a log that
    /// was truncated since, and grew again, for a newer one.
    last: Option<(u64, u64, u64)>,
}

impl Promises {
    pub fn of(vote: Option<Vote>, last: Option<LogId>) -> Self {
        Self {
            vote: vote.map(|vote| (vote.leader_id.term, vote.leader_id.node_id)),
            last: last.map(|id| (id.committed_leader_id().term, id.committed_leader_id().node_id, id.index())),
        }
    }
}

/// Two slots, written in turn: one of them is always whole.
#[derive(Debug)]
pub struct Mark(Mutex<State>);

#[derive(Debug)]
struct State {
    file: File,
    turn: u64,
    now: Promises,
    synced: Instant,
}

impl Mark {
    /// Of a store yet to be made: nothing is promised.
    pub fn create(path: &Path) -> io::Result<()> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
        file.write_all_at(&[encode(0, Promises::default()), encode(1, Promises::default())].concat(), 0)?;
        file.sync_all()
    }

    /// Damaged: neither slot can be read.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut slots = Vec::new();
        (&file).take(2 * SLOT_BYTES as u64).read_to_end(&mut slots)?;
        match slots.chunks_exact(SLOT_BYTES).filter_map(decode).max_by_key(|(turn, _)| *turn) {
            Some((turn, now)) => Ok(Self(Mutex::new(State { file, turn, now, synced: Instant::now() }))),
            None => Err(OpenError::Damaged("the mark file cannot be read".to_owned())),
        }
    }

    /// Whether the store holds what was promised.
    pub fn check(&self, vote: Option<Vote>, last: Option<LogId>) -> Result<(), OpenError> {
        let (promised, held) = (self.now(), Promises::of(vote, last));
        if held.vote < promised.vote {
            return Err(OpenError::Damaged(format!("it voted {:?} and knows {:?}", promised.vote, held.vote)));
        }
        if held.last < promised.last {
            return Err(OpenError::Damaged(format!(
                "it held entries up to {} and holds them up to {}",
                text(promised.last),
                text(held.last)
            )));
        }
        Ok(())
    }

    pub fn now(&self) -> Promises {
        self.lock().now
    }

    /// Whether nothing was ever promised.
    pub fn is_blank(&self) -> bool {
        self.now() == Promises::default()
    }

    /// Before a batch: what it takes back must not stay promised.
    pub fn lower_to(&self, next: Promises) -> io::Result<()> {
        let mut state = self.lock();
        if next.last >= state.now.last {
            return Ok(());
        }
        let lowered = Promises { last: next.last, ..state.now };
        state.write(lowered)?;
        state.sync()
    }

    /// After a batch.
    pub fn raise_to(&self, next: Promises) -> io::Result<()> {
        let mut state = self.lock();
        if next != state.now {
            state.write(next)?;
        }
        if state.synced.elapsed() >= SYNC_EVERY { state.sync() } else { Ok(()) }
    }

    pub fn sync(&self) -> io::Result<()> {
        self.lock().sync()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn write(&mut self, next: Promises) -> io::Result<()> {
        self.turn += 1;
        self.now = next;
        let at = (self.turn % 2) * SLOT_BYTES as u64;
        self.file.write_all_at(&encode(self.turn, next), at)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.synced = Instant::now();
        self.file.sync_data()
    }
}

fn text(last: Option<(u64, u64, u64)>) -> String {
    last.map_or_else(|| "none".to_owned(), |(term, _, index)| format!("{index} of term {term}"))
}

fn encode(turn: u64, promises: Promises) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    let (term, node) = promises.vote.unwrap_or_default();
    slot[0] = VERSION;
    slot[1] = u8::from(promises.vote.is_some());
    slot[2] = u8::from(promises.last.is_some());
    let (last_term, last_node, index) = promises.last.unwrap_or_default();
    for (at, value) in [turn, term, node, last_term, last_node, index].into_iter().enumerate() {
        slot[8 + at * 8..16 + at * 8].copy_from_slice(&value.to_be_bytes());
    }
    let sum = crc32fast::hash(&slot[..SLOT_BYTES - 4]);
    slot[SLOT_BYTES - 4..].copy_from_slice(&sum.to_be_bytes());
    slot
}

fn decode(slot: &[u8]) -> Option<(u64, Promises)> {
    let (body, sum) = slot.split_at_checked(SLOT_BYTES - 4)?;
    if body[0] != VERSION || crc32fast::hash(body).to_be_bytes() != sum {
        return None;
    }
    let number = |at: usize| body[8 + at * 8..16 + at * 8].iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
    let vote = (body[1] == 1).then(|| (number(1), number(2)));
    let last = (body[2] == 1).then(|| (number(3), number(4), number(5)));
    Some((number(0), Promises { vote, last }))
}
