//! Clients of two voters that write down what they asked and what they were told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lyncpin_cluster::node::Node;
use lyncpin_cluster::{Body, Change, Claims, Command, FencedStore, Incarnation, Record, Refusal, Reply};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::history::{Action, Operation, Outcome, Seen};
use crate::lab::Lab;

const KEYS: u64 = 5;
const CLIENTS_OF_A_VOTER: usize = 6;
/// Between two operations: a history that is too long says no more, and is longer to search.
const PAUSE_MS: u64 = 12;

/// Numbers from a seed (splitmix64).
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// How the clients read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    CaughtUp,
    /// What the voter has in memory; not linearizable, and so that the checker can prove itself.
    AsItIs,
}

/// Everything that was asked, by key.
#[derive(Default)]
pub struct History(BTreeMap<u64, Vec<Operation>>);

impl History {
    pub fn by_key(&self) -> BTreeMap<String, Vec<Operation>> {
        self.0.iter().map(|(key, operations)| (name(*key).to_string(), operations.clone())).collect()
    }

    pub fn count(&self, which: impl Fn(&Outcome) -> bool) -> usize {
        self.0.values().flatten().filter(|operation| which(&operation.outcome)).count()
    }

    /// How many incarnations were seen to own a record.
    pub fn owners(&self) -> usize {
        let owner = |operation: &Operation| match &operation.outcome {
            Outcome::Found(Some(seen)) => Some(seen.owner),
            _ => None,
        };
        self.0.values().flatten().filter_map(owner).collect::<BTreeSet<_>>().len()
    }

    pub fn told(&self) -> String {
        let mut told = String::new();
        let mut say = |what: &str, which: fn(&Outcome) -> bool| {
            let _ = write!(told, "{what} {}, ", self.count(which));
        };
        say("done", |outcome| matches!(outcome, Outcome::Done(_)));
        say("found", |outcome| matches!(outcome, Outcome::Found(_)));
        say("stale", |outcome| matches!(outcome, Outcome::Stale(_)));
        say("not owner", |outcome| matches!(outcome, Outcome::NotOwner(_)));
        say("fenced", |outcome| *outcome == Outcome::Fenced);
        say("unknown", |outcome| *outcome == Outcome::Unknown);
        let _ = write!(told, "by {} owners", self.owners());
        told
    }
}

pub struct Clients {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

struct Shared {
    /// Voters that are not halted.
    nodes: Mutex<BTreeMap<u64, Node>>,
    deaths: watch::Sender<()>,
    history: Mutex<History>,
    clock: AtomicU64,
    bodies: AtomicU64,
    answered: AtomicU64,
    ends: AtomicBool,
    reads: Reads,
    /// One life is begun at a time.
    joining: tokio::sync::Mutex<()>,
}

fn name(key: u64) -> Arc<str> {
    format!("session/{key}").into()
}

impl Clients {
    pub async fn start(lab: &Lab, chance: &mut Chance, reads: Reads) -> Self {
        let shared = Arc::new(Shared {
            nodes: Mutex::new(lab.nodes.clone()),
            deaths: watch::Sender::new(()),
            history: Mutex::default(),
            clock: AtomicU64::new(1),
            bodies: AtomicU64::new(1),
            answered: AtomicU64::new(0),
            ends: AtomicBool::new(false),
            reads,
            joining: tokio::sync::Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        for client in 0..2 * CLIENTS_OF_A_VOTER {
            let client = Client {
                id: client,
                node: 1 + client as u64 % 2,
                shared: shared.clone(),
                chance: Chance::new(chance.next()),
                seen: BTreeMap::new(),
            };
            tasks.spawn(client.run());
        }
        Self { shared, tasks }
    }

    /// The voter is about to be halted.
    pub fn gone(&self, id: u64) {
        self.shared.nodes.lock().unwrap().remove(&id);
        self.shared.deaths.send_replace(());
    }

    pub fn back(&self, node: Node) {
        self.shared.nodes.lock().unwrap().insert(node.id(), node);
    }

    pub async fn until_answered(&self, count: u64) {
        while self.shared.answered.load(Ordering::SeqCst) < count {
            sleep(Duration::from_millis(1)).await;
        }
    }

    pub async fn finish(mut self) -> History {
        self.shared.ends.store(true, Ordering::SeqCst);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("a client does not panic");
        }
        std::mem::take(&mut self.shared.history.lock().unwrap())
    }
}

struct Client {
    id: usize,
    /// The voter it is at.
    node: u64,
    shared: Arc<Shared>,
    chance: Chance,
    /// The version and owner of each record it has heard of last.
    seen: BTreeMap<u64, (u64, u64)>,
}

impl Client {
    async fn run(mut self) {
        while !self.shared.ends.load(Ordering::SeqCst) {
            sleep(Duration::from_millis(self.chance.below(PAUSE_MS))).await;
            let node = self.shared.nodes.lock().unwrap().get(&self.node).cloned();
            let Some(node) = node else { continue };
            match node.incarnation() {
                Some(own) => self.work(&node, own).await,
                None => self.shared.join(&node, None).await,
            }
        }
    }

    async fn work(&mut self, node: &Node, own: Incarnation) {
        let key = self.chance.below(KEYS);
        let action = self.choose(key, own.0);
        let called = self.shared.tick();
        let asked = async {
            match &action {
                Action::Read => self.read(node, key).await,
                change => self.change(node, key, change).await,
            }
        };
        // A client whose voter dies does not know what became of its question.
        let outcome = tokio::select! {
            outcome = asked => outcome,
            () = self.shared.until_gone(self.node) => (action != Action::Read).then_some(Outcome::Unknown),
        };
        let answered = self.shared.tick();
        let Some(outcome) = outcome else { return };
        if outcome == Outcome::Fenced {
            self.shared.join(node, Some(own)).await;
        }
        self.remember(key, own.0, &action, &outcome);
        if outcome != Outcome::Unknown {
            self.shared.answered.fetch_add(1, Ordering::SeqCst);
        }
        let operation = Operation { client: self.id, node: self.node, action, outcome, called, answered };
        self.shared.history.lock().unwrap().0.entry(key).or_default().push(operation);
    }

    /// Mostly what should succeed, as far as this client knows.
    fn choose(&mut self, key: u64, writer: u64) -> Action {
        let body = self.shared.bodies.fetch_add(1, Ordering::SeqCst);
        match (self.chance.below(10), self.seen.get(&key).copied()) {
            (0..4, _) => Action::Read,
            (_, None) => Action::Put { writer, expected: 0, body },
            (4, Some((expected, owner))) if owner == writer => Action::Delete { writer, expected },
            // By one that may not.
            (5, Some((expected, _))) => Action::Put { writer, expected, body },
            (_, Some((expected, owner))) if owner == writer => Action::Put { writer, expected, body },
            (_, Some((expected, _))) => Action::Take { writer, expected },
        }
    }

    /// `None`: a failure that says that nothing happened.
    async fn read(&self, node: &Node, key: u64) -> Option<Outcome> {
        if self.shared.reads == Reads::CaughtUp {
            node.replica().catch_up().await.ok()?;
        }
        Some(Outcome::Found(node.replica().read(&name(key)).map(|record| seen(&record))))
    }

    async fn change(&self, node: &Node, key: u64, action: &Action) -> Option<Outcome> {
        let key = name(key);
        let change = match *action {
            Action::Put { writer, expected, body } => Change::Put {
                writer: Incarnation(writer),
                key,
                expected,
                claims: Claims::default(),
                body: Body::from(body.to_be_bytes().to_vec()),
            },
            Action::Delete { writer, expected } => Change::Delete { writer: Incarnation(writer), key, expected },
            Action::Take { writer, expected } => Change::Take { writer: Incarnation(writer), key, expected },
            Action::Read => unreachable!("a read is no change"),
        };
        match node.replica().propose(Command::Batch { changes: vec![change] }).await {
            Ok(Reply::Applied { versions }) => Some(Outcome::Done(versions[0])),
            Ok(Reply::Refused { refusal: Refusal::Stale { version }, .. }) => Some(Outcome::Stale(version)),
            Ok(Reply::Refused { refusal: Refusal::NotOwner { owner }, .. }) => Some(Outcome::NotOwner(owner.0)),
            Ok(Reply::Refused { refusal: Refusal::Fenced { .. }, .. }) => Some(Outcome::Fenced),
            Ok(other) => panic!("{action:?} was answered {other:?}"),
            Err(error) if error.is_definite() => None,
            Err(_) => Some(Outcome::Unknown),
        }
    }

    fn remember(&mut self, key: u64, own: u64, action: &Action, outcome: &Outcome) {
        let former = self.seen.remove(&key);
        let seen = match (action, outcome) {
            (Action::Delete { .. }, Outcome::Done(_)) | (_, Outcome::Stale(0)) => None,
            (_, Outcome::Done(version)) => Some((*version, own)),
            (_, Outcome::Found(seen)) => seen.as_ref().map(|seen| (seen.version, seen.owner)),
            (Action::Take { .. }, Outcome::Stale(version)) => former.map(|(_, owner)| (*version, owner)),
            (_, Outcome::Stale(version)) => Some((*version, own)),
            (_, Outcome::NotOwner(owner)) => former.map(|(version, _)| (version, *owner)),
            (_, Outcome::Fenced | Outcome::Unknown) => former,
        };
        if let Some(seen) = seen {
            self.seen.insert(key, seen);
        }
    }
}

impl Shared {
    async fn until_gone(&self, id: u64) {
        let mut changes = self.deaths.subscribe();
        while self.nodes.lock().unwrap().contains_key(&id) {
            changes.changed().await.expect("the sender is ours");
        }
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// Begins a life of this voter, if nobody has since `former` ended.
    async fn join(&self, node: &Node, former: Option<Incarnation>) {
        let _one = self.joining.lock().await;
        if node.incarnation() == former {
            tokio::select! {
                // Err: whoever comes next tries again.
                _ = node.join() => {}
                () = self.until_gone(node.id()) => {}
            }
        }
    }
}

fn seen(record: &Record) -> Seen {
    let body = record.body.iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
    Seen { owner: record.owner.0, version: record.version, body }
}
