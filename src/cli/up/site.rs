//! What `lyncpin up` runs: the processes, the PBX, the balancer, the users.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::future::join_all;

use crate::client::{FrontEnd, FrontEndOptions, Phase, RccUser, SignInError, Unanswered, UserOptions};
use crate::csta::LocalState;
use crate::lab::balancer::Balancer;
use crate::lab::pbx::{CallSeen, DeviceRange, Entry, PbxLab, PbxOptions, Reply, Request};

/// Extension of the first demo user.
const FIRST: usize = 10_001;
/// What the PBX remembers for a count of every command.
const HISTORY_MAX: usize = 1_000_000;
const REFUSED_MAX: usize = 40;
const PATIENCE: Duration = Duration::from_secs(30);

/// A phone, the calls its user sees, and those that there are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WrongView {
    device: String,
    seen: BTreeMap<String, LocalState>,
    is: BTreeMap<String, LocalState>,
}

impl fmt::Display for WrongView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "phone {}: its user sees {:?}, the PBX has {:?}", self.device, self.seen, self.is)
    }
}

pub struct Site {
    folder: PathBuf,
    is_ours: bool,
    pbx: PbxLab,
    balancer: Balancer,
    admin: SocketAddr,
    nodes: BTreeMap<u32, Child>,
    _front_ends: Vec<FrontEnd>,
    pub users: Vec<RccUser>,
}

impl Drop for Site {
    fn drop(&mut self) {
        for child in self.nodes.values_mut() {
            // Err: it has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
        if self.is_ours {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

fn line_of(extension: usize) -> String {
    format!("tel:+1425555{extension};ext={extension}")
}

impl Site {
    pub async fn start(wanted: &super::Up, out: &mut impl Write) -> Result<Self, Box<dyn std::error::Error>> {
        let (folder, users) = (wanted.dir.as_deref(), wanted.users as usize);
        let is_ours = folder.is_none();
        let folder = match folder {
            Some(folder) => folder.to_owned(),
            None => std::env::temp_dir().join(format!("lyncpin-up-{}", std::process::id())),
        };
        fs::create_dir_all(&folder)?;
        let mut options = PbxOptions::with_links(2);
        options.devices = vec![DeviceRange { first: FIRST.to_string(), count: users }];
        options.model.ring_timeout_ms = None;
        if wanted.kills.is_some() {
            options.history_entries_max = HISTORY_MAX;
        }
        let pbx = PbxLab::start(options).await?;
        let sip: Vec<SocketAddr> = (0..2).map(|_| free_address()).collect::<io::Result<_>>()?;
        let admin: Vec<SocketAddr> = (0..3).map(|_| free_address()).collect::<io::Result<_>>()?;
        configure(&folder, users, &sip, &admin, pbx.addresses(), &wanted.pace)?;
        let balancer = Balancer::start(SocketAddr::from(([127, 0, 0, 1], 0)), sip.iter().copied()).await?;
        let mut site = Self {
            folder,
            is_ours,
            pbx,
            balancer,
            admin: admin[0],
            nodes: BTreeMap::new(),
            _front_ends: Vec::new(),
            users: Vec::new(),
        };
        for id in 1..=3 {
            site.spawn(id)?;
        }
        writeln!(out, "A pair on this machine, in {}:", site.folder.display())?;
        for (id, (address, admin)) in (1..).zip(sip.iter().zip(&admin)) {
            writeln!(out, "  node {id}     pid {:<8} tcp://{address:<22} operator http://{admin}", site.pid(id))?;
        }
        writeln!(out, "  witness    pid {:<8} {:<28} operator http://{}", site.pid(3), "", admin[2])?;
        writeln!(out, "  balancer   tcp://{}", site.balancer.address())?;
        for address in site.pbx.addresses() {
            writeln!(out, "  PBX        csta://{address}")?;
        }
        if let Some(control) = site.pbx.control_address() {
            writeln!(out, "  PBX desk   tcp://{control}  (one JSON object a line, e.g. {{\"op\":\"calls\"}})")?;
        }
        out.flush()?;
        site.until_both_serve().await?;
        // A drill hits the node that serves everybody.
        site.balancer.prefer(wanted.drill.then_some(0));
        site.sign_in(users, wanted.front_ends as usize).await?;
        site.place_calls(wanted.calls.map_or(users / 8, |calls| calls as usize)).await?;
        site.balancer.prefer(None);
        writeln!(out, "  {} demo users signed in, {} calls", site.users.len(), site.calls().await.len())?;
        Ok(site)
    }

    fn spawn(&mut self, id: u32) -> io::Result<()> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.join(format!("node{id}.log")))?;
        let child = Command::new(std::env::current_exe()?)
            .arg(if id == 3 { "witness" } else { "serve" })
            .arg("--config")
            .arg(self.folder.join(format!("node{id}.toml")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        self.nodes.insert(id, child);
        Ok(())
    }

    /// Where the first node's operator asks.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    pub fn pid(&self, id: u32) -> u32 {
        self.nodes.get(&id).map_or(0, Child::id)
    }

    pub fn kill(&mut self, id: u32) -> io::Result<()> {
        let Some(child) = self.nodes.get_mut(&id) else { return Ok(()) };
        child.kill()?;
        child.wait().map(drop)
    }

    /// As a service manager does.
    pub fn restart_the_dead(&mut self) -> io::Result<()> {
        let ended = |child: &mut Child| child.try_wait().is_ok_and(|status| status.is_some());
        let dead: Vec<u32> = self.nodes.iter_mut().filter_map(|(id, child)| ended(child).then_some(*id)).collect();
        dead.into_iter().try_for_each(|id| self.spawn(id))
    }

    pub async fn until_both_serve(&self) -> Result<(), String> {
        let serve = async {
            while !self.balancer.health().iter().all(|is_well| *is_well) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let late = |_| format!("the nodes do not serve; see the logs in {}", self.folder.display());
        tokio::time::timeout(PATIENCE, serve).await.map_err(late)
    }

    async fn sign_in(&mut self, users: usize, front_ends: usize) -> Result<(), String> {
        for n in 0..front_ends {
            // Nodes connect to it when a connection of its own is gone.
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(|why| why.to_string())?;
            let address = listener.local_addr().map_err(|why| why.to_string())?;
            let options = FrontEndOptions {
                repeats_on_flow_loss: true,
                via: Some(format!("fe{n:02}.contoso.com:58201")),
                ..FrontEndOptions::listening(address)
            };
            let front_end = FrontEnd::new(options);
            front_end.listen(listener);
            front_end.keep_connected(vec![self.balancer.address().to_string()], 1);
            self._front_ends.push(front_end);
        }
        self.users = (0..users)
            .map(|n| {
                let extension = FIRST + n;
                let user = format!("sip:user{extension}@contoso.com");
                let mut options = UserOptions::new(user, line_of(extension), "sip:rccgw@localhost");
                options.epid = format!("{extension:010x}");
                self._front_ends[n % front_ends].user(options)
            })
            .collect();
        for some in self.users.chunks(50) {
            for signed_in in join_all(some.iter().map(sign_in)).await {
                signed_in.map_err(|why| format!("a demo user cannot sign in: {why}"))?;
            }
        }
        Ok(())
    }

    /// Pairs that talk, spread over the users.
    async fn place_calls(&self, calls: usize) -> Result<(), String> {
        let pairs = self.users.len() / 2;
        let apart = (pairs / calls.max(1)).max(1);
        for two in self.users.chunks_exact(2).step_by(apart).take(calls) {
            let placed = two[0].make_call(&two[1].line()).await.map_err(|why| why.to_string())?;
            if !placed.is_done() {
                return Err(format!("a demo call was refused: {:?}", placed.refusal()));
            }
            let ringing = |view: &crate::client::CallView| {
                view.calls().iter().find(|call| call.phase() == Phase::Alerting).map(|call| call.id.clone())
            };
            if let Some(call) = two[1].until(PATIENCE, ringing).await {
                two[1].answer(&call).await.map_err(|why| why.to_string())?;
            }
        }
        Ok(())
    }

    /// What the PBX says happened after this entry.
    pub async fn history(&self, mut after: u64) -> Vec<Entry> {
        let mut entries = Vec::new();
        while let Reply::History(page) = self.pbx.control(Request::History { after, max: 10_000 }).await {
            let Some(last) = page.entries.last() else { break };
            after = last.seq;
            entries.extend(page.entries);
        }
        entries
    }

    pub async fn history_end(&self) -> u64 {
        match self.pbx.control(Request::History { after: u64::MAX, max: 1 }).await {
            Reply::History(page) => page.last_seq,
            _ => 0,
        }
    }

    /// The process takes part in nothing until it is told to go on; its kernel does.
    pub fn signal(&self, id: u32, signal: &str) -> io::Result<()> {
        let done = Command::new("kill").args([signal, &self.pid(id).to_string()]).status()?;
        if done.success() { Ok(()) } else { Err(io::Error::other("the signal was not sent")) }
    }

    /// How often a node has said this in its log.
    pub fn said(&self, id: u32, words: &str) -> usize {
        let log = fs::read_to_string(self.folder.join(format!("node{id}.log"))).unwrap_or_default();
        log.matches(words).count()
    }

    pub fn is_well(&self, id: u32) -> bool {
        id.checked_sub(1).and_then(|at| self.balancer.health().get(at as usize).copied()).unwrap_or_default()
    }

    pub async fn calls(&self) -> Vec<CallSeen> {
        match self.pbx.control(Request::Calls { after: 0, max: 10_000 }).await {
            Reply::Calls { calls } => calls,
            _ => Vec::new(),
        }
    }

    /// Users whose view is not the PBX's, and what each sees.
    pub async fn wrong_views(&self) -> Vec<WrongView> {
        let mut truth: BTreeMap<String, BTreeMap<String, LocalState>> = BTreeMap::new();
        for call in self.calls().await {
            for party in call.parties.iter().filter(|party| party.is_device) {
                truth.entry(party.party.clone()).or_default().insert(call.call.clone(), party.state);
            }
        }
        let compare = |(n, user): (usize, &RccUser)| {
            let device = (FIRST + n).to_string();
            let seen: BTreeMap<String, LocalState> =
                user.with_view(|view| view.calls().iter().map(|call| (call.id.clone(), call.local)).collect());
            let is = truth.get(&device).cloned().unwrap_or_default();
            (seen != is).then_some(WrongView { device, seen, is })
        };
        self.users.iter().enumerate().filter_map(compare).collect()
    }

    pub async fn ghosts(&self) -> usize {
        self.wrong_views().await.len()
    }

    /// One line for a person who watches.
    pub async fn line(&self) -> String {
        let nodes: Vec<String> = (1..)
            .zip(self.balancer.health())
            .map(|(id, is_well)| format!("node {id} {}", if is_well { "serves" } else { "is away" }))
            .collect();
        let signed_in = self.users.iter().filter(|user| user.is_signed_in()).count();
        format!(
            "{}  users {signed_in}/{}  calls {}  ghosts {}",
            nodes.join("  "),
            self.users.len(),
            self.calls().await.len(),
            self.ghosts().await
        )
    }
}

/// Refused for now: a busy machine is without a quorum for a moment now and then.
async fn sign_in(user: &RccUser) -> Result<(), SignInError> {
    for _ in 0..REFUSED_MAX {
        match user.sign_in().await {
            Err(SignInError::Invite(Unanswered::Sip { status: 503, .. })) => {}
            Err(SignInError::Service { why: Unanswered::Sip { status: 503, .. }, .. }) => {}
            told => return told.map(drop),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    user.sign_in().await.map(drop)
}

fn configure(
    folder: &Path,
    users: usize,
    sip: &[SocketAddr],
    admin: &[SocketAddr],
    links: &[SocketAddr],
    pace: &str,
) -> io::Result<()> {
    let mut csv = String::from("sip,line,device\n");
    for extension in FIRST..FIRST + users {
        csv += &format!("sip:user{extension}@contoso.com,{},{extension}\n", line_of(extension));
    }
    fs::write(folder.join("users.csv"), csv)?;
    let mut voters = String::new();
    for id in 1..=3 {
        let role = if id == 3 { "witness" } else { "data" };
        voters += &format!("[[cluster.voter]]\nid = {id}\naddress = \"{}\"\nrole = \"{role}\"\n", free_address()?);
    }
    for (id, admin) in (1..=3_usize).zip(admin) {
        let mut text = format!(
            "[node]\nid = {id}\ndata_dir = \"data{id}\"\nstop_linger_s = 1\n[cluster]\npace = \"{pace}\"\n{voters}"
        );
        text += "[log]\nformat = \"human\"\n";
        text += &format!("[admin]\nlisten = [\"tcp://{admin}\"]\n");
        if let Some(address) = sip.get(id - 1) {
            text += &format!("[sip]\nlisten = [\"tcp://{address}\"]\n[users]\nfile = \"users.csv\"\n");
            for (n, link) in links.iter().enumerate() {
                text += &format!("[[cti]]\nname = \"cm{}\"\naddress = \"csta://{link}\"\nheartbeat_s = 1\n", n + 1);
            }
        }
        fs::write(folder.join(format!("node{id}.toml")), text)?;
    }
    Ok(())
}
