//! The session actor: steps the session's machine, commits its record, then carries the effects out. Its state is a cache
//! of the record; restart = drop, read the record, resume.

mod counts;
mod mailbox;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Message, SpawnHandle, WrapFuture};
use tracing::{error, info};

use super::adoption;
use super::book::HeardOn;
use super::child::Life;
use super::doubt;
use super::hops::{self, Wanted};
use super::links::LinkMail;
use super::mail::{Bind, HasCalls, Invoke, Recovered, Unbind};
use super::node::Node;
use crate::cti::LinkFailed;
use crate::id::Moment;
use crate::machine::directory::Appearance;
use crate::machine::effect::{Effect, EndReason, NextHop};
use crate::machine::input::{FlowId, Input, Retire};
use crate::machine::session::Session;
use crate::sip;
use crate::store::{Claims, CommitRefused, RecordBody};

/// Messages waiting for one session; more are refused, and asked for again by whoever sent them.
pub const MAILBOX_MAX: usize = 64;

impl RecordBody for Session {
    const KIND: u8 = 1;
}

/// Ends the session from outside.
#[derive(Message)]
#[rtype(result = "()")]
pub struct End(pub Retire);

/// The actor of this link is a new one.
#[derive(Message)]
#[rtype(result = "()")]
pub struct BindAgain {
    pub link: Arc<str>,
}

/// What the supervisor gave the actor at birth.
pub struct Alive {
    pub life: Life,
    /// Fingerprints of inputs this session has died of three times.
    pub parked: Arc<[u64]>,
}

/// One session on this node.
pub struct SessionActor {
    node: Arc<Node>,
    session: Session,
    /// Version of the record this state is a cache of.
    version: u64,
    heard_on: HeardOn,
    link: Option<Arc<LinkMail>>,
    timer: Option<(Moment, SpawnHandle)>,
    inputs: VecDeque<Input>,
    /// Said here as well, because a timer that is due in the same turn as a message runs although `ctx.wait` was called.
    is_committing: bool,
    /// The request whose record is on its way to the other nodes: if it does not get there, the request is heard again.
    at_work: Option<(FlowId, Box<sip::Message>)>,
    /// What to do before the first input: after a sign-in the 200, after a restart what `resume` said.
    first: Vec<Effect>,
    alive: Alive,
    is_over: bool,
    /// Of this session, in the node's count.
    calls: usize,
}

impl Drop for SessionActor {
    fn drop(&mut self) {
        self.node.calls.fetch_sub(self.calls, Ordering::Relaxed);
    }
}

impl SessionActor {
    /// For a session just committed, or loaded from its record.
    pub fn new(
        node: Arc<Node>,
        session: Session,
        version: u64,
        heard_on: HeardOn,
        first: Vec<Effect>,
        alive: Alive,
    ) -> Self {
        Self {
            node,
            session,
            version,
            heard_on,
            link: None,
            timer: None,
            inputs: VecDeque::new(),
            is_committing: false,
            at_work: None,
            first,
            alive,
            is_over: false,
            calls: 0,
        }
    }

    pub fn key(id: &crate::id::SessionId) -> String {
        format!("session/{id}")
    }

    pub fn claims(session: &Session) -> Claims {
        Claims::new(session.claims())
    }

    fn now(&self) -> Moment {
        self.node.clock.now()
    }

    /// Past the queue while nothing waits there: a queue once used keeps its room, 800 bytes a session.
    fn take(&mut self, input: Input, ctx: &mut Context<Self>) {
        if self.is_committing {
            return self.inputs.push_back(input);
        }
        if !self.inputs.is_empty() {
            self.inputs.push_back(input);
        } else if !self.work_on(input, ctx) {
            return;
        }
        self.work(ctx);
    }

    /// One input at a time: step, commit, carry out. While a commit is under way the mailbox waits.
    fn work(&mut self, ctx: &mut Context<Self>) {
        while let Some(input) = self.inputs.pop_front() {
            if !self.work_on(input, ctx) {
                return;
            }
        }
        self.inputs = VecDeque::new();
        self.arm(ctx);
    }

    /// False when the session is over, or when the commit goes on later.
    fn work_on(&mut self, input: Input, ctx: &mut Context<Self>) -> bool {
        if self.is_over {
            return false;
        }
        let print = input.fingerprint();
        if self.alive.parked.contains(&print) {
            self.turn_away(&input);
            return true;
        }
        self.alive.life.takes_up(print);
        self.at_work = match &input {
            Input::Request { flow, message } if self.node.pair.is_some() => Some((*flow, message.clone())),
            _ => None,
        };
        self.count(&input);
        let rules = self.node.rules.load();
        let cx = crate::machine::session::Context { rules: &rules, now: self.now() };
        let effects = self.session.step(cx, input);
        if !self.commit(effects, ctx) {
            return false;
        }
        self.alive.life.puts_down();
        true
    }

    /// An input this session has died of three times is answered with an error instead of worked on.
    fn turn_away(&mut self, input: &Input) {
        self.node.counters.count("session", "input_parked");
        error!(
            session = %self.session.id,
            "an input that crashed this session three times is refused; please report it with the record lines before the crash"
        );
        match input {
            Input::Request { flow, message } => super::door::answer_500(&self.node, *flow, message),
            // What the event would have told is asked for.
            Input::PbxEvent { .. } => self.inputs.push_back(Input::Missed),
            _ => {}
        }
    }

    /// Commits the record and carries the effects out; false when that goes on later, under `ctx.wait`.
    fn commit(&mut self, effects: Vec<Effect>, ctx: &mut Context<Self>) -> bool {
        let key = Self::key(&self.session.id);
        let is_over = effects.iter().any(|effect| matches!(effect, Effect::End(_)));
        let commit = if is_over {
            self.node.records.remove(&key, self.version)
        } else {
            self.node.records.commit(&key, self.version, Self::claims(&self.session), &self.session)
        };
        match commit.now() {
            Ok(done) => self.committed(done, effects, ctx),
            Err(commit) => {
                self.is_committing = true;
                let wait = commit.into_actor(self).map(move |done, this, ctx| {
                    if this.committed(done, effects, ctx) {
                        this.go_on(ctx);
                    }
                });
                ctx.wait(wait);
                false
            }
        }
    }

    /// False when that goes on later, under `ctx.wait`.
    fn committed(&mut self, done: Result<u64, CommitRefused>, effects: Vec<Effect>, ctx: &mut Context<Self>) -> bool {
        let reason = match done {
            Ok(version) if self.node.may_act() => {
                self.carry_all_out(version, effects, ctx);
                return true;
            }
            // As in a process that was frozen meanwhile.
            Ok(_) => "the lease has run out".to_owned(),
            Err(refused) => refused.to_string(),
        };
        let is_over = effects.iter().any(|effect| matches!(effect, Effect::End(_)));
        let wanted = (!is_over).then(|| Box::new(self.session.clone()));
        self.is_committing = true;
        let found = doubt::is_committed(self.node.clone(), self.session.id.clone(), wanted);
        ctx.wait(found.into_actor(self).map(move |found, this, ctx| {
            match found {
                Some(version) => this.carry_all_out(version, effects, ctx),
                None => this.stop_here(&reason, ctx),
            }
            this.go_on(ctx);
        }));
        false
    }

    fn go_on(&mut self, ctx: &mut Context<Self>) {
        self.is_committing = false;
        self.alive.life.puts_down();
        self.work(ctx);
    }

    fn carry_all_out(&mut self, version: u64, effects: Vec<Effect>, ctx: &mut Context<Self>) {
        self.version = version;
        self.at_work = None;
        self.count_calls();
        for effect in effects {
            self.carry_out(effect, ctx);
        }
    }

    /// Another owner has the record, or it is not what was to be written: no effect without the record that explains it.
    fn stop_here(&mut self, reason: &str, ctx: &mut Context<Self>) {
        info!(session = %self.session.id, reason, version = self.version, "record not committed; the session stops here");
        self.node.counters.count("session", "not_committed");
        self.is_over = true;
        self.node.book.leave(&self.session);
        adoption::revive(self.node.clone(), self.session.id.clone(), self.at_work.take());
        ctx.stop();
    }

    fn carry_out(&mut self, effect: Effect, ctx: &mut Context<Self>) {
        match effect {
            Effect::Respond { flow, message } => {
                let bytes = message.to_bytes();
                // The request's flow is gone, or was that of a life before this one: where the dialog was last heard.
                if !self.node.flows.send(flow, bytes.clone()) {
                    self.node.flows.send(self.heard_on.flow(), bytes);
                }
            }
            Effect::Send { message, next_hop } => self.send(message, next_hop, ctx),
            Effect::Invoke { ask, service, deadline } => {
                let session = self.session.id.clone();
                let is_late = deadline <= self.now();
                let invoke = Invoke { session, ask, service, deadline_ms: deadline.ms_from(self.now()) };
                let is_taken = !is_late && self.link.as_ref().is_some_and(|link| link.invoke.try_send(invoke).is_ok());
                if !is_taken {
                    self.inputs.push_back(Input::Settled { ask, result: Err(LinkFailed::NotSent) });
                }
            }
            Effect::Recovered => {
                if let Some(link) = &self.link {
                    // Lost when the link is that busy: its own guard lets the next session on.
                    let _ = link.recovered.try_send(Recovered { session: self.session.id.clone() });
                }
            }
            Effect::HasCalls(has_calls) => {
                if let Some(link) = &self.link {
                    let _ = link.has_calls.try_send(HasCalls { session: self.session.id.clone(), has_calls });
                }
            }
            Effect::Note(note) => self.note(&note),
            Effect::End(reason) => self.end(reason, ctx),
        }
    }

    /// Over the flow the dialog was last heard on, or one that leads to the hop, or a new one.
    fn send(&mut self, message: sip::Message, next_hop: NextHop, ctx: &mut Context<Self>) {
        self.node.counters.count("sip_sent", "requests");
        let bytes = message.to_bytes();
        if self.node.flows.send(self.heard_on.flow(), bytes.clone()) {
            return;
        }
        let wanted = Wanted {
            session: self.session.id.clone(),
            cseq: self.session.dialog.local_cseq,
            message: bytes,
            inbox: ctx.address().recipient(),
        };
        hops::send(&self.node, next_hop, wanted);
    }

    fn bind(&mut self, ctx: &mut Context<Self>) {
        self.link = self.node.links.by_name(&self.session.link).and_then(|seat| seat.mail());
        match &self.link {
            // Past the bound, once a life of either actor: without it the session would hear nothing of its link.
            Some(link) => link.bind.do_send(Bind {
                session: self.session.id.clone(),
                inbox: ctx.address().recipient(),
                has_calls: !self.session.calls.is_empty(),
            }),
            // No such link is configured any more.
            None => self.inputs.push_back(Input::LinkDown),
        }
    }

    fn end(&mut self, reason: EndReason, ctx: &mut Context<Self>) {
        info!(session = %self.session.id, user = %self.session.appearance.sip, reason = reason.name(), "session closed");
        self.node.counters.count("session_end", reason.name());
        self.is_over = true;
        self.node.book.leave(&self.session);
        if let Some(link) = &self.link {
            // Past the bound, once a session: the PBX's monitor must not outlive it.
            link.unbind.do_send(Unbind { session: self.session.id.clone() });
        }
        ctx.stop();
    }

    /// One timer a session, for the earliest deadline; one that comes too early only looks and sleeps again.
    fn arm(&mut self, ctx: &mut Context<Self>) {
        if self.is_over {
            return;
        }
        let deadline = self.session.deadline();
        match self.timer {
            Some((armed, _)) if armed <= deadline => return,
            Some((_, handle)) => {
                ctx.cancel_future(handle);
            }
            None => {}
        }
        let delay = Duration::from_millis(deadline.ms_from(self.now()).max(1));
        let handle = ctx.run_later(delay, |this, ctx| {
            this.timer = None;
            if this.session.deadline() <= this.now() {
                this.take(Input::Tick, ctx);
            } else {
                this.arm(ctx);
            }
        });
        self.timer = Some((deadline, handle));
    }
}

impl Actor for SessionActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX_MAX);
        let Appearance { sip, device, .. } = &self.session.appearance;
        self.node.tap.meets(&self.session.id, sip, device);
        self.count_calls();
        for effect in std::mem::take(&mut self.first) {
            self.carry_out(effect, ctx);
        }
        self.bind(ctx);
        self.work(ctx);
    }
}
