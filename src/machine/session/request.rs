//! Requests of the dialog, and how each is answered (rcc sheet 1.4 to 1.10, 1.12).

use super::{Context, Session};
use crate::csta::{Outcome, Payload, XmlError, decode, encode};
use crate::machine::dialog::{ALLOW, CSTA_TYPE, UNDERSTOOD};
use crate::machine::effect::{Effect, EndReason, Note};
use crate::machine::input::FlowId;
use crate::machine::rules::{T1_MS, T2_MS};
use crate::machine::transaction::{AnswerBody, Answered, Open, Order, RemoteCSeq};
use crate::sip::{Message, reason_of};

impl Session {
    pub(super) fn on_request(&mut self, cx: Context<'_>, flow: FlowId, request: &Message, effects: &mut Vec<Effect>) {
        // Any request of the dialog shows that the 200 arrived; an INFO may overtake the ACK.
        let is_invite = request.method() == Some("INVITE");
        if !is_invite {
            self.unconfirmed = None;
        }
        if request.method() == Some("ACK") {
            return;
        }
        let Ok(open) = Open::of(flow, request) else { return };
        if request.method() != Some(open.method.as_str()) {
            // RFC 3261 §8.1.1.5: the method in CSeq is the request's.
            let response = self.dialog.answer(&open, 400, reason_of(400), cx.rules, None);
            effects.push(Effect::Respond { flow, message: response });
            return;
        }
        if open.method == "CANCEL" {
            return self.on_cancel(cx, &open, request, effects);
        }
        if self.is_merged(&open, request) {
            let response = self.dialog.answer(&open, 482, reason_of(482), cx.rules, None);
            effects.push(Effect::Respond { flow, message: response });
            return;
        }
        if self.answer_repeated(cx, &open, request, effects) {
            return;
        }
        if !self.take_cseq(cx, &open, effects) {
            return;
        }
        if is_invite {
            self.dialog.invite_branch = branch_of(request);
        }
        self.outbox_heard();
        let refused = unknown_extension(request);
        if !refused.is_empty() {
            let mut response = self.dialog.answer(&open, 420, reason_of(420), cx.rules, None);
            response.headers.push("Unsupported", refused.join(", "));
            self.respond(&open, response, effects);
            return;
        }
        match open.method.as_str() {
            "INFO" => self.on_info(cx, open, request, effects),
            "INVITE" | "UPDATE" => self.on_refresh(cx, &open, request, effects),
            "BYE" => {
                let response = self.dialog.answer(&open, 200, reason_of(200), cx.rules, None);
                self.respond(&open, response, effects);
                effects.push(Effect::End(EndReason::SignedOut));
            }
            "OPTIONS" => {
                let mut response = self.dialog.answer(&open, 200, reason_of(200), cx.rules, None);
                response.headers.push("Accept", CSTA_TYPE);
                response.headers.push("Allow", ALLOW);
                response.headers.push("Supported", "timer");
                self.respond(&open, response, effects);
            }
            // Never answered, by their definition.
            "BENOTIFY" => {}
            _ => {
                let mut response = self.dialog.answer(&open, 405, reason_of(405), cx.rules, None);
                response.headers.push("Allow", ALLOW);
                self.respond(&open, response, effects);
            }
        }
        self.pump(cx, effects);
    }

    /// A request we have answered gets that answer again, and one that is still open gets its answer on the newest flow.
    /// True when `request` was a repetition.
    fn answer_repeated(&mut self, cx: Context<'_>, open: &Open, request: &Message, effects: &mut Vec<Effect>) -> bool {
        if let Some(earlier) = self.open_requests().find(|earlier| earlier.is_repeated_by(open)) {
            earlier.flow = open.flow;
            earlier.vias.clone_from(&open.vias);
            return true;
        }
        let Some(answer) = self.answered.find(open).cloned() else { return false };
        // pidgin-sipe starts again at CSeq 1 with every re-INVITE: same number, same body, another transaction.
        if open.method == "INVITE" && self.dialog.invite_branch != branch_of(request) {
            return false;
        }
        if open.method == "INVITE"
            && let Some(unconfirmed) = &mut self.unconfirmed
        {
            unconfirmed.open.flow = open.flow;
            unconfirmed.open.vias.clone_from(&open.vias);
        }
        let body = match &answer.body {
            AnswerBody::None => None,
            AnswerBody::Xml(xml) => Some(xml.clone()),
            AnswerBody::Features { namespace } => Some(self.features_body(cx, namespace)),
        };
        let response = match open.method.as_str() {
            "INVITE" | "UPDATE" if answer.status == 200 => {
                self.dialog.accept(open, &record_routes(request), cx.rules, body.as_deref())
            }
            _ => self.dialog.answer(open, answer.status, reason_of(answer.status), cx.rules, body.as_deref()),
        };
        effects.push(Effect::Respond { flow: open.flow, message: response });
        true
    }

    fn open_requests(&mut self) -> impl Iterator<Item = &mut Open> {
        let asked = self.asked.iter_mut().map(|asked| &mut asked.open);
        asked.chain(self.waiting.iter_mut().map(|waiting| &mut waiting.open))
    }

    /// RFC 3261 §12.2.2 asks for 500 on a lower CSeq; dialogs over several connections and pidgin-sipe ask for patience.
    fn take_cseq(&mut self, cx: Context<'_>, open: &Open, effects: &mut Vec<Effect>) -> bool {
        let seen = self.dialog.remote_cseq.highest;
        let order = self.dialog.remote_cseq.order(open.cseq);
        let accepted = match order {
            Order::Next => true,
            Order::Late => cx.rules.cseq_tolerant,
            Order::Seen => cx.rules.cseq_tolerant && open.method == "INVITE",
        };
        if !accepted {
            let response = self.dialog.answer(open, 500, "CSeq Out of Order", cx.rules, None);
            effects.push(Effect::Respond { flow: open.flow, message: response });
            return false;
        }
        match order {
            Order::Next => self.dialog.remote_cseq.see(open.cseq),
            Order::Late => {
                self.dialog.remote_cseq.see(open.cseq);
                effects.push(Effect::Note(Note::LateCSeq { seen, got: open.cseq }));
            }
            Order::Seen => {
                // What follows counts anew: an INFO with a number of before is no repetition.
                self.dialog.remote_cseq = RemoteCSeq::starting_at(open.cseq);
                self.answered.become_past();
                self.open_requests().for_each(|earlier| earlier.is_past = true);
                effects.push(Effect::Note(Note::LateCSeq { seen, got: open.cseq }));
            }
        }
        true
    }

    /// The INVITE of this dialog by another path (RFC 3261 §8.2.2.2): no To tag, as at the beginning, but another branch.
    fn is_merged(&self, open: &Open, request: &Message) -> bool {
        open.method == "INVITE"
            && request.headers.to().is_ok_and(|to| to.tag().is_none())
            && self.dialog.invite_branch != branch_of(request)
    }

    /// An INVITE is answered at once, so a CANCEL finds nothing to stop (RFC 3261 §9.2). It has the INVITE's CSeq.
    fn on_cancel(&mut self, cx: Context<'_>, open: &Open, request: &Message, effects: &mut Vec<Effect>) {
        let status = if self.dialog.invite_branch == branch_of(request) { 200 } else { 481 };
        let message = self.dialog.answer(open, status, reason_of(status), cx.rules, None);
        effects.push(Effect::Respond { flow: open.flow, message });
    }

    /// Session refresh (RFC 4028) and route repair (MS-SIPRE 3.7.5) in one: 200 with the session timer, and the system
    /// status when it was asked.
    fn on_refresh(&mut self, cx: Context<'_>, open: &Open, request: &Message, effects: &mut Vec<Effect>) {
        if let Some(response) = interval_too_small(cx, open, request, &self.dialog.local_tag) {
            self.respond(open, response, effects);
            return;
        }
        let status = if request.body.is_empty() {
            None
        } else {
            match self.read_status_request(cx, open, request) {
                Ok(namespace) => Some(namespace),
                Err(response) => {
                    self.respond(open, *response, effects);
                    return;
                }
            }
        };
        if let Err(refusal) = cx.rules.directory.appearance(&self.appearance.sip, Some(&self.appearance.line)) {
            let mut response = self.dialog.answer(open, refusal.status(), reason_of(refusal.status()), cx.rules, None);
            response.headers.push("Warning", warning(cx, refusal.name()));
            self.respond(open, response, effects);
            self.bye(cx, EndReason::Closed, effects);
            return;
        }
        if let Err(problem) = self.dialog.refresh(request, cx.rules, cx.now) {
            let mut response = self.dialog.answer(open, 400, reason_of(400), cx.rules, None);
            response.headers.push("Warning", warning(cx, &problem.to_string()));
            self.respond(open, response, effects);
            return;
        }
        let body = status.map(|namespace| self.status_body(cx, &namespace));
        let response = self.dialog.accept(open, &record_routes(request), cx.rules, body.as_deref());
        self.remember(open, 200, body.map_or(AnswerBody::None, AnswerBody::Xml));
        effects.push(Effect::Respond { flow: open.flow, message: response });
        self.outbox.release();
    }

    /// The body of an INVITE or UPDATE must ask for the system status; answers what to say otherwise.
    fn read_status_request(&self, cx: Context<'_>, open: &Open, request: &Message) -> Result<String, Box<Message>> {
        if !is_csta(request) {
            return Err(Box::new(self.unsupported_media(cx, open)));
        }
        match decode(&request.body) {
            Ok(document) => match document.payload {
                Payload::Service(crate::csta::Service::RequestSystemStatus { .. }) => {
                    Ok(document.namespace.to_string())
                }
                _ => Err(Box::new(self.bad_body(cx, open, "RequestSystemStatus expected"))),
            },
            Err(error) => Err(Box::new(self.bad_body(cx, open, &error.to_string()))),
        }
    }

    fn on_info(&mut self, cx: Context<'_>, open: Open, request: &Message, effects: &mut Vec<Effect>) {
        if request.body.is_empty() {
            let response = self.dialog.answer(&open, 200, reason_of(200), cx.rules, None);
            self.respond(&open, response, effects);
            return;
        }
        if !is_csta(request) {
            let response = self.unsupported_media(cx, &open);
            self.respond(&open, response, effects);
            return;
        }
        match decode(&request.body) {
            Ok(document) => {
                let namespace = document.namespace.to_string();
                match document.payload {
                    Payload::Service(service) => self.serve(cx, open, namespace, service, effects),
                    // What a client says to our own services needs no answer beyond the 200.
                    Payload::Outcome(_) => {
                        let response = self.dialog.answer(&open, 200, reason_of(200), cx.rules, None);
                        self.respond(&open, response, effects);
                    }
                    Payload::Event(_) | Payload::Unknown { .. } => {
                        let failure = crate::csta::Failure::service_not_supported();
                        self.answer_service(cx, &open, &namespace, Outcome::Failed(failure), effects);
                    }
                }
            }
            Err(XmlError::Missing { namespace, .. } | XmlError::Invalid { namespace, .. }) => {
                let failure = crate::csta::Failure::invalid_parameter_value();
                self.answer_service(cx, &open, &namespace, Outcome::Failed(failure), effects);
            }
            Err(error) => {
                effects.push(Effect::Note(Note::BadBody));
                let response = self.bad_body(cx, &open, &error.to_string());
                self.respond(&open, response, effects);
            }
        }
    }

    /// 200 with the outcome as body: CSTA answers travel in the final response, refusals too.
    pub(super) fn answer_service(
        &mut self,
        cx: Context<'_>,
        open: &Open,
        namespace: &str,
        outcome: Outcome,
        effects: &mut Vec<Effect>,
    ) {
        let xml = xml(&Payload::Outcome(outcome), namespace);
        let response = self.dialog.answer(open, 200, reason_of(200), cx.rules, Some(&xml));
        self.remember(open, 200, AnswerBody::Xml(xml));
        effects.push(Effect::Respond { flow: open.flow, message: response });
    }

    /// Sends a final answer without a body worth keeping, and remembers it.
    pub(super) fn respond(&mut self, open: &Open, response: Message, effects: &mut Vec<Effect>) {
        let status = response.status().unwrap_or_default();
        self.remember(open, status, AnswerBody::None);
        effects.push(Effect::Respond { flow: open.flow, message: response });
    }

    pub(in crate::machine) fn remember(&mut self, open: &Open, status: u16, mut body: AnswerBody) {
        if let AnswerBody::Xml(xml) = &mut body {
            // It was written into a kilobyte.
            xml.shrink_to_fit();
        }
        self.answered.remember(Answered {
            cseq: open.cseq,
            method: open.method.clone(),
            fingerprint: open.fingerprint,
            status,
            body,
            branch: open.branch,
            is_past: open.is_past,
        });
    }

    fn unsupported_media(&self, cx: Context<'_>, open: &Open) -> Message {
        let mut response = self.dialog.answer(open, 415, reason_of(415), cx.rules, None);
        response.headers.push("Accept", CSTA_TYPE);
        response
    }

    fn bad_body(&self, cx: Context<'_>, open: &Open, why: &str) -> Message {
        let mut response = self.dialog.answer(open, 400, reason_of(400), cx.rules, None);
        response.headers.push("Warning", warning(cx, why));
        response
    }

    pub(super) fn tick_unconfirmed(&mut self, cx: Context<'_>, effects: &mut Vec<Effect>) {
        let Some(mut unconfirmed) = self.unconfirmed.take() else { return };
        if cx.now >= unconfirmed.give_up_at {
            self.bye(cx, EndReason::NeverConfirmed, effects);
            return;
        }
        if cx.now >= unconfirmed.repeat_at {
            let open = &unconfirmed.open;
            let message = self.dialog.accept(open, &unconfirmed.record_routes, cx.rules, Some(&unconfirmed.body));
            effects.push(Effect::Respond { flow: open.flow, message });
            unconfirmed.interval_ms = (unconfirmed.interval_ms * 2).clamp(T1_MS, T2_MS);
            unconfirmed.repeat_at = cx.now.after_ms(unconfirmed.interval_ms);
        }
        self.unconfirmed = Some(unconfirmed);
    }
}

/// 422 when the far side asks for a session interval below our Min-SE (RFC 4028 §6).
pub(in crate::machine) fn interval_too_small(
    cx: Context<'_>,
    open: &Open,
    request: &Message,
    tag: &str,
) -> Option<Message> {
    let (seconds, _) = request.headers.session_expires().ok().flatten()?;
    (seconds < cx.rules.min_se_s).then(|| {
        let mut response = open.response(422, reason_of(422), Some(tag));
        response.headers.push("Server", &cx.rules.product);
        response.headers.push("Min-SE", cx.rules.min_se_s.to_string());
        response
    })
}

/// Option tags in Require that we do not understand (RFC 3261 §8.2.2.3).
pub(in crate::machine) fn unknown_extension(request: &Message) -> Vec<String> {
    request
        .headers
        .values("Require")
        .filter(|tag| !UNDERSTOOD.iter().any(|known| known.eq_ignore_ascii_case(tag)))
        .map(str::to_owned)
        .collect()
}

pub(in crate::machine) fn is_csta(request: &Message) -> bool {
    let Some(value) = request.headers.get("Content-Type") else { return false };
    value.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(CSTA_TYPE))
}

pub(in crate::machine) fn record_routes(request: &Message) -> Vec<String> {
    request.headers.fields("Record-Route").map(str::to_owned).collect()
}

pub(in crate::machine) fn branch_of(request: &Message) -> Option<String> {
    request.headers.top_via().ok().and_then(|via| via.branch)
}

/// RFC 3261 §20.43: 399 is the code for a miscellaneous warning meant for people.
pub(in crate::machine) fn warning(cx: Context<'_>, text: &str) -> String {
    let host = cx.rules.sent_by.split(':').next().unwrap_or("gateway");
    let text: String = text.chars().map(|c| if c == '"' || c == '\\' || c.is_control() { '\'' } else { c }).collect();
    format!("399 {host} \"{text}\"")
}

pub(in crate::machine) fn xml(payload: &Payload, namespace: &str) -> String {
    String::from_utf8(encode(payload, namespace)).expect("the encoder writes UTF-8")
}
