//! Who lives, who waits for a restart, who is leaving: the dynamic supervisor's bookkeeping.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use tokio::time::Instant;

use super::child::{Birth, Down, Exit, Life, Obituaries};
use super::dynamic::{Happening, Key, NotStarted};
use super::intensity::{Backoff, Intensity, Window};
use super::poison::Poison;
use super::spec::Restart;

/// A child to be born at its place.
pub(super) struct Launch<K> {
    pub key: K,
    pub place: u16,
    pub birth: Birth,
}

/// ```text
///   start ──▶ Up ── abnormal end ──▶ Due ── timer ──▶ Up
///             │ stop                  │ stop
///             ▼                       ▼
///          Leaving ── end, kill ──▶ (gone)     also: normal end, one restart too many
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Up,
    Due,
    Leaving,
}

struct Entry<K> {
    key: K,
    life: Life,
    place: u16,
    state: State,
}

pub(super) struct Table<K> {
    obituaries: Arc<Obituaries>,
    restart: Restart,
    intensity: Intensity,
    backoff: Backoff,
    children_max: usize,
    slots: Vec<Option<Entry<K>>>,
    free: Vec<u32>,
    index: HashMap<K, u32, BuildHasherDefault<DefaultHasher>>,
    /// Of the last birth, counted over all children: no two lives share one.
    generation: u64,
    /// Restarts of those who had any lately, by slot.
    windows: HashMap<u32, Window, BuildHasherDefault<DefaultHasher>>,
    /// (when, slot, generation): restart if `Due`, kill if `Leaving`; out of date if the generation is another.
    timers: BinaryHeap<Reverse<(Instant, u32, u64)>>,
    pub poison: Poison<K>,
    is_stopping: bool,
}

impl<K: Key> Table<K> {
    pub fn new(
        obituaries: Arc<Obituaries>,
        restart: Restart,
        intensity: Intensity,
        backoff: Backoff,
        children_max: usize,
    ) -> Self {
        Self {
            obituaries,
            restart,
            intensity,
            backoff,
            children_max,
            slots: Vec::new(),
            free: Vec::new(),
            index: HashMap::default(),
            generation: 0,
            windows: HashMap::default(),
            timers: BinaryHeap::new(),
            poison: Poison::default(),
            is_stopping: false,
        }
    }

    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn start(&mut self, key: K, place: u16) -> Result<Launch<K>, NotStarted> {
        if self.is_stopping {
            return Err(NotStarted::Stopping);
        }
        if self.index.contains_key(&key) {
            return Err(NotStarted::Exists);
        }
        if self.index.len() >= self.children_max {
            return Err(NotStarted::Full);
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        let life = self.life(slot);
        let birth = Birth::new(life.clone(), self.poison.parked(&key));
        self.index.insert(key.clone(), slot);
        self.slots[slot as usize] = Some(Entry { key: key.clone(), life, place, state: State::Up });
        Ok(Launch { key, place, birth })
    }

    pub fn stop(&mut self, key: &K, kill_at: Instant) -> bool {
        let Some(&slot) = self.index.get(key) else { return false };
        self.leave(slot, Some(kill_at));
        true
    }

    pub fn kill(&mut self, key: &K) -> bool {
        let entry = self.index.get(key).and_then(|slot| self.slots[*slot as usize].as_ref());
        let Some(entry) = entry.filter(|entry| entry.state != State::Due) else { return false };
        entry.life.kill();
        true
    }

    /// No more starts; everybody is asked to end.
    pub fn order_all(&mut self) {
        self.is_stopping = true;
        for slot in 0..self.slots.len() as u32 {
            self.leave(slot, None);
        }
    }

    pub fn kill_all(&self) {
        self.slots.iter().flatten().for_each(|entry| entry.life.kill());
    }

    fn leave(&mut self, slot: u32, kill_at: Option<Instant>) {
        let Some(entry) = &mut self.slots[slot as usize] else { return };
        match entry.state {
            State::Leaving => {}
            State::Due => self.remove(slot),
            State::Up => {
                entry.state = State::Leaving;
                if !entry.life.order_stop() {
                    entry.life.kill();
                }
                if let Some(at) = kill_at {
                    self.timers.push(Reverse((at, slot, entry.life.generation())));
                }
            }
        }
    }

    pub fn bury(&mut self, down: Down, now: Instant, happenings: &mut Vec<Happening<K>>) {
        let Some(entry) = &mut self.slots[down.slot as usize] else { return };
        // The death of an older life is no news: its child was replaced or has left.
        if entry.life.generation() != down.generation || entry.state == State::Due {
            return;
        }
        let key = entry.key.clone();
        let is_abnormal = down.exit != Exit::Normal;
        if is_abnormal && down.input != 0 && self.poison.crashed(&key, down.input) {
            happenings.push(Happening::Parked { key: key.clone(), input: down.input });
        }
        let is_restarted = match self.restart {
            Restart::Permanent => true,
            Restart::Transient => is_abnormal,
            Restart::Temporary => false,
        };
        if entry.state == State::Leaving || !is_restarted {
            self.remove(down.slot);
            if is_abnormal && self.restart == Restart::Temporary {
                happenings.push(Happening::GivenUp { key, exit: down.exit });
            }
            return;
        }
        match self.windows.entry(down.slot).or_default().admit(now, self.intensity) {
            Some(nth) => {
                entry.state = State::Due;
                self.timers.push(Reverse((now + self.backoff.delay(nth), down.slot, down.generation)));
                happenings.push(Happening::Died { key, exit: down.exit });
            }
            None => {
                self.remove(down.slot);
                happenings.push(Happening::GivenUp { key, exit: down.exit });
            }
        }
    }

    pub fn next_timer(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((at, _, _))| *at)
    }

    pub fn fire(&mut self, now: Instant) -> Vec<Launch<K>> {
        let mut launches = Vec::new();
        while self.next_timer().is_some_and(|at| at <= now) {
            let Some(Reverse((_, slot, generation))) = self.timers.pop() else { break };
            let Some(entry) = &self.slots[slot as usize] else { continue };
            if entry.life.generation() != generation {
                continue;
            }
            match entry.state {
                State::Up => {}
                State::Leaving => entry.life.kill(),
                State::Due => launches.extend(self.birth(slot)),
            }
        }
        launches
    }

    /// Probes one of `ticks` parts of the children, and kills those of awake places that did not answer the last one.
    pub fn probe(&mut self, tick_nr: u32, ticks: u32, is_awake: &[bool]) {
        for entry in self.slots.iter().skip(tick_nr as usize).step_by(ticks as usize).flatten() {
            if entry.state != State::Up {
                continue;
            }
            if !entry.life.is_probed() {
                entry.life.probe();
            } else if is_awake.get(usize::from(entry.place)).copied().unwrap_or(true) {
                entry.life.kill();
            }
        }
        let now = Instant::now();
        self.windows.retain(|_, window| !window.is_quiet(now, self.intensity));
    }

    /// New lives for all who live at a place; the old ones are killed and no longer heard.
    pub fn rebirth(&mut self, place: u16) -> Vec<Launch<K>> {
        let mut launches = Vec::new();
        for slot in 0..self.slots.len() as u32 {
            let Some(entry) = &self.slots[slot as usize] else { continue };
            if entry.place != place || entry.state == State::Due {
                continue;
            }
            entry.life.kill();
            if entry.state == State::Leaving {
                self.remove(slot);
            } else {
                launches.extend(self.birth(slot));
            }
        }
        launches
    }

    fn birth(&mut self, slot: u32) -> Option<Launch<K>> {
        let life = self.life(slot);
        let entry = self.slots[slot as usize].as_mut()?;
        entry.life = life.clone();
        entry.state = State::Up;
        let birth = Birth::new(life, self.poison.parked(&entry.key));
        Some(Launch { key: entry.key.clone(), place: entry.place, birth })
    }

    fn life(&mut self, slot: u32) -> Life {
        self.generation += 1;
        Life::new(self.obituaries.clone(), slot, self.generation)
    }

    fn remove(&mut self, slot: u32) {
        if let Some(entry) = self.slots[slot as usize].take() {
            self.index.remove(&entry.key);
            self.windows.remove(&slot);
            self.poison.forget(&entry.key);
            self.free.push(slot);
        }
    }
}
