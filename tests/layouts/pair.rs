//! Two nodes and a witness as real processes over one simulated PBX, whatever stands in front of them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use lyncpin::client::{Call, FrontEnd, RccUser, UserOptions};
use lyncpin::csta::{LocalState, Service};
use lyncpin::lab::pbx::{
    CallSeen, DeviceRange, Did, Happening, OutsideDoes, OutsideRule, PbxLab, PbxOptions, Reply, Request,
};
use tempfile::TempDir;

pub const PATIENCE: Duration = Duration::from_secs(30);
const FIRST: usize = 10_001;
const PROGRAM: &str = env!("CARGO_BIN_EXE_lyncpin");

/// Two pairs at once would share two cores.
pub fn run(test: impl Future<Output = ()>) {
    use std::sync::{Mutex, PoisonError};
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// What differs between layouts in the nodes' files.
pub struct NodeOptions<'a> {
    /// `tcp` or `mtls`.
    pub scheme: &'static str,
    /// Lines of `[sip]`.
    pub sip: String,
    /// Sections behind all others.
    pub sections: String,
    /// What each voter, the witness too, has in its own file.
    pub voter: Option<Box<dyn Fn(u32) -> String + 'a>>,
}

pub struct Pair {
    pbx: PbxLab,
    folder: TempDir,
    sip: BTreeMap<u32, SocketAddr>,
    nodes: Rc<RefCell<BTreeMap<u32, Child>>>,
    /// How often a node ended by itself and was started again.
    lives: Rc<Cell<usize>>,
    manager: tokio::task::JoinHandle<()>,
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.manager.abort();
        for child in self.nodes.borrow_mut().values_mut() {
            // Err: it has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            for id in 1..=3 {
                tell_tail(&self.folder.path().join(format!("node{id}.log")));
            }
        }
    }
}

/// The end of a log, for whoever looks at a test that failed.
pub fn tell_tail(log: &Path) {
    let text = fs::read_to_string(log).unwrap_or_default();
    let tail: Vec<&str> = text.lines().filter(|line| !line.contains("session opened")).rev().take(60).collect();
    eprintln!("--- {}", log.display());
    tail.iter().rev().for_each(|line| eprintln!("{line}"));
}

fn spawn(folder: &Path, id: u32) -> Child {
    let log = folder.join(format!("node{id}.log"));
    Command::new(PROGRAM)
        .arg(if id == 3 { "witness" } else { "serve" })
        .arg("--config")
        .arg(folder.join(format!("node{id}.toml")))
        .stdout(Stdio::null())
        .stderr(fs::OpenOptions::new().create(true).append(true).open(log).unwrap())
        .spawn()
        .unwrap()
}

/// A service manager: starts a node again that ends by itself, which a fenced one does.
async fn manage(folder: PathBuf, nodes: Rc<RefCell<BTreeMap<u32, Child>>>, lives: Rc<Cell<usize>>) {
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        for (id, child) in nodes.borrow_mut().iter_mut() {
            if child.try_wait().unwrap().is_some() {
                *child = spawn(&folder, *id);
                lives.set(lives.get() + 1);
            }
        }
    }
}

fn line(n: usize) -> String {
    format!("tel:+1425555{n};ext={n}")
}

impl Pair {
    pub async fn start(users: usize, options: &NodeOptions<'_>) -> Self {
        let mut pbx = PbxOptions::with_links(2);
        pbx.devices = vec![DeviceRange { first: FIRST.to_string(), count: users }];
        pbx.history_entries_max = 1_000_000;
        pbx.model.ring_timeout_ms = None;
        pbx.model.outside = vec![OutsideRule { prefix: "+1206".into(), does: OutsideDoes::AnswerAfterMs(20) }];
        let pbx = PbxLab::start(pbx).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut csv = String::from("sip,line,device\n");
        for n in FIRST..FIRST + users {
            csv += &format!("sip:user{n}@contoso.com,{},{n}\n", line(n));
        }
        fs::write(folder.path().join("users.csv"), csv).unwrap();
        let sip: BTreeMap<u32, SocketAddr> = (1..=2).map(|id| (id, free_address())).collect();
        let nodes: Rc<RefCell<BTreeMap<u32, Child>>> = Rc::default();
        let lives = Rc::new(Cell::new(0));
        let manager = tokio::task::spawn_local(manage(folder.path().to_owned(), nodes.clone(), lives.clone()));
        let pair = Self { pbx, folder, sip, nodes, lives, manager };
        pair.configure(options);
        (1..=3).for_each(|id| pair.spawn(id));
        pair
    }

    fn configure(&self, options: &NodeOptions<'_>) {
        let mut voters = String::new();
        for id in 1..=3 {
            let role = if id == 3 { "witness" } else { "data" };
            voters += &format!("[[cluster.voter]]\nid = {id}\naddress = \"{}\"\nrole = \"{role}\"\n", free_address());
        }
        for id in 1..=3 {
            // No operator's door: its port would be the same one on all three.
            let mut text = format!(
                "[node]\nid = {id}\ndata_dir = \"data{id}\"\n{voters}[log]\nlevel = \"info\"\n[admin]\nlisten = []\n"
            );
            if let Some(address) = self.sip.get(&id) {
                let NodeOptions { scheme, sip, sections, .. } = options;
                text += &format!("[sip]\nlisten = [\"{scheme}://{address}\"]\nfqdn = \"rccgw.contoso.com\"\n{sip}\n");
                text += &format!("[users]\nfile = \"users.csv\"\n{sections}\n");
                for (n, link) in self.pbx.addresses().iter().enumerate() {
                    text += &format!(
                        "[[cti]]\nname = \"cm{n}\"\naddress = \"csta://{link}\"\nheartbeat_s = 1\nbackoff_min_ms = 20\n"
                    );
                }
            }
            text += &options.voter.as_ref().map(|of| of(id)).unwrap_or_default();
            fs::write(self.file(id), text).unwrap();
        }
    }

    fn file(&self, id: u32) -> std::path::PathBuf {
        self.folder.path().join(format!("node{id}.toml"))
    }

    /// Where node `id` listens for SIP.
    pub fn sip(&self, id: u32) -> SocketAddr {
        self.sip[&id]
    }

    pub fn spawn(&self, id: u32) {
        self.nodes.borrow_mut().insert(id, spawn(self.folder.path(), id));
    }

    /// With -9; it stays away until it is spawned.
    pub fn kill(&self, id: u32) {
        let mut child = self.nodes.borrow_mut().remove(&id).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// With SIGTERM, as a service manager does, until it has ended well; it stays away until it is spawned.
    pub async fn stop_gently(&self, id: u32) {
        self.signal(id, "-TERM");
        let mut child = self.nodes.borrow_mut().remove(&id).unwrap();
        let ended = async {
            loop {
                if let Some(status) = child.try_wait().unwrap() {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let status = tokio::time::timeout(PATIENCE, ended).await.expect("it ends when it is told to");
        assert!(status.success(), "node {id}: {status}");
    }

    pub fn signal(&self, id: u32, signal: &str) {
        let pid = self.nodes.borrow()[&id].id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// How often a node ended by itself, because it was fenced, and was started again.
    pub fn lives(&self) -> usize {
        self.lives.get()
    }

    /// Users over these front ends, by turns; `server` is their line server URI.
    pub fn users(&self, count: usize, front_ends: &[FrontEnd], server: &str) -> Vec<RccUser> {
        let user = |n: usize| {
            let extension = FIRST + n;
            let name = format!("sip:user{extension}@contoso.com");
            let mut options = UserOptions::new(name, line(extension), server);
            options.epid = format!("{extension:010x}");
            front_ends[n % front_ends.len()].user(options)
        };
        (0..count).map(user).collect()
    }

    /// A call rings at a user's phone, with nobody's help.
    pub async fn ring(&self, user: usize) {
        let device = (FIRST + user).to_string();
        let reply = self.pbx.control(Request::Ring { device, from: Some("+14165550199".into()) }).await;
        assert!(reply.is_ok(), "{reply:?}");
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
        let calls: Vec<CallSeen> = match self.pbx.control(Request::Calls { after: 0, max: 10_000 }).await {
            Reply::Calls { calls } => calls,
            other => panic!("{other:?}"),
        };
        let mut truth: BTreeMap<String, BTreeMap<String, LocalState>> = BTreeMap::new();
        for call in calls {
            for party in call.parties.iter().filter(|party| party.is_device) {
                truth.entry(party.party.clone()).or_default().insert(call.call.clone(), party.state);
            }
        }
        let shown = |user: &RccUser| -> BTreeMap<String, LocalState> {
            user.with_view(|view| view.calls().iter().map(|call: &Call| (call.id.clone(), call.local)).collect())
        };
        let one = |(n, user): (usize, &RccUser)| {
            let (shown, real) = (shown(user), truth.get(&(FIRST + n).to_string()).cloned().unwrap_or_default());
            (shown != real).then(|| format!("{}: shown {shown:?}, real {real:?}", user.name()))
        };
        users.iter().enumerate().filter_map(one).collect()
    }

    /// Every number the PBX was asked to dial, as often as it was.
    pub async fn dialled(&self) -> Vec<String> {
        let mut numbers = Vec::new();
        let mut after = 0;
        loop {
            let Reply::History(page) = self.pbx.control(Request::History { after, max: 10_000 }).await else {
                panic!("pages")
            };
            assert_eq!(page.dropped, 0, "a history with holes proves nothing");
            let Some(last) = page.entries.last() else { return numbers };
            after = last.seq;
            for entry in &page.entries {
                if let Happening::Service {
                    service: Service::MakeCall { called, .. },
                    did: Did::Ok | Did::Call(_),
                    ..
                } = &entry.what
                {
                    numbers.push(called.clone());
                }
            }
        }
    }
}

pub async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "not within {PATIENCE:?}: {what}");
}
