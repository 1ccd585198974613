//! This node among the others: its voter, on a runtime of its own, and the words that pass between nodes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use lyncpin_cluster::node::{Node, NodeOptions, StartError};
use lyncpin_cluster::peer::{Relay, Security};
use lyncpin_cluster::raft::{Role, Voter};
use lyncpin_cluster::replica::Timers;
use lyncpin_cluster::wire::Kind;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::{CommitError, CommitRefused, FencedStore, Records};
use crate::config::{Cluster, Config, Pace, VoterRole};

pub use lyncpin_cluster::node::Status;

/// Threads for consensus, its disk and its network; session threads never wait for them.
const THREADS: usize = 2;
/// A word between nodes that has no answer by then has none.
const WORD_MS: u64 = 2_000;

/// Hears what other nodes say.
pub trait Ear: Send + Sync + 'static {
    /// `from`: the node's name.
    fn heard(&self, from: String, word: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, String>>;
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
    node: Arc<OnceLock<Node>>,
}

impl Relay for Hearing {
    fn heard(&self, from: u64, body: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, String>> {
        let name = self.names.get(&from).cloned().unwrap_or_else(|| Cluster::voter_name(from as u32));
        match self.ear.get() {
            Some(ear) => ear.heard(name, body),
            None => Box::pin(async { Err("this node is starting".to_owned()) }),
        }
    }

    fn status(&self) -> BoxFuture<'static, Vec<u8>> {
        let status = self.node.get().map(Node::status);
        Box::pin(async move { serde_json::to_vec(&status).unwrap_or_default() })
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
        let (ear, known) = (Arc::new(OnceLock::new()), Arc::new(OnceLock::new()));
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
            timers: if config.cluster.pace == Pace::Lan { Timers::LAN } else { Timers::DEFAULT },
            runtime: runtime.handle().clone(),
            relay: Arc::new(Hearing { ear: ear.clone(), names, node: known.clone() }),
        };
        let started = runtime.spawn(Node::start(options)).await;
        let node = started.map_err(|error| PairError::Threads(std::io::Error::other(error)))??;
        // Err: it is set once.
        let _ = known.set(node.clone());
        Ok(Self(Arc::new(Shared { node, ear, runtime: Some(runtime) })))
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
        Cluster::voter_name(u32::try_from(self.0.node.id()).unwrap_or_default())
    }

    /// Who hears the other nodes; set once.
    pub fn listen(&self, ear: Arc<dyn Ear>) {
        // Err: it is set once.
        let _ = self.0.ear.set(ear);
    }

    pub fn status(&self) -> Status {
        self.0.node.status()
    }

    /// Whether this node may still carry effects: nobody can have fenced it yet.
    pub fn may_act(&self) -> bool {
        self.0.node.replica().may_act()
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
