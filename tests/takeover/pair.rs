//! The processes, the PBX, and the users' connections.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use lyncpin::client::{Call, FlowId, FrontEnd, FrontEndOptions, RccUser, Spread, UserOptions};
use lyncpin::csta::LocalState;
use lyncpin::lab::pbx::{
    CallSeen, DeviceRange, Did, Entry, Happening, OutsideDoes, OutsideRule, PbxLab, PbxOptions, Reply, Request,
};
use lyncpin::trace::Line;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::lines::Cables;

pub const PATIENCE: Duration = Duration::from_secs(30);
const FIRST: usize = 10_001;
const PROGRAM: &str = env!("CARGO_BIN_EXE_lyncpin");

/// Three pairs at once would share two cores.
pub fn run(test: impl Future<Output = ()>) {
    use std::sync::{Mutex, PoisonError};
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

pub struct Pair {
    pbx: PbxLab,
    folder: TempDir,
    cables: Option<Cables>,
    pub sip: BTreeMap<u32, SocketAddr>,
    admin: BTreeMap<u32, SocketAddr>,
    nodes: Rc<RefCell<BTreeMap<u32, Child>>>,
    /// Nodes the test has hit: the others are started again when they end by themselves, as by a service manager.
    hit: Rc<RefCell<BTreeSet<u32>>>,
    /// Nodes that connections may go to.
    open: Rc<Cell<u32>>,
    front_ends: Vec<FrontEnd>,
    flows: Vec<Vec<(u32, FlowId)>>,
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.hit.borrow_mut().extend(1..=3);
        for child in self.nodes.borrow_mut().values_mut() {
            // Err: it has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            for id in 1..=3 {
                let log = fs::read_to_string(self.folder.path().join(format!("node{id}.log"))).unwrap_or_default();
                let tail: Vec<&str> = log.lines().filter(|line| !line.contains("RaftCore")).rev().take(150).collect();
                eprintln!("--- node {id}");
                tail.iter().rev().for_each(|line| eprintln!("{line}"));
            }
        }
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn line(n: usize) -> String {
    format!("tel:+1425555{n};ext={n}")
}

/// The `n`-th user.
pub fn account(n: usize) -> UserOptions {
    let extension = FIRST + n;
    let user = format!("sip:user{extension}@contoso.com");
    let mut options = UserOptions::new(user, line(extension), "sip:rccgw@localhost");
    options.epid = format!("{extension:010x}");
    options
}

pub fn device(n: usize) -> String {
    (FIRST + n).to_string()
}

impl Pair {
    pub async fn start(users: usize) -> Self {
        Self::start_at("wan", users, false).await
    }

    /// `pace`: of the voters; on a busy machine the default one loses its lease now and then. `can_be_cut`: the ways between
    /// the voters are the test's; a death is not proven there, because whoever connects is accepted.
    pub async fn start_at(pace: &str, users: usize, can_be_cut: bool) -> Self {
        let mut options = PbxOptions::with_links(2);
        options.devices = vec![DeviceRange { first: FIRST.to_string(), count: users }];
        options.history_entries_max = 1_000_000;
        options.model.ring_timeout_ms = None;
        options.model.outside = vec![OutsideRule { prefix: "+1206".into(), does: OutsideDoes::AnswerAfterMs(20) }];
        let pbx = PbxLab::start(options).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut csv = String::from("sip,line,device\n");
        for n in FIRST..FIRST + users {
            csv += &format!("sip:user{n}@contoso.com,{},{n}\n", line(n));
        }
        fs::write(folder.path().join("users.csv"), csv).unwrap();
        let sip: BTreeMap<u32, SocketAddr> = (1..=2).map(|id| (id, free_address())).collect();
        let listen: BTreeMap<u32, SocketAddr> = (1..=3).map(|id| (id, free_address())).collect();
        let cables = if can_be_cut { Some(Cables::lay(&listen).await) } else { None };
        let admin: BTreeMap<u32, SocketAddr> = (1..=3).map(|id| (id, free_address())).collect();
        for id in 1..=3 {
            let mut voters = String::new();
            for other in 1..=3 {
                let role = if other == 3 { "witness" } else { "data" };
                let cable = cables.as_ref().filter(|_| other != id);
                let address = cable.map_or(listen[&other], |cables| cables.address(id, other));
                voters += &format!("[[cluster.voter]]\nid = {other}\naddress = \"{address}\"\nrole = \"{role}\"\n");
            }
            let mut text = format!(
                "[node]\nstop_linger_s = 1\nid = {id}\ndata_dir = \"data{id}\"\n[cluster]\npace = \"{pace}\"\n{voters}[log]\nlevel = \"info\"\n"
            );
            text += &format!("[admin]\nlisten = [\"tcp://{}\"]\n", admin[&id]);
            if id < 3 {
                text += &format!(
                    "[sip]\nlisten = [\"tcp://{}\"]\nkeepalive_s = 0\n[users]\nfile = \"users.csv\"\n",
                    sip[&id]
                );
                for (n, address) in pbx.addresses().iter().enumerate() {
                    text += &format!(
                        "[[cti]]\nname = \"cm{n}\"\naddress = \"csta://{address}\"\nheartbeat_s = 1\nbackoff_min_ms = 20\n"
                    );
                }
            }
            fs::write(folder.path().join(format!("node{id}.toml")), text).unwrap();
        }
        let path = folder.path().to_owned();
        let pair = Self {
            pbx,
            folder,
            cables,
            sip,
            admin,
            nodes: Rc::default(),
            hit: Rc::default(),
            open: Rc::new(Cell::new(0b110)),
            front_ends: Vec::new(),
            flows: Vec::new(),
        };
        (1..=3).for_each(|id| pair.spawn(id));
        tokio::task::spawn_local(keep_running(path, pair.nodes.clone(), pair.hit.clone()));
        for id in 1..=2 {
            pair.until_it_serves(id).await;
        }
        pair
    }

    fn spawn(&self, id: u32) {
        self.nodes.borrow_mut().insert(id, process(self.folder.path(), id));
        self.hit.borrow_mut().remove(&id);
    }

    /// OPTIONS is answered 200 by a node that may act.
    pub async fn until_it_serves(&self, id: u32) {
        let address = self.sip[&id];
        let serves = async {
            while !answers(address).await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, serves).await.is_ok(), "node {id} does not serve");
    }

    /// Users over so many front ends, each with a connection to either node, as a balancer might have made them.
    pub async fn users(&mut self, count: usize, front_ends: usize) -> Vec<RccUser> {
        self.users_who(count, front_ends, Spread::ByUser).await
    }

    pub async fn users_who(&mut self, count: usize, front_ends: usize, spread: Spread) -> Vec<RccUser> {
        for n in 0..front_ends {
            let options = FrontEndOptions {
                repeats_on_flow_loss: true,
                spread,
                ..FrontEndOptions::front_end(&format!("fe{n:02}.contoso.com"))
            };
            let front_end = FrontEnd::new(options);
            self.front_ends.push(front_end.clone());
            for id in [1, 2] {
                tokio::task::spawn_local(stay_connected(front_end.clone(), self.sip[&id], id, self.open.clone()));
            }
            until("it is connected", || front_end.flows().len() == 2).await;
        }
        self.flows.clear();
        (0..count).map(|n| self.front_ends[n % front_ends].user(account(n))).collect()
    }

    pub fn kill(&self, id: u32) {
        self.hit.borrow_mut().insert(id);
        let mut nodes = self.nodes.borrow_mut();
        let child = nodes.get_mut(&id).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// What a service manager does before an upgrade: SIGTERM, and the node ends when its users have moved.
    pub async fn end(&self, id: u32) {
        self.hit.borrow_mut().insert(id);
        self.signal(id, "-TERM");
        until("it ends", || self.has_ended(id)).await;
        let status = self.nodes.borrow_mut().get_mut(&id).unwrap().wait().unwrap();
        assert!(status.success(), "node {id}: {status}");
    }

    /// `lyncpin ctl` to one node: whether it was done, and what it said.
    pub async fn ctl(&self, id: u32, what: &[&str]) -> (bool, serde_json::Value) {
        let mut command = Command::new(PROGRAM);
        command.args(["ctl", "--json", "--admin", &format!("http://{}", self.admin_address(id))]).args(what);
        let run = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = serde_json::from_slice(&run.stdout).unwrap_or_else(|why| panic!("{why}: {run:?}"));
        (run.status.success(), said)
    }

    /// What one node tells of a user meanwhile, for so many seconds; it is asked from now on.
    pub async fn trace(&self, id: u32, user: &str, seconds: u32) -> tokio::task::JoinHandle<Vec<Line>> {
        let mut command = Command::new(PROGRAM);
        command.args(["ctl", "--json", "--admin", &format!("http://{}", self.admin[&id]), "trace", user]);
        let mut child = command.args(["--for", &format!("{seconds}s")]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let read = |line: std::io::Result<String>| serde_json::from_str(&line.unwrap()).unwrap();
        let (first, lines) = tokio::task::spawn_blocking(move || (lines.next().map(read), lines)).await.unwrap();
        tokio::task::spawn_blocking(move || {
            let all = first.into_iter().chain(lines.map(read)).collect();
            assert!(child.wait().unwrap().success());
            all
        })
    }

    /// One sample of a node's metrics.
    pub fn metric(&self, id: u32, name: &str) -> f64 {
        let mut stream = std::net::TcpStream::connect(self.admin[&id]).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        let sample = page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        sample.unwrap_or_else(|| panic!("no {name} in {page}"))
    }

    /// `lyncpin` with this node's configuration: whether it was done, and what it said on either stream.
    pub fn command(&self, id: u32, before: &[&str], after: &[&str]) -> (bool, String) {
        let file = self.folder.path().join(format!("node{id}.toml"));
        let run = Command::new(PROGRAM).args(before).arg(file).args(after).output().unwrap();
        let said = [run.stdout, run.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        (run.status.success(), said)
    }

    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Its disk is lost.
    pub fn wipe(&self, id: u32) {
        fs::remove_dir_all(self.folder.path().join(format!("data{id}"))).unwrap();
    }

    /// Starts nodes again that have ended; those that serve users do so when this returns.
    pub async fn start_again(&self, ids: &[u32]) {
        ids.iter().for_each(|id| self.spawn(*id));
        for id in ids.iter().filter(|id| **id < 3) {
            self.until_it_serves(*id).await;
        }
    }

    /// Where a node's operator asks.
    pub fn admin_address(&self, id: u32) -> SocketAddr {
        self.admin[&id]
    }

    pub fn sip_address(&self, id: u32) -> SocketAddr {
        self.sip[&id]
    }

    pub async fn restart(&self, id: u32) {
        self.open.set(self.open.get() | 1 << id);
        self.spawn(id);
        self.until_it_serves(id).await;
        for front_end in &self.front_ends {
            until("it is connected to both", || front_end.flows().len() == 2).await;
        }
    }

    fn signal(&self, id: u32, signal: &str) {
        let pid = self.nodes.borrow()[&id].id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    pub fn freeze(&self, id: u32) {
        self.hit.borrow_mut().insert(id);
        self.signal(id, "-STOP");
    }

    /// No word comes from this node to the other voters, or from them to it; clients and PBX reach it.
    pub fn cut_off(&self, id: u32) {
        self.hit.borrow_mut().insert(id);
        self.cables.as_ref().expect("laid at the start").cut(id);
    }

    pub fn heal(&self) {
        self.cables.as_ref().expect("laid at the start").heal();
    }

    pub fn thaw(&self, id: u32) {
        self.signal(id, "-CONT");
    }

    /// How often a node has said this in its log.
    pub fn said(&self, id: u32, words: &str) -> usize {
        let log = fs::read_to_string(self.folder.path().join(format!("node{id}.log"))).unwrap_or_default();
        log.matches(words).count()
    }

    /// As a balancer does that finds a node sick: its connections end, and no new ones go there.
    pub fn leave(&self, id: u32) {
        self.open.set(self.open.get() & !(1 << id));
    }

    pub fn has_ended(&self, id: u32) -> bool {
        let pid = self.nodes.borrow()[&id].id();
        // A child that has ended and was not waited for is a zombie.
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
    }

    /// Every answer of the PBX takes so long from now on.
    pub async fn delay(&self, ms: u64) {
        for link in ["pbx1", "pbx2"] {
            let reply = self.desk(Request::Delay { link: link.into(), ms }).await;
            assert!(reply.is_ok(), "{reply:?}");
        }
    }

    pub async fn desk(&self, request: Request) -> Reply {
        self.pbx.control(request).await
    }

    /// What happens at the phones while a node is away: the first call of the round ends, another phone rings.
    pub async fn desk_changes(&self, round: usize) {
        if round == 0 {
            self.desk(Request::Hangup { device: device(0), call: None }).await;
        }
        self.desk(Request::Ring { device: device(22 + round % 2), from: Some("+14165550199".into()) }).await;
    }

    async fn calls(&self) -> Vec<CallSeen> {
        match self.desk(Request::Calls { after: 0, max: 10_000 }).await {
            Reply::Calls { calls } => calls,
            other => panic!("{other:?}"),
        }
    }

    /// Every user's calls are the PBX's, within the patience of a test.
    pub async fn views_are_true(&self, users: &[RccUser]) {
        let mut differ = Vec::new();
        for _ in 0..1_500 {
            differ = self.differences(users).await;
            if differ.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("ghosts:\n{}", differ.join("\n"));
    }

    async fn differences(&self, users: &[RccUser]) -> Vec<String> {
        let mut truth: BTreeMap<String, BTreeMap<String, LocalState>> = BTreeMap::new();
        for call in self.calls().await {
            for party in call.parties.iter().filter(|party| party.is_device) {
                truth.entry(party.party.clone()).or_default().insert(call.call.clone(), party.state);
            }
        }
        let shown = |user: &RccUser| -> BTreeMap<String, LocalState> {
            user.with_view(|view| view.calls().iter().map(|call: &Call| (call.id.clone(), call.local)).collect())
        };
        let one = |(n, user): (usize, &RccUser)| {
            let (shown, real) = (shown(user), truth.get(&device(n)).cloned().unwrap_or_default());
            (shown != real).then(|| format!("{}: shown {shown:?}, real {real:?}", user.name()))
        };
        users.iter().enumerate().filter_map(one).collect()
    }

    /// What the PBX says happened after this entry.
    pub async fn history(&self, mut after: u64) -> Vec<Entry> {
        let mut entries = Vec::new();
        loop {
            let Reply::History(page) = self.desk(Request::History { after, max: 10_000 }).await else {
                panic!("pages")
            };
            assert_eq!(page.dropped, 0, "a history with holes proves nothing");
            let Some(last) = page.entries.last() else { return entries };
            after = last.seq;
            entries.extend(page.entries);
        }
    }

    /// Every number the PBX was asked to dial, as often as it was.
    pub async fn dialled(&self) -> Vec<String> {
        use lyncpin::csta::Service;
        let number = |entry: Entry| match entry.what {
            Happening::Service { service: Service::MakeCall { called, .. }, did: Did::Ok | Did::Call(_), .. } => {
                Some(called)
            }
            _ => None,
        };
        self.history(0).await.into_iter().filter_map(number).collect()
    }

    pub async fn nothing_was_dialled_twice(&self) {
        let mut outside: Vec<String> =
            self.dialled().await.into_iter().filter(|number| number.contains("206555")).collect();
        let all = outside.len();
        outside.sort();
        outside.dedup();
        assert_eq!(outside.len(), all, "a number was dialled twice");
    }

    pub fn stop(self) {
        drop(self);
    }
}

fn process(folder: &Path, id: u32) -> Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.join(format!("node{id}.log")));
    Command::new(PROGRAM)
        .arg(if id == 3 { "witness" } else { "serve" })
        .arg("--config")
        .arg(folder.join(format!("node{id}.toml")))
        .stdout(Stdio::null())
        .stderr(log.unwrap())
        .spawn()
        .unwrap()
}

/// On a busy machine a node may lose its lease, be fenced, and end its life without being hit.
async fn keep_running(folder: PathBuf, nodes: Rc<RefCell<BTreeMap<u32, Child>>>, hit: Rc<RefCell<BTreeSet<u32>>>) {
    while folder.exists() {
        for (id, child) in nodes.borrow_mut().iter_mut() {
            if !hit.borrow().contains(id) && child.try_wait().is_ok_and(|ended| ended.is_some()) {
                *child = process(&folder, *id);
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Connects again whenever the connection is lost, while connections may go there; ends it when they may not.
async fn stay_connected(front_end: FrontEnd, address: SocketAddr, id: u32, open: Rc<Cell<u32>>) {
    loop {
        if open.get() & 1 << id != 0
            && let Ok(flow) = front_end.connect(address).await
        {
            while front_end.flows().contains(&flow) {
                if open.get() & 1 << id == 0 {
                    front_end.close(flow);
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub async fn answers(address: SocketAddr) -> bool {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    const OPTIONS: &[u8] = b"OPTIONS sip:rccgw@localhost SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK1\r\n\
        Max-Forwards: 70\r\nFrom: <sip:lb@contoso.com>;tag=m1\r\nTo: <sip:rccgw@localhost>\r\nCall-ID: c1\r\n\
        CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";
    let asked = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(OPTIONS).await.ok()?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.ok()?;
        Some(&answer == b"SIP/2.0 200 ")
    };
    tokio::time::timeout(Duration::from_secs(1), asked).await.ok().flatten().unwrap_or(false)
}

pub async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "not within {PATIENCE:?}: {what}");
}
