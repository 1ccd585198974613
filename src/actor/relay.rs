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
use super::handover;
use super::node::Node;
use super::session::End;
use super::unheard;
use crate::id::{Moment, SessionId};
use crate::machine::effect::NextHop;
use crate::machine::input::{FlowId, Retire};
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
    /// A session of mine says this to a front end that I cannot reach; you may have a flow from there.
    ToHop { host: String, port: u16, secure: bool },
    /// A user signs in here, on this flow of mine; I take nobody in any more.
    SignIn { flow: u64, peer: SocketAddr, secure: bool },
    /// A session of mine has stopped and is yours, if its record is of this version.
    Take { session: SessionId, version: u64 },
    /// This session of mine signed in; an older one of the same endpoint that you serve is over.
    Supersede { endpoint: String, by: SessionId, began: Moment },
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
pub enum Answer {
    Taken,
    /// The session is not mine, or the flow is gone.
    NotMine,
    /// I am draining, full, or without a quorum myself.
    NotNow,
}

/// What became of a session that was given.
pub type Taking = Answer;

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

/// A node that takes nobody in any more brings a sign-in to one that does. True: it has it now.
pub async fn bring_sign_in(node: &Arc<Node>, to: &str, flow: FlowId, invite: &Message) -> bool {
    let Some((peer, secure)) = node.flows.peer_of(flow) else { return true };
    let Some(bytes) = (Word::SignIn { flow: flow.0, peer, secure }).with(&invite.to_bytes()) else { return false };
    node.counters.count("relay", "sign_in");
    say(node, to, bytes).await == Ok(Answer::Taken)
}

/// Has another node send a request over a flow that leads to this hop. True: one has.
pub async fn send_to_hop(node: &Arc<Node>, hop: &NextHop, message: &[u8]) -> bool {
    let Some(pair) = node.pair.clone() else { return false };
    let NextHop { host, port, secure } = hop.clone();
    let Some(bytes) = (Word::ToHop { host, port, secure }).with(message) else { return false };
    for name in pair.other_data_nodes() {
        if say(node, &name, bytes.clone()).await == Ok(Answer::Taken) {
            node.counters.count("relay", "to_hop");
            return true;
        }
    }
    false
}

/// Gives a session that has stopped here to another node.
pub async fn give_to(node: &Arc<Node>, heir: &str, id: &SessionId, version: u64) -> Result<Taking, String> {
    let word = Word::Take { session: id.clone(), version }.with(&[]).ok_or("a session that cannot be named")?;
    say(node, heir, word).await
}

/// Tells every other data node of a sign-in, which may end an older session of the same endpoint there.
pub fn supersede_elsewhere(node: &Arc<Node>, endpoint: String, by: SessionId, began: Moment) {
    let Some(pair) = node.pair.clone() else { return };
    let Some(bytes) = (Word::Supersede { endpoint, by, began }).with(&[]) else { return };
    let node = node.clone();
    tokio::spawn(async move {
        for name in pair.other_data_nodes() {
            // Err: it is gone, and what it served is superseded when it is taken over.
            let _ = say(&node, &name, bytes.clone()).await;
        }
    });
}

async fn say(node: &Arc<Node>, to: &str, word: Vec<u8>) -> Result<Answer, String> {
    let pair = node.pair.as_ref().ok_or("this node is alone")?;
    let answer = pair.say(to, word).await?;
    serde_json::from_slice(&answer).map_err(|why| why.to_string())
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
                Word::Outgoing { flow } => {
                    let message = Message::parse(&text);
                    match node.flows.send(FlowId(flow), text) {
                        true => {
                            let _ = message.map(|message| node.passed.saw(&message));
                            Answer::Taken
                        }
                        false => Answer::NotMine,
                    }
                }
                Word::ToHop { host, port, secure } => {
                    let flow = node.flows.to_hop(&NextHop { host, port, secure });
                    match flow.is_some_and(|flow| node.flows.send(flow, text)) {
                        true => Answer::Taken,
                        false => Answer::NotMine,
                    }
                }
                Word::SignIn { .. } if node.is_draining() || !node.may_act() => Answer::NotNow,
                Word::SignIn { flow, peer, secure } => match far_flow(&node, from, flow, peer, secure) {
                    Some(own) => door::take_sign_in(&node, &own, &text),
                    None => Answer::NotNow,
                },
                Word::Take { session, version } => handover::take(&node, &session, version).await,
                Word::Supersede { endpoint, by, began } => {
                    if let Some(older) = node.book.older_at_endpoint(&endpoint, &by, began) {
                        // Past the mailbox's bound, once a sign-in.
                        older.do_send(End(Retire::Superseded));
                    }
                    Answer::Taken
                }
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
    node.tap.heard(|| own.ends(), &message);
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
    let handle = node.flows.open(None, peer, secure);
    flows.insert((from.clone(), flow), handle.clone());
    drop(flows);
    tokio::spawn(carry(node.clone(), from, flow, handle.clone()));
    Some(handle)
}

/// Brings what sessions here say to the node that has the connection, in order, until that is gone.
async fn carry(node: Arc<Node>, to: String, flow: u64, handle: FlowHandle) {
    while let Some(bytes) = std::future::poll_fn(|cx| handle.outgoing.poll_next(cx)).await {
        let Some(pair) = &node.pair else { break };
        node.tap.said(|| handle.ends(), &bytes);
        let Some(word) = (Word::Outgoing { flow }).with(&bytes) else { break };
        let answer = pair.say(&to, word).await.ok().and_then(|answer| serde_json::from_slice(&answer).ok());
        if answer != Some(Answer::Taken) {
            break;
        }
    }
    node.far_flows.lock().remove(&(to, flow));
    node.flows.closed(handle.id);
}
