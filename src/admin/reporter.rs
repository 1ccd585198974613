//! Looks at the node while somebody follows it, and tells the journal what changed.
//!
//! Nodes, links and refusals are looked at and compared; sessions are heard of from the store's notices, so that nobody
//! reads a hundred thousand records to find the one that changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::desk::Desk;
use super::event::{Event, NodeEvent};
use super::journal::Journal;
use super::view::{ClusterView, LinkView, SeenNode, SessionView, TakeoverView};
use crate::store::{Notice, Watch, Watched};

/// Between two looks at nodes, links and refusals.
const LOOK: Duration = Duration::from_millis(500);
/// Changed sessions are gathered for so long: one that changes ten times meanwhile is told once.
const GATHER: Duration = Duration::from_millis(200);
/// How long it goes on looking for nobody: a reader that lost its connection comes back.
const LINGER: Duration = Duration::from_secs(60);
/// What a node carries is told this often at most.
const LOAD_EVERY: Duration = Duration::from_secs(1);
/// Sessions told one by one in one go; of more it is told how many they are.
const SESSIONS_MAX: usize = 128;
/// Sessions whose last state is remembered, as two numbers each.
const KNOWN_MAX: usize = 100_000;
/// Where sessions stand among the records.
const SESSIONS: &str = "session/";

pub struct Reporter {
    desk: Arc<dyn Desk>,
    journal: Arc<Journal>,
    known: Known,
    changed: Changed,
}

/// What was told last.
#[derive(Default)]
struct Known {
    nodes: BTreeMap<u64, NodeEvent>,
    leader: Option<(Option<String>, u64)>,
    pair: Option<Event>,
    loads: BTreeMap<String, (Event, Instant)>,
    links: BTreeMap<String, LinkView>,
    /// When the newest refusal was, and how many were at that moment.
    refused: Option<(u64, usize)>,
    takeover: Option<TakeoverView>,
    sessions: HashMap<String, Digest>,
    is_first_look: bool,
}

/// What a session was, without its calls, and its calls.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Digest {
    rest: u64,
    calls: u64,
}

impl Digest {
    fn of(session: &SessionView) -> Self {
        let digest = |what: &dyn Fn(&mut DefaultHasher)| {
            let mut hasher = DefaultHasher::new();
            what(&mut hasher);
            hasher.finish()
        };
        let rest = SessionView { calls: Vec::new(), ..session.clone() };
        Self { rest: digest(&|hasher| rest.hash(hasher)), calls: digest(&|hasher| session.calls.hash(hasher)) }
    }
}

/// Sessions that changed since they were told of.
#[derive(Default)]
struct Changed {
    ids: BTreeSet<String>,
    /// Beside those.
    uncounted: u64,
}

impl Changed {
    fn hear(&mut self, watched: Watched) {
        match watched {
            Watched::Notice(Notice::Put { key, .. } | Notice::Deleted { key, .. } | Notice::Taken { key, .. }) => {
                let Some(id) = key.strip_prefix(SESSIONS) else { return };
                if self.ids.contains(id) {
                } else if self.ids.len() < SESSIONS_MAX {
                    self.ids.insert(id.to_owned());
                } else {
                    self.uncounted += 1;
                }
            }
            Watched::Notice(Notice::Fenced { moved, .. }) => self.uncounted += moved,
            Watched::Notice(Notice::Joined { inherited, .. }) => self.uncounted += inherited,
            Watched::Notice(Notice::Replaced) => self.uncounted += 1,
            Watched::Notice(Notice::Raised { .. }) => {}
            Watched::Missed(missed) => self.uncounted += missed,
        }
    }
}

async fn next(watch: &mut Option<Watch>) -> Watched {
    if let Some(following) = watch {
        match following.next().await {
            Some(watched) => return watched,
            // The store is closed: the node ends.
            None => *watch = None,
        }
    }
    std::future::pending().await
}

impl Reporter {
    pub fn new(desk: Arc<dyn Desk>, journal: Arc<Journal>) -> Self {
        Self { desk, journal, known: Known::default(), changed: Changed::default() }
    }

    /// Never ends; drop it.
    pub async fn run(mut self) {
        loop {
            self.journal.until_read().await;
            // What is there already is for the API to tell.
            self.known = Known { is_first_look: true, ..Known::default() };
            self.changed = Changed::default();
            self.follow().await;
            self.journal.forget();
        }
    }

    /// Until nobody has read for a while.
    async fn follow(&mut self) {
        let mut watch = self.desk.watch();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut gather = interval(GATHER);
        gather.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut read_last = Instant::now();
        loop {
            tokio::select! {
                watched = next(&mut watch) => self.changed.hear(watched),
                _ = gather.tick() => self.tell_sessions(),
                _ = look.tick() => {
                    if self.journal.is_read() {
                        read_last = Instant::now();
                    } else if read_last.elapsed() > LINGER {
                        return;
                    }
                    self.look().await;
                    self.known.is_first_look = false;
                }
            }
        }
    }

    fn tell_sessions(&mut self) {
        let Changed { ids, uncounted } = std::mem::take(&mut self.changed);
        if uncounted > 0 {
            self.known.sessions.clear();
            return self.journal.tell(&Event::Sessions { changed: uncounted + ids.len() as u64 });
        }
        for id in ids {
            let Some(session) = self.desk.session(&id) else {
                self.known.sessions.remove(&id);
                self.journal.tell(&Event::SessionEnded { id });
                continue;
            };
            if self.known.sessions.len() >= KNOWN_MAX {
                self.known.sessions.clear();
            }
            let now = Digest::of(&session);
            match self.known.sessions.insert(id.clone(), now) {
                Some(was) if was == now => {}
                Some(was) if was.rest == now.rest => {
                    let SessionView { id, user, calls, .. } = session;
                    self.journal.tell(&Event::Calls { id, user, calls });
                }
                _ => self.journal.tell(&Event::Session { session }),
            }
        }
    }

    async fn look(&mut self) {
        let own = self.desk.node();
        match self.desk.cluster().await {
            Some(cluster) => self.look_at_cluster(&cluster),
            None => {
                let alone = SeenNode {
                    id: 0,
                    name: own.name.clone(),
                    role: "data".into(),
                    address: String::new(),
                    lag: None,
                    says: Some(own.clone()),
                };
                self.look_at_node(&alone);
            }
        }
        for link in self.desk.links().await {
            let plain = plain(&link);
            let was = self.known.links.insert(link.name.clone(), plain.clone());
            if was.as_ref() != Some(&plain) {
                self.tell(Event::Link { node: own.name.clone(), link });
            }
        }
        self.look_at_refusals();
    }

    fn tell(&self, event: Event) {
        if !self.known.is_first_look {
            self.journal.tell(&event);
        }
    }

    fn look_at_cluster(&mut self, cluster: &ClusterView) {
        for node in &cluster.nodes {
            self.look_at_node(node);
        }
        let says = cluster.nodes.iter().filter_map(|node| node.says.as_ref()?.voter.as_ref());
        let term = says.map(|voter| voter.term).max().unwrap_or_default();
        let name_of = |id: u64| cluster.nodes.iter().find(|node| node.id == id).map(|node| node.name.clone());
        let leader = (cluster.leader.and_then(name_of), term);
        if self.known.leader.as_ref() != Some(&leader) {
            self.known.leader = Some(leader.clone());
            self.tell(Event::Leader { leader: leader.0, term });
        }
        let pair = Event::Pair {
            spare_failures: cluster.spare_failures,
            ready_for_switchover: cluster.ready_for_switchover.clone(),
            ready_for_upgrade: cluster.ready_for_upgrade.clone(),
        };
        if self.known.pair.as_ref() != Some(&pair) {
            self.known.pair = Some(pair.clone());
            self.tell(pair);
        }
    }

    fn look_at_node(&mut self, node: &SeenNode) {
        let service = node.says.as_ref().and_then(|says| says.service.as_ref());
        let now = NodeEvent {
            node: node.name.clone(),
            role: node.role.clone(),
            is_answering: node.says.is_some(),
            version: node.says.as_ref().map(|says| says.version.clone()),
            may_act: node.says.as_ref().and_then(|says| Some(says.voter.as_ref()?.may_act)),
            is_ready: service.map(|service| service.is_ready),
            not_ready: service.map(|service| service.not_ready.clone()).unwrap_or_default(),
            is_draining: service.is_some_and(|service| service.is_draining),
        };
        if self.known.nodes.get(&node.id) != Some(&now) {
            self.known.nodes.insert(node.id, now.clone());
            self.tell(Event::Node(now));
        }
        let Some(service) = service else { return };
        let (sessions, calls, flows) = (service.sessions, service.calls, service.flows);
        let load = Event::Load { node: node.name.clone(), sessions, calls, flows };
        let told = self.known.loads.get(&node.name);
        if told.is_none_or(|(told, at)| *told != load && at.elapsed() >= LOAD_EVERY) {
            self.known.loads.insert(node.name.clone(), (load.clone(), Instant::now()));
            self.tell(load);
        }
        let newest = self.known.takeover.as_ref().map(|takeover| takeover.at_ms);
        if let Some(takeover) = &service.last_takeover
            && newest.is_none_or(|at_ms| takeover.at_ms > at_ms)
        {
            self.known.takeover = Some(takeover.clone());
            self.tell(Event::Takeover { takeover: takeover.clone() });
        }
    }

    fn look_at_refusals(&mut self) {
        let refusals = self.desk.refusals();
        let (at_ms, count) = self.known.refused.unwrap_or_default();
        let of_then = refusals.iter().filter(|refusal| refusal.at_ms == at_ms).count();
        let later = refusals.iter().filter(|refusal| refusal.at_ms > at_ms).count();
        // Newest first: those of the same moment that were not told stand before those that were.
        let new = later + of_then.saturating_sub(count);
        for refusal in refusals.iter().take(new).rev() {
            self.tell(Event::Refusal { refusal: refusal.clone() });
        }
        if let Some(newest) = refusals.first() {
            let same = refusals.iter().filter(|refusal| refusal.at_ms == newest.at_ms).count();
            self.known.refused = Some((newest.at_ms, same));
        }
    }
}

/// Without what moves all the time.
fn plain(link: &LinkView) -> LinkView {
    LinkView {
        next_try_in_ms: None,
        sessions: 0,
        monitors: 0,
        recovering: 0,
        outstanding: 0,
        heartbeat_rtt_ms: None,
        ..link.clone()
    }
}
