//! The listening side: who gets in, under one deadline and within bounds.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, Id, JoinError, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use super::proxy::{self, Announced};
use super::slot::{Slot, Slots};
use super::stream::tune;
use super::{Counters, Network, Peer, Refused, Secured, Stream, TlsEngine, TlsRefused};

/// How one listener behaves. Everything from outside has a bound here.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    pub address: SocketAddr,
    /// Who may connect; behind a balancer, whom it may announce. Default: this machine alone.
    pub peers_allowed: Vec<Network>,
    /// Balancers: every connection from these must begin with a PROXY header, version 2, and from nobody else may.
    /// A connection a balancer opens for itself (LOCAL, a health check) needs its address in `peers_allowed` too.
    pub balancers: Vec<IpAddr>,
    /// From the first byte to the end of the TLS handshake. Default: 10 s.
    pub handshake_timeout_ms: u64,
    /// Handshakes under way at once. Default: 256.
    pub handshakes_pending_max: usize,
    /// When every place is taken, a newcomer displaces the oldest handshake if it is older than this; until then new
    /// connections wait in the kernel's backlog. Default: 1 s.
    pub handshake_grace_ms: u64,
    /// Of one address, handshakes included. A front end opens four; many users behind one address need more.
    /// Default: 256.
    pub connections_per_peer_max: usize,
    /// Over all. Default: 40,000.
    pub connections_max: usize,
    /// Silence after which the kernel asks whether the peer lives. Default: 60 s.
    pub keepalive_s: u64,
    /// Connections the kernel holds for us. Default: 1024.
    pub backlog_max: u32,
    /// Accepted and not yet taken by the application; when it is full nothing more is accepted. Default: 64.
    pub accepted_queue_max: usize,
}

impl ListenOptions {
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            peers_allowed: vec![
                "127.0.0.0/8".parse().expect("a network"),
                Network::from(IpAddr::V6(Ipv6Addr::LOCALHOST)),
            ],
            balancers: Vec::new(),
            handshake_timeout_ms: 10_000,
            handshakes_pending_max: 256,
            handshake_grace_ms: 1000,
            connections_per_peer_max: 256,
            connections_max: 40_000,
            keepalive_s: 60,
            backlog_max: 1024,
            accepted_queue_max: 64,
        }
    }
}

impl Default for ListenOptions {
    /// Loopback, a port of the system's choice.
    fn default() -> Self {
        Self::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }
}

/// A flow that may speak.
#[derive(Debug)]
pub struct Accepted {
    pub stream: Stream,
    pub peer: Peer,
}

/// A bound address whose accepting goes on in a task of its own until the listener is dropped.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    ready: mpsc::Receiver<Accepted>,
    counters: Arc<Counters>,
    slots: Arc<Slots>,
    accepting: JoinHandle<()>,
}

impl Listener {
    /// Binds and starts accepting. With `tls`, every flow is TLS.
    pub async fn bind(options: ListenOptions, tls: Option<Arc<dyn TlsEngine>>) -> io::Result<Self> {
        let listener = listen(&options)?;
        let address = listener.local_addr()?;
        let counters = Arc::new(Counters::new());
        let slots = Slots::new(options.connections_max, options.connections_per_peer_max);
        let (ready_in, ready) = mpsc::channel(options.accepted_queue_max.max(1));
        let gate = Gate { options, tls, counters: Arc::clone(&counters), slots: Arc::clone(&slots) };
        let accepting = tokio::spawn(
            Acceptor {
                gate: Arc::new(gate),
                listener,
                handshakes: JoinSet::new(),
                waiting: VecDeque::new(),
                ready: ready_in,
                retry: None,
                retry_ms: RETRY_MS_MIN,
            }
            .run(),
        );
        Ok(Self { address, ready, counters, slots, accepting })
    }

    /// Where it listens, with the port the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next flow. `None` only when the runtime is going down.
    pub async fn accept(&mut self) -> Option<Accepted> {
        self.ready.recv().await
    }

    /// Shared, so that it can be read while `accept` waits.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Connections that live, handshakes included.
    pub fn connections(&self) -> usize {
        self.slots.taken()
    }

    /// Stops listening and breaks off handshakes; accepted flows live on. When it returns the port is free.
    pub async fn close(mut self) {
        self.accepting.abort();
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn listen(options: &ListenOptions) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(options.address), Type::STREAM, Some(Protocol::TCP))?;
    // A restarted gateway binds although connections of its predecessor linger.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&options.address.into())?;
    socket.listen(i32::try_from(options.backlog_max).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

/// What every handshake needs to decide.
struct Gate {
    options: ListenOptions,
    tls: Option<Arc<dyn TlsEngine>>,
    counters: Arc<Counters>,
    slots: Arc<Slots>,
}

impl Gate {
    fn is_balancer(&self, address: IpAddr) -> bool {
        self.options.balancers.iter().any(|balancer| balancer.to_canonical() == address)
    }

    fn admit(&self, address: IpAddr) -> Result<Slot, Refused> {
        if self.options.peers_allowed.iter().any(|network| network.contains(address)) {
            self.slots.take(address)
        } else {
            Err(Refused::PeerNotTrusted)
        }
    }

    /// PROXY header, allow-list and TLS of one connection. `slot` is there already unless a balancer will announce
    /// who it is.
    async fn let_in(&self, mut socket: TcpStream, via: SocketAddr, slot: Option<Slot>) -> Result<Accepted, TlsRefused> {
        let (address, slot) = match slot {
            Some(slot) => (via, slot),
            None => {
                let address = match proxy::read_header(&mut socket).await? {
                    Announced::Itself => via,
                    Announced::Source(address) => address,
                };
                (address, self.admit(address.ip())?)
            }
        };
        let Some(tls) = &self.tls else {
            let peer = Peer { address, via, names: Vec::new(), secure: false };
            return Ok(Accepted { stream: Stream::tcp(socket).holding(slot), peer });
        };
        look_for_header(&socket).await?;
        let Secured { stream, names } = tls.accept(socket).await?;
        Ok(Accepted { stream: stream.holding(slot), peer: Peer { address, via, names, secure: true } })
    }

    fn refuse(&self, peer: SocketAddr, refused: &TlsRefused) {
        let reason = refused.reason;
        if self.counters.count(reason) {
            match reason {
                Refused::ClosedEarly => tracing::debug!(%peer, reason = reason.name(), "connection refused"),
                _ => match &refused.detail {
                    Some(detail) => tracing::warn!(%peer, reason = reason.name(), %detail, "connection refused"),
                    None => tracing::warn!(%peer, reason = reason.name(), "connection refused"),
                },
            }
        }
    }
}

/// A handshake would call a PROXY header garbage; the operator should hear what it is. A header from a balancer is
/// already read, and a second one is as wrong as a first one from anybody else.
async fn look_for_header(socket: &TcpStream) -> Result<(), Refused> {
    let mut first = [0; proxy::SIGNATURE.len()];
    let seen = match socket.peek(&mut first).await {
        Ok(0) | Err(_) => return Err(Refused::ClosedEarly),
        Ok(seen) => &first[..seen],
    };
    // No TLS record starts with either letter, so a part of the signature is enough.
    if proxy::SIGNATURE.starts_with(seen) || seen.starts_with(&proxy::VERSION_1) {
        return Err(Refused::ProxyHeaderUnexpected);
    }
    Ok(())
}

impl From<Refused> for TlsRefused {
    fn from(reason: Refused) -> Self {
        Self { reason, detail: None }
    }
}

const RETRY_MS_MIN: u64 = 10;
const RETRY_MS_MAX: u64 = 1000;

struct Acceptor {
    gate: Arc<Gate>,
    listener: TcpListener,
    handshakes: JoinSet<Outcome>,
    /// In order of age.
    waiting: VecDeque<Waiting>,
    ready: mpsc::Sender<Accepted>,
    /// No accepting before this moment: the system had no descriptor or no memory for us.
    retry: Option<Instant>,
    retry_ms: u64,
}

struct Waiting {
    id: Id,
    via: SocketAddr,
    since: Instant,
    abort: AbortHandle,
}

struct Outcome {
    via: SocketAddr,
    result: Result<Accepted, TlsRefused>,
}

impl Acceptor {
    async fn run(mut self) {
        loop {
            let opens_at = self.opens_at();
            let is_open = opens_at.is_none_or(|at| at <= Instant::now());
            tokio::select! {
                () = self.ready.closed() => return,
                Some(done) = self.handshakes.join_next_with_id() => {
                    if let Some(accepted) = self.settle(done)
                        && self.deliver(accepted).await.is_err()
                    {
                        return;
                    }
                }
                accepted = self.listener.accept(), if is_open => match accepted {
                    Ok((socket, via)) => {
                        self.retry_ms = RETRY_MS_MIN;
                        if let Some(accepted) = self.begin(socket, via)
                            && self.deliver(accepted).await.is_err()
                        {
                            return;
                        }
                    }
                    Err(error) => self.back_off(&error),
                },
                () = sleep_or_never(opens_at), if !is_open => self.retry = None,
            }
        }
    }

    /// When accepting may go on; `None`: now.
    fn opens_at(&self) -> Option<Instant> {
        let grace = Duration::from_millis(self.gate.options.handshake_grace_ms);
        let full = self.waiting.len() >= self.gate.options.handshakes_pending_max.max(1);
        let displaceable = self.waiting.front().filter(|_| full).map(|oldest| oldest.since + grace);
        self.retry.max(displaceable)
    }

    /// Most errors of `accept` belong to a connection that is gone; the others (no descriptor, no memory) pass when
    /// somebody gives something back, and asking at once would only burn the processor.
    fn back_off(&mut self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            return;
        }
        self.gate.counters.count_accept_failed();
        if self.retry_ms == RETRY_MS_MIN {
            tracing::error!(%error, "accept failed; raise the limit of open files");
        }
        self.retry = Some(Instant::now() + Duration::from_millis(self.retry_ms));
        self.retry_ms = (self.retry_ms * 2).min(RETRY_MS_MAX);
    }

    /// What can be decided without waiting is decided here: strangers cost no task.
    fn begin(&mut self, socket: TcpStream, via: SocketAddr) -> Option<Accepted> {
        let via = SocketAddr::new(via.ip().to_canonical(), via.port());
        // Fails only on a socket whose peer is gone already; reading will tell.
        let _ = tune(&socket, self.gate.options.keepalive_s);
        let slot = if self.gate.is_balancer(via.ip()) {
            None
        } else {
            match self.gate.admit(via.ip()) {
                Ok(slot) => Some(slot),
                Err(reason) => {
                    self.gate.refuse(via, &reason.into());
                    // Reset instead of a goodbye: no TIME_WAIT of ours for a flood of strangers.
                    let _ = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
                    return None;
                }
            }
        };
        if self.gate.tls.is_none()
            && let Some(slot) = slot
        {
            let peer = Peer { address: via, via, names: Vec::new(), secure: false };
            let stream = Stream::unproven(socket, Arc::clone(&self.gate.counters)).holding(slot);
            return Some(Accepted { stream, peer });
        }
        if self.waiting.len() >= self.gate.options.handshakes_pending_max.max(1)
            && let Some(oldest) = self.waiting.pop_front()
        {
            oldest.abort.abort();
            self.gate.refuse(oldest.via, &Refused::HandshakeDisplaced.into());
        }
        let gate = Arc::clone(&self.gate);
        let deadline = Duration::from_millis(gate.options.handshake_timeout_ms);
        let abort = self.handshakes.spawn(async move {
            let result = timeout(deadline, gate.let_in(socket, via, slot)).await;
            Outcome { via, result: result.unwrap_or_else(|_| Err(Refused::HandshakeTimedOut.into())) }
        });
        self.waiting.push_back(Waiting { id: abort.id(), via, since: Instant::now(), abort });
        None
    }

    fn settle(&mut self, done: Result<(Id, Outcome), JoinError>) -> Option<Accepted> {
        let id = done.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let place = self.waiting.iter().position(|waiting| waiting.id == id);
        // A displaced handshake is gone from the list and counted, even if it ended at that very moment.
        let waiting = self.waiting.remove(place?)?;
        match done {
            Ok((_, Outcome { result: Ok(accepted), .. })) => Some(accepted),
            Ok((_, Outcome { via, result: Err(refused) })) => {
                self.gate.refuse(via, &refused);
                None
            }
            Err(panic) => {
                tracing::error!(peer = %waiting.via, error = %panic, "a handshake panicked; please report it");
                self.gate.refuse(waiting.via, &Refused::HandshakeFailed.into());
                None
            }
        }
    }

    async fn deliver(&self, accepted: Accepted) -> Result<(), mpsc::error::SendError<Accepted>> {
        self.ready.send(accepted).await?;
        self.gate.counters.count_accepted();
        Ok(())
    }
}

async fn sleep_or_never(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}
