//! Every rule a gateway may break is noticed when it is broken.

use super::*;
use crate::client::fake::{sample, sample_event};
use crate::client::{EventAnswer, Phase, Surprise, Unanswered, Violation, What};
use crate::csta::{self, EventBody, Payload};
use crate::sip::Message;

async fn with_fault(fault: impl FnMut(&mut Message) + Send + 'static, samples: &[&str]) -> Rig {
    let rig = Rig::signed_in().await;
    rig.gateway.tamper(fault);
    rig.events(samples).await;
    rig
}

fn is_event(message: &Message) -> bool {
    message.method() == Some("INFO")
}

#[tokio::test]
async fn events_in_order_are_answered_200_without_a_body_and_break_nothing() {
    let rig = Rig::signed_in().await;
    rig.events(&["C01", "C05", "C07", "C09"]).await;
    assert_eq!(rig.user.violations(), []);
    let (_, answer) = rig.gateway.received().pop().expect("answers");
    assert_eq!((answer.status(), answer.body.len()), (Some(200), 0));
    let noted = rig.history.entries().into_iter().filter(|e| matches!(e.what, What::Event { .. })).count();
    assert_eq!((rig.user.events(), noted), (4, 4));
}

#[tokio::test]
async fn swapped_events_are_noticed_by_number_and_the_late_one_is_refused_500() {
    let rig = Rig::signed_in().await;
    rig.gateway.event(Some(1), sample("C01")).await;
    rig.gateway.event(Some(3), sample("C07")).await;
    rig.gateway.event(Some(2), sample("C05")).await;
    rig.answered(3).await;
    let expected = [Violation::CSeqGap { expected: 2, got: 3 }, Violation::CSeqBackwards { last: 3, got: 2 }];
    assert_eq!(rig.user.violations(), expected);
    assert_eq!(rig.gateway.event_answers(), (2, 1));
    assert_eq!(rig.user.events(), 2);
}

#[tokio::test]
async fn events_swapped_before_they_were_numbered_are_noticed_by_the_call() {
    let rig = Rig::signed_in().await;
    rig.events(&["D04", "D07", "D06"]).await;
    let surprise = Surprise::OutOfOrder { call: "4720".into(), event: "DeliveredEvent", after: "EstablishedEvent" };
    assert_eq!(rig.user.violations(), [Violation::Call(surprise)]);
}

#[tokio::test]
async fn a_repeated_number_is_answered_and_not_applied_again() {
    let rig = Rig::signed_in().await;
    rig.gateway.event(Some(1), sample("C01")).await;
    rig.gateway.event(Some(1), sample("C01")).await;
    rig.gateway.event(Some(1), sample("C05")).await;
    rig.answered(3).await;
    let expected = [Violation::CSeqRepeated { cseq: 1 }, Violation::CSeqReused { cseq: 1 }];
    assert_eq!(rig.user.violations(), expected);
    assert!(expected[0].is_explained_by_takeover() && !expected[1].is_explained_by_takeover());
    assert_eq!(rig.gateway.event_answers(), (2, 1));
    assert_eq!(rig.user.view().phase("4711"), Some(Phase::Alerting));
}

#[tokio::test]
async fn the_same_event_under_two_numbers_is_noticed() {
    let rig = Rig::signed_in().await;
    rig.events(&["C01", "C01"]).await;
    let surprise = Surprise::Repeated { call: "4711".into(), event: "DeliveredEvent" };
    assert_eq!(rig.user.violations(), [Violation::Call(surprise)]);
}

#[tokio::test]
async fn an_event_with_another_cross_reference_is_dropped() {
    let rig = Rig::signed_in().await;
    let mut event = sample_event("C01");
    event.xref = "7F3A19C2".to_owned();
    rig.gateway.event(None, csta::encode(&Payload::Event(event), csta::ED3)).await;
    rig.answered(1).await;
    let expected = Violation::WrongXref { expected: Some("7f3a19c2".into()), got: "7F3A19C2".into() };
    assert_eq!(rig.user.violations(), [expected]);
    assert_eq!(rig.user.view().calls(), []);
}

#[tokio::test]
async fn an_event_for_a_call_that_ended_is_noticed() {
    let rig = Rig::signed_in().await;
    rig.events(&["C01", "C05", "C09", "C07"]).await;
    let surprise = Surprise::AfterEnd { call: "4711".into(), event: "ConnectionClearedEvent" };
    assert_eq!(rig.user.violations(), [Violation::Call(surprise)]);
}

#[tokio::test]
async fn a_changed_gateway_tag_is_refused_481() {
    let fault = |m: &mut Message| {
        if is_event(m) {
            m.headers.set("From", "<sip:rccgw@rccgw.contoso.com>;tag=gw2-00000001");
        }
    };
    let rig = with_fault(fault, &["C01"]).await;
    let expected = Violation::RemoteTagChanged { expected: "gw1-5f7a2c19".into(), got: "gw2-00000001".into() };
    assert_eq!(rig.user.violations(), [expected]);
    assert_eq!(rig.gateway.event_answers(), (0, 1));
    assert_eq!(rig.user.view().calls(), []);
}

#[tokio::test]
async fn a_changed_tag_in_an_answer_is_noticed() {
    let rig = Rig::signed_in().await;
    rig.gateway.tamper(|m| m.headers.set("To", "<sip:rccgw@rccgw.contoso.com>;tag=gw2-00000001"));
    rig.user.hold("4720").await.expect("answered all the same");
    let expected = Violation::RemoteTagChanged { expected: "gw1-5f7a2c19".into(), got: "gw2-00000001".into() };
    assert_eq!(rig.user.violations(), [expected]);
}

#[tokio::test]
async fn a_wrong_way_is_noticed() {
    let fault = |m: &mut Message| {
        if is_event(m) {
            m.headers.remove("Route");
            m.start = Message::request("INFO", "sip:alice@contoso.com").start;
        }
    };
    let rig = with_fault(fault, &["C01"]).await;
    let expected = [
        Violation::WrongRequestUri { got: "sip:alice@contoso.com".into() },
        Violation::WrongRoute { cseq: 1, got: vec![] },
    ];
    assert_eq!(rig.user.violations(), expected);
}

#[tokio::test]
async fn headers_the_dialog_needs_are_missed() {
    let rig = Rig::lync();
    rig.gateway.tamper(|m| {
        for name in ["Contact", "Session-Expires", "Allow", "Record-Route"] {
            m.headers.remove(name);
        }
        if m.headers.cseq().is_ok_and(|c| c.method == "INVITE") {
            m.headers.set("Via", "SIP/2.0/TLS 10.0.0.99:1;branch=z9hG4bKother");
        }
    });
    rig.user.sign_in().await.expect("signs in");
    let expected = [
        Violation::ViaNotEchoed { cseq: 1 },
        Violation::ContactMissing { cseq: 1 },
        Violation::SessionTimerMissing { cseq: 1 },
        Violation::UpdateNotAllowed { cseq: 1 },
        Violation::RecordRouteNotCopied { cseq: 1 },
    ];
    assert_eq!(rig.user.violations(), expected);
}

/// A real client takes the call id only from a device string-equal to its line.
#[tokio::test]
async fn a_call_made_for_another_device_is_noticed() {
    let rig = Rig::signed_in().await;
    rig.gateway.tamper(|m| {
        let body = String::from_utf8_lossy(&m.body).replace("tel:+14255550101;ext=5101", "tel:+14255550101");
        m.body = body.into();
    });
    rig.user.make_call("tel:+14255550202").await.expect("answered");
    let expected =
        Violation::WrongDevice { expected: "tel:+14255550101;ext=5101".into(), got: "tel:+14255550101".into() };
    assert_eq!(rig.user.violations(), [expected]);
}

#[tokio::test]
async fn our_line_spelled_otherwise_is_noticed() {
    let fault = |m: &mut Message| {
        if is_event(m) {
            m.body = String::from_utf8_lossy(&m.body).replace(";ext=5101", "").into();
        }
    };
    let rig = with_fault(fault, &["C01"]).await;
    let expected =
        Violation::LineRespelled { expected: "tel:+14255550101;ext=5101".into(), got: "tel:+14255550101".into() };
    assert_eq!(rig.user.violations(), [expected]);
}

#[tokio::test]
async fn events_of_the_call_just_made_under_another_id_are_noticed() {
    let rig = Rig::signed_in().await;
    let made = rig.user.make_call("tel:+14255550202").await.expect("answered");
    assert_eq!(made.call().map(|c| c.call.as_str()), Some("4720"));
    let mut event = sample_event("D04");
    let EventBody::Originated { connection, .. } = &mut event.body else { panic!("not Originated") };
    connection.call = "4799".to_owned();
    rig.gateway.event(None, csta::encode(&Payload::Event(event), csta::ED3)).await;
    rig.answered(1).await;
    assert_eq!(rig.user.violations(), [Violation::WrongCallId { expected: "4720".into(), got: "4799".into() }]);
}

#[tokio::test]
async fn an_event_before_the_outcome_that_names_its_call_is_noticed() {
    let rig = Rig::signed_in().await;
    rig.events(&["D04"]).await;
    rig.user.make_call("tel:+14255550202").await.expect("answered");
    assert_eq!(rig.user.violations(), [Violation::EventBeforeOutcome { call: "4720".into() }]);
}

#[tokio::test]
async fn the_outcome_of_another_service_is_no_outcome() {
    let rig = Rig::signed_in().await;
    rig.gateway.script("HoldCall", &["E05"]);
    assert_eq!(rig.user.hold("4720").await, Err(Unanswered::BadBody));
    assert_eq!(
        rig.user.violations(),
        [Violation::WrongOutcome { service: "HoldCall", outcome: "RetrieveCallResponse" }]
    );
    rig.gateway.tamper(|m| m.body = "<HoldCallResp".into());
    assert_eq!(rig.user.hold("4720").await, Err(Unanswered::BadBody));
    assert_eq!(rig.user.violations().last(), Some(&Violation::UnreadableBody { cseq: 5 }));
}

#[tokio::test]
async fn a_denied_dialog_is_noticed() {
    let rig = Rig::signed_in().await;
    rig.gateway.tamper(|m| m.start = Message::response(481, "Call Leg/Transaction Does Not Exist").start);
    let why = rig.user.hold("4720").await.expect_err("denied");
    assert!(matches!(why, Unanswered::Sip { status: 481, .. }) && why.is_definite());
    assert_eq!(rig.user.violations(), [Violation::DialogDenied { method: "INFO".into(), status: 481 }]);
}

#[tokio::test]
async fn a_bye_from_the_gateway_ends_the_dialog() {
    let rig = Rig::signed_in().await;
    rig.gateway.bye().await;
    rig.answered(1).await;
    assert_eq!(rig.user.violations(), [Violation::ByeReceived]);
    assert!(!rig.user.is_signed_in());
    rig.gateway.sample_event("C01").await;
    rig.answered(2).await;
    assert_eq!(rig.gateway.event_answers(), (1, 1));
}

#[tokio::test]
async fn pidgin_sipe_never_answers_and_still_sees() {
    let rig = Rig::signed_in().await;
    rig.user.answer_events(EventAnswer::Silent);
    rig.gateway.sample_event("C01").await;
    let seen = rig.user.until(std::time::Duration::from_secs(5), |v| v.phase("4711")).await;
    assert_eq!(seen, Some(Phase::Alerting));
    assert_eq!(rig.gateway.event_answers(), (0, 0));
}

#[tokio::test]
async fn a_front_end_without_a_route_answers_430_in_the_clients_place() {
    let rig = Rig::signed_in().await;
    let recovery_action = Some("Wait-For-Session-Update".to_owned());
    rig.user.answer_events(EventAnswer::Refused { status: 430, recovery_action });
    rig.events(&["C01"]).await;
    let (_, answer) = rig.gateway.received().pop().expect("an answer");
    assert_eq!(answer.status(), Some(430));
    assert_eq!(answer.headers.get("P-Dialog-Recovery-Action"), Some("Wait-For-Session-Update"));
    assert_eq!(rig.user.events(), 0);
}

#[tokio::test]
async fn an_info_with_a_content_type_and_no_content_is_tolerated() {
    let rig = Rig::signed_in().await;
    rig.gateway.event(None, bytes::Bytes::new()).await;
    rig.answered(1).await;
    assert_eq!(rig.user.violations(), []);
}

#[tokio::test]
async fn a_dialog_update_with_new_record_route_moves_the_events() {
    // MS-SIPRE 3.7.5
    let rig = Rig::signed_in().await;
    let new: Arc<[String]> =
        Arc::new(["<sip:fe02.contoso.com:5061;transport=tls;lr;ms-route-sig=bb>;tag=9D0C".to_owned()]);
    rig.user.update_route(new.clone()).await.expect("updates");
    let received = rig.gateway.received();
    let (_, update) = received.last().expect("UPDATE");
    assert_eq!(update.method(), Some("UPDATE"));
    assert_eq!(update.headers.fields("Record-Route").collect::<Vec<_>>(), [new[0].as_str()]);
    assert!(update.headers.has_token("Supported", "ms-dialog-route-set-update"));
    rig.events(&["C01"]).await;
    assert_eq!(rig.user.violations(), []);
    // Planted: a gateway that goes on with the old route set.
    rig.gateway.tamper(|m| m.headers.set("Route", "<sip:fe01.contoso.com:5061;transport=tls;lr>"));
    rig.events(&["C05"]).await;
    assert!(matches!(rig.user.violations()[..], [Violation::WrongRoute { cseq: 2, .. }]));
}
