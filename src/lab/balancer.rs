//! A TCP balancer in front of a pair: each connection goes to a node that answers OPTIONS with 200, and ends when that node
//! does not any more. Asking the application, because a frozen process still takes connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Between two questions to a node, and how long it may take to answer.
const ASK_EVERY_MS: u64 = 50;
const ANSWER_MS: u64 = 250;
/// A connection finds no node: it waits so long for one.
const NOBODY_MS: u64 = 2_000;

const OPTIONS: &[u8] = b"OPTIONS sip:health@localhost SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bKhealth\r\n\
    Max-Forwards: 70\r\nFrom: <sip:balancer@localhost>;tag=health\r\nTo: <sip:health@localhost>\r\nCall-ID: health\r\n\
    CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";

pub struct Balancer {
    address: SocketAddr,
    nodes: Arc<[Backend]>,
    turn: Arc<Turn>,
    tasks: Vec<JoinHandle<()>>,
}

/// Which node the next connection tries first.
struct Turn {
    next: AtomicUsize,
    /// Always this one; `NONE`: one after the other.
    preferred: AtomicUsize,
}

const NONE: usize = usize::MAX;

struct Backend {
    address: SocketAddr,
    is_well: watch::Sender<bool>,
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Balancer {
    pub async fn start(listen: SocketAddr, nodes: impl IntoIterator<Item = SocketAddr>) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let backend = |address| Backend { address, is_well: watch::Sender::new(false) };
        let nodes: Arc<[Backend]> = nodes.into_iter().map(backend).collect();
        let mut tasks: Vec<_> = (0..nodes.len()).map(|nth| tokio::spawn(look_after(nodes.clone(), nth))).collect();
        let turn = Arc::new(Turn { next: AtomicUsize::new(0), preferred: AtomicUsize::new(NONE) });
        tasks.push(tokio::spawn(accept(listener, nodes.clone(), turn.clone())));
        Ok(Self { address, nodes, turn, tasks })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// New connections go to this node as long as it is well; `None`: to all in turn.
    pub fn prefer(&self, nth: Option<usize>) {
        self.turn.preferred.store(nth.unwrap_or(NONE), Ordering::Relaxed);
    }

    /// Whether each node serves, in the order given.
    pub fn health(&self) -> Vec<bool> {
        self.nodes.iter().map(|node| *node.is_well.borrow()).collect()
    }
}

async fn look_after(nodes: Arc<[Backend]>, nth: usize) {
    loop {
        let is_well = matches!(
            tokio::time::timeout(Duration::from_millis(ANSWER_MS), ask(nodes[nth].address)).await,
            Ok(Ok(true))
        );
        nodes[nth].is_well.send_if_modified(|was| std::mem::replace(was, is_well) != is_well);
        tokio::time::sleep(Duration::from_millis(ASK_EVERY_MS)).await;
    }
}

async fn ask(address: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(OPTIONS).await?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await?;
    Ok(&answer == b"SIP/2.0 200 ")
}

async fn accept(listener: TcpListener, nodes: Arc<[Backend]>, turn: Arc<Turn>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(carry(client, nodes.clone(), turn.clone()));
    }
}

async fn carry(mut client: TcpStream, nodes: Arc<[Backend]>, turn: Arc<Turn>) {
    let began = tokio::time::Instant::now();
    while began.elapsed() < Duration::from_millis(NOBODY_MS) {
        let first = match turn.preferred.load(Ordering::Relaxed) {
            NONE => turn.next.fetch_add(1, Ordering::Relaxed),
            preferred => preferred,
        };
        let in_turn = (0..nodes.len()).map(|n| &nodes[(first + n) % nodes.len()]);
        let Some(node) = in_turn.into_iter().find(|node| *node.is_well.borrow()) else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let mut is_well = node.is_well.subscribe();
        let Ok(mut server) = TcpStream::connect(node.address).await else {
            node.is_well.send_replace(false);
            continue;
        };
        // Err: the client is gone.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut server) => {}
            _ = is_well.wait_for(|is_well| !*is_well) => {}
        }
        return;
    }
}
