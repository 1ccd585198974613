//! A whole voter: store, listener, links, consensus, and the tasks that act on deaths, silence and a growing log.

mod guardian;
mod watchdog;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::log::identity::{self, Identity};
use crate::log::{Log, OpenError};
use crate::machine::{Command, Reply};
use crate::peer::{Acceptor, Links, Relay, Security, Service};
use crate::raft::{Role, Voter};
use crate::record::Incarnation;
use crate::replica::{Parts, Replica, Timers};
use crate::store::{CommitError, FencedStore};
use crate::wire::{Hello, PROTOCOL};

/// What this version could do if every node could.
pub const FEATURE_LEVEL: u32 = 1;
/// A log is cut when it is this large, or as large as what it would be cut to.
const LOG_BYTES_MIN: u64 = 16 * 1024 * 1024;
const HOUSEKEEPING_MS: u64 = 500;
const DEATHS_MAX: usize = 64;
/// Of 10 ms each.
const IN_USE_TURNS: u32 = 200;

pub struct NodeOptions {
    pub cluster_id: String,
    pub id: u64,
    pub name: String,
    pub role: Role,
    /// Where this node listens for the others.
    pub listen: SocketAddr,
    /// Every voter of the cluster at its beginning, this one among them.
    pub voters: BTreeMap<u64, Voter>,
    /// Comes to a cluster that lives, under an id no node has had: waits to be added.
    pub joins: bool,
    pub folder: PathBuf,
    pub security: Security,
    pub timers: Timers,
    /// A multi-thread runtime of the consensus' own.
    pub runtime: Handle,
    pub relay: Arc<dyn Relay>,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{}", damaged_text(.reason, .aside))]
    Damaged { reason: String, aside: PathBuf },
    #[error(
        "the store in {} is gone, but the cluster knows node {id}: a voter that forgot its vote must not vote. Give this node \
         an id that no node has had, remove node {id} and let it join", .folder.display()
    )]
    Wiped { id: u64, folder: PathBuf },
    #[error(
        "the store in {} is of cluster {}, node {}; the configuration says cluster {cluster_id}, node {id}",
        .folder.display(), .found.cluster_id, .found.node_id
    )]
    Foreign { folder: PathBuf, found: Identity, cluster_id: String, id: u64 },
    #[error("the store in {} is open in another process", .folder.display())]
    InUse { folder: PathBuf },
    #[error("without TLS every voter must be on this machine; {address} is not")]
    PlainBeyondLoopback { address: String },
    #[error("the cluster listener {address} cannot be opened")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("the voter cannot be started")]
    Io(#[from] io::Error),
}

fn damaged_text(reason: &str, aside: &Path) -> String {
    format!(
        "the record store is damaged ({reason}); it was moved to {} and this node does not vote. Give it an id that no node has \
         had, remove the old one and let it join; the others hold all that was acknowledged",
        aside.display()
    )
}

/// Clones are the same voter.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    options: Fixed,
    replica: Replica,
    log: Log,
    links: Links,
    acceptor: Mutex<Option<Acceptor>>,
    address: SocketAddr,
    /// The life this node has joined with.
    incarnation: Mutex<Option<Incarnation>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

struct Fixed {
    id: u64,
    name: String,
    role: Role,
    timers: Timers,
    identity: Identity,
}

/// What an operator wants to see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub id: u64,
    pub name: String,
    pub role: Role,
    pub leader: Option<u64>,
    pub term: u64,
    pub may_act: bool,
    pub incarnation: Option<u64>,
    pub applied: Option<u64>,
    pub last: Option<u64>,
    pub records: usize,
    pub log_bytes: u64,
    pub disk_bytes: u64,
    pub voters: BTreeMap<u64, Voter>,
    pub feature_level: u32,
}

impl Node {
    /// Opens or makes the store, listens, and takes part. A node whose store is blank waits here until every other voter is
    /// reached, because only they can say whether it has voted before.
    pub async fn start(options: NodeOptions) -> Result<Self, StartError> {
        let NodeOptions { cluster_id, id, name, role, listen, voters, joins, folder, security, timers, runtime, relay } =
            options;
        for voter in voters.values() {
            let address = tokio::net::lookup_host(&voter.address).await?.collect::<Vec<_>>();
            if !security.is_enough_for(&address) {
                return Err(StartError::PlainBeyondLoopback { address: voter.address.clone() });
            }
        }
        let mut turn = 0;
        let (log, identity) = loop {
            match open_or_create(&folder, Identity::read(&folder), &cluster_id, id) {
                // A process that was told to end may need a moment.
                Err(StartError::InUse { .. }) if turn < IN_USE_TURNS => turn += 1,
                opened => break opened?,
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        // A store that was made by a start that came no further is as good as none.
        let has_state = !log.is_blank();
        let hello = Hello {
            protocol: PROTOCOL,
            cluster_id,
            epoch: identity.epoch,
            from: id,
            to: 0,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            feature_level: FEATURE_LEVEL,
            has_state,
            refusal: None,
        };
        let listener =
            TcpListener::bind(listen).await.map_err(|source| StartError::Listen { address: listen, source })?;
        let (tell_service, service) = watch::channel(None);
        let acceptor = Acceptor::start(listener, security.clone(), hello.clone(), service)?;
        let address = acceptor.address();
        let (tell_deaths, deaths) = mpsc::channel(DEATHS_MAX);
        let links = Links::new(security, hello, tell_deaths);
        for (other, voter) in voters.iter().filter(|(other, _)| **other != id) {
            links.know(*other, &voter.address);
        }
        if !has_state && !joins {
            let others: BTreeSet<u64> = voters.keys().copied().filter(|other| *other != id).collect();
            if !are_all_new(&links, &others).await {
                return Err(StartError::Wiped { id, folder });
            }
        }
        let parts = Parts {
            id,
            role,
            timers,
            log: log.clone(),
            network: links.clone(),
            shelf: Arc::new(log.shelf()),
            peers: Arc::new(links.clone()),
            runtime,
        };
        let replica = Replica::build(parts).await?;
        tell_service.send_replace(Some(Arc::new(Service { replica: replica.clone(), relay })));
        replica.run();
        if !has_state && !joins && voters.keys().next() == Some(&id) {
            replica.raft().initialize(voters).await.map_err(io::Error::other)?;
        }
        let node = Self(Arc::new(Inner {
            options: Fixed { id, name, role, timers, identity },
            replica,
            log,
            links,
            acceptor: Mutex::new(Some(acceptor)),
            address,
            incarnation: Mutex::default(),
            tasks: Mutex::default(),
        }));
        node.look_after(deaths, tell_service);
        Ok(node)
    }

    fn look_after(&self, deaths: mpsc::Receiver<u64>, service: watch::Sender<Option<Arc<Service>>>) {
        let tasks = vec![
            tokio::spawn(guardian::watch(self.clone(), deaths)),
            tokio::spawn(watchdog::watch(self.clone())),
            tokio::spawn(keep_house(self.clone())),
            // The listener answers as long as this lives.
            tokio::spawn(async move { service.closed().await }),
        ];
        *self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner) = tasks;
    }

    pub fn id(&self) -> u64 {
        self.0.options.id
    }

    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    pub fn replica(&self) -> &Replica {
        &self.0.replica
    }

    pub fn links(&self) -> &Links {
        &self.0.links
    }

    /// Says why the store failed, once it has: the process must end.
    pub fn failed(&self) -> watch::Receiver<Option<String>> {
        self.0.log.failed()
    }

    /// Begins a life of this node; its records of before belong to it.
    pub async fn join(&self) -> Result<Incarnation, CommitError> {
        match self.0.replica.propose(Command::Join { node: self.0.options.name.as_str().into() }).await? {
            Reply::Joined { incarnation, .. } => {
                self.live_as(incarnation);
                Ok(incarnation)
            }
            _ => Err(CommitError::Lost),
        }
    }

    /// Which life the guardian inherits for.
    pub fn live_as(&self, incarnation: Incarnation) {
        *self.0.incarnation.lock().unwrap_or_else(PoisonError::into_inner) = Some(incarnation);
    }

    pub fn incarnation(&self) -> Option<Incarnation> {
        *self.0.incarnation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands the leadership to another voter, if this one has it.
    pub async fn hand_over(&self, to: u64) -> io::Result<()> {
        self.0.replica.raft().trigger().transfer_leader(to).await.map_err(io::Error::other)
    }

    /// Takes a new voter in: it catches up first. To be asked of the leader.
    pub async fn add(&self, id: u64, voter: Voter) -> io::Result<()> {
        self.0.links.know(id, &voter.address);
        let raft = self.0.replica.raft();
        raft.add_learner(id, voter, true).await.map_err(io::Error::other)?;
        let voters = ChangeMembers::AddVoterIds(BTreeSet::from([id]));
        raft.change_membership(voters, false).await.map(drop).map_err(io::Error::other)
    }

    /// Lets a voter go for ever. To be asked of the leader.
    pub async fn remove(&self, id: u64) -> io::Result<()> {
        let raft = self.0.replica.raft();
        let change = ChangeMembers::RemoveVoters(BTreeSet::from([id]));
        raft.change_membership(change, false).await.map(drop).map_err(io::Error::other)
    }

    pub fn voters(&self) -> BTreeMap<u64, Voter> {
        let metrics = self.0.replica.raft().metrics();
        let membership = metrics.borrow_watched().membership_config.clone();
        membership.nodes().map(|(id, voter)| (*id, voter.clone())).collect()
    }

    pub fn status(&self) -> Status {
        let replica = &self.0.replica;
        let metrics = replica.raft().metrics();
        let metrics = metrics.borrow_watched().clone();
        Status {
            id: self.id(),
            name: self.0.options.name.clone(),
            role: self.0.options.role,
            leader: metrics.current_leader,
            term: metrics.current_term,
            may_act: replica.may_act(),
            incarnation: self.incarnation().map(|incarnation| incarnation.0),
            applied: metrics.last_applied.map(|id| id.index()),
            last: metrics.last_log_index,
            records: replica.records().machine().records_count(),
            log_bytes: self.0.log.log_bytes(),
            disk_bytes: self.0.log.disk_bytes(),
            voters: self.voters(),
            feature_level: replica.records().machine().feature_level(),
        }
    }

    /// The cluster this store belongs to.
    pub fn identity(&self) -> &Identity {
        &self.0.options.identity
    }

    /// Hands the leadership over if it has it, then stops: the listener last, because a listener that is gone is taken for a
    /// death.
    pub async fn stop(&self) {
        let replica = &self.0.replica;
        if replica.is_leader() {
            let others = self.voters();
            let heir = others.iter().find(|(id, voter)| **id != self.id() && voter.role == Role::Data);
            if let Some((heir, _)) = heir {
                // Err: it has stopped by itself.
                let _ = self.hand_over(*heir).await;
                for _ in 0..100 {
                    if !replica.is_leader() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
        self.halt().await;
    }

    /// Stops at once, as a crash does, but for a store that is closed in order.
    pub async fn halt(&self) {
        for task in self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
        self.0.links.close();
        self.0.replica.stop().await;
        self.0.log.close().await;
        let acceptor = self.0.acceptor.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(acceptor) = acceptor {
            acceptor.stop().await;
        }
    }
}

fn open_or_create(
    folder: &Path,
    found: Result<Option<Identity>, OpenError>,
    cluster_id: &str,
    id: u64,
) -> Result<(Log, Identity), StartError> {
    let set_aside = |reason: String| match identity::set_aside(folder) {
        Ok(aside) => StartError::Damaged { reason, aside },
        Err(error) => StartError::Io(error),
    };
    let found = match found {
        Ok(found) => found,
        Err(OpenError::Damaged(reason)) => return Err(set_aside(reason)),
        Err(OpenError::InUse) => return Err(StartError::InUse { folder: folder.to_owned() }),
        Err(OpenError::Io(error)) => return Err(error.into()),
    };
    let opened = match &found {
        Some(found) if found.cluster_id != cluster_id || found.node_id != id => {
            let (folder, found) = (folder.to_owned(), found.clone());
            return Err(StartError::Foreign { folder, found, cluster_id: cluster_id.to_owned(), id });
        }
        Some(found) => identity::open(folder, found).map(|log| (log, found.clone())),
        None => {
            let identity = Identity::fresh(cluster_id, 0, id)?;
            identity::create(folder, &identity).map(|log| (log, identity))
        }
    };
    opened.map_err(|error| match error {
        OpenError::Damaged(reason) => set_aside(reason),
        OpenError::InUse => StartError::InUse { folder: folder.to_owned() },
        OpenError::Io(error) => error.into(),
    })
}

/// Waits until each has been heard. False: one of them has voted before, so this one has as well.
async fn are_all_new(links: &Links, others: &BTreeSet<u64>) -> bool {
    let mut told = false;
    for turn in 0_u32.. {
        let heard: Vec<Option<Hello>> =
            others.iter().map(|other| links.to(*other).and_then(|link| link.heard())).collect();
        if heard.iter().flatten().any(|hello| hello.has_state) {
            return false;
        }
        if heard.iter().all(Option::is_some) {
            return true;
        }
        if turn == 200 && !told {
            told = true;
            tracing::info!("waiting for the other voters: a new cluster begins when all of them are there");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    true
}

/// Cuts the log when it has outgrown what it would be cut to: so the work is in proportion to what is written.
async fn keep_house(node: Node) {
    loop {
        tokio::time::sleep(Duration::from_millis(HOUSEKEEPING_MS)).await;
        let log = &node.0.log;
        if log.log_bytes() > LOG_BYTES_MIN && log.log_bytes() > node.0.replica.records().machine().bytes() {
            // Err: the voter has stopped.
            let _ = node.0.replica.raft().trigger().snapshot().await;
        }
    }
}
