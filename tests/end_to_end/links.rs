//! Ways out: several links, their features, and a DMCC session that outlives its connection.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use lyncpin::client::FrontEndOptions;
use lyncpin::cti::{Address, BoxedStream, Connecting, Connector, TcpConnector};
use lyncpin::gateway::Options;
use lyncpin::lab::pbx::{Happening, PbxOptions, Request, SessionTurn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

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

fn dmcc() -> Wanted<'static> {
    let cti = "address = \"dmcc://ADDRESS\"\nuser = \"lyncpin\"\npassword_file = \"FOLDER/password\"\n\
               switch_name = \"CM1\"\nbackoff_min_ms = 20\n";
    Wanted { cti, ..Wanted::default() }
}

fn with_password() -> Files {
    let files = Files::new();
    std::fs::write(files.path("password"), "secret\n").unwrap();
    files
}

fn credentials(pbx: &mut PbxOptions) {
    pbx.credentials = Some(("lyncpin".into(), "secret".into()));
}

/// How often the PBX saw an application session take this turn.
async fn turns(rig: &crate::rig::Rig, wanted: SessionTurn) -> usize {
    let is_wanted = |what: &Happening| matches!(what, Happening::Session { turn, .. } if *turn == wanted);
    rig.history().await.iter().filter(|entry| is_wanted(&entry.what)).count()
}

#[test]
fn a_dmcc_session_outlives_its_connection_and_nothing_is_monitored_twice() {
    run(dmcc(), credentials, with_password(), async |rig| {
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
fn what_a_dmcc_session_missed_while_it_had_no_connection_is_shown_afterwards() {
    run(dmcc(), credentials, with_password(), async |rig| {
        let front_end = rig.front_end(FrontEndOptions::front_end("fe01.contoso.com")).await;
        let (alice, bob) = (front_end.user(account(0)), front_end.user(account(1)));
        alice.sign_in().await.unwrap();
        bob.sign_in().await.unwrap();
        let (call, theirs) = talk(&alice, &bob).await;
        let link = rig.gateway.node().links.iter().next().unwrap().clone();
        for round in 1..=3 {
            let id = rig.pbx_link(0);
            rig.desk(Request::Refuse { link: id.clone(), on: true }).await;
            rig.desk(Request::Drop { link: id.clone() }).await;
            until("the link is down", || !link.is_up()).await;
            // A call comes, and the first time one goes; nobody tells.
            rig.desk(Request::Ring { device: "5101".into(), from: Some("+14165550199".into()) }).await;
            if round == 1 {
                rig.desk(Request::Hangup { device: "5102".into(), call: None }).await;
            }
            rig.desk(Request::Refuse { link: id, on: false }).await;
            let rings = alice.until(PATIENCE, |view| {
                view.calls().iter().find(|shown| shown.id != call).map(|shown| shown.id.clone())
            });
            let rings = rings.await.expect("it rings");
            for (user, id) in [(&alice, &call), (&bob, &theirs)] {
                user.until(PATIENCE, |view| view.phase(id).is_none().then_some(()))
                    .await
                    .expect("the old call is over");
            }
            rig.desk(Request::Hangup { device: "5101".into(), call: Some(rings) }).await;
            alice.until(PATIENCE, |view| view.calls().is_empty().then_some(())).await.expect("the event of its end");
            one_call(&bob, &alice).await;
            assert_eq!((turns(rig, SessionTurn::Started).await, turns(rig, SessionTurn::Resumed).await), (1, round));
            assert_eq!(rig.asked("MonitorStart").await, 2, "the monitors of before tell it");
        }
        is_clean(&[&alice, &bob]);
    });
}

#[test]
fn a_dmcc_session_that_cannot_be_resumed_is_begun_anew_and_everybody_is_monitored_again() {
    run(dmcc(), credentials, with_password(), async |rig| {
        let front_end = rig.front_end(FrontEndOptions::front_end("fe01.contoso.com")).await;
        let (alice, bob) = (front_end.user(account(0)), front_end.user(account(1)));
        alice.sign_in().await.unwrap();
        bob.sign_in().await.unwrap();
        let (who, ups) = ((alice.remote_tag(), alice.xref()), rig.gateway.node().counters.value("link", "up"));
        rig.desk(Request::Restart { link: None, forget_calls: false }).await;
        until("the link went and came", || rig.gateway.node().counters.value("link", "up") > ups).await;
        until("all are in service", || [&alice, &bob].iter().all(|user| user.with_view(|view| view.is_in_service)))
            .await;
        one_call(&alice, &bob).await;
        one_call(&bob, &alice).await;
        assert_eq!((alice.remote_tag(), alice.xref()), who);
        assert_eq!((turns(rig, SessionTurn::Started).await, rig.asked("MonitorStart").await), (2, 4));
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
            until("the features are known", || rig.gateway.node().links.iter().all(|link| link.features().is_some()))
                .await;
            let alice = front_end.user(account(0));
            let signed_in = alice.sign_in().await.unwrap();
            let offered = lyncpin::lab::pbx::features();
            let gateway = lyncpin::csta::Features::standard();
            assert_eq!(signed_in.features, gateway.intersect(&offered), "what both can do");
        },
    );
}

/// The PBX behind every link but the first offers no DeflectCall: its word for it becomes one that nobody carries.
#[derive(Default)]
struct Lesser(OnceLock<u16>);

impl Connector for Lesser {
    fn connect(&self, address: &Address) -> Connecting {
        let is_first = *self.0.get_or_init(|| address.port) == address.port;
        let connecting = TcpConnector.connect(address);
        Box::pin(async move {
            let pbx = connecting.await?;
            if is_first {
                return Ok(pbx);
            }
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            let (mut from_pbx, mut to_pbx) = tokio::io::split(pbx);
            let (mut from_us, mut to_us) = tokio::io::split(theirs);
            tokio::spawn(async move { tokio::io::copy(&mut from_us, &mut to_pbx).await });
            tokio::spawn(async move {
                // ECMA-323 Annex J.2: two bytes of version, two of length, the length counting itself.
                let mut head = [0; 4];
                while from_pbx.read_exact(&mut head).await.is_ok() {
                    let mut rest = vec![0; usize::from(u16::from_be_bytes([head[2], head[3]])) - head.len()];
                    from_pbx.read_exact(&mut rest).await?;
                    let found = rest.windows(11).position(|word| word == b"deflectCall");
                    found.into_iter().for_each(|at| rest[at..at + 11].copy_from_slice(b"xxflectCall"));
                    to_us.write_all(&[&head[..], &rest].concat()).await?;
                }
                std::io::Result::Ok(())
            });
            Ok(Box::new(ours) as BoxedStream)
        })
    }
}

#[test]
fn each_user_is_offered_what_the_pbx_of_its_own_link_offers() {
    let options = Options { arbiters: 2, cti_connector: Some(Arc::new(Lesser::default())), ..Options::default() };
    run(
        Wanted { links: 2, options, ..Wanted::default() },
        |_| {},
        Files::new(),
        async |rig| {
            until("both have said", || rig.gateway.node().links.iter().all(|link| link.features().is_some())).await;
            let front_end = rig.front_end(FrontEndOptions::front_end("fe01.contoso.com")).await;
            let mut offers = BTreeMap::new();
            // So many because a session may be asked before its link has told it anything.
            for n in 0..200 {
                let user = front_end.user(account(n % 4));
                let features = user.sign_in().await.unwrap().features;
                let key = format!("session/{}", user.remote_tag().unwrap());
                let session = rig.gateway.node().records.load::<lyncpin::machine::session::Session>(&key).unwrap();
                let has = |leaf: &str| features.services.iter().any(|(_, leaves)| leaves.iter().any(|own| own == leaf));
                let link = session.unwrap().value.link;
                offers.entry(link).or_insert_with(Vec::new).push(["makeCall", "deflectCall", "xxflectCall"].map(has));
                user.sign_out().await.unwrap();
                is_clean(&[&user]);
            }
            let expected = [("cm0", [true, true, false]), ("cm1", [true, false, false])];
            assert_eq!(offers, expected.map(|(link, has)| (link.to_owned(), vec![has; 100])).into());
        },
    );
}
