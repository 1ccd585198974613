//! A node that is emptied and stopped.

use std::sync::atomic::Ordering;
use std::time::Duration;

use lyncpin::client::{FrontEndOptions, SignInError, Unanswered};
use lyncpin::lab::pbx::{Reply, Request};
use lyncpin::transport::{Peer, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::listeners::OPTIONS;
use crate::rig::{Files, PATIENCE, Wanted, account, is_clean, one_call, run, run_to_the_end, talk, until};

#[test]
fn a_draining_node_refuses_new_users_and_serves_its_own() {
    run(
        Wanted::default(),
        |_| {},
        Files::new(),
        async |rig| {
            let front_end = rig.front_end(FrontEndOptions::front_end("fe01.contoso.com")).await;
            let (alice, bob, carol) =
                (front_end.user(account(0)), front_end.user(account(1)), front_end.user(account(2)));
            alice.sign_in().await.unwrap();
            bob.sign_in().await.unwrap();
            let (call, _) = talk(&alice, &bob).await;
            rig.gateway.drain();
            let refused = carol.sign_in().await;
            assert!(matches!(&refused, Err(SignInError::Invite(Unanswered::Sip { status: 503, .. }))), "{refused:?}");
            assert!(alice.hold(&call).await.unwrap().is_done());
            assert!(alice.retrieve(&call).await.unwrap().is_done());
            assert!(alice.hang_up(&call).await.unwrap().is_done());
            one_call(&bob, &alice).await;
            bob.refresh().await.unwrap();
            is_clean(&[&alice, &bob]);
        },
    );
}

#[test]
fn a_stopped_node_ends_its_connections_and_listens_no_more() {
    run_to_the_end(
        Wanted::default(),
        |_| {},
        Files::new(),
        async |rig| {
            let front_end = rig.front_end(FrontEndOptions::front_end("fe01.contoso.com")).await;
            let (alice, bob) = (front_end.user(account(0)), front_end.user(account(1)));
            alice.sign_in().await.unwrap();
            bob.sign_in().await.unwrap();
            one_call(&alice, &bob).await;
            let (address, pbx) = (rig.address(0), rig.pbx);
            tokio::time::timeout(PATIENCE, rig.gateway.stop()).await.expect("the gateway stops");
            until("the connection ends", || front_end.flows_lost() == 1).await;
            assert!(TcpStream::connect(address).await.is_err(), "a front end goes to the other node at once");
            // The port is free for the next one.
            drop(std::net::TcpListener::bind(address).unwrap());
            is_clean(&[&alice, &bob]);
            // Its link is gone from the PBX, and with it the monitors.
            loop {
                let Reply::Stats(stats) = pbx.control(Request::Stats).await else { panic!("figures") };
                if (stats.flows, stats.monitors) == (0, 0) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            pbx.stop().await;
        },
    );
}

#[test]
fn what_was_said_before_the_stop_is_still_written() {
    const ASKED: usize = 1_500;
    run_to_the_end(
        Wanted::default(),
        |_| {},
        Files::new(),
        async |rig| {
            // Room for a dozen answers on the way: the others wait on our side until the peer begins to read.
            let (near, mut peer) = Stream::memory(4 * 1024);
            let address = "127.0.0.1:40000".parse().unwrap();
            rig.gateway.attach(near, Peer { address, via: address, names: Vec::new(), secure: false });
            // One more: when it has been heard, those before it have been answered.
            peer.write_all(OPTIONS.repeat(ASKED + 1).as_bytes()).await.unwrap();
            let node = rig.gateway.node().clone();
            until("all are heard", || node.counters.requests.load(Ordering::Relaxed) == ASKED as u64 + 1).await;
            let reading = async {
                // The stop comes first.
                tokio::time::sleep(Duration::from_millis(100)).await;
                assert_eq!(node.flows.count(), 1, "something waits");
                let mut said = Vec::new();
                let read = tokio::time::timeout(PATIENCE, peer.read_to_end(&mut said)).await.expect("it ends");
                read.unwrap();
                said.windows(12).filter(|bytes| bytes == b"SIP/2.0 200 ").count()
            };
            let (answers, ()) = tokio::join!(reading, rig.gateway.stop());
            assert!(answers >= ASKED, "{answers} of {ASKED}");
            rig.pbx.stop().await;
        },
    );
}

#[test]
fn a_service_open_when_the_node_stops_is_never_told_as_not_done() {
    run_to_the_end(
        Wanted::default(),
        |_| {},
        Files::new(),
        async |rig| {
            let front_end = rig.front_end(FrontEndOptions::front_end("fe01.contoso.com")).await;
            let alice = front_end.user(account(0));
            alice.sign_in().await.unwrap();
            rig.desk(Request::Delay { link: rig.pbx_link(0), ms: 500 }).await;
            let asking = alice.clone();
            let asked = tokio::task::spawn_local(async move { asking.make_call("tel:+14255550102").await });
            while rig.asked("MakeCall").await == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            tokio::time::timeout(PATIENCE, rig.gateway.stop()).await.expect("the gateway stops");
            // It was done, or nobody can say.
            match asked.await.unwrap() {
                Ok(reply) => assert!(reply.is_done(), "{reply:?}"),
                Err(why) => assert!(!why.is_definite(), "{why:?}"),
            }
            rig.pbx.stop().await;
        },
    );
}
