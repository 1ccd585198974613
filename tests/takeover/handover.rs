//! Users who go to the other node on purpose: a switchover, a drain before an upgrade, both nodes by turns. Nobody outside
//! sees an error.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lyncpin::client::{FrontEnd, FrontEndOptions, RccUser, UserOptions};
use lyncpin::csta::Service;

use super::pair::{Pair, run};
use super::{all_go_on, identities, talk};

/// Each user asks this often at least, however busy the machine is.
const ASKED_MIN: usize = 25;

/// Asks one question after the other; how many, and what went wrong.
async fn ask_until(user: &RccUser, end: Instant) -> (usize, Vec<String>) {
    let (mut asked, mut wrong) = (0, Vec::new());
    while Instant::now() < end || asked < ASKED_MIN {
        asked += 1;
        match user.invoke(Service::GetCstaFeatures { line: Some(user.line()) }).await {
            Ok(reply) if reply.is_done() => {}
            Ok(reply) => wrong.push(format!("{}: {:?}", user.name(), reply.refusal())),
            Err(why) => wrong.push(format!("{}: {why}", user.name())),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    (asked, wrong)
}

async fn all_ask(users: &[RccUser], time: Duration) -> impl FnOnce() {
    let end = Instant::now() + time;
    let answers = join_all(users.iter().map(|user| ask_until(user, end))).await;
    move || {
        let asked: usize = answers.iter().map(|(asked, _)| asked).sum();
        let wrong: Vec<&String> = answers.iter().flat_map(|(_, wrong)| wrong).collect();
        assert!(asked > 200, "too little was asked to show anything: {asked}");
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

async fn served_by(pair: &Pair, asked: u32) -> Vec<String> {
    let (_, found) = pair.ctl(asked, &["sessions"]).await;
    let sessions = found["sessions"].as_array().expect("sessions").clone();
    sessions.iter().map(|session| session["node"].as_str().expect("a node").to_owned()).collect()
}

async fn is_ready_for_switchover(pair: &Pair) {
    for _ in 0..500 {
        let (_, status) = pair.ctl(1, &["status"]).await;
        if status["cluster"]["ready_for_switchover"]["is_so"] == true {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{:#}", pair.ctl(1, &["status"]).await.1);
}

#[test]
fn a_switchover_moves_every_session_and_no_request_fails() {
    run(async {
        let mut pair = Pair::start(24).await;
        let users = pair.users(24, 4).await;
        for signed_in in join_all(users.iter().map(RccUser::sign_in)).await {
            signed_in.expect("the user signs in");
        }
        let were = identities(&users);
        for two in users[..8].chunks(2) {
            talk(&two[0], &two[1]).await;
        }
        for (round, from) in [1_u32, 2, 1].into_iter().enumerate() {
            is_ready_for_switchover(&pair).await;
            // One service is on its way to the PBX meanwhile.
            pair.delay(150).await;
            let number = format!("tel:+12065550{round:03}");
            let placing = users[20].make_call(&number);
            let moving = async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                let moved = pair.ctl(from, &["switchover"]).await;
                pair.delay(0).await;
                moved
            };
            let (answered, placed, (is_done, told)) =
                tokio::join!(all_ask(&users[..16], Duration::from_secs(2)), placing, moving);
            answered();
            assert!(placed.expect("an answer").is_done(), "the call is placed");
            assert!(is_done, "{told:#}");
            assert_eq!(told["stayed"], 0, "{told:#}");
            let to = if from == 1 { "node2" } else { "node1" };
            assert!(served_by(&pair, 1).await.iter().all(|node| node == to), "all are served by {to}");
            all_go_on(&pair, &users, &were).await;
            let call = users[20].with_view(|view| view.calls()[0].id.clone());
            assert!(users[20].hang_up(&call).await.unwrap().is_done());
        }
        let dialled = pair.dialled().await;
        for round in 0..3 {
            let times = dialled.iter().filter(|one| one.ends_with(&format!("2065550{round:03}"))).count();
            assert_eq!(times, 1, "round {round}: {dialled:?}");
        }
        pair.stop();
    });
}

#[test]
fn both_nodes_are_restarted_by_turns_and_nobody_notices() {
    run(async {
        let mut pair = Pair::start(26).await;
        let users = pair.users(26, 4).await;
        let (late, users) = users.split_at(2);
        for signed_in in join_all(users.iter().map(RccUser::sign_in)).await {
            signed_in.expect("the user signs in");
        }
        let were = identities(users);
        for two in users[..8].chunks(2) {
            talk(&two[0], &two[1]).await;
        }
        for (round, id) in [1_u32, 2].into_iter().enumerate() {
            is_ready_for_switchover(&pair).await;
            let ending = async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                // Before its connections end: a user who signs in while it hands the others over is taken in elsewhere.
                let signing_in = async {
                    tokio::time::sleep(Duration::from_millis(40)).await;
                    late[round].sign_in().await
                };
                let (signed_in, ()) = tokio::join!(signing_in, pair.end(id));
                signed_in.expect("the late user signs in");
            };
            let (answered, ()) = tokio::join!(all_ask(&users[..16], Duration::from_secs(3)), ending);
            answered();
            pair.restart(id).await;
        }
        // The views of the late ones are another matter: their phones are the first two.
        for refreshed in join_all(users.iter().chain(late).map(RccUser::refresh)).await {
            refreshed.expect("the dialog answers");
        }
        assert_eq!(identities(users), were);
        pair.nothing_was_dialled_twice().await;
        pair.stop();
    });
}

#[test]
fn a_drained_node_takes_nobody_in_until_it_is_told_to() {
    run(async {
        let mut pair = Pair::start(8).await;
        let users = pair.users(8, 2).await;
        is_ready_for_switchover(&pair).await;
        let (is_done, told) = pair.ctl(1, &["drain"]).await;
        assert!(is_done, "{told:#}");
        for signed_in in join_all(users.iter().map(RccUser::sign_in)).await {
            signed_in.expect("over either node's connections");
        }
        assert_eq!(served_by(&pair, 1).await, vec!["node2"; 8]);
        let (is_done, told) = pair.ctl(2, &["drain"]).await;
        assert!(!is_done && told["error"].as_str().is_some_and(|why| why.contains("draining")), "{told:#}");
        assert!(pair.ctl(1, &["undrain"]).await.0);
        let (is_done, told) = pair.ctl(2, &["drain"]).await;
        assert!(is_done && told["moved"] == 8, "{told:#}");
        assert_eq!(served_by(&pair, 2).await, vec!["node1"; 8]);
        all_go_on(&pair, &users, &identities(&users)).await;
        pair.stop();
    });
}

#[test]
fn a_sign_in_at_the_other_node_ends_the_older_session_of_its_endpoint() {
    run(async {
        let pair = Pair::start(2).await;
        // The same computer, once over each node: the second time its front end came to the other one.
        let one = |n: u32| {
            let front_end = FrontEnd::new(FrontEndOptions::front_end(&format!("fe{n:02}.contoso.com")));
            let mut options =
                UserOptions::new("sip:user10001@contoso.com", "tel:+142555510001;ext=10001", "sip:rccgw@localhost");
            options.epid = "0123456789".to_owned();
            (front_end.clone(), front_end.user(options))
        };
        let ((first_end, first), (second_end, second)) = (one(1), one(2));
        let _kept = (
            first_end.connect(pair.sip_address(1)).await.unwrap(),
            second_end.connect(pair.sip_address(2)).await.unwrap(),
        );
        first.sign_in().await.expect("signs in");
        assert_eq!(served_by(&pair, 2).await, ["node1"]);
        second.sign_in().await.expect("signs in again");
        let mut served = Vec::new();
        for _ in 0..500 {
            served = served_by(&pair, 1).await;
            if served.len() == 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(served, ["node2"]);
        second.refresh().await.expect("the newer one goes on");
        pair.stop();
    });
}
