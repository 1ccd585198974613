//! A link, its sessions, and the PBX's end of its connections.

use std::collections::VecDeque;
use std::future::Future;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::LocalSet;
use tokio::time::{Instant, timeout};

use super::*;
use crate::actor::mail::{Bind, HasCalls, Invoke, Recovered, Unbind};
use crate::csta::{self, DeviceRef, Document, ED3, Payload};
use crate::cti::app_session::{self, AppSession};
use crate::cti::frame::{self, Frame, FrameReader};
use crate::cti::{Address, BoxedStream, Connecting};
use crate::machine::link::LoginRefusal;

/// Longer than anything that is awaited may take, in virtual time.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) fn in_stopped_time(test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
    LocalSet::new().block_on(&runtime, test);
}

pub(super) fn fast() -> LinkConfig {
    LinkConfig { heartbeat_ms: 10_000, backoff_min_ms: 100, backoff_max_ms: 1_000, ..LinkConfig::default() }
}

pub(super) fn monitor(device: &str) -> Service {
    Service::MonitorStart { object: MonitorObject::Device(device.into()), line: None }
}

pub(super) fn snapshot(device: &str) -> Service {
    Service::SnapshotDevice { device: device.into() }
}

pub(super) fn back_in_service(xref: &str) -> Event {
    Event { xref: xref.into(), body: EventBody::BackInService { device: DeviceRef::device("5101"), cause: None } }
}

pub(super) fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

pub(super) struct Rig {
    pub(super) link: Addr<LinkActor>,
    pub(super) state: watch::Receiver<LinkState>,
    connections: mpsc::Receiver<DuplexStream>,
}

impl Rig {
    pub(super) async fn start(config: LinkConfig) -> Self {
        let (accepted, connections) = mpsc::channel(8);
        let connector = move |_: &Address| -> Connecting {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            let accepted = accepted.clone();
            Box::pin(async move {
                accepted.send(theirs).await.map_err(|_| std::io::ErrorKind::ConnectionRefused)?;
                Ok(Box::new(ours) as BoxedStream)
            })
        };
        let link = LinkActor::new(config, Arc::new(connector));
        let state = link.watch_state();
        Self { link: link.start(), state, connections }
    }

    pub(super) async fn up(config: LinkConfig) -> (Self, PbxEnd) {
        let mut rig = Self::start(config).await;
        let mut pbx = rig.accept().await;
        pbx.log_in().await;
        rig.state.wait_for(|state| *state == LinkState::Up).await.expect("the link lives");
        (rig, pbx)
    }

    pub(super) async fn accept(&mut self) -> PbxEnd {
        let stream = timeout(PATIENCE, self.connections.recv()).await.expect("the link connects").expect("it lives");
        PbxEnd::new(Box::new(stream))
    }

    pub(super) async fn bind_with(&mut self, session: &str, has_calls: bool) -> Probe {
        let (address, probe) = Probe::start_here();
        let bind = Bind { session: SessionId::new(session), inbox: address.recipient(), has_calls };
        self.link.send(bind).await.unwrap();
        probe
    }

    pub(super) async fn bind(&mut self, session: &str) -> Probe {
        self.bind_with(session, false).await
    }

    /// Bound, up and recovered.
    pub(super) async fn bind_up(&mut self, session: &str) -> Probe {
        self.state.wait_for(|state| *state == LinkState::Up).await.expect("the link lives");
        let mut probe = self.bind(session).await;
        assert!(matches!(probe.next().await, FromLink::Up { .. }));
        self.recovered(session);
        probe
    }

    pub(super) fn invoke(&self, session: &str, ask: u64, service: Service) {
        self.invoke_within(session, ask, service, 5_000);
    }

    pub(super) fn invoke_within(&self, session: &str, ask: u64, service: Service, deadline_ms: u64) {
        let invoke = Invoke { session: SessionId::new(session), ask: AskId(ask), service, deadline_ms };
        self.link.try_send(invoke).unwrap();
    }

    pub(super) fn recovered(&self, session: &str) {
        self.link.try_send(Recovered { session: SessionId::new(session) }).unwrap();
    }

    pub(super) fn has_calls(&self, session: &str, has_calls: bool) {
        self.link.try_send(HasCalls { session: SessionId::new(session), has_calls }).unwrap();
    }

    pub(super) fn unbind(&self, session: &str) {
        self.link.try_send(Unbind { session: SessionId::new(session) }).unwrap();
    }

    pub(super) async fn status(&self) -> LinkStatus {
        self.link.send(AskStatus).await.unwrap()
    }

    /// Until nothing moves any more but timers.
    pub(super) async fn quiet(&self) {
        sleep(Duration::from_millis(1)).await;
    }

    pub(super) async fn stop(&mut self) {
        self.link.try_send(StopNow).unwrap();
        self.quiet().await;
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct StopNow;

impl Handler<StopNow> for LinkActor {
    type Result = ();

    fn handle(&mut self, _: StopNow, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

/// A session's side: what the link told it, in order.
pub(super) struct Probe {
    mail: mpsc::Receiver<FromLink>,
    peeked: VecDeque<FromLink>,
    go_on: Arc<Notify>,
    address: Addr<ProbeActor>,
}

pub(super) struct ProbeActor {
    mail: mpsc::Sender<FromLink>,
    go_on: Arc<Notify>,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Hang;

impl Probe {
    pub(super) fn start_here() -> (Addr<ProbeActor>, Self) {
        let (sender, mail) = mpsc::channel(1_000);
        let go_on = Arc::new(Notify::new());
        let address = ProbeActor { mail: sender, go_on: go_on.clone() }.start();
        (address.clone(), Self { mail, peeked: VecDeque::new(), go_on, address })
    }

    pub(super) async fn next(&mut self) -> FromLink {
        if let Some(mail) = self.peeked.pop_front() {
            return mail;
        }
        timeout(PATIENCE, self.mail.recv()).await.expect("mail from the link").expect("the probe lives")
    }

    pub(super) fn has_mail(&mut self) -> bool {
        self.peeked.extend(self.mail.try_recv().ok());
        !self.peeked.is_empty()
    }

    /// Nothing comes, not even after a second.
    pub(super) async fn is_silent(&mut self) {
        sleep(Duration::from_secs(1)).await;
        if self.has_mail() {
            panic!("unexpected mail: {:?}", self.peeked);
        }
    }

    /// From now on its mailbox only fills.
    pub(super) async fn hang(&self) {
        self.address.send(Hang).await.unwrap();
    }

    pub(super) fn go_on(&self) {
        self.go_on.notify_one();
    }
}

impl Actor for ProbeActor {
    type Context = Context<Self>;
}

impl Handler<FromLink> for ProbeActor {
    type Result = ();

    fn handle(&mut self, mail: FromLink, _: &mut Self::Context) {
        let _ = self.mail.try_send(mail);
    }
}

impl Handler<Hang> for ProbeActor {
    type Result = ();

    fn handle(&mut self, _: Hang, ctx: &mut Self::Context) {
        let go_on = self.go_on.clone();
        ctx.wait(async move { go_on.notified().await }.into_actor(self));
    }
}

/// The PBX's end of one connection.
pub(super) struct PbxEnd {
    stream: BoxedStream,
    frames: FrameReader,
    read: VecDeque<Frame>,
    pub(super) one_byte_at_a_time: bool,
}

impl PbxEnd {
    pub(super) fn new(stream: BoxedStream) -> Self {
        Self { stream, frames: FrameReader::default(), read: VecDeque::new(), one_byte_at_a_time: false }
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) {
        let step = if self.one_byte_at_a_time { 1 } else { bytes.len().max(1) };
        for piece in bytes.chunks(step) {
            self.stream.write_all(piece).await.unwrap();
            self.stream.flush().await.unwrap();
            if self.one_byte_at_a_time {
                tokio::task::yield_now().await;
            }
        }
    }

    async fn frame(&mut self) -> Frame {
        loop {
            if let Some(frame) = self.read.pop_front() {
                return frame;
            }
            let mut piece = [0; 4096];
            let read = timeout(PATIENCE, self.stream.read(&mut piece)).await.expect("the link writes").unwrap();
            assert_ne!(read, 0, "the link closed the connection");
            self.read.extend(self.frames.received(&piece[..read]).unwrap());
        }
    }

    async fn app_session(&mut self) -> (u16, AppSession) {
        let frame = self.frame().await;
        let document = app_session::read(&frame.body).unwrap();
        (frame.invoke, document.expect("an application session document"))
    }

    /// The next service but questions for the status, which are answered `normal`.
    pub(super) async fn service(&mut self) -> (u16, Service) {
        loop {
            let frame = self.frame().await;
            let Ok(Document { payload: Payload::Service(service), .. }) = csta::decode(&frame.body) else {
                panic!("not a service: {}", String::from_utf8_lossy(&frame.body))
            };
            match service {
                Service::RequestSystemStatus { .. } => {
                    let outcome = Outcome::RequestSystemStatus { system_status: "normal".into() };
                    self.outcome(frame.invoke, outcome).await;
                }
                service => return (frame.invoke, service),
            }
        }
    }

    pub(super) async fn document(&mut self, invoke: u16, body: &[u8]) {
        self.write(&frame::encode(invoke, body).unwrap()).await;
    }

    pub(super) fn outcome_bytes(&self, invoke: u16, outcome: Outcome) -> Vec<u8> {
        frame::encode(invoke, &csta::encode(&Payload::Outcome(outcome), ED3)).unwrap()
    }

    pub(super) fn event_bytes(&self, event: Event) -> Vec<u8> {
        frame::encode(9999, &csta::encode(&Payload::Event(event), ED3)).unwrap()
    }

    pub(super) async fn outcome(&mut self, invoke: u16, outcome: Outcome) {
        let bytes = self.outcome_bytes(invoke, outcome);
        self.write(&bytes).await;
    }

    /// Like `outcome`, on a connection that may be gone.
    pub(super) async fn try_outcome(&mut self, invoke: u16, outcome: Outcome) {
        let bytes = self.outcome_bytes(invoke, outcome);
        let _ = self.stream.write_all(&bytes).await;
    }

    pub(super) async fn event(&mut self, event: Event) {
        let bytes = self.event_bytes(event);
        self.write(&bytes).await;
    }

    pub(super) async fn answer_monitor(&mut self, xref: &str) {
        let (invoke, service) = self.service().await;
        assert!(matches!(service, Service::MonitorStart { .. }), "{service:?}");
        self.outcome(invoke, Outcome::MonitorStart { xref: xref.into(), existing_calls: None }).await;
    }

    async fn answer_status(&mut self) {
        let frame = self.frame().await;
        let document = csta::decode(&frame.body).unwrap();
        assert_eq!(document.payload, Payload::Service(Service::RequestSystemStatus { line: None }));
        self.outcome(frame.invoke, Outcome::RequestSystemStatus { system_status: "normal".into() }).await;
    }

    pub(super) async fn log_in(&mut self) {
        let (invoke, start) = self.app_session().await;
        assert!(matches!(start, AppSession::Start { login: None, .. }), "{start:?}");
        self.grant(invoke, "1").await;
        self.answer_status().await;
    }

    async fn grant(&mut self, invoke: u16, session_id: &str) {
        let started =
            AppSession::Started { session_id: session_id.into(), protocol_version: ED3.into(), duration_s: 3_600 };
        self.document(invoke, &app_session::write(&started)).await;
    }

    pub(super) async fn log_in_dmcc(&mut self, asked: &str, granted: &str) {
        let (invoke, start) = self.app_session().await;
        let AppSession::Start { login: Some(login), .. } = start else { panic!("{start:?}") };
        assert_eq!(login.session_id, asked);
        self.grant(invoke, granted).await;
        if asked != granted {
            let monitor = self.frame().await;
            self.document(
                monitor.invoke,
                b"<MonitorStartResponse><monitorCrossRefID>1</monitorCrossRefID></MonitorStartResponse>",
            )
            .await;
        }
        self.answer_status().await;
    }

    pub(super) async fn name_device(&mut self, opaque: &str) {
        let question = self.frame().await;
        assert!(String::from_utf8_lossy(&question.body).contains("GetThirdPartyDeviceId"));
        let answer =
            format!("<GetThirdPartyDeviceIdResponse><device>{opaque}</device></GetThirdPartyDeviceIdResponse>");
        self.document(question.invoke, answer.as_bytes()).await;
    }

    pub(super) async fn refuse_login(&mut self) {
        let (invoke, _) = self.app_session().await;
        let refused = AppSession::StartRefused(LoginRefusal::InvalidApplicationInfo);
        self.document(invoke, &app_session::write(&refused)).await;
    }

    pub(super) async fn answer_logout(&mut self) {
        let (invoke, stop) = self.app_session().await;
        assert_eq!(stop, AppSession::Stop { session_id: "1".into() });
        self.document(invoke, &app_session::write(&AppSession::Stopped)).await;
    }

    pub(super) async fn report_status(&mut self, status: &str) {
        let service = Service::SystemStatus { system_status: status.into() };
        self.document(1, &csta::encode(&Payload::Service(service), ED3)).await;
        let frame = self.frame().await;
        let document = csta::decode(&frame.body).unwrap();
        assert_eq!((frame.invoke, document.payload), (1, Payload::Outcome(Outcome::SystemStatus)));
    }

    pub(super) async fn answer_heartbeats_for(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while tokio::time::timeout_at(until, self.answer_status()).await.is_ok() {}
    }
}
