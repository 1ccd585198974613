//! Two data nodes and a witness over loopback TCP, each with its own store.

mod lab;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use lyncpin_cluster::membership::{fresh_id, seat};
use lyncpin_cluster::node::{Node, NodeOptions, StartError};
use lyncpin_cluster::peer::Security;
use lyncpin_cluster::raft::{Role, Voter};
use lyncpin_cluster::recover::{self, RecoverError};
use lyncpin_cluster::replica::Timers;
use lyncpin_cluster::{Change, Claims, Command, FencedStore, Incarnation, Notice, Refusal, Reply, Watched};
use tokio::time::{Instant, sleep, timeout};

use lab::{Echo, Lab, PATIENCE, free_address, voter};

async fn put(node: &Node, writer: Incarnation, key: &str, expected: u64) -> Result<u64, Refusal> {
    let change =
        Change::Put { writer, key: key.into(), expected, claims: Claims::default(), body: vec![7; 300].into() };
    match node.replica().propose(Command::Batch { changes: vec![change] }).await.expect("committed") {
        Reply::Applied { versions } => Ok(versions[0]),
        Reply::Refused { refusal, .. } => Err(refusal),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_put_to_any_voter_is_applied_on_all() {
    let lab = Lab::start().await;
    let a = lab.node(1).join().await.unwrap();
    let b = lab.node(2).join().await.unwrap();
    put(lab.node(1), a, "session/1", 0).await.unwrap();
    let version = put(lab.node(2), b, "session/2", 0).await.unwrap();
    for id in 1..=3 {
        lab.node(id).replica().catch_up().await.unwrap();
        let found = lab.node(id).replica().scan("session/");
        assert_eq!(found.iter().map(|record| record.owner).collect::<Vec<_>>(), [a, b], "node {id}");
    }
    assert_eq!(put(lab.node(1), a, "session/2", version).await, Err(Refusal::NotOwner { owner: b }));
    // The gateway's own words.
    let link = lab.node(1).links().to(2).unwrap();
    let said = link.ask(lyncpin_cluster::wire::Kind::Relay, b"INFO", PATIENCE).await.unwrap();
    assert_eq!(said, b"1>2:INFO");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_leader_s_process_dies_the_other_owns_its_records_at_once() {
    let mut lab = Lab::start().await;
    let mut gaps = Vec::new();
    for _ in 0..5 {
        lab.lead(1).await;
        let a = lab.node(1).join().await.unwrap();
        let b = lab.node(2).join().await.unwrap();
        let key = format!("session/{a}");
        let version = put(lab.node(1), a, &key, 0).await.unwrap();
        let mut watch = lab.node(2).replica().watch();
        let died = Instant::now();
        lab.crash(1).await;
        let fenced = async {
            loop {
                if let Some(Watched::Notice(Notice::Fenced { incarnation, heir, .. })) = watch.next().await {
                    return (incarnation, heir);
                }
            }
        };
        assert_eq!(timeout(PATIENCE, fenced).await.expect("fenced"), (a, b));
        gaps.push(died.elapsed());
        let record = lab.node(2).replica().read(&key).unwrap();
        assert_eq!(record.owner, b);
        assert!(record.version > version);
        put(lab.node(2), b, &key, record.version).await.unwrap();
        lab.restart(1).await;
        // Whatever the dead one had still meant to say.
        assert_eq!(put(lab.node(1), a, &key, version).await, Err(Refusal::Fenced { incarnation: a }));
    }
    gaps.sort();
    println!("leader's process gone until its records belong to the other: {gaps:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_follower_s_process_dies_the_leader_owns_its_records() {
    let mut lab = Lab::start().await;
    lab.lead(2).await;
    let a = lab.node(1).join().await.unwrap();
    let b = lab.node(2).join().await.unwrap();
    put(lab.node(1), a, "session/1", 0).await.unwrap();
    let died = Instant::now();
    lab.crash(1).await;
    lab.until("its records move", || (lab.node(2).replica().read("session/1")?.owner == b).then_some(())).await;
    println!("follower's process gone until its records belong to the leader: {:?}", died.elapsed());
}

/// It joins while it reads its store, and may be too busy to be heard.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_node_that_owns_nothing_is_waited_for_and_one_that_owns_is_not() {
    let lab = Lab::prepared().wired().await.started().await;
    lab.lead(1).await;
    lab.node(1).join().await.unwrap();
    let b = lab.node(2).join().await.unwrap();
    let is_member = || lab.node(1).replica().members().iter().any(|member| member.incarnation == b);
    lab.cut(1, 2, true);
    sleep(Timers::DEFAULT.lease() * 4).await;
    assert!(is_member());
    lab.cut(1, 2, false);
    put(lab.node(2), b, "session/1", 0).await.unwrap();
    lab.cut(1, 2, true);
    lab.until("it is fenced", || (!is_member()).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_the_others_may_not_act_and_refuses_definitely() {
    let mut lab = Lab::start().await;
    lab.lead(1).await;
    let a = lab.node(1).join().await.unwrap();
    lab.crash(2).await;
    lab.crash(3).await;
    lab.until("its lease runs out", || (!lab.node(1).replica().may_act()).then_some(())).await;
    let change =
        Change::Put { writer: a, key: "k".into(), expected: 0, claims: Claims::default(), body: vec![].into() };
    let refused = lab.node(1).replica().propose(Command::Batch { changes: vec![change] }).await;
    assert!(refused.is_err(), "{refused:?}");
    lab.restart(3).await;
    lab.until("it may act again", || lab.node(1).replica().may_act().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_witness_leads_for_a_moment_when_it_alone_has_the_newest_log() {
    let mut lab = Lab::start().await;
    lab.lead(1).await;
    let a = lab.node(1).join().await.unwrap();
    lab.crash(2).await;
    for n in 0..50 {
        put(lab.node(1), a, &format!("session/{n}"), 0).await.unwrap();
    }
    lab.crash(1).await;
    lab.restart(2).await;
    let back = Instant::now();
    assert_eq!(lab.leader().await, 2);
    println!("the one with the older log leads, after it is back: {:?}", back.elapsed());
    lab.node(2).replica().catch_up().await.unwrap();
    assert_eq!(lab.node(2).replica().scan("session/").len(), 50, "nothing that was acknowledged is lost");
    let b = lab.node(2).join().await.unwrap();
    lab.until("the dead one's records move", || {
        lab.node(2).replica().scan("session/").iter().all(|record| record.owner == b).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_them_come_back_with_what_was_acknowledged() {
    let mut lab = Lab::start().await;
    let a = lab.node(1).join().await.unwrap();
    for n in 0..20 {
        put(lab.node(1), a, &format!("session/{n}"), 0).await.unwrap();
    }
    for id in 1..=3 {
        lab.crash(id).await;
    }
    for id in 1..=3 {
        lab.restart(id).await;
    }
    lab.leader().await;
    for id in 1..=3 {
        lab.node(id).replica().catch_up().await.unwrap();
        assert_eq!(lab.node(id).replica().scan("session/").len(), 20, "node {id}");
    }
}

/// The id node 2 votes under, once it is a fresh one and the former votes no more.
async fn comes_back_under_a_fresh_id(lab: &mut Lab) -> u64 {
    lab.restart(2).await;
    let id = lab.node(2).id();
    assert!(id > 65_535 && seat(id) == 2, "{id}");
    lab.until("it is taken in", || {
        let voters: Vec<u64> = lab.node(1).voters().into_keys().collect();
        (voters == [1, 3, id] && lab.node(2).voters().len() == 3).then_some(())
    })
    .await;
    lab.until("it has the records", || (lab.node(2).replica().scan("session/").len() == 1).then_some(())).await;
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_whose_store_is_gone_comes_back_under_a_fresh_id() {
    let mut lab = Lab::start().await;
    let a = lab.node(1).join().await.unwrap();
    put(lab.node(1), a, "session/1", 0).await.unwrap();
    // The others were blank themselves when they started: they must tell that the cluster lives now.
    lab.crash(2).await;
    lab.folders.insert(2, tempfile::tempdir().unwrap());
    let first = comes_back_under_a_fresh_id(&mut lab).await;
    // Now they have a store from the start; and the one that is lost is killed while it asks.
    for id in 1..=3 {
        lab.crash(id).await;
    }
    lab.restart(1).await;
    lab.restart(3).await;
    lab.folders.insert(2, tempfile::tempdir().unwrap());
    let _ = timeout(Duration::from_millis(1), lab.try_node(2)).await;
    let second = comes_back_under_a_fresh_id(&mut lab).await;
    assert_ne!(first, second);
    // It keeps the id over a restart, and leads with it.
    lab.crash(2).await;
    lab.restart(2).await;
    assert_eq!(lab.node(2).id(), second);
    lab.crash(3).await;
    lab.nodes.insert(second, lab.nodes[&2].clone());
    lab.lead(second).await;
    let b = lab.node(2).join().await.unwrap();
    put(lab.node(2), b, "session/2", 0).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_whose_store_is_damaged_sets_it_aside_and_comes_back_under_a_fresh_id() {
    let mut lab = Lab::start().await;
    let a = lab.node(1).join().await.unwrap();
    put(lab.node(1), a, "session/1", 0).await.unwrap();
    lab.crash(2).await;
    let store = lab.folders[&2].path().join("records/db");
    std::fs::write(&store, b"not a store").unwrap();
    comes_back_under_a_fresh_id(&mut lab).await;
    assert!(lab.folders[&2].path().join("damaged-1/records/db").exists());
}

/// A second process with a seat's certificate must not push the living one out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seat_whose_voter_lives_is_not_given_away() {
    let lab = Lab::start().await;
    let leader = lab.leader().await;
    let intruder = voter(2);
    let id = fresh_id(2).unwrap();
    let refused = lab.node(leader).add(id, intruder.clone()).await.unwrap_err();
    assert!(refused.to_string().contains("lives"), "{refused}");
    let other = if leader == 1 { 2 } else { 1 };
    let refused = lab.node(other).add(id, intruder).await.unwrap_err();
    assert!(refused.to_string().contains("lives"), "{refused}");
    assert_eq!(lab.node(1).voters().into_keys().collect::<Vec<_>>(), [1, 2, 3]);
}

/// Its store was made by then; a node that took that for a life never began the cluster.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_begins_although_a_first_start_failed_or_was_cut_short() {
    let lab = Lab::prepared();
    for id in 1..=2 {
        let taken = TcpListener::bind(&lab.voters[&id].address).unwrap();
        let refused = lab.try_node(id).await.map(|node| node.id());
        assert!(matches!(refused, Err(StartError::Listen { .. })), "{refused:?}");
        drop(taken);
        assert!(lab.folders[&id].path().join("identity.json").exists());
    }
    // Killed while it waited for the others.
    assert!(timeout(Duration::from_millis(200), lab.try_node(3)).await.is_err());
    let lab = timeout(PATIENCE, lab.started()).await.expect("the cluster begins");
    let a = lab.node(1).join().await.unwrap();
    put(lab.node(1), a, "session/1", 0).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_voter_is_replaced_by_one_with_a_new_id() {
    let mut lab = Lab::start().await;
    lab.lead(1).await;
    let a = lab.node(1).join().await.unwrap();
    put(lab.node(1), a, "session/1", 0).await.unwrap();
    lab.crash(2).await;
    lab.node(1).remove(2).await.unwrap();
    let four = Voter { name: "b".into(), address: free_address().to_string(), role: Role::Data };
    lab.voters.remove(&2);
    lab.voters.insert(4, four.clone());
    lab.folders.insert(4, tempfile::tempdir().unwrap());
    let new = Node::start(NodeOptions {
        cluster_id: "contoso".into(),
        id: 4,
        name: "b".into(),
        role: Role::Data,
        listen: four.address.parse().unwrap(),
        voters: lab.voters.clone(),
        joins: true,
        folder: lab.folders[&4].path().to_owned(),
        security: Security::Loopback,
        timers: Timers::DEFAULT,
        runtime: tokio::runtime::Handle::current(),
        relay: Arc::new(Echo(4)),
    })
    .await
    .unwrap();
    lab.node(1).add(4, four).await.unwrap();
    lab.nodes.insert(4, new);
    lab.lead(4).await;
    assert_eq!(lab.node(4).replica().scan("session/").len(), 1);
    let b = lab.node(4).join().await.unwrap();
    put(lab.node(4), b, "session/2", 0).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_handover_loses_no_command() {
    let lab = Lab::start().await;
    lab.lead(1).await;
    let a = lab.node(1).join().await.unwrap();
    let writing = async {
        for n in 0..300 {
            put(lab.node(1), a, &format!("session/{n}"), 0).await.unwrap();
        }
    };
    let moving = async {
        for to in [2, 1, 2, 1] {
            sleep(Duration::from_millis(30)).await;
            let leader = lab.leader().await;
            lab.node(leader).hand_over(to).await.unwrap();
            lab.leader().await;
        }
    };
    tokio::join!(writing, moving);
    lab.node(2).replica().catch_up().await.unwrap();
    assert_eq!(lab.node(2).replica().scan("session/").len(), 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_survivor_of_a_lost_quorum_goes_on_in_a_new_epoch_and_the_old_side_is_turned_away() {
    let mut lab = Lab::start().await;
    let a = lab.node(1).join().await.unwrap();
    for n in 0..20 {
        put(lab.node(1), a, &format!("session/{n}"), 0).await.unwrap();
    }
    lab.until("all have it", || (lab.node(2).replica().scan("session/").len() == 20).then_some(())).await;
    let folder = lab.folders[&1].path().to_owned();
    assert!(matches!(recover::survey(&folder).await, Err(RecoverError::InUse)));
    for id in 1..=3 {
        lab.crash(id).await;
    }
    let survey = recover::survey(&folder).await.unwrap();
    assert_eq!((survey.voters.len(), survey.machine.records_count()), (3, 20));
    assert!(survey.last >= survey.committed && survey.last > Some(20), "{:?} {:?}", survey.committed, survey.last);
    let (epoch, aside) = recover::recover(&folder, &survey).await.unwrap();
    assert_eq!(epoch, 1);
    assert!(aside.join("identity.json").exists(), "the old store is kept");
    lab.restart(1).await;
    lab.lead(1).await;
    assert_eq!(lab.node(1).replica().scan("session/").len(), 20);
    let next = lab.node(1).join().await.unwrap();
    put(lab.node(1), next, "session/new", 0).await.unwrap();
    // The old side could elect a leader of its own; each of it learns that it was given up, and ends.
    let old = tokio::join!(lab.try_node(2), lab.try_node(3));
    for old in [old.0.unwrap(), old.1.unwrap()] {
        // It knows its own members alone: somebody has to tell it.
        let mut failed = old.failed();
        let why = timeout(PATIENCE, failed.wait_for(Option::is_some)).await.unwrap().unwrap().clone();
        assert!(why.as_ref().is_some_and(|why| why.contains("epoch 1")), "{why:?}");
        old.halt().await;
    }
    // Started again it comes back as a new voter of the new epoch.
    lab.restart(2).await;
    lab.until("it is taken in", || (lab.node(1).voters().len() == 2).then_some(())).await;
    lab.until("it has it all", || (lab.node(2).replica().scan("session/").len() == 21).then_some(())).await;
    assert!(lab.node(2).identity().epoch == 1 && lab.node(2).id() > 65_535);
}

/// The second change must not be made from what the first one found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_voters_that_are_taken_in_at_the_same_time_both_vote() {
    let mut lab = Lab::prepared().wired().await.started().await;
    lab.lead(1).await;
    let a = lab.node(1).join().await.unwrap();
    put(lab.node(1), a, "session/1", 0).await.unwrap();
    for id in 1..=3 {
        lab.crash(id).await;
    }
    let survey = recover::survey(lab.folders[&1].path()).await.unwrap();
    recover::recover(lab.folders[&1].path(), &survey).await.unwrap();
    lab.restart(1).await;
    lab.lead(1).await;
    for id in [2, 3] {
        lab.folders.insert(id, tempfile::tempdir().unwrap());
        // They ask, and cannot catch up yet.
        lab.wires[&(1, id)].cut(true);
    }
    lab.restart_together(&[2, 3]).await;
    lab.until("both have asked", || (lab.node(1).voters().len() == 3).then_some(())).await;
    assert_eq!(lab.votes(1), 1);
    for id in [2, 3] {
        lab.wires[&(1, id)].cut(false);
    }
    lab.until("both vote", || (1..=3).all(|id| lab.votes(id) == 3).then_some(())).await;
    lab.crash(1).await;
    lab.until("one of them leads", || lab.node(2).replica().may_act().then_some(())).await;
}

/// openraft keeps 1,000 entries; of large ones a snapshot was made twice a second, and the log never cut.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_of_few_large_entries_is_cut() {
    let lab = Lab::start().await;
    let a = lab.node(1).join().await.unwrap();
    let mut expected = 0;
    let large = |expected| Change::Put {
        writer: a,
        key: "session/1".into(),
        expected,
        claims: Claims::default(),
        body: vec![7; 250_000].into(),
    };
    for _ in 0..70 {
        let proposed = lab.node(1).replica().propose(Command::Batch { changes: vec![large(expected)] }).await;
        let Ok(Reply::Applied { versions }) = proposed else { panic!("{proposed:?}") };
        expected = versions[0];
    }
    for id in 1..=3 {
        lab.until("it is cut", || (lab.node(id).status().log_bytes < 1_000_000).then_some(())).await;
    }
}
