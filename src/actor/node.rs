//! What all carriers of one node share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;

use super::book::Book;
use super::dynamic::DynamicSupervisor;
use super::flow::FlowOptions;
use super::flows::Flows;
use super::handover::Leaving;
use super::hops::Hops;
use super::links::Links;
use super::passed::Passed;
use super::refusals::Refusals;
use super::relay::FarFlows;
use super::takeovers::LastTakeover;
use super::unheard::Unheard;
use crate::clock::Clock;
use crate::id::SessionId;
use crate::machine::effect::{Effect, NextHop};
use crate::machine::input::FlowId;
use crate::machine::rules::Rules;
use crate::store::Records;
use crate::store::pair::Pair;
use crate::telemetry::Counters;
use crate::trace::Tap;
use crate::transport::Stream;

/// Opens a flow to a next hop; given from outside so that tests can join flows in memory.
pub type Connect = Arc<dyn Fn(NextHop) -> BoxFuture<'static, std::io::Result<Stream>> + Send + Sync>;

/// One node's shared parts; every carrier holds an `Arc` of it.
pub struct Node {
    pub rules: ArcSwap<Rules>,
    pub clock: Clock,
    pub records: Records,
    pub book: Book,
    pub flows: Flows,
    pub hops: Hops,
    pub links: Links,
    pub counters: Counters,
    /// For those who follow what is said.
    pub tap: Arc<Tap>,
    pub connect: Connect,
    pub flow_options: FlowOptions,
    pub sessions_max: usize,
    /// Takes no user in any more.
    pub is_draining: AtomicBool,
    /// Answers health checks 503, so that balancers move on.
    pub is_red: AtomicBool,
    pub sessions: OnceLock<DynamicSupervisor<SessionId>>,
    pub arrivals: Arrivals,
    /// The other nodes; `None`: this one is alone.
    pub pair: Option<Pair>,
    pub far_flows: FarFlows,
    pub passed: Passed,
    /// Messages that wait for their session's next life.
    pub unheard: Unheard,
    pub leaving: Leaving,
    pub refusals: Refusals,
    /// Calls of all sessions here.
    pub calls: AtomicUsize,
    pub last_takeover: LastTakeover,
}

/// Sessions whose actor is not there yet: being committed (`None`), or committed, with what it is to carry out first. At
/// most as many as the supervisor takes children.
#[derive(Default)]
pub struct Arrivals(Mutex<HashMap<SessionId, Option<Arrival>>>);

/// The flow of the INVITE, and its 200.
pub struct Arrival {
    pub flow: FlowId,
    pub first: Vec<Effect>,
}

impl Arrivals {
    /// Its record is on its way. Nobody else begins it: its first actor has a 200 to send.
    pub fn expect(&self, id: SessionId) {
        self.lock().insert(id, None);
    }

    pub fn is_expected(&self, id: &SessionId) -> bool {
        self.lock().get(id).is_some_and(Option::is_none)
    }

    pub fn put(&self, id: SessionId, arrival: Arrival) {
        self.lock().insert(id, Some(arrival));
    }

    pub fn take(&self, id: &SessionId) -> Option<Arrival> {
        self.lock().remove(id).flatten()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Option<Arrival>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// Whether effects may be carried: nobody can have fenced this node yet.
    pub fn may_act(&self) -> bool {
        self.pair.as_ref().is_none_or(Pair::may_act)
    }

    pub fn is_full(&self) -> bool {
        self.sessions.get().is_none_or(|sessions| sessions.children_count() >= self.sessions_max)
    }
}
