//! Messages whose session's actor died before it heard them. They wait, in order, for the session's next life, which is some
//! milliseconds away: over TCP nobody asks twice, and nothing was done with them yet.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::book::NotTaken;
use super::door;
use super::node::Node;
use super::session::MAILBOX_MAX;
use crate::id::SessionId;
use crate::machine::input::FlowId;
use crate::sip::Message;

/// Over all sessions; beyond that messages are refused.
const WAITING_MAX: usize = 4_096;
/// Together a little less than the two seconds after which a client over UDP would ask again for the third time.
const TRIES: usize = 95;
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
    // None: the node's threads end, and nobody lives again.
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    let Some(id) = door::session_named(node, &message) else { return door::refuse_unheard(node, flow, &message) };
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
        let Some(session) = node.book.session(id.as_str()).filter(|_| tries < TRIES) else {
            door::refuse_unheard(&node, flow, &message);
            continue;
        };
        match session.hand_in(&node, flow, message) {
            Ok(()) => {}
            Err(NotTaken::Gone(message) | NotTaken::Full(message)) => {
                tries += 1;
                node.unheard.push_front(&id, flow, message);
                tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
            }
        }
    }
}
