//! Ways out: several links, their features, and a DMCC session that outlives its connection.

use lyncpin::client::FrontEndOptions;
use lyncpin::lab::pbx::Request;

use crate::rig::{Files, PATIENCE, Wanted, account, is_clean, one_call, run, talk, until};

#[test]
fn sessions_go_round_robin_over_the_links_that_are_up_and_stay_there() {
    run(
        Wanted { links: 3, ..Wanted::default() },
        |_| {},
        Files::new(),
        async |rig| {
            let front_end = rig.front_end(FrontEndOptions::front_end("fe01.contoso.com")).await;
            let users: Vec<_> = (0..8).map(|n| front_end.user(account(n))).collect();
            let links = || {
                let records = rig.gateway.node().records.load_all::<lyncpin::machine::session::Session>("session/");
                let mut links: Vec<_> =
                    records.map(|session| session.unwrap().value).map(|s| (s.appearance.sip.clone(), s.link)).collect();
                links.sort();
                links
            };
            for user in &users[..6] {
                user.sign_in().await.unwrap();
            }
            let first: Vec<String> = links().into_iter().map(|(_, link)| link).collect();
            for link in ["cm0", "cm1", "cm2"] {
                assert_eq!(first.iter().filter(|own| *own == link).count(), 2, "{first:?}");
            }
            let before = links();
            rig.desk(Request::Refuse { link: rig.pbx_link(1), on: true }).await;
            rig.desk(Request::Drop { link: rig.pbx_link(1) }).await;
            until("the link is down", || !rig.gateway.node().links.iter().nth(1).unwrap().is_up()).await;
            for user in &users[6..] {
                user.sign_in().await.unwrap();
            }
            assert!(links().iter().skip(6).all(|(_, link)| link != "cm1"), "{:?}", links());
            rig.desk(Request::Heal { link: None }).await;
            until("the link is back", || rig.gateway.node().links.iter().all(|link| link.is_up())).await;
            assert_eq!(links().iter().filter(|own| before.contains(own)).count(), 6, "nobody has moved");
            one_call(&users[0], &users[1]).await;
            one_call(&users[1], &users[2]).await;
            is_clean(&users.iter().collect::<Vec<_>>());
        },
    );
}

#[test]
fn a_dmcc_session_outlives_its_connection_and_nothing_is_monitored_twice() {
    let files = Files::new();
    std::fs::write(files.path("password"), "secret\n").unwrap();
    let cti = "address = \"dmcc://ADDRESS\"\nuser = \"lyncpin\"\npassword_file = \"FOLDER/password\"\n\
               switch_name = \"CM1\"\nbackoff_min_ms = 20\n";
    let credentials = |pbx: &mut lyncpin::lab::pbx::PbxOptions| {
        pbx.credentials = Some(("lyncpin".into(), "secret".into()));
    };
    run(Wanted { cti, ..Wanted::default() }, credentials, files, async |rig| {
        let front_end = rig.front_end(FrontEndOptions::front_end("fe01.contoso.com")).await;
        let (alice, bob) = (front_end.user(account(0)), front_end.user(account(1)));
        alice.sign_in().await.unwrap();
        bob.sign_in().await.unwrap();
        one_call(&alice, &bob).await;
        let (call, theirs) = talk(&alice, &bob).await;
        let monitors = rig.asked("MonitorStart").await;
        assert_eq!(monitors, 2);
        let ups = rig.gateway.node().counters.value("link", "up");
        rig.desk(Request::Drop { link: rig.pbx_link(0) }).await;
        until("the link went and came", || rig.gateway.node().counters.value("link", "up") > ups).await;
        // An event of the monitor that was there before.
        rig.desk(Request::Hangup { device: "5102".into(), call: None }).await;
        for (user, id) in [(&alice, &call), (&bob, &theirs)] {
            user.until(PATIENCE, |view| view.phase(id).is_none().then_some(())).await.expect("the call ends");
        }
        assert_eq!(rig.asked("MonitorStart").await, monitors, "the session was resumed with its monitors");
        one_call(&bob, &alice).await;
        is_clean(&[&alice, &bob]);
    });
}

#[test]
fn features_are_those_of_the_pbx() {
    run(
        Wanted::default(),
        |_| {},
        Files::new(),
        async |rig| {
            let front_end = rig.front_end(FrontEndOptions::front_end("fe01.contoso.com")).await;
            let alice = front_end.user(account(0));
            let signed_in = alice.sign_in().await.unwrap();
            until("the features are known", || rig.gateway.node().links.iter().all(|link| link.features().is_some()))
                .await;
            let offered = lyncpin::lab::pbx::features();
            let gateway = lyncpin::csta::Features::standard();
            assert_eq!(signed_in.features, gateway.intersect(&offered), "what both can do");
        },
    );
}
