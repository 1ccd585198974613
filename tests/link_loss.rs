//! A CTI link is lost and comes back under 500 live calls: no session is lost, no ghost stays, nothing is dialled twice.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use lyncpin::client::{RccUser, Unanswered};
use lyncpin::csta::{LocalState, Service};
use lyncpin::lab::pbx::{Did, Happening, Reply, Request};
use support::{FIRST, Lab, Plan, settled};

const CALLS: usize = 500;
const WITHIN: Duration = Duration::from_secs(30);

/// What happens to the link, and what ends it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// Closed, and refused until healed.
    Killed,
    /// Silent without an end of file: only the heartbeat tells.
    Frozen,
    /// New sessions, no monitors.
    Restarted,
}

fn play(fault: Fault) {
    actix_rt::System::new().block_on(async {
        let lab = Lab::start(Plan {
            users: 2 * CALLS,
            links: 2,
            arbiters: 2,
            sip: "keepalive_s = 0",
            cti: "heartbeat_s = 1\nheartbeat_misses_max = 2\nrequest_timeout_ms = 2000\nbackoff_min_ms = 50\nbackoff_max_ms = 200",
        })
        .await;
        let dialogs: Vec<_> = lab.users.iter().map(|user| (user.remote_tag(), user.xref())).collect();
        begin_calls(&lab).await;
        lab.agree(WITHIN).await;
        assert_eq!(lab.calls().await.len(), CALLS);

        strike(&lab, fault).await;
        let placed = place_calls(&lab, fault).await;
        live_on_without_us(&lab).await;
        lab.desk(Request::Heal { link: None }).await;
        let node = lab.gateway.node().clone();
        settled(WITHIN, || node.links.iter().all(|link| link.is_up())).await;
        let took = lab.agree(WITHIN).await;

        for (user, (tag, xref)) in lab.users.iter().zip(dialogs) {
            assert!(user.is_signed_in(), "{} lost its session", user.name());
            assert_eq!((user.remote_tag(), user.xref()), (tag, xref), "{} has another dialog", user.name());
            assert_eq!(user.violations(), [], "{}", user.name());
        }
        assert_eq!(node.book.sessions_count(), 2 * CALLS);
        at_most_once(&lab, &placed).await;
        commands_work_again(&lab).await;
        lab.agree(WITHIN).await;
        let events: u64 = lab.users.iter().map(RccUser::events).sum();
        println!("{fault:?}: {CALLS} calls, {} placed meanwhile, {events} events, agreed {took:?} after the return", placed.len());
        lab.gateway.stop().await;
        lab.pbx.stop().await;
    });
}

/// User 2n calls user 2n+1. A quarter keeps ringing, a quarter is held.
async fn begin_calls(lab: &Lab) {
    for some in lab.users.chunks(100) {
        join_all(some.chunks(2).enumerate().map(|(n, pair)| async move {
            let [caller, callee] = pair else { panic!("pairs") };
            let reply = caller.make_call(&callee.line()).await.expect("answered");
            let call = reply.call().expect("a call").call.clone();
            let ringing = |view: &lyncpin::client::CallView| view.call(&call).map(|_| ());
            callee.until(WITHIN, ringing).await.expect("it rings");
            if n % 4 == 0 {
                return;
            }
            assert!(callee.answer(&call).await.expect("answered").is_done());
            if n % 4 == 1 {
                assert!(caller.hold(&call).await.expect("answered").is_done());
            }
        }))
        .await;
    }
}

async fn strike(lab: &Lab, fault: Fault) {
    for link in ["pbx1", "pbx2"].map(str::to_owned) {
        let request = match fault {
            Fault::Killed => Request::Refuse { link: link.clone(), on: true },
            Fault::Frozen => Request::Freeze { link: link.clone(), on: true },
            Fault::Restarted => Request::Restart { link: Some(link.clone()), forget_calls: false },
        };
        assert!(lab.desk(request).await.is_ok());
        if fault == Fault::Killed {
            assert!(lab.desk(Request::Drop { link }).await.is_ok());
        }
    }
}

/// While the link goes: MakeCalls with numbers of their own. What each client was told is kept.
async fn place_calls(lab: &Lab, fault: Fault) -> Vec<(String, Result<bool, Unanswered>)> {
    let placing = lab.users.iter().step_by(50).enumerate().map(|(n, user)| async move {
        let number = format!("+1206555{n:04}");
        let told = user.make_call(&format!("tel:{number}")).await;
        (number, told.map(|reply| reply.is_done()))
    });
    let placing = join_all(placing);
    if fault != Fault::Frozen {
        return placing.await;
    }
    // Their INFOs stay open until the PBX can be asked.
    let thaw = async {
        let node = lab.gateway.node().clone();
        settled(WITHIN, || node.links.iter().all(|link| !link.is_up())).await;
        live_on_without_us(lab).await;
        lab.desk(Request::Heal { link: None }).await;
    };
    futures_util::future::join(placing, thaw).await.0
}

/// At the phones: some hang up, some answer, some hold, some are called.
async fn live_on_without_us(lab: &Lab) {
    for n in (0..2 * CALLS).step_by(2) {
        let (caller, callee) = ((FIRST + n).to_string(), (FIRST + n + 1).to_string());
        // A phone may have no such call any more; what comes of it is true either way.
        match n % 10 {
            0 => lab.desk(Request::Hangup { device: callee, call: None }).await,
            2 => lab.desk(Request::Answer { device: Some(callee), call: None }).await,
            4 => lab.desk(Request::Hold { device: callee, call: None }).await,
            6 => lab.desk(Request::Ring { device: caller, from: Some("+12065550199".into()) }).await,
            _ => Reply::Done,
        };
    }
}

/// ok: once; refused: never; unknown: at most once. The PBX's own history is the witness.
async fn at_most_once(lab: &Lab, placed: &[(String, Result<bool, Unanswered>)]) {
    let mut dialled: BTreeMap<String, usize> = BTreeMap::new();
    let mut after = 0;
    loop {
        let Reply::History(page) = lab.desk(Request::History { after, max: 10_000 }).await else { panic!("history") };
        for entry in &page.entries {
            if let Happening::Service { service: Service::MakeCall { called, .. }, did: Did::Call(_), .. } = &entry.what
            {
                *dialled.entry(called.clone()).or_default() += 1;
            }
        }
        let Some(last) = page.entries.last() else { break };
        after = last.seq;
    }
    assert!(!placed.is_empty());
    for (number, told) in placed {
        let times = dialled.get(number).copied().unwrap_or(0);
        match told {
            Ok(true) => assert_eq!(times, 1, "{number} was confirmed"),
            Ok(false) => assert_eq!(times, 0, "{number} was refused"),
            Err(unanswered) => assert!(times <= 1, "{number}: {unanswered:?}"),
        }
    }
    assert!(dialled.values().all(|times| *times == 1), "something was dialled twice: {dialled:?}");
}

/// Each caller with a connected call can hold and retrieve it.
async fn commands_work_again(lab: &Lab) {
    let mut done = 0;
    for user in lab.users.iter().skip(8).step_by(10) {
        let connected = user.with_view(|view| {
            view.calls()
                .iter()
                .find(|call| call.local == LocalState::Connected && !call.parties.is_empty())
                .map(|call| call.id.clone())
        });
        if let Some(call) = connected
            && user.hold(&call).await.expect("answered").is_done()
        {
            assert!(user.retrieve(&call).await.expect("answered").is_done());
            done += 1;
        }
    }
    assert!(done > 0, "no call to try a command on");
}

#[test]
fn a_killed_link_leaves_no_ghost_and_loses_no_session() {
    play(Fault::Killed);
}

#[test]
fn a_frozen_link_is_found_by_its_heartbeat_and_leaves_no_ghost() {
    play(Fault::Frozen);
}

#[test]
fn a_restarted_pbx_address_is_monitored_again() {
    play(Fault::Restarted);
}

#[test]
fn while_the_link_is_down_commands_are_refused_as_out_of_service() {
    actix_rt::System::new().block_on(async {
        let lab = Lab::start(Plan { users: 2, links: 1, arbiters: 0, sip: "", cti: "heartbeat_s = 1" }).await;
        let (alice, bob) = (&lab.users[0], &lab.users[1]);
        let call = alice.make_call(&bob.line()).await.expect("answered").call().expect("a call").call.clone();
        lab.agree(WITHIN).await;
        assert!(lab.desk(Request::Refuse { link: "pbx1".into(), on: true }).await.is_ok());
        assert!(lab.desk(Request::Drop { link: "pbx1".into() }).await.is_ok());
        let node = lab.gateway.node().clone();
        settled(WITHIN, || node.links.iter().all(|link| !link.is_up())).await;
        let told = bob.answer(&call).await.expect("answered");
        assert_eq!(
            told.refusal().map(ToString::to_string).as_deref(),
            Some("systemResourceAvailibility/resourceOutOfService")
        );
        alice.until(WITHIN, |view| (!view.is_in_service).then_some(())).await.expect("OutOfServiceEvent");
        lab.desk(Request::Heal { link: None }).await;
        alice.until(WITHIN, |view| view.is_in_service.then_some(())).await.expect("BackInServiceEvent");
        assert!(bob.answer(&call).await.expect("answered").is_done());
        lab.agree(WITHIN).await;
        lab.gateway.stop().await;
        lab.pbx.stop().await;
    });
}
