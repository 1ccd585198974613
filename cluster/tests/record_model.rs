//! The record machine against a naive oracle: linear lists, the whole state copied for each batch, no index. Besides,
//! the invariants of `record.rs` are checked from the outside, in case machine and oracle share a mistake.

use std::collections::{BTreeMap, BTreeSet};

use lyncpin_cluster::{Body, Change, Claims, Command, Incarnation, Machine, Record, Refusal, Reply, Snapshot};
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Clone, Debug, Default)]
struct Oracle {
    counter: u64,
    /// Every incarnation ever granted, and whether it lives.
    nodes: Vec<(String, bool)>,
    records: Vec<Record>,
    level: u32,
}

impl Oracle {
    fn lives(&self, incarnation: Incarnation) -> bool {
        incarnation.0 > 0 && self.nodes.get(incarnation.0 as usize - 1).is_some_and(|(_, lives)| *lives)
    }

    fn bequeath(&mut self, from: Incarnation, to: Incarnation) -> u64 {
        if let Some((_, lives)) = self.nodes.get_mut((from.0 as usize).wrapping_sub(1)) {
            *lives = false;
        }
        self.records.sort_by(|a, b| a.key.cmp(&b.key));
        let mut moved = 0;
        for record in &mut self.records {
            if record.owner == from {
                self.counter += 1;
                moved += 1;
                record.owner = to;
                record.version = self.counter;
            }
        }
        moved
    }

    fn apply(&mut self, command: &Command) -> Reply {
        match command {
            Command::Join { node } => {
                let former = self.nodes.iter().rposition(|(name, lives)| **name == **node && *lives);
                self.nodes.push((node.to_string(), true));
                let incarnation = Incarnation(self.nodes.len() as u64);
                let inherited = former.map_or(0, |at| self.bequeath(Incarnation(at as u64 + 1), incarnation));
                Reply::Joined { incarnation, inherited }
            }
            Command::Fence { heir, .. } if !self.lives(*heir) => refused(0, Refusal::Fenced { incarnation: *heir }),
            Command::Fence { incarnation, heir } if incarnation == heir => {
                refused(0, Refusal::SelfHeir { incarnation: *heir })
            }
            Command::Fence { incarnation, .. } if !(1..=self.nodes.len() as u64).contains(&incarnation.0) => {
                refused(0, Refusal::NotGranted { incarnation: *incarnation })
            }
            Command::Fence { incarnation, heir } => Reply::Fenced { moved: self.bequeath(*incarnation, *heir) },
            Command::Batch { changes } => {
                let mut next = self.clone();
                let mut versions = Vec::new();
                for (at, change) in changes.iter().enumerate() {
                    match next.change(change) {
                        Ok(version) => versions.push(version),
                        Err(refusal) => return refused(at, refusal),
                    }
                }
                *self = next;
                Reply::Applied { versions }
            }
            Command::Raise { level } => {
                self.level = self.level.max(*level);
                Reply::Raised { level: self.level }
            }
        }
    }

    fn change(&mut self, change: &Change) -> Result<u64, Refusal> {
        let (key, incarnation) = (change.key().clone(), change.writer());
        let (Change::Put { expected, .. } | Change::Delete { expected, .. } | Change::Take { expected, .. }) = change;
        if !self.lives(incarnation) {
            return Err(Refusal::Fenced { incarnation });
        }
        let found = self.records.iter().position(|record| record.key == key);
        let is_put = matches!(change, Change::Put { .. });
        match found.map(|at| &self.records[at]) {
            None if *expected != 0 || !is_put => return Err(Refusal::Stale { version: 0 }),
            Some(record) if record.owner != incarnation && !matches!(change, Change::Take { .. }) => {
                return Err(Refusal::NotOwner { owner: record.owner });
            }
            Some(record) if record.version != *expected => return Err(Refusal::Stale { version: record.version }),
            _ => {}
        }
        if let Change::Put { claims, .. } = change {
            self.records.sort_by(|a, b| a.key.cmp(&b.key));
            for wanted in claims.iter() {
                for other in self.records.iter().filter(|record| record.key != key) {
                    if let Some(held) = other.claims.iter().find(|held| held.name == wanted.name)
                        && held.holder != wanted.holder
                    {
                        let (claim, holder) = (held.name.clone(), held.holder.clone());
                        return Err(Refusal::Claimed { claim, holder, holder_key: other.key.clone() });
                    }
                }
            }
        }
        self.counter += 1;
        let version = self.counter;
        match change {
            Change::Put { claims, body, .. } => {
                self.records.retain(|record| record.key != key);
                let (claims, body) = (claims.clone(), body.clone());
                self.records.push(Record { key, owner: incarnation, version, claims, body });
            }
            Change::Delete { .. } => self.records.retain(|record| record.key != key),
            Change::Take { .. } => {
                for record in self.records.iter_mut().filter(|record| record.key == key) {
                    (record.owner, record.version) = (incarnation, version);
                }
            }
        }
        Ok(version)
    }

    fn records(&self) -> BTreeMap<String, Record> {
        self.records.iter().map(|record| (record.key.to_string(), record.clone())).collect()
    }
}

fn refused(change: usize, refusal: Refusal) -> Reply {
    Reply::Refused { change, refusal }
}

/// A command in terms of what the machine holds when it is issued, so that most of them get through.
#[derive(Clone, Debug)]
enum Op {
    Raise { level: u32 },
    Join { node: u8 },
    Fence { incarnation: u64, heir: u64 },
    Batch(Vec<Edit>),
}

#[derive(Clone, Debug)]
struct Edit {
    /// 0 to 4 put, 5 delete, 6 and 7 take.
    kind: u8,
    key: u8,
    /// `None`: the record's owner, or the newest incarnation.
    writer: Option<u64>,
    /// What is added to the version the record has.
    off_by: i64,
    /// (name, holder); holder 0 is the record's own key.
    claims: Vec<(u8, u8)>,
    body: u8,
}

fn op() -> impl Strategy<Value = Op> {
    let edit = (
        0..8u8,
        0..5u8,
        prop_oneof![4 => Just(None), 1 => (0..9u64).prop_map(Some)],
        prop_oneof![8 => Just(0), 1 => -3..4i64],
        vec((0..4u8, 0..3u8), 0..3),
        any::<u8>(),
    );
    let edit =
        edit.prop_map(|(kind, key, writer, off_by, claims, body)| Edit { kind, key, writer, off_by, claims, body });
    prop_oneof![
        2 => (0..3u8).prop_map(|node| Op::Join { node }),
        2 => (0..9u64, 0..9u64).prop_map(|(incarnation, heir)| Op::Fence { incarnation, heir }),
        12 => vec(edit, 1..5).prop_map(Op::Batch),
        1 => (0..4u32).prop_map(|level| Op::Raise { level }),
    ]
}

fn command(op: &Op, machine: &Machine, granted: u64) -> Command {
    // Counted back from the newest, so that the living are met often and the unborn sometimes.
    let pick = |back: u64| Incarnation((granted + 1).saturating_sub(back));
    match op {
        Op::Raise { level } => Command::Raise { level: *level },
        Op::Join { node } => Command::Join { node: format!("node{node}").into() },
        Op::Fence { incarnation, heir } => Command::Fence { incarnation: pick(*incarnation), heir: pick(*heir) },
        Op::Batch(edits) => Command::Batch {
            changes: edits
                .iter()
                .map(|edit| {
                    let key = format!("key{}", edit.key);
                    let record = machine.read(&key);
                    let writer = edit.writer.map(pick);
                    let writer = writer.or(record.map(|record| record.owner)).unwrap_or(Incarnation(granted));
                    let version = record.map_or(0, |record| record.version);
                    let expected = version.saturating_add_signed(edit.off_by);
                    let holder = |holder| if holder == 0 { key.clone() } else { format!("holder{holder}") };
                    let claims = edit.claims.iter().map(|(name, by)| (format!("claim{name}"), holder(*by)));
                    let (claims, body) = (Claims::new(claims), Body::from(vec![edit.body]));
                    let key = key.as_str().into();
                    match edit.kind {
                        0..=4 => Change::Put { writer, key, expected, claims, body },
                        5 => Change::Delete { writer, key, expected },
                        _ => Change::Take { writer, key, expected },
                    }
                })
                .collect(),
        },
    }
}

/// What an outsider knows of the past.
#[derive(Default)]
struct History {
    granted: u64,
    nodes: BTreeMap<String, Incarnation>,
    fenced: BTreeSet<Incarnation>,
    version_max: u64,
    level: u32,
}

fn check_invariants(
    history: &mut History,
    command: &Command,
    reply: &Reply,
    before: &BTreeMap<String, Record>,
    after: &BTreeMap<String, Record>,
) -> Result<(), TestCaseError> {
    for (key, record) in after {
        if before.get(key) != Some(record) {
            prop_assert!(record.version > history.version_max, "the version of {key} does not rise");
        }
    }
    let mut holders = BTreeMap::new();
    for record in after.values() {
        for claim in record.claims.iter() {
            let first = holders.entry(claim.name.clone()).or_insert(claim.holder.clone());
            prop_assert_eq!(&*first, &claim.holder, "two holders of {}", claim.name);
        }
    }
    match (command, reply) {
        (Command::Join { node }, Reply::Joined { incarnation, .. }) => {
            prop_assert!(incarnation.0 > history.granted, "granted twice");
            prop_assert!(!history.fenced.contains(incarnation), "fenced before it lived");
            history.fenced.extend(history.nodes.insert(node.to_string(), *incarnation));
            history.granted = incarnation.0;
        }
        (Command::Fence { incarnation, heir }, Reply::Fenced { .. }) => {
            prop_assert!(!history.fenced.contains(heir), "a fenced incarnation inherits");
            history.fenced.insert(*incarnation);
        }
        (Command::Batch { changes }, Reply::Applied { versions }) => {
            for (change, version) in changes.iter().zip(versions) {
                prop_assert!(!history.fenced.contains(&change.writer()), "a fenced incarnation wrote");
                prop_assert!(*version > history.version_max);
                history.version_max = *version;
            }
        }
        (Command::Raise { level: asked }, Reply::Raised { level }) => {
            prop_assert!(*level >= history.level && level >= asked, "the level fell");
            history.level = *level;
            prop_assert_eq!(before, after, "a level is no record");
        }
        (_, Reply::Refused { .. }) => prop_assert_eq!(before, after, "a refused command left a trace"),
        (command, reply) => prop_assert!(false, "{command:?} was answered {reply:?}"),
    }
    for record in after.values() {
        prop_assert!(!history.fenced.contains(&record.owner), "a fenced incarnation owns {}", record.key);
        history.version_max = history.version_max.max(record.version);
    }
    Ok(())
}

fn records(machine: &Machine) -> BTreeMap<String, Record> {
    machine.scan("").map(|record| (record.key.to_string(), record.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_machine_does_what_the_oracle_does_and_keeps_its_invariants(ops in vec(op(), 1..60), cut in 0..60usize) {
        let (mut machine, mut oracle, mut history) = (Machine::default(), Oracle::default(), History::default());
        let mut restored = None;
        for (at, op) in ops.iter().enumerate() {
            if at == cut {
                let text = serde_json::to_string(&machine.snapshot()).unwrap();
                restored = Some(Machine::restore(serde_json::from_str::<Snapshot>(&text).unwrap()));
                prop_assert_eq!(restored.as_ref(), Some(&machine), "a snapshot is the machine");
            }
            let command = command(op, &machine, history.granted);
            let before = records(&machine);
            let reply = machine.apply(command.clone());
            prop_assert_eq!(&reply, &oracle.apply(&command), "{:?}", command);
            let after = records(&machine);
            prop_assert_eq!(&after, &oracle.records(), "{:?}", command);
            check_invariants(&mut history, &command, &reply, &before, &after)?;
            for (incarnation, _) in machine.living() {
                prop_assert!(oracle.lives(incarnation));
            }
            for claim in after.values().flat_map(|record| record.claims.iter()) {
                let held = after.values().filter(|record| record.claims.holder(&claim.name).is_some());
                prop_assert!(machine.holders(&claim.name).eq(held.map(|record| &record.key)), "the index is wrong");
            }
            if let Some(restored) = &mut restored {
                prop_assert_eq!(restored.apply(command), reply, "the same log gives the same machine");
            }
        }
        if let Some(restored) = restored {
            prop_assert_eq!(restored, machine);
        }
    }
}
