//! Services of the client: what is answered here, what goes to the PBX, and how its outcome comes back.

use super::request::xml;
use super::{Asked, Context, MONITORS_MAX, Monitor, Session, Waiting};
use crate::csta::{ConnectionId, DeviceRef, Failure, Features, MonitorObject, Outcome, Payload, Service};
use crate::machine::ask::{AskId, LinkFailed};
use crate::machine::call::CALLS_MAX;
use crate::machine::effect::Effect;
use crate::machine::number::{NumberError, dialled, shown};
use crate::machine::tel::Tel;
use crate::machine::transaction::{AnswerBody, Open};
use crate::sip::reason_of;

/// Names given to calls the PBX names in a way no client takes; those of calls that are over go first.
pub const NATIVES_MAX: usize = 4 * CALLS_MAX;

impl Session {
    /// Serves one CSTA request of the client. Its answer travels in the 200 to `open`, now or when the PBX has spoken.
    pub(super) fn serve(
        &mut self,
        cx: Context<'_>,
        open: Open,
        namespace: String,
        service: Service,
        effects: &mut Vec<Effect>,
    ) {
        let until = cx.now.after_ms(cx.rules.info_timeout_ms);
        self.serve_by(cx, Waiting { open, namespace, service, until }, effects);
    }

    fn serve_by(&mut self, cx: Context<'_>, request: Waiting, effects: &mut Vec<Effect>) {
        let Waiting { open, namespace, service, until } = request;
        match service {
            Service::RequestSystemStatus { .. } => {
                let body = self.status_body(cx, &namespace);
                let response = self.dialog.answer(&open, 200, reason_of(200), cx.rules, Some(&body));
                self.remember(&open, 200, AnswerBody::Xml(body));
                effects.push(Effect::Respond { flow: open.flow, message: response });
            }
            Service::GetCstaFeatures { .. } => {
                let body = self.features_body(cx, &namespace);
                let response = self.dialog.answer(&open, 200, reason_of(200), cx.rules, Some(&body));
                self.remember(&open, 200, AnswerBody::Features { namespace });
                effects.push(Effect::Respond { flow: open.flow, message: response });
            }
            Service::SystemStatus { .. } => self.answer_service(cx, &open, &namespace, Outcome::SystemStatus, effects),
            Service::SystemRegister => {
                let outcome = Outcome::SystemRegister { register_id: self.id.to_string() };
                self.answer_service(cx, &open, &namespace, outcome, effects);
            }
            Service::MonitorStart { .. } => {
                self.monitor_start(cx, Waiting { open, namespace, service, until }, effects)
            }
            Service::MonitorStop { xref } => self.monitor_stop(cx, &open, &namespace, &xref, effects),
            service => self.put_to_pbx(cx, Waiting { open, namespace, service, until }, effects),
        }
    }

    pub(in crate::machine) fn status_body(&self, cx: Context<'_>, namespace: &str) -> String {
        let system_status =
            if self.pbx.is_down_longer_than(cx.rules.status_grace_ms, cx.now) { "partiallyDisabled" } else { "normal" };
        xml(&Payload::Outcome(Outcome::RequestSystemStatus { system_status: system_status.into() }), namespace)
    }

    pub(super) fn features_body(&self, cx: Context<'_>, namespace: &str) -> String {
        let features: Features = match self.pbx.features() {
            Some(offered) => cx.rules.features.intersect(offered),
            None => (*cx.rules.features).clone(),
        };
        xml(&Payload::Outcome(Outcome::GetCstaFeatures { features }), namespace)
    }

    fn monitor_start(&mut self, cx: Context<'_>, request: Waiting, effects: &mut Vec<Effect>) {
        let Waiting { open, namespace, service, until } = request;
        let Service::MonitorStart { object: MonitorObject::Device(device), .. } = service else {
            let failure = Outcome::Failed(Failure::invalid_monitor_object());
            return self.answer_service(cx, &open, &namespace, failure, effects);
        };
        if !self.is_own(cx, &device) {
            let failure = Outcome::Failed(Failure::invalid_device_id());
            return self.answer_service(cx, &open, &namespace, failure, effects);
        }
        if self.monitors.len() >= MONITORS_MAX {
            let failure = Outcome::Failed(Failure::object_monitor_limit_exceeded());
            return self.answer_service(cx, &open, &namespace, failure, effects);
        }
        if self.monitors.is_empty() && self.calls.is_empty() {
            self.line.clone_from(&device);
        }
        if self.pbx.is_down() || self.pbx.is_monitored() {
            self.grant_monitor(cx, &open, namespace, effects);
        } else {
            let service = Service::MonitorStart { object: MonitorObject::Device(device), line: None };
            self.wait(cx, Waiting { open, namespace, service, until }, effects);
            self.sync_if_needed(cx, effects);
        }
    }

    /// MonitorStartResponse with a cross-reference id that is unique over nodes and restarts, because the session id is.
    pub(super) fn grant_monitor(&mut self, cx: Context<'_>, open: &Open, namespace: String, effects: &mut Vec<Effect>) {
        let xref = format!("{}{:02x}", self.id, self.next_xref);
        self.next_xref += 1;
        if self.monitors.is_empty() {
            self.shown = Default::default();
            self.start_keepalive(cx);
        }
        self.monitors.push(Monitor { xref: xref.clone(), namespace: namespace.clone() });
        self.answer_service(
            cx,
            open,
            &namespace,
            Outcome::MonitorStart { xref: xref.clone(), existing_calls: Some(false) },
            effects,
        );
        self.monitor_granted(cx, &xref, effects);
    }

    fn monitor_stop(&mut self, cx: Context<'_>, open: &Open, namespace: &str, xref: &str, effects: &mut Vec<Effect>) {
        let Some(at) = self.monitors.iter().position(|monitor| monitor.xref == xref) else {
            let failure = Outcome::Failed(Failure::invalid_monitor_cross_ref_id());
            return self.answer_service(cx, open, namespace, failure, effects);
        };
        self.monitors.remove(at);
        self.drop_events_of(xref);
        self.answer_service(cx, open, namespace, Outcome::MonitorStop, effects);
        if self.monitors.is_empty() {
            self.stop_pbx_monitor(cx, effects);
        }
    }

    /// Everything else is the PBX's to do.
    fn put_to_pbx(&mut self, cx: Context<'_>, request: Waiting, effects: &mut Vec<Effect>) {
        if !self.pbx.is_ready() && !self.pbx.is_down() {
            return self.wait(cx, request, effects);
        }
        let Waiting { open, namespace, service, until } = request;
        if self.pbx.is_down() {
            let failure = Outcome::Failed(Failure::resource_out_of_service());
            return self.answer_service(cx, &open, &namespace, failure, effects);
        }
        if self.asked.len() >= cx.rules.open_max {
            let mut response = self.dialog.answer(&open, 503, reason_of(503), cx.rules, None);
            response.headers.push("Retry-After", "1");
            return self.respond(&open, response, effects);
        }
        let ask = self.next_ask();
        match self.in_pbx_words(cx, service, ask) {
            Ok(service) => {
                let deadline = cx.now.after_ms(cx.rules.request_timeout_ms);
                effects.push(Effect::Invoke { ask, service: service.clone(), deadline });
                let answer_by = until;
                self.asked.push(Asked {
                    ask,
                    open,
                    namespace,
                    service,
                    answer_by,
                    is_unsettled: false,
                    found: None,
                    missed_at: None,
                });
            }
            Err(failure) => self.answer_service(cx, &open, &namespace, Outcome::Failed(failure), effects),
        }
    }

    /// Until the link is ready, but never longer than the client waits, however often it is put off.
    fn wait(&mut self, cx: Context<'_>, request: Waiting, effects: &mut Vec<Effect>) {
        if self.waiting.len() >= cx.rules.open_max {
            let mut response = self.dialog.answer(&request.open, 503, reason_of(503), cx.rules, None);
            response.headers.push("Retry-After", "1");
            return self.respond(&request.open, response, effects);
        }
        self.waiting.push(request);
    }

    /// The link's state changed: serve what waited, in order.
    pub(super) fn serve_waiting(&mut self, cx: Context<'_>, effects: &mut Vec<Effect>) {
        for waiting in std::mem::take(&mut self.waiting) {
            self.serve_by(cx, waiting, effects);
        }
    }

    pub(super) fn tick_waiting(&mut self, cx: Context<'_>, effects: &mut Vec<Effect>) {
        let due: Vec<Waiting> = self.waiting.extract_if(.., |waiting| cx.now >= waiting.until).collect();
        for waiting in due {
            let failure = Outcome::Failed(Failure::resource_out_of_service());
            self.answer_service(cx, &waiting.open, &waiting.namespace, failure, effects);
        }
    }

    /// The client's words into the PBX's. A connection is known by its call id alone: clients shorten or swap device ids.
    fn in_pbx_words(&self, cx: Context<'_>, mut service: Service, ask: AskId) -> Result<Service, Failure> {
        if let Some(leaf) = Features::of_service(&service) {
            let is_offered =
                self.pbx.features().is_none_or(|offered| offered.offers(leaf)) && cx.rules.features.offers(leaf);
            if !is_offered {
                return Err(Failure::service_not_supported());
            }
        }
        let nothing_there = no_such_call(&service);
        let mut problem = None;
        service.for_each_connection_mut(|connection| {
            let known = self.calls.contains(&connection.call);
            if known {
                *connection = ConnectionId::new(self.native_call(&connection.call), self.appearance.device.as_str());
            } else {
                problem = Some(nothing_there.clone());
            }
        });
        if let Some(problem) = problem {
            return Err(problem);
        }
        let intent = || Some(hex(&format!("{}-{}", self.id, ask.0)));
        let dial = |number: &str| dialled(number, &cx.rules.directory);
        let own = |device: &mut String| {
            if self.is_own(cx, device) {
                device.clone_from(&self.appearance.device);
                Ok(())
            } else {
                Err(Failure::invalid_device_id())
            }
        };
        match &mut service {
            Service::MakeCall { calling, called, correlator, .. } => {
                own(calling).map_err(|_| Failure::invalid_calling_device_id())?;
                *called = dial(called).map_err(|_: NumberError| Failure::invalid_called_device_id())?;
                *correlator = intent();
            }
            Service::ConsultationCall { consulted, correlator, .. } => {
                *consulted = dial(consulted).map_err(|_| Failure::invalid_called_device_id())?;
                *correlator = intent();
            }
            Service::SingleStepTransferCall { to, .. } | Service::DeflectCall { to, .. } => {
                *to = dial(to).map_err(|_| Failure::invalid_destination())?;
            }
            Service::SingleStepConferenceCall { join, .. } => {
                *join = dial(join).map_err(|_| Failure::invalid_destination())?;
            }
            Service::SetForwarding { device, to, .. } => {
                own(device)?;
                if let Some(to) = to {
                    *to = dial(to).map_err(|_| Failure::invalid_forwarding_destination())?;
                }
            }
            Service::GetForwarding { device }
            | Service::SetDoNotDisturb { device, .. }
            | Service::GetDoNotDisturb { device }
            | Service::SnapshotDevice { device }
            | Service::SetMessageWaitingIndicator { device, .. }
            | Service::GetMessageWaitingIndicator { device } => own(device)?,
            _ => {}
        }
        Ok(service)
    }

    /// What became of an ask: ours (the monitor, a snapshot) or the client's.
    pub(super) fn on_settled(
        &mut self,
        cx: Context<'_>,
        ask: AskId,
        result: Result<Outcome, LinkFailed>,
        effects: &mut Vec<Effect>,
    ) {
        if self.pbx.is_ours(ask) {
            self.on_own_settled(cx, ask, result, effects);
            return self.pump(cx, effects);
        }
        let Some(at) = self.asked.iter().position(|asked| asked.ask == ask) else { return };
        match result {
            // Late is as good as in time: while a command is unsettled this is the best word there is about it.
            Ok(outcome) => {
                let asked = self.asked.remove(at);
                self.answer_asked(cx, &asked, outcome, effects);
            }
            Err(_) if self.asked[at].is_unsettled => {}
            Err(LinkFailed::NotSent) => {
                let asked = self.asked.remove(at);
                let failure = Outcome::Failed(Failure::resource_out_of_service());
                self.answer_service(cx, &asked.open, &asked.namespace, failure, effects);
            }
            // It may have happened. Only the PBX's state can tell, and until it does the INFO stays open.
            Err(LinkFailed::Lost | LinkFailed::TimedOut) if self.asked[at].service.changes_world() => {
                self.asked[at].is_unsettled = true;
                if result == Err(LinkFailed::TimedOut) {
                    self.on_missed(cx, effects);
                }
            }
            Err(LinkFailed::Lost | LinkFailed::TimedOut) => {
                let asked = self.asked.remove(at);
                let failure = Outcome::Failed(Failure::resource_out_of_service());
                self.answer_service(cx, &asked.open, &asked.namespace, failure, effects);
            }
        }
        self.replay_early(cx, effects);
        self.pump(cx, effects);
    }

    /// Gives a client its outcome in its own words. A new call is taken into our view first, so that events about it and
    /// commands on it find it.
    pub(super) fn answer_asked(&mut self, cx: Context<'_>, asked: &Asked, outcome: Outcome, effects: &mut Vec<Effect>) {
        let outcome = self.in_client_words(cx, outcome);
        let begun = match &outcome {
            Outcome::MakeCall { calling } => Some(calling),
            Outcome::ConsultationCall { initiated } => Some(initiated),
            _ => None,
        };
        if let Some(connection) = begun {
            self.begin_call(connection);
        }
        self.answer_service(cx, &asked.open, &asked.namespace, outcome, effects);
    }

    fn in_client_words(&mut self, cx: Context<'_>, mut outcome: Outcome) -> Outcome {
        let own = self.appearance.device.clone();
        let line = self.line.clone();
        let show = |device: &mut String| {
            *device =
                if *device == own { line.clone() } else { shown(device, &cx.rules.directory, &cx.rules.phone_context) };
        };
        outcome.for_each_connection_mut(|connection| {
            connection.call = self.client_call(&connection.call);
            show(&mut connection.device);
        });
        outcome.for_each_device_mut(|device| {
            if let DeviceRef::Device(name) = device {
                show(name);
            }
        });
        outcome.for_each_device_text_mut(show);
        outcome
    }

    /// Whether a device text in a request means this session's line: the same string, or another spelling of it.
    pub(super) fn is_own(&self, cx: Context<'_>, device: &str) -> bool {
        if device == self.line || device == self.appearance.device {
            return true;
        }
        let tel = Tel::parse(device);
        let is_line = |line: &str| matches!((&tel, Tel::parse(line)), (Ok(a), Ok(b)) if a.is_same_line(&b));
        is_line(&self.line)
            || is_line(&self.appearance.line)
            || cx
                .rules
                .directory
                .appearance(&self.appearance.sip, Some(device))
                .is_ok_and(|found| found.device == self.appearance.device)
    }

    pub(super) fn native_call(&self, call: &str) -> String {
        self.natives.get(call).cloned().unwrap_or_else(|| call.to_owned())
    }

    /// Our name for a PBX call: the PBX's own when a client can take it (printable, at most 32 characters), else one of ours.
    pub(super) fn client_call(&mut self, native: &str) -> String {
        if let Some((ours, _)) = self.natives.iter().find(|(_, theirs)| *theirs == native) {
            return ours.clone();
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-:+@".contains(c);
        if native.is_empty() || (native.len() <= 32 && native.chars().all(is_plain)) {
            return native.to_owned();
        }
        let ours = format!("c{:x}", crate::machine::transaction::fingerprint(native.as_bytes()));
        if self.natives.len() >= NATIVES_MAX {
            self.natives.retain(|ours, _| self.calls.contains(ours));
        }
        self.natives.insert(ours.clone(), native.to_owned());
        ours
    }
}

/// The refusal when a service names a call this line does not have.
fn no_such_call(service: &Service) -> Failure {
    match service {
        Service::AnswerCall { .. } | Service::DeflectCall { .. } => Failure::no_call_to_answer(),
        Service::ClearConnection { .. } => Failure::no_connection_to_clear(),
        Service::ClearCall { .. } => Failure::no_call_to_clear(),
        Service::RetrieveCall { .. } => Failure::no_held_call(),
        _ => Failure::invalid_connection_id(),
    }
}

/// correlatorData is hexBinary.
fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}
