//! What the gateway asks of a user: events above all.

use tokio::time::Instant;

use super::core::{Core, EARLY_EVENTS_MAX};
use super::dialog::{self, CONTENT_TYPE, Order};
use super::front_end::FlowId;
use super::history::What;
use super::seat::{Reaction, Seat};
use super::{EventAnswer, Violation};
use crate::csta::{self, Event, EventBody, Outcome, Payload, Service};
use crate::sip::{Message, StartLine};

impl Core {
    /// Takes a request of this dialog: checked, answered, folded in.
    pub fn request(
        &mut self,
        seat: &Seat,
        message: Message,
        flow: FlowId,
        reaction: &mut Reaction,
        violations: &mut Vec<Violation>,
    ) {
        let StartLine::Request { method, uri } = &message.start else { return };
        if method == "ACK" {
            return;
        }
        let agent = self.options.product.user_agent();
        let reply = |status, reason: &str| dialog::answer(&message, status, reason, agent);
        if self.flow.is_none() {
            self.flow = Some(flow);
        }
        if self.is_over || !self.dialog.owns(&message.headers, violations) {
            reaction.replies.push(reply(481, "Call Leg/Transaction Does Not Exist"));
            return;
        }
        let Ok(number) = message.headers.cseq() else {
            reaction.replies.push(reply(400, "Bad CSeq"));
            return;
        };
        let cseq = number.number;
        if let EventAnswer::Refused { status, recovery_action } = &self.options.answers_events
            && method == "INFO"
        {
            let mut refusal = reply(*status, "Flow Failed");
            if let Some(action) = recovery_action {
                refusal.headers.push("P-Dialog-Recovery-Action", action.clone());
            }
            refusal.headers.push("ms-diagnostics", "1004;reason=\"Route set is no longer valid\"");
            reaction.replies.push(refusal);
            return;
        }
        let order = self.dialog.order(cseq, &message, violations);
        if order == Order::Refused {
            reaction.replies.push(reply(500, "CSeq out of order"));
            return;
        }
        self.dialog.check_way(uri, cseq, &message.headers, violations);
        match method.as_str() {
            "INFO" => {
                let mut answer = reply(200, "OK");
                if order == Order::Next {
                    self.info(seat, &message, cseq, &mut answer, violations);
                }
                if self.options.answers_events != EventAnswer::Silent {
                    reaction.replies.push(answer);
                }
            }
            "OPTIONS" => reaction.replies.push(reply(200, "OK")),
            "UPDATE" => {
                let mut answer = reply(200, "OK");
                answer.headers.push("Contact", self.dialog.contact.clone());
                reaction.replies.push(answer);
            }
            "BYE" => {
                if order == Order::Next {
                    violations.push(Violation::ByeReceived);
                }
                self.is_over = true;
                self.xref = None;
                reaction.replies.push(reply(200, "OK"));
            }
            _ => reaction.replies.push(reply(405, "Method Not Allowed")),
        }
    }

    fn info(
        &mut self,
        seat: &Seat,
        message: &Message,
        cseq: u32,
        answer: &mut Message,
        violations: &mut Vec<Violation>,
    ) {
        // A keep-alive; seen from a Cisco gateway: an INFO with a content type and no content.
        if message.body.is_empty() {
            self.keepalives += 1;
            return;
        }
        let is_csta = message.headers.is_content_type(CONTENT_TYPE);
        match csta::decode(&message.body).map(|d| d.payload) {
            Ok(Payload::Event(event)) if is_csta => self.event(seat, cseq, event, violations),
            Ok(Payload::Service(Service::MonitorStop { xref })) if is_csta => {
                self.event(seat, cseq, Event { xref, body: EventBody::MonitorStopped }, violations);
                answer.headers.push("Content-Type", CONTENT_TYPE);
                answer.body = csta::encode(&Payload::Outcome(Outcome::MonitorStop), csta::ED3).into();
            }
            _ => violations.push(Violation::UnreadableBody { cseq }),
        }
    }

    pub fn event(&mut self, seat: &Seat, cseq: u32, event: Event, violations: &mut Vec<Violation>) {
        if self.xref.is_none() && self.may_be_overtaken(&seat.front_end) && self.early.len() < EARLY_EVENTS_MAX {
            self.early.push((cseq, event));
            return;
        }
        seat.front_end.note(&seat.name, || What::Event {
            at_us: seat.front_end.origin.at_us(Instant::now()),
            cseq,
            event: event.body.name(),
            call: event.call().unwrap_or_default().to_owned(),
            xref: event.xref.clone(),
        });
        if self.xref.as_deref() != Some(event.xref.as_str()) {
            violations.push(Violation::WrongXref { expected: self.xref.clone(), got: event.xref });
            return;
        }
        self.events += 1;
        self.check_event(&event.body, violations);
        violations.extend(self.view.apply(&event).into_iter().map(Violation::Call));
        if event.body == EventBody::MonitorStopped {
            self.xref = None;
        }
    }

    fn check_event(&mut self, body: &EventBody, violations: &mut Vec<Violation>) {
        let Some(connection) = body.connection() else { return };
        let (line, device) = (&self.options.line, &connection.device);
        let is_cut = line.strip_prefix(device.as_str()).is_some_and(|rest| rest.starts_with(';'));
        if device != line && !device.is_empty() && (is_cut || device.eq_ignore_ascii_case(line)) {
            violations.push(Violation::LineRespelled { expected: line.clone(), got: device.clone() });
        }
        let EventBody::Originated { calling, called, .. } = body else { return };
        if calling.as_device() != Some(line) {
            return;
        }
        let number = called.as_device();
        if let Some(ours) = self.placed.iter_mut().find(|p| p.call == connection.call) {
            ours.has_originated = true;
        } else if let Some(latest) = self.placed.iter().rev().find(|p| Some(p.number.as_str()) == number)
            && !latest.has_originated
        {
            violations.push(Violation::WrongCallId { expected: latest.call.clone(), got: connection.call.clone() });
        }
    }
}
