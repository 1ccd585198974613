//! What every dialect over CSTA XML/TCP shares: frames in, documents told apart, answers matched to their requests.

use super::app_session::{self, AppSession};
use super::driver::{LinkBroken, UNREADABLE_IN_A_ROW_MAX, Unsayable};
use super::frame::{self, EVENT_ID, Frame, FrameReader};
use super::invoke::InvokeTable;
use crate::csta::{self, ED3, Event, Namespace, Outcome, Payload, Service};
use crate::id::Moment;
use crate::machine::link::Ticket;

/// What one of our open requests was for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Purpose {
    Login,
    ResetTimer,
    Logout,
    Status,
    Service(Ticket),
    /// Only so that its answer is known for one.
    Aside,
    TransferMonitors,
    DeviceId {
        device: String,
    },
}

/// One document, sorted.
#[derive(Debug, PartialEq)]
pub(super) enum Spoken {
    Answer { purpose: Purpose, said: Said },
    Service { invoke: u16, service: Service },
    Event(Event),
    EventUnreadable { xref: Option<String> },
    Terminated,
    Noise,
}

#[derive(Debug, PartialEq)]
pub(super) enum Said {
    Outcome(Outcome),
    Session(AppSession),
    /// A document of the dialect's own.
    Other(Vec<u8>),
    Unreadable,
}

/// One connection's worth of memory.
#[derive(Debug)]
pub(super) struct Wire {
    frames: FrameReader,
    pub(super) invokes: InvokeTable<Purpose>,
    unreadable_in_a_row: u32,
    namespace: Namespace,
}

impl Default for Wire {
    fn default() -> Self {
        Self {
            frames: FrameReader::default(),
            invokes: InvokeTable::default(),
            unreadable_in_a_row: 0,
            namespace: csta::namespace(ED3),
        }
    }
}

impl Wire {
    /// CSTA is spoken in the granted protocol's namespace, if it is one; some servers grant `3.0`, some nothing.
    pub(super) fn granted(&mut self, protocol_version: &str) {
        if protocol_version.contains("://") {
            self.namespace = csta::namespace(protocol_version);
        }
    }

    pub(super) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub(super) fn request(&mut self, purpose: Purpose, body: &[u8], now: Moment) -> Result<Vec<u8>, Unsayable> {
        let invoke = self.invokes.open(purpose, now)?;
        frame::encode(invoke, body).map_err(|too_long| {
            self.invokes.answered(invoke);
            Unsayable::TooLong(too_long)
        })
    }

    pub(super) fn ask(&mut self, purpose: Purpose, service: Service, now: Moment) -> Result<Vec<u8>, Unsayable> {
        let body = csta::encode(&Payload::Service(service), &self.namespace);
        self.request(purpose, &body, now)
    }

    pub(super) fn answer(&self, invoke: u16, outcome: Outcome) -> Result<Vec<u8>, Unsayable> {
        Ok(frame::encode(invoke, &csta::encode(&Payload::Outcome(outcome), &self.namespace))?)
    }

    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<Vec<Spoken>, LinkBroken> {
        let frames = self.frames.received(bytes)?;
        frames.into_iter().map(|frame| self.sort(frame)).collect()
    }

    /// A PBX numbers its own requests as it likes, also like ours: what a document is decides, not its number.
    fn sort(&mut self, frame: Frame) -> Result<Spoken, LinkBroken> {
        let invoke = frame.invoke;
        let payload = match csta::decode(&frame.body) {
            Ok(document) => document.payload.said_by_switch(),
            Err(_) => return self.unreadable(&frame),
        };
        self.unreadable_in_a_row = 0;
        Ok(match payload {
            Payload::Event(event) => Spoken::Event(event),
            Payload::Service(service) => Spoken::Service { invoke, service },
            Payload::Outcome(outcome) => self.answered(invoke, Said::Outcome(outcome)),
            Payload::Unknown { root } => match app_session::read(&frame.body) {
                Ok(Some(AppSession::Terminated { .. })) => Spoken::Terminated,
                Ok(Some(document)) if document.is_response() => self.answered(invoke, Said::Session(document)),
                Ok(None) if root.ends_with("Response") => self.answered(invoke, Said::Other(frame.body)),
                Ok(_) | Err(_) => Spoken::Noise,
            },
        })
    }

    fn answered(&mut self, invoke: u16, said: Said) -> Spoken {
        match self.invokes.answered(invoke) {
            Some(purpose) => Spoken::Answer { purpose, said },
            None => Spoken::Noise,
        }
    }

    /// The frame was sound, so the stream goes on; but whoever waited for this must learn that it is gone.
    fn unreadable(&mut self, frame: &Frame) -> Result<Spoken, LinkBroken> {
        self.unreadable_in_a_row += 1;
        if self.unreadable_in_a_row >= UNREADABLE_IN_A_ROW_MAX {
            return Err(LinkBroken::Unreadable);
        }
        let xref = text_of(&frame.body, "monitorCrossRefID");
        if frame.invoke == EVENT_ID {
            return Ok(Spoken::EventUnreadable { xref });
        }
        Ok(match self.answered(frame.invoke, Said::Unreadable) {
            Spoken::Noise if xref.is_some() => Spoken::EventUnreadable { xref },
            spoken => spoken,
        })
    }
}

/// The text of the first element of this local name in a document that is not XML; at most 64 bytes of it.
fn text_of(body: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let (_, rest) = text.split_once(&format!("{name}>"))?;
    let (value, _) = rest.split_once('<')?;
    let value = value.trim();
    (!value.is_empty() && value.len() <= 64).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csta::EventBody;

    fn framed(invoke: u16, body: &str) -> Vec<u8> {
        frame::encode(invoke, body.as_bytes()).unwrap()
    }

    #[test]
    fn a_request_of_the_pbx_with_the_number_of_ours_is_not_our_answer() {
        let mut wire = Wire::default();
        wire.ask(Purpose::Status, Service::RequestSystemStatus { line: None }, Moment(0)).unwrap();
        let bytes = framed(1, "<SystemStatus><systemStatus>normal</systemStatus></SystemStatus>");
        let service = Service::SystemStatus { system_status: "normal".into() };
        assert_eq!(wire.read(&bytes).unwrap(), [Spoken::Service { invoke: 1, service }]);
        assert_eq!(wire.invokes.open_count(), 1);
    }

    #[test]
    fn an_event_is_an_event_whatever_its_number() {
        let body = "<MonitorStop><monitorCrossRefID>0</monitorCrossRefID></MonitorStop>";
        let event = Event { xref: "0".into(), body: EventBody::MonitorStopped };
        for invoke in [9999, 3] {
            assert_eq!(Wire::default().read(&framed(invoke, body)).unwrap(), [Spoken::Event(event.clone())]);
        }
    }

    #[test]
    fn an_unreadable_event_names_its_monitor_and_an_unreadable_answer_its_request() {
        let mut wire = Wire::default();
        let torn = "<DeliveredEvent><monitorCrossRefID>17</monitorCrossRefID><connection>";
        let xref = Some("17".to_owned());
        assert_eq!(wire.read(&framed(9999, torn)).unwrap(), [Spoken::EventUnreadable { xref }]);
        wire.ask(Purpose::Service(Ticket(5)), Service::SystemRegister, Moment(0)).unwrap();
        let answer = Spoken::Answer { purpose: Purpose::Service(Ticket(5)), said: Said::Unreadable };
        assert_eq!(wire.read(&framed(1, "<MakeCallResponse>")).unwrap(), [answer]);
    }

    #[test]
    fn a_peer_that_makes_no_sense_at_all_is_given_up() {
        let mut wire = Wire::default();
        for _ in 1..UNREADABLE_IN_A_ROW_MAX {
            assert_eq!(wire.read(&framed(4, "hello")).unwrap(), [Spoken::Noise]);
        }
        assert_eq!(wire.read(&framed(4, "hello")), Err(LinkBroken::Unreadable));
    }

    #[test]
    fn the_granted_protocol_is_the_namespace_if_it_is_one() {
        let mut wire = Wire::default();
        wire.granted("3.0");
        assert_eq!(&**wire.namespace(), ED3);
        wire.granted("http://example/ed3/priv5");
        assert_eq!(&**wire.namespace(), "http://example/ed3/priv5");
    }
}
