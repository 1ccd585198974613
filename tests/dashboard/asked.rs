//! The token, and a node that goes away.

use std::net::SocketAddr;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::browser::{Browser, ENTER};
use super::told::Door;

pub async fn the_token_is_asked_for_and_kept_in_the_tab(browser: &Browser) {
    let door = Door::open("", Some("a long enough token")).await;
    browser.open(&door.url()).await;
    browser.until("document.activeElement.id === 'token'").await;
    assert_eq!(browser.is("document.getElementById('main').checkVisibility()").await, false);
    browser.type_in("a wrong token").await;
    browser.press(&[ENTER]).await;
    browser.until_text("#sign-in-problem", "wrong").await;
    browser.type_in("a long enough token").await;
    browser.press(&[ENTER]).await;
    browser.until_text("#verdict-title", "All is well").await;
    browser.until_text("#connection", "live").await;
    browser.open(&door.url()).await;
    browser.until_text("#verdict-title", "All is well").await;
    let kept = "[localStorage.length, document.cookie, location.href.includes('token')]";
    assert_eq!(browser.is(kept).await, json!([0, "", false]));
    // The refusals of before are the only complaints.
    let others = browser.complaints().await.into_iter().filter(|one| !one.contains("401")).collect::<Vec<_>>();
    assert_eq!(others, Vec::<String>::new());
    browser.run("sessionStorage.clear()").await;
}

pub async fn a_lost_node_is_told_and_found_again(browser: &Browser) {
    let mut door = Door::open("", None).await;
    browser.open(&door.url()).await;
    browser.until_text("#verdict-title", "All is well").await;
    door.shut();
    browser.until_text("#verdict-title", "No connection to node1").await;
    browser.until_text("#connection", "trying again").await;
    browser.until_text("#verdict-says", "may be over").await;
    assert!(browser.is("document.title").await.as_str().is_some_and(|title| title.starts_with('?')));
    browser.pictures("lost").await;
    door.open_again().await;
    browser.until_text("#verdict-title", "All is well").await;
    browser.until_text("#connection", "live").await;
    // It follows again: what it missed is told as missed, and the next thing is heard of.
    browser.until_text("#happened", "missed").await;
    door.desk.change(|told| told["cluster"]["leader"] = json!(2));
    browser.until_text("#happened", "node2 leads").await;
    browser.complaints().await;
}

/// One connection: what comes while the way is held goes on later.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut is_held: watch::Receiver<bool>) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(read) = from.read(&mut bytes).await
        && read > 0
        && is_held.wait_for(|is_held| !is_held).await.is_ok()
        && to.write_all(&bytes[..read]).await.is_ok()
    {}
}

/// A way to a node that can be held: connections are taken, and nothing goes through. So looks a frozen node from outside.
async fn way_to(node: SocketAddr) -> (SocketAddr, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (hold, is_held) = watch::channel(false);
    tokio::task::spawn_local(async move {
        while let Ok((near, _)) = listener.accept().await {
            let Ok(far) = TcpStream::connect(node).await else { continue };
            let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
            tokio::task::spawn_local(pass(from_near, to_far, is_held.clone()));
            tokio::task::spawn_local(pass(from_far, to_near, is_held.clone()));
        }
    });
    (address, hold)
}

pub async fn a_node_that_says_nothing_is_told_too(browser: &Browser) {
    let door = Door::open("", None).await;
    let (way, hold) = way_to(door.address()).await;
    browser.open(&format!("http://{way}/")).await;
    browser.until_text("#verdict-title", "All is well").await;
    hold.send_replace(true);
    browser.until_text("#verdict-title", "No connection to node1").await;
    browser.until_text("#connection", "trying again").await;
    hold.send_replace(false);
    browser.until_text("#verdict-title", "All is well").await;
    browser.until_text("#connection", "live").await;
    browser.complaints().await;
}
