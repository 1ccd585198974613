//! What the operator's door is told of this node, and what it may have it do.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use actix_rt::ArbiterHandle;
use futures_util::future::{BoxFuture, join_all};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::certificates::Certificates;
use super::children::take_reload;
use super::follow::follow;
use super::pair_view::{self, cluster_view, heir};
use crate::actor::handover::{self, HandedOver};
use crate::actor::link::AskStatus;
use crate::actor::node::Node;
use crate::actor::session::SessionActor;
use crate::actor::takeovers::Takeover;
use crate::admin::{
    Act, ClusterView, Desk, Done, Figures, LinkView, NodeView, NotDone, RefusalView, ServiceView, SessionView,
    TakeoverView, TraceWish,
};
use crate::directory::DirectoryWatch;
use crate::id::{Moment, SessionId};
use crate::machine::refusal::Refusal;
use crate::machine::session::Session;
use crate::store::pair::Pair;
use crate::store::{Loaded, Watch};
use crate::trace::Tracing;
use crate::transport::TlsEngine;

/// A session thread that does not answer by then hangs.
const PROBE: Duration = Duration::from_millis(500);
const LINK_ANSWERS_WITHIN: Duration = Duration::from_millis(500);
/// Sign-ins that were under way when a drain began are handed over by the next round.
const ROUNDS_MAX: usize = 5;

/// The node as its operator sees it.
pub struct NodeDesk {
    pub(super) node: Arc<Node>,
    pub(super) arbiters: Arc<[ArbiterHandle]>,
    pub(super) directory: Arc<DirectoryWatch>,
    pub(super) engines: Vec<Arc<dyn TlsEngine>>,
    pub(super) certificates: Certificates,
    pub(super) name: String,
    pub(super) began: Instant,
}

impl NodeDesk {
    fn reasons(&self) -> Vec<String> {
        let node = &self.node;
        let mut reasons = Vec::new();
        if !node.may_act() {
            reasons.push("no quorum is heard".to_owned());
        }
        if node.is_draining() {
            reasons.push("it is draining".to_owned());
        }
        if node.is_full() {
            reasons.push(format!("it serves all the {} sessions it may", node.sessions_max));
        }
        reasons
    }

    /// The way of a request: every session thread takes work and answers.
    pub async fn threads_answer(&self) -> bool {
        let asked = self.arbiters.iter().map(|arbiter| {
            let (tell, told) = oneshot::channel();
            let is_taken = arbiter.spawn_fn(move || {
                // Err: too late.
                let _ = tell.send(());
            });
            async move { is_taken && matches!(timeout(PROBE, told).await, Ok(Ok(()))) }
        });
        join_all(asked).await.into_iter().all(|answers| answers)
    }

    fn pair(&self) -> Result<&Pair, NotDone> {
        let alone = || NotDone::Refused("this node is alone: its configuration names no [[cluster.voter]]".to_owned());
        self.node.pair.as_ref().ok_or_else(alone)
    }

    /// Every session to the other node, then the leadership.
    pub(super) async fn hand_over(&self) -> Result<(HandedOver, String), NotDone> {
        let pair = self.pair()?;
        let cluster = cluster_view(pair, self.node()).await;
        let heir = heir(&cluster, &self.name).map_err(NotDone::Refused)?;
        let mut all = HandedOver::default();
        for _ in 0..ROUNDS_MAX {
            let round = handover::hand_over(&self.node, &heir).await;
            all.moved += round.moved;
            all.stayed = round.stayed;
            all.pause_max = all.pause_max.max(round.pause_max);
            if self.node.book.sessions_count() == 0 {
                break;
            }
        }
        pair.hand_leadership_to(&heir).await;
        self.node.last_takeover.was(Takeover {
            at: self.node.clock.now(),
            is_planned: true,
            from: Some(self.name.clone()),
            to: heir.clone(),
            moved: all.moved,
            stayed: all.stayed,
            gap: all.pause_max,
        });
        Ok((all, heir))
    }

    async fn drain(&self) -> Result<Done, NotDone> {
        let node = &self.node;
        if node.pair.is_none() {
            node.is_draining.store(true, Ordering::Relaxed);
            node.is_red.store(true, Ordering::Relaxed);
            return Ok(Done::told("takes nobody in any more; there is no other node to take the sessions"));
        }
        node.is_draining.store(true, Ordering::Relaxed);
        match self.hand_over().await {
            Ok((all, heir)) => {
                // Only now: a balancer ends the connections of a node that shows red.
                node.is_red.store(true, Ordering::Relaxed);
                Ok(told(&format!("drained to {heir}; it can be stopped"), all))
            }
            Err(why) => {
                node.is_draining.store(false, Ordering::Relaxed);
                Err(why)
            }
        }
    }

    async fn reload(&self) -> Result<Done, NotDone> {
        let (directory, engines) = (self.directory.clone(), self.engines.clone());
        let looking = tokio::task::spawn_blocking(move || {
            // Twice: a file that was being written at the first look is taken at the second.
            let _ = directory.look();
            let looked = directory.look();
            let certificates: Result<Vec<_>, _> = engines.iter().map(|engine| engine.reload()).collect();
            (looked, certificates)
        });
        let (looked, certificates) = looking.await.map_err(|why| NotDone::Failed(why.to_string()))?;
        take_reload(&self.node, &self.directory, looked);
        match certificates {
            Ok(_) => Ok(Done::told("looked at the users file and the certificates")),
            Err(why) => {
                Err(NotDone::Failed(format!("the certificates are not taken, the old ones stay in use: {why}")))
            }
        }
    }
}

fn remedy_of(reason: &str) -> &'static str {
    let refusal = Refusal::ALL.into_iter().find(|refusal| refusal.name() == reason);
    refusal.map_or("the request was not one a client signs in with; look at its product and version", Refusal::remedy)
}

fn takeover_view(last: Takeover) -> TakeoverView {
    let Takeover { at, is_planned, from, to, moved, stayed, gap } = last;
    TakeoverView { at_ms: at.0, is_planned, from, to, moved, stayed, gap_ms: ms(gap) }
}

fn told(done: &str, all: HandedOver) -> Done {
    let pause_max_ms = Some(ms(all.pause_max));
    Done { done: done.to_owned(), moved: all.moved, stayed: all.stayed, pause_max_ms }
}

impl Desk for NodeDesk {
    fn node(&self) -> NodeView {
        let node = &self.node;
        let not_ready = self.reasons();
        let links_up = node.links.iter().filter(|seat| seat.is_up()).count();
        let service = ServiceView {
            is_ready: not_ready.is_empty(),
            not_ready,
            is_draining: node.is_draining(),
            sessions: node.book.sessions_count(),
            calls: node.calls.load(Ordering::Relaxed),
            flows: node.flows.count(),
            links_up,
            links: node.links.iter().count(),
            links_down: node.links.iter().filter(|seat| !seat.is_up()).map(|seat| seat.name.clone()).collect(),
            last_takeover: node.last_takeover.last().map(takeover_view),
        };
        pair_view::node_view(&self.name, self.began, node.pair.as_ref(), Some(service))
    }

    fn readiness(&self) -> BoxFuture<'_, Result<(), Vec<String>>> {
        Box::pin(async move {
            let mut reasons = self.reasons();
            if !self.threads_answer().await {
                reasons.push("a session thread does not answer".to_owned());
            }
            if reasons.is_empty() { Ok(()) } else { Err(reasons) }
        })
    }

    fn cluster(&self) -> BoxFuture<'_, Option<ClusterView>> {
        Box::pin(async move {
            match &self.node.pair {
                Some(pair) => {
                    let cluster = cluster_view(pair, self.node()).await;
                    self.remember_takeover(&cluster);
                    Some(cluster)
                }
                None => None,
            }
        })
    }

    fn sessions(&self, like: &str, max: usize) -> (Vec<SessionView>, usize) {
        let like = like.to_ascii_lowercase();
        let is_like = |session: &Session| {
            let appearance = &session.appearance;
            [&appearance.sip, &appearance.device, &session.line]
                .iter()
                .any(|text| text.to_ascii_lowercase().contains(&like))
        };
        let records = self.node.records.load_all::<Session>("session/").filter_map(Result::ok);
        let mut found: Vec<Loaded<Session>> = records.filter(|loaded| is_like(&loaded.value)).collect();
        let total = found.len();
        found.sort_by(|one, other| one.value.appearance.sip.cmp(&other.value.appearance.sip));
        (found.iter().take(max).map(|loaded| self.session_view(loaded)).collect(), total)
    }

    fn session(&self, id: &str) -> Option<SessionView> {
        let loaded = self.node.records.load::<Session>(&SessionActor::key(&SessionId::new(id)));
        loaded.ok().flatten().map(|loaded| self.session_view(&loaded))
    }

    fn watch(&self) -> Option<Watch> {
        Some(self.node.records.store().watch())
    }

    fn links(&self) -> BoxFuture<'_, Vec<LinkView>> {
        Box::pin(async move {
            let asked = self.node.links.iter().map(|seat| async move {
                let mail = seat.mail()?;
                timeout(LINK_ANSWERS_WITHIN, mail.status.send(AskStatus)).await.ok()?.ok()
            });
            let answers = join_all(asked).await;
            let view =
                |(seat, answer): (&Arc<crate::actor::links::LinkSeat>, Option<crate::actor::link::LinkStatus>)| {
                    match answer {
                        Some(status) => LinkView {
                            name: status.name,
                            address: status.address,
                            state: status.state.to_owned(),
                            generation: status.generation,
                            last_error: status.last_error,
                            next_try_in_ms: status.next_try_in_ms,
                            // Without the link's own question for features, which is bound as a session is.
                            sessions: status.sessions.saturating_sub(1),
                            monitors: status.monitors,
                            recovering: status.recovering + status.waiting,
                            outstanding: status.outstanding,
                            heartbeat_rtt_ms: status.heartbeat_rtt_ms,
                        },
                        None => LinkView {
                            name: seat.name.clone(),
                            address: String::new(),
                            state: "no answer".to_owned(),
                            generation: 0,
                            last_error: Some("its actor does not answer".to_owned()),
                            next_try_in_ms: None,
                            sessions: 0,
                            monitors: 0,
                            recovering: 0,
                            outstanding: 0,
                            heartbeat_rtt_ms: None,
                        },
                    }
                };
            self.node.links.iter().zip(answers).map(view).collect()
        })
    }

    fn refusals(&self) -> Vec<RefusalView> {
        let view = |refused: crate::actor::refusals::RefusedSignIn| RefusalView {
            at_ms: refused.at.0,
            user: refused.user,
            reason: refused.reason.to_owned(),
            remedy: remedy_of(refused.reason).to_owned(),
            client: refused.agent,
        };
        self.node.refusals.latest().into_iter().map(view).collect()
    }

    fn counters(&self) -> Vec<(&'static str, &'static str, u64)> {
        self.node.counters.snapshot()
    }

    fn figures(&self) -> Figures {
        let node = &self.node;
        let counters = &node.counters;
        Figures {
            services: counters.services(),
            events: counters.events.load(Ordering::Relaxed),
            takeover_last_ms: node
                .last_takeover
                .last()
                .filter(|last| !last.is_planned)
                .map_or(0, |last| ms(last.gap).max(1)),
            traces: node.tap.traces() as u64,
            trace_lost: node.tap.lost(),
            link_reconnects: node.links.iter().map(|seat| (seat.name.clone(), seat.reconnects())).collect(),
            certificates: self.certificates.expiries(),
        }
    }

    fn backup(&self) -> BoxFuture<'_, Result<Vec<u8>, NotDone>> {
        Box::pin(async move { pair_view::backup(self.pair()?).await })
    }

    fn trace(&self, wish: TraceWish) -> Result<Tracing, NotDone> {
        follow(&self.node, &self.name, &wish)
    }

    fn act(&self, act: Act) -> BoxFuture<'_, Result<Done, NotDone>> {
        Box::pin(async move {
            match act {
                Act::Drain => self.drain().await,
                Act::Undrain => {
                    self.node.is_draining.store(false, Ordering::Relaxed);
                    self.node.is_red.store(false, Ordering::Relaxed);
                    Ok(Done::told("takes users again"))
                }
                Act::Switchover => {
                    let (all, heir) = self.hand_over().await?;
                    Ok(told(&format!("switched over to {heir}"), all))
                }
                Act::Reload => self.reload().await,
                act => pair_view::act(self.pair()?, self.node(), act).await,
            }
        })
    }
}

impl NodeDesk {
    /// Who gave its sessions away tells of it, and may be stopped next: the other node goes on telling.
    fn remember_takeover(&self, cluster: &ClusterView) {
        let told = cluster.nodes.iter().filter_map(|node| node.says.as_ref()?.service.as_ref()?.last_takeover.as_ref());
        let own = self.node.last_takeover.last().map(|last| last.at.0);
        if let Some(newest) = told.max_by_key(|told| told.at_ms)
            && own.is_none_or(|at| newest.at_ms > at)
        {
            let TakeoverView { at_ms, is_planned, from, to, moved, stayed, gap_ms } = newest.clone();
            let (at, gap) = (Moment(at_ms), Duration::from_millis(gap_ms));
            self.node.last_takeover.was(Takeover { at, is_planned, from, to, moved, stayed, gap });
        }
    }

    fn session_view(&self, loaded: &Loaded<Session>) -> SessionView {
        let session = &loaded.value;
        let owner = self.node.records.node_of(loaded.owner);
        SessionView {
            id: session.id.to_string(),
            user: session.appearance.sip.clone(),
            device: session.appearance.device.clone(),
            line: session.line.clone(),
            link: session.link.clone(),
            node: owner.map_or_else(|| "nobody".to_owned(), |node| node.to_string()),
            client: session.profile.name().to_owned(),
            is_out_of_service: session.is_out_of_service,
            monitors: session.monitors.len(),
            calls: session.calls.0.values().map(|call| format!("{:?}", call.local).to_lowercase()).collect(),
        }
    }
}

fn ms(took: Duration) -> u64 {
    took.as_millis().try_into().unwrap_or(u64::MAX)
}
