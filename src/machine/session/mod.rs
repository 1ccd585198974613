//! One session: one dialog controlling one line appearance. The whole of what it must remember, and the only function
//! that changes it.
//!
//! ```text
//!   INVITE ──▶ signed in ──MonitorStart──▶ monitored ──BYE, 481, expiry──▶ over
//!                              │   ▲
//!                    link down ▼   │ link up: monitor again, snapshot, reconcile
//!                          out of service
//! ```
//!
//! The carrier calls [`Session::step`], commits the record, then carries out the effects in order. It calls `step` with
//! [`Input::Tick`] when [`Session::deadline`] passes. After a restart or a takeover [`Session::resume`] says what to do from
//! the record alone.

mod pbx;
mod report;
mod request;
mod service;
mod settle;
#[cfg(feature = "mutants")]
mod spoil;

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

pub use self::pbx::Pbx;
pub(super) use self::request::{interval_too_small, is_csta, record_routes, unknown_extension, warning};
use super::call::Calls;
use super::dialog::Dialog;
use super::directory::Appearance;
use super::effect::{Effect, EndReason};
use super::input::{Input, Retire};
use super::outbox::{Outbox, Outgoing};
use super::profile::Profile;
use super::rules::Rules;
use super::transaction::{AnsweredRing, Open};
use crate::csta::{ConnectionId, Service};
use crate::id::{Moment, SessionId};
use crate::machine::ask::AskId;

/// Monitors one dialog may hold.
pub const MONITORS_MAX: usize = 8;

/// The record of a session. What a newer release wrote into it survives in its envelope.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    pub id: SessionId,
    pub appearance: Appearance,
    /// The line URI byte for byte as the client writes it: the client compares strings.
    pub line: String,
    pub profile: Profile,
    /// The CTI link this session lives on, by name.
    pub link: String,
    pub dialog: Dialog,
    /// When the user signed in: of two sessions of one endpoint the later one stays.
    #[serde(default)]
    pub began: Moment,
    pub monitors: Vec<Monitor>,
    /// What the PBX says is true, in the client's words.
    pub calls: Calls,
    /// What the client has been told.
    pub shown: Calls,
    /// Client call id → PBX call id, where they differ.
    pub natives: BTreeMap<String, String>,
    pub asked: Vec<Asked>,
    /// Requests that wait for the link to be usable.
    pub waiting: Vec<Waiting>,
    pub answered: AnsweredRing,
    pub outbox: Outbox,
    pub unconfirmed: Option<Box<Unconfirmed>>,
    pub keepalive_at: Option<Moment>,
    /// The client has been told OutOfService and not yet BackInService.
    pub is_out_of_service: bool,
    next_ask: u64,
    next_xref: u32,
    #[serde(skip)]
    pub pbx: Pbx,
}

/// A monitor as the client knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Monitor {
    pub xref: String,
    /// Events are written in the namespace of MonitorStart.
    pub namespace: String,
}

/// A client's service that was put to the PBX and has no outcome yet. It is recorded before it is sent and never sent
/// again: at most once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    pub ask: AskId,
    pub open: Open,
    pub namespace: String,
    /// In the PBX's words.
    pub service: Service,
    /// The INFO is answered by then, come what may.
    pub answer_by: Moment,
    /// The link was lost or the PBX was silent: only a snapshot can tell whether it happened.
    pub is_unsettled: bool,
    /// The call a snapshot showed to carry this command's intent.
    pub found: Option<ConnectionId>,
    /// When a snapshot first did not show it done.
    #[serde(default)]
    pub missed_at: Option<Moment>,
}

/// A client's service that came while the link was not ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    pub open: Open,
    pub namespace: String,
    pub service: Service,
    pub until: Moment,
}

/// The 200 to the INVITE, repeated until it is confirmed (RFC 3261 §13.3.1.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unconfirmed {
    pub open: Open,
    pub record_routes: Vec<String>,
    pub body: String,
    pub repeat_at: Moment,
    pub interval_ms: u64,
    pub give_up_at: Moment,
}

/// What a step needs beside the record: read-only.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub rules: &'a Rules,
    pub now: Moment,
}

impl Session {
    /// A session just signed in; see [`super::sign_in`].
    pub(super) fn new(
        id: SessionId,
        appearance: Appearance,
        line: String,
        profile: Profile,
        link: String,
        dialog: Dialog,
    ) -> Self {
        Self {
            id,
            appearance,
            line,
            profile,
            link,
            dialog,
            began: Moment::default(),
            monitors: Vec::new(),
            calls: Calls::default(),
            shown: Calls::default(),
            natives: BTreeMap::new(),
            asked: Vec::new(),
            waiting: Vec::new(),
            answered: AnsweredRing::default(),
            outbox: Outbox::default(),
            unconfirmed: None,
            keepalive_at: None,
            is_out_of_service: false,
            next_ask: 1,
            next_xref: 1,
            pbx: Pbx::default(),
        }
    }

    /// Takes one input. Total: each input has an answer in every state, and no data makes it panic.
    pub fn step(&mut self, cx: Context<'_>, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        let had_calls = !self.calls.is_empty();
        match input {
            Input::Request { flow, message } => self.on_request(cx, flow, &message, &mut effects),
            Input::Response { message } => self.on_response(cx, &message, &mut effects),
            Input::Undeliverable { cseq } => self.on_undeliverable(cx, cseq, &mut effects),
            Input::Reachable => {
                self.outbox_heard();
                self.pump(cx, &mut effects);
            }
            Input::LinkUp { features } => self.on_link_up(cx, features, &mut effects),
            Input::LinkDown => self.on_link_down(cx, &mut effects),
            Input::Settled { ask, result } => self.on_settled(cx, ask, result, &mut effects),
            Input::PbxEvent { event } => self.on_pbx_event(cx, event, &mut effects),
            Input::Missed => self.on_missed(cx, &mut effects),
            Input::Tick => self.on_tick(cx, &mut effects),
            Input::Retire { why: Retire::Superseded } => effects.push(Effect::End(EndReason::Superseded)),
            Input::Retire { why: Retire::Closed } => self.bye(cx, EndReason::Closed, &mut effects),
        }
        if had_calls == self.calls.is_empty() {
            effects.push(Effect::HasCalls(!had_calls));
        }
        if let Some(end) = effects.iter().position(|effect| matches!(effect, Effect::End(_))) {
            effects.truncate(end + 1);
        }
        self.give_back();
        effects
    }

    /// An idle session keeps no room for what it is not doing: four open requests cost more than all it must remember.
    fn give_back(&mut self) {
        if self.asked.is_empty() {
            self.asked = Vec::new();
        }
        if self.waiting.is_empty() {
            self.waiting = Vec::new();
        }
        if self.outbox.waiting.is_empty() {
            self.outbox.waiting = VecDeque::new();
        }
        self.monitors.shrink_to_fit();
        self.answered.give_back();
    }

    /// When to call `step` with `Tick` at the latest.
    pub fn deadline(&self) -> Moment {
        let mut first = self.dialog.expires_at;
        let mut consider = |moment: Moment| first = first.min(moment);
        self.outbox.deadline().map(&mut consider);
        self.keepalive_at.map(&mut consider);
        self.asked.iter().for_each(|asked| consider(asked.answer_by));
        self.waiting.iter().for_each(|waiting| consider(waiting.until));
        if let Some(unconfirmed) = &self.unconfirmed {
            consider(unconfirmed.repeat_at.min(unconfirmed.give_up_at));
        }
        self.pbx.deadline().map(&mut consider);
        first
    }

    /// What to do after a restart or a takeover, from the record alone: what was on the wire goes out again byte for byte
    /// (a repetition to the far side), and services that were asked wait for a snapshot. The carrier then binds to the link,
    /// whose word starts the re-monitoring.
    pub fn resume(&mut self, cx: Context<'_>) -> Vec<Effect> {
        let mut effects = Vec::new();
        for asked in &mut self.asked {
            asked.is_unsettled = true;
        }
        #[cfg(feature = "mutants")]
        self.spoil(cx, &mut effects);
        self.repeat_in_flight(cx, &mut effects);
        self.pump(cx, &mut effects);
        effects
    }

    fn on_tick(&mut self, cx: Context<'_>, effects: &mut Vec<Effect>) {
        if cx.now >= self.dialog.expires_at {
            self.bye(cx, EndReason::Expired, effects);
            return;
        }
        self.tick_unconfirmed(cx, effects);
        self.tick_asked(cx, effects);
        self.tick_waiting(cx, effects);
        self.tick_pbx(cx, effects);
        self.tick_outbox(cx, effects);
        if self.keepalive_at.is_some_and(|at| cx.now >= at) {
            self.keepalive_at = Some(cx.now.after_ms(u64::from(cx.rules.keepalive_s) * 1000));
            if !self.outbox.waiting.contains(&Outgoing::KeepAlive) {
                self.outbox.push(Outgoing::KeepAlive);
            }
        }
        self.pump(cx, effects);
    }

    /// Ends the dialog from our side (RFC 3261 §15.1.1), best effort.
    fn bye(&mut self, cx: Context<'_>, why: EndReason, effects: &mut Vec<Effect>) {
        self.give_up_number();
        let (message, next_hop) = self.dialog.request("BYE", cx.rules, None, true);
        effects.push(Effect::Send { message, next_hop });
        effects.push(Effect::End(why));
    }

    fn next_ask(&mut self) -> AskId {
        let ask = AskId(self.next_ask);
        self.next_ask += 1;
        ask
    }
}
