//! Connections: many users over a few, and dialogs that outlive them.

use std::time::Duration;

use super::*;
use crate::client::{FLOWS_MAX, Phase, Spread, Unanswered};

fn user(front_end: &FrontEnd, n: usize) -> RccUser {
    front_end.user(UserOptions {
        epid: format!("{n:010x}"),
        ..UserOptions::new(
            format!("sip:user{n}@contoso.com"),
            format!("tel:+1425555{n:04}"),
            "sip:rccgw@rccgw.contoso.com",
        )
    })
}

#[tokio::test]
async fn many_users_share_one_front_end_connection() {
    let gateway = FakeGateway::with_switch();
    let front_end = FrontEnd::new(FrontEndOptions::front_end("fe01.contoso.com"));
    front_end.attach(gateway.connect()).expect("a flow");
    let users: Vec<RccUser> = (0..200).map(|n| user(&front_end, n)).collect();
    for user in &users {
        user.sign_in().await.expect("signs in");
    }
    // Pairs call each other, all at once.
    let calls = users.chunks(2).map(|pair| async move {
        let [caller, callee] = pair else { panic!("pairs") };
        let made = caller.make_call(&callee.line()).await.expect("made");
        let call = made.call().expect("a call").call.clone();
        let rings = callee.until(Duration::from_secs(10), |v| (v.phase(&call)? == Phase::Alerting).then_some(())).await;
        assert!(rings.is_some(), "{call} rings");
        callee.answer(&call).await.expect("answered");
        let talks = caller.until(Duration::from_secs(10), |v| (v.phase(&call)? == Phase::Talking).then_some(())).await;
        assert!(talks.is_some(), "{call} talks");
        caller.hang_up(&call).await.expect("hung up");
        assert!(callee.until(Duration::from_secs(10), |v| v.has_ended(&call).then_some(())).await.is_some());
    });
    futures_util::future::join_all(calls).await;
    for user in &users {
        assert_eq!(user.violations(), [], "{}", user.name());
        assert_eq!(user.view().calls(), []);
    }
    assert_eq!((front_end.flows().len(), front_end.strays()), (1, 0));
}

#[tokio::test]
async fn one_dialog_spreads_over_four_connections() {
    let gateway = FakeGateway::with_samples();
    let front_end =
        FrontEnd::new(FrontEndOptions { spread: Spread::ByMessage, ..FrontEndOptions::front_end("fe01.contoso.com") });
    for _ in 0..FLOWS_MAX {
        front_end.attach(gateway.connect()).expect("a flow");
    }
    assert!(front_end.attach(gateway.connect()).is_err(), "a fifth");
    let alice = front_end.user(alice());
    alice.sign_in().await.expect("signs in");
    for _ in 0..4 {
        alice.hold("4720").await.expect("answered");
    }
    let mut connections: Vec<usize> = gateway.received().iter().map(|(connection, _)| *connection).collect();
    connections.sort_unstable();
    connections.dedup();
    assert_eq!(connections, [1, 2, 3, 4]);
    assert_eq!(alice.violations(), []);
}

#[tokio::test]
async fn a_dialog_goes_on_over_another_connection() {
    let rig = Rig::signed_in().await;
    let call_id = rig.user.call_id();
    let first = rig.front_end.flows()[0];
    let second = rig.front_end.attach(rig.gateway.connect()).expect("a flow");
    rig.user.use_flow(second);
    rig.front_end.close(first);
    rig.user.hold("4720").await.expect("answered");
    assert_eq!((rig.gateway.received().pop().map(|(c, _)| c), rig.user.call_id()), (Some(2), call_id));
}

#[tokio::test]
async fn a_request_whose_connection_is_lost_is_unknown() {
    let rig = Rig::signed_in().await;
    rig.gateway.fall_silent(true);
    let user = rig.user.clone();
    let asked = tokio::spawn(async move { user.make_call("tel:+14255550202").await });
    rig.gateway.until(|all| (all.len() == 5).then_some(())).await;
    rig.gateway.hang_up_connection().await;
    assert_eq!(asked.await.expect("no panic"), Err(Unanswered::FlowLost));
    assert_eq!(rig.front_end.flows_lost(), 1);
}

#[tokio::test]
async fn a_lost_request_is_repeated_unchanged_where_that_is_wanted() {
    let rig = Rig::new(
        alice(),
        FrontEndOptions { repeats_on_flow_loss: true, ..FrontEndOptions::front_end("fe01.contoso.com") },
    );
    rig.user.sign_in().await.expect("signs in");
    rig.gateway.fall_silent(true);
    let user = rig.user.clone();
    let asked = tokio::spawn(async move { user.make_call("tel:+14255550202").await });
    rig.gateway.until(|all| (all.len() == 5).then_some(())).await;
    rig.gateway.hang_up_connection().await;
    rig.gateway.fall_silent(false);
    rig.front_end.attach(rig.gateway.connect()).expect("a flow");
    let reply = asked.await.expect("no panic").expect("answered");
    assert_eq!(reply.call().map(|c| c.call.as_str()), Some("4720"));
    let received = rig.gateway.received();
    let (first, second) = (&received[4], &received[5]);
    assert_eq!((first.0, second.0), (1, 2));
    assert_eq!(first.1.to_bytes(), second.1.to_bytes());
    assert_eq!(rig.user.violations(), []);
}

#[tokio::test]
async fn connections_kept_up_come_back_by_themselves() {
    let gateway = FakeGateway::with_samples();
    let address = gateway.listen().await;
    let front_end = FrontEnd::new(FrontEndOptions::front_end("fe01.contoso.com"));
    front_end.keep_connected(vec![address], 1);
    let alice = front_end.user(alice());
    alice.sign_in().await.expect("waits for the connection, then signs in");
    gateway.hang_up_connection().await;
    while front_end.flows_lost() == 0 {
        tokio::task::yield_now().await;
    }
    alice.hold("4720").await.expect("over the next connection");
    assert_eq!(gateway.received().pop().map(|(connection, _)| connection), Some(2));
}

#[tokio::test(start_paused = true)]
async fn without_any_connection_nothing_was_sent() {
    let front_end = FrontEnd::new(FrontEndOptions::direct());
    let alice = front_end.user(alice());
    let why = alice.hold("4720").await.expect_err("no connection");
    assert_eq!((why.clone(), why.is_definite()), (Unanswered::NotSent, true));
}

#[tokio::test]
async fn messages_for_nobody_are_answered_481_and_counted() {
    let rig = Rig::signed_in().await;
    let Rig { gateway, front_end, user, .. } = rig;
    drop(user);
    gateway.sample_event("C01").await;
    gateway.until(|all| all.iter().any(|(_, m)| m.status() == Some(481)).then_some(())).await;
    assert_eq!(front_end.strays(), 1);
}
