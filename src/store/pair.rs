//! This node among the others: its voter, on a runtime of its own, and the words that pass between nodes.

pub mod recovery;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use lyncpin_cluster::backup;
use lyncpin_cluster::membership;
use lyncpin_cluster::node::{Node, NodeOptions, StartError};
use lyncpin_cluster::peer::{Relay, Security};
use lyncpin_cluster::raft::{Role, Voter};
use lyncpin_cluster::replica::Timers;
use lyncpin_cluster::wire::Kind;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::{Change, Command, CommitError, CommitRefused, FencedStore, Incarnation, Record, Records, Reply, Watch};
use crate::config::{Cluster, Config, Pace, VoterRole};

pub use lyncpin_cluster::node::{FEATURE_LEVEL, Status};

/// Threads for consensus, its disk and its network; session threads never wait for them.
const THREADS: usize = 2;
/// A word between nodes that has no answer by then has none.
const WORD_MS: u64 = 2_000;
/// Of one batch.
const RESTORED_AT_ONCE: usize = 64;
/// An operator does not wait for a node that is away.
const TELLING_MS: u64 = 500;

/// Hears what other nodes say.
pub trait Ear: Send + Sync + 'static {
    /// `from`: the node's name.
    fn heard(&self, from: String, word: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, String>>;
}

/// Tells what this node is, as JSON, to a node that asks for its operator.
pub trait Voice: Send + Sync + 'static {
    fn tell(&self) -> Vec<u8>;
}

#[derive(Debug, thiserror::Error)]
pub enum PairError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("the threads of the cluster cannot be started")]
    Threads(#[source] std::io::Error),
    #[error("the certificates of the voters cannot be used")]
    Certificates(#[source] std::io::Error),
    #[error("[cluster] names no voter with this node's id")]
    NotAVoter,
    #[error("the cluster does not take this node")]
    Join(#[from] CommitError),
}

/// Clones are the same node.
#[derive(Clone)]
pub struct Pair(Arc<Shared>);

struct Shared {
    node: Node,
    ear: Arc<OnceLock<Arc<dyn Ear>>>,
    voice: Arc<OnceLock<Arc<dyn Voice>>>,
    cluster: String,
    /// Taken at the end: a runtime must not be dropped where tasks run.
    runtime: Option<Runtime>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The gateway's end of the links between voters.
struct Hearing {
    ear: Arc<OnceLock<Arc<dyn Ear>>>,
    names: BTreeMap<u64, String>,
    voice: Arc<OnceLock<Arc<dyn Voice>>>,
}

impl Relay for Hearing {
    fn heard(&self, from: u64, body: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, String>> {
        let from = membership::seat(from);
        let name = self.names.get(&from).cloned().unwrap_or_else(|| Cluster::voter_name(from as u32));
        match self.ear.get() {
            Some(ear) => ear.heard(name, body),
            None => Box::pin(async { Err("this node is starting".to_owned()) }),
        }
    }

    fn status(&self) -> BoxFuture<'static, Vec<u8>> {
        let told = self.voice.get().map(|voice| voice.tell());
        Box::pin(async move { told.unwrap_or_default() })
    }
}

impl Pair {
    /// Starts the voter the configuration says this node is. Waits, the first time, until all voters are there.
    pub async fn start(config: &Config) -> Result<Self, PairError> {
        let own = config.cluster.voter.iter().find(|voter| voter.id == config.node.id).ok_or(PairError::NotAVoter)?;
        let runtime = Builder::new_multi_thread().worker_threads(THREADS).thread_name("cluster").enable_all().build();
        let runtime = runtime.map_err(PairError::Threads)?;
        let voters: BTreeMap<u64, Voter> =
            config.cluster.voter.iter().map(|one| (u64::from(one.id), voter(one))).collect();
        let (ear, voice) = (Arc::new(OnceLock::new()), Arc::new(OnceLock::new()));
        let names = voters.iter().map(|(id, voter)| (*id, voter.name.clone())).collect();
        let options = NodeOptions {
            cluster_id: config.cluster.name.clone(),
            id: u64::from(own.id),
            name: Cluster::voter_name(own.id),
            role: role(own.role),
            listen: address(&own.address).await?,
            voters,
            joins: config.cluster.joins,
            folder: config.node.data_dir.clone(),
            security: security(&config.cluster)?,
            timers: match config.cluster.pace {
                Pace::Default => Timers::DEFAULT,
                Pace::Lan => Timers::LAN,
                Pace::Wan => Timers::WAN,
            },
            runtime: runtime.handle().clone(),
            relay: Arc::new(Hearing { ear: ear.clone(), names, voice: voice.clone() }),
        };
        let started = runtime.spawn(Node::start(options)).await;
        let started = started.map_err(|error| PairError::Threads(std::io::Error::other(error)));
        let node = match started.and_then(|started| started.map_err(PairError::from)) {
            Ok(node) => node,
            Err(error) => {
                // A runtime must not be dropped where tasks run.
                runtime.shutdown_background();
                return Err(error);
            }
        };
        let cluster = config.cluster.name.clone();
        Ok(Self(Arc::new(Shared { node, ear, voice, cluster, runtime: Some(runtime) })))
    }

    /// Begins a life of this node, trying until the cluster takes it: a quorum may still be on its way.
    pub async fn join(&self) -> Result<Records, CommitRefused> {
        let store: Arc<dyn FencedStore> = Arc::new(self.0.node.replica().clone());
        loop {
            match Records::join(store.clone(), &self.name()).await {
                Ok(records) => {
                    self.0.node.live_as(records.incarnation());
                    return Ok(records);
                }
                Err(CommitRefused::Failed(error)) if error != CommitError::Closed => {
                    tracing::info!(reason = %error, "waiting for a quorum of the cluster");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub fn name(&self) -> String {
        Cluster::voter_name(u32::try_from(membership::seat(self.0.node.id())).unwrap_or_default())
    }

    /// Who hears the other nodes; set once.
    pub fn listen(&self, ear: Arc<dyn Ear>) {
        // Err: it is set once.
        let _ = self.0.ear.set(ear);
    }

    /// Who tells other nodes what this one is; set once.
    pub fn speak(&self, voice: Arc<dyn Voice>) {
        // Err: it is set once.
        let _ = self.0.voice.set(voice);
    }

    /// The cluster's name and epoch.
    pub fn cluster(&self) -> (String, u64) {
        (self.0.cluster.clone(), self.0.node.identity().epoch)
    }

    /// Names of the other nodes that serve users, or should.
    pub fn other_data_nodes(&self) -> Vec<String> {
        let (own, voters) = (self.0.node.id(), self.0.node.voters());
        let others = voters.into_iter().filter(|(id, voter)| *id != own && voter.role == Role::Data);
        others.map(|(_, voter)| voter.name).collect()
    }

    /// What each other voter tells of itself; `None`: it does not answer.
    pub async fn tellings(&self) -> BTreeMap<u64, Option<Vec<u8>>> {
        let own = self.0.node.id();
        let Some(runtime) = self.0.runtime.as_ref().map(|runtime| runtime.handle().clone()) else {
            return BTreeMap::new();
        };
        let asking = self.0.node.voters().into_keys().filter(|id| *id != own).map(|id| {
            let (link, runtime) = (self.0.node.links().to(id), runtime.clone());
            async move {
                let Some(link) = link else { return (id, None) };
                let asked =
                    runtime.spawn(async move { link.ask(Kind::Status, &[], Duration::from_millis(TELLING_MS)).await });
                (id, asked.await.ok().and_then(Result::ok).filter(|told| !told.is_empty()))
            }
        });
        futures_util::future::join_all(asking).await.into_iter().collect()
    }

    /// Every record at one moment, in the form of a file.
    pub async fn backup(&self) -> Result<Vec<u8>, CommitError> {
        self.0.node.replica().catch_up().await?;
        Ok(backup::write(self.0.node.replica().records().machine().snapshot()))
    }

    /// Puts the records of a backup into this cluster, which must have none; they are this node's. Yields how many.
    pub async fn restore(&self, file: &[u8]) -> io::Result<usize> {
        let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidInput, why);
        let snapshot = backup::read(file)?;
        let replica = self.0.node.replica();
        let writer =
            self.0.node.incarnation().ok_or_else(|| invalid("a witness owns no records: ask a node".into()))?;
        replica.catch_up().await.map_err(io::Error::other)?;
        let there = replica.records().machine().records_count();
        if there > 0 {
            return Err(invalid(format!("this cluster has {there} records already: a backup goes into an empty one")));
        }
        let mut changes = Vec::new();
        let records = backup::records_of(snapshot);
        let count = records.len();
        for Record { key, claims, body, .. } in records {
            changes.push(Change::Put { writer, key, expected: 0, claims, body });
            if changes.len() == RESTORED_AT_ONCE {
                self.put_back(std::mem::take(&mut changes)).await?;
            }
        }
        self.put_back(changes).await?;
        Ok(count)
    }

    async fn put_back(&self, changes: Vec<Change>) -> io::Result<()> {
        match self.0.node.replica().propose(Command::Batch { changes }).await.map_err(io::Error::other)? {
            Reply::Applied { .. } => Ok(()),
            other => Err(io::Error::other(format!("a record was refused: {other:?}"))),
        }
    }

    /// Takes a voter in, in place of another one of its seat.
    pub async fn add_voter(&self, id: u64, address: &str, is_witness: bool) -> io::Result<()> {
        let role = if is_witness { Role::Witness } else { Role::Data };
        let seat = u32::try_from(membership::seat(id)).unwrap_or_default();
        let voter = Voter { name: Cluster::voter_name(seat), address: address.to_owned(), role };
        let node = self.0.node.clone();
        self.on_runtime(async move { node.add(id, voter).await }).await
    }

    /// Lets a voter go for ever.
    pub async fn remove_voter(&self, id: u64) -> io::Result<()> {
        let node = self.0.node.clone();
        self.on_runtime(async move { node.remove(id).await }).await
    }

    /// Lets every node do what all of them can. Yields the level that holds now.
    pub async fn raise(&self, level: u32) -> io::Result<u32> {
        match self.0.node.replica().propose(Command::Raise { level }).await.map_err(io::Error::other)? {
            Reply::Raised { level } => Ok(level),
            other => Err(io::Error::other(format!("it was answered {other:?}"))),
        }
    }

    async fn on_runtime<T: Send + 'static>(
        &self,
        work: impl Future<Output = io::Result<T>> + Send + 'static,
    ) -> io::Result<T> {
        let runtime = self.0.runtime.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        runtime.spawn(work).await.map_err(io::Error::other)?
    }

    /// Hands the leadership to the voter of this name, if this node has it.
    pub async fn hand_leadership_to(&self, name: &str) {
        let node = self.0.node.clone();
        let id = node.voters().into_iter().find(|(_, voter)| voter.name == name).map(|(id, _)| id);
        let Some(id) = id.filter(|_| node.replica().is_leader()) else { return };
        // Err: it is not the leader any more.
        let _ = self.on_runtime(async move { node.hand_over(id).await }).await;
    }

    /// When the node that lived as this was heard for the last time; `None`: another one fenced it.
    pub fn heard_last(&self, lost: Incarnation) -> Option<Instant> {
        self.0.node.lost().filter(|(incarnation, _)| *incarnation == lost).map(|(_, heard)| heard.into_std())
    }

    /// What is applied here from now on.
    pub fn watch(&self) -> Watch {
        self.0.node.replica().watch()
    }

    pub fn status(&self) -> Status {
        self.0.node.status()
    }

    /// Whether this node may still carry effects: nobody can have fenced it yet, and as far as it knows nobody has.
    pub fn may_act(&self) -> bool {
        self.0.node.may_act()
    }

    /// Says why the store failed, once it has: the process must end.
    pub fn failed(&self) -> watch::Receiver<Option<String>> {
        self.0.node.failed()
    }

    /// Says a word to another node; `Err`: nobody knows whether it was heard.
    pub fn say(&self, to: &str, word: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, String>> {
        let id = self.0.node.voters().into_iter().find(|(_, voter)| voter.name == to).map(|(id, _)| id);
        let link = id.and_then(|id| self.0.node.links().to(id));
        let runtime = self.0.runtime.as_ref().map(|runtime| runtime.handle().clone());
        Box::pin(async move {
            let (Some(link), Some(runtime)) = (link, runtime) else { return Err("it is not known".to_owned()) };
            let asked =
                runtime.spawn(async move { link.ask(Kind::Relay, &word, Duration::from_millis(WORD_MS)).await });
            match asked.await {
                Ok(answer) => answer.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            }
        })
    }

    /// Hands the leadership over and stops the voter, its listener last.
    pub async fn stop(&self) {
        let node = self.0.node.clone();
        if let Some(runtime) = &self.0.runtime {
            // Err: it panicked, and is stopped all the same.
            let _ = runtime.spawn(async move { node.stop().await }).await;
        }
    }
}

fn voter(one: &crate::config::Voter) -> Voter {
    Voter { name: Cluster::voter_name(one.id), address: one.address.clone(), role: role(one.role) }
}

fn role(role: VoterRole) -> Role {
    match role {
        VoterRole::Data => Role::Data,
        VoterRole::Witness => Role::Witness,
    }
}

async fn address(text: &str) -> Result<SocketAddr, PairError> {
    let found = tokio::net::lookup_host(text).await.map_err(StartError::from)?.next();
    found.ok_or_else(|| StartError::from(std::io::Error::other(format!("{text} has no address"))).into())
}

fn security(cluster: &Cluster) -> Result<Security, PairError> {
    match (&cluster.tls.cert, &cluster.tls.key, &cluster.tls.ca) {
        (Some(cert), Some(key), Some(ca)) => Security::from_files(cert, key, ca).map_err(PairError::Certificates),
        _ => Ok(Security::Loopback),
    }
}
