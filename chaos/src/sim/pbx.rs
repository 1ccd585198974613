//! The PBX of a run: the lab's call model behind links that take their time, and a record of who asked for what. It trusts
//! nobody: it is the second witness.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use lyncpin::csta::{Event, EventBody, MonitorObject, Outcome, Service};
use lyncpin::lab::pbx::{Due, Model, ModelOptions};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::dice;
use super::story::{Story, tell};

/// Who asks: what the PBX could tell from the address, and what only the run knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    pub machine: u64,
    /// The incarnation that asks.
    pub life: u64,
}

/// One service as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub asker: Asker,
    pub session: String,
    pub service: Service,
    /// When it left its node: the order of acts, whatever the links do with them.
    pub sent: Instant,
    pub is_done: bool,
}

/// What comes back on a link.
pub enum FromPbx {
    Outcome { ticket: u64, outcome: Outcome },
    Event(Event),
    Closed,
}

enum Post {
    Open { link: u64, asker: Asker, back: mpsc::UnboundedSender<FromPbx> },
    Ask { link: u64, asker: Asker, ticket: u64, session: String, device: String, service: Service, sent: Instant },
    Cut { machine: u64 },
}

enum Happens {
    Arrives { asker: Asker, link: u64, ticket: u64, session: String, device: String, service: Service, sent: Instant },
    Returns { link: u64, what: FromPbx },
    Due(Due),
}

/// Clones are the same PBX.
#[derive(Clone)]
pub struct Pbx {
    post: mpsc::UnboundedSender<Post>,
    state: Rc<RefCell<State>>,
}

struct State {
    model: Model,
    seen: Vec<Seen>,
    /// By cross-reference id.
    monitors: BTreeMap<String, Monitor>,
    links: BTreeMap<u64, Link>,
    next_xref: u64,
    next_link: u64,
    takes_ms: Range<u64>,
    story: Story,
}

struct Monitor {
    device: Arc<str>,
    link: u64,
}

struct Link {
    machine: u64,
    back: mpsc::UnboundedSender<FromPbx>,
    /// Nothing overtakes on a stream.
    last_in: Instant,
    last_out: Instant,
}

/// A link as a node holds it.
pub struct LinkEnd {
    pbx: Pbx,
    id: u64,
    asker: Asker,
    pub back: mpsc::UnboundedReceiver<FromPbx>,
}

impl LinkEnd {
    pub fn sender(&self) -> LinkSender {
        LinkSender { pbx: self.pbx.clone(), id: self.id, asker: self.asker }
    }
}

#[derive(Clone)]
pub struct LinkSender {
    pbx: Pbx,
    id: u64,
    asker: Asker,
}

impl LinkSender {
    pub fn ask(&self, ticket: u64, session: &str, device: &str, service: Service) {
        let (link, asker, sent) = (self.id, self.asker, Instant::now());
        let post = Post::Ask { link, asker, ticket, session: session.into(), device: device.into(), service, sent };
        // Err: the run is over.
        let _ = self.pbx.post.send(post);
    }
}

impl Pbx {
    /// `extensions`: the devices there are.
    pub fn new(
        first: &str,
        count: usize,
        takes_ms: Range<u64>,
        story: Story,
    ) -> (Self, impl Future<Output = ()> + use<>) {
        let options =
            ModelOptions { ring_timeout_ms: None, outside_answer_after_ms: Some(150), ..ModelOptions::default() };
        let mut model = Model::new(options);
        model.add_devices(first, count).expect("extensions are digits");
        let (post, posted) = mpsc::unbounded_channel();
        let state = Rc::new(RefCell::new(State {
            model,
            seen: Vec::new(),
            monitors: BTreeMap::new(),
            links: BTreeMap::new(),
            next_xref: 1,
            next_link: 1,
            takes_ms,
            story,
        }));
        (Self { post, state: state.clone() }, work(state, posted))
    }

    pub fn open(&self, asker: Asker) -> LinkEnd {
        let id = {
            let mut state = self.state.borrow_mut();
            state.next_link += 1;
            state.next_link
        };
        let (tell, back) = mpsc::unbounded_channel();
        let _ = self.post.send(Post::Open { link: id, asker, back: tell });
        LinkEnd { pbx: self.clone(), id, asker, back }
    }

    /// The links of this machine are lost; what is under way may arrive or not.
    pub fn cut(&self, machine: u64) {
        let _ = self.post.send(Post::Cut { machine });
    }

    pub fn calm(&self) {
        self.state.borrow_mut().takes_ms = 1..5;
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.borrow().seen.clone()
    }

    /// Calls of a device.
    pub fn calls_of(&self, device: &str) -> Vec<String> {
        let state = self.state.borrow();
        let calls = state.model.device_named(device).map(|device| device.calls.clone()).unwrap_or_default();
        calls.iter().map(u64::to_string).collect()
    }
}

/// In order of time, and of coming where times are equal.
type Agenda = BTreeMap<(Instant, u64), Happens>;

async fn work(state: Rc<RefCell<State>>, mut posted: mpsc::UnboundedReceiver<Post>) {
    let mut agenda = Agenda::new();
    let mut turn = 0;
    loop {
        let next = agenda.first_key_value().map(|((at, _), _)| *at);
        tokio::select! {
            biased;
            post = posted.recv() => match post {
                Some(post) => state.borrow_mut().take(post, &mut agenda, &mut turn),
                None => return,
            },
            () = async { sleep_until(next.unwrap_or_else(Instant::now)).await }, if next.is_some() => {
                if let Some((_, happens)) = agenda.pop_first() {
                    state.borrow_mut().happen(happens, &mut agenda, &mut turn);
                }
            }
        }
    }
}

impl State {
    fn plan(agenda: &mut Agenda, turn: &mut u64, at: Instant, what: Happens) {
        *turn += 1;
        agenda.insert((at, *turn), what);
    }

    fn delay(&self) -> Duration {
        Duration::from_millis(dice::within(self.takes_ms.clone()))
    }

    fn take(&mut self, post: Post, agenda: &mut Agenda, turn: &mut u64) {
        match post {
            Post::Open { link, asker, back } => {
                let now = Instant::now();
                self.links.insert(link, Link { machine: asker.machine, back, last_in: now, last_out: now });
            }
            Post::Ask { link, asker, ticket, session, device, service, sent } => {
                let at = Instant::now() + self.delay();
                let Some(end) = self.links.get_mut(&link) else { return };
                end.last_in = end.last_in.max(at);
                let at = end.last_in;
                Self::plan(agenda, turn, at, Happens::Arrives { asker, link, ticket, session, device, service, sent });
            }
            Post::Cut { machine } => {
                let cut: Vec<u64> =
                    self.links.iter().filter(|(_, link)| link.machine == machine).map(|(id, _)| *id).collect();
                for id in &cut {
                    if let Some(link) = self.links.remove(id) {
                        let _ = link.back.send(FromPbx::Closed);
                    }
                }
                agenda.retain(|_, happens| match happens {
                    Happens::Arrives { link, .. } => !cut.contains(link) || dice::happens(500),
                    Happens::Returns { link, .. } => !cut.contains(link),
                    Happens::Due(_) => true,
                });
            }
        }
    }

    fn happen(&mut self, happens: Happens, agenda: &mut Agenda, turn: &mut u64) {
        match happens {
            Happens::Arrives { asker, link, ticket, session, device, service, sent } => {
                let outcome = self.serve(link, &device, &service, agenda, turn);
                let is_done = !matches!(outcome.0, Outcome::Failed(_));
                let (machine, life) = (asker.machine, asker.life);
                tell!(
                    self.story,
                    "PBX   {} of {session} by node {machine} life {life}: done {is_done}",
                    words(&service)
                );
                self.seen.push(Seen { asker, session, service, sent, is_done });
                self.back(link, FromPbx::Outcome { ticket, outcome: outcome.0 }, agenda, turn);
                self.report(outcome.1, agenda, turn);
            }
            Happens::Returns { link, what } => {
                let is_gone = self.links.get(&link).is_some_and(|link| link.back.send(what).is_err());
                if is_gone {
                    self.links.remove(&link);
                }
            }
            Happens::Due(due) => {
                let applied = self.model.due(&due);
                for later in applied.later {
                    let at = Instant::now() + Duration::from_millis(later.after_ms);
                    Self::plan(agenda, turn, at, Happens::Due(later.what));
                }
                self.report(applied.events, agenda, turn);
            }
        }
    }

    fn serve(
        &mut self,
        link: u64,
        device: &str,
        service: &Service,
        agenda: &mut Agenda,
        turn: &mut u64,
    ) -> (Outcome, Vec<(Arc<str>, EventBody)>) {
        match service {
            Service::MonitorStart { object: MonitorObject::Device(device), .. } => {
                let xref = format!("x{}", self.next_xref);
                self.next_xref += 1;
                self.monitors.insert(xref.clone(), Monitor { device: device.as_str().into(), link });
                (Outcome::MonitorStart { xref, existing_calls: None }, Vec::new())
            }
            Service::MonitorStop { xref } => {
                self.monitors.remove(xref);
                (Outcome::MonitorStop, Vec::new())
            }
            service => {
                let applied = self.model.apply(service, Some(device));
                for later in applied.later {
                    let at = Instant::now() + Duration::from_millis(later.after_ms);
                    Self::plan(agenda, turn, at, Happens::Due(later.what));
                }
                (applied.outcome, applied.events)
            }
        }
    }

    fn report(&mut self, events: Vec<(Arc<str>, EventBody)>, agenda: &mut Agenda, turn: &mut u64) {
        let links = &self.links;
        self.monitors.retain(|_, monitor| links.contains_key(&monitor.link));
        for (device, body) in events {
            let told: Vec<(String, u64)> = self
                .monitors
                .iter()
                .filter(|(_, monitor)| monitor.device == device)
                .map(|(xref, monitor)| (xref.clone(), monitor.link))
                .collect();
            for (xref, link) in told {
                self.back(link, FromPbx::Event(Event { xref, body: body.clone() }), agenda, turn);
            }
        }
    }

    fn back(&mut self, link: u64, what: FromPbx, agenda: &mut Agenda, turn: &mut u64) {
        let at = Instant::now() + self.delay() / 4;
        let Some(end) = self.links.get_mut(&link) else { return };
        end.last_out = end.last_out.max(at);
        Self::plan(agenda, turn, end.last_out, Happens::Returns { link, what });
    }
}

fn words(service: &Service) -> String {
    match service {
        Service::MakeCall { called, .. } => format!("MakeCall {called}"),
        other => other.name().to_owned(),
    }
}
