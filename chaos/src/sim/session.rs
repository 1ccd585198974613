//! One session on one node, as the product's session actor carries it: step, commit, then the effects.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use lyncpin::actor::session::SessionActor;
use lyncpin::machine::ask::LinkFailed;
use lyncpin::machine::effect::Effect;
use lyncpin::machine::input::{FlowId, Input};
use lyncpin::machine::session::Session;
use lyncpin::mutant::{Mutant, mutant};
use lyncpin::sip::Message;
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout};

use super::door;
use super::gateway::{Mail, Node};
use super::story::tell;

/// Between two looks for a quorum, as the product's.
const REVIVE_PAUSE_MS: u64 = 50;
/// Between two looks at a change whose answer is missing, and how long it is looked for.
const DOUBT_PAUSE_MS: u64 = 20;
const DOUBT_MS: u64 = 5_000;

struct Carrier {
    node: Rc<Node>,
    session: Session,
    version: u64,
    heard_on: Option<FlowId>,
    inputs: VecDeque<Input>,
    at_work: Option<(FlowId, Box<Message>)>,
}

pub async fn serve(
    node: Rc<Node>,
    session: Session,
    version: u64,
    heard_on: Option<FlowId>,
    first: Vec<Effect>,
    mut mail: mpsc::UnboundedReceiver<Mail>,
) {
    let mut carrier = Carrier { node, session, version, heard_on, inputs: VecDeque::new(), at_work: None };
    first.into_iter().for_each(|effect| carrier.carry_out(effect));
    let is_up = carrier.node.link.borrow().is_some();
    carrier.node.bound.borrow_mut().insert(carrier.session.id.clone());
    carrier.inputs.push_back(if is_up { Input::LinkUp { features: None } } else { Input::LinkDown });
    loop {
        let input = match carrier.inputs.pop_front() {
            Some(input) => input,
            None => {
                let wait = carrier.session.deadline().ms_from(carrier.node.common.now()).max(1);
                match timeout(Duration::from_millis(wait), mail.recv()).await {
                    Ok(Some(Mail::Input(input))) => *input,
                    Ok(Some(Mail::Inbound(flow, message))) => match carrier.inbound(flow, message) {
                        Some(input) => input,
                        None => continue,
                    },
                    Ok(None) => return,
                    Err(_) if carrier.session.deadline() <= carrier.node.common.now() => Input::Tick,
                    Err(_) => continue,
                }
            }
        };
        if !carrier.work_on(input).await {
            // What came meanwhile is not lost with the carrier.
            while let Ok(left) = mail.try_recv() {
                if let Mail::Inbound(flow, message) = left {
                    door::keep_for(&carrier.node, carrier.session.id.clone(), flow, message);
                }
            }
            return;
        }
    }
}

impl Carrier {
    fn inbound(&mut self, flow: FlowId, message: Box<Message>) -> Option<Input> {
        let dialog = &self.session.dialog;
        let headers = &message.headers;
        let is_request = message.method().is_some();
        let far = if is_request { headers.from() } else { headers.to() };
        let is_ours = headers.call_id().is_ok_and(|call_id| call_id == dialog.call_id)
            && far.is_ok_and(|far| far.tag() == Some(dialog.remote_tag.as_str()));
        if !is_ours {
            return None;
        }
        if is_request {
            self.heard_on = Some(flow);
        }
        Some(if is_request { Input::Request { flow, message } } else { Input::Response { message } })
    }

    /// False when it ends here.
    async fn work_on(&mut self, input: Input) -> bool {
        self.at_work = match &input {
            Input::Request { flow, message } => Some((*flow, message.clone())),
            _ => None,
        };
        let rules = self.node.common.rules.clone();
        let effects = self.session.step(self.node.cx(&rules), input);
        let key = SessionActor::key(&self.session.id);
        let is_over = effects.iter().any(|effect| matches!(effect, Effect::End(_)));
        let commit = if is_over {
            self.node.records.remove(&key, self.version)
        } else {
            self.node.records.commit(&key, self.version, SessionActor::claims(&self.session), &self.session)
        };
        let (early, effects) =
            if mutant(Mutant::AnswerBeforeCommit) { (effects, Vec::new()) } else { (Vec::new(), effects) };
        early.into_iter().for_each(|effect| self.carry_out(effect));
        let reason = match commit.await {
            Ok(version) if self.node.may_act() => {
                self.carry_all_out(version, effects);
                return !is_over;
            }
            // As in a process that was frozen meanwhile.
            Ok(_) => "the lease has run out".to_owned(),
            Err(refused) => refused.to_string(),
        };
        let story = &self.node.common.story;
        tell!(story, "node {} is in doubt about {}: {reason}", self.node.running.machine, self.session.id);
        if let Some(version) = self.is_committed(&key, is_over).await {
            self.carry_all_out(version, effects);
            return !is_over;
        }
        tell!(story, "node {} stops {}", self.node.running.machine, self.session.id);
        self.leave();
        spawn_local(revive(self.node.clone(), self.session.id.clone(), self.at_work.take()));
        false
    }

    fn carry_all_out(&mut self, version: u64, effects: Vec<Effect>) {
        self.version = version;
        self.at_work = None;
        effects.into_iter().for_each(|effect| self.carry_out(effect));
    }

    /// Whether the change was made after all; asked until it is known and this node may act.
    async fn is_committed(&self, key: &str, is_over: bool) -> Option<u64> {
        let own = self.node.records.incarnation();
        let wanted = serde_json::to_vec(&self.session).ok();
        let deadline = Instant::now() + Duration::from_millis(DOUBT_MS);
        while Instant::now() < deadline {
            if self.node.records.store().catch_up().await.is_ok() {
                self.node.records.node_of(own)?;
                let version = match self.node.records.load::<Session>(key) {
                    Ok(None) if is_over => 0,
                    Ok(Some(found)) if found.owner == own && serde_json::to_vec(&found.value).ok() == wanted => {
                        found.version
                    }
                    _ => return None,
                };
                if self.node.may_act() {
                    return Some(version);
                }
            }
            sleep(Duration::from_millis(DOUBT_PAUSE_MS)).await;
        }
        None
    }

    fn leave(&self) {
        self.node.sessions.borrow_mut().remove(&self.session.id);
        self.node.bound.borrow_mut().remove(&self.session.id);
        let dialog = (self.session.dialog.call_id.clone(), self.session.dialog.remote_tag.clone());
        self.node.dialogs.borrow_mut().remove(&dialog);
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Respond { flow, message } => {
                let bytes = message.to_bytes();
                if !self.node.flows.send(flow, bytes.clone())
                    && let Some(heard_on) = self.heard_on
                {
                    self.node.flows.send(heard_on, bytes);
                }
            }
            Effect::Send { message, .. } => {
                let bytes = message.to_bytes();
                let cseq = self.session.dialog.local_cseq;
                let is_sent = self.heard_on.is_some_and(|flow| self.node.flows.send(flow, bytes.clone()))
                    || self.node.common.hub.dial(&self.node).is_some_and(|flow| self.node.flows.send(flow, bytes));
                let (story, id) = (&self.node.common.story, &self.session.id);
                tell!(story, "session {id} sends {} {cseq}: {is_sent}", message.method().unwrap_or_default());
                if !is_sent {
                    self.inputs.push_back(Input::Undeliverable { cseq });
                }
            }
            Effect::Invoke { ask, service, deadline } => {
                let is_late = deadline <= self.node.common.now();
                let link = self.node.link.borrow().clone().filter(|_| !is_late);
                let Some(link) = link else {
                    self.inputs.push_back(Input::Settled { ask, result: Err(LinkFailed::NotSent) });
                    return;
                };
                self.node.tickets.set(self.node.tickets.get() + 1);
                let ticket = self.node.tickets.get();
                self.node.asks.borrow_mut().insert(ticket, (self.session.id.clone(), ask));
                link.ask(ticket, self.session.id.as_str(), &self.session.appearance.device, service);
                let (node, wait) = (self.node.clone(), deadline.ms_from(self.node.common.now()));
                spawn_local(async move {
                    sleep(Duration::from_millis(wait)).await;
                    node.settled(ticket, Err(LinkFailed::TimedOut));
                });
            }
            Effect::End(reason) => {
                tell!(self.node.common.story, "session {} ends: {}", self.session.id, reason.name());
                self.leave();
                self.node.xrefs.borrow_mut().retain(|_, session| *session != self.session.id);
            }
            Effect::Recovered | Effect::HasCalls(_) | Effect::Note(_) => {}
        }
    }
}

/// When it is known what the record is, the session begins again if it is still ours, and the request it was working on is
/// heard again, wherever it belongs by then.
async fn revive(node: Rc<Node>, id: lyncpin::id::SessionId, at_work: Option<(FlowId, Box<Message>)>) {
    while node.records.store().catch_up().await == Err(lyncpin::store::CommitError::NoQuorum) {
        sleep(Duration::from_millis(REVIVE_PAUSE_MS)).await;
    }
    match at_work {
        Some((flow, message)) => door::keep_for(&node, id, flow, message),
        None => node.begin(&id, None),
    }
}
