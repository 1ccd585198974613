//! The gateway: one data node put together from its configuration.
//!
//! Call [`Gateway::start`] inside an actix system or a tokio `LocalSet`. Sessions live on the arbiters it makes, one a core
//! unless told otherwise; with none they live on the calling thread, which is how tests run it under a paused clock.

mod certificates;
mod children;
mod desk;
mod follow;
mod pair_view;
mod settings;
mod tls;
mod witness;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use actix_rt::{Arbiter, ArbiterHandle};
use arc_swap::ArcSwap;
use tokio::sync::watch;
use tracing::{error, info, warn};

use self::certificates::Certificates;
use self::children::{certificates_child, link_child, reload_child, sessions};
pub use self::desk::NodeDesk;
use self::pair_view::Teller;
use self::settings::{collector, flow_options, link_config, rules};
use self::tls::Engines;
pub use self::witness::WitnessDesk;
use crate::actor::adoption::{adopt_soon, attend};
use crate::actor::book::Book;
use crate::actor::child::StopSignal;
use crate::actor::door;
use crate::actor::dynamic::Place;
use crate::actor::flows::Flows;
use crate::actor::intensity::Intensity;
use crate::actor::links::Links;
use crate::actor::node::{Arrivals, Connect, Node};
use crate::actor::relay::Hearing;
use crate::actor::supervisor::{Ended, Strategy, Supervisor};
use crate::admin::{Act, Desk};
use crate::clock::Clock;
use crate::config::{self, Cluster, Config};
use crate::cti::TcpConnector;
use crate::directory::DirectoryWatch;
use crate::lab::pbx::{DeviceRange, LinkOptions, PbxLab, PbxOptions};
use crate::store::pair::{Pair, PairError};
use crate::store::{CommitRefused, MemoryStore, Records};
use crate::telemetry::Counters;
use crate::trace::Tap;
use crate::transport::{Accepted, ConnectOptions, Connector, ListenOptions, Listener, Stream, TlsEngine, TlsError};

/// Links by position: a child's name is static.
const LINK_CHILDREN: [&str; config::LINKS_MAX] =
    ["link-1", "link-2", "link-3", "link-4", "link-5", "link-6", "link-7", "link-8"];

/// How long a stopping node waits for peers to take what was said to them.
const LAST_WORDS_MAX: Duration = Duration::from_secs(2);

/// How long a stopping node hands users over.
const LEAVE_MAX: Duration = Duration::from_secs(60);

/// Why the gateway did not start. Each says what to look at.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {address}: is the port taken, or the address not this machine's?")]
    Listen {
        address: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the certificates cannot be used")]
    Tls(#[from] TlsError),
    #[error("this build has no OpenSSL: build with --features legacy-tls, or set [sip.tls] legacy = false")]
    NoLegacyTls,
    #[error("the password of CTI link {link} cannot be read")]
    Secret {
        link: String,
        #[source]
        source: config::SecretError,
    },
    #[error("the simulated PBX does not start")]
    Lab(#[from] crate::lab::pbx::StartError),
    #[error(transparent)]
    Pair(#[from] PairError),
    #[error("the record store does not take this node")]
    Store(#[from] CommitRefused),
    #[error("the thread that copies SIP for [trace] hep cannot be started")]
    Collector(#[source] std::io::Error),
    #[error("no [[cti]] link is configured, or more than eight")]
    Links(#[from] crate::machine::selection::LinkCountRefused),
    #[error("a part of the gateway does not start")]
    Part(#[from] crate::actor::supervisor::TreeFailed),
}

/// What the configuration file does not say.
#[derive(Default)]
pub struct Options {
    /// Threads for sessions; 0: the calling one.
    pub arbiters: usize,
    /// How flows to front ends are opened; by default over the network.
    pub connect: Option<Connect>,
    /// How CTI links are connected; by default over TCP.
    pub cti_connector: Option<Arc<dyn crate::cti::Connector>>,
}

/// A running node.
pub struct Gateway {
    node: Arc<Node>,
    /// Why this node must end, once it must: it was fenced, or its store failed.
    over: watch::Receiver<Option<String>>,
    crew: Crew,
    addresses: Vec<SocketAddr>,
    pbx: Option<PbxLab>,
    stop: watch::Sender<bool>,
    /// Tells the listeners to close.
    closing: watch::Sender<bool>,
    accepting: Vec<tokio::task::JoinHandle<()>>,
    tree: tokio::task::JoinHandle<Ended>,
    sessions: tokio::task::JoinHandle<Ended>,
    desk: Arc<NodeDesk>,
    linger: Duration,
}

/// Flow numbers of one life of a node.
const FLOWS_BITS: u32 = 40;

/// The threads flows and sessions live on.
#[derive(Clone)]
struct Crew {
    arbiters: Arc<[ArbiterHandle]>,
    next: Arc<AtomicUsize>,
}

impl Crew {
    fn new(count: usize) -> Self {
        let arbiters = (0..count).map(|_| Arbiter::new().handle()).collect();
        Self { arbiters, next: Arc::default() }
    }

    fn welcome(&self, node: Arc<Node>, accepted: Accepted) {
        let Accepted { stream, peer } = accepted;
        let carry = move || {
            actix_rt::spawn(door::welcome(node, stream, peer.address, peer.secure));
        };
        if self.arbiters.is_empty() {
            return carry();
        }
        let at = self.next.fetch_add(1, Ordering::Relaxed) % self.arbiters.len();
        if !self.arbiters[at].spawn_fn(carry) {
            error!("a session thread is gone; restart the gateway");
        }
    }

    /// Where sessions live: on the same threads as the flows, each by its id.
    fn places(&self) -> Vec<Place> {
        let arbiters: Vec<Place> = self.arbiters.iter().cloned().map(Place::Arbiter).collect();
        if arbiters.is_empty() { vec![Place::Local] } else { arbiters }
    }

    fn stop(&self) {
        for arbiter in self.arbiters.iter() {
            arbiter.stop();
        }
    }
}

/// Runs a future in an actix system of its own, which [`Gateway::start`] needs.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    actix_rt::System::new().block_on(future)
}

impl Gateway {
    /// Starts everything the configuration names and returns when the listeners are bound.
    pub async fn start(
        mut config: Config,
        directory: Arc<DirectoryWatch>,
        options: Options,
    ) -> Result<Self, StartError> {
        let pbx = embedded_pbx(&mut config).await?;
        let engines = Engines::new(&config)?;
        let mut listeners = Vec::new();
        for address in &config.sip.listen {
            listeners.push(listen(&config, address, engines.of(address.security)).await?);
        }
        let addresses: Vec<SocketAddr> = listeners.iter().map(Listener::address).collect();
        let bound_port = addresses.first().map_or(5060, SocketAddr::port);
        let connect = options.connect.unwrap_or_else(|| network(engines.client()));
        let pair = match config.cluster.voter.is_empty() {
            true => None,
            false => Some(Pair::start(&config).await?),
        };
        let records = match &pair {
            Some(pair) => pair.join().await?,
            None => Records::join(Arc::new(MemoryStore::new()), &Cluster::voter_name(config.node.id)).await?,
        };
        let flows = Flows::starting_at(records.incarnation().0 << FLOWS_BITS);
        let node = Arc::new(Node {
            rules: ArcSwap::from_pointee(rules(&config, directory.current(), bound_port)),
            clock: Clock::start(),
            records,
            book: Book::default(),
            flows,
            links: Links::new(config.cti.iter().map(|link| link.name.clone()))?,
            counters: Counters::default(),
            tap: Arc::new(Tap::new(config.trace.traces_max, collector(&config)?)),
            connect,
            flow_options: flow_options(&config),
            sessions_max: config.sip.sessions_max,
            is_draining: AtomicBool::new(false),
            is_red: AtomicBool::new(false),
            sessions: OnceLock::new(),
            arrivals: Arrivals::default(),
            pair,
            far_flows: Default::default(),
            hops: Default::default(),
            passed: Default::default(),
            unheard: Default::default(),
            leaving: Default::default(),
            refusals: Default::default(),
            calls: Default::default(),
            last_takeover: Default::default(),
        });
        let crew = Crew::new(options.arbiters);
        let sessions = sessions(&node, &crew);
        let mut plan =
            Supervisor::new(Strategy::OneForOne).intensity(Intensity { restarts_max: 10, ..Intensity::default() });
        let cti_connector = options.cti_connector.unwrap_or_else(TcpConnector::shared);
        for (at, link) in config.cti.iter().enumerate() {
            plan =
                plan.child(link_child(LINK_CHILDREN[at], at, link_config(link)?, node.clone(), cti_connector.clone()));
        }
        plan = plan.child(reload_child(&config, directory.clone(), node.clone()));
        let mut in_use = Vec::new();
        for (child, engine) in engines.all() {
            in_use.push(engine.clone());
            plan = plan.child(certificates_child(child, &config, engine));
        }
        let certificates = Certificates::of(&config, in_use.first().cloned());
        let desk = Arc::new(NodeDesk {
            node: node.clone(),
            arbiters: crew.arbiters.clone(),
            directory,
            engines: in_use,
            certificates,
            name: Cluster::voter_name(config.node.id),
            began: Instant::now(),
        });
        let tree = plan.start().await?;
        let (tell_over, over) = watch::channel(None);
        if let Some(pair) = &node.pair {
            pair.listen(Arc::new(Hearing(Arc::downgrade(&node))));
            pair.speak(Arc::new(Teller(Arc::downgrade(&desk))));
            adopt_soon(&node);
            actix_rt::spawn(attend(node.clone(), pair.clone(), tell_over));
        }
        let closing = watch::channel(false).0;
        let accepting = listeners
            .into_iter()
            .map(|listener| actix_rt::spawn(accept(listener, node.clone(), crew.clone(), closing.subscribe())))
            .collect();
        let linger = Duration::from_secs(u64::from(config.node.stop_linger_s));
        let (stop, signal) = StopSignal::new();
        let tree = actix_rt::spawn(tree.run(signal.clone()));
        let sessions = actix_rt::spawn(sessions.run(signal));
        Ok(Self { node, over, crew, addresses, pbx, stop, closing, accepting, tree, sessions, desk, linger })
    }

    /// Where the listeners are bound, in configured order.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// The simulated PBX inside, when the configuration asks for one.
    pub fn pbx(&self) -> Option<&PbxLab> {
        self.pbx.as_ref()
    }

    /// Carries a connection that was made elsewhere: memory in tests.
    pub fn attach(&self, stream: Stream, peer: crate::transport::Peer) {
        self.crew.welcome(self.node.clone(), Accepted { stream, peer });
    }

    /// What the operator's door needs of this node.
    pub fn desk(&self) -> Arc<NodeDesk> {
        self.desk.clone()
    }

    /// Answers new sign-ins and OPTIONS with 503, so that the balancer moves on; sessions go on.
    pub fn drain(&self) {
        self.node.is_draining.store(true, Ordering::Relaxed);
        self.node.is_red.store(true, Ordering::Relaxed);
    }

    /// Hands every session to the other node, if there is one that can take them, and waits until the front ends have moved
    /// their connections, or long enough.
    async fn leave(&self) {
        if self.node.pair.is_none() || self.over.borrow().is_some() {
            return self.drain();
        }
        match tokio::time::timeout(LEAVE_MAX, self.desk.act(Act::Drain)).await {
            Ok(Ok(done)) => {
                info!(moved = done.moved, stayed = done.stayed, "users handed over");
                let began = Instant::now();
                // What comes meanwhile is brought to the other node.
                while self.node.flows.count() > 0 && began.elapsed() < self.linger {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            Ok(Err(why)) => {
                warn!(reason = %why, "users are not handed over; the other node takes them over when it can")
            }
            Err(_) => warn!("handing the users over takes too long; the other node takes the rest over"),
        }
        self.drain();
    }

    /// Resolves when a part of the gateway failed for good: the process should end.
    pub async fn failed(&mut self) {
        let over = async {
            // Err: nobody will ever tell.
            let told = self.over.wait_for(Option::is_some).await.map(|why| why.clone());
            match told {
                Ok(why) => {
                    error!(reason = why.unwrap_or_default(), "this node ends; started anew it goes on with a new life")
                }
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            // A cancelled tree is one that nobody runs any more, which is the same.
            _ = &mut self.tree => {}
            () = over => {}
        }
    }

    /// Ends everything, sockets last.
    pub async fn stop(self) {
        self.leave().await;
        // Err: the tree has ended by itself.
        let _ = self.stop.send(true);
        let _ = tokio::time::timeout(Duration::from_secs(10), self.sessions).await;
        let _ = tokio::time::timeout(Duration::from_secs(10), self.tree).await;
        // Err: no listener is left.
        let _ = self.closing.send(true);
        for accepting in self.accepting {
            let _ = accepting.await;
        }
        self.node.flows.close_all();
        let node = &self.node;
        let written = async {
            while node.flows.count() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // Their threads end next, and what waits on a flow with them.
        let _ = tokio::time::timeout(LAST_WORDS_MAX, written).await;
        if let Some(pair) = &self.node.pair {
            pair.stop().await;
        }
        if let Some(pbx) = self.pbx {
            pbx.stop().await;
        }
        self.crew.stop();
    }
}

/// Starts the simulated PBX in place of the first link's, on the link's own address.
async fn embedded_pbx(config: &mut Config) -> Result<Option<PbxLab>, StartError> {
    if !config.lab.embedded_pbx {
        return Ok(None);
    }
    let mut links = Vec::new();
    for link in &config.cti {
        if let Ok(address) = format!("{}:{}", link.address.host, link.address.port).parse() {
            links.push(LinkOptions { name: link.name.clone(), address });
        }
    }
    let devices = vec![DeviceRange { first: config.lab.first_extension.to_string(), count: config.lab.phones }];
    let pbx = PbxLab::start(PbxOptions { links, devices, ..PbxOptions::default() }).await?;
    for (link, address) in config.cti.iter_mut().zip(pbx.addresses()) {
        link.address.port = address.port();
    }
    Ok(Some(pbx))
}

async fn listen(
    config: &Config,
    address: &config::ListenAddress,
    tls: Option<Arc<dyn TlsEngine>>,
) -> Result<Listener, StartError> {
    let failed = |source| StartError::Listen { address: address.to_string(), source };
    let target = format!("{}:{}", address.host, address.port);
    let socket = tokio::net::lookup_host(target).await.map_err(failed)?.next();
    let socket = socket.ok_or_else(|| failed(std::io::Error::from(std::io::ErrorKind::AddrNotAvailable)))?;
    let limits = &config.sip.limits;
    let options = ListenOptions {
        peers_allowed: config.sip.trusted_peers.clone(),
        balancers: config.sip.balancers.clone(),
        handshake_timeout_ms: u64::from(limits.handshake_timeout_s) * 1000,
        handshakes_pending_max: limits.handshakes_max,
        connections_per_peer_max: limits.flows_per_peer_max,
        connections_max: limits.flows_max,
        ..ListenOptions::new(socket)
    };
    Listener::bind(options, tls).await.map_err(failed)
}

fn network(tls: Option<Arc<dyn TlsEngine>>) -> Connect {
    let connector = Connector::new(ConnectOptions::default(), tls);
    Arc::new(move |hop| {
        let connector = connector.clone();
        Box::pin(async move { connector.connect(&hop.host, hop.port, hop.secure).await })
    })
}

async fn accept(mut listener: Listener, node: Arc<Node>, crew: Crew, mut closing: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Some(accepted) => crew.welcome(node.clone(), accepted),
                None => return,
            },
            // Err: the gateway was dropped without a stop and goes on with its threads.
            Ok(()) = closing.changed() => return listener.close().await,
        }
    }
}
