//! Behind HAProxy, with the files of `deploy/haproxy`.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use lyncpin::client::FrontEnd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::front_end::front_end;
use crate::laboratory::Laboratory;
use crate::pair::{self, NodeOptions, Pair, free_address, until};
use crate::part::{Part, is_here, shipped};
use crate::scenario::{Proxy, Site, behind};

struct Haproxy {
    part: Part,
    address: SocketAddr,
}

impl Haproxy {
    async fn start_with(pair: &Pair, file: &str, replacements: &[(&str, String)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = free_address();
        let text = shipped(
            file,
            &[
                replacements,
                &[
                    ("192.0.2.20:5065", address.to_string()),
                    ("192.0.2.31:5065", pair.sip(1).to_string()),
                    ("192.0.2.32:5065", pair.sip(2).to_string()),
                    ("/run/haproxy/lyncpin.sock", socket(folder.path())),
                    ("log /dev/log local0", "log stdout format raw local0".into()),
                    ("maxconn 45000", "maxconn 500".into()),
                    // The example's own advice to the nodes.
                    ("192.0.2.1", "127.0.0.1".into()),
                    ("192.0.2.30", "127.0.0.1".into()),
                ],
            ]
            .concat(),
        );
        std::fs::write(folder.path().join("haproxy.cfg"), text).unwrap();
        let part = Part::start("haproxy", folder, |folder| {
            vec!["-db".into(), "-f".into(), folder.join("haproxy.cfg").display().to_string()]
        });
        let haproxy = Self { part, address };
        for id in 1..=2 {
            haproxy.until_up(id).await;
        }
        haproxy
    }
}

impl Proxy for Haproxy {
    const NAME: &str = "haproxy";
    const USERS: usize = 24;
    const TALKING: usize = 12;

    fn nodes() -> NodeOptions<'static> {
        NodeOptions {
            scheme: "tcp",
            sip: "contact_port = 5065\nbalancers = [\"127.0.0.1\"]\ntrusted_peers = [\"127.0.0.1\"]\nkeepalive_s = 0"
                .into(),
            sections: String::new(),
            voter: None,
        }
    }

    async fn start(pair: &Pair) -> Self {
        Self::start_with(pair, "haproxy/tcp.cfg", &[]).await
    }

    async fn front_ends(&self) -> Vec<FrontEnd> {
        join_all((0..3).map(|_| front_end(Ipv4Addr::LOCALHOST.into(), self.address))).await
    }

    fn is_up(&self, id: u32) -> bool {
        let Ok(mut stream) = UnixStream::connect(socket(self.part.folder())) else { return false };
        stream.write_all(b"show stat\n").unwrap();
        let mut csv = String::new();
        stream.read_to_string(&mut csv).unwrap();
        let row = csv.lines().find(|row| row.starts_with(&format!("pair,node{id},")));
        // Column 17 is the status, 36 what the last check found: until there is one, HAProxy believes in its servers.
        row.is_some_and(|row| row.split(',').nth(17) == Some("UP") && row.split(',').nth(36) == Some("L7OK"))
    }
}

fn socket(folder: &Path) -> String {
    folder.join("stats.sock").display().to_string()
}

#[test]
fn behind_haproxy_a_node_is_killed_and_nobody_signs_in_again() {
    behind::<Haproxy>(async |site| {
        for (round, victim) in [1, 2, 1].into_iter().enumerate() {
            site.kill(round, victim).await;
        }
    });
}

#[test]
fn behind_haproxy_a_frozen_nodes_users_go_on_at_the_other_one() {
    behind::<Haproxy>(async |site| {
        site.freeze(1).await;
        assert!(!site.proxy.is_up(1), "HAProxy has found it out and ended the connections");
        site.thaw(1).await;
    });
}

#[test]
fn behind_haproxy_the_nodes_are_restarted_by_turns_and_nobody_signs_in_again() {
    behind::<Haproxy>(async |site| {
        for (round, id) in [1, 2, 1, 2].into_iter().enumerate() {
            site.restart(round, id).await;
        }
    });
}

#[test]
#[ignore = "fails: after four deaths some users are shown a call that was hung up, and no event corrects it (ghosts, I4)"]
fn behind_haproxy_nodes_die_and_are_restarted_while_users_call() {
    behind::<Haproxy>(async |site| {
        let Site { pair, proxy, users, .. } = site;
        let calling = users.keep_calling(Haproxy::TALKING);
        for (id, is_gentle) in [(1, true), (2, false), (1, false), (2, true)] {
            let before = calling.placed();
            until("calls are placed", async || calling.placed() > before + 20).await;
            match is_gentle {
                true => pair.stop_gently(id).await,
                false => pair.kill(id),
            }
            pair.spawn(id);
            proxy.until_up(id).await;
        }
        calling.stop(pair).await;
        users.all_go_on(pair).await;
    });
}

#[test]
fn behind_haproxy_the_address_that_counts_is_the_one_behind_it() {
    if !is_here("haproxy", "haproxy") {
        return;
    }
    pair::run(async {
        let pair = Pair::start(2, &Haproxy::nodes()).await;
        let haproxy = Haproxy::start(&pair).await;
        // 503 for a moment is as good: what counts is who is heard.
        assert!(ask(haproxy.address, "127.0.0.1").await.starts_with("SIP/2.0 "));
        assert_eq!(ask(haproxy.address, "127.0.0.9").await, "", "a stranger behind the balancer");
        assert_eq!(ask(pair.sip(1), "127.0.0.1").await, "", "the balancer's address without a PROXY header");
        assert_eq!(ask(pair.sip(1), "127.0.0.9").await, "", "a stranger in front of it");
    });
}

#[test]
fn behind_haproxy_over_tls_a_node_is_killed_and_nobody_signs_in_again() {
    if !is_here("haproxy", "haproxy") {
        return;
    }
    pair::run(async {
        let lab = Laboratory::make();
        let pair = Pair::start(Haproxy::USERS, &lab.nodes()).await;
        let checks = [
            ("/etc/haproxy/lyncpin-check.pem", lab.path("check.pem")),
            ("/etc/haproxy/lyncpin-ca.pem", lab.path("sip-ca.pem")),
        ];
        let haproxy = Haproxy::start_with(&pair, "haproxy/tls.cfg", &checks).await;
        let address = haproxy.address;
        let front_ends = join_all((0..3).map(|_| lab.front_end(address))).await;
        let site = Site::begin(pair, haproxy, front_ends).await;
        for (round, victim) in [1, 2].into_iter().enumerate() {
            site.kill(round, victim).await;
        }
        let stranger = lab.say_hello(address, None).await;
        assert_eq!(stranger, "", "without a certificate nobody is answered");
        assert_eq!(lab.say_hello(address, Some("pool01.contoso.com")).await, "SIP/2.0 ");
    });
}

pub const OPTIONS: &[u8] = b"OPTIONS sip:rccgw@rccgw.contoso.com SIP/2.0\r\nVia: SIP/2.0/TCP a;branch=z9hG4bK1\r\n\
    Max-Forwards: 70\r\nFrom: <sip:a@contoso.com>;tag=m1\r\nTo: <sip:rccgw@rccgw.contoso.com>\r\nCall-ID: c1\r\n\
    CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";

/// What an OPTIONS from this address is answered, as far as the status; nothing when the connection ends instead.
async fn ask(address: SocketAddr, from: &str) -> String {
    let asked = async {
        let socket = TcpSocket::new_v4().ok()?;
        socket.bind(SocketAddr::new(from.parse().ok()?, 0)).ok()?;
        let mut stream: TcpStream = socket.connect(address).await.ok()?;
        stream.write_all(OPTIONS).await.ok()?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.ok()?;
        Some(String::from_utf8_lossy(&answer).into_owned())
    };
    tokio::time::timeout(Duration::from_secs(10), asked).await.expect("an answer or an end").unwrap_or_default()
}
