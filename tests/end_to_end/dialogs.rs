//! Dialogs as front ends carry them: over several connections, with routes that change, after a NEGOTIATE.

use std::sync::{Arc, Mutex, OnceLock};

use lyncpin::actor::node::Connect;
use lyncpin::client::{Direction, FlowId, FrontEnd, FrontEndOptions, Spread, Tap};
use lyncpin::gateway::Options;
use lyncpin::lab::pbx::Request;
use lyncpin::machine::effect::NextHop;
use lyncpin::sip::Message;
use lyncpin::transport::Stream;

use crate::rig::{Files, PATIENCE, Wanted, account, is_clean, one_call, run, until};

/// Method and flow of every request that comes to the front end.
#[derive(Default)]
struct Incoming(Mutex<Vec<(String, FlowId)>>);

impl Tap for Incoming {
    fn saw(&self, direction: Direction, flow: FlowId, message: &Message) {
        if direction == Direction::In
            && let Some(method) = message.method()
        {
            self.0.lock().unwrap().push((method.to_owned(), flow));
        }
    }
}

#[test]
fn one_dialog_over_four_connections_keeps_its_order() {
    run(
        Wanted::default(),
        |_| {},
        Files::new(),
        async |rig| {
            let options =
                FrontEndOptions { spread: Spread::ByMessage, ..FrontEndOptions::front_end("fe01.contoso.com") };
            let front_end = rig.front_end(options).await;
            for _ in 0..3 {
                front_end.connect(rig.address(0)).await.unwrap();
            }
            assert_eq!(front_end.flows().len(), 4);
            let (alice, bob) = (front_end.user(account(0)), front_end.user(account(1)));
            alice.sign_in().await.unwrap();
            bob.sign_in().await.unwrap();
            for _ in 0..10 {
                one_call(&alice, &bob).await;
                one_call(&bob, &alice).await;
                alice.refresh().await.unwrap();
            }
            is_clean(&[&alice, &bob]);
            assert_eq!((front_end.strays(), front_end.malformed()), (0, 0));
        },
    );
}

#[test]
fn an_update_with_a_new_record_route_moves_the_events() {
    // MS-SIPRE 3.7.5: the route set of a dialog is replaced.
    run(
        Wanted::default(),
        |_| {},
        Files::new(),
        async |rig| {
            let tap = Arc::new(Incoming::default());
            let options = FrontEndOptions { tap: Some(tap.clone()), ..FrontEndOptions::front_end("fe01.contoso.com") };
            let front_end = rig.front_end(options).await;
            let old = front_end.flows()[0];
            let alice = front_end.user(account(0));
            alice.use_flow(old);
            alice.sign_in().await.unwrap();
            let rings = async || {
                rig.desk(Request::Ring { device: "5101".into(), from: Some("+14165550199".into()) }).await;
                let id = alice.until(PATIENCE, |view| Some(view.calls().first()?.id.clone())).await.expect("it rings");
                rig.desk(Request::Hangup { device: "5101".into(), call: Some(id) }).await;
                alice.until(PATIENCE, |view| view.calls().is_empty().then_some(())).await.expect("it ends");
                std::mem::take(&mut *tap.0.lock().unwrap())
            };
            let seen = rings().await;
            assert!(seen.len() >= 2 && seen.iter().all(|(method, flow)| method == "INFO" && *flow == old), "{seen:?}");
            let new = front_end.connect(rig.address(0)).await.unwrap();
            alice.use_flow(new);
            let route =
                "<sip:fe02.contoso.com:5061;transport=tls;opaque=state:T:F:Ci.R2a1f01;lr;ms-route-sig=bbEXAMPLE>";
            alice.update_route(Arc::new([route.to_owned()])).await.unwrap();
            let seen = rings().await;
            assert!(seen.len() >= 2 && seen.iter().all(|(_, flow)| *flow == new), "{seen:?}");
            // Also when the old connection is gone, and each event names the new route: a violation would say otherwise.
            front_end.close(old);
            assert!(!rings().await.is_empty());
            is_clean(&[&alice]);
        },
    );
}

#[test]
fn a_front_end_that_negotiates_first_is_refused_and_goes_on() {
    run(
        Wanted::default(),
        |_| {},
        Files::new(),
        async |rig| {
            let options = FrontEndOptions { negotiates: true, ..FrontEndOptions::front_end("fe01.contoso.com") };
            let front_end = rig.front_end(options).await;
            let (alice, bob) = (front_end.user(account(0)), front_end.user(account(1)));
            alice.sign_in().await.unwrap();
            bob.sign_in().await.unwrap();
            one_call(&alice, &bob).await;
            is_clean(&[&alice, &bob]);
        },
    );
}

/// A front end that listens as well: what the gateway dials comes to it. Remembers where it was dialled.
#[derive(Clone, Default)]
struct Listening {
    front_end: Arc<OnceLock<FrontEnd>>,
    dialled: Arc<Mutex<Vec<NextHop>>>,
}

impl Listening {
    fn wanted(&self) -> Wanted<'static> {
        let own = self.clone();
        let connect: Connect = Arc::new(move |hop| {
            own.dialled.lock().unwrap().push(hop);
            let (near, far) = Stream::memory(64 * 1024);
            let attached = own.front_end.get().expect("it is there").attach(far);
            Box::pin(async move { attached.map(|_| near).map_err(std::io::Error::other) })
        });
        Wanted { options: Options { arbiters: 2, connect: Some(connect), ..Options::default() }, ..Wanted::default() }
    }

    fn dialled(&self) -> Vec<NextHop> {
        self.dialled.lock().unwrap().clone()
    }
}

#[test]
fn an_event_whose_connection_is_gone_is_carried_to_where_the_latest_route_leads() {
    // RFC 3261 §12.2.1.1, §18.2.2: the next hop is the first route, over a connection of our own.
    let listening = Listening::default();
    run(
        listening.wanted(),
        |_| {},
        Files::new(),
        async |rig| {
            let front_end = rig.front_end(FrontEndOptions::front_end("fe01.contoso.com")).await;
            assert!(listening.front_end.set(front_end.clone()).is_ok());
            let alice = front_end.user(account(0));
            alice.sign_in().await.unwrap();
            let hop = |host: &str| NextHop { host: host.into(), port: 5061, secure: true };
            let mut expected = Vec::new();
            for host in ["fe01.contoso.com", "fe02.contoso.com", "fe03.contoso.com"] {
                if host != "fe01.contoso.com" {
                    alice.update_route(FrontEndOptions::front_end(host).record_route).await.unwrap();
                }
                front_end.flows().into_iter().for_each(|flow| front_end.close(flow));
                until("the gateway has seen it", || rig.gateway.node().flows.count() == 0).await;
                rig.desk(Request::Ring { device: "5101".into(), from: Some("+14165550199".into()) }).await;
                let call =
                    alice.until(PATIENCE, |view| Some(view.calls().first()?.id.clone())).await.expect("it rings");
                expected.push(hop(host));
                assert_eq!(listening.dialled(), expected);
                // The dialog goes on over the connection it was called on.
                assert!(alice.answer(&call).await.unwrap().is_done());
                assert!(alice.hang_up(&call).await.unwrap().is_done());
                alice.until(PATIENCE, |view| view.calls().is_empty().then_some(())).await.expect("it ends");
                assert_eq!((listening.dialled(), rig.gateway.node().flows.count()), (expected.clone(), 1));
            }
            is_clean(&[&alice]);
        },
    );
}
