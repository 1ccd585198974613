//! Connections the test holds in its hand: a user's to a node, and the voters' to each other. What waits in a shut gate is
//! seen, passed on when the gate opens, or lost with the connection.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lyncpin::client::{Direction, FlowId, FrontEnd, FrontEndOptions, RccUser, Tap, UserOptions};
use lyncpin::sip::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// One direction of a connection.
pub struct Gate {
    open: watch::Sender<bool>,
    held: Mutex<Vec<u8>>,
}

impl Gate {
    fn new() -> Arc<Self> {
        Arc::new(Self { open: watch::Sender::new(true), held: Mutex::default() })
    }

    pub fn shut(&self) {
        self.open.send_replace(false);
    }

    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// What has arrived at the gate and not gone through.
    pub fn held(&self) -> String {
        String::from_utf8_lossy(&self.held.lock().unwrap()).into_owned()
    }

    /// Until either end is gone.
    async fn pump(&self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
        let mut open = self.open.subscribe();
        self.held.lock().unwrap().clear();
        loop {
            if *open.borrow_and_update() {
                let bytes = std::mem::take(&mut *self.held.lock().unwrap());
                if !bytes.is_empty() && to.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            let mut bytes = [0; 16 * 1024];
            tokio::select! {
                read = from.read(&mut bytes) => match read {
                    Ok(0) | Err(_) => return,
                    Ok(count) => self.held.lock().unwrap().extend(&bytes[..count]),
                },
                // Err cannot be: the gate is borrowed.
                _ = open.changed() => {}
            }
        }
    }
}

/// What a gate waits for in a sign-in.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Cue {
    Nothing = 0,
    /// The 200 to the INVITE has come: the ACK and what follows wait at the gate.
    Welcomed = 1,
    /// The ACK has gone: what the node says from now on waits at the gate.
    Acknowledged = 2,
}

/// Sees every message of a user, and shuts a gate at its cue.
struct Witness {
    to_node: Arc<Gate>,
    to_user: Arc<Gate>,
    cue: AtomicU8,
    seen: Mutex<Vec<(Direction, Message)>>,
}

impl Tap for Witness {
    fn saw(&self, direction: Direction, _: FlowId, message: &Message) {
        let cue = self.cue.load(Ordering::Relaxed);
        let is_welcome = message.status() == Some(200) && message.headers.cseq().is_ok_and(|c| c.method == "INVITE");
        if cue == Cue::Welcomed as u8 && is_welcome {
            self.to_node.shut();
        }
        if cue == Cue::Acknowledged as u8 && message.method() == Some("ACK") {
            self.to_user.shut();
        }
        self.seen.lock().unwrap().push((direction, message.clone()));
    }
}

/// A user with a connection of its own, to the node its balancer sends it to.
pub struct Line {
    pub user: RccUser,
    pub front_end: FrontEnd,
    pub to_node: Arc<Gate>,
    pub to_user: Arc<Gate>,
    witness: Arc<Witness>,
    /// Counts up when the balancer ends the connection.
    moved: watch::Sender<u32>,
    target: Rc<Cell<u32>>,
}

impl Line {
    pub fn new(name: &str, options: UserOptions, target: Rc<Cell<u32>>) -> Rc<Self> {
        let (to_node, to_user) = (Gate::new(), Gate::new());
        let witness = Arc::new(Witness {
            to_node: to_node.clone(),
            to_user: to_user.clone(),
            cue: AtomicU8::new(Cue::Nothing as u8),
            seen: Mutex::default(),
        });
        let front_end = FrontEnd::new(FrontEndOptions {
            repeats_on_flow_loss: true,
            tap: Some(witness.clone()),
            ..FrontEndOptions::front_end(name)
        });
        let user = front_end.user(options);
        Rc::new(Self { user, front_end, to_node, to_user, witness, moved: watch::Sender::new(0), target })
    }

    /// Connects now and whenever the connection is gone.
    pub fn connect(self: &Rc<Self>, sip: BTreeMap<u32, SocketAddr>) {
        let line = self.clone();
        tokio::task::spawn_local(async move {
            let mut moved = line.moved.subscribe();
            loop {
                moved.mark_unchanged();
                if let Ok(node) = TcpStream::connect(sip[&line.target.get()]).await {
                    node.set_nodelay(true).unwrap();
                    let (ours, theirs) = tokio::io::duplex(1 << 20);
                    line.front_end.attach(theirs).expect("it has one connection");
                    let (node_says, node_hears) = node.into_split();
                    let (user_says, user_hears) = tokio::io::split(ours);
                    tokio::select! {
                        () = line.to_node.pump(user_says, node_hears) => {}
                        () = line.to_user.pump(node_says, user_hears) => {}
                        // Err cannot be: the line is held.
                        _ = moved.changed() => {}
                    }
                    line.to_node.open();
                    line.to_user.open();
                    while !line.front_end.flows().is_empty() {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    }

    /// The balancer ends the connection.
    pub fn leave(&self) {
        self.moved.send_modify(|moved| *moved += 1);
    }

    pub fn cue(&self, cue: Cue) {
        self.witness.cue.store(cue as u8, Ordering::Relaxed);
    }

    pub fn seen_count(&self) -> usize {
        self.witness.seen.lock().unwrap().len()
    }

    /// The first request the user sent after so many messages, and the final answer it took for it.
    pub fn asked_since(&self, count: usize, method: &str) -> Option<(Message, Option<Message>)> {
        let seen = self.witness.seen.lock().unwrap();
        let is_asked = |(direction, message): &&(Direction, Message)| {
            *direction == Direction::Out && message.method() == Some(method)
        };
        let (_, request) = seen.iter().skip(count).find(is_asked)?;
        let answers = |(direction, message): &&(Direction, Message)| {
            *direction == Direction::In
                && message.status().is_some_and(|status| status >= 200)
                && message.headers.call_id().ok() == request.headers.call_id().ok()
                && message.headers.cseq() == request.headers.cseq()
        };
        let answer = seen.iter().skip(count).find(answers).map(|(_, answer)| answer.clone());
        Some((request.clone(), answer))
    }

    /// Statuses of the answers the user got.
    pub fn statuses(&self) -> Vec<u16> {
        let seen = self.witness.seen.lock().unwrap();
        seen.iter().filter(|(direction, _)| *direction == Direction::In).filter_map(|(_, m)| m.status()).collect()
    }
}

/// Says a message to a node over a connection of its own, and yields the answer.
pub async fn say(address: SocketAddr, message: &Message) -> Message {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&message.to_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    loop {
        let read = tokio::time::timeout(super::pair::PATIENCE, stream.read_buf(&mut bytes)).await;
        assert!(read.expect("an answer in time").expect("an answer") > 0, "the connection ended without an answer");
        if let Ok(answer) = Message::parse(&bytes.clone().into()) {
            return answer;
        }
    }
}

/// The ways between the voters, each of which can be cut: then nothing goes through and nothing ends, as on a network whose
/// packets are lost. What was on its way arrives when it heals.
#[derive(Clone)]
pub struct Cables(Rc<RefCell<BTreeMap<(u32, u32), Cable>>>);

/// Where the test listens in the other node's place.
type Cable = (SocketAddr, Arc<Gate>);

impl Cables {
    /// `voters`: where each listens in truth.
    pub async fn lay(voters: &BTreeMap<u32, SocketAddr>) -> Self {
        let cables = Self(Rc::default());
        for from in voters.keys() {
            for (to, address) in voters.iter().filter(|(to, _)| *to != from) {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let gate = Gate::new();
                cables.0.borrow_mut().insert((*from, *to), (listener.local_addr().unwrap(), gate.clone()));
                tokio::task::spawn_local(carry(listener, *address, gate));
            }
        }
        cables
    }

    /// Where node `from` finds node `to`.
    pub fn address(&self, from: u32, to: u32) -> SocketAddr {
        self.0.borrow()[&(from, to)].0
    }

    pub fn cut(&self, node: u32) {
        self.0.borrow().iter().filter(|((a, b), _)| *a == node || *b == node).for_each(|(_, (_, gate))| gate.shut());
    }

    pub fn heal(&self) {
        self.0.borrow().values().for_each(|(_, gate)| gate.open());
    }
}

/// One gate for all connections of a cable, both ways.
async fn carry(listener: TcpListener, to: SocketAddr, gate: Arc<Gate>) {
    while let Ok((near, _)) = listener.accept().await {
        let gate = gate.clone();
        tokio::task::spawn_local(async move {
            let mut open = gate.open.subscribe();
            // Err cannot be: the gate is held.
            let _ = open.wait_for(|is_open| *is_open).await;
            let Ok(far) = TcpStream::connect(to).await else { return };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let ((near_says, near_hears), (far_says, far_hears)) = (near.into_split(), far.into_split());
            tokio::select! {
                () = pass(near_says, far_hears, open.clone()) => {}
                () = pass(far_says, near_hears, open.clone()) => {}
            }
        });
    }
}

async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut open: watch::Receiver<bool>) {
    let mut bytes = [0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let _ = open.wait_for(|is_open| *is_open).await;
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
