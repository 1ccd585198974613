//! One record as the contract has it: what each operation may answer, and what it leaves.

use std::collections::BTreeSet;

/// What a client asks. `writer`: an incarnation; `expected`: the version it has seen, 0 for none; each put has a body of
/// its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Put { writer: u64, expected: u64, body: u64 },
    Delete { writer: u64, expected: u64 },
    Take { writer: u64, expected: u64 },
    Read,
}

/// What it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The version the change made.
    Done(u64),
    /// What a read found.
    Found(Option<Seen>),
    /// Nothing changed: the record is at this version; 0: there is none.
    Stale(u64),
    NotOwner(u64),
    /// The writer is fenced.
    Fenced,
    /// No answer that says whether it happened.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub owner: u64,
    pub version: u64,
    pub body: u64,
}

/// The record at a moment of the order. Fields that nobody was told yet are `None` and fixed by the first to tell.
#[derive(Clone, Debug, Default, Hash, PartialEq, Eq)]
pub struct Cell {
    /// Every later version is higher.
    version_min: u64,
    held: Option<Held>,
    /// Incarnations that ended. A record moves to an heir without being asked, but never back to one of these.
    gone: BTreeSet<u64>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct Held {
    owner: Option<u64>,
    version: Option<u64>,
    body: u64,
}

impl Cell {
    /// What the record may be after an operation with this outcome; nothing: it cannot have had it here.
    pub fn after(&self, action: &Action, outcome: &Outcome) -> Vec<Self> {
        self.now_or_moved().filter_map(|cell| cell.told(action, outcome)).collect()
    }

    /// What it may be after a change of which nobody was told; nothing: it would have changed nothing here.
    pub fn after_unknown(&self, action: &Action) -> Vec<Self> {
        self.now_or_moved().filter_map(|cell| cell.changed(action)).collect()
    }

    /// The record as it is, and as it is when its owner has ended and an heir has it.
    fn now_or_moved(&self) -> impl Iterator<Item = Self> {
        let moved = self.held.as_ref().map(|held| {
            let mut moved = self.clone();
            moved.gone.extend(held.owner);
            moved.held = Some(Held { owner: None, version: None, body: held.body });
            moved
        });
        [self.clone()].into_iter().chain(moved)
    }

    fn told(mut self, action: &Action, outcome: &Outcome) -> Option<Self> {
        let fits = match (action, outcome) {
            (Action::Read, Outcome::Found(None)) => self.held.is_none(),
            (Action::Read, Outcome::Found(Some(seen))) => {
                self.held.as_ref().is_some_and(|held| held.body == seen.body)
                    && self.is_owned_by(seen.owner)
                    && self.is_at(seen.version)
            }
            (_, Outcome::Done(version)) => return self.changed(action)?.risen_to(*version),
            (Action::Put { writer, .. } | Action::Delete { writer, .. }, Outcome::NotOwner(owner)) => {
                self.lives(*writer) && writer != owner && self.is_owned_by(*owner)
            }
            (Action::Put { writer, expected, .. } | Action::Delete { writer, expected }, Outcome::Stale(version)) => {
                self.lives(*writer)
                    && expected != version
                    && (*version == 0 || self.is_owned_by(*writer))
                    && self.is_at(*version)
            }
            (Action::Take { writer, expected }, Outcome::Stale(version)) => {
                self.lives(*writer) && expected != version && self.is_at(*version)
            }
            (
                Action::Put { writer, .. } | Action::Delete { writer, .. } | Action::Take { writer, .. },
                Outcome::Fenced,
            ) => {
                self.gone.insert(*writer);
                self.held.as_ref().is_none_or(|held| held.owner != Some(*writer))
            }
            (Action::Read, _) | (_, Outcome::Unknown | Outcome::Found(_) | Outcome::NotOwner(_)) => false,
        };
        fits.then_some(self)
    }

    /// Carries out a change if the contract lets it; its version is not known yet.
    fn changed(mut self, action: &Action) -> Option<Self> {
        let (writer, expected, must_own) = match action {
            Action::Put { writer, expected, .. } | Action::Delete { writer, expected } => (*writer, *expected, true),
            Action::Take { writer, expected } => (*writer, *expected, false),
            Action::Read => return None,
        };
        let may = self.lives(writer)
            && (expected != 0 || matches!(action, Action::Put { .. }))
            && (expected == 0 || !must_own || self.is_owned_by(writer))
            && self.is_at(expected);
        let held = self.held.take();
        self.held = match action {
            Action::Put { body, .. } => Some(Held { owner: Some(writer), version: None, body: *body }),
            Action::Take { .. } => held.map(|held| Held { owner: Some(writer), version: None, body: held.body }),
            Action::Delete { .. } | Action::Read => None,
        };
        may.then_some(self)
    }

    /// The change was told to have made this version.
    fn risen_to(mut self, version: u64) -> Option<Self> {
        let rises = self.version_min < version;
        self.version_min = version;
        if let Some(held) = &mut self.held {
            held.version = Some(version);
        }
        rises.then_some(self)
    }

    fn lives(&self, incarnation: u64) -> bool {
        !self.gone.contains(&incarnation)
    }

    fn is_owned_by(&mut self, owner: u64) -> bool {
        let lives = self.lives(owner);
        self.held.as_mut().is_some_and(|held| lives && *held.owner.get_or_insert(owner) == owner)
    }

    /// 0: there is none.
    fn is_at(&mut self, version: u64) -> bool {
        let Some(held) = &mut self.held else { return version == 0 };
        if held.version.is_none() && version > self.version_min {
            held.version = Some(version);
            self.version_min = version;
        }
        held.version == Some(version)
    }
}
