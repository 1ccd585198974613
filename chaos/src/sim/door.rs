//! Each message of a flow to its session, here or at the other node, as the product's door and its waiting room do.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use lyncpin::actor::flows::FlowHandle;
use lyncpin::actor::session::SessionActor;
use lyncpin::id::SessionId;
use lyncpin::machine::input::FlowId;
use lyncpin::machine::outside::{Outside, outside};
use lyncpin::machine::sign_in::{SignIn, sign_in, unavailable};
use lyncpin::machine::transaction::Open;
use lyncpin::sip::Message;
use lyncpin::store::{CommitRefused, Refusal};
use lyncpin_cluster::runtime;
use tokio::task::spawn_local;
use tokio::time::sleep;

use super::gateway::{Mail, Node};
use super::relay;
use super::story::tell;

/// As the product's.
const TRIES: usize = 95;
const PAUSE_MS: u64 = 20;
const TAG_BYTES: usize = 16;

/// Messages that wait for their session's next life, in order.
pub type Unheard = BTreeMap<SessionId, VecDeque<(FlowId, Box<Message>)>>;

/// One message from a flow. Never waits.
pub fn take(node: &Rc<Node>, flow: &FlowHandle, message: Box<Message>) {
    if message.method().is_some() && !node.may_act() {
        return refuse_for_now(node, flow.id, &message);
    }
    if let Some(id) = session_at(node, &message) {
        return hand_in_or_keep(node, id, flow.id, message);
    }
    if message.method().is_none() {
        return;
    }
    match outside(&node.common.rules, flow.id, &message, false) {
        Outside::Ignore => {}
        Outside::Answer(response) => drop(flow.outgoing.push(response.to_bytes())),
        Outside::Cancel { unknown, .. } => drop(flow.outgoing.push(unknown.to_bytes())),
        Outside::SignIn(open) => arrive(node, flow.id, message, open),
    }
}

/// To its session if it is served here and nothing waits before it; else it waits.
pub fn hand_in_or_keep(node: &Rc<Node>, id: SessionId, flow: FlowId, message: Box<Message>) {
    let is_served = node.sessions.borrow().contains_key(&id) && !node.unheard.borrow().contains_key(&id);
    if is_served {
        node.tell(&id, Mail::Inbound(flow, message));
    } else {
        keep_for(node, id, flow, message);
    }
}

/// The session a message of a dialog belongs to: our tag is its name.
pub fn session_at(node: &Node, message: &Message) -> Option<SessionId> {
    let ours = if message.method().is_none() { message.headers.from() } else { message.headers.to() };
    if let Some(tag) = ours.ok().and_then(|ours| ours.tag().map(str::to_owned)) {
        let may_be = tag.len() == TAG_BYTES && tag.bytes().all(|byte| byte.is_ascii_hexdigit());
        return may_be.then(|| SessionId::new(tag));
    }
    let from = message.headers.from().ok()?;
    let dialog = (message.headers.call_id().ok()?.to_owned(), from.tag()?.to_owned());
    node.dialogs.borrow().get(&dialog).cloned()
}

pub fn keep_for(node: &Rc<Node>, id: SessionId, flow: FlowId, message: Box<Message>) {
    let is_first = {
        let mut unheard = node.unheard.borrow_mut();
        let is_first = !unheard.contains_key(&id);
        unheard.entry(id.clone()).or_default().push_back((flow, message));
        is_first
    };
    if is_first {
        spawn_local(hand_in(node.clone(), id));
    }
}

async fn hand_in(node: Rc<Node>, id: SessionId) {
    let mut tries = 0;
    loop {
        let next = node.unheard.borrow_mut().get_mut(&id).and_then(VecDeque::pop_front);
        let Some((flow, message)) = next else {
            node.unheard.borrow_mut().remove(&id);
            return;
        };
        if tries >= TRIES {
            refuse_unheard(&node, &id, flow, &message);
            continue;
        }
        let is_served = node.sessions.borrow().contains_key(&id);
        let left = if is_served {
            node.tell(&id, Mail::Inbound(flow, message));
            None
        } else {
            elsewhere(&node, &id, flow, message, tries == 0).await
        };
        if let Some(message) = left {
            tries += 1;
            node.unheard.borrow_mut().entry(id.clone()).or_default().push_front((flow, message));
            sleep(Duration::from_millis(PAUSE_MS)).await;
        }
    }
}

/// Nobody here serves the session: it is ours and begins, or it is another node's and hears it there. Yields the message
/// when it has to wait.
async fn elsewhere(
    node: &Rc<Node>,
    id: &SessionId,
    flow: FlowId,
    message: Box<Message>,
    is_first: bool,
) -> Option<Box<Message>> {
    let key = SessionActor::key(id);
    let mut owner = node.records.owner_of(&key);
    if owner.is_none() && is_first {
        if node.records.store().catch_up().await.is_err() {
            refuse_for_now(node, flow, &message);
            return None;
        }
        owner = node.records.owner_of(&key);
    }
    let Some(owner) = owner else {
        refuse_unheard(node, id, flow, &message);
        return None;
    };
    if owner == node.records.incarnation() {
        node.begin(id, None);
        return Some(message);
    }
    let Some(name) = node.records.node_of(owner) else { return Some(message) };
    if relay::pass_to(node, &name, flow, &message).await { None } else { Some(message) }
}

/// 503 while the session may live again, which keeps the far side's dialog; 481 when it has ended.
fn refuse_unheard(node: &Node, id: &SessionId, flow: FlowId, request: &Message) {
    if matches!(request.method(), None | Some("ACK" | "BENOTIFY")) {
        return;
    }
    if node.records.owner_of(&SessionActor::key(id)).is_some() {
        return refuse_for_now(node, flow, request);
    }
    if let Ok(open) = Open::of(flow, request) {
        node.flows.send(flow, open.response_481(&node.common.rules).to_bytes());
    }
}

fn refuse_for_now(node: &Node, flow: FlowId, request: &Message) {
    if matches!(request.method(), None | Some("ACK" | "BENOTIFY")) {
        return;
    }
    if let Ok(open) = Open::of(flow, request) {
        let response = unavailable(node.cx(&node.common.rules), &open, 1);
        node.flows.send(flow, response.to_bytes());
    }
}

fn arrive(node: &Rc<Node>, flow: FlowId, invite: Box<Message>, open: Open) {
    let id = SessionId::new(format!("{:016x}", runtime::chance()));
    match sign_in(node.cx(&node.common.rules), id.clone(), flow, &invite, &open, "cm1") {
        SignIn::Refused { response, .. } => drop(node.flows.send(flow, response.to_bytes())),
        SignIn::Welcome { session, effects } => {
            let commit = node.records.commit(&SessionActor::key(&id), 0, SessionActor::claims(&session), &*session);
            let node = node.clone();
            spawn_local(async move {
                match commit.await {
                    Ok(_) => {
                        let who = (&session.appearance.sip, node.running.machine);
                        tell!(node.common.story, "session {id} of {} begins at node {}", who.0, who.1);
                        node.begin(&id, Some((flow, effects)));
                    }
                    // The same INVITE was faster on another flow, perhaps of another node; it gets the recorded answer.
                    Err(CommitRefused::Refused(Refusal::Claimed { claim, holder_key, .. }))
                        if !claim.starts_with("station/") =>
                    {
                        if let Some(id) = holder_key.strip_prefix("session/") {
                            keep_for(&node, SessionId::new(id), flow, invite);
                        }
                    }
                    Err(_) => refuse_for_now(&node, flow, &invite),
                }
            });
        }
    }
}
