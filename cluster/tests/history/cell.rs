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
    /// The record after an operation with this outcome; `None`: it cannot have had it here.
    pub fn after(&self, action: &Action, outcome: &Outcome) -> Option<Self> {
        let mut cell = self.clone();
        let fits = match (action, outcome) {
            (Action::Read, Outcome::Found(None)) => cell.held.is_none(),
            (Action::Read, Outcome::Found(Some(seen))) => {
                cell.held.as_ref().is_some_and(|held| held.body == seen.body)
                    && cell.is_owned_by(seen.owner)
                    && cell.is_at(seen.version)
                    && cell.lives(seen.owner)
            }
            (_, Outcome::Done(version)) => {
                cell.changes(action) && cell.version_min < *version && cell.rises_to(*version)
            }
            (Action::Put { writer, .. } | Action::Delete { writer, .. }, Outcome::NotOwner(owner)) => {
                writer != owner && cell.is_owned_by(*owner) && cell.lives(*writer)
            }
            (Action::Put { writer, expected, .. } | Action::Delete { writer, expected }, Outcome::Stale(version)) => {
                expected != version
                    && (*version == 0 || cell.is_owned_by(*writer))
                    && cell.is_at(*version)
                    && cell.lives(*writer)
            }
            (Action::Take { writer, expected }, Outcome::Stale(version)) => {
                expected != version && cell.is_at(*version) && cell.lives(*writer)
            }
            (
                Action::Put { writer, .. } | Action::Delete { writer, .. } | Action::Take { writer, .. },
                Outcome::Fenced,
            ) => {
                cell.ends(*writer);
                true
            }
            (Action::Read, _) | (_, Outcome::Unknown | Outcome::Found(_) | Outcome::NotOwner(_)) => false,
        };
        fits.then_some(cell)
    }

    /// The record after a change of which nobody was told; `None`: it would have changed nothing here.
    pub fn after_unknown(&self, action: &Action) -> Option<Self> {
        let mut cell = self.clone();
        cell.changes(action).then_some(cell)
    }

    /// Carries out a change if the contract lets it; its version is not known yet.
    fn changes(&mut self, action: &Action) -> bool {
        let (writer, expected, must_own) = match action {
            Action::Put { writer, expected, .. } | Action::Delete { writer, expected } => (*writer, *expected, true),
            Action::Take { writer, expected } => (*writer, *expected, false),
            Action::Read => return false,
        };
        let creates = matches!(action, Action::Put { .. });
        if (expected == 0 && !creates)
            || (expected != 0 && must_own && !self.is_owned_by(writer))
            || !self.is_at(expected)
            || !self.lives(writer)
        {
            return false;
        }
        self.version_min = self.version_min.max(expected);
        self.held = match action {
            Action::Put { body, .. } => Some(Held { owner: Some(writer), version: None, body: *body }),
            Action::Take { .. } => self.held.take().map(|held| Held { owner: Some(writer), version: None, ..held }),
            Action::Delete { .. } | Action::Read => None,
        };
        true
    }

    /// The change was told to have made this version.
    fn rises_to(&mut self, version: u64) -> bool {
        self.version_min = version;
        if let Some(held) = &mut self.held {
            held.version = Some(version);
        }
        true
    }

    fn lives(&self, incarnation: u64) -> bool {
        !self.gone.contains(&incarnation)
    }

    /// Whether `owner` may own the record now. If another one was known to, it has ended, and the record has moved.
    fn is_owned_by(&mut self, owner: u64) -> bool {
        let Some(held) = &mut self.held else { return false };
        match held.owner {
            Some(known) if known == owner => {}
            Some(known) => {
                self.gone.insert(known);
                *held = Held { owner: Some(owner), version: None, body: held.body };
            }
            None => held.owner = Some(owner),
        }
        self.lives(owner)
    }

    /// Whether the record may be at that version now; 0: there is none. A higher one than was known: it has moved.
    fn is_at(&mut self, version: u64) -> bool {
        let version_min = self.version_min;
        let Some(held) = &mut self.held else { return version == 0 };
        match held.version {
            Some(known) if known == version => return true,
            _ if version <= version_min => return false,
            None => held.version = Some(version),
            Some(_) => {
                self.gone.extend(held.owner);
                *held = Held { owner: None, version: Some(version), body: held.body };
            }
        }
        self.version_min = version;
        true
    }

    /// The writer is told that it has ended; what it owned has moved.
    fn ends(&mut self, writer: u64) {
        self.gone.insert(writer);
        if let Some(held) = &mut self.held
            && held.owner == Some(writer)
        {
            *held = Held { owner: None, version: None, body: held.body };
        }
    }
}
