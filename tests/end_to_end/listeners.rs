//! Ways in: TCP, TLS and mutual TLS at once, a balancer with the PROXY protocol, a certificate renewed under way.

use std::net::SocketAddr;
use std::time::Duration;

use lyncpin::client::{FrontEnd, FrontEndOptions};
use rcgen::ExtendedKeyUsagePurpose as Purpose;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::rig::{Files, PATIENCE, TLS, Wanted, account, is_clean, one_call, run, until};

pub const OPTIONS: &str = "OPTIONS sip:rccgw@localhost SIP/2.0\r\nVia: SIP/2.0/TCP 10.0.0.66:5060;branch=z9hG4bK1\r\n\
    Max-Forwards: 70\r\nFrom: <sip:mallory@contoso.com>;tag=m1\r\nTo: <sip:rccgw@localhost>\r\nCall-ID: c1\r\n\
    CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";

/// What comes back to an OPTIONS until the connection ends or answers.
async fn said_back<S: AsyncReadExt + AsyncWriteExt + Unpin>(stream: &mut S) -> String {
    // An error is a close, which the read tells as well.
    let _ = stream.write_all(OPTIONS.as_bytes()).await;
    let _ = stream.flush().await;
    let mut bytes = [0; 2048];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut bytes)).await.expect("an answer or an end");
    String::from_utf8_lossy(&bytes[..read.unwrap_or(0)]).into_owned()
}

#[test]
fn users_behind_tcp_tls_and_mutual_tls_call_each_other() {
    let listen = "[\"tcp://127.0.0.1:0\", \"tls://127.0.0.1:0\", \"mtls://127.0.0.1:0\"]";
    let sip = format!("peer_names = [\"*.contoso.com\"]\n{TLS}");
    run(
        Wanted { listen, sip: &sip, ..Wanted::default() },
        |_| {},
        Files::new(),
        async |rig| {
            let tcp = rig.front_end(FrontEndOptions::direct()).await;
            let tls = FrontEnd::new(FrontEndOptions::front_end("fe01.contoso.com"));
            tls.attach(rig.files.connect(rig.address(1), None).await.unwrap()).unwrap();
            let mutual = FrontEnd::new(FrontEndOptions::front_end("fe02.contoso.com"));
            let shown = rig.files.issue("fe02.contoso.com", &[Purpose::ClientAuth]);
            mutual.attach(rig.files.connect(rig.address(2), Some(shown)).await.unwrap()).unwrap();
            let users = [tcp.user(account(0)), tls.user(account(1)), mutual.user(account(2))];
            for user in &users {
                user.sign_in().await.unwrap();
            }
            for (caller, callee) in [(0, 1), (1, 2), (2, 0)] {
                one_call(&users[caller], &users[callee]).await;
            }
            is_clean(&[&users[0], &users[1], &users[2]]);
            for user in &users {
                user.sign_out().await.unwrap();
            }
        },
    );
}

#[test]
fn mutual_tls_lets_nobody_else_say_a_word() {
    let listen = "[\"mtls://127.0.0.1:0\"]";
    let sip = format!("peer_names = [\"*.contoso.com\"]\n{TLS}");
    run(
        Wanted { listen, sip: &sip, ..Wanted::default() },
        |_| {},
        Files::new(),
        async |rig| {
            let stranger = Files::new();
            for (who, shown) in [
                ("no certificate", None),
                ("another authority's", Some(stranger.issue("fe01.contoso.com", &[Purpose::ClientAuth]))),
                ("another name", Some(rig.files.issue("fe01.fabrikam.com", &[Purpose::ClientAuth]))),
                ("for servers only", Some(rig.files.issue("fe01.contoso.com", &[Purpose::ServerAuth]))),
            ] {
                // TLS 1.3 may tell a client "connected" before its certificate is judged.
                if let Ok(mut stream) = rig.files.connect(rig.address(0), shown).await {
                    assert_eq!(said_back(&mut stream).await, "", "{who}");
                }
            }
            let shown = rig.files.issue("fe01.contoso.com", &[Purpose::ClientAuth]);
            let mut good = rig.files.connect(rig.address(0), Some(shown)).await.unwrap();
            assert!(said_back(&mut good).await.starts_with("SIP/2.0 200 "), "the good one is heard");
            assert_eq!(rig.gateway.node().flows.count(), 1);
        },
    );
}

#[test]
fn a_renewed_certificate_is_shown_while_sessions_live_on() {
    let listen = "[\"tls://127.0.0.1:0\"]";
    let sip = format!("{TLS}reload_s = 1\n");
    run(
        Wanted { listen, sip: &sip, ..Wanted::default() },
        |_| {},
        Files::new(),
        async |rig| {
            let front_end = FrontEnd::new(FrontEndOptions::direct());
            let stream = rig.files.connect(rig.address(0), None).await.unwrap();
            let before = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
            front_end.attach(stream).unwrap();
            let users = [front_end.user(account(0)), front_end.user(account(1))];
            for user in &users {
                user.sign_in().await.unwrap();
            }
            rig.files.renew();
            let renewed = async {
                loop {
                    let stream = rig.files.connect(rig.address(0), None).await.unwrap();
                    if stream.get_ref().1.peer_certificates().unwrap()[0].to_vec() != before {
                        return;
                    }
                    one_call(&users[0], &users[1]).await;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            tokio::time::timeout(PATIENCE, renewed).await.expect("the new certificate is shown");
            one_call(&users[1], &users[0]).await;
            assert_eq!(front_end.flows_lost(), 0);
            is_clean(&[&users[0], &users[1]]);
        },
    );
}

/// PROXY protocol, version 2: a TCP connection over IPv4 from `source`.
fn proxy_header(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let (SocketAddr::V4(source), SocketAddr::V4(destination)) = (source, destination) else { panic!("IPv4") };
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend(source.ip().octets());
    header.extend(destination.ip().octets());
    header.extend(source.port().to_be_bytes());
    header.extend(destination.port().to_be_bytes());
    header
}

#[test]
fn behind_a_balancer_the_announced_address_is_who_counts() {
    let sip = "balancers = [\"127.0.0.1\"]\ntrusted_peers = [\"10.1.2.0/24\"]";
    run(
        Wanted { sip, ..Wanted::default() },
        |_| {},
        Files::new(),
        async |rig| {
            let to = rig.address(0);
            let announced = async |source: &str| {
                let mut stream = TcpStream::connect(to).await.unwrap();
                stream.write_all(&proxy_header(source.parse().unwrap(), to)).await.unwrap();
                stream
            };
            let front_end = FrontEnd::new(FrontEndOptions::front_end("fe01.contoso.com"));
            front_end.attach(announced("10.1.2.3:40001").await).unwrap();
            let users = [front_end.user(account(0)), front_end.user(account(1))];
            for user in &users {
                user.sign_in().await.unwrap();
            }
            one_call(&users[0], &users[1]).await;
            // Announced, but not trusted; trusted by nobody's word; and somebody who is no balancer but says who he is.
            assert_eq!(said_back(&mut announced("10.1.3.3:40001").await).await, "");
            assert_eq!(said_back(&mut TcpStream::connect(to).await.unwrap()).await, "");
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
            let mut liar = socket.connect(to).await.unwrap();
            // Err: it was closed before.
            let _ = liar.write_all(&proxy_header("10.1.2.3:40002".parse().unwrap(), to)).await;
            assert_eq!(said_back(&mut liar).await, "");
            assert_eq!(rig.gateway.node().flows.count(), 1);
            is_clean(&[&users[0], &users[1]]);
            front_end.flows().into_iter().for_each(|flow| front_end.close(flow));
            until("its flow is gone", || rig.gateway.node().flows.count() == 0).await;
        },
    );
}
