//! The PBX over loopback, talked to by a small CSTA client.

mod faults;
mod flows;
mod interop;
mod port;
mod sessions;
mod speed;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::csta::{ED3, Event, EventBody, MonitorObject, Outcome, Payload, Service, decode, encode};
use crate::cti::frame::{self, Frame, FrameReader};

/// How long a test waits for what must come. Only a broken PBX lets it pass.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a test waits to see that nothing comes.
const QUIET: Duration = Duration::from_millis(60);

pub(super) struct Client {
    stream: TcpStream,
    reader: FrameReader,
    frames: std::collections::VecDeque<Frame>,
    next_invoke: u16,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the PBX listens");
        Self { stream, reader: FrameReader::default(), frames: Default::default(), next_invoke: 1 }
    }

    /// Connected and logged in as `application`.
    pub async fn logged_in(address: SocketAddr, application: &str) -> Self {
        let mut client = Self::connect(address).await;
        let answer = client.ask_text(&start(application, 600)).await;
        assert!(answer.contains("<StartApplicationSessionPosResponse"), "{answer}");
        client
    }

    pub async fn send(&mut self, body: &[u8]) -> u16 {
        let invoke = self.next_invoke;
        self.next_invoke += 1;
        let bytes = frame::encode(invoke, body).expect("a short document");
        self.stream.write_all(&bytes).await.expect("the PBX takes it");
        invoke
    }

    pub async fn send_service(&mut self, service: Service) -> u16 {
        self.send(&encode(&Payload::Service(service), ED3)).await
    }

    /// The next frame, or `None` at the end of the stream.
    pub async fn frame(&mut self) -> Option<Frame> {
        let mut bytes = [0; 4096];
        while self.frames.is_empty() {
            match self.stream.read(&mut bytes).await {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.frames.extend(self.reader.received(&bytes[..count]).expect("frames")),
            }
        }
        self.frames.pop_front()
    }

    pub async fn must(&mut self) -> Frame {
        let frame = tokio::time::timeout(PATIENCE, self.frame()).await.expect("something comes");
        frame.expect("the connection stands")
    }

    pub async fn is_quiet(&mut self) -> bool {
        tokio::time::timeout(QUIET, self.frame()).await.is_err()
    }

    pub async fn is_closed(&mut self) -> bool {
        tokio::time::timeout(PATIENCE, async { while self.frame().await.is_some() {} }).await.is_ok()
    }

    /// The next frame has to be the answer.
    pub async fn ask_text(&mut self, body: &str) -> String {
        let invoke = self.send(body.as_bytes()).await;
        let frame = self.must().await;
        assert_eq!(frame.invoke, invoke);
        String::from_utf8(frame.body).expect("UTF-8")
    }

    /// The next frame has to be the answer.
    pub async fn ask(&mut self, service: Service) -> Outcome {
        let invoke = self.send_service(service).await;
        let frame = self.must().await;
        assert_eq!(frame.invoke, invoke, "answers come before events");
        outcome(&frame)
    }

    pub async fn monitor(&mut self, device: &str) -> String {
        let object = MonitorObject::Device(device.to_owned());
        match self.ask(Service::MonitorStart { object, line: None }).await {
            Outcome::MonitorStart { xref, .. } => xref,
            other => panic!("{other:?}"),
        }
    }

    pub async fn make_call(&mut self, calling: &str, called: &str) -> Outcome {
        self.ask(make_call(calling, called)).await
    }

    /// The next frame has to be an event.
    pub async fn event(&mut self) -> Event {
        let frame = self.must().await;
        assert_eq!(frame.invoke, frame::EVENT_ID, "{}", String::from_utf8_lossy(&frame.body));
        match decode(&frame.body).expect("a document").payload {
            Payload::Event(event) => event,
            other => panic!("{other:?}"),
        }
    }

    /// The next events in short: cross-reference id, name, and whose connection.
    pub async fn events(&mut self, count: usize) -> Vec<String> {
        let mut events = Vec::new();
        for _ in 0..count {
            let Event { xref, body } = self.event().await;
            events.push(format!("{xref} {}", short(&body)));
        }
        events
    }
}

pub(super) fn outcome(frame: &Frame) -> Outcome {
    match decode(&frame.body).expect("a document").payload {
        Payload::Outcome(outcome) => outcome,
        other => panic!("{other:?}"),
    }
}

pub(super) fn make_call(calling: &str, called: &str) -> Service {
    Service::MakeCall { calling: calling.to_owned(), called: called.to_owned(), auto_originate: None, correlator: None }
}

pub(super) fn start(application: &str, duration_s: u64) -> String {
    format!(
        "<StartApplicationSession xmlns=\"http://www.ecma-international.org/standards/ecma-354/appl_session\">\
         <applicationInfo><applicationID>{application}</applicationID></applicationInfo><requestedProtocolVersions>\
         <protocolVersion>{ED3}</protocolVersion></requestedProtocolVersions>\
         <requestedSessionDuration>{duration_s}</requestedSessionDuration></StartApplicationSession>"
    )
}

pub(super) fn text_of<'a>(body: &'a str, element: &str) -> &'a str {
    let (_, rest) = body.split_once(&format!("<{element}>")).expect("the element is there");
    rest.split_once("</").expect("it ends").0
}

/// An event in one line: name, connection, own state, cause.
pub(super) fn short(event: &EventBody) -> String {
    use EventBody::*;
    let (name, connection, local, cause) = match event {
        ServiceInitiated { connection, local, cause, .. } => ("ServiceInitiated", connection, local, cause),
        Originated { connection, local, cause, .. } => ("Originated", connection, local, cause),
        NetworkReached { connection, local, cause, .. } => ("NetworkReached", connection, local, cause),
        Delivered { connection, local, cause, .. } => ("Delivered", connection, local, cause),
        Established { connection, local, cause, .. } => ("Established", connection, local, cause),
        Held { connection, local, cause, .. } => ("Held", connection, local, cause),
        Retrieved { connection, local, cause, .. } => ("Retrieved", connection, local, cause),
        ConnectionCleared { connection, local, cause, .. } => ("ConnectionCleared", connection, local, cause),
        Diverted { connection, local, cause, .. } => ("Diverted", connection, local, cause),
        Failed { connection, local, cause, .. } => ("Failed", connection, local, cause),
        Transferred { primary, secondary, connections, local, cause, .. }
        | Conferenced { primary, secondary, connections, local, cause, .. } => {
            let name = if matches!(event, Transferred { .. }) { "Transferred" } else { "Conferenced" };
            let id = |id: &crate::csta::ConnectionId| format!("{}/{}", id.call, id.device);
            let row = |row: &crate::csta::ConnectionListItem| {
                let old = row.old.as_ref().map_or("-".to_owned(), |old| old.call.clone());
                format!("{old}>{}", row.new.as_ref().map(id).unwrap_or_default())
            };
            let second = secondary.as_ref().map(|second| format!(" {}", id(second))).unwrap_or_default();
            let rows = connections.iter().map(row).collect::<Vec<_>>().join(" ");
            return format!("{name} {}{second} [{rows}] {local:?} {cause}", id(primary));
        }
        Forwarding { on, to, forwarding_type, .. } => return format!("Forwarding {forwarding_type} {on} {to:?}"),
        DoNotDisturb { on, .. } => return format!("DoNotDisturb {on}"),
        MessageWaiting { on, .. } => return format!("MessageWaiting {on}"),
        other => return format!("{other:?}"),
    };
    let local = local.map_or("-".to_owned(), |local| format!("{local:?}"));
    format!("{name} {}/{} {local} {cause}", connection.call, connection.device)
}
