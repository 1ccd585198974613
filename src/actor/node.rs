//! What all carriers of one node share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;

use super::book::Book;
use super::flow::FlowOptions;
use super::flows::Flows;
use super::links::Links;
use crate::clock::Clock;
use crate::machine::effect::NextHop;
use crate::machine::rules::Rules;
use crate::store::Records;
use crate::telemetry::Counters;
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
    pub links: Links,
    pub counters: Counters,
    pub connect: Connect,
    pub flow_options: FlowOptions,
    pub sessions_max: usize,
    pub is_draining: AtomicBool,
    /// Sign-ins between decision and commit, so that `sessions_max` holds.
    pub arriving: AtomicUsize,
}

impl Node {
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    pub fn is_full(&self) -> bool {
        self.book.sessions_count() + self.arriving.load(Ordering::Relaxed) >= self.sessions_max
    }
}
