//! The gateway under attack, and the users who must not notice.

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lyncpin::cli::serve::Serve;
use lyncpin::client::{FrontEnd, FrontEndOptions, Phase, RccUser, UserOptions};
use lyncpin::directory::{DirectoryWatch, Reload};
use lyncpin::gateway::{Gateway, Options, block_on};
use lyncpin::lab::pbx::PbxLab;
use lyncpin::machine::rules::Rules;
use lyncpin::machine::session::Session;
use tempfile::TempDir;
use tokio::task::{JoinHandle, spawn_local};

/// What an attack may cost at most; coarse, for the allocator gives back when it pleases.
const GROWTH_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Only keeps a broken gateway from holding a test up for ever.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const NAMES: [&str; 6] = ["alice", "bob", "carol", "dave", "erin", "frank"];

/// A running gateway with six users on the phones 5101 to 5106.
pub struct Rig {
    pub gateway: Gateway,
    pub folder: TempDir,
    directory: Arc<DirectoryWatch>,
    alice: RccUser,
    bob: RccUser,
    _front_end: FrontEnd,
}

/// What must be as before when an attack is over.
#[derive(Debug, PartialEq, Eq)]
struct Holdings {
    flows: usize,
    sessions: usize,
    records: usize,
}

pub fn line(extension: u16) -> String {
    format!("tel:+1425555{:04};ext={extension}", extension - 5000)
}

pub fn account(at: usize) -> UserOptions {
    let user = format!("sip:{}@contoso.com", NAMES[at]);
    UserOptions::new(user, line(5101 + at as u16), "sip:rccgw@localhost")
}

/// A configuration file; `sip` and `limits` are lines of these tables.
pub fn config_text(sip: &str, limits: &str) -> String {
    let listen = if sip.contains("listen") { "" } else { "listen = [\"tcp://127.0.0.1:0\"]\n" };
    let users = (0..NAMES.len()).map(|at| {
        let UserOptions { user, line, .. } = account(at);
        format!("[[user]]\nsip = \"{user}\"\nline = \"{line}\"\ndevice = \"{}\"\n", 5101 + at)
    });
    let users: String = users.collect();
    format!(
        "[sip]\n{listen}{sip}\n[sip.limits]\n{limits}\n[[cti]]\nname = \"lab\"\naddress = \"csta://127.0.0.1:8800\"\n\
         [lab]\nembedded_pbx = true\n{users}"
    )
}

/// Runs one test in an actix system: with `sip` and `limits` in the configuration, on two session threads.
pub fn run(sip: &str, limits: &str, test: impl AsyncFnOnce(&Rig)) {
    run_with(&config_text(sip, limits), two_threads(), test);
}

pub fn two_threads() -> Options {
    Options { arbiters: 2, ..Options::default() }
}

pub fn run_with(config: &str, options: Options, test: impl AsyncFnOnce(&Rig)) {
    run_in(config, options, |_| {}, test);
}

/// FOLDER in the configuration becomes a fresh one, which `prepare` may fill.
pub fn run_in(config: &str, options: Options, prepare: impl FnOnce(&Path), test: impl AsyncFnOnce(&Rig)) {
    static ALONE: Mutex<()> = Mutex::new(());
    // Memory is measured: one attack at a time in this process.
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        let rig = Rig::start(config, options, folder).await;
        test(&rig).await;
        rig.stop().await;
    });
}

impl Rig {
    async fn start(config: &str, options: Options, folder: TempDir) -> Self {
        let file = folder.path().join("lyncpin.toml");
        std::fs::write(&file, config.replace("FOLDER", folder.path().to_str().unwrap())).unwrap();
        let prepared =
            Serve { config: Some(file), ..Serve::default() }.prepare().unwrap_or_else(|report| panic!("{report}"));
        let mut config = prepared.config;
        config.cti.iter_mut().for_each(|link| link.address.port = 0);
        let directory = prepared.directory;
        let gateway = Gateway::start(config, directory.clone(), options).await.unwrap();
        until("the links are up", || gateway.node().links.iter().all(|link| link.is_up())).await;
        let front_end = FrontEnd::new(FrontEndOptions::direct());
        let (alice, bob) = (front_end.user(account(0)), front_end.user(account(1)));
        Self { gateway, folder, directory, alice, bob, _front_end: front_end }
    }

    async fn stop(self) {
        tokio::time::timeout(PATIENCE, self.gateway.stop()).await.expect("the gateway stops");
    }

    pub fn address(&self) -> SocketAddr {
        self.gateway.addresses()[0]
    }

    pub fn pbx(&self) -> &PbxLab {
        self.gateway.pbx().unwrap()
    }

    pub fn counted(&self, group: &'static str, name: &'static str) -> u64 {
        self.gateway.node().counters.value(group, name)
    }

    pub fn sessions_count(&self) -> usize {
        self.gateway.node().book.sessions_count()
    }

    /// Reads the users file as the node's own watch does.
    pub fn reload(&self) -> Reload {
        let node = self.gateway.node();
        let reload = self.directory.reload();
        let rules = Rules { directory: self.directory.current(), ..(**node.rules.load()).clone() };
        node.rules.store(Arc::new(rules));
        reload
    }

    /// The record of the session with this tag of ours.
    pub fn record(&self, tag: &str) -> Session {
        self.gateway.node().records.load(&format!("session/{tag}")).unwrap().expect("the session's record").value
    }

    pub fn sessions_on(&self, link: &str) -> usize {
        let all = self.gateway.node().records.load_all::<Session>("session/");
        all.filter(|session| session.as_ref().unwrap().value.link == link).count()
    }

    pub fn flows_count(&self) -> usize {
        self.gateway.node().flows.count()
    }

    /// A user of this rig on a connection of its own.
    pub async fn user(&self, at: usize) -> (FrontEnd, RccUser) {
        self.user_with(account(at)).await
    }

    pub async fn user_with(&self, options: UserOptions) -> (FrontEnd, RccUser) {
        let front_end = FrontEnd::new(FrontEndOptions::direct());
        front_end.connect(self.address()).await.unwrap();
        let user = front_end.user(options);
        (front_end, user)
    }

    fn holdings(&self) -> Holdings {
        let node = self.gateway.node();
        Holdings {
            flows: node.flows.count(),
            sessions: node.sessions.get().unwrap().children_count(),
            records: node.records.store().scan("session/").len(),
        }
    }

    /// The attack, while Alice and Bob call each other; then all is as before.
    pub async fn under<T>(&self, attack: impl Future<Output = T>) -> T {
        self._front_end.connect(self.address()).await.unwrap();
        for user in [&self.alice, &self.bob] {
            user.sign_in().await.unwrap_or_else(|why| panic!("{} cannot sign in: {why}", user.name()));
        }
        let calls = Calls::begin(self.alice.clone(), self.bob.clone());
        calls.another(1).await;
        let (before, resident) = (self.holdings(), resident_bytes());
        let said = attack.await;
        let grown = resident_bytes().saturating_sub(resident);
        assert!(grown < GROWTH_BYTES_MAX, "the attack cost {} KiB of memory", grown / 1024);
        calls.another(2).await;
        calls.end().await;
        for user in [&self.alice, &self.bob] {
            assert_eq!(user.violations(), [], "{}", user.name());
            user.sign_out().await.unwrap();
        }
        let after = Holdings { flows: before.flows, sessions: before.sessions - 2, records: before.records - 2 };
        until("the gateway holds what it held before", || self.holdings() == after).await;
        assert_eq!(self.counted("session", "died"), 0, "no session died");
        self._front_end.flows().into_iter().for_each(|flow| self._front_end.close(flow));
        said
    }
}

/// Two users who call each other until told to stop.
struct Calls {
    rounds: Rc<Cell<u32>>,
    is_over: Rc<Cell<bool>>,
    task: JoinHandle<()>,
}

impl Calls {
    fn begin(alice: RccUser, bob: RccUser) -> Self {
        let (rounds, is_over) = (Rc::<Cell<u32>>::default(), Rc::<Cell<bool>>::default());
        let task = spawn_local({
            let (rounds, is_over) = (rounds.clone(), is_over.clone());
            async move {
                while !is_over.get() {
                    one_call(&alice, &bob).await;
                    alice.refresh().await.unwrap();
                    rounds.set(rounds.get() + 1);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        });
        Self { rounds, is_over, task }
    }

    /// Waits for so many more calls, begun and ended.
    async fn another(&self, count: u32) {
        // One may be half done.
        let wanted = self.rounds.get() + count + 1;
        until("the users' calls go on", || self.rounds.get() >= wanted || self.task.is_finished()).await;
        assert!(!self.task.is_finished(), "a user saw a failure: see above");
    }

    async fn end(self) {
        self.is_over.set(true);
        self.task.await.unwrap();
    }
}

/// One places the call, the other answers; then the first hangs up.
pub async fn one_call(caller: &RccUser, callee: &RccUser) {
    let call = caller.make_call(&callee.line()).await.unwrap();
    assert!(call.is_done(), "{:?}", call.refusal());
    let call = call.call().unwrap().call.clone();
    let ringing = |view: &lyncpin::client::CallView| {
        view.calls().iter().find(|call| call.phase() == Phase::Alerting).map(|call| call.id.clone())
    };
    let theirs = callee.until(PATIENCE, ringing).await.expect("it rings");
    assert!(callee.answer(&theirs).await.unwrap().is_done());
    let talks = |id: &str, view: &lyncpin::client::CallView| (view.phase(id)? == Phase::Talking).then_some(());
    caller.until(PATIENCE, |view| talks(&call, view)).await.expect("they talk");
    callee.until(PATIENCE, |view| talks(&theirs, view)).await.expect("they talk");
    assert!(caller.hang_up(&call).await.unwrap().is_done());
    for user in [caller, callee] {
        user.until(PATIENCE, |view| view.calls().is_empty().then_some(())).await.expect("the call ends");
    }
}

pub async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "not within {PATIENCE:?}: {what}");
}

pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}
