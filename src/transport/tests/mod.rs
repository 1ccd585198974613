//! The gate from the outside: real sockets on loopback, certificates made at run time.

mod balancer;
mod certificates;
mod descriptors;
mod flood;
mod intruders;
#[cfg(feature = "legacy-tls")]
mod legacy;
mod mutual;
mod reload;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::*;

/// A listener whose application echoes, and counts every byte that reached it.
struct Echo {
    address: SocketAddr,
    counters: Arc<Counters>,
    peers: tokio::sync::mpsc::Receiver<Peer>,
    bytes: Arc<std::sync::atomic::AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn echo(options: ListenOptions, tls: Option<Arc<dyn TlsEngine>>) -> Echo {
    let mut listener = Listener::bind(options, tls).await.unwrap();
    let (address, counters) = (listener.address(), listener.counters());
    let (peers_in, peers) = tokio::sync::mpsc::channel(4096);
    let bytes = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&bytes);
    let task = tokio::spawn(async move {
        while let Some(Accepted { mut stream, peer }) = listener.accept().await {
            peers_in.try_send(peer).unwrap();
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                while let Ok(received) = stream.read_with(<[u8]>::to_vec).await
                    && !received.is_empty()
                {
                    count.fetch_add(received.len(), std::sync::atomic::Ordering::Relaxed);
                    if stream.write_all(&received).await.is_err() || stream.flush().await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    Echo { address, counters, peers, bytes, task }
}

impl Echo {
    fn bytes(&self) -> usize {
        self.bytes.load(std::sync::atomic::Ordering::Relaxed)
    }

    async fn until_refused(&self, reason: Refused, count: u64) {
        until(|| self.counters.refused_total() >= count).await;
        assert_eq!(self.counters.refused(reason), count, "{reason}");
        assert_eq!(self.counters.refused_total(), count, "only {reason}");
    }
}

/// Waits until it is so. The bound only keeps a broken test from waiting for ever.
async fn until(is_so: impl Fn() -> bool) {
    for _ in 0..30_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("it never came to be");
}

/// Says INFO and listens for anything at all; `Err` and an end both mean that nothing came back.
async fn said_back<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> Vec<u8> {
    if stream.write_all(b"INFO").await.is_err() || stream.flush().await.is_err() {
        return Vec::new();
    }
    let mut received = [0; 64];
    match stream.read(&mut received).await {
        Ok(count) => received[..count].to_vec(),
        Err(_) => Vec::new(),
    }
}

/// A raw client that writes `bytes` and returns what came back until the end.
async fn raw(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let Ok(mut socket) = TcpStream::connect(address).await else { return Vec::new() };
    let mut received = Vec::new();
    if socket.write_all(bytes).await.is_ok() {
        let reading = socket.read_to_end(&mut received);
        let _ = tokio::time::timeout(Duration::from_secs(30), reading).await.expect("the listener never closed it");
    }
    received
}

fn trusting_nobody() -> ListenOptions {
    ListenOptions { peers_allowed: Vec::new(), ..ListenOptions::default() }
}

async fn assert_alive(address: SocketAddr, connector: &Connector, secure: bool) -> io::Result<()> {
    let mut stream = connector.connect("localhost", address.port(), secure).await?;
    assert_eq!(said_back(&mut stream).await, b"INFO");
    Ok(())
}
