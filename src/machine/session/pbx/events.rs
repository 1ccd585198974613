//! Events of the PBX's monitor: in the client's words, and not before the answer that names their call.

use super::super::{Context, Session};
use super::{EARLY_MAX, View};
use crate::csta::{ConnectionId, DeviceRef, Event, EventBody, Service};
use crate::machine::effect::Effect;
use crate::machine::number::shown;

impl Session {
    pub(in crate::machine::session) fn on_pbx_event(
        &mut self,
        cx: Context<'_>,
        event: Event,
        effects: &mut Vec<Effect>,
    ) {
        if self.pbx.xref.as_deref() != Some(event.xref.as_str()) {
            return;
        }
        if event.body == EventBody::MonitorStopped {
            self.pbx.xref = None;
            self.start_sync(cx, effects);
            return;
        }
        let body = self.translate(cx, event.body);
        if matches!(self.pbx.view, View::Syncing(_)) || self.is_early(&body) {
            if self.pbx.early.len() < EARLY_MAX {
                self.pbx.early.push_back(body);
            } else {
                self.on_missed(cx, effects);
            }
            return;
        }
        self.report(cx, body, effects);
        self.pump(cx, effects);
    }

    /// Events of a call whose MakeCall has not been answered yet would reach the client before the call's id does.
    pub(super) fn is_early(&self, event: &EventBody) -> bool {
        let is_placing =
            |service: &Service| matches!(service, Service::MakeCall { .. } | Service::ConsultationCall { .. });
        if !self.asked.iter().any(|asked| is_placing(&asked.service) && !asked.is_unsettled) {
            return false;
        }
        let rings_here = matches!(event, EventBody::Delivered { connection, .. } if connection.device == self.line);
        let is_unknown = event.call().is_some_and(|call| !self.calls.contains(call));
        is_unknown && !rings_here
    }

    pub(in crate::machine::session) fn replay_early(&mut self, cx: Context<'_>, effects: &mut Vec<Effect>) {
        if matches!(self.pbx.view, View::Syncing(_)) {
            return;
        }
        for event in std::mem::take(&mut self.pbx.early) {
            if self.is_early(&event) {
                self.pbx.early.push_back(event);
            } else {
                self.report(cx, event, effects);
            }
        }
    }

    /// The PBX's words into the client's: its line for our device, tel URIs for the others, our call ids.
    fn translate(&mut self, cx: Context<'_>, mut event: EventBody) -> EventBody {
        let mut connections = Vec::new();
        event.for_each_connection_mut(|connection| connections.push(connection.clone()));
        let calls: Vec<String> = connections.iter().map(|connection| self.client_call(&connection.call)).collect();
        let mut calls = calls.into_iter();
        let this = &*self;
        event.for_each_connection_mut(|connection| {
            let call = calls.next().unwrap_or_default();
            let device =
                if connection.device.is_empty() { String::new() } else { this.show_text(cx, &connection.device) };
            *connection = ConnectionId::new(call, device);
        });
        event.for_each_device_mut(|device| {
            if let DeviceRef::Device(name) = device {
                *name = this.show_text(cx, name.as_str());
            }
        });
        event.for_each_device_text_mut(|text| *text = this.show_text(cx, text));
        event
    }

    pub(super) fn show_device(&self, cx: Context<'_>, device: DeviceRef) -> DeviceRef {
        match device {
            DeviceRef::Device(name) => DeviceRef::Device(self.show_text(cx, &name)),
            other => other,
        }
    }

    pub(super) fn show_text(&self, cx: Context<'_>, device: &str) -> String {
        if device == self.appearance.device {
            self.line.clone()
        } else {
            shown(device, &cx.rules.directory, &cx.rules.phone_context)
        }
    }
}
