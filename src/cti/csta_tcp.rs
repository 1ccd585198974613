//! The standard dialect: CSTA XML over TCP (ECMA-323) in an application session (ECMA-354). No resumption.

use super::LinkConfig;
use super::app_session::{self, AppSession};
use super::driver::{Driver, In, LinkBroken, Unsayable};
use super::wire::{Purpose, Said, Spoken, Wire};
use crate::csta::{ED3, ED4, ED5, Failure, Outcome, Service};
use crate::id::Moment;
use crate::machine::link::{Heard, LoginRefusal, Say, SystemStatus, Ticket};

const APPLICATION_ID: &str = "lyncpin";

#[derive(Debug)]
pub struct CstaTcp {
    wire: Wire,
    session_id: Option<String>,
    duration_s: u32,
}

impl CstaTcp {
    pub fn new(config: &LinkConfig) -> Self {
        Self { wire: Wire::default(), session_id: None, duration_s: config.session_duration_s }
    }

    fn understood(&mut self, spoken: Spoken) -> Result<In, LinkBroken> {
        let heard = match spoken {
            Spoken::Answer { purpose: Purpose::Login, said } => self.logged_in(said),
            other => return understood(&self.wire, other),
        };
        Ok(In::Heard(heard))
    }

    fn logged_in(&mut self, said: Said) -> Heard {
        match said {
            Said::Session(AppSession::Started { session_id, protocol_version, duration_s }) => {
                self.session_id = Some(session_id);
                self.wire.granted(&protocol_version);
                Heard::Granted { duration_ms: u64::from(duration_s) * 1000, resumed: false }
            }
            Said::Session(AppSession::StartRefused(refusal)) => Heard::LoginRefused(refusal),
            _ => Heard::LoginRefused(LoginRefusal::Unspecified),
        }
    }
}

impl Driver for CstaTcp {
    fn connected(&mut self) {
        self.wire = Wire::default();
        self.session_id = None;
    }

    fn received(&mut self, bytes: &[u8], now: Moment) -> Result<Vec<In>, LinkBroken> {
        let _ = now;
        self.wire.read(bytes)?.into_iter().map(|spoken| self.understood(spoken)).collect()
    }

    fn say(&mut self, say: Say, now: Moment) -> Result<Vec<u8>, Unsayable> {
        if say == Say::Login {
            let start = AppSession::Start {
                application_id: APPLICATION_ID.into(),
                login: None,
                protocol_versions: [ED3, ED4, ED5].map(String::from).into(),
                duration_s: self.duration_s,
            };
            return self.wire.request(Purpose::Login, &app_session::write(&start), now);
        }
        said(&mut self.wire, say, self.session_id.as_deref(), self.duration_s, now)
    }

    fn send(&mut self, ticket: Ticket, service: &Service, now: Moment) -> Result<Vec<u8>, Unsayable> {
        self.wire.ask(Purpose::Service(ticket), for_the_switch(service), now)
    }

    fn abandon(&mut self, ticket: Ticket, now: Moment) {
        self.wire.invokes.abandon(now, |purpose| *purpose == Purpose::Service(ticket));
    }
}

/// The line URI is Microsoft's private data between client and gateway; a switch has no use for it.
pub(super) fn for_the_switch(service: &Service) -> Service {
    let mut service = service.clone();
    if let Service::RequestSystemStatus { line }
    | Service::GetCstaFeatures { line }
    | Service::MonitorStart { line, .. } = &mut service
    {
        *line = None;
    }
    service
}

/// The link's sentences but the login, which each dialect has for itself.
pub(super) fn said(
    wire: &mut Wire,
    say: Say,
    session_id: Option<&str>,
    duration_s: u32,
    now: Moment,
) -> Result<Vec<u8>, Unsayable> {
    let session_id = || session_id.map(str::to_owned).ok_or(Unsayable::NoSession);
    match say {
        Say::Login => Err(Unsayable::NoSession),
        Say::ResetTimer => {
            let reset = AppSession::ResetTimer { session_id: session_id()?, duration_s };
            wire.invokes.abandon(now, |purpose| *purpose == Purpose::ResetTimer);
            wire.request(Purpose::ResetTimer, &app_session::write(&reset), now)
        }
        Say::AskStatus => {
            wire.invokes.abandon(now, |purpose| *purpose == Purpose::Status);
            wire.ask(Purpose::Status, Service::RequestSystemStatus { line: None }, now)
        }
        Say::AnswerStatus { invoke } => wire.answer(invoke, Outcome::SystemStatus),
        Say::Logout => {
            let stop = AppSession::Stop { session_id: session_id()? };
            wire.request(Purpose::Logout, &app_session::write(&stop), now)
        }
    }
}

/// What documents mean in every dialect; the answers to steps of a dialect's own are noise here.
pub(super) fn understood(wire: &Wire, spoken: Spoken) -> Result<In, LinkBroken> {
    let heard = match spoken {
        Spoken::Answer { purpose, said } => answered(purpose, said),
        Spoken::Service { invoke, service: Service::SystemStatus { system_status } } => {
            Heard::StatusReport { invoke, status: SystemStatus::named(&system_status) }
        }
        Spoken::Service { invoke, .. } => {
            let refusal = Outcome::Failed(Failure::Operation("serviceNotSupported".into()));
            return Ok(In::Write(wire.answer(invoke, refusal)?));
        }
        Spoken::Event(event) => Heard::Event(event),
        Spoken::EventUnreadable { xref } => return Ok(In::EventUnreadable { xref }),
        Spoken::Terminated => Heard::Terminated,
        Spoken::Noise => Heard::Noise,
    };
    Ok(In::Heard(heard))
}

fn answered(purpose: Purpose, said: Said) -> Heard {
    match (purpose, said) {
        (Purpose::Service(ticket), Said::Outcome(outcome)) => Heard::Answer { ticket, outcome },
        (Purpose::Service(ticket), _) => Heard::Unreadable { ticket },
        (Purpose::Status, Said::Outcome(Outcome::RequestSystemStatus { system_status })) => {
            Heard::Status(SystemStatus::named(&system_status))
        }
        // A switch that refuses the question is alive, and has no other way to say that it serves.
        (Purpose::Status, Said::Outcome(Outcome::Failed(_))) => Heard::Status(SystemStatus::Usable),
        (Purpose::ResetTimer, Said::Session(AppSession::TimerReset { duration_s })) => {
            Heard::TimerReset { duration_ms: u64::from(duration_s) * 1000 }
        }
        (Purpose::ResetTimer, Said::Session(AppSession::ResetRefused { .. })) => Heard::TimerRefused,
        (Purpose::Logout, _) => Heard::LoggedOut,
        _ => Heard::Noise,
    }
}
