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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cti::frame::{self, FrameReader};

    const NOW: Moment = Moment(0);

    fn document(bytes: &[u8]) -> (u16, String) {
        let frame = FrameReader::default().received(bytes).unwrap().remove(0);
        (frame.invoke, String::from_utf8(frame.body).unwrap())
    }

    fn reply(driver: &mut CstaTcp, invoke: u16, body: &str) -> Vec<In> {
        driver.received(&frame::encode(invoke, body.as_bytes()).unwrap(), NOW).unwrap()
    }

    /// Without any namespace, as measured on an independent server.
    fn logged_in() -> CstaTcp {
        let mut driver = CstaTcp::new(&LinkConfig::default());
        driver.connected();
        let (invoke, _) = document(&driver.say(Say::Login, NOW).unwrap());
        let started = "<StartApplicationSessionPosResponse><sessionID>7</sessionID>\
            <actualProtocolVersion>3.0</actualProtocolVersion><actualSessionDuration>60</actualSessionDuration>\
            </StartApplicationSessionPosResponse>";
        let granted = Heard::Granted { duration_ms: 60_000, resumed: false };
        assert_eq!(reply(&mut driver, invoke, started), [In::Heard(granted)]);
        driver
    }

    #[test]
    fn a_session_is_prolonged_and_closed_by_its_id() {
        let mut driver = logged_in();
        let (invoke, reset) = document(&driver.say(Say::ResetTimer, NOW).unwrap());
        assert!(reset.contains("<sessionID>7</sessionID><requestedSessionDuration>180</requestedSessionDuration>"));
        let body = "<ResetApplicationSessionTimerPosResponse><actualSessionDuration>90</actualSessionDuration>\
            </ResetApplicationSessionTimerPosResponse>";
        assert_eq!(reply(&mut driver, invoke, body), [In::Heard(Heard::TimerReset { duration_ms: 90_000 })]);
        let (_, stop) = document(&driver.say(Say::Logout, NOW).unwrap());
        assert!(stop.contains("<sessionEndReason><definedEndReason>normal</definedEndReason></sessionEndReason>"));
        driver.connected();
        assert_eq!(driver.say(Say::ResetTimer, NOW), Err(Unsayable::NoSession), "the session died with its connection");
    }

    #[test]
    fn the_status_is_understood_asked_for_or_not() {
        let mut driver = logged_in();
        for (word, status) in [("normal", SystemStatus::Usable), ("disabled", SystemStatus::Unusable)] {
            let (invoke, _) = document(&driver.say(Say::AskStatus, NOW).unwrap());
            let body = format!(
                "<RequestSystemStatusResponse><systemStatus>{word}</systemStatus></RequestSystemStatusResponse>"
            );
            assert_eq!(reply(&mut driver, invoke, &body), [In::Heard(Heard::Status(status))]);
            let body = format!("<SystemStatus><systemStatus>{word}</systemStatus></SystemStatus>");
            assert_eq!(reply(&mut driver, 3, &body), [In::Heard(Heard::StatusReport { invoke: 3, status })]);
        }
    }

    #[test]
    fn an_unanswered_question_does_not_keep_its_number_in_use() {
        let mut driver = logged_in();
        for _ in 0..10 {
            driver.say(Say::AskStatus, NOW).unwrap();
        }
        assert_eq!(driver.wire.invokes.open_count(), 1);
    }

    #[test]
    fn a_service_the_gateway_does_not_offer_is_refused_to_the_pbx() {
        let [In::Write(bytes)] = &reply(&mut logged_in(), 42, "<SystemRegister/>")[..] else { panic!("no answer") };
        let (invoke, refusal) = document(bytes);
        assert_eq!(invoke, 42);
        assert!(refusal.contains("<operation>serviceNotSupported</operation>"), "{refusal}");
    }

    #[test]
    fn the_clients_line_does_not_reach_the_pbx() {
        let object = crate::csta::MonitorObject::Device("5101".into());
        let service = Service::MonitorStart { object, line: Some("tel:+14255550101".into()) };
        let (_, monitor) = document(&logged_in().send(Ticket(1), &service, NOW).unwrap());
        assert!(monitor.contains("<deviceObject>5101</deviceObject>") && !monitor.contains("tel:"), "{monitor}");
    }
}
