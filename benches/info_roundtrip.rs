//! A whole INFO round trip over loopback TCP: client → SIP → decode → step → commit → CTI link → simulated PBX and back into
//! the 200. Clients, gateway and PBX share the machine's cores.
//!
//! Criterion measures one thing at a time; here the spread over many users is the figure, so the table is made by hand.

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lyncpin::client::RccUser;
use lyncpin::csta::Service;
use support::{Lab, Plan};

const RUN: Duration = Duration::from_secs(3);
const ROUNDS: usize = 3;

async fn one(user: &RccUser, is_local: bool, until: Instant) -> Vec<u32> {
    let mut took = Vec::new();
    while Instant::now() < until {
        let began = Instant::now();
        let reply = match is_local {
            true => user.invoke(Service::GetCstaFeatures { line: Some(user.line()) }).await,
            false => user.do_not_disturb().await,
        };
        assert!(reply.expect("answered").is_done());
        took.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    took
}

fn main() {
    // `cargo test --benches` only wants to know that it runs.
    let is_test = std::env::args().any(|arg| arg == "--test");
    let (most, run) = if is_test { (2, Duration::from_millis(50)) } else { (1_000, RUN) };
    actix_rt::System::new().block_on(async {
        let lab = Lab::start(Plan { users: most, links: 1, arbiters: 2, sip: "keepalive_s = 0", cti: "" }).await;
        println!("{:<34}{:>6}{:>12}{:>10}{:>10}", "INFO round trip", "users", "1/s", "p50 us", "p99 us");
        for (name, is_local) in [("GetDoNotDisturb, through the PBX", false), ("GetCSTAFeatures, in the gateway", true)]
        {
            for users in [1, 64, 1_000] {
                let users = users.min(most);
                let mut rounds = Vec::new();
                for _ in 0..ROUNDS {
                    let until = Instant::now() + run;
                    let mut took: Vec<u32> =
                        join_all(lab.users[..users].iter().map(|user| one(user, is_local, until))).await.concat();
                    took.sort_unstable();
                    let at = |per_mille: usize| took[(took.len() - 1) * per_mille / 1000];
                    let rate = u64::try_from(took.len()).unwrap_or(u64::MAX) * 1000
                        / u64::try_from(run.as_millis()).unwrap_or(1);
                    rounds.push((rate, at(500), at(990)));
                }
                rounds.sort_unstable();
                let (rate, p50, p99) = rounds[ROUNDS / 2];
                println!("{name:<34}{users:>6}{rate:>12}{p50:>10}{p99:>10}");
            }
        }
        lab.gateway.stop().await;
        lab.pbx.stop().await;
    });
}
