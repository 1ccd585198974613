//! The link against a scripted PBX at the other end of an in-memory stream, in stopped time.

mod rig;

use std::time::Duration;

use tokio::time::{Instant, sleep};

use self::rig::{Rig, fast, in_stopped_time, monitor, snapshot};
use super::*;
use crate::csta::Event;

fn settled(ask: u64, result: Result<Outcome, LinkFailed>) -> FromLink {
    FromLink::Settled { ask: AskId(ask), result }
}

fn monitoring(xref: &str) -> Result<Outcome, LinkFailed> {
    Ok(Outcome::MonitorStart { xref: xref.into(), existing_calls: None })
}

fn back_in_service(xref: &str) -> FromLink {
    FromLink::Event(rig::back_in_service(xref))
}

#[test]
fn a_session_is_told_of_a_link_that_is_down_and_then_up() {
    in_stopped_time(async {
        let mut rig = Rig::start(fast()).await;
        let mut alice = rig.bind("alice").await;
        assert_eq!(alice.next().await, FromLink::Down);
        let mut pbx = rig.accept().await;
        pbx.log_in().await;
        assert_eq!(alice.next().await, FromLink::Up { generation: 1 });
        let mut bob = rig.bind("bob").await;
        assert_eq!(bob.next().await, FromLink::Up { generation: 1 });
        let status = rig.status().await;
        assert_eq!((status.state, status.generation, status.sessions), ("up", 1, 2));
        assert_eq!(*rig.state.borrow(), LinkState::Up);
    });
}

#[test]
fn a_monitors_first_event_finds_its_session_even_in_the_same_segment() {
    in_stopped_time(async {
        let (mut rig, mut pbx) = Rig::up(fast()).await;
        let mut alice = rig.bind_up("alice").await;
        rig.invoke("alice", 1, monitor("5101"));
        let (invoke, service) = pbx.service().await;
        assert_eq!(service, monitor("5101"));
        let mut bytes = pbx.outcome_bytes(invoke, monitoring("0").unwrap());
        bytes.extend(pbx.event_bytes(rig::back_in_service("0")));
        pbx.write(&bytes).await;
        assert_eq!(alice.next().await, settled(1, monitoring("0")));
        assert_eq!(alice.next().await, back_in_service("0"));
    });
}

#[test]
fn a_pbx_that_sends_byte_by_byte_is_understood() {
    in_stopped_time(async {
        let mut rig = Rig::start(fast()).await;
        let mut pbx = rig.accept().await;
        pbx.one_byte_at_a_time = true;
        pbx.log_in().await;
        let mut alice = rig.bind_up("alice").await;
        rig.invoke("alice", 1, snapshot("5101"));
        let (invoke, _) = pbx.service().await;
        let outcome = Outcome::SnapshotDevice { calls: Vec::new(), service_xref: None };
        pbx.outcome(invoke, outcome.clone()).await;
        assert_eq!(alice.next().await, settled(1, Ok(outcome)));
    });
}

#[test]
fn a_frozen_pbx_is_found_by_its_heartbeats_alone() {
    in_stopped_time(async {
        let config = LinkConfig { heartbeat_ms: 1_000, request_timeout_ms: 60_000, ..fast() };
        let (mut rig, pbx) = Rig::up(config).await;
        let mut alice = rig.bind_up("alice").await;
        let frozen_at = Instant::now();
        rig.invoke_within("alice", 1, snapshot("5101"), 60_000);
        assert_eq!(alice.next().await, settled(1, Err(LinkFailed::Lost)));
        assert_eq!(alice.next().await, FromLink::Down);
        // Virtual time: three questions and the wait after the last.
        assert_eq!(frozen_at.elapsed().as_secs(), 4);
        assert!(rig.status().await.last_error.unwrap().contains("heartbeats"));
        // Its kernel still holds the connection open, and takes new ones.
        drop(pbx);
    });
}

#[test]
fn what_a_thawed_pbx_says_late_reaches_nobody() {
    in_stopped_time(async {
        let config = LinkConfig { heartbeat_ms: 1_000, request_timeout_ms: 60_000, ..fast() };
        let (mut rig, mut frozen) = Rig::up(config).await;
        let mut alice = rig.bind_up("alice").await;
        rig.invoke_within("alice", 1, monitor("5101"), 60_000);
        let (invoke, _) = frozen.service().await;
        assert_eq!(alice.next().await, settled(1, Err(LinkFailed::Lost)));
        assert_eq!(alice.next().await, FromLink::Down);
        let mut pbx = rig.accept().await;
        frozen.try_outcome(invoke, monitoring("0").unwrap()).await;
        pbx.log_in().await;
        assert_eq!(alice.next().await, FromLink::Up { generation: 2 });
        alice.is_silent().await;
        assert_eq!(rig.status().await.monitors, 0);
    });
}

#[test]
fn an_end_of_file_settles_what_is_open_before_it_says_down() {
    in_stopped_time(async {
        let (mut rig, mut pbx) = Rig::up(fast()).await;
        let mut alice = rig.bind_up("alice").await;
        let mut bob = rig.bind_up("bob").await;
        rig.invoke("alice", 1, snapshot("5101"));
        rig.invoke("alice", 2, monitor("5101"));
        pbx.service().await;
        pbx.service().await;
        drop(pbx);
        assert_eq!(alice.next().await, settled(1, Err(LinkFailed::Lost)));
        assert_eq!(alice.next().await, settled(2, Err(LinkFailed::Lost)));
        assert_eq!(alice.next().await, FromLink::Down);
        assert_eq!(bob.next().await, FromLink::Down);
        rig.invoke("alice", 3, snapshot("5101"));
        assert_eq!(alice.next().await, settled(3, Err(LinkFailed::NotSent)));
        let mut pbx = rig.accept().await;
        pbx.log_in().await;
        assert_eq!(alice.next().await, FromLink::Up { generation: 2 });
        assert_eq!(bob.next().await, FromLink::Up { generation: 2 });
    });
}

#[test]
fn a_broken_frame_ends_the_generation() {
    in_stopped_time(async {
        let (mut rig, mut pbx) = Rig::up(fast()).await;
        let mut alice = rig.bind_up("alice").await;
        pbx.write(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        assert_eq!(alice.next().await, FromLink::Down);
        let mut pbx = rig.accept().await;
        pbx.log_in().await;
        assert_eq!(alice.next().await, FromLink::Up { generation: 2 });
    });
}

/// Regression class: cross-reference ids restart at "0" with each session of a PBX.
#[test]
fn the_same_cross_reference_id_in_another_generation_is_another_monitor() {
    in_stopped_time(async {
        let (mut rig, mut pbx) = Rig::up(fast()).await;
        let mut alice = rig.bind_up("alice").await;
        let mut bob = rig.bind_up("bob").await;
        rig.invoke("alice", 1, monitor("5101"));
        pbx.answer_monitor("0").await;
        assert_eq!(alice.next().await, settled(1, monitoring("0")));
        drop(pbx);
        assert_eq!((alice.next().await, bob.next().await), (FromLink::Down, FromLink::Down));

        let mut pbx = rig.accept().await;
        pbx.log_in().await;
        let up = FromLink::Up { generation: 2 };
        assert_eq!((alice.next().await, bob.next().await), (up.clone(), up));
        pbx.event(rig::back_in_service("0")).await;
        alice.is_silent().await;
        assert_eq!(rig.status().await.stray_events, 1);

        rig.invoke("bob", 1, monitor("5102"));
        pbx.answer_monitor("0").await;
        pbx.event(rig::back_in_service("0")).await;
        assert_eq!(bob.next().await, settled(1, monitoring("0")));
        assert_eq!(bob.next().await, back_in_service("0"));
        alice.is_silent().await;
    });
}

#[test]
fn sessions_recover_in_a_window_those_with_calls_first() {
    in_stopped_time(async {
        let config = LinkConfig { recovery_window: 4, ..fast() };
        let mut rig = Rig::start(config).await;
        let mut probes = Vec::new();
        for number in 0..20 {
            let mut probe = rig.bind_with(&format!("s{number:02}"), number % 3 == 0).await;
            assert_eq!(probe.next().await, FromLink::Down);
            probes.push(probe);
        }
        let mut pbx = rig.accept().await;
        pbx.log_in().await;
        let mut waiting: Vec<usize> = (0..20).collect();
        while !waiting.is_empty() {
            rig.quiet().await;
            let told: Vec<usize> = waiting.extract_if(.., |number| probes[*number].has_mail()).collect();
            let status = rig.status().await;
            assert!(told.len() <= 4 && status.recovering <= 4, "{} told, {status:?}", told.len());
            assert_eq!(status.waiting, waiting.len());
            let is_live = |number: &usize| number.is_multiple_of(3);
            let idle_were_told = told.iter().any(|number| !is_live(number));
            assert!(!idle_were_told || !waiting.iter().any(is_live), "{told:?} before {waiting:?}");
            for number in told {
                assert_eq!(probes[number].next().await, FromLink::Up { generation: 1 });
                rig.recovered(&format!("s{number:02}"));
            }
        }
    });
}

#[test]
fn a_session_that_never_says_recovered_holds_up_the_others_only_for_a_while() {
    in_stopped_time(async {
        let config = LinkConfig { recovery_window: 1, request_timeout_ms: 1_000, ..fast() };
        let (mut rig, mut pbx) = Rig::up(config).await;
        let mut hung = rig.bind("hung").await;
        let mut next = rig.bind("next").await;
        assert_eq!(hung.next().await, FromLink::Up { generation: 1 });
        let waited = Instant::now();
        let (up, ()) = tokio::join!(next.next(), pbx.answer_heartbeats_for(Duration::from_secs(5)));
        assert_eq!(up, FromLink::Up { generation: 1 });
        assert!(waited.elapsed() >= Duration::from_secs(2));
    });
}

#[test]
fn a_call_that_begins_moves_a_waiting_session_forward() {
    in_stopped_time(async {
        let (mut rig, _pbx) = Rig::up(LinkConfig { recovery_window: 1, ..fast() }).await;
        let mut first = rig.bind("first").await;
        let mut idle = rig.bind("idle").await;
        let mut calling = rig.bind("calling").await;
        assert_eq!(first.next().await, FromLink::Up { generation: 1 });
        rig.has_calls("calling", true);
        rig.recovered("first");
        assert_eq!(calling.next().await, FromLink::Up { generation: 1 });
        rig.quiet().await;
        assert!(!idle.has_mail());
    });
}

#[test]
fn a_full_mailbox_loses_events_but_is_told_so_and_no_answer_is_lost() {
    in_stopped_time(async {
        let (mut rig, mut pbx) = Rig::up(fast()).await;
        let mut alice = rig.bind_up("alice").await;
        let mut bob = rig.bind_up("bob").await;
        for (session, xref) in [("alice", "0"), ("bob", "1")] {
            rig.invoke(session, 1, monitor("5101"));
            pbx.answer_monitor(xref).await;
        }
        assert_eq!(alice.next().await, settled(1, monitoring("0")));
        assert_eq!(bob.next().await, settled(1, monitoring("1")));
        rig.invoke("alice", 2, snapshot("5101"));
        let (invoke, _) = pbx.service().await;

        alice.hang().await;
        for _ in 0..40 {
            pbx.event(rig::back_in_service("0")).await;
        }
        let outcome = Outcome::SnapshotDevice { calls: Vec::new(), service_xref: None };
        pbx.outcome(invoke, outcome.clone()).await;
        pbx.event(rig::back_in_service("1")).await;
        assert_eq!(bob.next().await, back_in_service("1"), "one full mailbox is nobody else's trouble");
        assert!(rig.status().await.missed_events > 0);

        alice.go_on();
        let mut mail = Vec::new();
        while mail.last() != Some(&FromLink::Missed) {
            mail.push(alice.next().await);
        }
        let answers = mail.iter().filter(|mail| **mail == settled(2, Ok(outcome.clone()))).count();
        assert_eq!(answers, 1);
        assert!(mail.len() < 40, "{} pieces of mail", mail.len());
        alice.is_silent().await;
        pbx.event(rig::back_in_service("0")).await;
        assert_eq!(alice.next().await, back_in_service("0"), "and then events flow again");
    });
}

#[test]
fn no_more_than_outstanding_max_services_reach_the_pbx() {
    in_stopped_time(async {
        let (mut rig, mut pbx) = Rig::up(LinkConfig { outstanding_max: 2, ..fast() }).await;
        let mut alice = rig.bind_up("alice").await;
        for ask in 1..=3 {
            rig.invoke("alice", ask, snapshot("5101"));
        }
        assert_eq!(alice.next().await, settled(3, Err(LinkFailed::NotSent)));
        let (first, _) = pbx.service().await;
        pbx.service().await;
        pbx.outcome(first, Outcome::MonitorStop).await;
        assert_eq!(alice.next().await, settled(1, Ok(Outcome::MonitorStop)));
        rig.invoke("alice", 4, snapshot("5104"));
        assert_eq!(pbx.service().await.1, snapshot("5104"));
    });
}

#[test]
fn a_service_without_an_answer_times_out_and_its_late_answer_is_not_another_services() {
    in_stopped_time(async {
        let (mut rig, mut pbx) = Rig::up(fast()).await;
        let mut alice = rig.bind_up("alice").await;
        rig.invoke_within("alice", 1, snapshot("unknown"), 300);
        let (late, _) = pbx.service().await;
        assert_eq!(alice.next().await, settled(1, Err(LinkFailed::TimedOut)));
        rig.invoke("alice", 2, snapshot("5101"));
        let (invoke, _) = pbx.service().await;
        assert_ne!(invoke, late);
        pbx.outcome(late, Outcome::MonitorStop).await;
        pbx.outcome(invoke, Outcome::SetForwarding).await;
        assert_eq!(alice.next().await, settled(2, Ok(Outcome::SetForwarding)));
    });
}

#[test]
fn a_departed_session_leaves_no_monitor_behind() {
    in_stopped_time(async {
        let (mut rig, mut pbx) = Rig::up(fast()).await;
        let mut alice = rig.bind_up("alice").await;
        rig.invoke("alice", 1, monitor("5101"));
        pbx.answer_monitor("7").await;
        assert_eq!(alice.next().await, settled(1, monitoring("7")));
        rig.invoke("alice", 2, monitor("5102"));
        let (invoke, _) = pbx.service().await;
        rig.unbind("alice");
        let (stop, service) = pbx.service().await;
        assert_eq!(service, Service::MonitorStop { xref: "7".into() });
        pbx.outcome(stop, Outcome::MonitorStop).await;
        // A monitor whose start was still on its way.
        pbx.outcome(invoke, monitoring("8").unwrap()).await;
        assert_eq!(pbx.service().await.1, Service::MonitorStop { xref: "8".into() });
        assert_eq!(rig.status().await.monitors, 0);
        alice.is_silent().await;
    });
}

#[test]
fn a_session_that_was_restarted_takes_its_monitor_up_again() {
    in_stopped_time(async {
        let (mut rig, mut pbx) = Rig::up(fast()).await;
        let mut first_life = rig.bind_up("alice").await;
        rig.invoke("alice", 1, monitor("5101"));
        pbx.answer_monitor("7").await;
        assert_eq!(first_life.next().await, settled(1, monitoring("7")));
        let mut second_life = rig.bind("alice").await;
        assert_eq!(second_life.next().await, FromLink::Up { generation: 1 });
        rig.invoke("alice", 2, monitor("5101"));
        assert_eq!(second_life.next().await, settled(2, monitoring("7")));
        rig.recovered("alice");
        pbx.event(rig::back_in_service("7")).await;
        assert_eq!(second_life.next().await, back_in_service("7"));
        first_life.is_silent().await;
    });
}

#[test]
fn a_monitor_that_is_not_taken_up_again_is_stopped() {
    in_stopped_time(async {
        let (mut rig, mut pbx) = Rig::up(fast()).await;
        let mut first_life = rig.bind_up("alice").await;
        rig.invoke("alice", 1, monitor("5101"));
        pbx.answer_monitor("7").await;
        assert_eq!(first_life.next().await, settled(1, monitoring("7")));
        let mut second_life = rig.bind("alice").await;
        assert_eq!(second_life.next().await, FromLink::Up { generation: 1 });
        rig.recovered("alice");
        assert_eq!(pbx.service().await.1, Service::MonitorStop { xref: "7".into() });
    });
}

#[test]
fn a_resumed_dmcc_session_keeps_its_monitors() {
    in_stopped_time(async {
        let config = LinkConfig {
            dialect: Dialect::Dmcc,
            user: "gateway".into(),
            password: "secret".into(),
            switch_name: "CM1".into(),
            ..fast()
        };
        let mut rig = Rig::start(config).await;
        let mut pbx = rig.accept().await;
        pbx.log_in_dmcc("", "S1").await;
        let mut alice = rig.bind_up("alice").await;
        rig.invoke("alice", 1, monitor("5101"));
        pbx.name_device("5101:CM1").await;
        pbx.answer_monitor("41").await;
        assert_eq!(alice.next().await, settled(1, monitoring("41")));
        drop(pbx);
        assert_eq!(alice.next().await, FromLink::Down);

        let mut pbx = rig.accept().await;
        pbx.log_in_dmcc("S1", "S1").await;
        assert_eq!(alice.next().await, FromLink::Up { generation: 2 });
        rig.invoke("alice", 2, monitor("5101"));
        assert_eq!(alice.next().await, settled(2, monitoring("41")), "without asking the PBX again");
        pbx.event(rig::back_in_service("41")).await;
        assert_eq!(alice.next().await, back_in_service("41"));
    });
}

#[test]
fn lost_events_make_every_session_look_again() {
    in_stopped_time(async {
        let (mut rig, mut pbx) = Rig::up(fast()).await;
        let mut alice = rig.bind_up("alice").await;
        let mut bob = rig.bind_up("bob").await;
        pbx.report_status("messagesLost").await;
        assert_eq!((alice.next().await, bob.next().await), (FromLink::Missed, FromLink::Missed));
    });
}

#[test]
fn an_event_that_cannot_be_read_is_a_missed_one() {
    in_stopped_time(async {
        let (mut rig, mut pbx) = Rig::up(fast()).await;
        let mut alice = rig.bind_up("alice").await;
        rig.invoke("alice", 1, monitor("5101"));
        pbx.answer_monitor("0").await;
        assert_eq!(alice.next().await, settled(1, monitoring("0")));
        pbx.document(9999, b"<DeliveredEvent><monitorCrossRefID>0</monitorCrossRefID><connection>\xff").await;
        assert_eq!(alice.next().await, FromLink::Missed);
    });
}

#[test]
fn a_drained_link_logs_out_and_a_started_one_comes_back() {
    in_stopped_time(async {
        let (mut rig, mut pbx) = Rig::up(fast()).await;
        let mut alice = rig.bind_up("alice").await;
        rig.link.send(DrainLink).await.unwrap();
        pbx.answer_logout().await;
        assert_eq!(alice.next().await, FromLink::Down);
        sleep(Duration::from_secs(600)).await;
        let status = rig.status().await;
        assert_eq!((status.state, status.next_try_in_ms), ("down", None));
        rig.link.send(StartLink).await.unwrap();
        let mut pbx = rig.accept().await;
        pbx.log_in().await;
        assert_eq!(alice.next().await, FromLink::Up { generation: 2 });
    });
}

#[test]
fn a_stopped_link_leaves_nobody_waiting() {
    in_stopped_time(async {
        let (mut rig, mut pbx) = Rig::up(fast()).await;
        let mut alice = rig.bind_up("alice").await;
        rig.invoke("alice", 1, snapshot("5101"));
        pbx.service().await;
        rig.stop().await;
        assert_eq!(alice.next().await, settled(1, Err(LinkFailed::Lost)));
        assert_eq!(alice.next().await, FromLink::Down);
        assert!(rig.state.has_changed().is_err(), "the watch is closed");
    });
}

#[test]
fn a_refused_login_is_shown_and_tried_again_later() {
    in_stopped_time(async {
        let mut rig = Rig::start(fast()).await;
        rig.accept().await.refuse_login().await;
        rig.quiet().await;
        let status = rig.status().await;
        assert_eq!((status.state, status.last_error.unwrap().starts_with("login refused")), ("down", true));
        assert!(status.next_try_in_ms.is_some());
        let mut pbx = rig.accept().await;
        pbx.log_in().await;
        rig.bind_up("alice").await;
    });
}

#[test]
fn a_link_works_on_an_arbiter_over_tcp() {
    let system = actix::System::new();
    system.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = LinkConfig { port: listener.local_addr().unwrap().port(), ..LinkConfig::default() };
        let arbiter = Arbiter::new();
        let link = LinkActor::start_in_arbiter(&arbiter.handle(), |_| {
            LinkActor::new(config, crate::cti::TcpConnector::shared())
        });
        let (stream, _) = listener.accept().await.unwrap();
        let mut pbx = rig::PbxEnd::new(Box::new(stream));
        pbx.log_in().await;
        let (probe_address, mut probe) = rig::Probe::start_here();
        let bind = crate::actor::mail::Bind {
            session: SessionId::new("alice"),
            inbox: probe_address.recipient(),
            has_calls: false,
        };
        link.send(bind).await.unwrap();
        while probe.next().await != (FromLink::Up { generation: 1 }) {}
        arbiter.stop();
    });
}

/// What a bound, idle, monitored session costs the link; printed, not asserted.
#[test]
#[ignore = "a measurement: run it alone and with --no-capture"]
fn memory_of_an_idle_bound_session() {
    const COUNT: usize = 20_000;
    in_stopped_time(async {
        let (address, _probe) = rig::Probe::start_here();
        let mut link = LinkActor::new(LinkConfig::default(), crate::cti::TcpConnector::shared());
        let names: Vec<SessionId> = (0..COUNT).map(|number| SessionId::new(format!("{number:016x}"))).collect();
        let before = rig::resident_bytes();
        for (number, session) in names.iter().enumerate() {
            link.sessions.bind(session.clone(), address.clone().recipient(), false);
            link.sessions.route(session, &number.to_string(), &(20_000 + number).to_string());
        }
        let bytes = rig::resident_bytes().saturating_sub(before);
        println!("{} bytes a session", bytes / COUNT);
        drop(names);
    });
}
