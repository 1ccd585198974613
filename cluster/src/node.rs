//! A whole voter: store, listener, links, consensus, and the tasks that act on deaths, silence and a growing log.

pub mod guardian;
mod introduce;
mod life;
mod opening;
mod status;
pub mod watchdog;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::opening::{Heard, Opened, Scouts};
pub use self::status::Status;
use crate::log::Log;
use crate::log::identity::{self, Identity};
use crate::membership;
use crate::peer::{Acceptor, Links, Relay, Security, Service};
use crate::raft::{Role, Voter};
use crate::record::Incarnation;
use crate::replica::{Parts, Replica, Timers};
use crate::store::CommitError;
use crate::wire::{Hello, PROTOCOL};

pub use self::life::Life;

/// What this version could do if every node could.
pub const FEATURE_LEVEL: u32 = 1;
/// A log is cut when it is this large, or as large as what it would be cut to.
const LOG_BYTES_MIN: u64 = 16 * 1024 * 1024;
const HOUSEKEEPING_MS: u64 = 500;
const DEATHS_MAX: usize = 64;

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
    life: Arc<Life>,
    log: Log,
    links: Links,
    acceptor: Mutex<Option<Acceptor>>,
    address: SocketAddr,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    over: watch::Sender<Option<String>>,
    folder: PathBuf,
}

struct Fixed {
    id: u64,
    role: Role,
    identity: Identity,
}

impl Node {
    /// Opens or makes the store, listens, and takes part. A node whose store is blank waits here until the other voters have
    /// said whether the cluster lives: only they know whether this seat has voted before.
    pub async fn start(options: NodeOptions) -> Result<Self, StartError> {
        for voter in options.voters.values() {
            let address = tokio::net::lookup_host(&voter.address).await?.collect::<Vec<_>>();
            if !options.security.is_enough_for(&address) {
                return Err(StartError::PlainBeyondLoopback { address: voter.address.clone() });
            }
        }
        let opened = opening::open(&options.folder, &options.cluster_id, options.id).await?;
        if !opened.is_blank {
            let ear = Ear::open(&options, &opened.identity, 0).await?;
            return Self::begin(options, opened.log, opened.identity, ear, Beginning::GoesOn).await;
        }
        let opened = match opened.identity.node_id == options.id {
            true => opened,
            // Made under a fresh id by a start that came no further.
            false => {
                let damaged = opened.damaged.clone();
                let (log, identity) = opening::anew(opened, &options.folder, options.id, 0).await?;
                Opened { log, identity, is_blank: true, damaged }
            }
        };
        let others: BTreeSet<u64> = options.voters.keys().copied().filter(|id| *id != options.id).collect();
        if let (true, Some((reason, aside))) = (others.is_empty(), &opened.damaged) {
            return Err(StartError::Damaged { reason: reason.clone(), aside: aside.clone() });
        }
        let birth = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?.max(1);
        let ear = Ear::open(&options, &opened.identity, birth).await?;
        let links = Links::new(options.security.clone(), ear.hello.clone(), mpsc::channel(1).0);
        let scouts = Scouts::to(&links, &options.voters, options.id);
        let has_voted = opened.damaged.is_some() || options.joins;
        match scouts.ask(has_voted).await {
            Heard::AllBlank { births } => {
                links.close();
                Self::begin(options, opened.log, opened.identity, ear, Beginning::Together { births }).await
            }
            Heard::Lives { epoch } => {
                // What was said to the blank one under the seat's first id must not reach the one that begins now.
                ear.acceptor.stop().await;
                let id = if options.joins { options.id } else { membership::fresh_id(options.id)? };
                tracing::warn!(
                    seat = options.id,
                    id,
                    "this node has no records and asks to be taken in under a fresh id"
                );
                let (log, identity) = opening::anew(opened, &options.folder, id, epoch).await?;
                let ear = Ear::open(&options, &identity, birth).await?;
                let links = Links::new(options.security.clone(), ear.hello.clone(), mpsc::channel(1).0);
                let scouts = Scouts::to(&links, &options.voters, options.id);
                Self::begin(options, log, identity, ear, Beginning::TakenIn { scouts }).await
            }
        }
    }

    async fn begin(
        options: NodeOptions,
        log: Log,
        identity: Identity,
        ear: Ear,
        beginning: Beginning,
    ) -> Result<Self, StartError> {
        let NodeOptions { name, role, voters, folder, security, timers, runtime, relay, .. } = options;
        let Ear { hello, acceptor, tell_service } = ear;
        let id = identity.node_id;
        let address = acceptor.address();
        let (tell_deaths, deaths) = mpsc::channel(DEATHS_MAX);
        let configured = voters.iter().map(|(id, voter)| (*id, voter.address.clone())).collect();
        let links = Links::with(security, hello, tell_deaths, configured);
        if let Beginning::Together { .. } = &beginning {
            for (other, voter) in voters.iter().filter(|(other, _)| **other != id) {
                links.know(*other, &voter.address);
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
        let begun_with = match &beginning {
            Beginning::Together { births } => Some(births.clone()),
            Beginning::GoesOn | Beginning::TakenIn { .. } => None,
        };
        let service = Service { replica: replica.clone(), relay, links: links.clone(), begun_with };
        tell_service.send_replace(Some(Arc::new(service)));
        replica.run();
        let own = voters.get(&membership::seat(id)).cloned();
        if matches!(beginning, Beginning::Together { .. }) && voters.keys().next() == Some(&id) {
            replica.raft().initialize(voters).await.map_err(io::Error::other)?;
        }
        let node = Self(Arc::new(Inner {
            options: Fixed { id, role, identity },
            life: Arc::new(Life::new(replica, name)),
            log,
            links,
            acceptor: Mutex::new(Some(acceptor)),
            address,
            tasks: Mutex::default(),
            over: watch::Sender::new(None),
            folder,
        }));
        node.look_after(deaths, tell_service);
        if let (Beginning::TakenIn { scouts }, Some(own)) = (beginning, own) {
            let asking = tokio::spawn(introduce::ask_to_be_taken_in(node.clone(), scouts, own));
            node.0.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(asking);
        }
        Ok(node)
    }

    fn look_after(&self, deaths: mpsc::Receiver<u64>, service: watch::Sender<Option<Arc<Service>>>) {
        let tasks = vec![
            tokio::spawn(guardian::watch(self.0.life.clone(), deaths)),
            tokio::spawn(watchdog::watch(self.0.life.clone())),
            tokio::spawn(keep_house(self.clone())),
            tokio::spawn(introduce::watch(self.clone())),
            tokio::spawn(end_when_it_must(self.clone())),
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
        self.0.life.replica()
    }

    pub fn links(&self) -> &Links {
        &self.0.links
    }

    /// Says why this node must end, once it must: its store failed, or the cluster was recovered without it.
    pub fn failed(&self) -> watch::Receiver<Option<String>> {
        self.0.over.subscribe()
    }

    /// Begins a life of this node; its records of before belong to it.
    pub async fn join(&self) -> Result<Incarnation, CommitError> {
        self.0.life.join().await
    }

    /// Which life the guardian inherits for.
    pub fn live_as(&self, incarnation: Incarnation) {
        self.0.life.live_as(incarnation);
    }

    pub fn incarnation(&self) -> Option<Incarnation> {
        self.0.life.incarnation()
    }

    pub fn may_act(&self) -> bool {
        self.0.life.may_act()
    }

    /// The last life this node fenced, and when it was heard for the last time.
    pub fn lost(&self) -> Option<(Incarnation, Instant)> {
        self.0.life.lost()
    }

    /// Hands the leadership to another voter, if this one has it.
    pub async fn hand_over(&self, to: u64) -> io::Result<()> {
        self.0.life.replica().raft().trigger().transfer_leader(to).await.map_err(io::Error::other)
    }

    /// Takes a new voter in, which catches up first, in place of another one of its seat.
    pub async fn add(&self, id: u64, voter: Voter) -> io::Result<()> {
        membership::change(self.0.life.replica(), &self.0.links, membership::Change::Admit { id, voter }).await
    }

    /// Lets a voter go for ever.
    pub async fn remove(&self, id: u64) -> io::Result<()> {
        membership::change(self.0.life.replica(), &self.0.links, membership::Change::Remove { id }).await
    }

    pub fn voters(&self) -> BTreeMap<u64, Voter> {
        membership::nodes_of(self.0.life.replica())
    }

    /// The cluster this store belongs to.
    pub fn identity(&self) -> &Identity {
        &self.0.options.identity
    }

    /// Hands the leadership over if it has it, then stops: the listener last, because a listener that is gone is taken for a
    /// death.
    pub async fn stop(&self) {
        let replica = self.0.life.replica();
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
        self.0.life.replica().stop().await;
        self.0.log.close().await;
        let acceptor = self.0.acceptor.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(acceptor) = acceptor {
            acceptor.stop().await;
        }
    }
}

/// The listening side of a node that does not answer questions yet.
struct Ear {
    hello: Hello,
    acceptor: Acceptor,
    tell_service: watch::Sender<Option<Arc<Service>>>,
}

impl Ear {
    /// `birth`: of one whose store is blank, else 0.
    async fn open(options: &NodeOptions, identity: &Identity, birth: u64) -> Result<Self, StartError> {
        let hello = Hello {
            protocol: PROTOCOL,
            cluster_id: options.cluster_id.clone(),
            epoch: identity.epoch,
            from: identity.node_id,
            to: 0,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            feature_level: FEATURE_LEVEL,
            any: false,
            birth,
            has_state: false,
            refusal: None,
        };
        let failed = |source| StartError::Listen { address: options.listen, source };
        let listener = TcpListener::bind(options.listen).await.map_err(failed)?;
        let (tell_service, service) = watch::channel(None);
        let acceptor = Acceptor::start(listener, options.security.clone(), hello.clone(), service)?;
        Ok(Self { hello, acceptor, tell_service })
    }
}

/// How a node comes to take part.
enum Beginning {
    /// It has a store.
    GoesOn,
    /// A new cluster begins, with all of its voters.
    Together { births: BTreeSet<u64> },
    /// The cluster lives and does not know it.
    TakenIn { scouts: Scouts },
}

/// Tells the process to end when the store has failed, or the cluster went on without this node.
async fn end_when_it_must(node: Node) {
    let (mut failed, mut epochs) = (node.0.log.failed(), node.0.links.epochs());
    let own = node.identity().epoch;
    let why = tokio::select! {
        Ok(why) = failed.wait_for(Option::is_some) => why.clone(),
        Ok(epoch) = epochs.wait_for(|epoch| *epoch > own) => {
            let epoch = *epoch;
            // Err: it is told again at the next start.
            let _ = identity::give_up(&node.0.folder, epoch);
            identity::given_up(&node.0.folder)
        }
        else => return,
    };
    node.0.over.send_replace(why);
}

/// Cuts the log when it has outgrown what it would be cut to: so the work is in proportion to what is written.
async fn keep_house(node: Node) {
    // Up to where it was to be cut.
    let mut cut: Option<u64> = None;
    loop {
        tokio::time::sleep(Duration::from_millis(HOUSEKEEPING_MS)).await;
        let log = &node.0.log;
        if log.log_bytes() <= LOG_BYTES_MIN.max(node.0.life.replica().records().machine().bytes()) {
            cut = None;
            continue;
        }
        let raft = node.0.life.replica().raft();
        let (applied, snapshot) = {
            let metrics = raft.metrics();
            let metrics = metrics.borrow_watched();
            (metrics.last_applied.map(|id| id.index()), metrics.snapshot.map(|id| id.index()))
        };
        // Err, in both: the voter has stopped.
        if let Some(index) = cut.filter(|index| snapshot >= Some(*index)) {
            // The snapshot is there, and of few large entries openraft keeps all: for voters that lag, who get the snapshot.
            let _ = raft.trigger().purge_log(index).await;
            cut = None;
        } else {
            cut = cut.or(applied);
            let _ = raft.trigger().snapshot().await;
        }
    }
}
