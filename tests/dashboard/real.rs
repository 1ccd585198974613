//! A real pair: two nodes and a witness as processes, a PBX, users who call.

use std::time::Duration;

use futures_util::future::join_all;
use lyncpin::client::{Call, Phase, RccUser};
use lyncpin::lab::pbx::Request;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::browser::{Browser, ENTER, ESCAPE, TAB};
use super::pair::{PATIENCE, Pair, until};

async fn signed_in(pair: &mut Pair, count: usize) -> Vec<RccUser> {
    let users = pair.users(count, 2).await;
    for signed_in in join_all(users.iter().map(RccUser::sign_in)).await {
        signed_in.expect("the user signs in");
    }
    users
}

async fn page(pair: &Pair) -> Browser {
    let browser = Browser::start().await;
    browser.resize(1280, 1000).await;
    browser.open(&format!("http://{}/", pair.admin_address(1))).await;
    browser.until_text("#verdict-title", "All is well").await;
    browser
}

/// A client signs in who is nobody here, and says what it is in a way of its own.
async fn intrude(pair: &Pair) {
    let body = "<?xml version=\"1.0\"?><RequestSystemStatus xmlns=\"http://www.ecma-international.org/standards/ecma-323/csta/ed3\">\
                <extensions><privateData><private><lcs:line xmlns:lcs=\"http://schemas.microsoft.com/Lcs/2005/04/RCCExtension\">\
                tel:+14255559999;ext=9999</lcs:line></private></privateData></extensions></RequestSystemStatus>";
    let invite = format!(
        "INVITE sip:rccgw@localhost SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bKmallory\r\nMax-Forwards: 70\r\n\
         From: <sip:mallory@contoso.com>;tag=m;epid=99\r\nTo: <sip:rccgw@localhost>\r\nCall-ID: mallory\r\n\
         CSeq: 1 INVITE\r\nUser-Agent: <img src=x onerror=\"window.hit=1\">\r\nContact: <sip:127.0.0.1:5060;transport=tcp>\r\n\
         Content-Type: application/csta+xml\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(pair.sip_address(1)).await.unwrap();
    stream.write_all(invite.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let mut read = 0;
    while !String::from_utf8_lossy(&answer[..read]).contains("SIP/2.0 40") {
        let more = stream.read(&mut answer[read..]).await.unwrap();
        assert!(more > 0, "{}", String::from_utf8_lossy(&answer[..read]));
        read += more;
    }
}

async fn refuse(pair: &Pair, link: &str, on: bool) {
    pair.desk(Request::Refuse { link: link.into(), on }).await;
    if on {
        pair.desk(Request::Drop { link: link.into() }).await;
    }
}

pub async fn the_page_follows_a_pair_that_is_hit() {
    let mut pair = Pair::start(8).await;
    let users = signed_in(&mut pair, 8).await;
    let browser = page(&pair).await;
    let nodes = browser.until_text("#nodes", "leads").await;
    assert!(nodes.contains("node1") && nodes.contains("node2") && nodes.contains("Witness"), "{nodes}");
    browser.until_text("#sessions-says", "8 sessions").await;
    browser.until_text("#links", "heartbeat").await;

    // A call appears, and goes, without the list being asked for anew.
    assert!(users[0].make_call(&users[1].line()).await.unwrap().is_done());
    browser.until_text("#sessions", "ringing").await;
    let ringing = |view: &lyncpin::client::CallView| {
        view.calls().iter().find(|call: &&Call| call.phase() == Phase::Alerting).map(|call| call.id.clone())
    };
    let call = users[1].until(PATIENCE, ringing).await.expect("it rings");
    assert!(users[1].answer(&call).await.unwrap().is_done());
    browser.until_text("#sessions", "talking").await;
    browser.run("document.getElementById('only-calls').click()").await;
    browser.until("document.querySelectorAll('#sessions tr').length === 2").await;
    browser.run("document.getElementById('only-calls').click()").await;
    browser
        .run("const s = document.getElementById('search'); s.value = '10004'; s.dispatchEvent(new Event('input'));")
        .await;
    browser.until("document.querySelectorAll('#sessions tr').length === 1").await;
    browser
        .run("const s = document.getElementById('search'); s.value = ''; s.dispatchEvent(new Event('input'));")
        .await;
    browser.until("document.querySelectorAll('#sessions tr').length === 8").await;
    browser.pictures("well").await;

    intrude(&pair).await;
    let refused = browser.until_text("#refusals", "mallory").await;
    assert!(refused.contains("not known here") || refused.contains("Nobody here has this line"), "{refused}");
    assert!(refused.contains("→") || refused.contains("users file") || refused.contains("Line URI"), "{refused}");
    assert!(refused.contains("onerror="), "the client's own words, as words: {refused}");
    browser.until_text("#happened", "mallory").await;

    refuse(&pair, "pbx2", true).await;
    browser.until_text("#verdict-title", "cm1 is down").await;
    let links = browser.until_text("#links", "down").await;
    assert!(links.to_lowercase().contains("next try in"), "{links}");
    browser.pictures("link-down").await;
    refuse(&pair, "pbx2", false).await;
    browser.until_text("#verdict-title", "All is well").await;

    // Everything so far was asked of this node alone, and nothing went wrong.
    let own = format!("http://{}/", pair.admin_address(1));
    let requests = browser.requests().await;
    assert!(requests.len() > 15 && requests.iter().all(|url| url.starts_with(&own)), "{requests:#?}");
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    assert_eq!(browser.is("window.hit ?? null").await, json!(null));

    pair.kill(2);
    browser.until_text("#verdict-title", "node2 does not answer").await;
    browser.until_text("#takeover", "node2 was lost, node1 took over").await;
    browser.until_text("#happened", "node2 does not answer").await;
    browser.until("document.querySelectorAll('[data-node=node2][data-level=bad]').length === 1").await;
    let gap = browser.text("#takeover .gap b").await;
    assert!(gap.ends_with(" ms") || gap.ends_with(" s"), "{gap}");
    browser.pictures("node-down").await;
    pair.restart(2).await;
    browser.until_text("#verdict-title", "All is well").await;

    // The node of the page itself.
    pair.kill(1);
    browser.until_text("#verdict-title", "No connection to node1").await;
    pair.restart(1).await;
    browser.until_text("#connection", "live").await;
    browser.until_text("#verdict-title", "All is well").await;
    pair.stop();
}

/// Goes on with Tab until an element has the focus, which must be seen wherever it is.
async fn tab_to(browser: &Browser, id: &str) {
    let mut passed = Vec::new();
    for _ in 0..20 {
        let focus = browser
            .is("[document.activeElement.id || document.activeElement.className, \
                 getComputedStyle(document.activeElement).outlineStyle, \
                 parseFloat(getComputedStyle(document.activeElement).outlineWidth)]")
            .await;
        // Before the first key nothing has it, and at the end of the page the browser's own parts do.
        let is_seen = focus[1] != "none" && focus[2].as_f64() >= Some(2.0);
        assert!(is_seen || focus[0] == "", "the focus is not seen: {focus}");
        if focus[0] == id {
            return;
        }
        passed.push(focus[0].clone());
        browser.press(&[TAB]).await;
    }
    panic!("{id} is not reached with Tab, these are: {passed:?}");
}

pub async fn a_node_is_drained_with_the_keyboard_alone() {
    let mut pair = Pair::start(6).await;
    let users = signed_in(&mut pair, 6).await;
    let browser = page(&pair).await;
    browser.until_text("#pair-says", "Ready for a switchover").await;

    tab_to(&browser, "drain").await;
    browser.press(&[ENTER]).await;
    let says = browser.until_text("#confirm", "Drain node1?").await;
    assert!(says.contains("node2 takes over") && says.contains("shows red"), "{says}");
    browser.press(&[ESCAPE]).await;
    browser.until("!document.getElementById('confirm').open && document.activeElement.id === 'drain'").await;
    let (_, node) = pair.ctl(1, &["status"]).await;
    assert_eq!(node["node"]["service"]["is_draining"], false, "Escape does nothing");

    browser.press(&[ENTER]).await;
    browser.until("document.activeElement.id === 'operator'").await;
    // Without a name nothing is done: nobody could be asked about it.
    browser.press(&[ENTER]).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(browser.text("#confirm-outcome").await, "");
    browser.type_in("Grace").await;
    tab_to(&browser, "confirm-yes").await;
    browser.press(&[ENTER]).await;
    let outcome = browser.until_text("#confirm-outcome", "Drained to node2").await;
    assert!(outcome.contains("moved. The longest pause was"), "{outcome}");
    assert_eq!(pair.said(1, "\"operator\":\"Grace\""), 1, "the audit line has the name");
    let (_, node) = pair.ctl(1, &["status"]).await;
    let service = &node["node"]["service"];
    assert_eq!((&service["is_draining"], &service["sessions"]), (&json!(true), &json!(0)));
    browser.press(&[ENTER]).await;
    browser.until("!document.getElementById('confirm').open").await;
    browser.until_text("#nodes", "draining").await;
    browser.until_text("#takeover", "node1 gave").await;

    // The button that was used is another one now, and has the focus.
    assert_eq!(browser.is("document.activeElement.id").await, "undrain");
    tab_to(&browser, "undrain").await;
    browser.press(&[ENTER]).await;
    browser.until_text("#confirm-title", "take users again?").await;
    tab_to(&browser, "confirm-yes").await;
    browser.press(&[ENTER]).await;
    browser.until_text("#confirm-outcome", "Takes users again").await;
    browser.press(&[ESCAPE]).await;
    browser.until_text("#verdict-title", "All is well").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    for refreshed in join_all(users.iter().map(RccUser::refresh)).await {
        refreshed.expect("the dialog answers");
    }
    until("nobody signed in again", || users.iter().all(RccUser::is_signed_in)).await;

    // Who drained is gone; the other one still knows of it, once it has been asked for the pair.
    pair.ctl(2, &["status"]).await;
    pair.kill(1);
    let (_, status) = pair.ctl(2, &["status"]).await;
    let last = &status["node"]["service"]["last_takeover"];
    assert_eq!((&last["is_planned"], &last["from"]), (&json!(true), &json!("node1")), "{status:#}");
    pair.stop();
}
