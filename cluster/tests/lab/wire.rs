//! A way from one voter to another that can be cut: nothing is lost then, it arrives when the wire is whole again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub struct Wire {
    address: SocketAddr,
    to: SocketAddr,
    is_cut: Arc<watch::Sender<bool>>,
    accepting: JoinHandle<()>,
}

impl Wire {
    pub async fn new(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let is_cut = Arc::new(watch::Sender::new(false));
        let accepting = tokio::spawn(accept(listener, to, is_cut.clone()));
        Self { address, to, is_cut, accepting }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cut: connections stay open, also new ones, and what is sent waits.
    pub fn cut(&self, is_cut: bool) {
        self.is_cut.send_replace(is_cut);
    }

    /// The process behind it is about to go: no new connection, as its kernel would have it.
    pub fn refuse(&self) {
        self.accepting.abort();
    }

    /// The process behind it is about to come back.
    pub async fn answer(&mut self) {
        for _ in 0..500 {
            if let Ok(listener) = TcpListener::bind(self.address).await {
                self.accepting = tokio::spawn(accept(listener, self.to, self.is_cut.clone()));
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} is taken", self.address);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, to: SocketAddr, is_cut: Arc<watch::Sender<bool>>) {
    while let Ok((near, _)) = listener.accept().await {
        let is_cut = is_cut.subscribe();
        tokio::spawn(async move {
            // Err: nobody is there; the near end sees its connection close.
            if let Ok(far) = TcpStream::connect(to).await {
                let _ = (near.set_nodelay(true), far.set_nodelay(true));
                let (near, far) = (near.into_split(), far.into_split());
                tokio::select! {
                    () = carry(near.0, far.1, is_cut.clone()) => {}
                    () = carry(far.0, near.1, is_cut) => {}
                }
            }
        });
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut is_cut: watch::Receiver<bool>) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let Ok(count @ 1..) = from.read(&mut bytes).await else { return };
        // Err: the wire is gone.
        if is_cut.wait_for(|is_cut| !is_cut).await.is_err() || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
