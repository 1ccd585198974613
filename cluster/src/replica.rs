//! One voter: its copy of the records, the consensus that feeds it, and the way a command takes from any node to the
//! leader and back.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, LinearizableReadError, RaftError};
use openraft::network::{NetSnapshot, RaftNetworkFactory};
use openraft::raft::ReadPolicy;
use openraft::storage::RaftLogStorage;
use openraft::{Config, Instant as _, SnapshotPolicy};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::apply::{Applier, Opened, Raft};
use crate::image::{Image, Shelf};
use crate::machine::{Command, Reply};
use crate::mutant::{Mutant, mutant};
use crate::raft::{Role, Types};
use crate::record::{Limit, Record, Refusal};
use crate::records::Records;
use crate::runtime;
use crate::standing::Contact;
use crate::store::{CommitError, FencedStore, Member, Pending, Watch};

/// Commands of this node under way at once; beyond that `Full`.
pub const PROPOSALS_MAX: usize = 8_192;
/// How long a command may look for a leader and wait for its answer.
pub const PROPOSAL_MS: u64 = 5_000;
/// Pause before a command asks again who leads.
const NO_LEADER_PAUSE_MS: u64 = 5;

/// A leader that handed over still answers what it was asked before: that long is waited for it.
const DEPOSED_MS: u64 = 50;

/// The clock of elections. Below the LAN profile an idle disk's hiccup looks like a death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    pub heartbeat_ms: u64,
    pub election_min_ms: u64,
    /// Also the lease: how long a leader heard from a quorum, or a follower from its leader, may act on that.
    pub election_max_ms: u64,
}

impl Timers {
    pub const DEFAULT: Self = Self { heartbeat_ms: 50, election_min_ms: 150, election_max_ms: 300 };
    /// For voters far apart, or on machines that are busy with other things.
    pub const WAN: Self = Self { heartbeat_ms: 150, election_min_ms: 500, election_max_ms: 1_000 };
    pub const LAN: Self = Self { heartbeat_ms: 30, election_min_ms: 90, election_max_ms: 150 };

    pub fn lease(self) -> Duration {
        Duration::from_millis(self.election_max_ms)
    }
}

/// How commands reach the node that leads.
pub trait Peers: Send + Sync + 'static {
    fn propose(&self, leader: u64, command: Command) -> BoxFuture<'static, Proposed>;

    /// The leader's commit index, confirmed by a quorum after this call.
    fn read_index(&self, leader: u64) -> BoxFuture<'static, Result<Option<u64>, CommitError>>;
}

/// What became of a command at the node it was put to.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Proposed {
    /// `index`: of its entry in the log.
    Reply {
        reply: Reply,
        index: u64,
    },
    /// Definite: that node does not lead. `leader`: who does, as far as it knows.
    Elsewhere {
        leader: Option<u64>,
    },
    Failed(CommitError),
}

/// What a voter is built from.
pub struct Parts<L, N> {
    pub id: u64,
    pub role: Role,
    pub timers: Timers,
    pub log: L,
    pub network: N,
    pub shelf: Arc<dyn Shelf>,
    pub peers: Arc<dyn Peers>,
    /// Where the consensus runs: a multi-thread runtime of its own, never an arbiter.
    pub runtime: Handle,
}

/// Clones are the same voter.
#[derive(Clone)]
pub struct Replica(Arc<Inner>);

struct Inner {
    id: u64,
    role: Role,
    timers: Timers,
    raft: Raft,
    records: Arc<Records>,
    peers: Arc<dyn Peers>,
    runtime: Handle,
    contact: Contact,
    under_way: AtomicUsize,
    /// Held while this node, leading, changes who votes.
    changing: tokio::sync::Mutex<()>,
}

impl Replica {
    /// Builds the voter; it takes no part in anything before [`Replica::run`].
    pub async fn build<L, N>(parts: Parts<L, N>) -> io::Result<Self>
    where
        L: RaftLogStorage<Types>,
        N: RaftNetworkFactory<Types>,
        N::Network: NetSnapshot<Types, SnapshotData = Image>,
    {
        let Parts { id, role, timers, log, network, shelf, peers, runtime } = parts;
        let config = Arc::new(config(role, timers)?);
        let Opened { applier, records, snapshot } = Applier::open(shelf).await?;
        let raft = Raft::build(id, config, network, log, applier).await.map_err(io::Error::other)?;
        drop(snapshot.lock().unwrap_or_else(PoisonError::into_inner).take());
        let contact = Contact::new(timers.lease());
        let (under_way, changing) = (AtomicUsize::new(0), Default::default());
        Ok(Self(Arc::new(Inner { id, role, timers, raft, records, peers, runtime, contact, under_way, changing })))
    }

    /// Begins to vote and to follow. Call on the consensus runtime, when the listener for the other voters is up.
    pub fn run(&self) {
        self.0.raft.run();
    }

    pub fn id(&self) -> u64 {
        self.0.id
    }

    pub fn role(&self) -> Role {
        self.0.role
    }

    pub fn timers(&self) -> Timers {
        self.0.timers
    }

    pub fn raft(&self) -> &Raft {
        &self.0.raft
    }

    pub fn records(&self) -> &Arc<Records> {
        &self.0.records
    }

    pub fn runtime(&self) -> &Handle {
        &self.0.runtime
    }

    /// When this node was last heard by, or heard from, those who decide.
    pub fn contact(&self) -> &Contact {
        &self.0.contact
    }

    /// Until the guard is dropped nobody else here changes who votes.
    pub(crate) async fn one_change(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.changing.lock().await
    }

    /// Whether this node may still carry effects: the others cannot have fenced it yet.
    pub fn may_act(&self) -> bool {
        let acked = self.0.raft.metrics().borrow_watched().last_quorum_acked.map(|at| at.elapsed());
        self.0.contact.is_fresh(acked)
    }

    /// A leader's append was taken. After a silence longer than the lease this node asks first what it has missed.
    pub fn heard_leader(&self) {
        let Some(gap) = self.0.contact.heard_leader() else { return };
        let replica = self.clone();
        crate::runtime::spawn_on(&self.0.runtime, async move {
            while let Err(error) = replica.follow_up().await {
                if error == CommitError::Closed {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(NO_LEADER_PAUSE_MS)).await;
            }
            replica.0.contact.closed(gap);
        });
    }

    pub fn leader(&self) -> Option<u64> {
        self.0.raft.metrics().borrow_watched().current_leader
    }

    pub fn is_leader(&self) -> bool {
        self.leader() == Some(self.0.id)
    }

    /// Puts a command to the log if this node leads.
    pub async fn propose_here(&self, command: Command) -> Proposed {
        match self.0.raft.client_write(command).await {
            Ok(written) => Proposed::Reply { index: written.log_id.index(), reply: written.data },
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
                Proposed::Elsewhere { leader: forward.leader_id.filter(|leader| *leader != self.0.id) }
            }
            // Its entry may yet be committed by another leader.
            Err(RaftError::APIError(_)) => Proposed::Failed(CommitError::Lost),
            Err(RaftError::Fatal(_)) => Proposed::Failed(CommitError::Lost),
        }
    }

    /// The commit index, confirmed by a quorum, if this node leads.
    pub async fn read_index_here(&self) -> Result<Option<u64>, CommitError> {
        match self.0.raft.get_read_log_id(ReadPolicy::ReadIndex).await {
            Ok((read, _)) => Ok(Some(read.log_id().index())),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(_))) => Err(CommitError::Lost),
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => Err(CommitError::NoQuorum),
            Err(RaftError::Fatal(_)) => Err(CommitError::Closed),
        }
    }

    /// Stops the voter; the listener for the others should close after this.
    pub async fn stop(&self) {
        // Err: it has stopped before.
        let _ = self.0.raft.shutdown().await;
    }

    async fn drive(&self, command: Command) -> Result<Reply, CommitError> {
        let deadline = Instant::now() + Duration::from_millis(PROPOSAL_MS);
        let mut hint = None;
        loop {
            let leader = hint.take().or_else(|| self.leader());
            let proposed = match leader {
                Some(leader) if leader == self.0.id => {
                    tokio::time::timeout_at(deadline, self.propose_here(command.clone())).await
                }
                Some(leader) => {
                    let asked = self.0.peers.propose(leader, command.clone());
                    tokio::select! {
                        biased;
                        asked = tokio::time::timeout_at(deadline, asked) => asked,
                        () = self.long_deposed(leader) => Ok(Proposed::Failed(CommitError::Lost)),
                    }
                }
                None => Ok(Proposed::Elsewhere { leader: None }),
            };
            match proposed {
                Ok(Proposed::Reply { reply, index }) => {
                    // What was committed elsewhere is a message away from being readable here.
                    let applied = tokio::time::timeout_at(deadline, self.0.records.applied(index)).await;
                    return applied.map(|()| reply).map_err(|_| CommitError::TimedOut);
                }
                Ok(Proposed::Failed(error)) if error != CommitError::NoQuorum => return Err(error),
                Ok(Proposed::Elsewhere { leader: Some(other) }) if leader != Some(other) => hint = Some(other),
                Ok(_) => {
                    tokio::time::sleep(Duration::from_millis(NO_LEADER_PAUSE_MS)).await;
                    if Instant::now() >= deadline {
                        return Err(CommitError::NoQuorum);
                    }
                }
                Err(_) => return Err(CommitError::TimedOut),
            }
        }
    }

    /// Resolves when another node leads: the one that was asked may be frozen, and its answer may never come.
    async fn deposed(&self, asked: u64) {
        loop {
            tokio::time::sleep(Duration::from_millis(NO_LEADER_PAUSE_MS)).await;
            if self.leader().is_some_and(|leader| leader != asked) {
                return;
            }
        }
    }

    async fn long_deposed(&self, asked: u64) {
        self.deposed(asked).await;
        tokio::time::sleep(Duration::from_millis(DEPOSED_MS)).await;
    }

    async fn follow_up(&self) -> Result<(), CommitError> {
        if mutant(Mutant::StaleRead) {
            return Ok(());
        }
        let deadline = Instant::now() + Duration::from_millis(PROPOSAL_MS);
        let index = loop {
            let asked = match self.leader() {
                Some(leader) if leader == self.0.id => self.read_index_here().await,
                Some(leader) => tokio::select! {
                    biased;
                    asked = self.0.peers.read_index(leader) => asked,
                    () = self.deposed(leader) => Err(CommitError::NoQuorum),
                },
                None => Err(CommitError::NoQuorum),
            };
            match asked {
                Ok(index) => break index,
                Err(CommitError::Closed) => return Err(CommitError::Closed),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(NO_LEADER_PAUSE_MS)).await,
            }
        };
        let Some(index) = index else { return Ok(()) };
        let applied = tokio::time::timeout_at(deadline, self.0.records.applied(index)).await;
        applied.map_err(|_| CommitError::TimedOut)
    }

    /// Runs on the consensus runtime, whoever asks.
    fn on_runtime<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, CommitError>> + Send + 'static,
    ) -> Pending<T> {
        if self.0.under_way.fetch_add(1, Ordering::Relaxed) >= PROPOSALS_MAX {
            self.0.under_way.fetch_sub(1, Ordering::Relaxed);
            return Pending::ready(Err(CommitError::Full));
        }
        let (tell, told) = oneshot::channel();
        let inner = self.0.clone();
        runtime::spawn_on(&self.0.runtime, async move {
            let outcome = work.await;
            inner.under_way.fetch_sub(1, Ordering::Relaxed);
            // Err: nobody waits any more.
            let _ = tell.send(outcome);
        });
        Pending::waiting(async move { told.await.unwrap_or(Err(CommitError::Lost)) })
    }
}

impl FencedStore for Replica {
    fn propose(&self, command: Command) -> Pending<Reply> {
        if let Command::Batch { changes } = &command
            && let Some(limit) = Limit::passed_by(changes)
        {
            return Pending::ready(Ok(Reply::Refused { change: 0, refusal: Refusal::TooLarge { limit } }));
        }
        let replica = self.clone();
        self.on_runtime(async move { replica.drive(command).await })
    }

    fn catch_up(&self) -> Pending<()> {
        let replica = self.clone();
        self.on_runtime(async move { replica.follow_up().await })
    }

    fn read(&self, key: &str) -> Option<Record> {
        self.0.records.read(key)
    }

    fn scan(&self, prefix: &str) -> Vec<Record> {
        self.0.records.scan(prefix)
    }

    fn members(&self) -> Vec<Member> {
        self.0.records.members()
    }

    fn watch(&self) -> Watch {
        self.0.records.watch()
    }
}

fn config(role: Role, timers: Timers) -> io::Result<Config> {
    let config = Config {
        cluster_name: "lyncpin".into(),
        heartbeat_interval: timers.heartbeat_ms,
        election_timeout_min: timers.election_min_ms,
        election_timeout_max: timers.election_max_ms,
        enable_elect: role == Role::Data && !mutant(Mutant::StuckElection),
        enable_pre_vote: Some(true),
        // A leader that comes back may have lost entries which the others have: what it sends is not durable here yet. In the
        // same term it would give their ids to other entries, and nobody would see that the copies differ.
        enable_leader_restore: Some(mutant(Mutant::LeaderRestored)),
        // Taken by volume, see `housekeeping`.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: 1_000,
        purge_batch_size: 256,
        max_payload_entries: 512,
        install_snapshot_timeout: 60_000,
        ..Config::default()
    };
    config.validate().map_err(io::Error::other)
}
