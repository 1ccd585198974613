//! Who may sign in: stations, endpoints, limits, draining, and users who come and go with their file.

use lyncpin::client::{SignInError, Unanswered, UserOptions};
use lyncpin::directory::Reload;
use lyncpin::lab::pbx::Request;

use crate::rig::{PATIENCE, account, config_text, line, one_call, run, run_with, until};

fn status_of(result: Result<lyncpin::client::SignedIn, SignInError>) -> (u16, Option<u32>) {
    match result {
        Err(SignInError::Invite(Unanswered::Sip { status, retry_after_s, .. })) => (status, retry_after_s),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_station_is_one_users_on_as_many_computers_as_that_user_likes() {
    let shared = format!("\n[[user]]\nsip = \"sip:zoe@contoso.com\"\nline = \"{}\"\ndevice = \"5103\"\n", line(5103));
    run_with(&(config_text("", "") + &shared), crate::rig::two_threads(), async |rig| {
        rig.under(async {
            let (_home, carol) = rig.user(2).await;
            let (_work, carol_too) = rig.user_with(UserOptions { epid: "aaaa".into(), ..account(2) }).await;
            carol.sign_in().await.unwrap();
            carol_too.sign_in().await.unwrap();
            assert_ne!((carol.xref(), carol.remote_tag()), (carol_too.xref(), carol_too.remote_tag()));
            let (_elsewhere, zoe) =
                rig.user_with(UserOptions { user: "sip:zoe@contoso.com".into(), ..account(2) }).await;
            assert_eq!(status_of(zoe.sign_in().await).0, 403);
            assert_eq!(rig.counted("sign_in_refused", "station_in_use_by_another_user"), 1);
            // Both computers see the call.
            let (_third, dave) = rig.user(3).await;
            dave.sign_in().await.unwrap();
            let events = carol_too.events();
            one_call(&dave, &carol).await;
            carol_too.until(crate::rig::PATIENCE, |view| view.calls().is_empty().then_some(())).await.unwrap();
            until("the other computer was told", || carol_too.events() > events).await;
            for user in [&carol, &carol_too] {
                assert_eq!(user.violations(), []);
                user.sign_out().await.unwrap();
            }
            zoe.sign_in().await.expect("the station is free");
            zoe.sign_out().await.unwrap();
            dave.sign_out().await.unwrap();
        })
        .await;
    });
}

#[test]
fn a_sign_in_on_the_same_endpoint_takes_the_older_ones_place() {
    run("", "", async |rig| {
        rig.under(async {
            let (_before, old) = rig.user(2).await;
            old.sign_in().await.unwrap();
            let (_after, new) = rig.user(2).await;
            new.sign_in().await.unwrap();
            until("the older one is over", || rig.counted("session_end", "superseded") == 1).await;
            assert!(matches!(old.refresh().await, Err(Unanswered::Sip { status: 481, .. })));
            let (_third, dave) = rig.user(3).await;
            dave.sign_in().await.unwrap();
            one_call(&dave, &new).await;
            assert_eq!(new.violations(), []);
            new.sign_out().await.unwrap();
            dave.sign_out().await.unwrap();
        })
        .await;
    });
}

#[test]
fn who_comes_when_the_gateway_is_full_or_draining_is_sent_elsewhere_and_who_is_in_goes_on() {
    run("sessions_max = 3", "", async |rig| {
        rig.under(async {
            let (_one, carol) = rig.user(2).await;
            let (_two, dave) = rig.user(3).await;
            carol.sign_in().await.unwrap();
            assert_eq!(status_of(dave.sign_in().await), (503, Some(60)));
            assert_eq!(rig.counted("sign_in_refused", "full"), 1);
            carol.sign_out().await.unwrap();
            until("the place is free", || rig.gateway.node().sessions.get().unwrap().children_count() == 2).await;
            dave.sign_in().await.expect("a place is free");
            dave.sign_out().await.unwrap();
            rig.gateway.drain();
            assert_eq!(status_of(carol.sign_in().await), (503, Some(60)));
            let mut raw = crate::raw::Raw::connect(rig.address()).await;
            assert_eq!(raw.ask(crate::raw::options("health", "")).await, Some(503));
        })
        .await;
    });
}

#[test]
fn users_come_and_go_with_their_file_while_sessions_live() {
    let file = "[users]\nfile = \"FOLDER/users.csv\"\nreload_s = 0\n";
    let config = format!("{file}{}", config_text("", ""));
    let users = |names: &[(&str, u16)]| {
        let rows = names.iter().map(|(name, at)| format!("sip:{name}@contoso.com,{},{at}\n", line(*at)));
        format!("sip,line,device\n{}", rows.collect::<String>())
    };
    crate::rig::run_in(
        &config,
        crate::rig::two_threads(),
        |folder| {
            std::fs::write(folder.join("users.csv"), users(&[("gina", 5107)])).unwrap();
        },
        async |rig| {
            rig.under(async {
                let options = |name: &str, at| {
                    UserOptions::new(format!("sip:{name}@contoso.com"), line(at), "sip:rccgw@localhost")
                };
                let (_one, gina) = rig.user_with(options("gina", 5107)).await;
                let (_two, hugo) = rig.user_with(options("hugo", 5108)).await;
                gina.sign_in().await.unwrap();
                assert_eq!(status_of(hugo.sign_in().await).0, 403);
                let write = |text: &str| std::fs::write(rig.folder.path().join("users.csv"), text).unwrap();
                write(&users(&[("hugo", 5108)]));
                assert!(matches!(rig.reload(), Reload::Loaded { .. }));
                hugo.sign_in().await.expect("hugo is there now");
                // A broken file changes nothing.
                write("sip,line\n\"");
                assert!(matches!(rig.reload(), Reload::Kept { .. }));
                // Gina's phone still rings on her screen.
                rig.pbx().control(Request::Ring { device: "5107".into(), from: None }).await;
                let call = gina.until(PATIENCE, |view| Some(view.calls().first()?.id.clone())).await.unwrap();
                assert!(gina.answer(&call).await.unwrap().is_done());
                assert!(gina.hang_up(&call).await.unwrap().is_done());
                // Gina's session ends with her next refresh, not in the middle of a call.
                assert!(matches!(gina.refresh().await, Err(Unanswered::Sip { status: 403, .. })));
                until("her session is over", || rig.counted("session_end", "closed") == 1).await;
                hugo.refresh().await.unwrap();
                assert_eq!(hugo.violations(), []);
                hugo.sign_out().await.unwrap();
            })
            .await;
        },
    );
}
