//! The node's memory: typed records over the fenced store. The only file that names both what the machines remember
//! and the cluster crate.

pub mod pair;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use lyncpin_cluster::envelope;
pub use lyncpin_cluster::{
    Change, Claims, Command, CommitError, EnvelopeError, FencedStore, Incarnation, Member, MemoryStore, Notice,
    Pending, Record, Refusal, Reply, Unknown, Watch, Watched,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What may be a record's body. `KIND` is the type byte of its envelope, never given to another type.
pub trait RecordBody: Serialize + DeserializeOwned {
    const KIND: u8;
}

/// The records as one incarnation of this node writes them. Cloning is cheap.
#[derive(Clone)]
pub struct Records(Arc<Shared>);

struct Shared {
    store: Arc<dyn FencedStore>,
    incarnation: Incarnation,
    /// What newer releases wrote into records this node has loaded; empty while all nodes run one release.
    unknown: Mutex<BTreeMap<Arc<str>, Unknown>>,
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded<T> {
    pub key: Arc<str>,
    pub value: T,
    /// What the next commit of this record expects.
    pub version: u64,
    pub owner: Incarnation,
    pub claims: Claims,
}

/// A record whose body cannot be read. It stays as it is; the operator sees its key.
#[derive(Debug, thiserror::Error)]
#[error("record {key} cannot be read")]
pub struct Unreadable {
    pub key: Arc<str>,
    #[source]
    pub why: EnvelopeError,
}

/// Why a change was not made, or may not have been.
#[derive(Debug, thiserror::Error)]
pub enum CommitRefused {
    /// The rules of the store say no; nothing changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store did not answer with yes or no: see [`CommitError::is_definite`].
    #[error(transparent)]
    Failed(#[from] CommitError),
    /// The value's type cannot be written as JSON; nothing changed. A mistake in the type.
    #[error("the record cannot be written")]
    Unwritable(#[source] EnvelopeError),
}

impl CommitRefused {
    /// Whether the change certainly was not made. If not: `catch_up`, load, decide again.
    pub fn is_definite(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Unwritable(_) => true,
            Self::Failed(error) => error.is_definite(),
        }
    }
}

impl Records {
    /// Begins a new life of this node. The former one is fenced, and what it owned belongs to this one.
    pub async fn join(store: Arc<dyn FencedStore>, node: &str) -> Result<Self, CommitRefused> {
        match store.propose(Command::Join { node: node.into() }).await? {
            Reply::Joined { incarnation, .. } => {
                Ok(Self(Arc::new(Shared { store, incarnation, unknown: Mutex::default() })))
            }
            other => Err(unexpected(other)),
        }
    }

    pub fn incarnation(&self) -> Incarnation {
        self.0.incarnation
    }

    pub fn store(&self) -> &Arc<dyn FencedStore> {
        &self.0.store
    }

    /// Creates (`expected` 0) or replaces a record of this node, and yields its new version. The value is written out
    /// before this returns; the future borrows nothing.
    pub fn commit<T: RecordBody>(&self, key: &str, expected: u64, claims: Claims, value: &T) -> Commit {
        let body = {
            let unknown = self.unknown();
            envelope::encode(T::KIND, value, unknown.get(key).unwrap_or(&Unknown::default()))
        };
        match body {
            Ok(body) => {
                let body = body.into();
                self.propose(Change::Put { writer: self.0.incarnation, key: key.into(), expected, claims, body })
            }
            Err(why) => Commit(Err(Some(CommitRefused::Unwritable(why)))),
        }
    }

    /// Removes a record of this node and its claims.
    pub fn remove(&self, key: &str, expected: u64) -> Commit {
        self.unknown().remove(key);
        self.propose(Change::Delete { writer: self.0.incarnation, key: key.into(), expected })
    }

    /// Makes this node the owner of one record, and yields its new version: load it after that.
    pub fn take(&self, key: &str, expected: u64) -> Commit {
        self.propose(Change::Take { writer: self.0.incarnation, key: key.into(), expected })
    }

    /// Ends another incarnation for ever; this one inherits its records. Yields how many there were.
    pub async fn fence(&self, dead: Incarnation) -> Result<u64, CommitRefused> {
        let command = Command::Fence { incarnation: dead, heir: self.0.incarnation };
        match self.0.store.propose(command).await? {
            Reply::Fenced { moved } => Ok(moved),
            other => Err(unexpected(other)),
        }
    }

    /// A record as this node knows it, whoever owns it.
    pub fn load<T: RecordBody>(&self, key: &str) -> Result<Option<Loaded<T>>, Unreadable> {
        self.0.store.read(key).map(|record| self.open(record)).transpose()
    }

    /// Every record of a prefix, in order of keys, whoever owns it; one that cannot be read does not hide the others.
    pub fn load_all<T: RecordBody>(&self, prefix: &str) -> impl Iterator<Item = Result<Loaded<T>, Unreadable>> {
        self.0.store.scan(prefix).into_iter().map(|record| self.open(record))
    }

    /// Who owns a record, as this node knows it.
    pub fn owner_of(&self, key: &str) -> Option<Incarnation> {
        self.0.store.read(key).map(|record| record.owner)
    }

    /// The node that lives as this incarnation.
    pub fn node_of(&self, incarnation: Incarnation) -> Option<Arc<str>> {
        self.0.store.members().into_iter().find(|member| member.incarnation == incarnation).map(|member| member.node)
    }

    fn open<T: RecordBody>(&self, record: Record) -> Result<Loaded<T>, Unreadable> {
        let Record { key, owner, version, claims, body } = record;
        match envelope::decode::<T>(T::KIND, &body) {
            Ok((value, unknown)) => {
                if unknown.is_empty() {
                    self.unknown().remove(&key);
                } else {
                    self.unknown().insert(key.clone(), unknown);
                }
                Ok(Loaded { key, value, version, owner, claims })
            }
            Err(why) => Err(Unreadable { key, why }),
        }
    }

    fn propose(&self, change: Change) -> Commit {
        Commit(Ok(self.0.store.propose(Command::Batch { changes: vec![change] })))
    }

    fn unknown(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Unknown>> {
        // Every hold is one operation on the map: a panic leaves it whole.
        self.0.unknown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A change under way; resolves to the record's new version. Dropping it does not take the change back.
#[must_use = "a change whose outcome nobody reads may have been refused"]
pub struct Commit(Result<Pending<Reply>, Option<CommitRefused>>);

impl Commit {
    /// The outcome when the store has it already, as a store on one node always does; else the change under way.
    pub fn now(self) -> Result<Result<u64, CommitRefused>, Self> {
        match self.0 {
            Ok(pending) => match pending.now() {
                Ok(reply) => Ok(reply.map_err(CommitRefused::from).and_then(version_of)),
                Err(pending) => Err(Self(Ok(pending))),
            },
            Err(refused) => Ok(Err(refused.expect("a future is not polled after it is ready"))),
        }
    }
}

impl Future for Commit {
    type Output = Result<u64, CommitRefused>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Ok(pending) => Pin::new(pending).poll(cx).map(|reply| version_of(reply?)),
            Err(refused) => Poll::Ready(Err(refused.take().expect("a future is not polled after it is ready"))),
        }
    }
}

/// The new version of the one record a change was about.
fn version_of(reply: Reply) -> Result<u64, CommitRefused> {
    match reply {
        Reply::Applied { versions } if versions.len() == 1 => Ok(versions[0]),
        other => Err(unexpected(other)),
    }
}

/// A reply that is not the one hoped for: a refusal, or one of another command, which no store gives.
fn unexpected(reply: Reply) -> CommitRefused {
    match reply {
        Reply::Refused { refusal, .. } => refusal.into(),
        Reply::Joined { .. } | Reply::Fenced { .. } | Reply::Applied { .. } | Reply::Raised { .. } => {
            CommitError::Lost.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Old {
        state: String,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct New {
        state: String,
        colour: Option<String>,
    }

    impl RecordBody for Old {
        const KIND: u8 = 200;
    }

    impl RecordBody for New {
        const KIND: u8 = 200;
    }

    fn old(state: &str) -> Old {
        Old { state: state.into() }
    }

    async fn pair() -> (Records, Records) {
        let store = Arc::new(MemoryStore::new());
        (Records::join(store.clone(), "a").await.unwrap(), Records::join(store, "b").await.unwrap())
    }

    #[tokio::test]
    async fn a_commit_is_read_back_with_the_version_the_next_one_expects() {
        let (a, _) = pair().await;
        let claims = Claims::new([("station/100", "alice")]);
        let first = a.commit("session/1", 0, claims.clone(), &old("ringing")).await.unwrap();
        let second = a.commit("session/1", first, claims.clone(), &old("talking")).await.unwrap();
        assert!(second > first);
        let loaded = a.load::<Old>("session/1").unwrap().unwrap();
        let key = "session/1".into();
        assert_eq!(loaded, Loaded { key, value: old("talking"), version: second, owner: a.incarnation(), claims });
        a.remove("session/1", second).await.unwrap();
        assert_eq!(a.load::<Old>("session/1").unwrap(), None);
    }

    #[tokio::test]
    async fn a_refusal_says_what_stands_in_the_way() {
        let (a, b) = pair().await;
        let station = || Claims::new([("station/100", "alice")]);
        let version = a.commit("session/1", 0, station(), &old("x")).await.unwrap();
        let refusal = |result: Result<u64, CommitRefused>| match result {
            Err(CommitRefused::Refused(refusal)) => refusal,
            other => panic!("{other:?}"),
        };
        let result = a.commit("session/1", version + 1, station(), &old("y")).await;
        assert_eq!(refusal(result), Refusal::Stale { version });
        let result = b.commit("session/1", version, station(), &old("y")).await;
        assert_eq!(refusal(result), Refusal::NotOwner { owner: a.incarnation() });
        let result = b.commit("session/2", 0, Claims::new([("station/100", "bob")]), &old("y")).await;
        let (claim, holder, holder_key) = ("station/100".into(), "alice".into(), "session/1".into());
        assert_eq!(refusal(result), Refusal::Claimed { claim, holder, holder_key });
    }

    #[tokio::test]
    async fn the_heir_goes_on_and_the_fenced_node_is_refused_for_ever() {
        let (a, b) = pair().await;
        let version = a.commit("session/1", 0, Claims::default(), &old("x")).await.unwrap();
        assert_eq!(b.fence(a.incarnation()).await.unwrap(), 1);
        let loaded = b.load::<Old>("session/1").unwrap().unwrap();
        assert_eq!((loaded.owner, &loaded.value), (b.incarnation(), &old("x")));
        for expected in [version, loaded.version] {
            let refused = a.commit("session/1", expected, Claims::default(), &old("y")).await.unwrap_err();
            let fenced = Refusal::Fenced { incarnation: a.incarnation() };
            assert!(matches!(refused, CommitRefused::Refused(refusal) if refusal == fenced));
        }
        b.commit("session/1", loaded.version, Claims::default(), &old("z")).await.unwrap();
    }

    #[tokio::test]
    async fn an_older_node_that_takes_a_record_over_keeps_what_a_newer_one_wrote() {
        let (newer, older) = pair().await;
        let value = New { state: "x".into(), colour: Some("red".into()) };
        newer.commit("session/1", 0, Claims::default(), &value).await.unwrap();
        older.fence(newer.incarnation()).await.unwrap();
        let loaded = older.load::<Old>("session/1").unwrap().unwrap();
        let version = older.commit("session/1", loaded.version, Claims::default(), &old("y")).await.unwrap();
        older.commit("session/1", version, Claims::default(), &old("z")).await.unwrap();
        let back = older.load::<New>("session/1").unwrap().unwrap().value;
        assert_eq!(back, New { state: "z".into(), colour: Some("red".into()) });
    }

    #[tokio::test]
    async fn an_unreadable_record_does_not_hide_the_others() {
        let (a, _) = pair().await;
        let version = a.commit("session/1", 0, Claims::default(), &old("x")).await.unwrap();
        let change = Change::Put {
            writer: a.incarnation(),
            key: "session/0".into(),
            expected: 0,
            claims: Claims::default(),
            body: vec![9, 9].into(),
        };
        a.propose(change).await.unwrap();
        let all: Vec<_> = a.load_all::<Old>("session/").collect();
        assert!(matches!(&all[0], Err(unreadable) if &*unreadable.key == "session/0"));
        assert_eq!(all[1].as_ref().unwrap().version, version);
    }
}
