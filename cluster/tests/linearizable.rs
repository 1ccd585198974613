//! Each record is linearizable: histories of many clients at two voters while the leadership moves, a voter dies and comes
//! back, and links are cut. A run has a seed: `SEED=7 cargo test -p lyncpin-cluster --test linearizable`.

mod clients;
mod history;
mod lab;

use std::time::Duration;

use lyncpin_cluster::FencedStore;
use tokio::time::{Instant, sleep, timeout};

use clients::{Chance, Clients, History, Reads};
use history::{Outcome, check};
use lab::{Lab, PATIENCE};

const RUN: Duration = Duration::from_secs(18);
/// A run that did less proves nothing.
const ANSWERED_MIN: usize = 1_000;

/// Faults one after the other, each healed before the next; yields how many of each.
async fn trouble(lab: &mut Lab, clients: &Clients, chance: &mut Chance) -> [u32; 4] {
    let mut done = [0; 4];
    let end = Instant::now() + RUN;
    while Instant::now() < end {
        sleep(Duration::from_millis(chance.below(400))).await;
        let kind = chance.below(4) as usize;
        match kind {
            0 => {
                let leader = lab.leader().await;
                // Err: it has lost the leadership meanwhile.
                let _ = lab.node(leader).hand_over(3 - leader).await;
            }
            1 => {
                let victim = 1 + chance.below(3);
                clients.gone(victim);
                lab.crash(victim).await;
                sleep(Duration::from_millis(chance.below(700))).await;
                lab.restart(victim).await;
                clients.back(lab.node(victim).clone());
            }
            2 => {
                let one = 1 + chance.below(3);
                let other = 1 + (one + chance.below(2)) % 3;
                lab.cut(one, other, true);
                sleep(Duration::from_millis(chance.below(900))).await;
                lab.cut(one, other, false);
            }
            _ => {
                let alone = 1 + chance.below(2);
                let others = (1..=3).filter(|id| *id != alone);
                others.clone().for_each(|other| lab.cut(alone, other, true));
                sleep(Duration::from_millis(chance.below(900))).await;
                others.for_each(|other| lab.cut(alone, other, false));
            }
        }
        done[kind] += 1;
        lab.leader().await;
    }
    done
}

fn seed() -> u64 {
    std::env::var("SEED").map_or_else(|_| u64::from(std::process::id()), |seed| seed.parse().expect("SEED is a number"))
}

/// Err: what the checker has to say.
fn explained(history: &History) -> Result<(), String> {
    history.by_key().into_iter().try_for_each(|(key, operations)| {
        check(operations).map_err(|unexplained| format!("{key} is not linearizable: {unexplained:?}"))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_record_is_linearizable_while_voters_die_and_links_are_cut() {
    let seed = seed();
    println!("SEED={seed}");
    let mut chance = Chance::new(seed);
    let mut lab = Lab::prepared().wired().await.started().await;
    let clients = Clients::start(&lab, &mut chance, Reads::CaughtUp).await;
    let faults = trouble(&mut lab, &clients, &mut chance).await;
    // With the faults off every operation is answered, and every voter says the same.
    let history = timeout(PATIENCE, clients.finish()).await.expect("every operation ends");
    let mut copies = Vec::new();
    for id in 1..=3 {
        timeout(PATIENCE, lab.node(id).replica().catch_up()).await.expect("in time").expect("caught up");
        copies.push(lab.node(id).replica().scan(""));
    }
    let told = history.told();
    println!("{faults:?} handovers, deaths, cuts, voters cut off; {told}");
    explained(&history).unwrap_or_else(|why| panic!("SEED={seed}\n{why}"));
    assert!(copies.iter().all(|copy| *copy == copies[0]), "SEED={seed}: the voters differ: {copies:#?}");
    let count = |which: fn(&Outcome) -> bool| history.count(which);
    let unknown = count(|outcome| *outcome == Outcome::Unknown);
    let answered = count(|outcome| *outcome != Outcome::Unknown);
    assert!(answered >= ANSWERED_MIN && unknown * 5 < answered, "too little was done to prove anything: {told}");
    assert!(faults.iter().sum::<u32>() >= 5 && history.owners() > 4, "nothing went wrong: {faults:?}");
}

/// The checker sees what a read without `catch_up` may find. Whether a read hits a change that its voter has not heard of is
/// chance, so there are some tries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_does_not_catch_up_is_found_out() {
    for turn in 0..6 {
        let history = stale_reads(seed() + turn).await;
        if let Err(why) = explained(&history) {
            assert!(why.contains("Found"), "{why}");
            return;
        }
    }
    panic!("stale reads are no linearizable reads");
}

async fn stale_reads(seed: u64) -> History {
    let mut chance = Chance::new(seed);
    let lab = Lab::prepared().wired().await.started().await;
    lab.lead(1).await;
    let clients = Clients::start(&lab, &mut chance, Reads::AsItIs).await;
    clients.until_answered(200).await;
    (1..=3).filter(|id| *id != 2).for_each(|other| lab.cut(2, other, true));
    clients.until_answered(600).await;
    (1..=3).filter(|id| *id != 2).for_each(|other| lab.cut(2, other, false));
    timeout(PATIENCE, clients.finish()).await.expect("every operation ends")
}
