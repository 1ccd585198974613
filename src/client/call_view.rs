//! What a user believes about its calls: events folded into a picture, and nothing else (no clock, no I/O).

use std::collections::VecDeque;
use std::sync::Arc;

use serde::Serialize;

use super::word;
use crate::csta::{ConnectionId, ConnectionListItem, DeviceRef, Event, EventBody, LocalState};

/// Ended calls remembered, so that an event for one of them is noticed.
const ENDED_MAX: usize = 16;
/// Event names kept for each call, oldest dropped first.
const EVENTS_MAX: usize = 32;

/// The calls of one monitored line, and its features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallView {
    line: Arc<str>,
    calls: Vec<Call>,
    ended: VecDeque<Box<str>>,
    /// Forwarding in force: (type, destination).
    pub forwarding: Option<(String, Option<String>)>,
    pub do_not_disturb: bool,
    pub message_waiting: bool,
    pub is_in_service: bool,
    /// False once the switching function stopped the monitor itself.
    pub is_monitored: bool,
}

/// One call as the line sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub id: String,
    /// The line's own connection.
    pub local: LocalState,
    /// Whether the line placed it.
    pub is_outgoing: bool,
    pub calling: DeviceRef,
    pub called: DeviceRef,
    /// The others.
    pub parties: Vec<Party>,
    /// Cause of a FailedEvent, until the call ends.
    pub failed: Option<String>,
    /// The events that led here, newest last.
    pub events: Vec<&'static str>,
    set_up_rank: u8,
    last: Option<Box<EventBody>>,
}

/// Somebody else in the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// The connection's deviceID; empty when the switch did not name it.
    pub device: String,
    pub state: LocalState,
}

/// What a person would see on the screen.
///
/// ```text
/// Initiated → Dialling → Ringing ─┐
///      │          └──► Failed     ├─► Talking ◄──► Held
///      └──────────── Alerting ────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Initiated,
    Dialling,
    /// The far phone rings.
    Ringing,
    /// Our phone rings.
    Alerting,
    Queued,
    Talking,
    Held,
    Failed,
    /// Everybody else has gone.
    Alone,
}

/// An event that does not follow from those before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Surprise {
    /// For a call that has ended: a ghost in the making. Not applied.
    AfterEnd { call: String, event: &'static str },
    /// In the middle of a call never begun.
    UnknownCall { call: String, event: &'static str },
    /// Earlier in a call's life than what was reported before. Applied: a real client believes it.
    OutOfOrder { call: String, event: &'static str, after: &'static str },
    /// The same event twice in a row.
    Repeated { call: String, event: &'static str },
    /// A connection without a call id: not applied.
    NoCallId { event: &'static str },
}

impl CallView {
    pub fn new(line: impl Into<Arc<str>>) -> Self {
        Self {
            line: line.into(),
            calls: Vec::new(),
            ended: VecDeque::new(),
            forwarding: None,
            do_not_disturb: false,
            message_waiting: false,
            is_in_service: true,
            is_monitored: true,
        }
    }

    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    pub fn call(&self, id: &str) -> Option<&Call> {
        self.calls.iter().find(|c| c.id == id)
    }

    pub fn phase(&self, id: &str) -> Option<Phase> {
        self.call(id).map(Call::phase)
    }

    pub fn has_ended(&self, id: &str) -> bool {
        self.ended.iter().any(|e| **e == *id)
    }

    /// Folds one event in. The same view and event always give the same view and surprises.
    pub fn apply(&mut self, event: &Event) -> Vec<Surprise> {
        let mut surprises = Vec::new();
        let body = &event.body;
        let name = body.name();
        match body {
            EventBody::Forwarding { forwarding_type, on, to, .. } => {
                self.forwarding = on.then(|| (forwarding_type.clone(), to.clone()));
                return surprises;
            }
            EventBody::DoNotDisturb { on, .. } => {
                self.do_not_disturb = *on;
                return surprises;
            }
            EventBody::MessageWaiting { on, .. } => {
                self.message_waiting = *on;
                return surprises;
            }
            EventBody::BackInService { .. } => {
                self.is_in_service = true;
                return surprises;
            }
            EventBody::OutOfService { .. } => {
                self.is_in_service = false;
                return surprises;
            }
            EventBody::MonitorStopped => {
                self.is_monitored = false;
                self.calls.clear();
                return surprises;
            }
            _ => {}
        }
        let (Some(connection), local) = (body.connection(), event.local()) else { return surprises };
        if connection.call.is_empty() {
            return vec![Surprise::NoCallId { event: name }];
        }
        match body {
            EventBody::Transferred { primary, secondary, connections, .. } => {
                let items: Vec<&ConnectionListItem> = connections.iter().collect();
                self.merge(primary, secondary.as_ref(), &items, local, body, &mut surprises);
            }
            EventBody::Conferenced { primary, secondary, connections, .. } => {
                let items: Vec<&ConnectionListItem> = connections.iter().collect();
                self.merge(
                    primary,
                    secondary.as_ref(),
                    &items,
                    local.or(Some(LocalState::Connected)),
                    body,
                    &mut surprises,
                );
            }
            _ => self.follow(connection, local, body, &mut surprises),
        }
        surprises
    }

    /// Events about one call.
    fn follow(
        &mut self,
        connection: &ConnectionId,
        told: Option<LocalState>,
        body: &EventBody,
        surprises: &mut Vec<Surprise>,
    ) {
        let line = self.line.clone();
        let is_own = connection.device == *line || connection.device.is_empty();
        let Some(at) = self.place(&connection.call, body, surprises) else { return };
        let call = &mut self.calls[at];
        call.check(body, is_own, surprises);
        call.note(body);
        let mut local = told;
        match body {
            EventBody::ServiceInitiated { .. } => {
                call.is_outgoing = true;
                local = local.or(Some(LocalState::Initiated));
            }
            EventBody::Originated { calling, called, .. } => {
                call.is_outgoing = true;
                call.name(calling, called);
                call.expect_party(called.as_device().unwrap_or_default(), LocalState::Initiated);
                local = local.or(Some(LocalState::Connected));
            }
            EventBody::NetworkReached { calling, called, .. } => {
                call.name(calling, called);
                call.set_party(&connection.device, LocalState::Initiated);
                local = local.or(Some(LocalState::Connected));
            }
            EventBody::Delivered { calling, called, .. } | EventBody::Offered { calling, called, .. } => {
                call.name(calling, called);
                if is_own {
                    call.is_outgoing = false;
                    call.expect_party(calling.as_device().unwrap_or_default(), LocalState::Connected);
                    local = local.or(Some(LocalState::Alerting));
                } else {
                    call.set_party(&connection.device, LocalState::Alerting);
                    local = local.or(Some(LocalState::Connected));
                }
            }
            EventBody::Established { calling, called, .. } => {
                call.name(calling, called);
                if is_own {
                    call.expect_party(calling.as_device().unwrap_or_default(), LocalState::Connected);
                } else {
                    call.set_party(&connection.device, LocalState::Connected);
                    call.is_outgoing |= calling.as_device() == Some(&*line);
                }
                local = local.or(Some(LocalState::Connected));
            }
            EventBody::Held { .. } if is_own => local = local.or(Some(LocalState::Hold)),
            EventBody::Held { .. } => call.set_party(&connection.device, LocalState::Hold),
            EventBody::Retrieved { .. } if is_own => local = local.or(Some(LocalState::Connected)),
            EventBody::Retrieved { .. } => call.set_party(&connection.device, LocalState::Connected),
            EventBody::ConnectionCleared { .. } if is_own => local = Some(LocalState::Null),
            EventBody::ConnectionCleared { .. } => call.drop_party(&connection.device),
            EventBody::CallCleared { .. } => local = Some(LocalState::Null),
            EventBody::Diverted { new_destination, .. } => {
                if is_own {
                    local = local.or(Some(LocalState::Null));
                } else {
                    call.drop_party(&connection.device);
                    call.expect_party(new_destination.as_device().unwrap_or_default(), LocalState::Initiated);
                }
            }
            EventBody::Failed { calling, called, cause, .. } => {
                call.name(calling, called);
                call.failed = Some(cause.clone());
                if !is_own {
                    call.set_party(&connection.device, LocalState::Fail);
                }
            }
            EventBody::Queued { calling, called, .. } => {
                call.name(calling, called);
                if !is_own {
                    call.set_party(&connection.device, LocalState::Queued);
                }
            }
            EventBody::CallInformation { calling: Some(calling), .. } => call.calling = calling.clone(),
            _ => {}
        }
        if let Some(local) = local {
            call.local = local;
        }
        if call.local == LocalState::Null {
            self.end(at);
        }
    }

    /// Transfer and conference: up to two calls become one, or leave us.
    fn merge(
        &mut self,
        primary: &ConnectionId,
        secondary: Option<&ConnectionId>,
        items: &[&ConnectionListItem],
        told: Option<LocalState>,
        body: &EventBody,
        surprises: &mut Vec<Surprise>,
    ) {
        let Some(at) = self.place(&primary.call, body, surprises) else { return };
        let mut merged = self.calls.remove(at);
        let mut gone = vec![merged.id.clone()];
        if let Some(secondary) = secondary.filter(|s| s.call != primary.call && !s.call.is_empty()) {
            if let Some(at) = self.calls.iter().position(|c| c.id == secondary.call) {
                let other = self.calls.remove(at);
                gone.push(other.id);
                for party in other.parties {
                    merged.set_party(&party.device, party.state);
                }
            } else if told == Some(LocalState::Null) {
                surprises.push(Surprise::UnknownCall { call: secondary.call.clone(), event: body.name() });
            }
        }
        if told == Some(LocalState::Null) {
            gone.into_iter().for_each(|id| self.remember(id));
            return;
        }
        if let Some(new) = items.iter().find_map(|i| i.new.as_ref()).filter(|n| !n.call.is_empty()) {
            merged.id = new.call.clone();
            let others = items.iter().filter_map(|i| {
                let named = i.new.as_ref().map(|n| n.device.as_str()).filter(|d| !d.is_empty());
                named.or(i.endpoint.as_ref().and_then(DeviceRef::as_device))
            });
            let line = &self.line;
            let known = std::mem::take(&mut merged.parties);
            for device in others.filter(|d| **d != **line) {
                let state = known.iter().find(|p| p.device == device).map_or(LocalState::Connected, |p| p.state);
                merged.set_party(device, state);
            }
        }
        gone.into_iter().filter(|id| *id != merged.id).for_each(|id| self.remember(id));
        self.ended.retain(|id| **id != *merged.id);
        merged.set_up_rank = 0;
        merged.note(body);
        merged.local = told.unwrap_or(merged.local);
        match self.calls.iter().position(|c| c.id == merged.id) {
            Some(at) => self.calls[at] = merged,
            None => self.calls.push(merged),
        }
    }

    /// The call's place, beginning it where the event may do so.
    fn place(&mut self, id: &str, body: &EventBody, surprises: &mut Vec<Surprise>) -> Option<usize> {
        if let Some(at) = self.calls.iter().position(|c| c.id == id) {
            return Some(at);
        }
        let event = body.name();
        if self.has_ended(id) {
            surprises.push(Surprise::AfterEnd { call: id.to_owned(), event });
            return None;
        }
        let begins = matches!(
            body,
            EventBody::ServiceInitiated { .. }
                | EventBody::Originated { .. }
                | EventBody::Delivered { .. }
                | EventBody::Offered { .. }
                | EventBody::Established { .. }
                | EventBody::Failed { .. }
                | EventBody::Queued { .. }
                | EventBody::Bridged { .. }
        );
        if !begins {
            surprises.push(Surprise::UnknownCall { call: id.to_owned(), event });
            if matches!(body, EventBody::ConnectionCleared { .. } | EventBody::CallCleared { .. }) {
                return None;
            }
        }
        self.calls.push(Call::new(id));
        Some(self.calls.len() - 1)
    }

    fn end(&mut self, at: usize) {
        let call = self.calls.remove(at);
        self.remember(call.id);
    }

    fn remember(&mut self, id: String) {
        if self.ended.len() >= ENDED_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back(id.into());
    }
}

impl Call {
    fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            local: LocalState::Initiated,
            is_outgoing: false,
            calling: DeviceRef::NotKnown,
            called: DeviceRef::NotKnown,
            parties: Vec::new(),
            failed: None,
            events: Vec::new(),
            set_up_rank: 0,
            last: None,
        }
    }

    pub fn phase(&self) -> Phase {
        let any = |state| self.parties.iter().any(|p| p.state == state);
        match self.local {
            LocalState::Initiated => Phase::Initiated,
            LocalState::Alerting => Phase::Alerting,
            LocalState::Hold => Phase::Held,
            LocalState::Queued => Phase::Queued,
            LocalState::Fail => Phase::Failed,
            LocalState::Null => Phase::Alone,
            LocalState::Connected if self.failed.is_some() => Phase::Failed,
            LocalState::Connected if any(LocalState::Connected) || any(LocalState::Hold) => Phase::Talking,
            LocalState::Connected if any(LocalState::Alerting) => Phase::Ringing,
            LocalState::Connected if any(LocalState::Queued) => Phase::Queued,
            LocalState::Connected if self.parties.is_empty() => Phase::Alone,
            LocalState::Connected => Phase::Dialling,
        }
    }

    /// Whether the event may follow what this call went through.
    fn check(&mut self, body: &EventBody, is_own: bool, surprises: &mut Vec<Surprise>) {
        let event = body.name();
        let call = || self.id.clone();
        if self.last.as_deref() == Some(body) && !word::may_repeat(body) {
            surprises.push(Surprise::Repeated { call: call(), event });
            return;
        }
        let after = self.events.last().copied().unwrap_or("nothing");
        let rank = word::set_up_rank(body);
        if rank != 0 && rank < self.set_up_rank && !word::rings_again(body) {
            surprises.push(Surprise::OutOfOrder { call: call(), event, after });
        }
        let was_held = self.local == LocalState::Hold;
        let is_early = matches!(self.local, LocalState::Initiated | LocalState::Alerting) && !self.events.is_empty();
        match body {
            EventBody::Retrieved { .. } if is_own && !was_held && !self.events.is_empty() => {
                surprises.push(Surprise::OutOfOrder { call: call(), event, after });
            }
            EventBody::Held { .. } if is_own && (was_held || is_early) => {
                surprises.push(Surprise::OutOfOrder { call: call(), event, after });
            }
            _ => {}
        }
        self.set_up_rank = self.set_up_rank.max(rank);
    }

    fn note(&mut self, body: &EventBody) {
        if self.events.len() >= EVENTS_MAX {
            self.events.remove(0);
        }
        self.events.push(body.name());
        self.last = Some(Box::new(body.clone()));
    }

    fn name(&mut self, calling: &DeviceRef, called: &DeviceRef) {
        for (known, told) in [(&mut self.calling, calling), (&mut self.called, called)] {
            if *told != DeviceRef::NotKnown {
                *known = told.clone();
            }
        }
    }

    /// Names the one other party before its own connection is known.
    fn expect_party(&mut self, device: &str, state: LocalState) {
        if self.parties.is_empty() {
            self.parties.push(Party { device: device.to_owned(), state });
        }
    }

    /// A party's connection; it takes the place of the expected one, whose spelling may have been another.
    fn set_party(&mut self, device: &str, state: LocalState) {
        if let Some(party) = self.parties.iter_mut().find(|p| p.device == device) {
            party.state = state;
        } else if let [only] = self.parties.as_mut_slice()
            && only.state == LocalState::Initiated
        {
            *only = Party { device: device.to_owned(), state };
        } else {
            self.parties.push(Party { device: device.to_owned(), state });
        }
    }

    fn drop_party(&mut self, device: &str) {
        if self.parties.iter().any(|p| p.device == device) {
            self.parties.retain(|p| p.device != device);
        } else if self.parties.len() == 1 {
            self.parties.clear();
        }
    }
}
