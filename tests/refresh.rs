//! An hour and more by tokio's paused clock: refreshes by each product's own rule, keep-alives, expiry. The whole gateway, the
//! simulated PBX and the clients run on one thread; loopback delivers at once, so the clock only jumps when all are idle.

mod support;

use std::time::Duration;

use lyncpin::client::{FrontEnd, FrontEndOptions, Product, RccUser, UserOptions};
use lyncpin::lab::pbx::{Reply, Request};
use support::{FIRST, Lab, Plan, line};

fn paused(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime.expect("a runtime"), test);
}

/// Its refresh by its own rule until `hours` are over.
async fn stay(user: &RccUser, hours: u64) -> usize {
    let end = tokio::time::Instant::now() + Duration::from_secs(hours * 3600);
    let mut refreshes = 0;
    loop {
        let pause = user.refresh_in().expect("a session timer was agreed");
        if tokio::time::Instant::now() + pause > end {
            tokio::time::sleep_until(end).await;
            return refreshes;
        }
        tokio::time::sleep(pause).await;
        user.refresh().await.expect("the refresh is answered");
        refreshes += 1;
    }
}

#[test]
fn every_product_stays_signed_in_for_hours_by_its_own_refresh() {
    // RFC 4028; re-INVITE every 10 minutes before OCS 2007 R2, UPDATE every 25 minutes since.
    paused(async {
        let lab = Lab::start(Plan { users: 8, links: 1, arbiters: 0, sip: "keepalive_s = 60", cti: "" }).await;
        let front_end = FrontEnd::new(FrontEndOptions::direct());
        front_end.connect(lab.gateway.addresses()[0]).await.expect("connected");
        for (n, product) in Product::ALL.into_iter().enumerate() {
            // The same user at another computer, with this product.
            let n = FIRST + n;
            let mut options =
                UserOptions::new(format!("sip:user{n}@contoso.com"), line(n), "sip:rccgw@rccgw.contoso.com");
            options.product = product;
            options.epid = format!("{n:08x}aa");
            let user = front_end.user(options);
            user.sign_in().await.expect("signed in");
            let dialog = (user.remote_tag(), user.xref(), user.call_id());
            let seen = user.events();
            let refreshes = stay(&user, 3).await;
            assert!(refreshes >= 3 * 2, "{product:?} refreshed {refreshes} times");
            // One a minute, but for those that a refresh puts off.
            let keepalives = user.keepalives();
            assert!((150..=180).contains(&keepalives), "{product:?} was sent {keepalives} keep-alives in three hours");
            let rung = lab.desk(Request::Ring { device: n.to_string(), from: Some("+12065550100".into()) }).await;
            assert!(matches!(rung, Reply::Call { .. }), "{rung:?}");
            user.until(Duration::from_secs(10), |view| (!view.calls().is_empty()).then_some(()))
                .await
                .expect("it rings");
            assert_eq!((user.remote_tag(), user.xref(), user.call_id()), dialog, "{product:?}");
            assert!(user.events() > seen);
            assert_eq!(user.violations(), [], "{product:?}");
        }
        lab.gateway.stop().await;
        lab.pbx.stop().await;
    });
}

#[test]
fn a_client_that_stops_refreshing_is_let_go_after_its_interval_and_grace() {
    paused(async {
        let lab = Lab::start(Plan { users: 2, links: 1, arbiters: 0, sip: "session_grace_s = 60", cti: "" }).await;
        let node = lab.gateway.node().clone();
        assert_eq!(node.book.sessions_count(), 2);
        tokio::time::sleep(Duration::from_secs(1800 + 30)).await;
        assert_eq!(node.book.sessions_count(), 2, "not before the grace is over");
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(node.book.sessions_count(), 0);
        assert_eq!(node.counters.value("session_end", "expired"), 2);
        lab.gateway.stop().await;
        lab.pbx.stop().await;
    });
}
