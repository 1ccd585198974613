//! One step of a session's machine, apart from everything that carries it: a request in, its outcome in, an event in.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use lyncpin::csta::{ConnectionId, DeviceRef, Event, EventBody, Features, LocalState, Outcome, RedirectionRef};
use lyncpin::id::{Moment, SessionId};
use lyncpin::machine::ask::AskId;
use lyncpin::machine::directory::{Appearance, Directory};
use lyncpin::machine::effect::Effect;
use lyncpin::machine::input::{FlowId, Input};
use lyncpin::machine::rules::{INFO_TIMEOUT_MS, OUT_OF_SERVICE_AFTER_MS, Rules, STATUS_GRACE_MS};
use lyncpin::machine::session::{Context, Session};
use lyncpin::machine::sign_in::{SignIn, sign_in};
use lyncpin::machine::transaction::Open;
use lyncpin::sip::Message;

const FLOW: FlowId = FlowId(1);
const NOW: Moment = Moment(1_000_000);

fn rules() -> Rules {
    let alice = Appearance::new("sip:alice@contoso.com", "tel:+14255550101;ext=5101", "5101");
    Rules {
        contact: "<sip:rccgw@rccgw.contoso.com:5065;transport=tls>".into(),
        sent_by: "rccgw.contoso.com:5065".into(),
        via_transport: "TLS",
        product: "Lyncpin".into(),
        session_expires_s: 1800,
        min_se_s: 90,
        session_grace_s: 60,
        idle_expires_s: 90_000,
        keepalive_s: 60,
        event_wait_ms: 3_000,
        request_timeout_ms: 5_000,
        info_timeout_ms: INFO_TIMEOUT_MS,
        open_max: 32,
        out_of_service_after_ms: OUT_OF_SERVICE_AFTER_MS,
        status_grace_ms: STATUS_GRACE_MS,
        cseq_tolerant: true,
        phone_context: "dialstring".into(),
        features: Arc::new(Features::standard()),
        switches: Vec::new(),
        directory: Arc::new(Directory::new([alice]).expect("a good entry")),
    }
}

fn sample(name: &str) -> Message {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/rcc").join(name);
    Message::parse(&Bytes::from(std::fs::read(path).expect("the sample is there"))).expect("good SIP")
}

fn request(name: &str) -> Input {
    Input::Request { flow: FLOW, message: Box::new(sample(name)) }
}

fn asked(effects: &[Effect]) -> AskId {
    let ask = effects.iter().find_map(|effect| match effect {
        Effect::Invoke { ask, .. } => Some(*ask),
        _ => None,
    });
    ask.expect("the step asks the PBX")
}

/// Signed in, monitored, with one call ringing.
fn session(cx: Context<'_>) -> Session {
    let invite = sample("A01-c2g-INVITE-RequestSystemStatus.sip");
    let open = Open::of(FLOW, &invite).expect("a good INVITE");
    let id = SessionId::new("gw1-5f7a2c19");
    let SignIn::Welcome { mut session, .. } = sign_in(cx, id, FLOW, &invite, &open, "cm1") else { panic!("welcome") };
    session.step(cx, request("A04-c2g-ACK.sip"));
    session.step(cx, Input::LinkUp { features: None });
    let ask = asked(&session.step(cx, request("A07-c2g-INFO-MonitorStart.sip")));
    let granted = Outcome::MonitorStart { xref: "x1".into(), existing_calls: None };
    let ask = asked(&session.step(cx, Input::Settled { ask, result: Ok(granted) }));
    let idle = Outcome::SnapshotDevice { calls: Vec::new(), service_xref: None };
    session.step(cx, Input::Settled { ask, result: Ok(idle) });
    session.step(cx, delivered("4711"));
    *session
}

fn delivered(call: &str) -> Input {
    let body = EventBody::Delivered {
        connection: ConnectionId::new(call, "5101"),
        alerting: DeviceRef::device("5101"),
        calling: DeviceRef::device("+14255550202"),
        called: DeviceRef::device("5101"),
        last_redirection: RedirectionRef::NotRequired,
        local: Some(LocalState::Alerting),
        cause: "newCall".into(),
    };
    Input::PbxEvent { event: Event { xref: "x1".into(), body } }
}

fn steps(c: &mut Criterion) {
    let rules = rules();
    let cx = Context { rules: &rules, now: NOW };
    let ready = session(cx);
    let mut step = |name: &str, session: &Session, input: Input| {
        let both = || (session.clone(), input.clone());
        c.bench_function(name, |b| {
            b.iter_batched(both, |(mut s, input)| black_box(s.step(cx, input)), BatchSize::SmallInput)
        });
    };
    step("step: INFO AnswerCall to the PBX", &ready, request("C03-c2g-INFO-AnswerCall.sip"));
    let mut open = ready.clone();
    let ask = asked(&open.step(cx, request("C03-c2g-INFO-AnswerCall.sip")));
    step("step: its outcome into the 200", &open, Input::Settled { ask, result: Ok(Outcome::AnswerCall) });
    let mut free = ready.clone();
    free.step(cx, Input::Response { message: Box::new(sample("C02-c2g-200-event.sip")) });
    step("step: an event into an INFO", &free, delivered("4712"));
    c.bench_function("record: a session as JSON", |b| b.iter(|| serde_json::to_vec(black_box(&ready))));
}

criterion_group!(benches, steps);
criterion_main!(benches);
