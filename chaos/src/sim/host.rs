//! A machine, its disk, and the node that runs on it: a task set that is polled, stands still, or is dropped as a whole.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use lyncpin::store::{CommitRefused, Records};
use lyncpin_cluster::log::{Log, Mode};
use lyncpin_cluster::mutant::{Mutant, mutant};
use lyncpin_cluster::node::{Life, guardian, watchdog};
use lyncpin_cluster::raft::{LogId, Role, Voter};
use lyncpin_cluster::replica::{Parts, Replica, Timers};
use lyncpin_cluster::store::{FencedStore, Notice, Watched};
use lyncpin_cluster::{CommitError, Incarnation};
use openraft::entry::RaftEntry;
use openraft::storage::{RaftLogReader, RaftLogStorage};
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;
use tokio::time::sleep;

use super::dice;
use super::disk::{Handle, SimDisk};
use super::net::Net;
use super::serve::{self, Ear};
use super::story::{Story, tell};

const DEATHS_MAX: usize = 64;
/// A process that ended is started again after this.
pub const RESTART_MS: u64 = 60;

/// Work for a node, done on its own task set.
type Job = Box<dyn FnOnce(Rc<Running>)>;

/// A node that has joined, or a witness that votes.
pub struct Running {
    pub machine: u64,
    pub replica: Replica,
    pub life: Arc<Life>,
    pub incarnation: Cell<Option<Incarnation>>,
    /// Typed, once joined.
    pub records: RefCell<Option<Records>>,
    pub deaths: mpsc::Sender<u64>,
    pub log: Log,
}

/// Whether a node's tasks get their turn.
#[derive(Default)]
struct Power {
    is_dead: Cell<bool>,
    is_paused: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Power {
    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

struct Turn {
    tasks: Option<LocalSet>,
    power: Rc<Power>,
}

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.power.is_dead.get() {
            self.tasks = None;
            return Poll::Ready(());
        }
        *self.power.waker.borrow_mut() = Some(cx.waker().clone());
        if self.power.is_paused.get() {
            return Poll::Pending;
        }
        match &mut self.tasks {
            Some(tasks) => Pin::new(tasks).poll(cx),
            None => Poll::Ready(()),
        }
    }
}

/// What every node of a run is built with.
#[derive(Clone)]
pub struct Setting {
    pub net: Net,
    pub story: Story,
    pub timers: Timers,
    /// At most so long a write is under way to the disk; 0: every write is durable at once.
    pub disk_us: u64,
    /// Hears of a node whose process has ended by itself.
    pub ended: mpsc::UnboundedSender<u64>,
    pub gateway: Rc<dyn Gateway>,
}

/// What a data node does beside voting.
pub trait Gateway {
    fn ear(&self, machine: u64) -> Rc<dyn Ear>;
    /// Runs from the moment at which the node has joined until it is dropped.
    fn run(&self, running: Rc<Running>) -> LocalBoxFuture<'static, ()>;
}

pub struct Machine {
    pub number: u64,
    pub disk: SimDisk,
    /// The voter's id; a new one after its store was lost.
    pub id: u64,
    setting: Setting,
    power: Option<Rc<Power>>,
    jobs: Option<mpsc::UnboundedSender<Job>>,
    running: Rc<RefCell<Option<Rc<Running>>>>,
    /// Its store is gone: it comes to a cluster that lives.
    joins: bool,
}

pub fn voters() -> BTreeMap<u64, Voter> {
    (1..=3).map(|id| (id, voter(id))).collect()
}

pub fn voter(machine: u64) -> Voter {
    let role = if machine == 3 { Role::Witness } else { Role::Data };
    Voter { name: format!("node-{machine}"), address: format!("machine-{machine}"), role }
}

impl Machine {
    pub fn new(number: u64, setting: Setting) -> Self {
        let running = Rc::default();
        let disk = SimDisk::default();
        Self { number, disk, id: number, setting, power: None, jobs: None, running, joins: false }
    }

    pub fn is_up(&self) -> bool {
        self.power.is_some()
    }

    pub fn is_paused(&self) -> bool {
        self.power.as_ref().is_some_and(|power| power.is_paused.get())
    }

    pub fn joins(&self) -> bool {
        self.joins
    }

    pub fn running(&self) -> Option<Rc<Running>> {
        self.running.borrow().clone().filter(|_| self.is_up())
    }

    /// The store is not to be voted with: the node comes back under an id that no node has had.
    pub fn begin_anew(&mut self) {
        self.disk.lose_all();
        if mutant(Mutant::VoteAfterEmptyStore) {
            return;
        }
        self.id += 10;
        self.joins = true;
    }

    pub fn start(&mut self) {
        if self.is_up() {
            return;
        }
        tell!(self.setting.story, "node {} starts as voter {}", self.number, self.id);
        let power = Rc::new(Power::default());
        let tasks = LocalSet::new();
        let (jobs, mut waiting) = mpsc::unbounded_channel::<Job>();
        let running = self.running.clone();
        *running.borrow_mut() = None;
        let begin = Begin {
            machine: self.number,
            id: self.id,
            disk: self.disk.open(),
            setting: self.setting.clone(),
            initializes: self.id == 1,
            running: running.clone(),
        };
        tasks.spawn_local(begin.run());
        tasks.spawn_local(async move {
            while let Some(job) = waiting.recv().await {
                // A node that is starting refuses: the job is dropped.
                let now = running.borrow().clone();
                if let Some(now) = now {
                    job(now);
                }
            }
        });
        tokio::task::spawn_local(Turn { tasks: Some(tasks), power: power.clone() });
        self.power = Some(power);
        self.jobs = Some(jobs);
    }

    /// Every task of the node is gone at once.
    pub fn stop(&mut self) {
        if let Some(power) = self.power.take() {
            power.is_dead.set(true);
            power.wake();
        }
        self.jobs = None;
        self.setting.net.close(self.number);
        self.disk.close();
    }

    /// What a start would find in the store that this node does not know, or miss that it knows; `None`: they are the same.
    pub fn forgets(&self) -> Option<String> {
        let running = self.running().filter(|running| running.log.is_written())?;
        let found = match Log::open(Arc::new(self.disk.peek()), None, Mode::Inline) {
            Ok(log) => ends(log),
            Err(why) => return Some(format!("node {} could not read its store: {why}", self.number)),
        };
        let known = ends(running.log.clone());
        (found != known).then(|| format!("node {} knows a log of {known:?}, its store holds {found:?}", self.number))
    }

    pub fn pause(&self, pauses: bool) {
        if let Some(power) = &self.power {
            power.is_paused.set(pauses);
            if !pauses {
                power.wake();
            }
        }
    }

    /// Does something on the node's own task set; `None`: it is not up, or it was gone before it was done.
    pub fn ask<T: 'static, F: Future<Output = T> + 'static>(
        &self,
        work: impl FnOnce(Rc<Running>) -> F + 'static,
    ) -> LocalBoxFuture<'static, Option<T>> {
        let (tell, told) = oneshot::channel();
        if let Some(jobs) = &self.jobs {
            let job: Job = Box::new(move |running| {
                let work = work(running);
                tokio::task::spawn_local(async move {
                    // Err: who asked waits no longer.
                    let _ = tell.send(work.await);
                });
            });
            // Err: the node was stopped a moment ago.
            let _ = jobs.send(job);
        }
        Box::pin(async move { told.await.ok() })
    }
}

/// Writes what waits, until the node is dropped.
async fn turns(log: Log, disk_us: u64) {
    loop {
        log.waits().await;
        sleep(Duration::from_micros(dice::within(0..disk_us))).await;
        log.write_waiting();
    }
}

/// What a log begins behind, and the id of each entry in it.
fn ends(mut log: Log) -> (Option<LogId>, Vec<LogId>) {
    let state = log.get_log_state().now_or_never().and_then(Result::ok);
    let entries = log.try_get_log_entries(..).now_or_never().and_then(Result::ok).unwrap_or_default();
    (state.and_then(|state| state.last_purged_log_id), entries.iter().map(|entry| entry.log_id()).collect())
}

/// A node that starts.
struct Begin {
    machine: u64,
    id: u64,
    disk: Handle,
    setting: Setting,
    initializes: bool,
    running: Rc<RefCell<Option<Rc<Running>>>>,
}

impl Begin {
    async fn run(self) {
        let Self { machine, id, disk, setting, initializes, running } = self;
        let Setting { net, story, timers, disk_us, ended, gateway } = setting;
        let mode = if disk_us == 0 { Mode::Inline } else { Mode::Turns };
        let log = match Log::open(Arc::new(disk), None, mode) {
            Ok(log) => log,
            Err(why) => return tell!(story, "node {machine} does not start: {why}"),
        };
        if disk_us > 0 {
            tokio::task::spawn_local(turns(log.clone(), disk_us));
        }
        let is_blank = log.is_blank();
        let parts = Parts {
            id,
            role: voter(machine).role,
            timers,
            log: log.clone(),
            network: net.of(id),
            shelf: Arc::new(log.shelf()),
            peers: Arc::new(net.of(id)),
            runtime: tokio::runtime::Handle::current(),
        };
        let replica = match Replica::build(parts).await {
            Ok(replica) => replica,
            Err(why) => return tell!(story, "node {machine} does not start: {why}"),
        };
        tokio::task::spawn_local(serve::serve(replica.clone(), net.open(id), gateway.ear(machine)));
        replica.run();
        if is_blank && initializes {
            // Err: the others are a cluster already.
            let _ = replica.raft().initialize(voters()).await;
        }
        let life = Arc::new(Life::new(replica.clone(), voter(machine).name));
        let (deaths, died) = mpsc::channel(DEATHS_MAX);
        tokio::task::spawn_local(guardian::watch(life.clone(), died));
        tokio::task::spawn_local(watchdog::watch(life.clone()));
        let own = Rc::new(Running {
            machine,
            replica,
            life,
            incarnation: Cell::new(None),
            records: RefCell::default(),
            deaths,
            log,
        });
        *running.borrow_mut() = Some(own.clone());
        if voter(machine).role == Role::Witness {
            return;
        }
        let mut notices = own.replica.watch();
        let store: Arc<dyn FencedStore> = Arc::new(own.replica.clone());
        let records = loop {
            match Records::join(store.clone(), own.life.name()).await {
                Ok(records) => break records,
                Err(CommitRefused::Failed(CommitError::Closed)) => return,
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        };
        let incarnation = records.incarnation();
        own.life.live_as(incarnation);
        *own.records.borrow_mut() = Some(records);
        own.incarnation.set(Some(incarnation));
        tell!(story, "node {machine} lives as {incarnation}");
        tokio::task::spawn_local(gateway.run(own.clone()));
        let is_over = |own: &Running| !own.replica.members().iter().any(|member| member.incarnation == incarnation);
        // A life that is fenced ends with its process.
        loop {
            let over = match notices.next().await {
                Some(Watched::Notice(notice)) if notice.ends(incarnation, own.life.name()) => true,
                Some(Watched::Notice(Notice::Replaced) | Watched::Missed(_)) => is_over(&own),
                Some(_) => false,
                None => return,
            };
            if over {
                tell!(story, "node {machine} is told that {incarnation} is over");
                // Err: the run is over.
                let _ = ended.send(machine);
                return;
            }
        }
    }
}
