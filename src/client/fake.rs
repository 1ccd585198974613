//! A scripted gateway for tests: answers with the sample messages' bodies, or switches calls between its users.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};

use crate::csta::{self, Event, EventBody, MonitorObject, Outcome, Payload, Service};
use crate::sip::Message;
use crate::sip::stream::{Frame, Framer, Limits};

use super::fake_switch::Switch;

/// Changes a message before it is sent: the planted fault.
type Tamper = Box<dyn FnMut(&mut Message) + Send>;
type Outbox = mpsc::Sender<Bytes>;

#[derive(Clone)]
pub(crate) struct FakeGateway {
    state: Arc<Mutex<State>>,
    seen: Arc<Notify>,
}

struct State {
    dialogs: BTreeMap<String, Dialog>,
    received: Vec<(usize, Message)>,
    scripted: BTreeMap<&'static str, VecDeque<String>>,
    tamper: Option<Tamper>,
    mute: bool,
    switch: Option<Switch>,
    connections: usize,
}

struct Dialog {
    from: String,
    to: String,
    contact: String,
    route: Vec<String>,
    cseq: u32,
    line: String,
    xref: String,
    out: Outbox,
}

/// A body of tests/samples/rcc, by the file name's beginning.
pub(crate) fn sample(beginning: &str) -> Bytes {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/samples/rcc");
    let file = std::fs::read_dir(&folder)
        .expect("the samples")
        .filter_map(|e| Some(e.ok()?.path()))
        .find(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(beginning)))
        .unwrap_or_else(|| panic!("no sample {beginning}"));
    Message::parse(&std::fs::read(file).expect("a sample").into()).expect("a sample").body
}

pub(crate) fn sample_event(beginning: &str) -> Event {
    match csta::decode(&sample(beginning)).expect("CSTA").payload {
        Payload::Event(event) => event,
        other => panic!("{beginning} is {other:?}"),
    }
}

impl FakeGateway {
    fn with(switch: Option<Switch>) -> Self {
        let state = State {
            dialogs: BTreeMap::new(),
            received: Vec::new(),
            scripted: BTreeMap::new(),
            tamper: None,
            mute: false,
            switch,
            connections: 0,
        };
        Self { state: Arc::new(Mutex::new(state)), seen: Arc::new(Notify::new()) }
    }

    /// Answers every service with its sample's body; sends no event by itself.
    pub fn with_samples() -> Self {
        let gateway = Self::with(None);
        for (service, file) in [
            ("RequestSystemStatus", "A03"),
            ("GetCSTAFeatures", "A06"),
            ("MonitorStart", "A08"),
            ("GetForwarding", "A10"),
            ("GetDoNotDisturb", "A12"),
            ("AnswerCall", "C04"),
            ("MakeCall", "D02"),
            ("ClearConnection", "D09"),
            ("ClearCall", "D13"),
            ("HoldCall", "E02"),
            ("RetrieveCall", "E05"),
            ("AlternateCall", "E08"),
            ("ReconnectCall", "E10"),
            ("ConsultationCall", "F02"),
            ("TransferCall", "F09"),
            ("SingleStepTransferCall", "G02"),
            ("DeflectCall", "G05"),
            ("ConferenceCall", "H02"),
            ("SetForwarding", "I02"),
            ("SetDoNotDisturb", "I08"),
            ("GenerateDigits", "I11"),
            ("SetMessageWaitingIndicator", "I13"),
            ("SnapshotDevice", "J02"),
            ("SnapshotCall", "J04"),
            ("MonitorStop", "L02"),
        ] {
            gateway.script(service, &[file]);
        }
        gateway
    }

    /// Switches calls between its users.
    pub fn with_switch() -> Self {
        Self::with(Some(Switch::default()))
    }

    /// What a service is answered with, in turn; the last one stays.
    pub fn script(&self, service: &'static str, files: &[&str]) {
        self.state().scripted.insert(service, files.iter().map(|f| (*f).to_owned()).collect());
    }

    pub fn tamper(&self, tamper: impl FnMut(&mut Message) + Send + 'static) {
        self.state().tamper = Some(Box::new(tamper));
    }

    pub fn behave(&self) {
        self.state().tamper = None;
    }

    /// From now on requests are taken and not answered.
    pub fn fall_silent(&self, is_silent: bool) {
        self.state().mute = is_silent;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panicked inside")
    }

    /// The client's end of a new connection.
    pub fn connect(&self) -> DuplexStream {
        let (near, far) = duplex(4096);
        self.serve(far);
        near
    }

    /// Listens on a port the system chose.
    pub async fn listen(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let gateway = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).expect("a socket option");
                gateway.serve(stream);
            }
        });
        address
    }

    fn serve<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + 'static>(&self, stream: S) {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let (out, mut outgoing) = mpsc::channel::<Bytes>(4096);
        let connection = {
            let mut state = self.state();
            state.connections += 1;
            state.connections
        };
        tokio::spawn(async move {
            while let Some(bytes) = outgoing.recv().await {
                if bytes.is_empty() || writer.write_all(&bytes).await.is_err() {
                    break;
                }
            }
            let _ = writer.shutdown().await;
        });
        let gateway = self.clone();
        tokio::spawn(async move {
            let mut framer = Framer::new(Limits::default());
            let mut buffer = vec![0; 4096];
            while let Ok(read) = reader.read(&mut buffer).await {
                if read == 0 {
                    break;
                }
                framer.push(&buffer[..read]);
                while let Ok(Some(frame)) = framer.next_frame() {
                    match frame {
                        Frame::Message(message) => gateway.receive(connection, *message, &out),
                        other => panic!("the client sent {other:?}"),
                    }
                }
            }
        });
    }

    fn receive(&self, connection: usize, message: Message, out: &Outbox) {
        let mut state = self.state();
        state.received.push((connection, message.clone()));
        if !state.mute && message.method().is_some_and(|m| m != "ACK") {
            state.answer(&message, out);
        }
        drop(state);
        self.seen.notify_waiters();
    }

    /// Everything received so far, oldest first: (connection, message).
    pub fn received(&self) -> Vec<(usize, Message)> {
        self.state().received.clone()
    }

    /// `METHOD Service` or the status of everything received so far.
    pub fn heard(&self) -> Vec<String> {
        self.received().iter().map(|(_, message)| brief(message)).collect()
    }

    /// Waits until `look` finds what it wants in what was received.
    pub async fn until<T>(&self, mut look: impl FnMut(&[(usize, Message)]) -> Option<T>) -> T {
        loop {
            let seen = self.seen.notified();
            tokio::pin!(seen);
            seen.as_mut().enable();
            if let Some(found) = look(&self.state().received) {
                return found;
            }
            seen.await;
        }
    }

    /// Sends an event on the newest dialog, with the next CSeq or another.
    pub async fn event(&self, cseq: Option<u32>, body: impl Into<Bytes>) {
        let (out, message) = {
            let mut state = self.state();
            let call_id = state.dialogs.keys().next_back().expect("a dialog").clone();
            state.info(&call_id, cseq, body.into())
        };
        out.send(message.to_bytes()).await.expect("the connection stands");
    }

    pub async fn sample_event(&self, beginning: &str) {
        self.event(None, sample(beginning)).await;
    }

    pub async fn bye(&self) {
        let (out, mut message) = {
            let mut state = self.state();
            let call_id = state.dialogs.keys().next_back().expect("a dialog").clone();
            state.info(&call_id, None, Bytes::new())
        };
        let uri = message.request_uri().expect("a request").to_owned();
        message.start = Message::request("BYE", uri).start;
        let cseq = message.headers.cseq().expect("CSeq").number;
        message.headers.set("CSeq", format!("{cseq} BYE"));
        out.send(message.to_bytes()).await.expect("the connection stands");
    }

    /// Closes the newest dialog's connection from this side.
    pub async fn hang_up_connection(&self) {
        let out = self.state().dialogs.values().next_back().expect("a dialog").out.clone();
        out.send(Bytes::new()).await.expect("the connection stands");
    }

    /// Number of answers to events: (200, others).
    pub fn event_answers(&self) -> (usize, usize) {
        let all = self.received();
        let answers: Vec<u16> = all.iter().filter_map(|(_, m)| m.status()).collect();
        let good = answers.iter().filter(|s| **s == 200).count();
        (good, answers.len() - good)
    }
}

/// `INVITE RequestSystemStatus`, `INFO MakeCall`, `UPDATE`, `200`.
pub(crate) fn brief(message: &Message) -> String {
    let body = csta::decode(&message.body).map(|d| format!(" {}", d.payload.name())).unwrap_or_default();
    match message.status() {
        Some(status) => format!("{status}{body}"),
        None => format!("{}{body}", message.method().unwrap_or_default()),
    }
}

impl State {
    fn answer(&mut self, request: &Message, out: &Outbox) {
        let headers = &request.headers;
        let call_id = headers.call_id().expect("Call-ID").to_owned();
        let method = request.method().expect("a request");
        let mut reply = Message::reply_to(request, 200, "OK");
        let mut events = Vec::new();
        match method {
            "NEGOTIATE" => reply = Message::reply_to(request, 405, "Method Not Allowed"),
            "INVITE" if !self.dialogs.contains_key(&call_id) => {
                reply.headers.tag_to(&format!("gw1-{:08x}", 0x5f7a_2c19 + self.dialogs.len()));
                let dialog = Dialog {
                    from: reply.headers.get("To").expect("To").to_owned(),
                    to: headers.get("From").expect("From").to_owned(),
                    contact: headers.contact().expect("Contact").expect("Contact").uri.text,
                    route: headers.values("Record-Route").map(str::to_owned).collect(),
                    cseq: 0,
                    line: String::new(),
                    xref: String::new(),
                    out: out.clone(),
                };
                self.dialogs.insert(call_id.clone(), dialog);
            }
            _ if !self.dialogs.contains_key(&call_id) => {
                reply = Message::reply_to(request, 481, "Call Leg/Transaction Does Not Exist");
            }
            _ => {}
        }
        if reply.status() == Some(200) {
            if matches!(method, "INVITE" | "UPDATE") {
                let routes: Vec<String> = headers.values("Record-Route").map(str::to_owned).collect();
                routes.iter().for_each(|r| reply.headers.push("Record-Route", r));
                let dialog = self.dialogs.get_mut(&call_id).expect("just seen");
                if !routes.is_empty() {
                    dialog.route = routes;
                }
                for (name, value) in [
                    ("Contact", "<sip:rccgw@rccgw.contoso.com:5065;transport=tls>"),
                    ("Allow", "INVITE, ACK, BYE, CANCEL, INFO, UPDATE, OPTIONS"),
                    ("Supported", "timer"),
                    ("Require", "timer"),
                    ("Session-Expires", "1800;refresher=uac"),
                ] {
                    reply.headers.push(name, value);
                }
            }
            if let Ok(csta::Document { payload: Payload::Service(service), .. }) = csta::decode(&request.body) {
                reply.headers.push("Content-Type", "application/csta+xml");
                let (body, told) = self.serve(&call_id, &service);
                reply.body = body;
                events = told;
            }
        }
        self.send(reply, out);
        if method == "BYE" {
            self.dialogs.remove(&call_id);
        }
        for (to, body) in events {
            let bytes = csta::encode(&Payload::Event(body), csta::ED3);
            let (out, message) = self.info(&to, None, bytes.into());
            out.try_send(message.to_bytes()).expect("room for an event");
        }
    }

    fn serve(&mut self, call_id: &str, service: &Service) -> (Bytes, Vec<(String, Event)>) {
        if let Service::MonitorStart { object: MonitorObject::Device(line), .. } = service {
            let xref = format!("7f3a{:04x}", 0x19c2 + self.dialogs.len() - 1);
            let dialog = self.dialogs.get_mut(call_id).expect("a dialog");
            (dialog.line, dialog.xref) = (line.clone(), xref);
        }
        let Some(switch) = &mut self.switch else {
            let files = self.scripted.get_mut(service.name()).unwrap_or_else(|| panic!("no script: {service:?}"));
            let file = if files.len() > 1 { files.pop_front() } else { files.front().cloned() };
            return (sample(&file.expect("a file")), Vec::new());
        };
        let dialog = &self.dialogs[call_id];
        let outcome = match service {
            Service::RequestSystemStatus { .. } => Outcome::RequestSystemStatus { system_status: "normal".to_owned() },
            Service::MonitorStart { .. } => {
                Outcome::MonitorStart { xref: dialog.xref.clone(), existing_calls: Some(false) }
            }
            Service::GetCstaFeatures { .. } => Outcome::GetCstaFeatures { features: csta::Features::default() },
            Service::MonitorStop { .. } => Outcome::MonitorStop,
            other => {
                let (outcome, events) = switch.serve(&dialog.line, other);
                let address = |(line, body): (String, EventBody)| {
                    let (id, dialog) = self.dialogs.iter().find(|(_, d)| d.line == line)?;
                    Some((id.clone(), Event { xref: dialog.xref.clone(), body }))
                };
                let events = events.into_iter().filter_map(address).collect();
                return (csta::encode(&Payload::Outcome(outcome), csta::ED3).into(), events);
            }
        };
        (csta::encode(&Payload::Outcome(outcome), csta::ED3).into(), Vec::new())
    }

    fn info(&mut self, call_id: &str, cseq: Option<u32>, body: Bytes) -> (Outbox, Message) {
        let dialog = self.dialogs.get_mut(call_id).expect("a dialog");
        dialog.cseq += 1;
        let cseq = cseq.unwrap_or(dialog.cseq);
        let mut message = Message::request("INFO", dialog.contact.as_str());
        let headers = &mut message.headers;
        headers.push("Via", format!("SIP/2.0/TLS rccgw.contoso.com:5065;branch=z9hG4bK-gw1-{cseq:06x}"));
        dialog.route.iter().for_each(|r| headers.push("Route", r));
        headers.push("Max-Forwards", "70");
        headers.push("From", dialog.from.as_str());
        headers.push("To", dialog.to.as_str());
        headers.push("Call-ID", call_id);
        headers.push("CSeq", format!("{cseq} INFO"));
        headers.push("Content-Type", "application/csta+xml");
        headers.push("Content-Disposition", "signal;handling=required");
        message.body = body;
        let out = dialog.out.clone();
        if let Some(tamper) = &mut self.tamper {
            tamper(&mut message);
        }
        (out, message)
    }

    fn send(&mut self, mut message: Message, out: &Outbox) {
        if let Some(tamper) = &mut self.tamper {
            tamper(&mut message);
        }
        // A connection may have gone meanwhile.
        let _ = out.try_send(message.to_bytes());
    }
}
