//! Does to a site what a plan says, proves that it bit, and takes it away again.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lyncpin::lab::pbx::Request;
use tokio::task::JoinHandle;

use super::config::{Validity, WITNESS};
use super::doors::Doors;
use super::plan::Target;
use super::process::{RUNS_MS, STANDS_MS, starve};
use super::site::Site;
use super::storm::Storm;
use super::switch::{Action, Match};
use super::{LiveError, config, damage, hostile, network, outside};
use crate::fault::Kind;
use crate::history::{FaultTurn, What};
use crate::seed::Chance;

const INTRUSIONS: usize = 210;

/// What ends a fault.
enum Undo {
    Nothing,
    Start(Vec<u32>),
    Continue(u32),
    Rules(Vec<u64>),
    Free(u32),
    Repair(u32),
    GoOn(u32),
    Restore(Vec<(u32, PathBuf)>),
    Limit(u32, &'static str),
    Certify(u32),
    Task(JoinHandle<()>),
    Starved(JoinHandle<()>, u32),
    Shim(Vec<u32>),
    Clock(u32),
    Balancer,
    BalancerContinue,
    Pbx(Vec<Request>),
}

/// One fault under way.
pub struct Injection {
    pub fault: u32,
    pub kind: Kind,
    pub nodes: Vec<u32>,
    pub ends_us: u64,
    undo: Undo,
    hits: Option<Arc<AtomicU64>>,
    /// Hits so far count for nothing.
    hits_before: u64,
    has_bitten: bool,
    next_kill_us: u64,
    storm: Storm,
}

impl Drop for Injection {
    fn drop(&mut self) {
        if let Undo::Task(task) | Undo::Starved(task, _) = &self.undo {
            task.abort();
        }
    }
}

fn nodes_of(target: Target, owner: u32) -> Vec<u32> {
    let standby = if owner == 1 { 2 } else { 1 };
    match target {
        Target::Owner | Target::Any => vec![owner],
        Target::Standby => vec![standby],
        Target::Witness => vec![WITNESS],
        Target::All => vec![1, 2, WITNESS],
        Target::Nobody => Vec::new(),
    }
}

/// Files by which the preloaded libraries of a node are told what to do.
pub fn control_file(site: &std::path::Path, what: &str, node: u32) -> PathBuf {
    site.join(format!("{what}{node}"))
}

impl Injection {
    /// Begins a fault now. An `Err` is a fault that this machine cannot do, or that did not work: the run is worth nothing.
    pub async fn begin(
        site: &mut Site,
        (fault, kind): (u32, Kind),
        target: Target,
        ends_us: u64,
        chance: &mut Chance,
    ) -> Result<Self, LiveError> {
        let owner = site.account.owner();
        let mut nodes = nodes_of(target, owner);
        if kind == Kind::PowerCutTwo {
            nodes.push(WITNESS);
        }
        site.notes.add(What::Fault { fault, name: kind, nodes: nodes.clone(), turn: FaultTurn::Began });
        let next_kill_us = site.notes.now_us() + 700_000;
        let (undo, hits, hits_before, has_bitten) = (Undo::Nothing, None, 0, false);
        let storm = Storm::default();
        let mut injection =
            Self { fault, kind, nodes, ends_us, undo, hits, hits_before, has_bitten, next_kill_us, storm };
        let proof = injection.strike(site, owner, chance).await?;
        if let Some(proof) = proof {
            injection.bit(site, proof);
        }
        Ok(injection)
    }

    fn bit(&mut self, site: &Site, proof: String) {
        if !std::mem::replace(&mut self.has_bitten, true) {
            let (fault, name, nodes) = (self.fault, self.kind, self.nodes.clone());
            site.notes.add(What::Fault { fault, name, nodes, turn: FaultTurn::Bit(proof) });
        }
    }

    /// The proof, if there is one at once; rules of the switch prove themselves by the frames they meet.
    async fn strike(&mut self, site: &mut Site, owner: u32, chance: &mut Chance) -> Result<Option<String>, LiveError> {
        let node = self.nodes.first().copied().unwrap_or(owner);
        let port = node as usize;
        let other = if node == 1 { 2 } else { 1 };
        let one_way = |from, to| Match { from: Some(from), to: Some(to), address: Vec::new() };
        let all_of =
            |port| [Match { from: Some(port), ..Match::default() }, Match { to: Some(port), ..Match::default() }];
        match self.kind {
            Kind::Kill | Kind::Restarts => {
                let status = site.kill_node(node)?;
                self.undo = Undo::Start(vec![node]);
                return Ok(Some(format!("node {node}: {status}")));
            }
            Kind::Switchover => {
                site.node(node)?.signal("TERM")?;
                return Ok(Some(format!("SIGTERM was sent to node {node}")));
            }
            Kind::Pause => {
                site.node(node)?.signal("STOP")?;
                self.undo = Undo::Continue(node);
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                let state = site.node(node)?.state();
                return Ok((state == Some('T')).then(|| format!("node {node} is in state T (stopped)")));
            }
            Kind::CutBoth => {
                self.rules(site, vec![one_way(port, other), one_way(other, port)], &Action::Drop)?;
            }
            Kind::CutOneWay => self.rules(site, vec![one_way(port, other)], &Action::Drop)?,
            Kind::Isolate | Kind::CutWitness => self.rules(site, all_of(port).to_vec(), &Action::Drop)?,
            Kind::CutPbx => {
                let [mut out, mut back] = all_of(port);
                (out.address, back.address) = (network::PBX.to_vec(), network::PBX.to_vec());
                self.rules(site, vec![out, back], &Action::Drop)?;
            }
            Kind::Delay => {
                let most = chance.between(10, 60);
                self.rules(site, all_of(port).to_vec(), &Action::DelayMs(1, most))?;
            }
            Kind::Loss => self.rules(site, all_of(port).to_vec(), &Action::Lose(chance.between(1, 8)))?,
            Kind::Reorder => self.rules(site, all_of(port).to_vec(), &Action::Overtake(20, 15))?,
            Kind::Duplicate => self.rules(site, all_of(port).to_vec(), &Action::Double(30))?,
            Kind::HoldOld => self.rules(site, vec![Match { from: Some(port), ..Match::default() }], &Action::Hold)?,
            Kind::SlowLink => self.rules(site, all_of(port).to_vec(), &Action::BytesPerS(400_000))?,
            Kind::Reset => {
                let cut = network(site)?.reset(node)?;
                return Ok((cut > 0).then(|| format!("{cut} connections of node {node} were cut")));
            }
            Kind::StarveCpu => {
                let pid = site.node(node)?.pid().ok_or(LiveError::Unavailable("starving a node that is down"))?;
                self.undo = Undo::Starved(tokio::spawn(starve(pid)), node);
                return Ok(Some(format!("node {node} runs {RUNS_MS} ms of {}", RUNS_MS + STANDS_MS)));
            }
            Kind::NoFiles => return self.limit(site, node, "nofile"),
            Kind::NoMemory => return self.limit(site, node, "as"),
            Kind::NoSpace => {
                let proof = disk(site, node)?.fill()?;
                self.undo = Undo::Free(node);
                return Ok(Some(proof));
            }
            Kind::DiskError => {
                let proof = disk(site, node)?.fail()?;
                self.undo = Undo::Repair(node);
                return Ok(Some(proof));
            }
            Kind::DiskHang => {
                disk(site, node)?.hang()?;
                self.undo = Undo::GoOn(node);
                return Ok(Some(format!("the disk of node {node} is frozen")));
            }
            Kind::PowerCutOne | Kind::PowerCutTwo | Kind::PowerCutAll => return self.cut_power(site),
            Kind::DiskSlow | Kind::FsyncLies => {
                let word = if self.kind == Kind::DiskSlow { "slow" } else { "lie" };
                for node in &self.nodes {
                    std::fs::write(control_file(&site.folder, "fsync", *node), word)?;
                }
                self.undo = Undo::Shim(self.nodes.clone());
                return Ok(Some(format!("the preloaded fsync of nodes {:?} was told: {word}", self.nodes)));
            }
            Kind::ClockJump | Kind::ClockRate => {
                let word = match self.kind {
                    Kind::ClockRate => format!("+0 x{}", chance.between(2, 5)),
                    _ if chance.percent(50) => format!("+{}s", chance.between(60, 90_000)),
                    _ => format!("-{}s", chance.between(60, 90_000)),
                };
                std::fs::write(control_file(&site.folder, "clock", node), &word)?;
                self.undo = Undo::Clock(node);
                return Ok(Some(format!("the clock of node {node} was told: {word}")));
            }
            Kind::FlipByte | Kind::Truncate => return self.damage(site, node, chance).map(Some),
            Kind::BalancerKill => {
                let status = site.balancer.kill()?;
                self.undo = Undo::Balancer;
                return Ok(Some(format!("the balancer: {status}")));
            }
            Kind::BalancerPause => {
                site.balancer.signal("STOP")?;
                self.undo = Undo::BalancerContinue;
                return Ok(Some("SIGSTOP was sent to the balancer".to_owned()));
            }
            Kind::PbxSlow | Kind::PbxDrops | Kind::PbxTwice | Kind::PbxFreeze | Kind::PbxRestart => {
                return self.trouble_the_pbx(site, chance).await.map(Some);
            }
            Kind::Intruders => {
                let (sip, voters) = (site.addresses.sip.clone(), site.addresses.voters.clone());
                let doors = Doors::new(&site.folder, sip, voters, network::INTRUDER.into())?;
                let (notes, seed) = (site.notes.clone(), chance.draw());
                self.undo = Undo::Task(tokio::spawn(Arc::new(doors).try_all(INTRUSIONS, seed, notes)));
                return Ok(Some(format!("{INTRUSIONS} intruders are on their way")));
            }
            Kind::Slowloris | Kind::Torture | Kind::Flood => {
                let (nodes, said, seed) = (site.addresses.sip.clone(), Arc::new(AtomicU64::new(0)), chance.draw());
                self.hits = Some(said.clone());
                self.undo = Undo::Task(match self.kind {
                    Kind::Slowloris => tokio::spawn(hostile::slowloris(nodes, said)),
                    Kind::Torture => tokio::spawn(hostile::torture_all(nodes, seed, said)),
                    _ => tokio::spawn(hostile::flood(nodes, said)),
                });
            }
            Kind::Wipe => {
                site.kill_node(node)?;
                std::fs::remove_dir_all(config::data_dir(&site.folder, node).join("store"))?;
                site.start_node(node)?;
                return Ok(Some(format!("the store of node {node} was removed")));
            }
            Kind::CertRotated => {
                config::certify(&site.folder, node, Validity::Good)?;
                site.node(node)?.signal("TERM")?;
                return Ok(Some(format!(
                    "node {node} has another certificate of the same authority, and was told to stop"
                )));
            }
            Kind::CertExpired => {
                site.kill_node(node)?;
                config::certify(&site.folder, node, Validity::Over)?;
                site.start_node(node)?;
                self.undo = Undo::Certify(node);
                return Ok(Some(format!("node {node} was started with a certificate that is over")));
            }
            Kind::EventStorm => {}
        }
        Ok(None)
    }

    fn rules(&mut self, site: &Site, which: Vec<Match>, action: &Action) -> Result<(), LiveError> {
        let network = network(site)?;
        let added: Vec<_> = which.into_iter().map(|which| network.add(which, action.clone())).collect();
        self.hits = added.first().map(|(_, hits)| hits.clone());
        self.undo = Undo::Rules(added.into_iter().map(|(rule, _)| rule).collect());
        Ok(())
    }

    fn limit(&mut self, site: &mut Site, node: u32, what: &'static str) -> Result<Option<String>, LiveError> {
        let Some((pid, value)) = site.node(node)?.tight_limit(what) else {
            return Err(LiveError::Unavailable("limiting a node that is down"));
        };
        outside::run(&format!("prlimit --pid {pid} --{what}={value}:"))?;
        self.undo = Undo::Limit(node, what);
        Ok(Some(format!("node {node} has its limit of {what} at {value}")))
    }

    fn cut_power(&mut self, site: &mut Site) -> Result<Option<String>, LiveError> {
        let mut says = Vec::new();
        for node in self.nodes.clone() {
            says.push(site.kill_node(node)?);
        }
        let mut kept = Vec::new();
        for node in &self.nodes {
            kept.push((*node, disk(site, *node)?.freeze_platter()?));
        }
        self.undo = Undo::Restore(kept);
        Ok(Some(format!("killed ({}), and only what was synced is kept", says.join(", "))))
    }

    fn damage(&mut self, site: &mut Site, node: u32, chance: &mut Chance) -> Result<String, LiveError> {
        site.kill_node(node)?;
        let says = damage::damage(&config::data_dir(&site.folder, node), self.kind, chance)?;
        site.start_node(node)?;
        Ok(says)
    }

    async fn trouble_the_pbx(&mut self, site: &Site, chance: &mut Chance) -> Result<String, LiveError> {
        let links = ["n1cm1", "n1cm2", "n2cm1", "n2cm2"].map(str::to_owned);
        let ms = chance.between(50, 400);
        let every = chance.between(3, 8);
        let requests: Vec<Request> = match self.kind {
            Kind::PbxRestart => vec![Request::Restart { link: None, forget_calls: false }],
            kind => links
                .into_iter()
                .map(|link| match kind {
                    Kind::PbxSlow => Request::Delay { link, ms },
                    Kind::PbxDrops => Request::DropAnswers { link, every },
                    Kind::PbxTwice => Request::AnswerTwice { link, on: true },
                    _ => Request::Freeze { link, on: true },
                })
                .collect(),
        };
        for request in requests.clone() {
            if !site.pbx.control(request).await.is_ok() {
                return Err(LiveError::Unavailable("a fault of the PBX: it refused"));
            }
        }
        self.undo = Undo::Pbx(vec![Request::Heal { link: None }]);
        Ok(format!("the PBX did as it was told: {:?}", requests.first()))
    }

    /// Called often while the fault lasts.
    pub async fn tend(&mut self, site: &mut Site) -> Result<(), LiveError> {
        if let Some(hits) = &self.hits
            && hits.load(Ordering::Relaxed) > self.hits_before
        {
            let what = match self.kind {
                Kind::Slowloris => "bytes of endless requests were taken",
                Kind::Torture => "torture messages were sent so far",
                Kind::Flood => "requests were sent so far",
                _ => "frames met the switch's rule so far",
            };
            self.bit(site, format!("{} {what}", hits.load(Ordering::Relaxed)));
        }
        if self.kind == Kind::EventStorm {
            self.storm.go_on(site).await;
            self.bit(site, format!("{} calls rang so far", self.storm.calls));
        }
        let now_us = site.notes.now_us();
        if self.kind == Kind::Restarts && now_us >= self.next_kill_us && now_us + 600_000 < self.ends_us {
            let node = self.nodes[0];
            let is_up = site.node(node)?.pid().is_some();
            match is_up {
                true => drop(site.kill_node(node)?),
                false => site.start_node(node)?,
            }
            self.next_kill_us = now_us + if is_up { 200_000 } else { 900_000 };
        }
        Ok(())
    }

    /// Takes the fault away.
    pub async fn heal(&mut self, site: &mut Site) -> Result<(), LiveError> {
        self.storm.end_all_but(site, 0).await;
        match std::mem::replace(&mut self.undo, Undo::Nothing) {
            Undo::Nothing => {}
            Undo::Start(nodes) => {
                for node in nodes {
                    if site.node(node)?.pid().is_none() {
                        site.start_node(node)?;
                    }
                }
            }
            Undo::Continue(node) => site.node(node)?.signal("CONT")?,
            Undo::Rules(rules) => rules.into_iter().for_each(|rule| {
                if let Some(network) = &site.network {
                    network.remove(rule);
                }
            }),
            Undo::Free(node) => {
                disk(site, node)?.free()?;
                site.restart_the_ended()?;
            }
            Undo::Repair(node) => {
                site.kill_node(node)?;
                disk(site, node)?.repair()?;
                site.start_node(node)?;
            }
            Undo::Certify(node) => {
                site.kill_node(node)?;
                config::certify(&site.folder, node, Validity::Good)?;
                site.start_node(node)?;
            }
            Undo::GoOn(node) => disk(site, node)?.go_on()?,
            Undo::Restore(kept) => {
                for (node, image) in kept {
                    disk(site, node)?.restore(image)?;
                    site.start_node(node)?;
                }
            }
            Undo::Limit(node, what) => {
                let value = if what == "nofile" { "4096" } else { "unlimited" };
                if let Some(pid) = site.node(node)?.pid() {
                    outside::run(&format!("prlimit --pid {pid} --{what}={value}:"))?;
                }
            }
            Undo::Task(task) => {
                if self.kind == Kind::Intruders {
                    // The last of them must be counted. Err: it panicked, and too few are counted then.
                    let _ = task.await;
                } else {
                    task.abort();
                }
            }
            Undo::Starved(task, node) => {
                task.abort();
                // Err: it was stopped, as it should be.
                let _ = task.await;
                site.node(node)?.signal("CONT")?;
            }
            Undo::Shim(nodes) => {
                for node in nodes {
                    std::fs::write(control_file(&site.folder, "fsync", node), "ok")?;
                }
            }
            Undo::Clock(node) => std::fs::write(control_file(&site.folder, "clock", node), "+0")?,
            Undo::Balancer => site.balancer.start_again()?,
            Undo::BalancerContinue => site.balancer.signal("CONT")?,
            Undo::Pbx(requests) => {
                for request in requests {
                    site.pbx.control(request).await;
                }
            }
        }
        let (fault, name, nodes) = (self.fault, self.kind, self.nodes.clone());
        site.notes.add(What::Fault { fault, name, nodes, turn: FaultTurn::Healed });
        Ok(())
    }
}

fn network(site: &Site) -> Result<&network::Network, LiveError> {
    site.network.as_ref().ok_or(LiveError::Unavailable("faults of the network: they need root, /dev/net/tun and ip"))
}

fn disk(site: &mut Site, node: u32) -> Result<&mut super::disk::Disk, LiveError> {
    site.disks
        .get_mut(&node)
        .ok_or(LiveError::Unavailable("faults of the disk: they need root, loop devices and mkfs.xfs"))
}
