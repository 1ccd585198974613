//! Parts of the gateway that die: the session goes on for its client, with the same dialog and the same monitor.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lyncpin::client::RccUser;
use lyncpin::cti::{Address, Connecting, Connector, TcpConnector};
use lyncpin::gateway::Options;
use lyncpin::id::SessionId;
use lyncpin::lab::pbx::{CallSeen, Reply, Request};

use crate::raw::{CSTA, HandMade, service, status_request};
use crate::rig::{Rig, config_text, one_call, run, run_with, until};

async fn kill(rig: &Rig, user: &RccUser) {
    kill_tag(rig, &user.remote_tag().unwrap()).await;
}

async fn kill_tag(rig: &Rig, tag: &str) {
    let sessions = rig.gateway.node().sessions.get().unwrap();
    let died = rig.counted("session", "died");
    assert!(sessions.kill(&SessionId::new(tag)));
    until("it is noticed", || rig.counted("session", "died") > died).await;
}

async fn calls(rig: &Rig) -> Vec<CallSeen> {
    match rig.pbx().control(Request::Calls { after: 0, max: 100 }).await {
        Reply::Calls { calls } => calls,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_session_that_dies_goes_on_with_the_same_dialog_and_monitor() {
    run("", "", async |rig| {
        let ((_one, carol), (_two, dave)) = (rig.user(2).await, rig.user(3).await);
        carol.sign_in().await.unwrap();
        dave.sign_in().await.unwrap();
        let who = (carol.remote_tag(), carol.xref());
        for _ in 0..3 {
            kill(rig, &carol).await;
            one_call(&dave, &carol).await;
            kill(rig, &dave).await;
            one_call(&dave, &carol).await;
            carol.refresh().await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!((carol.remote_tag(), carol.xref()), who);
        // In the middle of a call: neither is it lost nor told twice.
        let call = dave.make_call(&carol.line()).await.unwrap().call().unwrap().call.clone();
        let theirs = carol.until(crate::rig::PATIENCE, |view| Some(view.calls().first()?.id.clone())).await.unwrap();
        kill(rig, &carol).await;
        kill(rig, &dave).await;
        assert!(carol.answer(&theirs).await.unwrap().is_done());
        dave.until(crate::rig::PATIENCE, |view| (view.phase(&call)? == lyncpin::client::Phase::Talking).then_some(()))
            .await
            .unwrap();
        kill(rig, &dave).await;
        assert!(carol.hang_up(&theirs).await.unwrap().is_done());
        for user in [&carol, &dave] {
            user.until(crate::rig::PATIENCE, |view| view.calls().is_empty().then_some(())).await.unwrap();
            let grave: Vec<_> = user.violations().into_iter().filter(|v| !v.is_explained_by_takeover()).collect();
            assert_eq!(grave, [], "{}", user.name());
            user.sign_out().await.unwrap();
        }
    });
}

#[test]
fn a_session_that_dies_with_a_make_call_open_answers_it_and_dials_once() {
    run("", "", async |rig| {
        let (_one, carol) = rig.user(2).await;
        carol.sign_in().await.unwrap();
        rig.pbx().control(Request::Delay { link: "lab".into(), ms: 300 }).await;
        let asking = carol.clone();
        let asked = tokio::task::spawn_local(async move { asking.make_call("tel:+14255550104").await });
        let tag = carol.remote_tag().unwrap();
        until("it is asked", || !rig.record(&tag).asked.is_empty()).await;
        kill(rig, &carol).await;
        rig.pbx().control(Request::Heal { link: None }).await;
        let reply = asked.await.unwrap().expect("an answer, although its actor died");
        let made = calls(rig).await;
        assert_eq!((made.len(), reply.is_done()), (1, true), "{made:?}");
        let call = reply.call().unwrap().call.clone();
        assert!(carol.hang_up(&call).await.unwrap().is_done());
        carol.until(crate::rig::PATIENCE, |view| view.calls().is_empty().then_some(())).await.unwrap();
        assert_eq!(calls(rig).await, []);
        carol.sign_out().await.unwrap();
    });
}

#[test]
fn what_waits_in_the_mailbox_of_a_session_that_dies_is_answered() {
    run("", "", async |rig| {
        let mut made = HandMade::sign_in(rig.address(), 2, "mail").await;
        let mut unheard = 0;
        for _ in 0..3 {
            let flood: String = (0..200).map(|_| made.info(&service("GetCSTAFeatures", ""))).collect();
            let tag = SessionId::new(made.to_tag.as_str());
            let killing = async { assert!(rig.gateway.node().sessions.get().unwrap().kill(&tag)) };
            let (answers, ()) = tokio::join!(made.raw.flood(flood, 200), killing);
            let refused = answers.iter().filter(|answer| answer.status() == Some(503)).count();
            let done = answers.iter().filter(|answer| answer.status() == Some(200)).count();
            assert_eq!(refused + done, 200, "no 481 for a dialog that lives, and no silence");
            unheard += refused;
            while made.ask(&service("GetCSTAFeatures", "")).await.status() != Some(200) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        assert!(unheard > 0);
        made.bye().await;
    });
}

#[test]
fn what_a_dying_session_has_not_heard_is_done_by_its_next_life_in_order() {
    run_with(&config_text("", ""), Options::default(), async |rig| {
        let mut made = HandMade::sign_in(rig.address(), 2, "unheard").await;
        let (node, tag) = (rig.gateway.node().clone(), SessionId::new(made.to_tag.as_str()));
        for round in 1..=3 {
            let first = made.cseq + 1;
            // Fewer than the mailbox takes: none is refused.
            let infos: String = (0..40).map(|_| made.info(&service("GetCSTAFeatures", ""))).collect();
            let before = node.counters.requests.load(Ordering::Relaxed);
            let (own, tag) = (node.clone(), tag.clone());
            // A task between the flow's and the session's, on the one thread there is: the flow has handed in what came,
            // the session has not had its turn.
            let killing = tokio::task::spawn_local(async move {
                while own.counters.requests.load(Ordering::Relaxed) == before {
                    tokio::task::yield_now().await;
                }
                assert!(own.sessions.get().unwrap().kill(&tag));
                until("what was in its mailbox waits", || !own.unheard.is_empty()).await;
            });
            made.raw.say(infos).await;
            killing.await.expect("it was killed with a full mailbox, or this proves nothing");
            for cseq in first..first + 40 {
                let answer = made.raw.answer().await.expect("the flow stands");
                assert_eq!(
                    (answer.status(), answer.headers.cseq().unwrap().number),
                    (Some(200), cseq),
                    "round {round}"
                );
            }
            until("it lives again", || rig.counted("session", "died") == round).await;
        }
        assert!(node.unheard.is_empty());
        made.bye().await;
    });
}

/// Panics in the session's actor while it has a request with an old CSeq in hand: where that would be told.
struct Grudge;

impl tracing::Subscriber for Grudge {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("lyncpin::actor::session")
    }

    fn event(&self, event: &tracing::Event<'_>) {
        struct Reason(bool);
        impl tracing::field::Visit for Reason {
            fn record_str(&mut self, _: &tracing::field::Field, value: &str) {
                self.0 |= value == "late_cseq";
            }
            fn record_debug(&mut self, _: &tracing::field::Field, _: &dyn std::fmt::Debug) {}
        }
        let mut reason = Reason(false);
        event.record(&mut reason);
        assert!(!reason.0, "planted: the session dies of this input");
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn a_request_a_session_died_of_three_times_is_answered_500_and_the_dialog_goes_on() {
    // On the calling thread, where the subscriber is.
    run_with(&config_text("", ""), Options::default(), async |rig| {
        let ((_one, carol), (_two, dave)) = (rig.user(3).await, rig.user(4).await);
        carol.sign_in().await.unwrap();
        dave.sign_in().await.unwrap();
        let mut made = HandMade::sign_in(rig.address(), 2, "grudge").await;
        assert_eq!(made.ask(&service("GetCSTAFeatures", "")).await.status(), Some(200));
        let _grudge = tracing::subscriber::set_default(Grudge);
        // pidgin-sipe's refresh: CSeq 1 again, another transaction.
        let poison = |made: &HandMade, nth: u32| {
            let invite = made.request("INVITE", 1, "INVITE", CSTA, &status_request(&made.line));
            invite.replace("branch=z9hG4bKr1", &format!("branch=z9hG4bKpoison{nth}"))
        };
        let sessions = rig.gateway.node().sessions.get().unwrap();
        for nth in 1..=3 {
            assert_eq!(sessions.parked(), []);
            made.raw.say(poison(&made, nth)).await;
            until("it dies of it", || rig.counted("session", "died") == u64::from(nth)).await;
            // Each life after it works.
            assert_eq!(made.ask(&service("GetCSTAFeatures", "")).await.status(), Some(200), "life {nth}");
        }
        until("it is parked", || sessions.parked().len() == 1).await;
        for nth in 4..=6 {
            assert_eq!(made.raw.ask(poison(&made, nth)).await, Some(500));
            assert_eq!(made.ask(&service("GetCSTAFeatures", "")).await.status(), Some(200));
        }
        let counted = ["died", "parked", "input_parked"].map(|name| rig.counted("session", name));
        assert_eq!(counted, [3, 1, 3], "it died no more");
        one_call(&carol, &dave).await;
        for user in [&carol, &dave] {
            assert_eq!(user.violations(), [], "{}", user.name());
            user.sign_out().await.unwrap();
        }
        made.bye().await;
        until("nothing is left of it", || sessions.parked().is_empty() && rig.sessions_count() == 0).await;
    });
}

/// Panics in the link's actor when told to.
#[derive(Default)]
struct Treacherous(AtomicU32);

impl Connector for Treacherous {
    fn connect(&self, address: &Address) -> Connecting {
        if self.0.fetch_sub(1, Ordering::Relaxed) == 1 {
            panic!("planted: the link's actor dies");
        }
        TcpConnector.connect(address)
    }
}

#[test]
fn sessions_bind_to_the_link_actor_that_takes_the_place_of_a_dead_one() {
    let connector = Arc::new(Treacherous::default());
    let options = Options { cti_connector: Some(connector.clone()), ..crate::rig::two_threads() };
    run_with(&config_text("", ""), options, async |rig| {
        let ((_one, carol), (_two, dave)) = (rig.user(2).await, rig.user(3).await);
        carol.sign_in().await.unwrap();
        dave.sign_in().await.unwrap();
        let who = (carol.remote_tag(), carol.xref());
        connector.0.store(1, Ordering::Relaxed);
        rig.pbx().control(Request::Drop { link: "lab".into() }).await;
        let link = rig.gateway.node().links.iter().next().unwrap().clone();
        until("the link is down", || !link.is_up()).await;
        until("the link is up again", || link.is_up()).await;
        // A call may be refused while the session finds its feet; it is never half made.
        until("the sessions are bound", || rig.record(carol.remote_tag().as_deref().unwrap()).waiting.is_empty()).await;
        let served = async {
            loop {
                let reply = dave.make_call("tel:+14255550199").await.unwrap();
                if let Some(call) = reply.call() {
                    break dave.hang_up(&call.call).await.unwrap();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(crate::rig::PATIENCE, served).await.expect("dave is served again");
        dave.until(crate::rig::PATIENCE, |view| view.calls().is_empty().then_some(())).await.unwrap();
        one_call(&dave, &carol).await;
        assert_eq!((carol.remote_tag(), carol.xref()), who);
        for user in [&carol, &dave] {
            assert_eq!(user.violations(), [], "{}", user.name());
            user.sign_out().await.unwrap();
        }
    });
}
