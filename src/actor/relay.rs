//! Requests that came to the wrong node. A balancer sends a connection where it likes; what belongs to a session of the
//! other node goes there, and what that session has to say comes back over the connection. A healthy owner keeps its
//! sessions.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::door;
use super::flows::FlowHandle;
use super::node::Node;
use super::unheard;
use crate::machine::input::FlowId;
use crate::sip::Message;
use crate::store::pair::Ear;

/// Connections of other nodes that sessions here speak over.
const FAR_FLOWS_MAX: usize = 50_000;

/// What nodes say to each other. Named fields: a later version may say more.
#[derive(Debug, Serialize, Deserialize)]
enum Word {
    /// A message of a session of yours came to me, on this flow of mine.
    Message { flow: u64, peer: SocketAddr, secure: bool },
    /// A session of mine says this on a flow of yours.
    Outgoing { flow: u64 },
}

impl Word {
    /// One line of JSON, then the SIP message as it is.
    fn with(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = serde_json::to_vec(self).ok()?;
        bytes.push(b'\n');
        bytes.extend(text);
        Some(bytes)
    }

    fn read(bytes: &[u8]) -> Result<(Self, Bytes), String> {
        let end = memchr::memchr(b'\n', bytes).ok_or("a word without a message")?;
        let word = serde_json::from_slice(&bytes[..end]).map_err(|why| why.to_string())?;
        Ok((word, Bytes::copy_from_slice(&bytes[end + 1..])))
    }
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Answer {
    Taken,
    /// The session is not mine, or the flow is gone.
    NotMine,
}

/// Flows of other nodes, by node and their number, as flows of this one.
#[derive(Default)]
pub struct FarFlows(Mutex<HashMap<(String, u64), FlowHandle>>);

impl FarFlows {
    fn lock(&self) -> MutexGuard<'_, HashMap<(String, u64), FlowHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says a message of a session to the node that owns it. True: it has it now.
pub async fn pass_to(node: &Arc<Node>, owner: &str, flow: FlowId, message: &Message) -> bool {
    let Some(pair) = &node.pair else { return false };
    let Some((peer, secure)) = node.flows.peer_of(flow) else { return true };
    let word = Word::Message { flow: flow.0, peer, secure };
    let Some(bytes) = word.with(&message.to_bytes()) else { return false };
    node.counters.count("relay", "sent");
    match pair.say(owner, bytes).await {
        Ok(answer) => serde_json::from_slice(&answer).is_ok_and(|answer: Answer| answer == Answer::Taken),
        Err(_) => false,
    }
}

/// Hears the other nodes for this one.
pub struct Hearing(pub Weak<Node>);

impl Ear for Hearing {
    fn heard(&self, from: String, word: Vec<u8>) -> BoxFuture<'static, Result<Vec<u8>, String>> {
        let node = self.0.upgrade();
        Box::pin(async move {
            let node = node.ok_or("this node has stopped")?;
            let (word, text) = Word::read(&word)?;
            let answer = match word {
                Word::Message { flow, peer, secure } => take(&node, from, flow, peer, secure, &text),
                Word::Outgoing { flow } => match node.flows.send(FlowId(flow), text) {
                    true => Answer::Taken,
                    false => Answer::NotMine,
                },
            };
            serde_json::to_vec(&answer).map_err(|why| why.to_string())
        })
    }
}

fn take(node: &Arc<Node>, from: String, flow: u64, peer: SocketAddr, secure: bool, text: &Bytes) -> Answer {
    let Ok(message) = Message::parse(text) else { return Answer::NotMine };
    let Some(id) = door::session_at(node, &message).filter(|id| door::is_ours(node, id)) else {
        return Answer::NotMine;
    };
    node.counters.count("relay", "taken");
    let Some(own) = far_flow(node, from, flow, peer, secure) else { return Answer::NotMine };
    let message = Box::new(message);
    match node.book.session(id.as_str()) {
        Some(session) if !node.unheard.has(&id) => {
            if let Err(super::book::NotTaken::Gone(message) | super::book::NotTaken::Full(message)) =
                session.hand_in(node, own.id, message)
            {
                unheard::keep(node, own.id, message);
            }
        }
        _ => unheard::keep(node, own.id, message),
    }
    Answer::Taken
}

/// The flow of this node behind which another node's flow is.
fn far_flow(node: &Arc<Node>, from: String, flow: u64, peer: SocketAddr, secure: bool) -> Option<FlowHandle> {
    let mut flows = node.far_flows.lock();
    if let Some(handle) = flows.get(&(from.clone(), flow)) {
        return Some(handle.clone());
    }
    if flows.len() >= FAR_FLOWS_MAX {
        return None;
    }
    let handle = node.flows.open(peer, secure);
    flows.insert((from.clone(), flow), handle.clone());
    drop(flows);
    tokio::spawn(carry(node.clone(), from, flow, handle.clone()));
    Some(handle)
}

/// Brings what sessions here say to the node that has the connection, in order, until that is gone.
async fn carry(node: Arc<Node>, to: String, flow: u64, handle: FlowHandle) {
    while let Some(bytes) = std::future::poll_fn(|cx| handle.outgoing.poll_next(cx)).await {
        let Some(pair) = &node.pair else { break };
        let Some(word) = (Word::Outgoing { flow }).with(&bytes) else { break };
        let answer = pair.say(&to, word).await.ok().and_then(|answer| serde_json::from_slice(&answer).ok());
        if answer != Some(Answer::Taken) {
            break;
        }
    }
    node.far_flows.lock().remove(&(to, flow));
    node.flows.closed(handle.id);
}
