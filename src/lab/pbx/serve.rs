//! Services as they come in over a link.

use super::board::Board;
use super::history::{Did, Happening};
use super::model::Applied;
use super::options::{Snapshots, Unknown};
use super::session::Dialect;
use super::words;
use crate::csta::{
    DeviceRef, Failure, MonitorObject, Namespace, Outcome, Payload, Service, XmlError, decode, encode, namespace,
};
use crate::cti::frame::Frame;

/// A frame's document, understood as far as it can be without the board.
pub enum Arrived {
    Service(Box<Service>, Namespace),
    Session(words::Asked),
    /// An answer to one of our own requests, or an event, which a PBX ignores.
    Ignored,
    /// Well-formed, but unknown or wrong: the failure that says so.
    Wrong(Namespace, &'static str),
    Malformed,
}

pub fn understand(frame: &Frame) -> Arrived {
    match decode(&frame.body) {
        Ok(document) => match document.payload {
            Payload::Service(service) => Arrived::Service(Box::new(service), document.namespace),
            Payload::Outcome(_) | Payload::Event(_) => Arrived::Ignored,
            Payload::Unknown { .. } => match words::read(&frame.body) {
                Some(asked) => Arrived::Session(asked),
                None => Arrived::Wrong(document.namespace, "serviceNotSupported"),
            },
        },
        Err(XmlError::Missing { .. } | XmlError::Invalid { .. }) => {
            Arrived::Wrong(namespace(crate::csta::ED3), "invalidParameterValue")
        }
        Err(_) => Arrived::Malformed,
    }
}

impl Board {
    pub fn arrived(&mut self, flow: u64, invoke: u16, arrived: Arrived) {
        match arrived {
            Arrived::Service(service, namespace) => self.service(flow, invoke, *service, namespace),
            Arrived::Session(asked) => self.session_asked(flow, invoke, asked),
            Arrived::Ignored => {}
            Arrived::Wrong(namespace, value) => self.refuse(flow, invoke, namespace, value),
            Arrived::Malformed => self.malformed(flow),
        }
    }

    /// CSTAErrorCode `operation`, or nothing when the PBX is silent about what it does not know.
    pub(super) fn refuse(&mut self, flow: u64, invoke: u16, namespace: Namespace, value: &str) {
        if self.options.unknown == Unknown::Refuse {
            let outcome = Outcome::Failed(Failure::Operation(value.to_owned()));
            self.answer(flow, invoke, &encode(&Payload::Outcome(outcome), &namespace));
        }
    }

    fn service(&mut self, flow: u64, invoke: u16, service: Service, namespace: Namespace) {
        let Some(end) = self.flows.get(&flow) else { return };
        let (link, peer, session) = (end.link, end.peer, end.session);
        self.stats.services += 1;
        let application = session.and_then(|id| self.sessions.get(&id)).map(|session| session.application.clone());
        let mut applied = match session {
            Some(session) => self.serve(link, session, &service, &namespace),
            None => Applied {
                outcome: Outcome::Failed(Failure::Operation("generic".to_owned())),
                events: Vec::new(),
                later: Vec::new(),
            },
        };
        let did = Did::of(&applied.outcome);
        let is_silent = self.options.unknown == Unknown::Silent && (session.is_none() || is_unknown(&did));
        let is_answered = !is_silent && {
            self.rename_outcome(session, &mut applied.outcome);
            let outcome = std::mem::replace(&mut applied.outcome, Outcome::SystemStatus);
            self.answer(flow, invoke, &encode(&Payload::Outcome(outcome), &namespace))
        };
        let correlator = match &service {
            Service::MakeCall { correlator, .. } | Service::ConsultationCall { correlator, .. } => correlator.clone(),
            _ => None,
        };
        let link = self.links[link].name.clone();
        let application = application.unwrap_or_default();
        self.record(Happening::Service { link, peer, application, invoke, service, correlator, did, is_answered });
        self.carry_out(applied);
    }

    fn rename_outcome(&self, session: Option<u64>, outcome: &mut Outcome) {
        let Some(session) = session.and_then(|session| self.sessions.get(&session)) else { return };
        let Dialect::Dmcc { switch, .. } = &session.dialect else { return };
        outcome.for_each_connection_mut(|connection| self.rename(&mut connection.device, switch));
        outcome.for_each_device_mut(|device| {
            if let DeviceRef::Device(name) = device {
                self.rename(name, switch);
            }
        });
    }

    fn serve(&mut self, link: usize, session: u64, service: &Service, namespace: &Namespace) -> Applied {
        let outcome = match service {
            Service::RequestSystemStatus { .. } => {
                Outcome::RequestSystemStatus { system_status: self.links[link].faults.system_status.clone() }
            }
            Service::SystemStatus { .. } => Outcome::SystemStatus,
            Service::SystemRegister => {
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.wants_status = true;
                }
                Outcome::SystemRegister { register_id: session.to_string() }
            }
            Service::MonitorStart { object, .. } => self.monitor_start(session, object, namespace),
            Service::MonitorStop { xref } => self.monitor_stop(session, xref),
            Service::SnapshotDevice { device }
                if self.options.snapshots == Snapshots::ReferenceOnly && self.model.device_named(device).is_some() =>
            {
                Outcome::SnapshotDevice { calls: Vec::new(), service_xref: Some(session.to_string()) }
            }
            other => return self.model.apply(other, None),
        };
        Applied { outcome, events: Vec::new(), later: Vec::new() }
    }

    fn monitor_start(&mut self, session: u64, object: &MonitorObject, namespace: &Namespace) -> Outcome {
        let failed = |value: &str| Outcome::Failed(Failure::Operation(value.to_owned()));
        let MonitorObject::Device(device) = object else { return failed("invalidMonitorObject") };
        let Some(device) = self.model.device_named(device).map(|device| device.name.clone()) else {
            return failed("invalidDeviceID");
        };
        if self.stats.monitors >= self.options.monitors_max {
            return Outcome::Failed(Failure::SystemResource("overallMonitorLimitExceeded".to_owned()));
        }
        match self.add_monitor(session, device, namespace.clone()) {
            Some(xref) => Outcome::MonitorStart { xref: xref.to_string(), existing_calls: None },
            None => failed("generic"),
        }
    }

    fn monitor_stop(&mut self, session: u64, xref: &str) -> Outcome {
        let device = self.sessions.get_mut(&session).and_then(|session| session.monitors.remove(xref));
        let Some(device) = device else {
            return Outcome::Failed(Failure::Operation("invalidMonitorCrossRefID".to_owned()));
        };
        self.remove_monitor(&device, session, xref);
        Outcome::MonitorStop
    }

    /// The system status of a link has changed: sessions that have registered for it are told.
    pub(super) fn report_status(&mut self, link: usize) {
        let system_status = self.links[link].faults.system_status.clone();
        for flow in self.flows_of(link) {
            let Some(end) = self.flows.get_mut(&flow) else { continue };
            let Some(session) = end.session.and_then(|session| self.sessions.get(&session)) else { continue };
            if session.wants_status {
                let invoke = end.next_invoke;
                end.next_invoke = if invoke == 9_998 { 1 } else { invoke + 1 };
                let service = Service::SystemStatus { system_status: system_status.clone() };
                let body = encode(&Payload::Service(service), &session.namespace);
                self.send(flow, invoke, &body, None);
            }
        }
    }
}

/// Whether the PBX does not know what it was asked for.
fn is_unknown(did: &Did) -> bool {
    let Did::Refused(Failure::Operation(value)) = did else { return false };
    let unknown = ["invalidDeviceID", "invalidCallingDeviceID", "invalidMonitorObject", "serviceNotSupported"];
    unknown.contains(&value.as_str())
}
