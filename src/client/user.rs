//! One RCC user: signs in, asks for services, sees events, signs out.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::call_view::CallView;
use super::core::{Ready, Settlement};
use super::dialog::Dialog;
use super::front_end::FlowId;
use super::history::{Operation, OperationResult, What};
use super::seat::Seat;
use super::{Direction, EventAnswer, RefreshMethod, Violation, word};
use crate::csta::{self, ConnectionId, Failure, Features, MonitorObject, Outcome, Payload, Service};
use crate::sip::Message;

/// A handle; clones share the user.
#[derive(Clone)]
pub struct RccUser {
    pub(super) seat: Arc<Seat>,
}

/// The answer to a service: done, or refused by the switch ([`Outcome::Failed`]); either is definite.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub outcome: Outcome,
    /// From sending the request to its final answer.
    pub took: Duration,
    pub cseq: u32,
}

impl Reply {
    pub fn refusal(&self) -> Option<&Failure> {
        match &self.outcome {
            Outcome::Failed(failure) => Some(failure),
            _ => None,
        }
    }

    pub fn is_done(&self) -> bool {
        self.refusal().is_none()
    }

    /// The call the outcome names.
    pub fn call(&self) -> Option<&ConnectionId> {
        match &self.outcome {
            Outcome::MakeCall { calling: call }
            | Outcome::ConsultationCall { initiated: call }
            | Outcome::TransferCall { transferred: call, .. }
            | Outcome::SingleStepTransferCall { transferred: call, .. }
            | Outcome::ConferenceCall { conference: call, .. }
            | Outcome::SingleStepConferenceCall { conferenced: call } => Some(call),
            _ => None,
        }
    }
}

/// A service without an outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    #[error("SIP {status} {reason}")]
    Sip {
        status: u16,
        reason: String,
        retry_after_s: Option<u32>,
        /// An earlier copy of the request went out on a connection that was lost.
        is_repeat: bool,
    },
    /// 2xx whose body is not the outcome asked for.
    #[error("the answer's body is not the outcome")]
    BadBody,
    #[error("no answer in time")]
    TimedOut,
    #[error("the connection was lost before the answer")]
    FlowLost,
    #[error("no connection to send on")]
    NotSent,
    #[error("too many requests open")]
    Busy,
}

impl Unanswered {
    /// Whether the service was certainly not carried out. 408, 500 and 504 leave it open, and so does a 503 to a repetition:
    /// who cannot serve now does not know what became of the first copy.
    pub fn is_definite(&self) -> bool {
        match self {
            Self::Sip { status: 503, is_repeat, .. } => !is_repeat,
            Self::Sip { status, .. } => !matches!(status, 408 | 500 | 504),
            Self::NotSent | Self::Busy => true,
            Self::BadBody | Self::TimedOut | Self::FlowLost => false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    #[error("INVITE: {0}")]
    Invite(Unanswered),
    /// The dialog stands, without a monitor: real clients ask again at the next refresh.
    #[error("system status is {system_status}, not normal")]
    NotNormal { system_status: String },
    #[error("{service}: {why}")]
    Service { service: &'static str, why: Unanswered },
    #[error("{service}: the switch refused: {failure:?}")]
    Refused { service: &'static str, failure: Failure },
}

#[derive(Clone, Debug, PartialEq)]
pub struct SignedIn {
    /// From the INVITE to the last of the three answers.
    pub took: Duration,
    pub features: Features,
    pub xref: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refreshed {
    pub took: Duration,
    /// Told by a re-INVITE's answer only.
    pub system_status: Option<String>,
}

struct Exchange {
    message: Message,
    outcome: Option<Outcome>,
    took: Duration,
    cseq: u32,
}

impl RccUser {
    pub(super) fn new(seat: Arc<Seat>) -> Self {
        Self { seat }
    }

    /// INVITE with RequestSystemStatus, ACK, then GetCSTAFeatures and MonitorStart without waiting in between. A second
    /// sign-in begins a new dialog.
    pub async fn sign_in(&self) -> Result<SignedIn, SignInError> {
        let started = Instant::now();
        let line = self.begin();
        let status = Service::RequestSystemStatus { line: Some(line.clone()) };
        let invite = self.exchange("INVITE", Some(status)).await.map_err(SignInError::Invite)?;
        match invite.outcome {
            Some(Outcome::RequestSystemStatus { system_status }) if system_status.eq_ignore_ascii_case("normal") => {}
            Some(Outcome::RequestSystemStatus { system_status }) => {
                return Err(SignInError::NotNormal { system_status });
            }
            Some(Outcome::Failed(failure)) => {
                return Err(SignInError::Refused { service: "RequestSystemStatus", failure });
            }
            _ => return Err(SignInError::Invite(Unanswered::BadBody)),
        }
        let monitor = Service::MonitorStart { object: MonitorObject::Device(line.clone()), line: None };
        let (features, monitor) =
            tokio::join!(self.invoke(Service::GetCstaFeatures { line: Some(line) }), self.invoke(monitor));
        let settle = |service, reply: Result<Reply, Unanswered>| match reply {
            Ok(Reply { outcome: Outcome::Failed(failure), .. }) => Err(SignInError::Refused { service, failure }),
            Ok(reply) => Ok(reply.outcome),
            Err(why) => Err(SignInError::Service { service, why }),
        };
        let features = settle("GetCSTAFeatures", features)?;
        let monitor = settle("MonitorStart", monitor)?;
        let (Outcome::GetCstaFeatures { features }, Outcome::MonitorStart { xref, .. }) = (features, monitor) else {
            return Err(SignInError::Service { service: "MonitorStart", why: Unanswered::BadBody });
        };
        Ok(SignedIn { took: started.elapsed(), features, xref })
    }

    /// A fresh dialog, unless the present one has not begun; gives the line.
    fn begin(&self) -> String {
        let mut core = self.seat.core();
        if core.has_begun() {
            let shared = &self.seat.front_end;
            let route = core.options.record_route.clone().unwrap_or_else(|| shared.options.record_route.clone());
            let new = Dialog::new(&core.options, route);
            shared.forget(&core.dialog.call_id);
            shared.seat(new.call_id.clone(), &self.seat);
            core.begin_anew(new);
        }
        core.options.line.clone()
    }

    /// As the product does: re-INVITE with RequestSystemStatus, or UPDATE.
    pub async fn refresh(&self) -> Result<Refreshed, Unanswered> {
        let (method, line) = {
            let core = self.seat.core();
            (core.options.product.refresh_method(), core.options.line.clone())
        };
        let exchange = match method {
            RefreshMethod::Update => self.exchange("UPDATE", None).await?,
            RefreshMethod::ReInvite => {
                self.exchange("INVITE", Some(Service::RequestSystemStatus { line: Some(line) })).await?
            }
        };
        let system_status = match exchange.outcome {
            Some(Outcome::RequestSystemStatus { system_status }) => Some(system_status),
            _ => None,
        };
        Ok(Refreshed { took: exchange.took, system_status })
    }

    /// Repairs the dialog's route set, as Lync does after 430: UPDATE with a fresh Record-Route (MS-SIPRE 3.7.5).
    pub async fn update_route(&self, record_route: Arc<[String]>) -> Result<Refreshed, Unanswered> {
        self.seat.core().dialog.next_record_route = Some(record_route);
        let result = self.exchange("UPDATE", None).await;
        if result.is_err() {
            self.seat.core().dialog.next_record_route = None;
        }
        Ok(Refreshed { took: result?.took, system_status: None })
    }

    /// How long until this product refreshes: its own period, or a minute before the session ends if that is sooner.
    /// `None` while there is no dialog.
    pub fn refresh_in(&self) -> Option<Duration> {
        let core = self.seat.core();
        let at = core.refreshed_at.filter(|_| !core.is_over)?;
        let own = core.options.product.refresh_s();
        let session = core.dialog.session_expires_s.map_or(own, |s| s.saturating_sub(60).max(s / 2));
        Some((at + Duration::from_secs(own.min(session).into())).saturating_duration_since(Instant::now()))
    }

    /// OPTIONS inside the dialog.
    pub async fn options(&self) -> Result<Duration, Unanswered> {
        Ok(self.exchange("OPTIONS", None).await?.took)
    }

    /// MonitorStop if there is a monitor, then BYE. The dialog is over, whatever the answers.
    pub async fn sign_out(&self) -> Result<Duration, Unanswered> {
        let started = Instant::now();
        let xref = self.seat.core().xref.clone();
        if let Some(xref) = xref {
            // Real clients do not look at this answer either: BYE ends the monitor too.
            let _ = self.invoke(Service::MonitorStop { xref }).await;
        }
        let bye = self.exchange("BYE", None).await;
        let mut core = self.seat.core();
        core.is_over = true;
        core.xref = None;
        bye.map(|_| started.elapsed())
    }

    /// Any service in an INFO.
    pub async fn invoke(&self, service: Service) -> Result<Reply, Unanswered> {
        let Exchange { outcome, took, cseq, .. } = self.exchange("INFO", Some(service)).await?;
        Ok(Reply { outcome: outcome.ok_or(Unanswered::BadBody)?, took, cseq })
    }

    async fn exchange(&self, method: &'static str, service: Option<Service>) -> Result<Exchange, Unanswered> {
        let started = Instant::now();
        let result = self.transact(method, service.clone(), started).await;
        let shared = &self.seat.front_end;
        shared.note(&self.seat.name, || {
            let (op, target) = match &service {
                Some(service) => (service.name(), word::target(service)),
                None => (method, None),
            };
            let call =
                result.as_ref().ok().and_then(|e| e.outcome.clone()).and_then(|outcome| {
                    Reply { outcome, took: Duration::ZERO, cseq: 0 }.call().map(|c| c.call.clone())
                });
            What::Operation(Operation {
                op,
                target,
                cseq: result.as_ref().map_or(0, |e| e.cseq),
                start_us: shared.origin.at_us(started),
                end_us: shared.origin.at_us(Instant::now()),
                result: conclusion(&result, service.is_some()),
                call,
            })
        });
        result
    }

    async fn transact(
        &self,
        method: &'static str,
        service: Option<Service>,
        started: Instant,
    ) -> Result<Exchange, Unanswered> {
        let shared = &self.seat.front_end;
        let body = service.clone().map(|s| csta::encode(&Payload::Service(s), csta::ED3)).unwrap_or_default();
        let deadline = started + self.seat.core().options.answer_timeout;
        let mut sent: Option<(u32, Message)> = None;
        loop {
            let late = if sent.is_some() { Unanswered::TimedOut } else { Unanswered::NotSent };
            let wanted = self.seat.core().flow;
            let Some(flow) = shared.flow_for(wanted, deadline).await else { return Err(late) };
            let room = match timeout_at(deadline, flow.queue.reserve()).await {
                Ok(Ok(room)) => room,
                Ok(Err(_)) => continue,
                Err(_) => return Err(late),
            };
            // Numbered and queued under one lock, so that CSeq order is the flow's order.
            let Ready { cseq, message, answer } = {
                let mut core = self.seat.core();
                core.flow = Some(flow.id);
                let ready = match &sent {
                    None => core.open(shared, method, service.clone(), body.clone()).ok_or(Unanswered::Busy)?,
                    Some((cseq, message)) => core.reopen(*cseq, method, service.clone(), message),
                };
                core.sent_on(ready.cseq, flow.id);
                shared.tap(Direction::Out, flow.id, &ready.message);
                room.send(ready.message.to_bytes());
                ready
            };
            drop(flow);
            match timeout_at(deadline, answer).await {
                Ok(Ok(Settlement::Final { message, outcome, at })) => {
                    let took = at.saturating_duration_since(started);
                    return finish(*message, outcome, took, cseq, sent.is_some());
                }
                Ok(Ok(Settlement::FlowLost)) if shared.options.repeats_on_flow_loss => sent = Some((cseq, message)),
                // Without a settlement the dialog itself was left behind, by a new sign-in.
                Ok(Ok(Settlement::FlowLost) | Err(_)) => return Err(Unanswered::FlowLost),
                Err(_) => {
                    self.seat.core().give_up(cseq);
                    return Err(Unanswered::TimedOut);
                }
            }
        }
    }

    /// Waits until `look` finds what it wants in the view.
    pub async fn until<T>(&self, within: Duration, mut look: impl FnMut(&CallView) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + within;
        loop {
            let changed = self.seat.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(found) = self.with_view(&mut look) {
                return Some(found);
            }
            timeout_at(deadline, changed).await.ok()?;
        }
    }

    pub fn view(&self) -> CallView {
        self.seat.core().view.clone()
    }

    pub fn with_view<T>(&self, look: impl FnOnce(&CallView) -> T) -> T {
        look(&self.seat.core().view)
    }

    /// What the gateway did wrong so far, oldest first, at most [`super::VIOLATIONS_MAX`].
    pub fn violations(&self) -> Vec<Violation> {
        self.seat.core().violations.clone()
    }

    /// Violations beyond those kept.
    pub fn violations_lost(&self) -> u64 {
        self.seat.core().violations_lost
    }

    /// Events applied so far.
    pub fn events(&self) -> u64 {
        self.seat.core().events
    }

    /// INFOs without a body so far.
    pub fn keepalives(&self) -> u64 {
        self.seat.core().keepalives
    }

    pub fn name(&self) -> &str {
        &self.seat.name
    }

    pub fn line(&self) -> String {
        self.seat.core().options.line.clone()
    }

    pub fn call_id(&self) -> Arc<str> {
        self.seat.core().dialog.call_id.clone()
    }

    /// The gateway's tag, once a dialog stands.
    pub fn remote_tag(&self) -> Option<String> {
        self.seat.core().dialog.remote_tag.clone()
    }

    pub fn xref(&self) -> Option<String> {
        self.seat.core().xref.clone()
    }

    /// False before sign-in, after sign-out, and after the gateway's BYE.
    pub fn is_signed_in(&self) -> bool {
        let core = self.seat.core();
        !core.is_over && core.xref.is_some()
    }

    /// The dialog goes on over this connection.
    pub fn use_flow(&self, flow: FlowId) {
        self.seat.core().flow = Some(flow);
    }

    /// From now on events are answered so.
    pub fn answer_events(&self, answer: EventAnswer) {
        self.seat.core().options.answers_events = answer;
    }
}

fn finish(
    message: Message,
    outcome: Option<Outcome>,
    took: Duration,
    cseq: u32,
    is_repeat: bool,
) -> Result<Exchange, Unanswered> {
    match &message.start {
        crate::sip::StartLine::Response { status, reason } if *status >= 300 => {
            let retry_after_s = message
                .headers
                .get("Retry-After")
                .and_then(|v| v.split(|c: char| !c.is_ascii_digit()).next().and_then(|seconds| seconds.parse().ok()));
            Err(Unanswered::Sip { status: *status, reason: reason.clone(), retry_after_s, is_repeat })
        }
        _ => Ok(Exchange { message, outcome, took, cseq }),
    }
}

fn conclusion(result: &Result<Exchange, Unanswered>, has_outcome: bool) -> OperationResult {
    match result {
        Ok(Exchange { outcome: Some(Outcome::Failed(failure)), .. }) => OperationResult::Failed(format!("{failure:?}")),
        Ok(Exchange { outcome: None, message, .. }) if has_outcome => {
            OperationResult::Unknown(format!("{} without an outcome", message.status().unwrap_or_default()))
        }
        Ok(_) => OperationResult::Ok,
        Err(why) if why.is_definite() => OperationResult::Failed(why.to_string()),
        Err(why) => OperationResult::Unknown(why.to_string()),
    }
}
