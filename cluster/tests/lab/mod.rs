//! Two data nodes and a witness in one process, over loopback TCP, each with its own store.
// Each test file takes what it needs.
#![allow(dead_code)]

pub mod wire;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use lyncpin_cluster::node::{Node, NodeOptions, StartError};
use lyncpin_cluster::peer::{Relay, Security};
use lyncpin_cluster::raft::{Role, Voter};
use lyncpin_cluster::replica::Timers;
use openraft::async_runtime::WatchReceiver;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use self::wire::Wire;

pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Echo(pub u64);

impl Relay for Echo {
    fn heard(&self, from: u64, body: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, String>> {
        let own = self.0;
        Box::pin(async move { Ok([format!("{from}>{own}:").as_bytes(), &body].concat()) })
    }
    fn status(&self) -> BoxFuture<'static, Vec<u8>> {
        Box::pin(async { b"{}".to_vec() })
    }
}

/// Voters 1 and 2 serve, 3 is the witness.
pub struct Lab {
    pub folders: BTreeMap<u64, TempDir>,
    pub voters: BTreeMap<u64, Voter>,
    pub nodes: BTreeMap<u64, Node>,
    /// By (who dials, who answers); without one they reach each other directly.
    pub wires: BTreeMap<(u64, u64), Wire>,
}

pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn name(id: u64) -> String {
    ["", "a", "b", "w"][id as usize % 4].to_owned()
}

pub fn voter(id: u64) -> Voter {
    let role = if id == 3 { Role::Witness } else { Role::Data };
    Voter { name: name(id), address: free_address().to_string(), role }
}

impl Lab {
    pub async fn start() -> Self {
        Self::prepared().started().await
    }

    pub fn prepared() -> Self {
        let voters: BTreeMap<u64, Voter> = (1..=3).map(|id| (id, voter(id))).collect();
        let folders = (1..=3).map(|id| (id, tempfile::tempdir().unwrap())).collect();
        Self { folders, voters, nodes: BTreeMap::new(), wires: BTreeMap::new() }
    }

    /// Each voter dials the others through wires of its own.
    pub async fn wired(mut self) -> Self {
        for from in 1..=3 {
            for to in (1..=3).filter(|to| *to != from) {
                let wire = Wire::new(self.voters[&to].address.parse().unwrap()).await;
                self.wires.insert((from, to), wire);
            }
        }
        self
    }

    /// The voters under the addresses at which this one finds them.
    fn voters_of(&self, id: u64) -> BTreeMap<u64, Voter> {
        let mut voters = self.voters.clone();
        for ((_, to), wire) in self.wires.iter().filter(|((from, _), _)| *from == id) {
            voters.get_mut(to).unwrap().address = wire.address().to_string();
        }
        voters
    }

    /// Both directions between two voters.
    pub fn cut(&self, one: u64, other: u64, is_cut: bool) {
        self.wires[&(one, other)].cut(is_cut);
        self.wires[&(other, one)].cut(is_cut);
    }

    pub async fn started(self) -> Self {
        let mut lab = self;
        let (a, b, w) = tokio::join!(lab.try_node(1), lab.try_node(2), lab.try_node(3));
        lab.nodes = [(1, a), (2, b), (3, w)].into_iter().map(|(id, node)| (id, node.unwrap())).collect();
        lab.leader().await;
        lab
    }

    pub async fn try_node(&self, id: u64) -> Result<Node, StartError> {
        let voter = &self.voters[&id];
        Node::start(NodeOptions {
            cluster_id: "contoso".into(),
            id,
            name: voter.name.clone(),
            role: voter.role,
            listen: voter.address.parse().unwrap(),
            voters: self.voters_of(id),
            joins: false,
            folder: self.folders[&id].path().to_owned(),
            security: Security::Loopback,
            timers: Timers::DEFAULT,
            runtime: tokio::runtime::Handle::current(),
            relay: Arc::new(Echo(id)),
        })
        .await
    }

    pub async fn restart(&mut self, id: u64) {
        self.restart_together(&[id]).await;
    }

    pub async fn restart_together(&mut self, ids: &[u64]) {
        for (_, wire) in self.wires.iter_mut().filter(|((_, to), _)| ids.contains(to)) {
            wire.answer().await;
        }
        let started = join_all(ids.iter().map(|id| self.try_node(*id))).await;
        self.nodes.extend(ids.iter().copied().zip(started.into_iter().map(Result::unwrap)));
    }

    /// How many vote, as this one knows it, while no change is under way.
    pub fn votes(&self, id: u64) -> usize {
        let metrics = self.node(id).replica().raft().metrics();
        let metrics = metrics.borrow_watched();
        let configs = metrics.membership_config.membership().get_joint_config().clone();
        if configs.len() == 1 { configs[0].len() } else { 0 }
    }

    pub async fn crash(&mut self, id: u64) {
        let node = self.nodes.remove(&id).unwrap();
        self.wires.iter().filter(|((_, to), _)| *to == id).for_each(|(_, wire)| wire.refuse());
        node.halt().await;
    }

    pub fn node(&self, id: u64) -> &Node {
        &self.nodes[&id]
    }

    /// The id of a data node that leads and may act.
    pub async fn leader(&self) -> u64 {
        self.until("a data node leads", || {
            let leads = |node: &&Node| node.replica().is_leader() && node.id() != 3 && node.replica().may_act();
            self.nodes.values().find(leads).map(Node::id)
        })
        .await
    }

    pub async fn until<T>(&self, what: &str, look: impl Fn() -> Option<T>) -> T {
        let found = async {
            loop {
                if let Some(found) = look() {
                    return found;
                }
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, found).await.unwrap_or_else(|_| {
            let states: Vec<_> = self.nodes.values().map(Node::status).collect();
            panic!("{what}: {states:#?}")
        })
    }

    pub async fn lead(&self, id: u64) {
        let leader = self.leader().await;
        if leader != id {
            self.node(leader).hand_over(id).await.unwrap();
        }
        self.until("it leads", || {
            (self.node(id).replica().is_leader() && self.node(id).replica().may_act()).then_some(())
        })
        .await;
    }
}
