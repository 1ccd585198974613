//! Requests that were passed to the node that owns their session, until their answer has come back. The client keeps its
//! connection here and asks once; when the owner dies before it answers, or a word between the nodes is lost, the request is
//! heard again by whoever owns the session then. If the record knows it, it is a repetition.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::node::Node;
use super::unheard;
use crate::id::SessionId;
use crate::machine::input::FlowId;
use crate::sip::Message;
use crate::store::Incarnation;

/// Beyond that a request is passed on and not kept.
const PASSED_MAX: usize = 8_192;
/// The owner lives and has not answered: it may not have heard.
const AGAIN_MS: u64 = 2_000;
/// Timer F (RFC 3261 §17.1.2.2): the client waits no longer.
const KEPT_MS: u64 = 32_000;

struct Kept {
    flow: FlowId,
    message: Box<Message>,
    owner: Incarnation,
    first: Instant,
    asked: Instant,
}

#[derive(Default)]
pub struct Passed(Mutex<HashMap<SessionId, Vec<Kept>>>);

impl Passed {
    /// `owner` is about to be given this request.
    pub fn keep(&self, id: &SessionId, flow: FlowId, owner: Incarnation, message: &Message) {
        if matches!(message.method(), None | Some("ACK")) {
            return;
        }
        let now = Instant::now();
        let mut passed = self.lock();
        if passed.len() >= PASSED_MAX {
            return;
        }
        let kept = passed.entry(id.clone()).or_default();
        if let Some(one) = kept.iter_mut().find(|one| is_same(&one.message, message)) {
            (one.flow, one.owner, one.asked) = (flow, owner, now);
        } else if kept.len() < super::session::MAILBOX_MAX {
            kept.push(Kept { flow, message: Box::new(message.clone()), owner, first: now, asked: now });
        }
    }

    /// A message of the owner goes out to the client.
    pub fn saw(&self, message: &Message) {
        let is_final = message.status().is_some_and(|status| status >= 200);
        let tag = message.headers.to().ok().and_then(|to| to.tag().map(SessionId::new));
        if let Some(id) = tag.filter(|_| is_final) {
            self.forget(&id, message);
        }
    }

    /// The owner has not taken it, or this is its answer.
    pub fn forget(&self, id: &SessionId, message: &Message) {
        let mut passed = self.lock();
        if let Some(kept) = passed.get_mut(id) {
            kept.retain(|one| !is_same(&one.message, message));
            if kept.is_empty() {
                passed.remove(id);
            }
        }
    }

    /// What is to be heard again: what a dead owner took with it, and what has waited long. An owner that handed its session
    /// over lives, and brings what it was given.
    fn due(&self, is_dead: impl Fn(Incarnation) -> bool) -> Vec<(SessionId, FlowId, Box<Message>)> {
        let now = Instant::now();
        let mut due = Vec::new();
        self.lock().retain(|id, kept| {
            kept.retain_mut(|one| {
                let is_lost = is_dead(one.owner);
                if is_lost || now.duration_since(one.asked) >= Duration::from_millis(AGAIN_MS) {
                    one.asked = now;
                    due.push((id.clone(), one.flow, one.message.clone()));
                }
                !is_lost && now.duration_since(one.first) < Duration::from_millis(KEPT_MS)
            });
            !kept.is_empty()
        });
        due
    }

    fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Vec<Kept>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request and itself again, or its answer.
fn is_same(request: &Message, other: &Message) -> bool {
    request.headers.call_id().is_ok_and(|id| other.headers.call_id() == Ok(id))
        && request.headers.cseq().is_ok_and(|cseq| other.headers.cseq() == Ok(cseq))
}

/// Lets those be heard again whose answer has not come, or will not.
pub fn look(node: &Arc<Node>) {
    if node.passed.is_empty() {
        return;
    }
    let living: Vec<Incarnation> = node.records.store().members().iter().map(|member| member.incarnation).collect();
    for (id, flow, message) in node.passed.due(|owner| !living.contains(&owner)) {
        if node.flows.peer_of(flow).is_some() {
            node.counters.count("relay", "again");
            unheard::keep_for(node, id, flow, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Incarnation = Incarnation(3);

    fn request(cseq: u32) -> Message {
        let mut message = Message::request("INFO", "sip:gateway@localhost");
        message.headers.push("Call-ID", "c1");
        message.headers.push("CSeq", format!("{cseq} INFO"));
        message.headers.push("To", "<sip:gateway@localhost>;tag=0123456789abcdef");
        message
    }

    fn answer(cseq: u32, status: u16) -> Message {
        let mut message = Message::response(status, "");
        let asked = request(cseq);
        asked.headers.iter().for_each(|(name, value)| message.headers.push(name, value));
        message
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_passed_on_is_heard_again_when_its_owner_is_dead_or_nothing_comes() {
        let passed = Passed::default();
        let id = SessionId::new("0123456789abcdef");
        (1..=3).for_each(|cseq| passed.keep(&id, FlowId(7), OWNER, &request(cseq)));
        passed.saw(&answer(1, 200));
        passed.saw(&answer(2, 100));
        assert_eq!(passed.due(|_| false), []);
        tokio::time::advance(Duration::from_millis(AGAIN_MS)).await;
        let again = |cseq| (id.clone(), FlowId(7), Box::new(request(cseq)));
        assert_eq!(passed.due(|_| false), [again(2), again(3)]);
        assert_eq!(passed.due(|_| false), [], "once in a while");
        passed.keep(&id, FlowId(8), OWNER, &request(3));
        passed.saw(&answer(2, 504));
        let moved = (id.clone(), FlowId(8), Box::new(request(3)));
        assert_eq!(passed.due(|_| true), [moved], "its owner is dead");
        assert_eq!(passed.due(|_| true), []);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_kept_longer_than_a_client_waits() {
        let passed = Passed::default();
        let id = SessionId::new("0123456789abcdef");
        passed.keep(&id, FlowId(7), OWNER, &request(1));
        tokio::time::advance(Duration::from_millis(KEPT_MS)).await;
        passed.due(|_| false);
        tokio::time::advance(Duration::from_millis(AGAIN_MS)).await;
        assert_eq!(passed.due(|_| true), []);
    }
}
