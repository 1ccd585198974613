//! The listeners of the operator's door and the thread they live on.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot, watch};

use super::api::{self, Door};
use super::desk::Desk;
use super::journal::Journal;
use super::keeper::Keeper;
use super::reporter::Reporter;
use super::stall::Unstalled;
use crate::config::{Admin, ListenAddress, SecretError};
use crate::transport::{
    Accepted, ClientCertificates, ListenOptions, Listener, RustlsEngine, Stream, TlsEngine, TlsError, TlsFiles,
    TlsOptions,
};

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the operator's door cannot listen on {address}: is the port taken? Name another one in [admin] listen")]
    Listen {
        address: String,
        #[source]
        source: io::Error,
    },
    #[error("the certificates of the operator's door cannot be used")]
    Tls(#[from] TlsError),
    #[error("the token of the operator's door cannot be read")]
    Secret(#[from] SecretError),
    #[error("what stands in [admin] secret_file looks like an Argon2 hash and is none: {0}")]
    Hash(String),
    #[error("the thread of the operator's door cannot be started")]
    Thread(#[source] io::Error),
}

/// The door, open until it is dropped.
pub struct AdminServer {
    addresses: Vec<SocketAddr>,
    closing: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl AdminServer {
    /// Returns when every listener is bound. With no address configured there is no door.
    pub async fn start(config: &Admin, desk: Arc<dyn Desk>) -> Result<Self, StartError> {
        let secret = config.secret().map(|source| source.load()).transpose()?;
        let keeper = Keeper::new(secret).map_err(StartError::Hash)?;
        let mut life = [0; 8];
        getrandom::fill(&mut life).map_err(|why| StartError::Thread(io::Error::other(why.to_string())))?;
        let journal = Arc::new(Journal::new(u64::from_le_bytes(life)));
        let reporter = Reporter::new(desk.clone(), journal.clone());
        let door = Arc::new(Door::new(desk, keeper, journal.clone()));
        let (closing, closed) = watch::channel(false);
        let (tell, told) = oneshot::channel();
        let config = config.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
        let serve = move || {
            runtime.block_on(async move {
                let listeners = match bind(&config).await {
                    Ok(listeners) => listeners,
                    Err(error) => {
                        // Err: nobody waits any more.
                        let _ = tell.send(Err(error));
                        return;
                    }
                };
                let addresses = listeners.iter().map(Listener::address).collect();
                let _ = tell.send(Ok(addresses));
                let reporting = tokio::spawn(report(reporter, journal, closed.clone()));
                let serving = listeners.into_iter().map(|listener| serve(listener, door.clone(), closed.clone()));
                futures_util::future::join_all(serving).await;
                reporting.abort();
            });
        };
        let thread = std::thread::Builder::new().name("admin".into()).spawn(serve).map_err(StartError::Thread)?;
        let addresses = told.await.map_err(|_| StartError::Thread(io::ErrorKind::BrokenPipe.into()))??;
        Ok(Self { addresses, closing, thread: Some(thread) })
    }

    /// Where it listens, in configured order.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        self.closing.send_replace(true);
        // Left to itself: it ends with its connections, and an operator's open stream must not keep a node from ending.
        drop(self.thread.take());
    }
}

async fn bind(config: &Admin) -> Result<Vec<Listener>, StartError> {
    let mut listeners = Vec::new();
    for address in &config.listen {
        let failed = |source| StartError::Listen { address: address.to_string(), source };
        let target = format!("{}:{}", address.host, address.port);
        let socket = tokio::net::lookup_host(target).await.map_err(failed)?.next();
        let socket = socket.ok_or_else(|| failed(io::ErrorKind::AddrNotAvailable.into()))?;
        let options = ListenOptions {
            peers_allowed: config.trusted_peers.clone(),
            connections_max: config.connections_max,
            connections_per_peer_max: config.connections_max,
            ..ListenOptions::new(socket)
        };
        listeners.push(Listener::bind(options, engine(config, address)?).await.map_err(failed)?);
    }
    Ok(listeners)
}

fn engine(config: &Admin, address: &ListenAddress) -> Result<Option<Arc<dyn TlsEngine>>, TlsError> {
    if !address.security.is_secure() {
        return Ok(None);
    }
    let file = |path: &Option<PathBuf>| path.clone().unwrap_or_default();
    let files = TlsFiles { certificate: file(&config.cert), key: file(&config.key), authorities: file(&config.cert) };
    // The operator shows a token.
    let options = TlsOptions { clients: ClientCertificates::NotAsked, ..TlsOptions::new(files) };
    Ok(Some(Arc::new(RustlsEngine::new(options)?)))
}

async fn serve(listener: Listener, door: Arc<Door>, mut closed: watch::Receiver<bool>) {
    let (give, taken) = mpsc::channel(16);
    let address = listener.address();
    let accepting = tokio::spawn(accept(listener, give, closed.clone()));
    let app = api::routes(door).into_make_service_with_connect_info::<Caller>();
    let closing = async move {
        // Err: the server was dropped.
        let _ = closed.wait_for(|closed| *closed).await;
    };
    let door = Gate { address, taken };
    // Err: a listener that hands out what it is given has none.
    let _ = axum::serve(door, app).with_graceful_shutdown(closing).await;
    accepting.abort();
}

/// Tells what changes until the door closes; then every stream of events ends.
async fn report(reporter: Reporter, journal: Arc<Journal>, mut closed: watch::Receiver<bool>) {
    tokio::select! {
        () = reporter.run() => {}
        // Err: the server was dropped.
        _ = closed.wait_for(|closed| *closed) => {}
    }
    journal.close();
}

async fn accept(mut listener: Listener, give: mpsc::Sender<Accepted>, mut closed: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Some(accepted) => {
                    if give.send(accepted).await.is_err() {
                        return;
                    }
                }
                None => return,
            },
            // Err: the server was dropped.
            _ = closed.changed() => return listener.close().await,
        }
    }
}

/// Accepted connections, as axum takes them.
struct Gate {
    address: SocketAddr,
    taken: mpsc::Receiver<Accepted>,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller(pub SocketAddr);

impl axum::serve::Listener for Gate {
    type Io = Unstalled<Stream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Unstalled<Stream>, SocketAddr) {
        match self.taken.recv().await {
            Some(Accepted { stream, peer }) => (Unstalled::new(stream), peer.address),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl axum::extract::connect_info::Connected<axum::serve::IncomingStream<'_, Gate>> for Caller {
    fn connect_info(stream: axum::serve::IncomingStream<'_, Gate>) -> Self {
        Self(*stream.remote_addr())
    }
}
