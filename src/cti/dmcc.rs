//! Avaya AES, Device, Media and Call Control: a log-in, sessions that can be resumed, device ids of the server's own.

mod devices;

#[cfg(test)]
mod tests;

use self::devices::Devices;
use super::LinkConfig;
use super::app_session::{self, AppSession, LoginInfo};
use super::csta_tcp::{for_the_switch, said, understood};
use super::driver::{Driver, In, LinkBroken, Unsayable};
use super::wire::{Purpose, Said, Spoken, Wire};
use crate::csta::tree::Tree;
use crate::csta::writer::Writer;
use crate::csta::{self, Payload, Service};
use crate::id::Moment;
use crate::machine::link::{Heard, LoginRefusal, Say, Ticket};

const APPLICATION_ID: &str = "lyncpin";
/// What we ask for, best first; the AES grants one, and that string is then the namespace.
const PROTOCOL_VERSIONS: [&str; 4] = ["ed3/priv7", "ed3/priv5", "ed3/priv3", "ed3/priv1"];
const PROTOCOL_BASE: &str = "http://www.ecma-international.org/standards/ecma-323/csta/";
/// An AES that drops the connection instead of refusing an old session is not asked for that session for ever.
const RESUMPTIONS_MAX: u32 = 2;
/// Services that wait for device ids; more at a time are refused.
const WAITING_MAX: usize = 1_000;

/// Log-in after a loss: resume the old session; refused, begin a new one and have the old one's monitors moved there.
///
/// ```text
/// old id ─▶ Start(old) ──Pos──▶ granted, resumed
///             │Neg
/// no old ─▶ Start() ──Pos──▶ MonitorStart(session) ──no old──▶ granted
///             │Neg             └─old─▶ TransferMonitorObjects ──ok──▶ granted, resumed
///          refused                                            └─else─▶ granted
/// ```
#[derive(Debug)]
pub struct Dmcc {
    config: LinkConfig,
    wire: Wire,
    session_id: Option<String>,
    /// The session before this connection, as long as it may still be resumed or robbed.
    old_session: Option<String>,
    resumptions: u32,
    step: LoginStep,
    granted_ms: u64,
    devices: Devices,
    waiting: Vec<Waiting>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LoginStep {
    Resuming,
    Fresh,
    Settled,
}

/// A service that cannot be said before its devices have ids.
#[derive(Debug)]
struct Waiting {
    ticket: Ticket,
    service: Service,
}

impl Dmcc {
    pub fn new(config: &LinkConfig) -> Self {
        Self {
            config: config.clone(),
            wire: Wire::default(),
            session_id: None,
            old_session: None,
            resumptions: 0,
            step: LoginStep::Settled,
            granted_ms: 0,
            devices: Devices::default(),
            waiting: Vec::new(),
        }
    }

    fn login(&mut self, session_id: &str, now: Moment) -> Result<Vec<u8>, Unsayable> {
        let start = AppSession::Start {
            application_id: APPLICATION_ID.into(),
            login: Some(LoginInfo {
                user_name: self.config.user.clone(),
                password: self.config.password.clone(),
                cleanup_delay_s: self.config.cleanup_delay_s,
                session_id: session_id.to_owned(),
            }),
            protocol_versions: PROTOCOL_VERSIONS.map(|version| format!("{PROTOCOL_BASE}{version}")).into(),
            duration_s: self.config.session_duration_s,
        };
        self.wire.request(Purpose::Login, &app_session::write(&start), now)
    }

    fn understood(&mut self, spoken: Spoken, now: Moment) -> Result<Vec<In>, LinkBroken> {
        match spoken {
            Spoken::Answer { purpose: Purpose::Login, said } => self.logged_in(said, now),
            Spoken::Answer { purpose: Purpose::TransferMonitors, said } => {
                let moved = matches!(&said, Said::Other(body) if is_root(body, "TransferMonitorObjectsResponse"));
                Ok(vec![self.granted(moved)])
            }
            Spoken::Answer { purpose: Purpose::DeviceId { device }, said } => self.device_named(&device, &said, now),
            Spoken::Terminated => {
                self.session_id = None;
                Ok(vec![In::Heard(Heard::Terminated)])
            }
            other => {
                let mut what = understood(&self.wire, other)?;
                match &mut what {
                    In::Heard(Heard::Answer { outcome, .. }) => {
                        outcome.for_each_connection_mut(|connection| self.devices.show_connection(connection));
                        outcome.for_each_device_mut(|device| self.devices.show_device(device));
                        outcome.for_each_device_text_mut(|device| self.devices.show(device));
                    }
                    In::Heard(Heard::Event(event)) => {
                        event.for_each_connection_mut(|connection| self.devices.show_connection(connection));
                        event.for_each_device_mut(|device| self.devices.show_device(device));
                        event.for_each_device_text_mut(|device| self.devices.show(device));
                    }
                    In::Heard(Heard::TimerRefused | Heard::LoggedOut) => self.session_id = None,
                    _ => {}
                }
                Ok(vec![what])
            }
        }
    }

    fn logged_in(&mut self, said: Said, now: Moment) -> Result<Vec<In>, LinkBroken> {
        match said {
            Said::Session(AppSession::Started { session_id, protocol_version, duration_s }) => {
                self.wire.granted(&protocol_version);
                self.granted_ms = u64::from(duration_s) * 1000;
                self.resumptions = 0;
                let resumed = self.step == LoginStep::Resuming && self.old_session.as_ref() == Some(&session_id);
                let monitor = self.session_monitor(&session_id);
                self.session_id = Some(session_id.clone());
                if resumed {
                    return Ok(vec![self.granted(true)]);
                }
                let mut said = vec![In::Write(self.wire.request(Purpose::Aside, &monitor, now)?)];
                match self.old_session.clone() {
                    Some(old) => {
                        let transfer = self.transfer(&old, &session_id);
                        said.push(In::Write(self.wire.request(Purpose::TransferMonitors, &transfer, now)?));
                    }
                    None => said.push(self.granted(false)),
                }
                Ok(said)
            }
            Said::Session(AppSession::StartRefused(_)) if self.step == LoginStep::Resuming => {
                self.step = LoginStep::Fresh;
                Ok(vec![In::Write(self.login("", now)?)])
            }
            Said::Session(AppSession::StartRefused(refusal)) => Ok(vec![In::Heard(Heard::LoginRefused(refusal))]),
            _ => Ok(vec![In::Heard(Heard::LoginRefused(LoginRefusal::Unspecified))]),
        }
    }

    fn granted(&mut self, resumed: bool) -> In {
        self.step = LoginStep::Settled;
        self.old_session = None;
        if !resumed {
            self.devices.clear();
        }
        In::Heard(Heard::Granted { duration_ms: self.granted_ms, resumed })
    }

    /// Without a monitor on the session its objects cannot be moved out of it later.
    fn session_monitor(&self, session_id: &str) -> Vec<u8> {
        Writer::document("MonitorStart", self.wire.namespace(), |writer| {
            writer.element("monitorObject", |writer| writer.text("sessionObject", session_id));
        })
    }

    fn transfer(&self, from: &str, to: &str) -> Vec<u8> {
        Writer::document("TransferMonitorObjects", app_session::AVAYA, |writer| {
            writer.text("fromSessionID", from);
            writer.text("toSessionID", to);
        })
    }

    fn device_named(&mut self, device: &str, said: &Said, now: Moment) -> Result<Vec<In>, LinkBroken> {
        let named = match said {
            Said::Other(body) => Tree::parse(body).ok().and_then(|tree| {
                let root = tree.root();
                let found = root.child("device").filter(|_| root.name() == "GetThirdPartyDeviceIdResponse");
                found.map(|device| device.word().into_owned()).filter(|opaque| !opaque.is_empty())
            }),
            _ => None,
        };
        match (named, said) {
            (Some(opaque), _) => {
                self.devices.named(device, &opaque);
                self.say_what_waited(now)
            }
            (None, Said::Outcome(outcome)) => {
                Ok(self.refuse_waiting(device, |ticket| Heard::Answer { ticket, outcome: outcome.clone() }))
            }
            (None, _) => Ok(self.refuse_waiting(device, |ticket| Heard::Unreadable { ticket })),
        }
    }

    fn device_question(&mut self, device: &str, now: Moment) -> Result<Vec<u8>, Unsayable> {
        let question = Writer::document("GetThirdPartyDeviceId", app_session::AVAYA, |writer| {
            writer.text("switchName", &self.config.switch_name);
            writer.text("extension", device);
            writer.text("deviceInstance", "0");
        });
        self.wire.request(Purpose::DeviceId { device: device.to_owned() }, &question, now)
    }

    /// An unknown device may never be answered: without anybody waiting for it the question counts as not put.
    fn forget_idle_questions(&mut self, devices: &[String], now: Moment) {
        for device in devices {
            let is_waited_for = |waiting: &Waiting| self.devices.unnamed(&waiting.service).contains(device);
            if !self.waiting.iter().any(is_waited_for) {
                self.devices.forget_question(device);
                let purpose = Purpose::DeviceId { device: device.clone() };
                self.wire.invokes.abandon(now, |open| *open == purpose);
            }
        }
    }

    fn say_what_waited(&mut self, now: Moment) -> Result<Vec<In>, LinkBroken> {
        let mut said = Vec::new();
        let (ready, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting| self.devices.unnamed(&waiting.service).is_empty());
        self.waiting = waiting;
        for Waiting { ticket, service } in ready {
            said.push(In::Write(self.say_service(ticket, service, now)?));
        }
        // The answer itself was a sign of life.
        said.push(In::Heard(Heard::Noise));
        Ok(said)
    }

    fn refuse_waiting(&mut self, device: &str, refusal: impl Fn(Ticket) -> Heard) -> Vec<In> {
        self.devices.forget_question(device);
        let (refused, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting| self.devices.unnamed(&waiting.service).iter().any(|unnamed| unnamed == device));
        self.waiting = waiting;
        let mut said: Vec<_> = refused.into_iter().map(|waiting| In::Heard(refusal(waiting.ticket))).collect();
        said.push(In::Heard(Heard::Noise));
        said
    }

    fn say_service(&mut self, ticket: Ticket, mut service: Service, now: Moment) -> Result<Vec<u8>, Unsayable> {
        service.for_each_device_mut(|device| self.devices.hide(device));
        service.for_each_connection_mut(|connection| self.devices.hide(&mut connection.device));
        let payload = Payload::Service(service);
        let body = devices::with_attributes(&csta::encode(&payload, self.wire.namespace()));
        self.wire.request(Purpose::Service(ticket), &body, now)
    }
}

impl Driver for Dmcc {
    fn connected(&mut self) {
        self.wire = Wire::default();
        self.waiting.clear();
        self.devices.forget_questions();
        if let Some(session_id) = self.session_id.take() {
            self.old_session = Some(session_id);
            self.resumptions = 0;
        }
        self.step = LoginStep::Settled;
    }

    fn received(&mut self, bytes: &[u8], now: Moment) -> Result<Vec<In>, LinkBroken> {
        let mut said = Vec::new();
        for spoken in self.wire.read(bytes)? {
            said.extend(self.understood(spoken, now)?);
        }
        Ok(said)
    }

    fn say(&mut self, say: Say, now: Moment) -> Result<Vec<u8>, Unsayable> {
        if say != Say::Login {
            return said(&mut self.wire, say, self.session_id.as_deref(), self.config.session_duration_s, now);
        }
        if self.resumptions >= RESUMPTIONS_MAX {
            self.old_session = None;
        }
        match self.old_session.clone() {
            Some(old) => {
                self.step = LoginStep::Resuming;
                self.resumptions += 1;
                self.login(&old, now)
            }
            None => {
                self.step = LoginStep::Fresh;
                self.login("", now)
            }
        }
    }

    /// The bytes are the questions for the device ids that are missing, and the service itself if none is.
    fn send(&mut self, ticket: Ticket, service: &Service, now: Moment) -> Result<Vec<u8>, Unsayable> {
        let service = for_the_switch(service);
        let unnamed = self.devices.unnamed(&service);
        if unnamed.is_empty() {
            return self.say_service(ticket, service, now);
        }
        if self.waiting.len() >= WAITING_MAX {
            return Err(Unsayable::DevicesFull);
        }
        let mut bytes = Vec::new();
        for device in &unnamed {
            if self.devices.ask(device) {
                match self.device_question(device, now) {
                    Ok(question) => bytes.extend(question),
                    Err(unsayable) => {
                        self.forget_idle_questions(&unnamed, now);
                        return Err(unsayable);
                    }
                }
            }
        }
        self.waiting.push(Waiting { ticket, service });
        Ok(bytes)
    }

    fn abandon(&mut self, ticket: Ticket, now: Moment) {
        self.wire.invokes.abandon(now, |purpose| *purpose == Purpose::Service(ticket));
        if let Some(at) = self.waiting.iter().position(|waiting| waiting.ticket == ticket) {
            let waiting = self.waiting.remove(at);
            let unnamed = self.devices.unnamed(&waiting.service);
            self.forget_idle_questions(&unnamed, now);
        }
    }
}

fn is_root(body: &[u8], name: &str) -> bool {
    Tree::parse(body).is_ok_and(|tree| tree.root().name() == name)
}
