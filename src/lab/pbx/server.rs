//! The PBX as a running thing: listeners, timers, the control port.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, sleep_until};

use super::board::{Board, Link};
use super::control::{self, LINE_BYTES_MAX, Reply, Request, RequestError};
use super::fault::Faults;
use super::flow::{self, Shared, lock};
use super::model::{AddDevicesError, Model};
use super::options::PbxOptions;

/// Connections to the control port at a time.
const CONTROL_FLOWS_MAX: usize = 64;
/// Between two tries to listen again, or to accept again, after the system said no.
const RETRY_MS: u64 = 20;

/// Why a PBX did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {address}: {fault}")]
    Listen { address: SocketAddr, fault: io::Error },
    #[error("devices: {0}")]
    Devices(#[from] AddDevicesError),
    #[error("two links are named {0:?}")]
    LinkTwice(String),
}

/// A running PBX. Dropping it stops it too, but does not wait.
pub struct PbxLab {
    desk: Desk,
    addresses: Vec<SocketAddr>,
    control_address: Option<SocketAddr>,
    is_stopping: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Where requests are taken: by the control port and by [`PbxLab::control`].
#[derive(Clone)]
struct Desk {
    board: Shared,
    is_listening: Vec<watch::Receiver<bool>>,
}

/// One link's listener and what it watches.
struct Listening {
    board: Shared,
    link: usize,
    address: SocketAddr,
    refuses: watch::Receiver<bool>,
    is_frozen: watch::Receiver<bool>,
    is_listening: watch::Sender<bool>,
    is_stopping: watch::Receiver<bool>,
}

impl PbxLab {
    /// Binds every address, then serves them on tasks of the current runtime.
    pub async fn start(options: PbxOptions) -> Result<Self, StartError> {
        let mut model = Model::new(options.model.clone());
        for range in &options.devices {
            model.add_devices(&range.first, range.count)?;
        }
        for (index, link) in options.links.iter().enumerate() {
            if options.links[..index].iter().any(|other| other.name == link.name) {
                return Err(StartError::LinkTwice(link.name.clone()));
            }
        }
        let mut listeners = Vec::with_capacity(options.links.len());
        for link in &options.links {
            listeners.push(bind(link.address).await?);
        }
        let control = match options.control {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let quiet = || watch::channel(false).0;
        let link = |link: &super::options::LinkOptions| Link {
            name: link.name.clone(),
            faults: Faults::default(),
            is_frozen: quiet(),
            refuses: quiet(),
        };
        let links: Vec<Link> = options.links.iter().map(link).collect();
        let watched: Vec<_> = links.iter().map(|link| (link.refuses.subscribe(), link.is_frozen.subscribe())).collect();
        let wake = Arc::new(Notify::new());
        let board = Arc::new(Mutex::new(Board::new(options, model, links, wake.clone())));
        let is_stopping = quiet();
        let (mut tasks, mut addresses, mut is_listening) = (Vec::new(), Vec::new(), Vec::new());
        for (link, ((listener, address), (refuses, is_frozen))) in listeners.into_iter().zip(watched).enumerate() {
            let (listening_set, listening) = watch::channel(true);
            addresses.push(address);
            is_listening.push(listening);
            let listening = Listening {
                board: board.clone(),
                link,
                address,
                refuses,
                is_frozen,
                is_listening: listening_set,
                is_stopping: is_stopping.subscribe(),
            };
            tasks.push(tokio::spawn(listening.run(listener)));
        }
        tasks.push(tokio::spawn(run_timers(board.clone(), wake, is_stopping.subscribe())));
        let desk = Desk { board, is_listening };
        let control_address = control.map(|(listener, address)| {
            tasks.push(tokio::spawn(serve_control(desk.clone(), listener, is_stopping.subscribe())));
            address
        });
        Ok(Self { desk, addresses, control_address, is_stopping, tasks })
    }

    /// The links' addresses, in the order of the options.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    pub fn control_address(&self) -> Option<SocketAddr> {
        self.control_address
    }

    /// Carries out a request. When it comes back, the fault is in force.
    pub async fn control(&self, request: Request) -> Reply {
        self.desk.control(&request).await
    }

    #[cfg(test)]
    pub(super) fn board(&self) -> Shared {
        self.desk.board.clone()
    }

    /// Ends every connection and gives every address back.
    pub async fn stop(mut self) {
        self.is_stopping.send_replace(true);
        for task in std::mem::take(&mut self.tasks) {
            // A task that panicked has ended as well.
            let _ = task.await;
        }
    }
}

impl Drop for PbxLab {
    fn drop(&mut self) {
        self.is_stopping.send_replace(true);
    }
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound.await.map_err(|fault| StartError::Listen { address, fault })
}

impl Desk {
    async fn control(&self, request: &Request) -> Reply {
        let reply = lock(&self.board).request(request);
        if matches!(request, Request::Refuse { .. } | Request::Heal { .. }) && reply.is_ok() {
            let wanted: Vec<bool> = lock(&self.board).links.iter().map(|link| !link.faults.refuses).collect();
            for (is_listening, wanted) in self.is_listening.iter().zip(wanted) {
                // An error means that the PBX is stopping.
                let _ = is_listening.clone().wait_for(|is_listening| *is_listening == wanted).await;
            }
        }
        reply
    }
}

impl Listening {
    async fn run(mut self, listener: TcpListener) {
        let mut listener = Some(listener);
        let mut flows = JoinSet::new();
        loop {
            if *self.refuses.borrow_and_update() {
                listener = None;
            } else if listener.is_none() {
                listener = TcpListener::bind(self.address).await.ok();
            }
            let is_as_wanted = listener.is_none() == *self.refuses.borrow();
            if is_as_wanted {
                self.is_listening.send_replace(listener.is_some());
            }
            let is_frozen = *self.is_frozen.borrow_and_update();
            tokio::select! {
                _ = self.is_stopping.wait_for(|stopping| *stopping) => break,
                Ok(()) = self.refuses.changed() => {}
                Ok(()) = self.is_frozen.changed() => {}
                Some(_) = flows.join_next() => {}
                () = sleep(Duration::from_millis(RETRY_MS)), if !is_as_wanted => {}
                accepted = accept(listener.as_ref()), if !is_frozen => {
                    if let Some((stream, peer)) = accepted {
                        let is_frozen = self.is_frozen.clone();
                        flows.spawn(flow::serve(self.board.clone(), self.link, stream, peer, is_frozen));
                    }
                }
            }
        }
        drop(listener);
        flows.shutdown().await;
    }
}

/// The next connection; `None` when the system had none to give, which a pause may cure.
async fn accept(listener: Option<&TcpListener>) -> Option<(TcpStream, SocketAddr)> {
    let Some(listener) = listener else { return std::future::pending().await };
    match listener.accept().await {
        Ok(accepted) => Some(accepted),
        Err(_) => {
            sleep(Duration::from_millis(RETRY_MS)).await;
            None
        }
    }
}

async fn run_timers(board: Shared, wake: Arc<Notify>, mut is_stopping: watch::Receiver<bool>) {
    loop {
        let next = lock(&board).run_timers();
        let due = async {
            match next {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = is_stopping.wait_for(|stopping| *stopping) => return,
            () = wake.notified() => {}
            () = due => {}
        }
    }
}

async fn serve_control(desk: Desk, listener: TcpListener, mut is_stopping: watch::Receiver<bool>) {
    let mut flows = JoinSet::new();
    loop {
        tokio::select! {
            _ = is_stopping.wait_for(|stopping| *stopping) => break,
            Some(_) = flows.join_next() => {}
            accepted = accept(Some(&listener)) => {
                if let Some((stream, _)) = accepted
                    && flows.len() < CONTROL_FLOWS_MAX
                {
                    flows.spawn(control_flow(desk.clone(), stream));
                }
            }
        }
    }
    drop(listener);
    flows.shutdown().await;
}

/// One line in, one line out, until the other side goes. At most one line and one read are held.
async fn control_flow(desk: Desk, mut stream: TcpStream) -> io::Result<()> {
    let _ = stream.set_nodelay(true);
    let (mut held, mut chunk, mut is_skipping) = (Vec::new(), vec![0; 4_096], false);
    loop {
        let count = stream.read(&mut chunk).await?;
        if count == 0 {
            return Ok(());
        }
        let mut rest = &chunk[..count];
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            if !is_skipping {
                held.extend_from_slice(&rest[..end]);
                let line = held.trim_ascii();
                if line.len() > LINE_BYTES_MAX {
                    stream.write_all(&control::write(&Reply::Error { error: RequestError::TooLong })).await?;
                } else if !line.is_empty() {
                    let reply = match control::read(line) {
                        Ok(request) => desk.control(&request).await,
                        Err(error) => Reply::Error { error },
                    };
                    stream.write_all(&control::write(&reply)).await?;
                }
            }
            held.clear();
            is_skipping = false;
            rest = &rest[end + 1..];
        }
        if !is_skipping {
            held.extend_from_slice(rest);
            if held.len() > LINE_BYTES_MAX {
                (held, is_skipping) = (Vec::new(), true);
                stream.write_all(&control::write(&Reply::Error { error: RequestError::TooLong })).await?;
            }
        }
    }
}
