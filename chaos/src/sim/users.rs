//! Users with real clients, the balancer between them and the nodes, and what they remember: the first witness.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use lyncpin::client::{FLOWS_MAX, FrontEnd, FrontEndOptions, RccUser, Spread, Unanswered, UserOptions, Violation};
use lyncpin::csta::{ConnectionId, LocalState, Service};
use lyncpin::machine::input::FlowId;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::sleep;

use super::dice;
use super::gateway::Node;
use super::story::{Story, tell};

/// Flows the balancer keeps up; the front end lets a node open the rest.
const FLOWS: usize = 2;
const PIPE_BYTES: usize = 64 * 1024;
/// When a node has closed its connection, what it said before may still be on its way to the front end.
const GONE_AFTER: Duration = Duration::from_millis(50);
/// The balancer asks a node how it is.
const HEALTH_MS: u64 = 50;
/// So many times in a row ill: its connections are moved.
const ILL_MAX: u32 = 4;
/// Timer F, shortened as everything in a run is.
pub const ANSWER_TIMEOUT_MS: u64 = 6_000;

pub fn line(user: u64) -> String {
    format!("tel:+1425555{user:04};ext={user:04}", user = 5100 + user)
}

pub fn device(user: u64) -> String {
    format!("{}", 5100 + user)
}

pub fn sip(user: u64) -> String {
    format!("sip:user{user}@contoso.com")
}

/// Connections between the front end and the nodes. Clones are the same.
#[derive(Clone)]
pub struct Hub(Rc<HubState>);

struct HubState {
    front_end: FrontEnd,
    /// How long what is said on a connection is under way.
    takes_us: Cell<u64>,
    flows: Cell<usize>,
    pipes: mpsc::UnboundedSender<Pipe>,
}

/// A connection to be carried, outside of every node.
struct Pipe {
    near: DuplexStream,
    far: DuplexStream,
    machine: u64,
}

/// How the balancer sees a machine, and how it gets a connection there.
pub trait Machines {
    fn is_well(&self, machine: u64) -> bool;
    fn is_up(&self, machine: u64) -> bool;
    fn accept(&self, machine: u64, stream: DuplexStream);
}

impl Hub {
    /// `takes_us`: at most, of what is said on a connection.
    pub fn new(spread: Spread, takes_us: u64) -> (Self, impl FnOnce(Rc<dyn Machines>)) {
        let options =
            FrontEndOptions { spread, repeats_on_flow_loss: true, ..FrontEndOptions::front_end("fe01.contoso.com") };
        let (pipes, mut waiting) = mpsc::unbounded_channel::<Pipe>();
        let (front_end, takes_us) = (FrontEnd::new(options), Cell::new(takes_us));
        let hub = Self(Rc::new(HubState { front_end, takes_us, flows: Cell::new(0), pipes }));
        let own = hub.clone();
        let start = move |machines: Rc<dyn Machines>| {
            for turn in 0..FLOWS as u64 {
                spawn_local(own.clone().keep_flow(turn, machines.clone()));
            }
            spawn_local(async move {
                while let Some(pipe) = waiting.recv().await {
                    spawn_local(own.clone().carry(pipe, machines.clone()));
                }
            });
        };
        (hub, start)
    }

    pub fn user(&self, user: u64) -> RccUser {
        let mut options = UserOptions::new(sip(user), line(user), "sip:rccgw@rccgw.contoso.com");
        options.epid = format!("{user:010x}");
        options.answer_timeout = Duration::from_millis(ANSWER_TIMEOUT_MS);
        self.0.front_end.user(options)
    }

    /// One of the balancer's connections, made again whenever it is lost.
    async fn keep_flow(self, turn: u64, machines: Rc<dyn Machines>) {
        let mut next = turn;
        loop {
            next += 1;
            let machine = 1 + (next + dice::within(0..2)) % 2;
            let Some(machine) = [machine, 3 - machine].into_iter().find(|machine| machines.is_well(*machine)) else {
                sleep(Duration::from_millis(HEALTH_MS)).await;
                continue;
            };
            let (client, near) = duplex(PIPE_BYTES);
            if self.0.front_end.attach(client).is_ok() {
                let (far, stream) = duplex(PIPE_BYTES);
                machines.accept(machine, stream);
                self.clone().carry(Pipe { near, far, machine }, machines.clone()).await;
            }
            sleep(Duration::from_millis(dice::within(5..40))).await;
        }
    }

    /// What is said on a connection takes its least time from now on.
    pub fn calm(&self) {
        self.0.takes_us.set(1);
    }

    /// Brings what one side says to the other, later. Of what is under way when the machine dies half is lost: its kernel
    /// resets the connection.
    async fn pour(&self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, is_up: impl Fn() -> bool) {
        let mut piece = vec![0; PIPE_BYTES];
        while let Ok(length @ 1..) = from.read(&mut piece).await {
            sleep(Duration::from_micros(dice::within(0..self.0.takes_us.get()))).await;
            if (!is_up() && dice::happens(500)) || to.write_all(&piece[..length]).await.is_err() {
                break;
            }
        }
    }

    /// Until one side closes, or the machine behind it is ill.
    async fn carry(self, pipe: Pipe, machines: Rc<dyn Machines>) {
        let Pipe { near, far, machine } = pipe;
        let ((from_near, to_near), (from_far, to_far)) = (split(near), split(far));
        self.0.flows.set(self.0.flows.get() + 1);
        let is_up = || machines.is_up(machine);
        let watching = async {
            let mut ill = 0;
            while ill < ILL_MAX {
                sleep(Duration::from_millis(HEALTH_MS)).await;
                ill = if machines.is_well(machine) { 0 } else { ill + 1 };
            }
        };
        tokio::select! {
            biased;
            // What the node said last is heard before its end is.
            () = self.pour(from_far, to_near, is_up) => {}
            () = async { self.pour(from_near, to_far, is_up).await; sleep(GONE_AFTER).await } => {}
            () = watching => {}
        }
        self.0.flows.set(self.0.flows.get() - 1);
    }

    /// A node opens a connection to the front end.
    pub fn dial(&self, node: &Rc<Node>) -> Option<FlowId> {
        if self.0.flows.get() >= FLOWS_MAX {
            return None;
        }
        let (client, near) = duplex(PIPE_BYTES);
        self.0.front_end.attach(client).ok()?;
        let (far, stream) = duplex(PIPE_BYTES);
        // Err: the run is over.
        let _ = self.0.pipes.send(Pipe { near, far, machine: node.running.machine });
        Some(node.accept(stream))
    }
}

/// What a user was told of a call it wanted to make; the number names the operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Done,
    /// Definitely not.
    Failed,
    Unknown,
}

/// What all users remember.
#[derive(Default)]
pub struct Memory {
    pub made: RefCell<BTreeMap<String, Told>>,
    pub answered: Cell<usize>,
    pub asked: Cell<usize>,
    /// Dialogs that were acknowledged and are gone.
    pub lost: RefCell<Vec<String>>,
    /// Requests that came again over another connection, and were not known there.
    pub unknown_there: RefCell<Vec<String>>,
    /// What the client does not put up with, kept over sign-ins.
    pub violations: RefCell<Vec<(u64, Violation)>>,
    numbers: Cell<u64>,
}

impl Memory {
    fn number(&self) -> String {
        self.numbers.set(self.numbers.get() + 1);
        format!("+1206{:07}", self.numbers.get())
    }
}

pub struct Person {
    pub number: u64,
    pub client: RccUser,
    pub memory: Rc<Memory>,
    pub story: Story,
}

impl Person {
    /// Signs in and telephones until `until_ms`.
    pub async fn live(self: Rc<Self>, until_ms: u64, pace_ms: u64) {
        while self.story.now_ms() < until_ms {
            sleep(Duration::from_millis(dice::within(5..pace_ms * 4))).await;
            if !self.client.is_signed_in() {
                self.sign_in().await;
                continue;
            }
            let calls: Vec<(String, LocalState)> =
                self.client.with_view(|view| view.calls().iter().map(|call| (call.id.clone(), call.local)).collect());
            match calls.first() {
                None if dice::happens(850) => self.make_call().await,
                Some((call, local)) => self.work_on(call, *local).await,
                None => {
                    let device = self.client.line();
                    self.ask(Service::SetDoNotDisturb { device, on: dice::happens(500) }).await;
                }
            }
        }
    }

    pub async fn sign_in(&self) -> bool {
        let signed_in = self.client.sign_in().await;
        let told = signed_in.as_ref().map(|_| ()).map_err(ToString::to_string);
        tell!(self.story, "user {} signs in: {told:?}", self.number);
        if signed_in.is_err() {
            sleep(Duration::from_millis(dice::within(50..200))).await;
        }
        signed_in.is_ok()
    }

    async fn make_call(&self) {
        let number = self.memory.number();
        let calling = self.client.line();
        let service = Service::MakeCall {
            calling,
            called: format!("tel:{number}"),
            auto_originate: Some("doNotPrompt".into()),
            correlator: None,
        };
        let told = self.ask(service).await;
        tell!(self.story, "user {} dials {number}: {told:?}", self.number);
        self.memory.made.borrow_mut().insert(number, told);
    }

    async fn work_on(&self, call: &str, local: LocalState) {
        let connection = ConnectionId::new(call, self.client.line());
        let service = match local {
            LocalState::Connected if dice::happens(400) => Service::HoldCall { call: connection },
            LocalState::Hold if dice::happens(600) => Service::RetrieveCall { call: connection },
            _ => Service::ClearConnection { connection, reason: None },
        };
        let name = service.name();
        let told = self.ask(service).await;
        tell!(self.story, "user {} asks {name} {call}: {told:?}", self.number);
    }

    async fn ask(&self, service: Service) -> Told {
        self.memory.asked.set(self.memory.asked.get() + 1);
        let name = service.name();
        let told = match self.client.invoke(service).await {
            Ok(reply) if reply.is_done() => Told::Done,
            Ok(_) => Told::Failed,
            Err(why) => {
                if let Unanswered::Sip { status: status @ (404 | 408 | 410 | 481), .. } = why {
                    self.memory.lost.borrow_mut().push(format!("user {} got {status} in its dialog", self.number));
                }
                // A client counts up; only what comes again has a number of before.
                if matches!(why, Unanswered::Sip { status: 500, .. }) {
                    self.memory.unknown_there.borrow_mut().push(format!("user {} asked {name}: {why}", self.number));
                }
                // 503 is no answer to a request that was sent again after its connection was lost: it says to ask later.
                let is_later = matches!(why, Unanswered::Sip { status: 503, .. });
                if why.is_definite() && !is_later { Told::Failed } else { Told::Unknown }
            }
        };
        self.memory.answered.set(self.memory.answered.get() + usize::from(told != Told::Unknown));
        told
    }

    /// A question with an answer, some time.
    pub async fn is_served(&self) -> bool {
        if !self.client.is_signed_in() {
            return self.sign_in().await;
        }
        let device = self.client.line();
        let told = self.ask(Service::GetDoNotDisturb { device }).await;
        told == Told::Done
    }
}
