//! What a snapshot says, and how the client is brought to it.

use super::super::{Context, Session};
use super::{Sync, TRUTH_RETRY_MS, Truth, View};
use crate::csta::{CallInSnapshot, ConnectionId, DeviceRef, EventBody, Failure, LocalState, Outcome, Service};
use crate::machine::call::{CALLS_MAX, Call};
use crate::machine::effect::{Effect, Note};
use crate::machine::reconcile::reconcile;

impl Session {
    pub(super) fn ask_calls(&mut self, cx: Context<'_>, calls: Vec<CallInSnapshot>, effects: &mut Vec<Effect>) {
        let has_strangers = calls.len() > CALLS_MAX;
        self.ask_each(cx, calls, Truth { has_strangers, ..Truth::default() }, effects);
    }

    /// Where a device's calls are not listed, or would come in parts: each call that was known is asked for, so that those that
    /// ended are cleared. One that began unseen stays unseen until its next event, so a MakeCall whose answer was lost is never
    /// settled from this. Where there is no SnapshotCall either nothing can be verified: the client goes on seeing what it saw,
    /// which may be a ghost, until an event tells otherwise. Events that came meanwhile are kept and told afterwards.
    pub(super) fn ask_known_calls(&mut self, cx: Context<'_>, effects: &mut Vec<Effect>) {
        let device = self.appearance.device.clone();
        let known = self.calls.0.iter().map(|(id, call)| CallInSnapshot {
            connection: ConnectionId::new(self.native_call(id), device.clone()),
            states: vec![call.local],
        });
        let known = known.collect();
        let truth = Truth { has_strangers: true, is_from_memory: true, ..Truth::default() };
        self.ask_each(cx, known, truth, effects);
    }

    fn ask_each(&mut self, cx: Context<'_>, calls: Vec<CallInSnapshot>, truth: Truth, effects: &mut Vec<Effect>) {
        let mut open = Vec::new();
        for call in calls.into_iter().take(CALLS_MAX) {
            if call.states.first() == Some(&LocalState::Null) {
                continue;
            }
            let ask = self.invoke(cx, Service::SnapshotCall { call: call.connection.clone() }, effects);
            open.push((ask, call));
        }
        if open.is_empty() {
            self.truth_known(cx, truth, effects);
        } else {
            self.pbx.view = View::Syncing(Sync::Calls { open, truth });
        }
    }

    /// One call of the snapshot, in the client's words. Without a usable SnapshotCall answer what SnapshotDevice said must do.
    pub(super) fn take_snapshot(
        &mut self,
        cx: Context<'_>,
        found: &CallInSnapshot,
        answer: Option<Outcome>,
        truth: &mut Truth,
    ) {
        let id = self.client_call(&found.connection.call);
        let mut call = Call::new(found.states.first().copied().unwrap_or(LocalState::Connected));
        if truth.is_from_memory {
            match &answer {
                // Our own connection is among the parties, or there is none any more.
                Some(Outcome::SnapshotCall { parties, .. }) if !parties.is_empty() => call.local = LocalState::Null,
                Some(Outcome::Failed(failure)) if failure.means_no_such_call() => return,
                _ => {
                    let is_refused_now = |failure: &Failure| *failure != Failure::service_not_supported();
                    match &answer {
                        None => truth.is_silent = true,
                        Some(Outcome::Failed(failure)) if is_refused_now(failure) => {
                            self.pbx.retry_at = self.pbx.retry_at.or(Some(cx.now.after_ms(TRUTH_RETRY_MS)));
                        }
                        Some(_) => {}
                    }
                    truth.unverified.insert(id.clone());
                }
            }
        }
        let mut is_stranger = !self.calls.contains(&id);
        if let Some(known) = self.calls.0.get(&id) {
            call.calling = known.calling.clone();
            call.called = known.called.clone();
            if !matches!(&answer, Some(Outcome::SnapshotCall { parties, .. }) if !parties.is_empty()) {
                call.parties = known.parties.clone();
            }
        }
        if let Some(Outcome::SnapshotCall { parties, calling, called, correlator }) = answer {
            // What we have been told once is not forgotten because a snapshot leaves it out.
            if let Some(calling) = calling.filter(|calling| *calling != DeviceRef::NotKnown) {
                call.calling = self.show_device(cx, calling);
            }
            if let Some(called) = called.filter(|called| *called != DeviceRef::NotKnown) {
                call.called = self.show_device(cx, called);
            }
            let is_incoming = call.calling.as_device().is_some_and(|calling| calling != self.line);
            is_stranger &= correlator.is_none() && !is_incoming;
            for party in parties {
                let device = match party.device {
                    DeviceRef::Device(device) => device,
                    DeviceRef::NotKnown | DeviceRef::Restricted => party.connection.device,
                };
                let state = party.state.unwrap_or(LocalState::Connected);
                if device == self.appearance.device {
                    call.local = state;
                } else if !device.is_empty() && state != LocalState::Null {
                    // A far connection that is being set up is, to the client, one that rings.
                    let state = if state == LocalState::Initiated { LocalState::Alerting } else { state };
                    call.parties.insert(self.show_text(cx, &device), state);
                }
            }
            if let Some(correlator) = correlator {
                self.settle_by_intent(&correlator, &found.connection);
            }
        }
        truth.has_strangers |= is_stranger;
        if call.local != LocalState::Null {
            truth.calls.0.insert(id, call);
        }
    }

    /// The truth is here: settle what was open, tell the client the difference, let what waited go on.
    pub(super) fn truth_known(&mut self, cx: Context<'_>, truth: Truth, effects: &mut Vec<Effect>) {
        self.settle(cx, &truth, effects);
        let mut truth = truth.calls;
        // Calls whose beginning was answered after the snapshot was taken; their events follow.
        for call in std::mem::take(&mut self.pbx.begun) {
            if let Some(known) = self.calls.0.get(&call).filter(|_| !truth.contains(&call)) {
                truth.0.insert(call, known.clone());
            }
        }
        if std::mem::take(&mut self.pbx.is_first_look) && !cx.rules.switches(&self.dialog.user_agent).catch_up_events {
            self.calls = truth.clone();
            self.shown = truth;
        } else {
            let events = reconcile(&self.line, &self.calls, &truth);
            if !events.is_empty() {
                effects.push(Effect::Note(Note::Reconciled { events: events.len() }));
            }
            for event in events {
                self.report(cx, event, effects);
            }
            self.calls = truth;
        }
        self.natives.retain(|ours, _| self.calls.contains(ours));
        self.pbx.view = View::Up;
        self.replay_synced(cx, effects);
        if std::mem::take(&mut self.pbx.again) {
            return self.ask_snapshot(cx, effects);
        }
        self.sync_done(cx, effects);
    }

    /// What came while the truth was asked for; an event of a call still being placed goes on waiting.
    pub(super) fn replay_synced(&mut self, cx: Context<'_>, effects: &mut Vec<Effect>) {
        for event in std::mem::take(&mut self.pbx.early) {
            if self.is_early(&event) {
                self.pbx.early.push_back(event);
            } else {
                self.replay(cx, event, effects);
            }
        }
    }

    /// An event that may be in the snapshot already: it is told only when it changes something.
    fn replay(&mut self, cx: Context<'_>, event: EventBody, effects: &mut Vec<Effect>) {
        let mut after = self.calls.clone();
        after.apply(&self.line, &event);
        if after != self.calls || event.call().is_none() {
            self.report(cx, event, effects);
        }
    }
}
