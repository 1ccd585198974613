//! Messages whose session's actor died before it heard them, or that came while no quorum was heard. They wait, in order, for
//! the session's next life, which is some milliseconds away: over TCP nobody asks twice, and nothing was done with them yet.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::adoption;
use super::book::NotTaken;
use super::door;
use super::node::Node;
use super::relay;
use super::session::{MAILBOX_MAX, SessionActor};
use crate::id::SessionId;
use crate::machine::input::FlowId;
use crate::sip::Message;

/// Over all sessions; beyond that messages are refused.
const WAITING_MAX: usize = 4_096;
/// Together about two seconds, after which a client over UDP would ask again for the third time.
const TRIES: usize = 115;
/// The first tries come faster: a session that is handed over is away for some milliseconds.
const QUICK_TRIES: usize = 25;
const QUICK_PAUSE_MS: u64 = 4;
const PAUSE_MS: u64 = 20;

type Waiting = HashMap<SessionId, VecDeque<(FlowId, Box<Message>)>>;

#[derive(Default)]
pub struct Unheard {
    waiting: Mutex<Waiting>,
    count: AtomicUsize,
}

impl Unheard {
    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Whether messages of this session wait: the next one waits behind them.
    pub fn has(&self, id: &SessionId) -> bool {
        self.lock().contains_key(id)
    }

    /// `Err`: no room. `Ok(true)`: the first of this session, somebody has to begin handing in.
    fn push(&self, id: &SessionId, flow: FlowId, message: Box<Message>) -> Result<bool, Box<Message>> {
        let mut waiting = self.lock();
        let is_first = !waiting.contains_key(id);
        let own = waiting.get(id).map_or(0, VecDeque::len);
        if own >= MAILBOX_MAX || self.count.load(Ordering::Relaxed) >= WAITING_MAX {
            return Err(message);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        waiting.entry(id.clone()).or_default().push_back((flow, message));
        Ok(is_first)
    }

    fn push_front(&self, id: &SessionId, flow: FlowId, message: Box<Message>) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.lock().entry(id.clone()).or_default().push_front((flow, message));
    }

    /// `None`: nothing waits, and the session's entry is gone.
    fn pop(&self, id: &SessionId) -> Option<(FlowId, Box<Message>)> {
        let mut waiting = self.lock();
        let popped = waiting.get_mut(id).and_then(VecDeque::pop_front);
        match &popped {
            Some(_) => {
                self.count.fetch_sub(1, Ordering::Relaxed);
            }
            None => {
                waiting.remove(id);
            }
        }
        popped
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a message for the next life of its session, or refuses it.
pub fn keep(node: &Arc<Node>, flow: FlowId, message: Box<Message>) {
    match door::session_at(node, &message) {
        Some(id) => keep_for(node, id, flow, message),
        None => door::refuse_unheard(node, flow, &message),
    }
}

/// As `keep`, for a session that is known.
pub fn keep_for(node: &Arc<Node>, id: SessionId, flow: FlowId, message: Box<Message>) {
    // None: the node's threads end, and nobody lives again.
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    match node.unheard.push(&id, flow, message) {
        Ok(true) => {
            runtime.spawn(hand_in(node.clone(), id));
        }
        Ok(false) => {}
        Err(message) => door::refuse_unheard(node, flow, &message),
    }
}

async fn hand_in(node: Arc<Node>, id: SessionId) {
    let mut tries = 0;
    while let Some((flow, message)) = node.unheard.pop(&id) {
        if tries >= TRIES {
            door::refuse_unheard(&node, flow, &message);
            continue;
        }
        let left = match node.book.session(id.as_str()) {
            _ if !node.may_act() => Some(message),
            Some(session) => match session.hand_in(&node, flow, message) {
                Ok(()) => None,
                Err(NotTaken::Gone(message) | NotTaken::Full(message)) => Some(message),
            },
            None => elsewhere(&node, &id, flow, message, tries == 0).await,
        };
        if let Some(message) = left {
            tries += 1;
            node.unheard.push_front(&id, flow, message);
            let pause = if tries <= QUICK_TRIES { QUICK_PAUSE_MS } else { PAUSE_MS };
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }
}

/// Nobody here serves the session: it is ours and begins, or it is another node's and hears it there. Yields the message
/// when it has to wait: the owner may have died and we may inherit.
async fn elsewhere(
    node: &Arc<Node>,
    id: &SessionId,
    flow: FlowId,
    message: Box<Message>,
    is_first: bool,
) -> Option<Box<Message>> {
    let key = SessionActor::key(id);
    let mut owner = node.records.owner_of(&key);
    if owner.is_none() && is_first && node.pair.is_some() {
        // The other node may have committed it a moment ago.
        if node.records.store().catch_up().await.is_err() {
            door::refuse_for_now(node, flow, &message);
            return None;
        }
        owner = node.records.owner_of(&key);
    }
    let Some(owner) = owner else {
        door::refuse_unheard(node, flow, &message);
        return None;
    };
    if owner == node.records.incarnation() {
        if !node.leaving.has(id) {
            adoption::begin(node, id);
        }
        return Some(message);
    }
    let Some(name) = node.records.node_of(owner) else { return Some(message) };
    // Before it is passed on: the answer may be faster than the word that it was taken.
    node.passed.keep(id, flow, owner, &message);
    // A frozen node does not answer; when its records have moved nobody need wait for it.
    let moved = async {
        while node.records.owner_of(&key) == Some(owner) {
            tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
        }
    };
    let is_taken = tokio::select! {
        is_taken = relay::pass_to(node, &name, flow, &message) => is_taken,
        () = moved => false,
    };
    if is_taken {
        return None;
    }
    node.passed.forget(id, &message);
    Some(message)
}
