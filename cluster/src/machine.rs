//! The record machine: the same commands in the same order make the same records on every node.
//!
//! Pure: no clock, no randomness, no I/O; ordered collections only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::mutant::{Mutant, mutant};
use crate::record::{Change, Claims, Incarnation, Record, Refusal};

/// What a node may ask of the machine; one entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A node begins a new life. Its former incarnation, if still living, is fenced, and the new one inherits its
    /// records: a node that comes back before anybody missed it goes on with what it had.
    Join { node: Arc<str> },
    /// Ends an incarnation for ever and gives every record of it to a living heir. Fencing what is fenced already
    /// moves nothing and is no refusal, so a proposal of unknown outcome may be repeated.
    Fence { incarnation: Incarnation, heir: Incarnation },
    /// Changes in order, all or none; each sees what those before it did.
    Batch { changes: Vec<Change> },
    /// Every node of the cluster understands this level from now on. It never falls.
    Raise { level: u32 },
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// `inherited`: how many records the node's former incarnation left to it.
    Joined {
        incarnation: Incarnation,
        inherited: u64,
    },
    Fenced {
        moved: u64,
    },
    /// The version each change made, in order of the changes; that of a delete names the deletion.
    Applied {
        versions: Vec<u64>,
    },
    /// The level that holds now.
    Raised {
        level: u32,
    },
    /// Nothing changed. `change`: which change of the batch was refused, from 0.
    Refused {
        change: usize,
        refusal: Refusal,
    },
}

/// Records, claims and living incarnations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Last version given.
    revision: u64,
    /// Last incarnation given. Those given and not living are fenced; they need no memory.
    incarnation: u64,
    feature_level: u32,
    living: BTreeMap<Incarnation, Arc<str>>,
    records: BTreeMap<Arc<str>, Record>,
    /// (claim, key of a record that holds it); the holder stands in the record.
    claims: BTreeSet<(Arc<str>, Arc<str>)>,
}

/// A machine as it is written down; what can be computed is left out. Records in order of keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub(crate) revision: u64,
    pub(crate) incarnation: u64,
    #[serde(default)]
    pub(crate) feature_level: u32,
    pub(crate) living: Vec<(Incarnation, Arc<str>)>,
    pub(crate) records: Vec<Record>,
}

impl Machine {
    pub fn apply(&mut self, command: Command) -> Reply {
        match command {
            Command::Join { node } => self.join(node),
            Command::Fence { incarnation, heir } => match self.fence(incarnation, heir) {
                Ok(moved) => Reply::Fenced { moved },
                Err(refusal) => Reply::Refused { change: 0, refusal },
            },
            Command::Batch { changes } => self.batch(changes),
            Command::Raise { level } => {
                self.feature_level = self.feature_level.max(level);
                Reply::Raised { level: self.feature_level }
            }
        }
    }

    /// What every node understands.
    pub fn feature_level(&self) -> u32 {
        self.feature_level
    }

    pub fn read(&self, key: &str) -> Option<&Record> {
        self.records.get(key)
    }

    /// Records whose key begins with `prefix`, in order of keys.
    pub fn scan<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Record> {
        self.records
            .range::<str, _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded))
            .map(|(_, record)| record)
            .take_while(move |record| record.key.starts_with(prefix))
    }

    /// Living incarnations and their nodes.
    pub fn living(&self) -> impl Iterator<Item = (Incarnation, &Arc<str>)> {
        self.living.iter().map(|(incarnation, node)| (*incarnation, node))
    }

    /// Whether any record is this life's.
    pub fn owns(&self, incarnation: Incarnation) -> bool {
        self.records.values().any(|record| record.owner == incarnation)
    }

    pub fn is_living(&self, incarnation: Incarnation) -> bool {
        self.living.contains_key(&incarnation)
    }

    /// Keys of the records that hold a claim, in order.
    pub fn holders<'a>(&'a self, claim: &Arc<str>) -> impl Iterator<Item = &'a Arc<str>> + use<'a> {
        let claim = claim.clone();
        let from = (claim.clone(), Arc::default());
        self.claims.range(from..).take_while(move |(name, _)| *name == claim).map(|(_, key)| key)
    }

    /// How many records there are.
    pub fn records_count(&self) -> usize {
        self.records.len()
    }

    /// About what a snapshot takes.
    pub fn bytes(&self) -> u64 {
        self.records.values().map(|record| (record.key.len() + record.body.len() + 64) as u64).sum()
    }

    /// Cheap in memory: the bodies are shared with the machine.
    pub fn snapshot(&self) -> Snapshot {
        let kept = self.records.len() - usize::from(mutant(Mutant::SnapshotLosesLast) && !self.records.is_empty());
        Snapshot {
            revision: self.revision,
            incarnation: self.incarnation,
            feature_level: self.feature_level,
            living: self.living.iter().map(|(incarnation, node)| (*incarnation, node.clone())).collect(),
            records: self.records.values().take(kept).cloned().collect(),
        }
    }

    pub fn restore(snapshot: Snapshot) -> Self {
        let mut machine = Self {
            revision: snapshot.revision,
            incarnation: snapshot.incarnation,
            feature_level: snapshot.feature_level,
            living: snapshot.living.into_iter().collect(),
            ..Self::default()
        };
        for record in snapshot.records {
            machine.insert(record);
        }
        machine
    }

    fn join(&mut self, node: Arc<str>) -> Reply {
        let former = self
            .living()
            .filter(|_| !mutant(Mutant::JoinLeavesFormer))
            .find(|(_, name)| **name == node)
            .map(|(incarnation, _)| incarnation);
        self.incarnation += 1;
        let incarnation = Incarnation(self.incarnation);
        self.living.insert(incarnation, node);
        let inherited = former.map_or(0, |former| self.bequeath(former, incarnation));
        Reply::Joined { incarnation, inherited }
    }

    fn fence(&mut self, incarnation: Incarnation, heir: Incarnation) -> Result<u64, Refusal> {
        self.check_living(heir)?;
        if incarnation == heir {
            return Err(Refusal::SelfHeir { incarnation });
        }
        if incarnation.0 == 0 || incarnation.0 > self.incarnation {
            return Err(Refusal::NotGranted { incarnation });
        }
        Ok(self.bequeath(incarnation, heir))
    }

    fn bequeath(&mut self, from: Incarnation, to: Incarnation) -> u64 {
        self.living.remove(&from);
        if mutant(Mutant::RecordsDieWithOwner) {
            self.records.retain(|_, record| record.owner != from);
        }
        let before = self.revision;
        for record in self.records.values_mut().filter(|record| record.owner == from) {
            self.revision += 1;
            record.owner = to;
            record.version = self.revision;
        }
        self.revision - before
    }

    fn batch(&mut self, changes: Vec<Change>) -> Reply {
        let revision = self.revision;
        let mut versions = Vec::with_capacity(changes.len());
        let mut undo: Vec<(Arc<str>, Option<Record>)> = Vec::new();
        let several = changes.len() > 1;
        for (index, change) in changes.into_iter().enumerate() {
            let key = change.key().clone();
            match self.change(change) {
                Ok(former) => {
                    versions.push(self.revision);
                    if several {
                        undo.push((key, former));
                    }
                }
                Err(refusal) => {
                    for (key, former) in undo.into_iter().rev() {
                        self.remove(&key);
                        if let Some(record) = former {
                            self.insert(record);
                        }
                    }
                    self.revision = revision;
                    return Reply::Refused { change: index, refusal };
                }
            }
        }
        Reply::Applied { versions }
    }

    /// Carries out one change, or nothing; yields the record as it was.
    fn change(&mut self, change: Change) -> Result<Option<Record>, Refusal> {
        match change {
            Change::Put { writer, key, expected, claims, body } => {
                self.check_writer(writer, &key, expected, true)?;
                let version = self.revision + u64::from(!mutant(Mutant::VersionReused));
                // Most puts change no claim: nothing to check then, and the index stays as it is.
                if let Some(record) = self.records.get_mut(&key).filter(|record| record.claims == claims) {
                    let next = Record { version, body, ..record.clone() };
                    self.revision = version;
                    return Ok(Some(std::mem::replace(record, next)));
                }
                self.check_claims(&key, &claims)?;
                self.revision = version;
                let former = self.remove(&key);
                self.insert(Record { key, owner: writer, version, claims, body });
                Ok(former)
            }
            Change::Delete { writer, key, expected } => {
                self.check_writer(writer, &key, expected, true)?;
                self.check_present(&key)?;
                self.revision += 1;
                Ok(self.remove(&key))
            }
            Change::Take { writer, key, expected } => {
                self.check_writer(writer, &key, expected, false)?;
                let revision = self.revision + 1;
                let record = self.records.get_mut(&key).ok_or(Refusal::Stale { version: 0 })?;
                let former = record.clone();
                record.owner = writer;
                record.version = revision;
                self.revision = revision;
                Ok(Some(former))
            }
        }
    }

    fn check_living(&self, incarnation: Incarnation) -> Result<(), Refusal> {
        let is_living = self.living.contains_key(&incarnation) || mutant(Mutant::NoFence);
        if is_living { Ok(()) } else { Err(Refusal::Fenced { incarnation }) }
    }

    fn check_writer(&self, writer: Incarnation, key: &str, expected: u64, must_own: bool) -> Result<(), Refusal> {
        self.check_living(writer)?;
        let Some(record) = self.records.get(key) else {
            return if expected == 0 { Ok(()) } else { Err(Refusal::Stale { version: 0 }) };
        };
        if must_own && record.owner != writer && !mutant(Mutant::NoFence) {
            return Err(Refusal::NotOwner { owner: record.owner });
        }
        let is_expected = record.version == expected || mutant(Mutant::StaleVersionAccepted);
        if is_expected { Ok(()) } else { Err(Refusal::Stale { version: record.version }) }
    }

    fn check_present(&self, key: &str) -> Result<(), Refusal> {
        if self.records.contains_key(key) { Ok(()) } else { Err(Refusal::Stale { version: 0 }) }
    }

    fn check_claims(&self, key: &str, claims: &Claims) -> Result<(), Refusal> {
        for claim in claims.iter() {
            // Every other record that holds it names the same holder: the first speaks for all.
            let Some(other) = self.holders(&claim.name).find(|other| ***other != *key) else { continue };
            let holder = self.records.get(other).and_then(|record| record.claims.holder(&claim.name));
            let holder = holder.expect("a claim is listed only while its record holds it");
            if *holder != claim.holder {
                return Err(Refusal::Claimed {
                    claim: claim.name.clone(),
                    holder: holder.clone(),
                    holder_key: other.clone(),
                });
            }
        }
        Ok(())
    }

    fn insert(&mut self, mut record: Record) {
        record.claims = record.claims.sharing(&record.key);
        for claim in record.claims.iter() {
            self.claims.insert((claim.name.clone(), record.key.clone()));
        }
        self.records.insert(record.key.clone(), record);
    }

    fn remove(&mut self, key: &Arc<str>) -> Option<Record> {
        let record = self.records.remove(key)?;
        for claim in record.claims.iter() {
            self.claims.remove(&(claim.name.clone(), key.clone()));
        }
        Some(record)
    }
}
