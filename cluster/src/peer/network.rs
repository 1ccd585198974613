//! The links as openraft and the replica see them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use openraft::storage::Snapshot;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};

use super::link::{AskError, Link, LinkOptions};
use super::security::Security;
use crate::image::Image;
use crate::machine::Command;
use crate::membership::seat;
use crate::raft::{Types, Vote, Voter};
use crate::replica::{PROPOSAL_MS, Peers, Proposed};
use crate::store::CommitError;
use crate::wire::{self, Hello, Kind};

/// openraft's own limit for an append is one heartbeat: a slow fsync would be answered with the same entries again.
const APPEND_MS: u64 = 2_000;
const CHUNK_MS: u64 = 10_000;
const INSTALL_MS: u64 = 60_000;

/// The links of one node to all others: one for questions and answers, whose end may tell of a death, one for heartbeats,
/// one for snapshots.
#[derive(Clone)]
pub struct Links(Arc<Shared>);

struct Shared {
    security: Security,
    hello: Hello,
    deaths: mpsc::Sender<u64>,
    epochs: watch::Sender<u64>,
    open: Mutex<BTreeMap<(u64, Purpose), Link>>,
    addresses: Mutex<BTreeMap<u64, String>>,
    /// By seat, as this node's configuration has it: it wins over what the membership remembers.
    configured: BTreeMap<u64, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Purpose {
    Words,
    Heartbeat,
    Snapshot,
}

impl Links {
    /// `deaths` hears of nodes whose process is gone.
    pub fn new(security: Security, hello: Hello, deaths: mpsc::Sender<u64>) -> Self {
        Self::with(security, hello, deaths, BTreeMap::new())
    }

    /// As `new`, with the addresses of seats that this node's configuration knows.
    pub fn with(
        security: Security,
        hello: Hello,
        deaths: mpsc::Sender<u64>,
        configured: BTreeMap<u64, String>,
    ) -> Self {
        let epochs = watch::Sender::new(hello.epoch);
        Self(Arc::new(Shared {
            security,
            hello,
            deaths,
            epochs,
            open: Mutex::default(),
            addresses: Mutex::default(),
            configured,
        }))
    }

    /// Keeps a connection to this voter up from now on.
    pub fn know(&self, id: u64, address: &str) {
        let address = self.configured(id).unwrap_or(address).to_owned();
        self.addresses().insert(id, address);
        self.link(id, Purpose::Words).keep_up();
    }

    /// The newest epoch any other voter of this cluster was heard to be in.
    pub fn epochs(&self) -> watch::Receiver<u64> {
        self.0.epochs.subscribe()
    }

    /// Lets go of every voter but these.
    pub fn keep_only(&self, ids: impl Fn(u64) -> bool) {
        self.addresses().retain(|id, _| ids(*id));
        let mut open = self.open();
        let gone: Vec<_> = open.keys().copied().filter(|(id, _)| !ids(*id)).collect();
        gone.iter().filter_map(|key| open.remove(key)).for_each(|link| link.close());
    }

    /// A link to whoever has this seat, for one whose store is blank and who knows no ids.
    pub fn scout(&self, seat: u64, address: &str) -> Link {
        let link = Link::new(LinkOptions {
            to: seat,
            address: address.to_owned(),
            security: self.0.security.clone(),
            hello: Hello { to: seat, any: true, ..self.0.hello.clone() },
            deaths: None,
            epochs: None,
        });
        link.keep_up();
        link
    }

    /// The link for words to this voter, if its address is known.
    pub fn to(&self, id: u64) -> Option<Link> {
        let is_known = self.addresses().contains_key(&id);
        is_known.then(|| self.link(id, Purpose::Words))
    }

    /// No more questions: a voter that stops does not judge the others' deaths.
    pub fn close(&self) {
        std::mem::take(&mut *self.open()).into_values().for_each(|link| link.close());
    }

    fn link(&self, to: u64, purpose: Purpose) -> Link {
        let address = self.addresses().get(&to).cloned().unwrap_or_default();
        let new = || {
            Link::new(LinkOptions {
                to,
                address,
                security: self.0.security.clone(),
                hello: Hello { to, ..self.0.hello.clone() },
                deaths: (purpose == Purpose::Words).then(|| self.0.deaths.clone()),
                epochs: Some(self.0.epochs.clone()),
            })
        };
        self.open().entry((to, purpose)).or_insert_with(new).clone()
    }

    fn configured(&self, id: u64) -> Option<&str> {
        self.0.configured.get(&seat(id)).map(String::as_str)
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<(u64, Purpose), Link>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn addresses(&self) -> MutexGuard<'_, BTreeMap<u64, String>> {
        self.0.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn network(&self, target: u64, node: &Voter, purpose: Purpose) -> Network {
        let address = || self.configured(target).unwrap_or(&node.address).to_owned();
        self.addresses().entry(target).or_insert_with(address);
        Network { link: self.link(target, purpose) }
    }
}

impl Peers for Links {
    fn propose(&self, leader: u64, command: Command) -> BoxFuture<'static, Proposed> {
        let link = self.to(leader);
        Box::pin(async move {
            let Some(link) = link else { return Proposed::Elsewhere { leader: None } };
            match link.ask(Kind::Propose, &wire::encode(&command), Duration::from_millis(PROPOSAL_MS)).await {
                Ok(body) => wire::decode(&body).unwrap_or(Proposed::Failed(CommitError::Lost)),
                Err(AskError::NotSent { .. }) => Proposed::Failed(CommitError::NoQuorum),
                Err(AskError::TimedOut(_)) => Proposed::Failed(CommitError::TimedOut),
                Err(AskError::Lost(_) | AskError::Refused { .. }) => Proposed::Failed(CommitError::Lost),
            }
        })
    }

    fn read_index(&self, leader: u64) -> BoxFuture<'static, Result<Option<u64>, CommitError>> {
        let link = self.to(leader);
        Box::pin(async move {
            let link = link.ok_or(CommitError::NoQuorum)?;
            match link.ask(Kind::ReadIndex, &[], Duration::from_millis(PROPOSAL_MS)).await {
                Ok(body) => wire::decode(&body).unwrap_or(Err(CommitError::Lost)),
                Err(_) => Err(CommitError::NoQuorum),
            }
        })
    }
}

impl RaftNetworkFactory<Types> for Links {
    type Network = Network;

    async fn new_client(&mut self, target: u64, node: &Voter) -> Network {
        self.network(target, node, Purpose::Words)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &Voter) -> Network {
        self.network(target, node, Purpose::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &Voter) -> Network {
        self.network(target, node, Purpose::Snapshot)
    }
}

/// One of the links to one voter.
pub struct Network {
    link: Link,
}

impl Network {
    async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        kind: Kind,
        question: &Q,
        within: Duration,
    ) -> Result<A, RPCError<Types>> {
        let answered = self.link.ask(kind, &wire::encode(question), within).await;
        let body = answered.map_err(|error| match error {
            AskError::NotSent { .. } => RPCError::Unreachable(Unreachable::new(&error)),
            other => RPCError::Network(NetworkError::new(&other)),
        })?;
        wire::decode(&body).map_err(|error| RPCError::Network(NetworkError::new(&error)))
    }
}

impl RaftNetworkV2<Types> for Network {
    type SnapshotData = Image;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let within = option.hard_ttl().max(Duration::from_millis(APPEND_MS));
        self.ask(Kind::Append, &request, within).await
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask(Kind::Vote, &request, option.hard_ttl()).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask(Kind::PreVote, &request, option.hard_ttl()).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<crate::raft::LeaderId, u64, Voter, Image>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let lost = |error: AskError| StreamingError::Unreachable(Unreachable::new(&error));
        let sending = async {
            let chunk = Duration::from_millis(CHUNK_MS);
            self.link.ask(Kind::SnapshotBegin, &wire::encode(&(&vote, &snapshot.meta)), chunk).await.map_err(lost)?;
            for bytes in snapshot.snapshot.chunks() {
                self.link.ask(Kind::SnapshotChunk, &bytes, chunk).await.map_err(lost)?;
            }
            let ended = self.link.ask(Kind::SnapshotEnd, &[], Duration::from_millis(INSTALL_MS)).await.map_err(lost)?;
            wire::decode(&ended).map_err(|error| StreamingError::Network(NetworkError::new(&error)))
        };
        tokio::select! {
            sent = sending => sent,
            closed = cancel => Err(closed.into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        self.ask(Kind::TransferLeader, &request, option.hard_ttl()).await
    }

    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(Duration::from_millis(20))))
    }
}
