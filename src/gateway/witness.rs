//! The witness as its operator sees it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use super::certificates::Certificates;
use super::pair_view::{self, Teller, cluster_view, node_view};
use crate::admin::{Act, ClusterView, Desk, Done, Figures, LinkView, NodeView, NotDone, RefusalView, SessionView};
use crate::config::Config;
use crate::store::pair::Pair;

/// A witness is ready when it hears a quorum, or was just started.
const STARTING: Duration = Duration::from_secs(2);

/// It votes, and serves nobody.
pub struct WitnessDesk {
    pair: Pair,
    certificates: Certificates,
    began: Instant,
}

impl WitnessDesk {
    /// The other nodes are told what it says.
    pub fn of(pair: Pair, config: &Config) -> Arc<Self> {
        let desk = Arc::new(Self { pair, certificates: Certificates::of(config, None), began: Instant::now() });
        desk.pair.speak(Arc::new(Teller(Arc::downgrade(&desk))));
        desk
    }
}

impl Desk for WitnessDesk {
    fn node(&self) -> NodeView {
        node_view(&self.pair.name(), self.began, Some(&self.pair), None)
    }

    fn readiness(&self) -> BoxFuture<'_, Result<(), Vec<String>>> {
        let is_ready = self.pair.may_act() || self.began.elapsed() < STARTING;
        Box::pin(async move { if is_ready { Ok(()) } else { Err(vec!["no leader is heard".to_owned()]) } })
    }

    fn cluster(&self) -> BoxFuture<'_, Option<ClusterView>> {
        Box::pin(async move { Some(cluster_view(&self.pair, self.node()).await) })
    }

    fn sessions(&self, _: &str, _: usize) -> (Vec<SessionView>, usize) {
        (Vec::new(), 0)
    }

    fn links(&self) -> BoxFuture<'_, Vec<LinkView>> {
        Box::pin(async { Vec::new() })
    }

    fn refusals(&self) -> Vec<RefusalView> {
        Vec::new()
    }

    fn counters(&self) -> Vec<(&'static str, &'static str, u64)> {
        Vec::new()
    }

    fn figures(&self) -> Figures {
        Figures { certificates: self.certificates.expiries(), ..Figures::default() }
    }

    fn backup(&self) -> BoxFuture<'_, Result<Vec<u8>, NotDone>> {
        Box::pin(pair_view::backup(&self.pair))
    }

    fn act(&self, act: Act) -> BoxFuture<'_, Result<Done, NotDone>> {
        Box::pin(async move { pair_view::act(&self.pair, self.node(), act).await })
    }
}
