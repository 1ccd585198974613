//! Requests that came to the wrong node, and what the owner's session has to say to them, as the product relays them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use lyncpin::actor::flows::FlowHandle;
use lyncpin::machine::input::FlowId;
use lyncpin::sip::Message;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_local;

use super::door;
use super::gateway::Node;
use super::net::{Answer, Question};

/// As the product's: a word that has no answer by then has none.
const WORD_MS: u64 = 2_000;

#[derive(Serialize, Deserialize)]
enum Word {
    /// A message of a session of yours came to me, on this flow of mine.
    Message { flow: u64, text: String },
    /// A session of mine says this on a flow of yours.
    Outgoing { flow: u64, text: String },
}

/// Flows of other machines, by machine and their number, as flows of this node.
pub type FarFlows = RefCell<BTreeMap<(u64, u64), FlowHandle>>;

/// Says a message of a session to the node that owns it. True: it has it now.
pub async fn pass_to(node: &Rc<Node>, owner: &str, flow: FlowId, message: &Message) -> bool {
    let text = String::from_utf8_lossy(&message.to_bytes()).into_owned();
    say(node, owner, &Word::Message { flow: flow.0, text }).await
}

async fn say(node: &Rc<Node>, to: &str, word: &Word) -> bool {
    let voters = node.running.life.voters();
    let Some(id) = voters.iter().find(|(_, voter)| voter.name == to).map(|(id, _)| *id) else { return false };
    let Ok(word) = serde_json::to_vec(word) else { return false };
    let own = node.running.replica.id();
    let asked = node.common.net.ask(own, id, Question::Word(word), Duration::from_millis(WORD_MS)).await;
    matches!(asked, Ok(Answer::Word(answer)) if answer == b"taken")
}

/// A word of another node, heard for this one; `None`: it is starting.
pub fn hear(node: Option<Rc<Node>>, from: u64, word: &[u8]) -> Vec<u8> {
    let taken = node.is_some_and(|node| match serde_json::from_slice(word) {
        Ok(Word::Message { flow, text }) => take(&node, from, flow, text),
        Ok(Word::Outgoing { flow, text }) => node.flows.send(FlowId(flow), text.into_bytes().into()),
        Err(_) => false,
    });
    if taken { b"taken".to_vec() } else { Vec::new() }
}

fn take(node: &Rc<Node>, from: u64, flow: u64, text: String) -> bool {
    let Ok(message) = Message::parse(&text.into_bytes().into()) else { return false };
    let Some(id) = door::session_at(node, &message).filter(|id| node.is_ours(id)) else { return false };
    let own = far_flow(node, from, flow);
    door::hand_in_or_keep(node, id, own.id, Box::new(message));
    true
}

/// The flow of this node behind which another node's flow is.
fn far_flow(node: &Rc<Node>, from: u64, flow: u64) -> FlowHandle {
    if let Some(handle) = node.far_flows.borrow().get(&(from, flow)) {
        return handle.clone();
    }
    let handle = node.flows.open(([10, 0, 0, 8], 5060).into(), false);
    node.far_flows.borrow_mut().insert((from, flow), handle.clone());
    spawn_local(carry(node.clone(), from, flow, handle.clone()));
    handle
}

/// Brings what sessions here say to the node that has the connection, in order, until that is gone.
async fn carry(node: Rc<Node>, to: u64, flow: u64, handle: FlowHandle) {
    while let Some(bytes) = std::future::poll_fn(|cx| handle.outgoing.poll_next(cx)).await {
        let name = node.running.life.voters().get(&to).map(|voter| voter.name.clone()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if !say(&node, &name, &Word::Outgoing { flow, text }).await {
            break;
        }
    }
    node.far_flows.borrow_mut().remove(&(to, flow));
    node.flows.closed(handle.id);
}
