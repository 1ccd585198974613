//! A data node's carriers, in the small: what `actor/` does with mailboxes and sockets is done here with channels, around
//! the same machines, the same records and the same flows.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use lyncpin::actor::flow::{self, FlowOptions};
use lyncpin::actor::flows::Flows;
use lyncpin::actor::session::SessionActor;
use lyncpin::id::{Moment, SessionId};
use lyncpin::machine::effect::Effect;
use lyncpin::machine::input::{FlowId, Input};
use lyncpin::machine::rules::Rules;
use lyncpin::machine::session::{Context, Session};
use lyncpin::sip::Message;
use lyncpin::store::{Notice, Records, Watched};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use super::dice;
use super::door;
use super::host::{self, Running};
use super::net::Net;
use super::pbx::{Asker, FromPbx, LinkSender, Pbx};
use super::relay::{self, FarFlows};
use super::serve::Ear;
use super::session;
use super::story::{Story, tell};
use super::users::Hub;

/// As the product's adoption looks at the lease.
const LOOK_MS: u64 = 20;

/// What all data nodes of a run share.
pub struct Common {
    pub rules: Arc<Rules>,
    pub net: Net,
    pub pbx: Pbx,
    pub story: Story,
    pub hub: Hub,
    pub began: Instant,
    /// The life of each machine that serves now.
    pub nodes: Rc<RefCell<BTreeMap<u64, Rc<Node>>>>,
}

impl Common {
    pub fn now(&self) -> Moment {
        Moment(1_700_000_000_000 + u64::try_from(self.began.elapsed().as_millis()).unwrap_or_default())
    }
}

/// What comes to a session.
#[allow(clippy::large_enum_variant, reason = "a run holds a handful of them")]
pub enum Mail {
    Input(Box<Input>),
    Inbound(FlowId, Box<Message>),
}

/// One life of one data node.
pub struct Node {
    pub common: Rc<Common>,
    pub running: Rc<Running>,
    pub records: Records,
    pub flows: Arc<Flows>,
    pub sessions: RefCell<BTreeMap<SessionId, mpsc::UnboundedSender<Mail>>>,
    /// By Call-ID and the far side's tag.
    pub dialogs: RefCell<BTreeMap<(String, String), SessionId>>,
    pub unheard: RefCell<door::Unheard>,
    pub far_flows: FarFlows,
    pub link: RefCell<Option<LinkSender>>,
    pub asks: RefCell<BTreeMap<u64, (SessionId, lyncpin::machine::ask::AskId)>>,
    pub xrefs: RefCell<BTreeMap<String, SessionId>>,
    pub tickets: Cell<u64>,
    /// Sessions that hear of the link.
    pub bound: RefCell<BTreeSet<SessionId>>,
}

impl Node {
    pub fn may_act(&self) -> bool {
        self.running.life.may_act()
    }

    pub fn cx<'a>(&self, rules: &'a Rules) -> Context<'a> {
        Context { rules, now: self.common.now() }
    }

    pub fn tell(&self, session: &SessionId, mail: Mail) {
        if let Some(inbox) = self.sessions.borrow().get(session) {
            // Err: it has just ended.
            let _ = inbox.send(mail);
        }
    }

    pub fn is_ours(&self, id: &SessionId) -> bool {
        self.records.owner_of(&SessionActor::key(id)) == Some(self.records.incarnation())
    }

    /// A connection from the balancer.
    pub fn accept(self: &Rc<Self>, stream: DuplexStream) -> FlowId {
        let handle = self.flows.open(([10, 0, 0, 9], 5060).into(), false);
        let (node, id) = (self.clone(), handle.id);
        spawn_local(async move {
            flow::run(stream, &handle, FlowOptions::default(), |message| door::take(&node, &handle, message)).await;
            node.flows.closed(handle.id);
        });
        id
    }

    /// Begins a session of ours from its record, unless it is served already.
    pub fn begin(self: &Rc<Self>, id: &SessionId, arrival: Option<(FlowId, Vec<Effect>)>) {
        if self.sessions.borrow().contains_key(id) {
            return;
        }
        let Ok(Some(loaded)) = self.records.load::<Session>(&SessionActor::key(id)) else { return };
        if loaded.owner != self.records.incarnation() {
            return;
        }
        let (mut value, version) = (loaded.value, loaded.version);
        let (heard_on, first) = match arrival {
            Some((flow, first)) => (Some(flow), first),
            None => {
                tell!(self.common.story, "node {} serves {id} from its record", self.running.machine);
                (None, value.resume(self.cx(&self.common.rules)))
            }
        };
        let (inbox, mail) = mpsc::unbounded_channel();
        self.sessions.borrow_mut().insert(id.clone(), inbox);
        let dialog = (value.dialog.call_id.clone(), value.dialog.remote_tag.clone());
        self.dialogs.borrow_mut().insert(dialog, id.clone());
        spawn_local(session::serve(self.clone(), value, version, heard_on, first, mail));
    }

    /// Every session of ours that nobody serves.
    fn adopt(self: &Rc<Self>) {
        let own = self.records.incarnation();
        let orphans: Vec<SessionId> = self
            .records
            .load_all::<Session>("session/")
            .flatten()
            .filter(|loaded| loaded.owner == own)
            .map(|loaded| loaded.value.id)
            .collect();
        orphans.iter().for_each(|id| self.begin(id, None));
    }

    /// Follows what the cluster decides about this node's sessions.
    async fn attend(self: Rc<Self>) {
        let own = self.records.incarnation();
        let mut notices = self.records.store().watch();
        let mut look = tokio::time::interval(Duration::from_millis(LOOK_MS));
        let mut may_act = true;
        self.adopt();
        loop {
            tokio::select! {
                biased;
                noticed = notices.next() => match noticed {
                    Some(Watched::Notice(Notice::Fenced { heir, moved, .. })) if heir == own && moved > 0 => self.adopt(),
                    Some(Watched::Notice(Notice::Replaced) | Watched::Missed(_)) => self.adopt(),
                    Some(_) => {}
                    None => return,
                },
                _ = look.tick() => {
                    let now = self.may_act();
                    if now && !may_act {
                        self.adopt();
                    }
                    may_act = now;
                }
            }
        }
    }

    /// Keeps the link to the PBX up, and hands out what comes on it.
    async fn attend_link(self: Rc<Self>) {
        let asker = Asker { machine: self.running.machine, life: self.records.incarnation().0 };
        loop {
            let mut end = self.common.pbx.open(asker);
            *self.link.borrow_mut() = Some(end.sender());
            for session in self.bound.borrow().iter() {
                self.tell(session, Mail::Input(Input::LinkUp { features: None }.into()));
            }
            while let Some(what) = end.back.recv().await {
                match what {
                    FromPbx::Outcome { ticket, outcome } => self.settled(ticket, Ok(outcome)),
                    FromPbx::Event(event) => {
                        let session = self.xrefs.borrow().get(&event.xref).cloned();
                        if let Some(session) = session {
                            self.tell(&session, Mail::Input(Input::PbxEvent { event }.into()));
                        }
                    }
                    FromPbx::Closed => break,
                }
            }
            *self.link.borrow_mut() = None;
            self.xrefs.borrow_mut().clear();
            let lost: Vec<u64> = self.asks.borrow().keys().copied().collect();
            for ticket in lost {
                self.settled(ticket, Err(lyncpin::machine::ask::LinkFailed::Lost));
            }
            for session in self.bound.borrow().iter() {
                self.tell(session, Mail::Input(Input::LinkDown.into()));
            }
            sleep(Duration::from_millis(dice::within(50..300))).await;
        }
    }

    pub fn settled(&self, ticket: u64, result: Result<lyncpin::csta::Outcome, lyncpin::machine::ask::LinkFailed>) {
        let Some((session, ask)) = self.asks.borrow_mut().remove(&ticket) else { return };
        if let Ok(lyncpin::csta::Outcome::MonitorStart { xref, .. }) = &result {
            self.xrefs.borrow_mut().insert(xref.clone(), session.clone());
        }
        self.tell(&session, Mail::Input(Input::Settled { ask, result }.into()));
    }
}

/// Data nodes of one run.
pub struct DataNodes(pub Rc<Common>);

struct Hearing {
    common: Rc<Common>,
    machine: u64,
}

impl Ear for Hearing {
    fn heard(&self, from: u64, word: Vec<u8>) -> LocalBoxFuture<'static, Vec<u8>> {
        let node = self.common.nodes.borrow().get(&self.machine).cloned();
        Box::pin(async move { relay::hear(node, from, &word) })
    }
}

impl host::Gateway for DataNodes {
    fn ear(&self, machine: u64) -> Rc<dyn Ear> {
        Rc::new(Hearing { common: self.0.clone(), machine })
    }

    fn run(&self, running: Rc<Running>) -> LocalBoxFuture<'static, ()> {
        let common = self.0.clone();
        Box::pin(async move {
            let Some(records) = running.records.borrow().clone() else { return };
            let machine = running.machine;
            let node = Rc::new(Node {
                common: common.clone(),
                running,
                records,
                flows: Arc::default(),
                sessions: RefCell::default(),
                dialogs: RefCell::default(),
                unheard: RefCell::default(),
                far_flows: FarFlows::default(),
                link: RefCell::default(),
                asks: RefCell::default(),
                xrefs: RefCell::default(),
                tickets: Cell::default(),
                bound: RefCell::default(),
            });
            common.nodes.borrow_mut().insert(machine, node.clone());
            spawn_local(node.clone().attend_link());
            node.attend().await;
        })
    }
}
