//! The connections users talk over: one each, or a few that carry many users' dialogs, as a Lync front end does.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::dialog::{self, Path};
use super::flow::{Flow, FlowEnd, Replies};
use super::history::{Entry, Origin, What};
use super::options::{Direction, FrontEndOptions, Spread};
use super::seat::Seat;
use super::{RccUser, UserOptions};
use crate::sip::Message;

/// A Lync front end opens at most this many connections to one server (`OutgoingTlsCount`).
pub const FLOWS_MAX: usize = 4;
const REDIAL_MS: u64 = 20;
const REDIAL_MS_MAX: u64 = 1_000;

/// Names one connection of a front end; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId(pub u64);

/// No more than [`FLOWS_MAX`] connections at once.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("the front end has {FLOWS_MAX} connections already")]
    TooMany,
    #[error("connection refused or broken: {0}")]
    Io(#[from] io::Error),
}

/// A handle; the connections live as long as a handle or a user does.
#[derive(Clone)]
pub struct FrontEnd {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub options: FrontEndOptions,
    pub origin: Origin,
    seats: Mutex<HashMap<Arc<str>, Weak<Seat>>>,
    flows: Mutex<Vec<FlowSender>>,
    /// Shared with the redialling tasks, which must not keep the rest alive.
    flows_changed: Arc<Notify>,
    flows_seen: AtomicU64,
    flows_wanted: AtomicUsize,
    turn: AtomicUsize,
    branches: AtomicU64,
    branch_salt: String,
    strays: AtomicU64,
    malformed: AtomicU64,
    lost: AtomicU64,
    listening: Mutex<Option<AbortHandle>>,
}

#[derive(Clone)]
pub(super) struct FlowSender {
    pub id: FlowId,
    pub queue: mpsc::Sender<Bytes>,
}

impl FrontEnd {
    pub fn new(options: FrontEndOptions) -> Self {
        let shared = Shared {
            options,
            origin: Origin::now(),
            seats: Mutex::default(),
            flows: Mutex::default(),
            flows_changed: Arc::default(),
            flows_seen: AtomicU64::new(0),
            flows_wanted: AtomicUsize::new(0),
            turn: AtomicUsize::new(0),
            branches: AtomicU64::new(0),
            branch_salt: dialog::random_hex(4),
            strays: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            listening: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// A user of this front end, not signed in.
    pub fn user(&self, options: UserOptions) -> RccUser {
        RccUser::new(Seat::new(self.shared.clone(), options))
    }

    /// Takes a connected stream into use. Needs a tokio runtime.
    pub fn attach<S>(&self, stream: S) -> Result<FlowId, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let shared = &self.shared;
        let (queue, outgoing) = mpsc::channel(shared.options.queue_max.max(1));
        let id = FlowId(shared.flows_seen.fetch_add(1, Ordering::Relaxed) + 1);
        let negotiate = shared.options.negotiates.then(|| shared.negotiate());
        {
            let mut flows = shared.flows();
            if flows.len() >= FLOWS_MAX {
                return Err(ConnectError::TooMany);
            }
            flows.push(FlowSender { id, queue });
        }
        shared.flows_changed.notify_waiters();
        if let Some(message) = &negotiate {
            shared.tap(Direction::Out, id, message);
        }
        tokio::spawn(self.carry(id, stream, outgoing, negotiate));
        Ok(id)
    }

    fn carry<S>(
        &self,
        id: FlowId,
        stream: S,
        outgoing: mpsc::Receiver<Bytes>,
        negotiate: Option<Message>,
    ) -> impl Future<Output = ()> + Send + use<S>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let first = negotiate.as_ref().map(Message::to_bytes).unwrap_or_default();
        let flow = Flow::new(stream, outgoing, self.shared.options.limits, first, negotiate.is_some());
        let weak = Arc::downgrade(&self.shared);
        async move {
            let receiver = weak.clone();
            let end =
                flow.carry(move |message| receiver.upgrade().map(|s| s.receive(id, message)).unwrap_or_default()).await;
            if let Some(shared) = weak.upgrade() {
                shared.flow_ended(id, &end);
            }
        }
    }

    /// Lets gateways connect, as a front end does: what they ask is answered there, and nothing else is said there. Until
    /// the front end is dropped.
    pub fn listen(&self, listener: TcpListener) {
        let weak = Arc::downgrade(&self.shared);
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Some(front_end) = weak.upgrade().map(|shared| FrontEnd { shared }) else { return };
                let id = FlowId(front_end.shared.flows_seen.fetch_add(1, Ordering::Relaxed) + 1);
                // Its queue stays empty, and open as long as the connection.
                let (speak, outgoing) = mpsc::channel(1);
                let carried = front_end.carry(id, stream, outgoing, None);
                tokio::spawn(async move {
                    carried.await;
                    drop(speak);
                });
            }
        });
        *self.shared.listening.lock().unwrap_or_else(PoisonError::into_inner) = Some(listening.abort_handle());
    }

    pub async fn connect(&self, address: impl ToSocketAddrs) -> Result<FlowId, ConnectError> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        self.attach(stream)
    }

    /// Keeps `count` connections up, trying the addresses in turn, with back-off, until the front end is dropped.
    pub fn keep_connected(&self, addresses: Vec<String>, count: usize) {
        self.shared.flows_wanted.fetch_add(count, Ordering::Relaxed);
        for nth in 0..count.min(FLOWS_MAX) {
            tokio::spawn(redial(Arc::downgrade(&self.shared), addresses.clone(), nth));
        }
    }

    /// Closes one connection after what waits for it was sent; its open requests are lost with it.
    pub fn close(&self, flow: FlowId) {
        self.shared.flows().retain(|f| f.id != flow);
    }

    pub fn flows(&self) -> Vec<FlowId> {
        self.shared.flows().iter().map(|f| f.id).collect()
    }

    /// Messages for no user of ours.
    pub fn strays(&self) -> u64 {
        self.shared.strays.load(Ordering::Relaxed)
    }

    /// Messages that were not SIP, though their end was known.
    pub fn malformed(&self) -> u64 {
        self.shared.malformed.load(Ordering::Relaxed)
    }

    /// Connections that ended without our asking.
    pub fn flows_lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }
}

async fn redial(shared: Weak<Shared>, addresses: Vec<String>, nth: usize) {
    let mut wait_ms = REDIAL_MS;
    let mut turn = nth;
    while let Some(front_end) = shared.upgrade().map(|shared| FrontEnd { shared }) {
        let Some(address) = addresses.get(turn % addresses.len().max(1)) else { return };
        turn += 1;
        match front_end.connect(address).await {
            Ok(flow) => {
                wait_ms = REDIAL_MS;
                let flows_changed = front_end.shared.flows_changed.clone();
                drop(front_end);
                loop {
                    let changed = flows_changed.notified();
                    tokio::pin!(changed);
                    changed.as_mut().enable();
                    // The strong handle must not live across the wait: several tasks would keep each other's alive.
                    let Some(is_up) = shared.upgrade().map(|s| s.flows().iter().any(|f| f.id == flow)) else { return };
                    if !is_up {
                        break;
                    }
                    changed.await;
                }
            }
            Err(ConnectError::TooMany) => return,
            Err(ConnectError::Io(_)) => {
                drop(front_end);
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                wait_ms = (wait_ms * 2).min(REDIAL_MS_MAX);
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.flows_changed.notify_waiters();
        if let Some(listening) = self.listening.get_mut().unwrap_or_else(PoisonError::into_inner) {
            listening.abort();
        }
    }
}

impl Shared {
    fn flows(&self) -> MutexGuard<'_, Vec<FlowSender>> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seats(&self) -> MutexGuard<'_, HashMap<Arc<str>, Weak<Seat>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn seat(&self, call_id: Arc<str>, seat: &Arc<Seat>) {
        self.seats().insert(call_id, Arc::downgrade(seat));
    }

    pub fn forget(&self, call_id: &str) {
        self.seats().remove(call_id);
    }

    pub fn note(&self, user: &Arc<str>, what: impl FnOnce() -> What) {
        if let Some(history) = &self.options.history {
            history.note(Entry { user: user.clone(), what: what() });
        }
    }

    pub fn tap(&self, direction: Direction, flow: FlowId, message: &Message) {
        if let Some(tap) = &self.options.tap {
            tap.saw(direction, flow, message);
        }
    }

    pub fn branch(&self) -> String {
        let n = self.branches.fetch_add(1, Ordering::Relaxed);
        format!("z9hG4bK{}.{n:08x}", self.branch_salt)
    }

    pub fn path<'a>(&'a self, branch: &'a str) -> Path<'a> {
        Path { transport: self.options.transport, front_end: self.options.via.as_deref(), branch }
    }

    /// Whether TCP order is message order here.
    pub fn has_one_flow(&self) -> bool {
        self.flows().len() <= 1
    }

    /// The flow for a user's next message, waiting for one to come up.
    pub async fn flow_for(&self, wanted: Option<FlowId>, deadline: Instant) -> Option<FlowSender> {
        loop {
            let changed = self.flows_changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(flow) = self.pick(wanted) {
                return Some(flow);
            }
            tokio::time::timeout_at(deadline, changed).await.ok()?;
        }
    }

    fn pick(&self, wanted: Option<FlowId>) -> Option<FlowSender> {
        let flows = self.flows();
        if self.options.spread == Spread::ByUser
            && let Some(flow) = flows.iter().find(|f| Some(f.id) == wanted)
        {
            return Some(flow.clone());
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        flows.get(turn % flows.len().max(1)).cloned()
    }

    fn negotiate(&self) -> Message {
        let host = self.options.via.as_deref().unwrap_or("10.0.0.50:51063");
        let mut message = Message::request("NEGOTIATE", "sip:127.0.0.1:5065");
        for (name, value) in [
            ("Via", format!("SIP/2.0/{} {host}", self.options.transport)),
            ("CSeq", "1 NEGOTIATE".to_owned()),
            ("Call-ID", dialog::random_hex(16)),
            ("From", format!("<sip:fe01.contoso.com>;tag={}", dialog::random_hex(16))),
            ("To", "<sip:rccgw.contoso.com>".to_owned()),
            ("Compression", "LZ77-8K".to_owned()),
            ("Max-Forwards", "0".to_owned()),
        ] {
            message.headers.push(name, value);
        }
        message
    }

    fn receive(&self, flow: FlowId, message: Option<Message>) -> Replies {
        let Some(message) = message else {
            self.malformed.fetch_add(1, Ordering::Relaxed);
            return Replies::default();
        };
        self.tap(Direction::In, flow, &message);
        if message.status().is_some() && message.headers.cseq().is_ok_and(|c| c.method == "NEGOTIATE") {
            // Only a refusal keeps the link plain; 200 with Compression would need a codec that we do not have.
            let is_compressed = message.status() == Some(200) && message.headers.get("Compression").is_some();
            return Replies { messages: Vec::new(), opens_queue: !is_compressed };
        }
        let seat = message.headers.call_id().ok().and_then(|id| self.seats().get(id).and_then(Weak::upgrade));
        let Some(seat) = seat else {
            self.strays.fetch_add(1, Ordering::Relaxed);
            let messages: Vec<Message> = self.answer_stray(&message).into_iter().collect();
            messages.iter().for_each(|m| self.tap(Direction::Out, flow, m));
            return Replies { messages, opens_queue: false };
        };
        let reaction = seat.receive(message, flow);
        let mut replies = reaction.replies;
        for send in reaction.sends {
            match self.pick(Some(flow)).filter(|f| f.id != flow) {
                Some(other) if other.queue.try_send(send.to_bytes()).is_ok() => {
                    self.tap(Direction::Out, other.id, &send);
                }
                _ => replies.push(send),
            }
        }
        replies.iter().for_each(|m| self.tap(Direction::Out, flow, m));
        Replies { messages: replies, opens_queue: false }
    }

    fn answer_stray(&self, message: &Message) -> Option<Message> {
        match message.method()? {
            "ACK" | "BENOTIFY" => None,
            "OPTIONS" => Some(dialog::answer(message, 200, "OK", "RTC/5.0")),
            _ => Some(dialog::answer(message, 481, "Call Leg/Transaction Does Not Exist", "RTC/5.0")),
        }
    }

    fn flow_ended(&self, id: FlowId, end: &FlowEnd) {
        self.flows().retain(|f| f.id != id);
        if !matches!(end, FlowEnd::ClosedHere) {
            self.lost.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(flow = id.0, %end, "connection to the gateway ended");
        }
        let mut seats: Vec<Arc<Seat>> = self.seats().values().filter_map(Weak::upgrade).collect();
        // Told in order of their names: a simulated run is the same run twice.
        seats.sort_by(|one, other| one.name.cmp(&other.name));
        seats.iter().for_each(|seat| seat.flow_lost(id));
        self.flows_changed.notify_waiters();
    }
}
