//! Many, or slow: connections left idle, peers that do not read, floods of strangers.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::raw::{Raw, invite, one_shot, options, statuses};
use crate::rig::{account, line, run, until};

#[test]
fn two_thousand_idle_connections_cost_little_and_go_as_they_came() {
    run("", "flows_per_peer_max = 3000", async |rig| {
        rig.under(async {
            let before = rig.flows_count();
            let mut idle = Vec::new();
            for _ in 0..2_000 {
                idle.push(TcpStream::connect(rig.address()).await.unwrap());
            }
            until("all are carried", || rig.flows_count() == before + 2_000).await;
            drop(idle);
            until("all are gone", || rig.flows_count() == before).await;
        })
        .await;
    });
}

#[test]
fn one_address_and_all_together_have_so_many_connections_and_no_more() {
    for limits in ["flows_per_peer_max = 20", "flows_max = 20\nflows_per_peer_max = 20"] {
        run("", limits, async |rig| {
            rig.under(async {
                let mut taken = Vec::new();
                for _ in 0..19 {
                    let mut raw = Raw::connect(rig.address()).await;
                    assert!(raw.is_open().await);
                    taken.push(raw);
                }
                for _ in 0..50 {
                    assert_eq!(one_shot(rig.address(), options("more", ""), false).await, []);
                }
                assert!(taken[0].is_open().await, "who is in stays in");
                taken.pop();
                until("the place is given back", || rig.flows_count() == 19).await;
                assert_eq!(statuses(&one_shot(rig.address(), options("again", ""), true).await), [200]);
            })
            .await;
        });
    }
}

#[test]
fn a_peer_that_reads_nothing_loses_its_connection_not_our_memory() {
    run("", "", async |rig| {
        rig.under(async {
            let mut deaf = Raw::connect(rig.address()).await;
            let flood = options("deaf", "").repeat(200);
            let mut bytes = 0;
            // Far more than every buffer on the way: the answers go nowhere.
            while bytes < 200 * 1024 * 1024 {
                if tokio::io::AsyncWriteExt::write_all(&mut deaf.writer, flood.as_bytes()).await.is_err() {
                    break;
                }
                bytes += flood.len();
            }
            assert!(bytes < 200 * 1024 * 1024, "the flow is still open");
            until("it is counted", || rig.counted("flow_end", "too_slow") == 1).await;
        })
        .await;
    });
}

#[test]
fn a_flood_of_sign_ins_by_unknown_users_leaves_nothing_behind() {
    run("", "", async |rig| {
        rig.under(async {
            let flood: String = (0..3_000)
                .map(|at| match at % 3 {
                    0 => invite(&format!("sip:nobody{at}@contoso.com"), &line(5103), &format!("u{at}"), ""),
                    1 => invite(&account(2).user, "tel:+19995550000", &format!("l{at}"), ""),
                    _ => invite(&account(2).user, &line(5104), &format!("o{at}"), ""),
                })
                .collect();
            let mut raw = Raw::connect(rig.address()).await;
            for answer in raw.flood(flood, 3_000).await {
                let expected = if answer.headers.call_id().unwrap().starts_with('l') { 404 } else { 403 };
                assert_eq!(answer.status(), Some(expected), "{answer:?}");
            }
            for name in ["user_unknown", "line_unknown", "line_not_allowed"] {
                assert_eq!(rig.counted("sign_in_refused", name), 1_000, "{name}");
            }
        })
        .await;
    });
}

#[test]
fn whoever_is_not_trusted_gets_nothing() {
    run("trusted_peers = [\"192.0.2.1\"]", "", async |rig| {
        for text in [options("a", ""), invite(&account(0).user, &account(0).line, "a", "")] {
            assert_eq!(one_shot(rig.address(), text, false).await, []);
        }
        assert_eq!((rig.flows_count(), rig.sessions_count()), (0, 0));
    });
}

/// A certificate of its own authority, for `localhost`.
fn certificate(folder: &std::path::Path) -> String {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    format!("[sip.tls]\ncert = \"{}\"\nkey = \"{}\"\nca = \"{}\"", cert.display(), key.display(), cert.display())
}

#[test]
fn handshakes_left_half_done_keep_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let limits = format!("handshakes_max = 4\nhandshake_timeout_s = 1\n{}", certificate(folder.path()));
    run("listen = [\"tcp://127.0.0.1:0\", \"tls://127.0.0.1:0\"]", &limits, async |rig| {
        rig.under(async {
            let tls = rig.gateway.addresses()[1];
            // SIP in the clear where TLS is spoken.
            let mut plain = TcpStream::connect(tls).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut plain, options("clear", "").as_bytes()).await.unwrap();
            let mut said = Vec::new();
            let _ = plain.read_to_end(&mut said).await;
            assert!(!said.windows(3).any(|bytes| bytes == b"SIP"), "{said:?}");
            let mut silent = Vec::new();
            for _ in 0..40 {
                silent.push(TcpStream::connect(tls).await.unwrap());
            }
            for mut socket in silent {
                let mut said = Vec::new();
                let read = tokio::time::timeout(crate::rig::PATIENCE, socket.read_to_end(&mut said)).await;
                assert!(read.is_ok() && said.is_empty(), "closed by its deadline, without a word");
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        })
        .await;
    });
}
