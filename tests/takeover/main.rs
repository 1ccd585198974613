//! Two nodes and a witness as real processes, a simulated PBX, users who keep their connections to whichever node is there.
//! A node is killed with -9, frozen, restarted; the users go on with the same dialogs, monitors and calls.

mod boundaries;
mod handover;
mod lines;
mod operator;
mod pair;
mod stages;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lyncpin::client::{CallView, Phase, RccUser, Spread, Unanswered};
use lyncpin::trace::{Line, What};
use pair::{PATIENCE, Pair, until};

/// One calls, the other answers; the call's name on either side.
async fn talk(caller: &RccUser, callee: &RccUser) -> (String, String) {
    let placed = caller.make_call(&callee.line()).await.unwrap_or_else(|why| panic!("{}: {why}", caller.name()));
    assert!(placed.is_done(), "{:?}", placed.refusal());
    let call = placed.call().unwrap().call.clone();
    let ringing =
        |view: &CallView| view.calls().iter().find(|call| call.phase() == Phase::Alerting).map(|call| call.id.clone());
    let theirs = callee.until(PATIENCE, ringing).await.expect("it rings");
    assert!(callee.answer(&theirs).await.unwrap().is_done());
    for (user, id) in [(caller, &call), (callee, &theirs)] {
        user.until(PATIENCE, |view| (view.phase(id)? == Phase::Talking).then_some(())).await.expect("they talk");
    }
    (call, theirs)
}

/// Every user's dialog answers, and is the one it was.
async fn all_go_on(pair: &Pair, users: &[RccUser], were: &[(Option<String>, Option<String>)]) {
    for refreshed in join_all(users.iter().map(RccUser::refresh)).await {
        refreshed.expect("the dialog answers");
    }
    for (user, was) in users.iter().zip(were) {
        assert_eq!((user.remote_tag(), user.xref()), *was, "{}", user.name());
        let grave: Vec<_> = user.violations().into_iter().filter(|one| !one.is_explained_by_takeover()).collect();
        assert_eq!(grave, [], "{}", user.name());
    }
    pair.views_are_true(users).await;
}

fn identities(users: &[RccUser]) -> Vec<(Option<String>, Option<String>)> {
    users.iter().map(|user| (user.remote_tag(), user.xref())).collect()
}

#[test]
fn a_node_is_killed_and_nobody_signs_in_again() {
    pair::run(async {
        let mut pair = Pair::start(24).await;
        let users = pair.users(24, 4).await;
        for signed_in in join_all(users.iter().map(RccUser::sign_in)).await {
            signed_in.expect("the user signs in");
        }
        let were = identities(&users);
        let mut calls = Vec::new();
        for two in users.chunks(2).take(8) {
            calls.push(talk(&two[0], &two[1]).await);
        }
        for (round, victim) in [1_u32, 2, 1].into_iter().enumerate() {
            pair.kill(victim);
            // The phones go on meanwhile: one call ends, a new one rings.
            pair.desk_changes(round).await;
            all_go_on(&pair, &users, &were).await;
            let survivor = 3 - victim;
            let figures = (
                pair.metric(survivor, "lyncpin_takeovers_total"),
                pair.metric(survivor, "lyncpin_takeover_last_seconds"),
            );
            assert!(figures.0 == 1.0 && figures.1 > 0.0, "takeovers and how long the last one took: {figures:?}");
            let (call, _) = &calls[round + 1];
            let caller = &users[(round + 1) * 2];
            assert!(caller.hold(call).await.unwrap().is_done());
            assert!(caller.retrieve(call).await.unwrap().is_done());
            pair.restart(victim).await;
            all_go_on(&pair, &users, &were).await;
        }
        let (a, b) = (&users[20], &users[21]);
        let (call, _) = talk(a, b).await;
        assert!(a.hang_up(&call).await.unwrap().is_done());
        pair.views_are_true(&users).await;
        pair.nothing_was_dialled_twice().await;
        pair.stop();
    });
}

/// Of a user that is followed at both nodes: the one that serves them shows every message, also those that came to the other
/// one, and alone what the PBX was told.
fn the_owner_shows_all(one: &[Line], two: &[Line]) {
    let What::Begun { node, served_by, .. } = &one[0].what else { panic!("{:?}", one[0]) };
    let (owner, other) = if served_by.contains(node) { (one, two) } else { (two, one) };
    let count = |lines: &[Line], wanted: &str| {
        let is_meant = |line: &&Line| match &line.what {
            What::Sip { summary, .. } => wanted.strip_prefix("sip ") == Some(summary),
            What::Cti { summary, .. } => wanted.strip_prefix("cti ") == Some(summary),
            _ => false,
        };
        lines.iter().filter(is_meant).count()
    };
    let mut brought = 0;
    for service in ["MakeCall", "HoldCall", "RetrieveCall"] {
        let (sip, cti) = (format!("sip INFO {service}"), format!("cti {service}"));
        assert!(count(owner, &sip) > 0, "{service}: {owner:#?}");
        assert_eq!((count(owner, &cti), count(other, &cti)), (1, 0), "{service}: {owner:#?}");
        brought += count(other, &sip);
    }
    assert!(brought > 0, "some came to the other node: {other:#?}");
}

#[test]
fn what_reaches_the_other_node_is_heard_by_the_owner() {
    pair::run(async {
        let mut pair = Pair::start(8).await;
        // One front end, whose messages go to the two nodes in turn.
        let users = pair.users_who(8, 1, Spread::ByMessage).await;
        for signed_in in join_all(users.iter().map(RccUser::sign_in)).await {
            signed_in.expect("the user signs in");
        }
        let were = identities(&users);
        let traces = [pair.trace(1, "user10001", 8).await, pair.trace(2, "user10001", 8).await];
        for two in users.chunks(2) {
            let (call, theirs) = talk(&two[0], &two[1]).await;
            assert!(two[0].hold(&call).await.unwrap().is_done());
            assert!(two[0].retrieve(&call).await.unwrap().is_done());
            assert!(two[1].hang_up(&theirs).await.unwrap().is_done());
        }
        all_go_on(&pair, &users, &were).await;
        let [one, two] = traces;
        the_owner_shows_all(&one.await.unwrap(), &two.await.unwrap());
        pair.stop();
    });
}

#[test]
fn a_call_being_placed_while_its_node_dies_is_placed_once_or_not_at_all() {
    pair::run(async {
        let mut pair = Pair::start(12).await;
        let users = pair.users(12, 4).await;
        for signed_in in join_all(users.iter().map(RccUser::sign_in)).await {
            signed_in.expect("the user signs in");
        }
        let were = identities(&users);
        for (round, victim) in [1_u32, 2].into_iter().enumerate() {
            // Slow enough that the node dies between the asking and the answer.
            pair.delay(60).await;
            let placing = join_all(users.iter().enumerate().map(|(n, user)| async move {
                let number = format!("tel:+1206555{:04}", round * 100 + n);
                tokio::time::sleep(Duration::from_millis(n as u64 * 3)).await;
                (number.clone(), user.make_call(&number).await)
            }));
            let killing = async {
                tokio::time::sleep(Duration::from_millis(30)).await;
                pair.kill(victim);
                pair.delay(0).await;
            };
            let (placed, ()) = tokio::join!(placing, killing);
            pair.views_are_true(&users).await;
            let dialled = pair.dialled().await;
            for (number, outcome) in placed {
                let times = dialled.iter().filter(|one| number.ends_with(one.trim_start_matches('+'))).count();
                match &outcome {
                    Ok(reply) if reply.is_done() => assert_eq!(times, 1, "{number}: {outcome:?}"),
                    Ok(_) => assert_eq!(times, 0, "{number}: {outcome:?}"),
                    Err(why) if why.is_definite() => assert_eq!(times, 0, "{number}: {outcome:?}"),
                    Err(_) => assert!(times <= 1, "{number}: {outcome:?}"),
                }
            }
            pair.restart(victim).await;
            all_go_on(&pair, &users, &were).await;
        }
        pair.nothing_was_dialled_twice().await;
        pair.stop();
    });
}

#[test]
fn a_request_passed_to_a_node_that_dies_is_answered_over_the_connection_that_lives() {
    pair::run(async {
        let mut pair = Pair::start(16).await;
        // One front end with a connection to either node, whose messages go over them in turn.
        let users = pair.users_who(16, 1, Spread::ByMessage).await;
        for user in &users {
            user.sign_in().await.expect("the user signs in");
        }
        let were = identities(&users);
        for (round, victim) in [1_u32, 2].into_iter().enumerate() {
            pair.delay(60).await;
            let placing = join_all(users.iter().enumerate().map(|(n, user)| async move {
                let number = format!("tel:+1206555{:04}", round * 100 + n);
                (number.clone(), user.make_call(&number).await)
            }));
            let killing = async {
                tokio::time::sleep(Duration::from_millis(40)).await;
                pair.kill(victim);
                pair.delay(0).await;
            };
            let (placed, ()) = tokio::join!(placing, killing);
            for (number, told) in &placed {
                assert!(!matches!(told, Err(Unanswered::TimedOut | Unanswered::FlowLost)), "{number}: {told:?}");
            }
            all_go_on(&pair, &users, &were).await;
            for user in &users {
                for call in user.view().calls() {
                    assert!(user.hang_up(&call.id).await.expect("an answer").is_done());
                }
            }
            pair.restart(victim).await;
            all_go_on(&pair, &users, &were).await;
        }
        pair.nothing_was_dialled_twice().await;
        pair.stop();
    });
}

#[test]
fn a_frozen_node_is_fenced_and_does_nothing_when_it_thaws() {
    pair::run(async {
        let mut pair = Pair::start_at("default", 12, false).await;
        let users = pair.users(12, 4).await;
        for signed_in in join_all(users.iter().map(RccUser::sign_in)).await {
            signed_in.expect("the user signs in");
        }
        let were = identities(&users);
        let (call, theirs) = talk(&users[0], &users[1]).await;
        pair.freeze(1);
        pair.leave(1);
        let frozen = Instant::now();
        until("its records move", || pair.said(2, "a node was fenced") > 0).await;
        println!("a node frozen until its records belong to the other: {:?}", frozen.elapsed());
        all_go_on(&pair, &users, &were).await;
        assert!(users[0].hang_up(&call).await.unwrap().is_done());
        users[1].until(PATIENCE, |view| view.phase(&theirs).is_none().then_some(())).await.expect("the call ends");
        pair.thaw(1);
        until("the fenced node ends its life", || pair.has_ended(1)).await;
        pair.restart(1).await;
        all_go_on(&pair, &users, &were).await;
        pair.nothing_was_dialled_twice().await;
        pair.stop();
    });
}
