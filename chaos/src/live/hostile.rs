//! Peers that are allowed to connect and mean no good: requests that never end, torture messages, a flood.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::seed::Chance;

const SLOW_CONNECTIONS: usize = 60;
const FLOOD_CONNECTIONS: usize = 4;

const HEAD: &str = "Via: SIP/2.0/TCP 10.77.0.254;branch=z9hG4bKhostile\r\nMax-Forwards: 70\r\nFrom: <sip:h@localhost>;tag=h\r\n\
    To: <sip:rccgw@localhost>\r\nCall-ID: hostile\r\n";

/// Opens connections that say one byte now and then; counts those the node has closed.
pub async fn slowloris(nodes: Vec<SocketAddr>, bytes: Arc<AtomicU64>) {
    let mut tasks = JoinSet::new();
    for n in 0..SLOW_CONNECTIONS {
        let (node, bytes) = (nodes[n % nodes.len()], bytes.clone());
        tasks.spawn(async move {
            loop {
                let Ok(mut stream) = TcpStream::connect(node).await else {
                    sleep(Duration::from_millis(200)).await;
                    continue;
                };
                for byte in format!("INFO sip:rccgw@localhost SIP/2.0\r\n{HEAD}X-Never: ")
                    .bytes()
                    .chain(std::iter::repeat(b'a'))
                {
                    if stream.write_all(&[byte]).await.is_err() {
                        break;
                    }
                    bytes.fetch_add(1, Ordering::Relaxed);
                    sleep(Duration::from_millis(25)).await;
                }
            }
        });
    }
    while tasks.join_next().await.is_some() {}
}

/// One message that no honest client sends.
fn torture(chance: &mut Chance) -> Vec<u8> {
    let request = |cseq: &str, rest: &str| format!("INFO sip:rccgw@localhost SIP/2.0\r\n{HEAD}CSeq: {cseq}\r\n{rest}");
    let text = match chance.between(0, 13) {
        0 => request("1 INFO", "Content-Length: -1\r\n\r\n"),
        1 => request("1 INFO", "Content-Length: 4294967299\r\n\r\nabc"),
        2 => request("1 INFO", "Content-Length: 5,5\r\n\r\nabcde"),
        3 => request("1 INFO", "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
        4 => request("4294967296 INFO", "Content-Length: 0\r\n\r\n"),
        5 => request("1 INVITE", "Content-Length: 0\r\n\r\n"),
        6 => format!(
            "INFO sip:rccgw@localhost SIP/2.0\r\n{}CSeq: 1 INFO\r\nContent-Length: 0\r\n\r\n",
            "Via: SIP/2.0/TCP a\r\n".repeat(70)
        ),
        7 => format!(
            "INFO sip:{}@localhost SIP/2.0\r\n{HEAD}CSeq: 1 INFO\r\nContent-Length: 0\r\n\r\n",
            "a".repeat(40_000)
        ),
        8 => request("1 INFO", &format!("X: {}\r\nContent-Length: 0\r\n\r\n", "\"".repeat(9_000))),
        9 => "\r\n".repeat(2_000),
        10 => {
            let body = format!("<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b \"{}\">]><a>&b;</a>", "c".repeat(900));
            request(
                "1 INFO",
                &format!("Content-Type: application/csta+xml\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
            )
        }
        11 => {
            let body = "<a>".repeat(20_000);
            request(
                "1 INFO",
                &format!("Content-Type: application/csta+xml\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
            )
        }
        12 => format!("SIP/2.0 99999 No\r\n{HEAD}CSeq: 1 INFO\r\nContent-Length: 0\r\n\r\n"),
        _ => return (0..chance.between(1, 2_000)).map(|_| chance.draw() as u8).collect(),
    };
    let mut bytes = text.into_bytes();
    if chance.percent(30) {
        // Any byte becomes any other.
        let at = chance.between(0, bytes.len() as u64 - 1) as usize;
        bytes[at] = chance.draw() as u8;
    }
    bytes
}

/// Says torture messages one after the other; counts them.
pub async fn torture_all(nodes: Vec<SocketAddr>, seed: u64, said: Arc<AtomicU64>) {
    let mut chance = Chance::new(seed);
    loop {
        let node = nodes[chance.between(0, nodes.len() as u64 - 1) as usize];
        let Ok(mut stream) = TcpStream::connect(node).await else {
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        if stream.write_all(&torture(&mut chance)).await.is_ok() {
            said.fetch_add(1, Ordering::Relaxed);
        }
        let mut answer = [0; 1024];
        let _ = timeout(Duration::from_millis(5), stream.read(&mut answer)).await;
    }
}

/// OPTIONS as fast as the connections take them; counts them.
pub async fn flood(nodes: Vec<SocketAddr>, said: Arc<AtomicU64>) {
    let mut tasks = JoinSet::new();
    for n in 0..FLOOD_CONNECTIONS {
        let (node, said) = (nodes[n % nodes.len()], said.clone());
        tasks.spawn(async move {
            let one =
                format!("OPTIONS sip:rccgw@localhost SIP/2.0\r\n{HEAD}CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n");
            let many = one.repeat(16);
            loop {
                let Ok(stream) = TcpStream::connect(node).await else {
                    sleep(Duration::from_millis(100)).await;
                    continue;
                };
                let (mut read, mut write) = stream.into_split();
                let reads = async {
                    let mut answer = [0; 16_384];
                    while read.read(&mut answer).await.is_ok_and(|read| read > 0) {}
                };
                let writes = async {
                    while write.write_all(many.as_bytes()).await.is_ok() {
                        said.fetch_add(16, Ordering::Relaxed);
                    }
                };
                tokio::select! { () = reads => {}, () = writes => {} }
            }
        });
    }
    while tasks.join_next().await.is_some() {}
}
