//! Reporting: events to the client, one INFO in flight, and what each answer to it means (rcc sheet 1.6, 1.9).

use super::request::xml;
use super::{Context, Session};
use crate::csta::{Event, EventBody, LocalState, Payload};
use crate::machine::call::{CALLS_MAX, Call};
use crate::machine::effect::{Effect, EndReason, Note};
use crate::machine::outbox::{InFlight, Lane, Outgoing, REPEATS_MAX, REST_TOTAL_MAX_MS};
use crate::machine::reconcile::reconcile;
use crate::machine::rules::TIMER_F_MS;
use crate::sip::Message;

/// First rest after a temporary failure, and the longest one.
const REST_MIN_MS: u64 = 1_000;
const REST_MAX_MS: u64 = 16_000;

impl Session {
    /// Takes an event, in the client's words, into the truth and on its way to the client.
    pub(super) fn report(&mut self, cx: Context<'_>, mut event: EventBody, effects: &mut Vec<Effect>) {
        let line = self.line.clone();
        self.complete_join(&mut event);
        let ended: Vec<String> = match &event {
            EventBody::Transferred { primary, secondary, local: Some(LocalState::Null), .. } => {
                let secondary = secondary.iter().map(|connection| connection.call.clone());
                std::iter::once(primary.call.clone()).chain(secondary).collect()
            }
            _ => Vec::new(),
        };
        self.calls.apply(&line, &event);
        if event.local().is_none() {
            let state = |call| self.calls.0.get(call).map_or(LocalState::Null, |call| call.local);
            let now = event.call().map(state);
            event.set_local(now);
        }
        self.natives.retain(|ours, _| self.calls.contains(ours) || ended.contains(ours));
        self.enqueue(cx, event, effects);
        if cx.rules.switches(&self.dialog.user_agent).extra_clear_after_transfer {
            for call in ended {
                let event = EventBody::ConnectionCleared {
                    connection: crate::csta::ConnectionId::new(call, line.as_str()),
                    releasing: crate::csta::DeviceRef::device(line.as_str()),
                    local: Some(LocalState::Null),
                    cause: "normalClearing".into(),
                };
                self.enqueue(cx, event, effects);
            }
        }
    }

    /// A transfer or conference without localConnectionInfo: whoever transfers leaves, everybody else stays as he was. It
    /// cannot be looked up afterwards, because the call goes on under another id.
    fn complete_join(&self, event: &mut EventBody) {
        if event.local().is_some() {
            return;
        }
        let (primary, secondary, leaves) = match &*event {
            EventBody::Transferred { primary, secondary, transferring, .. } => {
                (primary, secondary, transferring.as_device() == Some(self.line.as_str()))
            }
            EventBody::Conferenced { primary, secondary, .. } => (primary, secondary, false),
            _ => return,
        };
        let state = |call: &str| self.calls.0.get(call).map(|call| call.local);
        let was = state(&primary.call).or_else(|| secondary.as_ref().and_then(|old| state(&old.call)));
        let now = if leaves { LocalState::Null } else { was.unwrap_or(LocalState::Connected) };
        event.set_local(Some(now));
    }

    /// One INFO for each of the client's monitors.
    pub(super) fn enqueue(&mut self, cx: Context<'_>, event: EventBody, effects: &mut Vec<Effect>) {
        let is_hidden = matches!(event, EventBody::ServiceInitiated { .. })
            && !cx.rules.switches(&self.dialog.user_agent).service_initiated;
        if is_hidden {
            return;
        }
        let mut fits = true;
        for monitor in &self.monitors {
            let xref = monitor.xref.clone();
            fits &= self.outbox.push(Outgoing::Event { xref, body: Box::new(event.clone()) });
        }
        if !fits {
            effects.push(Effect::Note(Note::OutboxOverflow));
        }
    }

    /// One INFO for one monitor.
    pub(super) fn enqueue_for(&mut self, xref: &str, event: EventBody, effects: &mut Vec<Effect>) {
        if !self.outbox.push(Outgoing::Event { xref: xref.to_owned(), body: Box::new(event) }) {
            effects.push(Effect::Note(Note::OutboxOverflow));
        }
    }

    /// A call that begins with an answer of ours: the client knows its id from there.
    pub(super) fn begin_call(&mut self, connection: &crate::csta::ConnectionId) {
        if connection.call.is_empty() || self.calls.0.len() >= CALLS_MAX {
            return;
        }
        self.pbx.call_began(&connection.call);
        for view in [&mut self.calls, &mut self.shown] {
            view.0.entry(connection.call.clone()).or_insert_with(|| Call::new(LocalState::Initiated));
        }
    }

    /// A monitor is gone: its events are not told any more, not even the one that rests between two attempts.
    pub(super) fn drop_events_of(&mut self, gone: &str) {
        self.outbox.drop_events(|outgoing| matches!(outgoing, Outgoing::Event { xref, .. } if xref == gone));
        if self.outbox.returned.is_none() && !matches!(self.outbox.lane, Lane::Resting { .. }) {
            self.give_up_number();
        }
    }

    pub(super) fn start_keepalive(&mut self, cx: Context<'_>) {
        if cx.rules.keepalive_s > 0 {
            self.keepalive_at = Some(cx.now.after_ms(u64::from(cx.rules.keepalive_s) * 1000));
        }
    }

    /// Sends the next event if nothing is in flight.
    pub(super) fn pump(&mut self, cx: Context<'_>, effects: &mut Vec<Effect>) {
        if self.outbox.lane != Lane::Idle {
            return;
        }
        if self.outbox.is_stale && !self.monitors.is_empty() && !self.outbox.has_call_events() {
            self.catch_up_after_overflow(cx, effects);
        }
        let Some(outgoing) = self.outbox.pop() else { return };
        self.send(cx, outgoing, effects);
    }

    /// The difference between what the client saw and what is true, as much of it as the queue takes; the rest follows when
    /// that is told.
    fn catch_up_after_overflow(&mut self, cx: Context<'_>, effects: &mut Vec<Effect>) {
        let mut events = reconcile(&self.line, &self.shown, &self.calls);
        let room = self.outbox.room() / self.monitors.len();
        self.outbox.is_stale = events.len() > room;
        events.truncate(room);
        effects.push(Effect::Note(Note::Reconciled { events: events.len() }));
        let is_stale = std::mem::take(&mut self.outbox.is_stale);
        for event in events {
            self.enqueue(cx, event, effects);
        }
        self.outbox.is_stale |= is_stale;
    }

    /// A number that was kept for an event is not given to anything else.
    pub(super) fn give_up_number(&mut self) {
        if std::mem::take(&mut self.outbox.is_numbered) {
            self.dialog.local_cseq += 1;
        }
    }

    fn send(&mut self, cx: Context<'_>, outgoing: Outgoing, effects: &mut Vec<Effect>) {
        match outgoing {
            Outgoing::RepairRoute => self.give_up_number(),
            _ => self.outbox.is_numbered = false,
        }
        let (message, next_hop) = match &outgoing {
            Outgoing::Event { xref, body } => {
                let is_first = self.monitors.first().is_some_and(|monitor| monitor.xref == *xref);
                if is_first {
                    let line = self.line.clone();
                    self.shown.apply(&line, body);
                }
                let xml = self.event_xml(xref, body);
                self.dialog.request("INFO", cx.rules, Some(&xml), true)
            }
            Outgoing::KeepAlive => self.dialog.request("INFO", cx.rules, None, true),
            Outgoing::RepairRoute => self.dialog.request("UPDATE", cx.rules, None, false),
        };
        let wait_ms = match &outgoing {
            Outgoing::RepairRoute => TIMER_F_MS,
            _ => cx.rules.event_wait_ms,
        };
        let cseq = self.dialog.local_cseq;
        self.outbox.lane = Lane::InFlight(InFlight { cseq, outgoing, wait_until: cx.now.after_ms(wait_ms) });
        self.start_keepalive(cx);
        effects.push(Effect::Send { message, next_hop });
    }

    fn event_xml(&self, xref: &str, body: &EventBody) -> String {
        let monitor = self.monitors.iter().find(|monitor| monitor.xref == xref).or(self.monitors.first());
        let namespace = monitor.map_or("", |monitor| monitor.namespace.as_str());
        xml(&Payload::Event(Event { xref: xref.to_owned(), body: body.clone() }), namespace)
    }

    /// After a restart: the INFO on the wire goes out again with the same CSeq, branch and bytes. The far side answers a
    /// repetition it has seen, and takes it as new if it has not.
    pub(super) fn repeat_in_flight(&mut self, cx: Context<'_>, effects: &mut Vec<Effect>) {
        match std::mem::take(&mut self.outbox.lane) {
            Lane::InFlight(flight) if self.is_wanted(&flight.outgoing) => {
                self.dialog.local_cseq = flight.cseq - 1;
                self.send(cx, flight.outgoing, effects);
            }
            Lane::InFlight(_) => {}
            lane => self.outbox.lane = lane,
        }
    }

    /// An event waits because the far side could not be reached.
    pub fn is_held_back(&self) -> bool {
        matches!(self.outbox.lane, Lane::Held | Lane::Resting { .. })
    }

    /// A request of the dialog came in, or a connection is open: the far side can be reached again.
    pub(super) fn outbox_heard(&mut self) {
        let is_tired = matches!(self.outbox.lane, Lane::Held) && self.outbox.rested_ms > 0;
        if is_tired || matches!(self.outbox.lane, Lane::Resting { .. }) {
            self.outbox.release();
        }
    }

    pub(super) fn on_response(&mut self, cx: Context<'_>, response: &Message, effects: &mut Vec<Effect>) {
        let (Some(status), Ok(cseq)) = (response.status(), response.headers.cseq()) else { return };
        if status < 200 {
            return;
        }
        let is_in_flight = matches!(&self.outbox.lane, Lane::InFlight(flight) if flight.cseq == cseq.number);
        if !is_in_flight {
            // Late, but not to be ignored: it is the dialog that is gone, not the request.
            match status {
                404 | 410 | 481 => effects.push(Effect::End(EndReason::Gone)),
                // The next event would meet the same.
                430 if self.outbox.lane == Lane::Idle => {
                    self.on_flow_failed(cx, response, None);
                    self.pump(cx, effects);
                }
                _ => {}
            }
            return;
        }
        let Lane::InFlight(flight) = std::mem::take(&mut self.outbox.lane) else { return };
        if flight.outgoing == Outgoing::RepairRoute {
            let is_repaired = status < 300 && self.dialog.refreshed_by(response).is_ok();
            if !is_repaired {
                return self.bye(cx, EndReason::RouteLost, effects);
            }
            return self.pump(cx, effects);
        }
        self.on_answer(cx, status, response, flight, effects);
        self.pump(cx, effects);
    }

    /// The table of the rcc sheet, section 1.9.
    fn on_answer(
        &mut self,
        cx: Context<'_>,
        status: u16,
        response: &Message,
        flight: InFlight,
        effects: &mut Vec<Effect>,
    ) {
        match status {
            200..=299 => self.outbox.answered(),
            404 | 410 | 481 => effects.push(Effect::End(EndReason::Gone)),
            430 => self.on_flow_failed(cx, response, Some(flight.outgoing)),
            408 | 480 | 503 | 504 => self.rest(cx, flight.outgoing),
            401 | 403 | 407 => effects.push(Effect::Note(Note::NotTrusted { status })),
            _ => effects.push(Effect::Note(Note::EventDisliked { status })),
        }
    }

    /// 430 Flow Failed (MS-SIPRE 3.7.5): the header says whose turn it is. `outgoing` did not arrive and is told again.
    fn on_flow_failed(&mut self, cx: Context<'_>, response: &Message, outgoing: Option<Outgoing>) {
        let action = response.headers.get("P-Dialog-Recovery-Action").unwrap_or_default().to_ascii_lowercase();
        let is_ours = action.contains("dialog-route-set-update") && !action.contains("registration-route-set-update");
        let was_repaired = is_ours && std::mem::replace(&mut self.outbox.is_repaired, true);
        if was_repaired {
            // The repair did not help: not again at once.
            self.outbox.is_repaired = false;
            if let Some(outgoing) = outgoing {
                self.rest(cx, outgoing);
            }
            return;
        }
        if let Some(outgoing) = outgoing.filter(|outgoing| self.is_wanted(outgoing)) {
            self.outbox.returned = Some(outgoing);
        }
        if is_ours {
            self.outbox.waiting.push_front(Outgoing::RepairRoute);
        } else {
            self.outbox.lane = Lane::Held;
            self.outbox.rested_ms = 0;
        }
    }

    pub(super) fn on_undeliverable(&mut self, cx: Context<'_>, cseq: u32, effects: &mut Vec<Effect>) {
        match std::mem::take(&mut self.outbox.lane) {
            Lane::InFlight(flight) if flight.cseq == cseq => match flight.outgoing {
                Outgoing::RepairRoute => effects.push(Effect::End(EndReason::RouteLost)),
                outgoing if self.is_wanted(&outgoing) => {
                    self.dialog.local_cseq = cseq - 1;
                    self.outbox.is_numbered = true;
                    self.rest(cx, outgoing);
                }
                _ => {}
            },
            lane => self.outbox.lane = lane,
        }
    }

    /// Whether the event's monitor is still there.
    fn is_wanted(&self, outgoing: &Outgoing) -> bool {
        match outgoing {
            Outgoing::Event { xref, .. } => self.monitors.iter().any(|monitor| monitor.xref == *xref),
            Outgoing::KeepAlive | Outgoing::RepairRoute => true,
        }
    }

    /// Tries the same event again later; after 64 s in all, holds until the far side is heard of.
    fn rest(&mut self, cx: Context<'_>, outgoing: Outgoing) {
        if !self.is_wanted(&outgoing) {
            return;
        }
        let rest_ms = (self.outbox.rested_ms + REST_MIN_MS).min(REST_MAX_MS);
        if self.outbox.rested_ms + rest_ms > REST_TOTAL_MAX_MS {
            self.outbox.returned = Some(outgoing);
            self.outbox.lane = Lane::Held;
            return;
        }
        self.outbox.rested_ms += rest_ms;
        self.outbox.lane = Lane::Resting { until: cx.now.after_ms(rest_ms), outgoing };
    }

    /// The same event under the same number; after some times it waits until the far side is heard of.
    fn repeat(&mut self, cx: Context<'_>, flight: InFlight, effects: &mut Vec<Effect>) {
        self.dialog.local_cseq = flight.cseq - 1;
        if self.outbox.repeats < REPEATS_MAX {
            self.outbox.repeats += 1;
            return self.send(cx, flight.outgoing, effects);
        }
        self.outbox.repeats = 0;
        self.outbox.is_numbered = true;
        self.outbox.rested_ms = REST_TOTAL_MAX_MS;
        self.outbox.returned = Some(flight.outgoing);
        self.outbox.lane = Lane::Held;
    }

    pub(super) fn tick_outbox(&mut self, cx: Context<'_>, effects: &mut Vec<Effect>) {
        if self.outbox.deadline().is_none_or(|at| cx.now < at) {
            return;
        }
        match std::mem::take(&mut self.outbox.lane) {
            Lane::InFlight(InFlight { outgoing: Outgoing::RepairRoute, .. }) => {
                self.bye(cx, EndReason::RouteLost, effects);
            }
            // Its connection was lost with it, or the answer's: the far side tells a repetition from a new event by its number.
            Lane::InFlight(flight) if self.outbox.is_answering && self.is_wanted(&flight.outgoing) => {
                effects.push(Effect::Note(Note::EventUnanswered));
                self.repeat(cx, flight, effects);
            }
            // pidgin-sipe answers no INFO at all: an unanswered one alone never ends a dialog.
            Lane::InFlight(_) => effects.push(Effect::Note(Note::EventUnanswered)),
            Lane::Resting { outgoing, .. } => self.send(cx, outgoing, effects),
            lane @ (Lane::Idle | Lane::Held) => self.outbox.lane = lane,
        }
    }
}
