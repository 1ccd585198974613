//! The PBX's side of a session: its monitor, its snapshot, its events.
//!
//! ```text
//!   Unknown ──LinkUp──▶ Up ◀─────────────────────────────┐
//!      │                │ monitor wanted                 │ truth known: reconcile, Recovered
//!      │ LinkDown       ▼                                │
//!      ▼           Syncing: MonitorStart ▶ SnapshotDevice ▶ SnapshotCall × n: what it listed, else what we knew
//!     Down ◀─LinkDown── (from anywhere); LinkUp ▶ Syncing
//! ```
//!
//! None of this is in the record: it belongs to one link generation, and is found out anew after a takeover.

mod events;
mod truth;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::{Context, MONITORS_MAX, Session};
use crate::csta::{CallInSnapshot, DeviceRef, EventBody, Failure, Features, MonitorObject, Outcome, Service};
use crate::id::Moment;
use crate::machine::ask::{AskId, LinkFailed};
use crate::machine::call::{CALLS_MAX, Calls};
use crate::machine::effect::{Effect, Note};
use crate::machine::reconcile::reconcile;
use crate::mutant::{Mutant, mutant};

/// Events kept while a snapshot is on its way, or while a MakeCall has no answer yet.
pub const EARLY_MAX: usize = 64;
/// A refused monitor or snapshot is tried again after this time.
pub const TRUTH_RETRY_MS: u64 = 30_000;
/// One that got no answer: until there is one the client's view may be wrong, and its open commands are unsettled.
pub const SILENCE_RETRY_MS: u64 = 3_000;

/// See the diagram above.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pbx {
    view: View,
    /// The PBX's cross-reference id, of this generation.
    xref: Option<String>,
    features: Option<Arc<Features>>,
    /// Events that came before what they are about.
    early: VecDeque<EventBody>,
    /// Calls that began while the parts of a snapshot were under way.
    begun: Vec<String>,
    /// Our MonitorStop is not settled yet.
    stopping: Option<AskId>,
    /// The snapshot is wanted again when the present one is done.
    again: bool,
    retry_at: Option<Moment>,
    /// The client's first monitor was granted by the synchronisation under way.
    is_first_look: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
enum View {
    /// Bound; the link has not said yet.
    #[default]
    Unknown,
    Down {
        since: Moment,
    },
    Up,
    Syncing(Sync),
}

#[derive(Clone, Debug, PartialEq)]
enum Sync {
    Monitor(AskId),
    Snapshot(AskId),
    Calls { open: Vec<(AskId, CallInSnapshot)>, truth: Truth },
}

/// What a snapshot says so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Truth {
    pub calls: Calls,
    /// There is a call we did not know and cannot place, or there may be: it may be one that a lost MakeCall made.
    pub has_strangers: bool,
    /// The PBX lists no calls of a device: it was asked for each call we knew.
    pub is_from_memory: bool,
    /// Calls of which not even that could be had: they stay as they were, and no command on them can be settled.
    pub unverified: BTreeSet<String>,
    /// The PBX was silent about one of these: it will be asked again.
    pub is_silent: bool,
}

impl Pbx {
    pub(super) fn is_down(&self) -> bool {
        matches!(self.view, View::Down { .. })
    }

    pub(super) fn is_down_longer_than(&self, ms: u64, now: Moment) -> bool {
        matches!(self.view, View::Down { since } if since.after_ms(ms) <= now)
    }

    /// Commands may go to the PBX.
    pub(super) fn is_ready(&self) -> bool {
        self.view == View::Up
    }

    pub(super) fn is_monitored(&self) -> bool {
        self.xref.is_some()
    }

    pub(super) fn features(&self) -> Option<&Features> {
        self.features.as_deref()
    }

    pub(super) fn is_ours(&self, ask: AskId) -> bool {
        self.stopping == Some(ask)
            || match &self.view {
                View::Syncing(Sync::Monitor(own) | Sync::Snapshot(own)) => *own == ask,
                View::Syncing(Sync::Calls { open, .. }) => open.iter().any(|(own, _)| *own == ask),
                _ => false,
            }
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        self.retry_at
    }

    /// At the latest then the truth is asked for again.
    pub(super) fn look_again_at(&mut self, at: Moment) {
        self.retry_at = Some(self.retry_at.map_or(at, |set| set.min(at)));
    }
}

impl Pbx {
    /// A call began with an answer: the snapshot under way may have been taken before it.
    pub(super) fn call_began(&mut self, call: &str) {
        if matches!(self.view, View::Syncing(Sync::Calls { .. })) && self.begun.len() < CALLS_MAX {
            self.begun.push(call.to_owned());
        }
    }
}

impl Session {
    /// What the PBX behind its link said before: a session may be asked for it before its link tells it that it is up.
    pub fn is_offered(&mut self, features: Option<Arc<Features>>) {
        self.pbx.features = features;
    }

    pub(super) fn on_link_up(&mut self, cx: Context<'_>, features: Option<Arc<Features>>, effects: &mut Vec<Effect>) {
        self.pbx.features = features;
        self.pbx.xref = None;
        self.pbx.stopping = None;
        self.pbx.early.clear();
        self.pbx.again = false;
        self.pbx.view = View::Up;
        self.lose_asked(cx, effects);
        if self.monitors.is_empty() && !self.waiting.iter().any(|w| matches!(w.service, Service::MonitorStart { .. })) {
            self.pbx.retry_at = None;
            self.settle_without_truth(cx, effects);
            effects.push(Effect::Recovered);
            self.back_in_service(cx, effects);
            self.serve_waiting(cx, effects);
        } else {
            self.start_sync(cx, effects);
        }
        self.pump(cx, effects);
    }

    /// Calls are frozen, not cleared: they live on without us.
    pub(super) fn on_link_down(&mut self, cx: Context<'_>, effects: &mut Vec<Effect>) {
        if !self.pbx.is_down() {
            self.pbx.view = View::Down { since: cx.now };
        }
        self.pbx.xref = None;
        self.pbx.early.clear();
        self.lose_asked(cx, effects);
        self.pbx.retry_at = (!self.is_out_of_service).then(|| cx.now.after_ms(cx.rules.out_of_service_after_ms));
        self.serve_waiting(cx, effects);
        self.pump(cx, effects);
    }

    /// Somewhere events were lost, or a command has no answer: ask for the truth.
    pub(super) fn on_missed(&mut self, cx: Context<'_>, effects: &mut Vec<Effect>) {
        match &self.pbx.view {
            View::Up if self.pbx.is_monitored() => self.ask_snapshot(cx, effects),
            View::Up => {
                self.settle_without_truth(cx, effects);
                effects.push(Effect::Recovered);
            }
            View::Syncing(_) => self.pbx.again = true,
            View::Unknown | View::Down { .. } => {}
        }
    }

    pub(super) fn sync_if_needed(&mut self, cx: Context<'_>, effects: &mut Vec<Effect>) {
        if self.pbx.view == View::Up && !self.pbx.is_monitored() {
            self.start_sync(cx, effects);
        }
    }

    fn start_sync(&mut self, cx: Context<'_>, effects: &mut Vec<Effect>) {
        if mutant(Mutant::MonitorNotRemade) && !self.monitors.is_empty() {
            return self.sync_done(cx, effects);
        }
        self.pbx.retry_at = None;
        let object = MonitorObject::Device(self.appearance.device.clone());
        let ask = self.invoke(cx, Service::MonitorStart { object, line: None }, effects);
        self.pbx.view = View::Syncing(Sync::Monitor(ask));
    }

    fn ask_snapshot(&mut self, cx: Context<'_>, effects: &mut Vec<Effect>) {
        let ask = self.invoke(cx, Service::SnapshotDevice { device: self.appearance.device.clone() }, effects);
        self.pbx.view = View::Syncing(Sync::Snapshot(ask));
        self.pbx.begun.clear();
        self.pbx.retry_at = None;
    }

    fn invoke(&mut self, cx: Context<'_>, service: Service, effects: &mut Vec<Effect>) -> AskId {
        let ask = self.next_ask();
        effects.push(Effect::Invoke { ask, service, deadline: cx.now.after_ms(cx.rules.request_timeout_ms) });
        ask
    }

    pub(super) fn stop_pbx_monitor(&mut self, cx: Context<'_>, effects: &mut Vec<Effect>) {
        // With or without a link: what the client knew of its calls it knew by this monitor.
        self.calls = Calls::default();
        self.shown = Calls::default();
        self.natives.clear();
        self.pbx.early.clear();
        self.is_out_of_service = false;
        let Some(xref) = self.pbx.xref.take() else { return };
        let ask = self.invoke(cx, Service::MonitorStop { xref }, effects);
        self.pbx.stopping = Some(ask);
        if matches!(self.pbx.view, View::Syncing(_)) {
            self.settle_without_truth(cx, effects);
            self.sync_done(cx, effects);
        }
    }

    pub(super) fn on_own_settled(
        &mut self,
        cx: Context<'_>,
        ask: AskId,
        result: Result<Outcome, LinkFailed>,
        effects: &mut Vec<Effect>,
    ) {
        if self.pbx.stopping == Some(ask) {
            self.pbx.stopping = None;
            return;
        }
        match (std::mem::take(&mut self.pbx.view), result) {
            // The link's own word follows.
            (view, Err(LinkFailed::Lost)) => self.pbx.view = view,
            (View::Syncing(Sync::Monitor(_)), Ok(Outcome::MonitorStart { xref, .. })) => {
                self.pbx.xref = Some(xref);
                self.grant_waiting_monitors(cx, effects);
                self.ask_snapshot(cx, effects);
                if self.monitors.is_empty() {
                    // The client gave up waiting, or stopped its monitor meanwhile.
                    self.stop_pbx_monitor(cx, effects);
                }
            }
            (View::Syncing(Sync::Monitor(_)), refused) => {
                let is_silent = refused.is_err();
                let failure = match refused {
                    Ok(Outcome::Failed(failure)) => failure,
                    _ => Failure::resource_out_of_service(),
                };
                self.refuse_waiting_monitors(cx, &failure, effects);
                effects.push(Effect::Note(Note::MonitorFailed));
                if !self.monitors.is_empty() {
                    self.pbx.retry_at =
                        Some(cx.now.after_ms(if is_silent { SILENCE_RETRY_MS } else { TRUTH_RETRY_MS }));
                }
                if !is_silent || self.monitors.is_empty() {
                    self.settle_without_truth(cx, effects);
                }
                self.sync_done(cx, effects);
            }
            (View::Syncing(Sync::Snapshot(_)), Ok(Outcome::SnapshotDevice { calls, service_xref: None })) => {
                self.pbx.early.clear();
                self.ask_calls(cx, calls, effects);
            }
            (View::Syncing(Sync::Snapshot(_)), failed) => {
                effects.push(Effect::Note(Note::SnapshotFailed));
                match failed {
                    // What is unsettled stays open until it is asked again, or until its own time has come.
                    Err(_) => self.pbx.retry_at = Some(cx.now.after_ms(SILENCE_RETRY_MS)),
                    // A PBX without the service will not learn it, nor one that would answer in parts.
                    Ok(Outcome::SnapshotDevice { .. }) => return self.ask_known_calls(cx, effects),
                    Ok(Outcome::Failed(failure)) if failure == Failure::service_not_supported() => {
                        return self.ask_known_calls(cx, effects);
                    }
                    Ok(_) => {
                        self.pbx.retry_at = Some(cx.now.after_ms(TRUTH_RETRY_MS));
                        self.settle_without_truth(cx, effects);
                    }
                }
                self.sync_done(cx, effects);
            }
            (View::Syncing(Sync::Calls { mut open, mut truth }), result) => {
                if let Some(at) = open.iter().position(|(own, _)| *own == ask) {
                    let (_, call) = open.remove(at);
                    if result.is_err() {
                        self.pbx.retry_at = Some(cx.now.after_ms(SILENCE_RETRY_MS));
                    }
                    self.take_snapshot(cx, &call, result.ok(), &mut truth);
                }
                if open.is_empty() {
                    self.truth_known(cx, truth, effects);
                } else {
                    self.pbx.view = View::Syncing(Sync::Calls { open, truth });
                }
            }
            (view, _) => self.pbx.view = view,
        }
    }

    fn sync_done(&mut self, cx: Context<'_>, effects: &mut Vec<Effect>) {
        self.pbx.view = View::Up;
        self.pbx.again = false;
        self.replay_synced(cx, effects);
        effects.push(Effect::Recovered);
        if self.pbx.is_monitored() {
            self.back_in_service(cx, effects);
        }
        self.serve_waiting(cx, effects);
    }

    fn grant_waiting_monitors(&mut self, cx: Context<'_>, effects: &mut Vec<Effect>) {
        self.pbx.is_first_look = self.monitors.is_empty();
        for waiting in self.take_waiting_monitors() {
            if self.monitors.len() < MONITORS_MAX {
                self.grant_monitor(cx, &waiting.open, waiting.namespace, effects);
            } else {
                let failure = Outcome::Failed(Failure::object_monitor_limit_exceeded());
                self.answer_service(cx, &waiting.open, &waiting.namespace, failure, effects);
            }
        }
    }

    fn refuse_waiting_monitors(&mut self, cx: Context<'_>, failure: &Failure, effects: &mut Vec<Effect>) {
        for waiting in self.take_waiting_monitors() {
            self.answer_service(cx, &waiting.open, &waiting.namespace, Outcome::Failed(failure.clone()), effects);
        }
    }

    fn take_waiting_monitors(&mut self) -> Vec<super::Waiting> {
        self.waiting.extract_if(.., |waiting| matches!(waiting.service, Service::MonitorStart { .. })).collect()
    }

    /// After the answer that carries the cross-reference id: what this monitor's client must know at once.
    pub(super) fn monitor_granted(&mut self, cx: Context<'_>, xref: &str, effects: &mut Vec<Effect>) {
        if cx.rules.switches(&self.dialog.user_agent).catch_up_events {
            for event in reconcile(&self.line, &Calls::default(), &self.calls.clone()) {
                self.enqueue_for(xref, event, effects);
            }
        } else if self.monitors.len() == 1 {
            self.shown = self.calls.clone();
        }
        if self.pbx.is_down() && self.is_out_of_service {
            self.enqueue_for(xref, self.out_of_service_event(), effects);
        } else if self.pbx.is_down() {
            self.out_of_service(cx, effects);
        }
    }

    fn out_of_service_event(&self) -> EventBody {
        EventBody::OutOfService { device: DeviceRef::device(self.line.as_str()), cause: Some("maintenance".into()) }
    }

    fn out_of_service(&mut self, cx: Context<'_>, effects: &mut Vec<Effect>) {
        if self.is_out_of_service || self.monitors.is_empty() {
            return;
        }
        self.is_out_of_service = true;
        self.enqueue(cx, self.out_of_service_event(), effects);
    }

    fn back_in_service(&mut self, cx: Context<'_>, effects: &mut Vec<Effect>) {
        if std::mem::take(&mut self.is_out_of_service) {
            let device = DeviceRef::device(self.line.as_str());
            self.enqueue(cx, EventBody::BackInService { device, cause: Some("normal".into()) }, effects);
        }
    }

    pub(super) fn tick_pbx(&mut self, cx: Context<'_>, effects: &mut Vec<Effect>) {
        if self.pbx.retry_at.is_none_or(|at| cx.now < at) {
            return;
        }
        self.pbx.retry_at = None;
        match self.pbx.view {
            View::Down { .. } => self.out_of_service(cx, effects),
            View::Up if self.pbx.is_monitored() => self.ask_snapshot(cx, effects),
            View::Up if !self.monitors.is_empty() => self.start_sync(cx, effects),
            _ => {}
        }
    }
}
