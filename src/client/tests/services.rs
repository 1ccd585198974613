use super::*;
use crate::client::{OperationResult, What};
use crate::csta::{ConnectionId, Document, Failure, Outcome, Payload, Service, decode};
use crate::sip::Message;

fn last_service(rig: &Rig) -> Service {
    let (_, message) = rig.gateway.received().pop().expect("a request");
    let Ok(Document { payload: Payload::Service(service), .. }) = decode(&message.body) else { panic!("no service") };
    service
}

fn sampled(beginning: &str) -> Service {
    let Ok(Document { payload: Payload::Service(service), .. }) = decode(&crate::client::fake::sample(beginning))
    else {
        panic!("{beginning} is no service")
    };
    service
}

/// Each service is asked exactly as the samples show, and its outcome comes back.
#[tokio::test]
async fn services_are_asked_as_the_samples_show() {
    let rig = Rig::signed_in().await;
    let u = &rig.user;
    macro_rules! asks {
        ($($sample:literal: $call:expr;)*) => {$(
            let reply = $call.await.expect($sample);
            assert!(reply.is_done(), "{}: {reply:?}", $sample);
            assert_eq!(last_service(&rig), sampled($sample), "{}", $sample);
        )*};
    }
    asks! {
        "A09": u.forwarding();
        "A11": u.do_not_disturb();
        "A13": u.snapshot_device();
        "C03": u.answer("4711");
        "D01": u.make_call("tel:+14255550202");
        "D08": u.hang_up("4720");
        "E01": u.hold("4730");
        "E04": u.retrieve("4730");
        "E07": u.alternate("4730", "4731");
        "E09": u.reconnect("4731", "4730");
        "F01": u.consult("4740", "tel:+14255550303");
        "F08": u.transfer("4740", "4741");
        "G01": u.blind_transfer("4750", "tel:+14255550303");
        "G04": u.deflect("4760", "tel:+14255550303");
        "H01": u.conference("4770", "4771");
        "I07": u.set_do_not_disturb(true);
        "I12": u.set_message_waiting(true);
        "J03": u.snapshot_call("4711");
    }
    assert_eq!(rig.user.violations(), []);
}

#[tokio::test]
async fn a_refusal_by_the_switch_is_an_answer_and_definite() {
    let rig = Rig::signed_in().await;
    rig.gateway.script("AnswerCall", &["K04"]);
    let reply = rig.user.answer("4799").await.expect("answered");
    assert!(matches!(reply.refusal(), Some(Failure::StateIncompatibility(_))), "{reply:?}");
    let entries = rig.history.entries();
    let Some(What::Operation(op)) = entries.last().map(|e| &e.what) else { panic!("no operation") };
    assert_eq!((op.op, op.target.as_deref()), ("AnswerCall", Some("4799")));
    assert!(matches!(op.result, OperationResult::Failed(_)));
}

#[tokio::test]
async fn the_history_names_each_call_by_its_number_and_id() {
    let rig = Rig::signed_in().await;
    rig.user.make_call("tel:+14255550202").await.expect("answered");
    let entries = rig.history.entries();
    let mut ops: Vec<&str> = entries
        .iter()
        .filter_map(|e| match &e.what {
            What::Operation(op) => Some(op.op),
            _ => None,
        })
        .collect();
    // The two in the middle are open together.
    ops[1..3].sort_unstable();
    assert_eq!(ops, ["RequestSystemStatus", "GetCSTAFeatures", "MonitorStart", "MakeCall"]);
    let Some(What::Operation(op)) = entries.last().map(|e| &e.what) else { panic!("no operation") };
    assert_eq!((op.target.as_deref(), op.call.as_deref()), (Some("tel:+14255550202"), Some("4720")));
    assert_eq!((op.cseq, &op.result), (4, &OperationResult::Ok));
    assert!(op.start_us <= op.end_us);
}

#[tokio::test(start_paused = true)]
async fn a_service_without_an_answer_is_unknown_after_32_seconds() {
    let rig = Rig::signed_in().await;
    rig.gateway.fall_silent(true);
    let started = tokio::time::Instant::now();
    let why = rig.user.make_call("tel:+14255550202").await.expect_err("no answer");
    assert_eq!((why.clone(), why.is_definite()), (crate::client::Unanswered::TimedOut, false));
    assert_eq!(started.elapsed().as_secs(), 32);
    let entries = rig.history.entries();
    let Some(What::Operation(op)) = entries.last().map(|e| &e.what) else { panic!("no operation") };
    assert!(matches!(op.result, OperationResult::Unknown(_)));
}

#[tokio::test]
async fn snapshots_are_read() {
    let rig = Rig::signed_in().await;
    let reply = rig.user.snapshot_device().await.expect("answered");
    let Outcome::SnapshotDevice { calls, .. } = reply.outcome else { panic!("{reply:?}") };
    assert_eq!(calls[0].connection, ConnectionId::new("4711", "tel:+14255550101;ext=5101"));
}

#[tokio::test]
async fn options_inside_the_dialog_are_answered() {
    let rig = Rig::signed_in().await;
    rig.user.options().await.expect("answered");
    assert_eq!(
        rig.gateway.received().pop().and_then(|(_, m)| m.method().map(str::to_owned)).as_deref(),
        Some("OPTIONS")
    );
}

#[tokio::test]
async fn a_second_answer_is_noticed_when_it_differs() {
    use crate::client::Violation;
    let rig = Rig::signed_in().await;
    let (gateway, mut first) = (rig.gateway.clone(), true);
    gateway.tamper(move |m: &mut Message| {
        // The events' path is used to send one more response: a stray one with the same CSeq.
        if m.method() == Some("INFO") && std::mem::take(&mut first) {
            let cseq = "2 INFO";
            let (from, to) = (m.headers.get("To").map(str::to_owned), m.headers.get("From").map(str::to_owned));
            m.start = Message::response(200, "OK").start;
            m.headers.set("From", from.unwrap_or_default());
            m.headers.set("To", to.unwrap_or_default());
            m.headers.set("CSeq", cseq);
        }
    });
    rig.gateway.sample_event("C01").await;
    rig.gateway.behave();
    rig.events(&["C05"]).await;
    let found = rig.user.violations();
    assert!(found.contains(&Violation::AnswersDiffer { cseq: 2 }), "{found:?}");
}
