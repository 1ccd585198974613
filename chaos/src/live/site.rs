//! Everything that stands while a run lasts.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lyncpin::lab::balancer::Balancer;
use lyncpin::lab::pbx::{DeviceRange, LinkOptions, PbxLab, PbxOptions, Reply, Request};

use super::account::Account;
use super::balancer::{BalancerProcess, Make};
use super::config::{self, Addresses, FIRST, VOTERS, WITNESS};
use super::disk::{Cellar, Disk};
use super::network::{self, Network};
use super::notes::Notes;
use super::observer::Observers;
use super::process::{Launch, Process};
use super::workload::Shares;
use super::{LiveError, outside, preload};
use crate::history::{ProcessTurn, What};

const SERVES_WITHIN_S: u64 = 40;
const RESTART_AFTER: Duration = Duration::from_millis(300);

pub struct SiteOptions {
    pub folder: PathBuf,
    pub program: PathBuf,
    pub users: usize,
    pub seed: u64,
    pub balancer: Make,
    /// Namespaces and a switch; only inside a world of our own.
    pub has_network: bool,
    pub has_disks: bool,
    /// An fsync that can be told to lie or to take long.
    pub needs_shim: bool,
    /// A clock that can be told what time it is.
    pub needs_clock: bool,
}

pub struct Site {
    pub folder: PathBuf,
    pub notes: Arc<Notes>,
    pub pbx: PbxLab,
    pub balancer: BalancerProcess,
    /// Asks the nodes how they are, and is asked by nobody.
    pub doctor: Balancer,
    pub network: Option<Network>,
    pub disks: BTreeMap<u32, Disk>,
    pub nodes: BTreeMap<u32, Process>,
    pub account: Account,
    /// Where nodes have a network of their own.
    pub observers: Option<Observers>,
    pub addresses: Addresses,
    ended: BTreeMap<u32, Instant>,
    users: usize,
    _cellar: Option<Cellar>,
}

fn free_address() -> Result<SocketAddr, LiveError> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

impl Site {
    pub async fn start(options: SiteOptions, notes: Arc<Notes>) -> Result<Self, LiveError> {
        let SiteOptions { folder, program, users, seed, balancer, has_network, has_disks, needs_shim, needs_clock } =
            options;
        std::fs::create_dir_all(&folder)?;
        let network = if has_network { Some(Network::start(VOTERS, seed)?) } else { None };
        let pbx_address = |link: usize| match has_network {
            true => SocketAddr::from((network::PBX[link], 0)),
            false => SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        let mut pbx = PbxOptions {
            links: (1..=2)
                .flat_map(|node| (0..2).map(move |link| (node, link)))
                .map(|(node, link)| LinkOptions { name: format!("n{node}cm{}", link + 1), address: pbx_address(link) })
                .collect(),
            control: None,
            devices: vec![DeviceRange { first: FIRST.to_string(), count: users }],
            history_entries_max: 1_000_000,
            history_has_events: true,
            ..PbxOptions::default()
        };
        pbx.model.ring_timeout_ms = None;
        pbx.model.outside_answer_after_ms = Some(40);
        let pbx = PbxLab::start(pbx).await?;
        let account = Account::new(notes.clone(), Instant::now());
        let links: Vec<Vec<SocketAddr>> = pbx.addresses().chunks(2).map(<[SocketAddr]>::to_vec).collect();
        let at = |node: u32, port: u16| match has_network {
            true => Ok(SocketAddr::from((network::node(node), port))),
            false => free_address(),
        };
        let trusted = match has_network {
            true => vec![network::CLIENTS.to_string(), network::BALANCER.to_string()],
            false => vec!["127.0.0.1".to_owned()],
        };
        let addresses = Addresses {
            sip: (1..=2).map(|node| at(node, 5060)).collect::<Result<_, _>>()?,
            voters: (1..=VOTERS).map(|node| at(node, 7400)).collect::<Result<_, _>>()?,
            trusted,
            links,
            needs_tls: has_network,
        };
        config::write(&folder, users, &addresses)?;
        let cellar = if has_disks { Some(Cellar::make(&folder)?) } else { None };
        let mut disks = BTreeMap::new();
        for node in 1..=VOTERS {
            if let Some(cellar) = &cellar {
                disks.insert(node, cellar.disk(node, &config::data_dir(&folder, node))?);
            }
        }
        let front: SocketAddr = match has_network {
            true => SocketAddr::from((network::BALANCER, 5060)),
            false => free_address()?,
        };
        let balancer = BalancerProcess::start(balancer, &folder, front, &addresses.sip)?;
        let doctor = Balancer::start(SocketAddr::from(([127, 0, 0, 1], 0)), addresses.sip.iter().copied()).await?;
        let shim = if needs_shim { Some(preload::build_shim(&folder)?) } else { None };
        let clock = if needs_clock { Some(preload::faketime()?) } else { None };
        let launch = |node: u32| Launch {
            part: if node == WITNESS { "witness" } else { "serve" },
            program: program.clone(),
            config: config::file(&folder, node),
            log: folder.join(format!("node{node}.log")),
            namespace: has_network.then(|| network::namespace(node)),
            environment: preload::environment(&folder, node, shim.as_deref(), clock.as_deref()),
        };
        let nodes = (1..=VOTERS).map(|node| (node, Process::new(launch(node)))).collect();
        let mut site = Self {
            folder,
            notes,
            pbx,
            balancer,
            doctor,
            network,
            disks,
            nodes,
            account,
            observers: None,
            addresses,
            ended: BTreeMap::new(),
            users,
            _cellar: cellar,
        };
        for node in 1..=VOTERS {
            site.start_node(node)?;
        }
        site.until_both_serve().await?;
        if has_network {
            site.observers = Some(Observers::start(&[1, 2])?);
        }
        Ok(site)
    }

    /// Where the front ends can be reached.
    pub fn front(&self) -> IpAddr {
        match self.network {
            Some(_) => network::CLIENTS.into(),
            None => [127, 0, 0, 1].into(),
        }
    }

    /// The phone of a user that does nothing; one after the other.
    pub fn idle_device(&self, turn: usize) -> String {
        let busy = Shares::of(self.users).busy();
        (FIRST + busy + turn % (self.users - busy).max(1)).to_string()
    }

    pub fn log(&self, node: u32) -> PathBuf {
        self.folder.join(format!("node{node}.log"))
    }

    pub fn node(&mut self, node: u32) -> Result<&mut Process, LiveError> {
        self.nodes.get_mut(&node).ok_or(LiveError::Unavailable("a fault of a node that does not exist"))
    }

    pub fn start_node(&mut self, node: u32) -> Result<(), LiveError> {
        let process = self.node(node)?;
        process.is_held_down = false;
        process.start()?;
        let life = process.life;
        self.notes.add(What::Process { node, life, turn: ProcessTurn::Started });
        Ok(())
    }

    pub fn kill_node(&mut self, node: u32) -> Result<String, LiveError> {
        let process = self.node(node)?;
        process.is_held_down = true;
        let status = process.kill()?;
        let life = process.life;
        self.notes.add(What::Process { node, life, turn: ProcessTurn::Ended });
        Ok(status)
    }

    /// As a service manager does: a process that ended by itself is started again.
    pub fn restart_the_ended(&mut self) -> Result<(), LiveError> {
        let mut due = Vec::new();
        for (node, process) in &mut self.nodes {
            if process.has_just_ended().is_some() {
                self.notes.add(What::Process { node: *node, life: process.life, turn: ProcessTurn::Ended });
                self.ended.insert(*node, Instant::now());
            }
            if process.pid().is_none()
                && !process.is_held_down
                && self.ended.get(node).is_none_or(|at| at.elapsed() >= RESTART_AFTER)
            {
                due.push(*node);
            }
        }
        due.into_iter().try_for_each(|node| self.start_node(node))
    }

    pub async fn until_both_serve(&mut self) -> Result<(), LiveError> {
        let deadline = Instant::now() + Duration::from_secs(SERVES_WITHIN_S);
        while !self.doctor.health().iter().all(|is_well| *is_well) {
            if Instant::now() > deadline {
                return Err(LiveError::NeverServed(SERVES_WITHIN_S));
            }
            self.restart_the_ended()?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    pub async fn read_account(&mut self) {
        let lives: BTreeMap<u32, u32> = self.nodes.iter().map(|(node, process)| (*node, process.life)).collect();
        self.account.read(&self.pbx, |node| lives.get(&node).copied().unwrap_or(0)).await;
    }

    /// The PBX's calls: device → (call, state).
    pub async fn truth(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let mut truth: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        let Reply::Calls { calls } = self.pbx.control(Request::Calls { after: 0, max: 10_000 }).await else {
            return truth;
        };
        for call in calls {
            for party in call.parties.iter().filter(|party| party.is_device) {
                let calls = truth.entry(party.party.clone()).or_default();
                calls.insert(call.call.clone(), party.state.as_str().to_owned());
            }
        }
        truth
    }

    /// The product's program: beside this one, unless it is named.
    pub fn program(named: Option<&Path>) -> Result<PathBuf, LiveError> {
        let found = match named {
            Some(program) => program.to_owned(),
            None => std::env::current_exe()?.with_file_name("lyncpin"),
        };
        match found.is_file() {
            true => Ok(found),
            false => Err(LiveError::Unavailable(
                "no program `lyncpin` beside this one: cargo build -p lyncpin, or --program",
            )),
        }
    }

    /// Whether this machine and this user can have a network and disks of their own.
    pub fn can_have_a_world() -> bool {
        outside::is_root() && Path::new("/dev/net/tun").exists() && outside::has("unshare") && outside::has("ip")
    }
}
