//! What a user knows, and its open requests: opened, repeated, settled.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::call_view::CallView;
use super::dialog::{self, Dialog};
use super::front_end::{FlowId, Shared};
use super::seat::{Reaction, Seat};
use super::{UserOptions, Violation};
use crate::csta::{self, Event, Outcome, Payload, Service};
use crate::sip::{CSeq, Message};

/// Requests a user may have open at once.
pub(super) const OPEN_MAX: usize = 16;
/// Events that overtook the MonitorStart outcome on another flow, kept until it is there.
pub(super) const EARLY_EVENTS_MAX: usize = 16;
/// Settled requests remembered, so that a second answer is recognised.
const SETTLED_MAX: usize = 8;
/// Calls of ours whose number and call id are remembered.
const PLACED_MAX: usize = 4;

pub(super) struct Core {
    pub options: UserOptions,
    pub dialog: Dialog,
    pub view: CallView,
    pub xref: Option<String>,
    pub flow: Option<FlowId>,
    pub violations: Vec<Violation>,
    pub violations_lost: u64,
    pub is_over: bool,
    pub refreshed_at: Option<Instant>,
    pub events: u64,
    pub keepalives: u64,
    open: Vec<Open>,
    settled: VecDeque<Settled>,
    pub placed: VecDeque<Placed>,
    pub early: Vec<(u32, Event)>,
}

struct Open {
    cseq: u32,
    method: &'static str,
    service: Option<Service>,
    via: Vec<String>,
    branch: String,
    flow: Option<FlowId>,
    was_repeated: bool,
    waiter: oneshot::Sender<Settlement>,
}

struct Settled {
    cseq: u32,
    method: &'static str,
    branch: String,
    status: u16,
    /// Of the body; the body itself would keep its flow's buffer alive.
    digest: u64,
    /// A second answer may come: the request was sent twice, or given up.
    was_repeated: bool,
}

/// A call we placed: the number, and the id its outcome gave.
pub(super) struct Placed {
    pub number: String,
    pub call: String,
    pub has_originated: bool,
}

/// What became of an open request.
pub(super) enum Settlement {
    Final { message: Box<Message>, outcome: Option<Outcome>, at: Instant },
    FlowLost,
}

/// A request ready to go.
pub(super) struct Ready {
    pub cseq: u32,
    pub message: Message,
    pub answer: oneshot::Receiver<Settlement>,
}

impl Core {
    pub fn new(options: UserOptions, record_route: Arc<[String]>) -> Self {
        Self {
            view: CallView::new(options.line.as_str()),
            xref: None,
            flow: None,
            violations: Vec::new(),
            violations_lost: 0,
            is_over: false,
            refreshed_at: None,
            events: 0,
            keepalives: 0,
            open: Vec::new(),
            settled: VecDeque::new(),
            placed: VecDeque::new(),
            early: Vec::new(),
            dialog: Dialog::new(&options, record_route),
            options,
        }
    }

    pub fn has_begun(&self) -> bool {
        self.is_over || self.dialog.remote_tag.is_some() || self.dialog.has_sent()
    }

    /// A new dialog for the same user; what the old one left open will not be answered.
    pub fn begin_anew(&mut self, dialog: Dialog) {
        self.dialog = dialog;
        self.view = CallView::new(self.options.line.as_str());
        self.xref = None;
        self.is_over = false;
        self.refreshed_at = None;
        self.open.clear();
        self.settled.clear();
        self.placed.clear();
        self.early.clear();
    }

    /// Opens a request with the next CSeq; `None` when too many are open.
    pub fn open(
        &mut self,
        shared: &Shared,
        method: &'static str,
        service: Option<Service>,
        body: Vec<u8>,
    ) -> Option<Ready> {
        self.open.retain(|o| !o.waiter.is_closed());
        if self.open.len() >= OPEN_MAX {
            return None;
        }
        let branch = shared.branch();
        let path = shared.path(&branch);
        let (cseq, message) = self.dialog.request(&self.options, &path, method, body);
        let via = message.headers.fields("Via").map(str::to_owned).collect();
        let (waiter, answer) = oneshot::channel();
        self.open.push(Open { cseq, method, service, via, branch, flow: None, was_repeated: false, waiter });
        Some(Ready { cseq, message, answer })
    }

    /// Opens the same request again, unchanged, after its flow was lost.
    pub fn reopen(&mut self, cseq: u32, method: &'static str, service: Option<Service>, message: &Message) -> Ready {
        let known = self.settled.iter().position(|s| s.cseq == cseq && s.method == method);
        let branch = known.and_then(|at| self.settled.remove(at)).map(|s| s.branch).unwrap_or_default();
        let via = message.headers.fields("Via").map(str::to_owned).collect();
        let (waiter, answer) = oneshot::channel();
        self.open.push(Open { cseq, method, service, via, branch, flow: None, was_repeated: true, waiter });
        Ready { cseq, message: message.clone(), answer }
    }

    pub fn sent_on(&mut self, cseq: u32, flow: FlowId) {
        if let Some(open) = self.open.iter_mut().find(|o| o.cseq == cseq) {
            open.flow = Some(flow);
        }
    }

    /// The requester waits no longer; an answer may still come.
    pub fn give_up(&mut self, cseq: u32) {
        if let Some(at) = self.open.iter().position(|o| o.cseq == cseq) {
            let open = self.open.swap_remove(at);
            self.remember(&open, 0, 0, true);
        }
    }

    /// Requests sent on a lost flow will not be answered there.
    pub fn flow_lost(&mut self, flow: FlowId) {
        if self.flow == Some(flow) {
            self.flow = None;
        }
        let (lost, open) = std::mem::take(&mut self.open).into_iter().partition(|o: &Open| o.flow == Some(flow));
        self.open = open;
        let lost: Vec<Open> = lost;
        for open in lost {
            self.remember(&open, 0, 0, true);
            // Nobody waits if the requester gave up.
            let _ = open.waiter.send(Settlement::FlowLost);
        }
    }

    /// Whether an event may come before an answer that was said earlier: over another connection, or because that answer was
    /// lost with its connection and is asked for again.
    pub fn may_be_overtaken(&self, shared: &Shared) -> bool {
        let is_asked_again = self.open.iter().any(|open| open.was_repeated);
        let is_lost = |settled: &Settled| settled.status == 0 && settled.was_repeated;
        is_asked_again || self.settled.iter().any(is_lost) || !shared.has_one_flow()
    }

    fn remember(&mut self, open: &Open, status: u16, digest: u64, was_repeated: bool) {
        if self.settled.len() >= SETTLED_MAX {
            self.settled.pop_front();
        }
        self.settled.push_back(Settled {
            cseq: open.cseq,
            method: open.method,
            branch: open.branch.clone(),
            status,
            digest,
            was_repeated,
        });
    }

    /// Takes a response to one of ours.
    pub fn response(
        &mut self,
        seat: &Seat,
        message: Message,
        status: u16,
        reaction: &mut Reaction,
        violations: &mut Vec<Violation>,
    ) {
        let Ok(number) = message.headers.cseq() else {
            violations.push(Violation::UnaskedResponse { cseq: 0, status });
            return;
        };
        let cseq = number.number;
        let Some(at) = self.open.iter().position(|o| o.cseq == cseq && o.method == number.method) else {
            self.second_response(seat, &message, &number, status, reaction, violations);
            return;
        };
        let vias = message.headers.fields("Via");
        if !vias.eq(self.open[at].via.iter().map(String::as_str)) {
            violations.push(Violation::ViaNotEchoed { cseq });
        }
        if status < 200 {
            return;
        }
        let was_confirmed = self.dialog.remote_tag.is_some();
        let open = self.open.swap_remove(at);
        self.dialog.check_response(&message, violations);
        if status < 300 && matches!(open.method, "INVITE" | "UPDATE") {
            self.refreshed(&message, open.method, cseq, was_confirmed, violations);
        }
        if open.method == "INVITE" {
            self.acknowledge(seat, cseq, &open.branch, status, reaction);
        }
        if was_confirmed && matches!(status, 404 | 408 | 410 | 481) && open.method != "BYE" {
            violations.push(Violation::DialogDenied { method: open.method.to_owned(), status });
        }
        let outcome = self.outcome(seat, &open, &message, status, violations);
        self.remember(&open, status, dialog::digest(&message), open.was_repeated);
        let settlement = Settlement::Final { message: Box::new(message), outcome, at: Instant::now() };
        if open.waiter.send(settlement).is_err()
            && let Some(last) = self.settled.back_mut()
        {
            last.was_repeated = true;
        }
    }

    fn acknowledge(&self, seat: &Seat, cseq: u32, invite_branch: &str, status: u16, reaction: &mut Reaction) {
        let new_branch = seat.front_end.branch();
        let branch = if status < 300 { new_branch.as_str() } else { invite_branch };
        let ack = self.dialog.ack(&self.options, &seat.front_end.path(branch), cseq);
        // A refusal's ACK belongs to its INVITE's hop, a success's is routed anew.
        if status < 300 { reaction.sends.push(ack) } else { reaction.replies.push(ack) }
    }

    fn second_response(
        &mut self,
        seat: &Seat,
        message: &Message,
        number: &CSeq,
        status: u16,
        reaction: &mut Reaction,
        violations: &mut Vec<Violation>,
    ) {
        let cseq = number.number;
        let Some(at) = self.settled.iter().position(|s| s.cseq == cseq && s.method == number.method) else {
            violations.push(Violation::UnaskedResponse { cseq, status });
            return;
        };
        if status < 200 {
            return;
        }
        let digest = dialog::digest(message);
        let settled = &mut self.settled[at];
        let branch = settled.branch.clone();
        if settled.status == 503 && settled.was_repeated {
            // A node without a quorum refused the repetition for now; this is the answer.
        } else if settled.status != 0 && (settled.status != status || settled.digest != digest) {
            violations.push(Violation::AnswersDiffer { cseq });
        } else if settled.status != 0 && !settled.was_repeated {
            violations.push(Violation::UnaskedResponse { cseq, status });
        }
        settled.status = status;
        settled.digest = digest;
        if number.method == "INVITE" {
            if status < 300 && self.dialog.remote_tag.is_none() {
                self.dialog.check_response(message, violations);
            }
            self.acknowledge(seat, cseq, &branch, status, reaction);
        }
    }

    /// A 2xx to INVITE or UPDATE: remote target, session timer, route set.
    fn refreshed(
        &mut self,
        message: &Message,
        method: &str,
        cseq: u32,
        was_confirmed: bool,
        violations: &mut Vec<Violation>,
    ) {
        self.refreshed_at = Some(Instant::now());
        match message.headers.contact() {
            Ok(Some(contact)) => self.dialog.remote_target = Some(contact.uri.text),
            _ => violations.push(Violation::ContactMissing { cseq }),
        }
        match message.headers.session_expires() {
            Ok(Some((seconds, _))) => self.dialog.session_expires_s = Some(seconds),
            _ => violations.push(Violation::SessionTimerMissing { cseq }),
        }
        if method == "INVITE" && !message.headers.has_token("Allow", "UPDATE") {
            violations.push(Violation::UpdateNotAllowed { cseq });
        }
        let sent = match (self.dialog.next_record_route.take(), was_confirmed) {
            (Some(next), _) => {
                self.dialog.record_route = next;
                true
            }
            (None, was_confirmed) => !was_confirmed,
        };
        let copied = message.headers.values("Record-Route");
        if sent && !copied.eq(self.dialog.record_route.iter().map(String::as_str)) {
            violations.push(Violation::RecordRouteNotCopied { cseq });
        }
    }

    /// Reads the CSTA body of an answer; done here and not by the requester, because the very next message may be an
    /// event that needs what it says.
    fn outcome(
        &mut self,
        seat: &Seat,
        open: &Open,
        message: &Message,
        status: u16,
        violations: &mut Vec<Violation>,
    ) -> Option<Outcome> {
        let service = open.service.as_ref()?;
        if !(200..300).contains(&status) {
            return None;
        }
        let Ok(csta::Document { payload: Payload::Outcome(outcome), .. }) = csta::decode(&message.body) else {
            violations.push(Violation::UnreadableBody { cseq: open.cseq });
            return None;
        };
        let (asked, told) = (service.name(), outcome.name());
        if told.strip_suffix("Response") != Some(asked) && !matches!(outcome, Outcome::Failed(_)) {
            violations.push(Violation::WrongOutcome { service: asked, outcome: told });
            return None;
        }
        match (&outcome, service) {
            (Outcome::MonitorStart { xref, .. }, _) => {
                self.xref = Some(xref.clone());
                for (cseq, event) in std::mem::take(&mut self.early) {
                    self.event(seat, cseq, event, violations);
                }
            }
            (Outcome::MonitorStop, _) => self.xref = None,
            (Outcome::MakeCall { calling: call }, Service::MakeCall { called: number, .. })
            | (Outcome::ConsultationCall { initiated: call }, Service::ConsultationCall { consulted: number, .. }) => {
                if call.device != self.options.line {
                    violations
                        .push(Violation::WrongDevice { expected: self.options.line.clone(), got: call.device.clone() });
                }
                let is_known = self.view.call(&call.call).is_some() || self.view.has_ended(&call.call);
                if is_known && !open.was_repeated && !self.may_be_overtaken(&seat.front_end) {
                    violations.push(Violation::EventBeforeOutcome { call: call.call.clone() });
                }
                if self.placed.len() >= PLACED_MAX {
                    self.placed.pop_front();
                }
                self.placed.push_back(Placed {
                    number: number.clone(),
                    call: call.call.clone(),
                    has_originated: is_known,
                });
            }
            _ => {}
        }
        Some(outcome)
    }
}
