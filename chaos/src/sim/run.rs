//! One run: faults, healing, convergence, judgement.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use lyncpin::client::Spread;
use lyncpin::csta::Features;
use lyncpin::machine::directory::{Appearance, Directory};
use lyncpin::machine::rules::{OUT_OF_SERVICE_AFTER_MS, Rules, STATUS_GRACE_MS};
use lyncpin_cluster::replica::Timers;
use lyncpin_cluster::runtime;
use lyncpin_cluster::store::FencedStore;
use serde::Serialize;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep, timeout};

use super::dice;
use super::gateway::{Common, DataNodes};
use super::host::{Gateway, Machine, RESTART_MS, Setting};
use super::judge;
use super::linear;
use super::net::Net;
use super::ops::{self, History};
use super::pbx::Pbx;
use super::plan::{ALL, Plan, Profile};
use super::story::{Story, tell};
use super::users::{self, Hub, Machines, Memory, Person};

/// Between two looks at the stores, where a run is about them.
const LOOK_MS: u64 = 40;
/// After the faults everything must be well within this.
pub const CONVERGENCE_MS: u64 = 10_000;

/// What a run came to.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub seed: u64,
    /// What must not be: the invariant, and what was seen.
    pub violations: Vec<Violation>,
    pub acknowledged: usize,
    pub operations: usize,
    /// Services users asked for and were answered, one way or the other.
    pub answered: usize,
    /// Calls the PBX was asked to make.
    pub calls: usize,
    pub packets: u64,
    /// From the end of the faults until all was well.
    pub converged_ms: Option<u64>,
    pub simulated_ms: u64,
    /// Equal for equal runs.
    pub print: u64,
    #[serde(skip)]
    pub story: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// As in the list of invariants: `I14`.
    pub invariant: &'static str,
    pub what: String,
}

/// Runs a plan from beginning to end, on this thread.
pub fn run(plan: &Plan, keeps_story: bool) -> Outcome {
    runtime::seed(plan.seed.wrapping_mul(0x2545_f491_4f6c_dd1d).wrapping_add(1));
    let tokio = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let tokio = tokio.expect("a runtime without I/O needs nothing of the system");
    let tasks = LocalSet::new();
    let plan = Rc::new(plan.clone());
    let outcome = tasks.block_on(&tokio, World::run(plan, keeps_story));
    drop(tasks);
    outcome
}

/// Everything there is in a run.
pub(super) struct World {
    pub plan: Rc<Plan>,
    pub story: Story,
    pub net: Net,
    pub pbx: Pbx,
    pub machines: Vec<Rc<RefCell<Machine>>>,
    history: Rc<History>,
    memory: Rc<Memory>,
    people: Vec<Rc<Person>>,
    pub common: Rc<Common>,
    /// What was seen while it went on.
    found: RefCell<Vec<Violation>>,
}

impl Machines for World {
    fn is_well(&self, machine: u64) -> bool {
        let host = self.machine(machine).borrow();
        let may_act = host.running().is_some_and(|running| running.replica.may_act());
        may_act && !host.is_paused() && self.common.nodes.borrow().contains_key(&machine)
    }

    fn is_up(&self, machine: u64) -> bool {
        self.machine(machine).borrow().is_up()
    }

    fn accept(&self, machine: u64, stream: DuplexStream) {
        let nodes = self.common.nodes.clone();
        let told = self.machine(machine).borrow().ask(move |_| async move {
            let node = nodes.borrow().get(&machine).cloned();
            if let Some(node) = node {
                node.accept(stream);
            }
        });
        drop(told);
    }
}

impl World {
    async fn run(plan: Rc<Plan>, keeps_story: bool) -> Outcome {
        let story = Story::new(keeps_story);
        let net = Net::new(plan.weather.clone());
        let (ended, restarts) = mpsc::unbounded_channel();
        let timers = if plan.lan_timers { Timers::LAN } else { Timers::DEFAULT };
        let (pbx, work) = Pbx::new(&users::device(1), plan.users as usize, plan.pbx_ms.clone(), story.clone());
        spawn_local(work);
        let (hub, start_hub) =
            Hub::new(if dice::happens(300) { Spread::ByMessage } else { Spread::ByUser }, plan.front_us);
        let common = Rc::new(Common {
            rules: rules(plan.users),
            net: net.clone(),
            pbx: pbx.clone(),
            story: story.clone(),
            hub: hub.clone(),
            began: Instant::now(),
            nodes: Rc::default(),
        });
        let gateway: Rc<dyn Gateway> = Rc::new(DataNodes(common.clone()));
        let setting = Setting { net: net.clone(), story: story.clone(), timers, disk_us: plan.disk_us, ended, gateway };
        let machines = ALL.iter().map(|number| Rc::new(RefCell::new(Machine::new(*number, setting.clone())))).collect();
        let memory = Rc::new(Memory::default());
        let people = (1..=plan.users).map(|number| {
            let client = hub.user(number);
            Rc::new(Person { number, client, memory: memory.clone(), story: story.clone() })
        });
        let people: Vec<_> = people.collect();
        let (history, found) = (Rc::default(), RefCell::default());
        let world = Rc::new(Self { plan, story, net, pbx, machines, history, memory, people, common, found });
        world.clone().go(restarts, start_hub).await
    }

    async fn go(
        self: Rc<Self>,
        restarts: mpsc::UnboundedReceiver<u64>,
        start_hub: impl FnOnce(Rc<dyn Machines>),
    ) -> Outcome {
        let (plan, until_ms) = (&self.plan, self.plan.faults_until_ms);
        self.machines.iter().for_each(|machine| machine.borrow_mut().start());
        start_hub(self.clone());
        spawn_local(self.clone().restart(restarts));
        if plan.profile == Profile::Stores {
            spawn_local(self.clone().look_at_stores());
        }
        let mut lives = Vec::new();
        for machine in &self.machines[..2] {
            let (history, story) = (self.history.clone(), self.story.clone());
            lives.push(spawn_local(ops::write_and_read(machine.clone(), history, story, plan.clone(), until_ms + 500)));
        }
        lives.extend(self.people.iter().map(|person| spawn_local(person.clone().live(until_ms, plan.pace_ms))));
        for planned in &plan.faults {
            spawn_local(self.clone().suffer(*planned));
        }
        sleep(Duration::from_millis(until_ms)).await;
        self.heal();
        let mut violations = Vec::new();
        let converged = timeout(Duration::from_millis(CONVERGENCE_MS), self.converge()).await;
        let converged_ms = converged.is_ok().then(|| self.story.now_ms() - until_ms);
        if converged.is_err() {
            violations.push(Violation { invariant: "I13", what: self.what_is_wrong() });
        }
        for life in lives {
            // Err: it panicked, and has said so.
            let _ = life.await;
        }
        if converged.is_ok() {
            for person in &self.people {
                if let Err((invariant, what)) = self.is_content(person).await {
                    violations.push(Violation { invariant, what });
                }
            }
        }
        // What was acknowledged last is a heartbeat away from being known everywhere.
        let still = timeout(Duration::from_millis(CONVERGENCE_MS), self.converge()).await;
        if converged.is_ok() && still.is_err() {
            violations.push(Violation { invariant: "I13", what: self.what_is_wrong() });
        }
        violations.append(&mut self.found.borrow_mut());
        self.judge(&mut violations);
        for violation in &violations {
            tell!(self.story, "VIOLATION {} {}", violation.invariant, violation.what);
        }
        Outcome {
            seed: plan.seed,
            acknowledged: self.history.acknowledged(),
            operations: self.history.ops.borrow().len(),
            answered: self.memory.answered.get(),
            calls: self.memory.made.borrow().len(),
            packets: self.net.packets(),
            converged_ms,
            simulated_ms: self.story.now_ms(),
            print: self.story.print(),
            story: self.story.lines(),
            violations,
        }
    }

    /// Processes that end by themselves are started again.
    async fn restart(self: Rc<Self>, mut restarts: mpsc::UnboundedReceiver<u64>) {
        while let Some(number) = restarts.recv().await {
            let again = self.clone();
            again.stop(number);
            spawn_local(async move {
                sleep(Duration::from_millis(RESTART_MS)).await;
                again.machine(number).borrow_mut().start();
            });
        }
    }

    /// Until the run is over, or a store holds something else than its node knows.
    async fn look_at_stores(self: Rc<Self>) {
        loop {
            sleep(Duration::from_millis(LOOK_MS)).await;
            let forgotten = self.machines.iter().find_map(|machine| machine.borrow().forgets());
            if let Some(what) = forgotten {
                return self.found.borrow_mut().push(Violation { invariant: "I9", what });
            }
        }
    }

    pub(super) fn machine(&self, number: u64) -> &Rc<RefCell<Machine>> {
        &self.machines[number as usize - 1]
    }

    /// Its process is gone, and what it served with it.
    pub(super) fn stop(&self, number: u64) {
        if let Some(what) = self.machine(number).borrow().forgets() {
            self.found.borrow_mut().push(Violation { invariant: "I9", what });
        }
        self.machine(number).borrow_mut().stop();
        self.common.nodes.borrow_mut().remove(&number);
    }

    fn judge(&self, violations: &mut Vec<Violation>) {
        let history = self.history.ops.borrow();
        for what in linear::check(&history) {
            let invariant = if what.contains("acted again") { "I5" } else { "I14" };
            violations.push(Violation { invariant, what });
        }
        let all: Vec<_> = self.machines.iter().filter_map(|machine| machine.borrow().running()).collect();
        for op in history.iter() {
            let linear::What::Write { result: linear::Written::Version(version), value, .. } = op.what else {
                continue;
            };
            for running in &all {
                let held = running.replica.read(&op.key).map_or(0, |record| record.version);
                if held < version {
                    let what = format!(
                        "{} {value} of version {version} was acknowledged; node {} holds {held}",
                        op.key, running.machine
                    );
                    violations.push(Violation { invariant: "I9", what });
                }
            }
        }
        let seen = self.pbx.seen();
        judge::at_most_once(&self.memory, &seen, violations);
        judge::one_owner_acts(&seen, violations);
        for person in &self.people {
            let seen = person.client.violations().into_iter().map(|seen| (person.number, seen));
            self.memory.violations.borrow_mut().extend(seen);
        }
        judge::clients(&self.memory, violations);
        violations.dedup();
    }
}

/// As a pair is configured, with the times of a run.
fn rules(users: u64) -> Arc<Rules> {
    let appearances = (1..=users).map(|user| Appearance::new(users::sip(user), users::line(user), users::device(user)));
    Arc::new(Rules {
        contact: "<sip:rccgw@rccgw.contoso.com:5065;transport=tls>".into(),
        sent_by: "rccgw.contoso.com:5065".into(),
        via_transport: "TLS",
        product: "Lyncpin".into(),
        session_expires_s: 1_800,
        min_se_s: 90,
        session_grace_s: 60,
        idle_expires_s: 90_000,
        keepalive_s: 60,
        event_wait_ms: 700,
        request_timeout_ms: 2_000,
        info_timeout_ms: 5_000,
        open_max: 32,
        out_of_service_after_ms: OUT_OF_SERVICE_AFTER_MS,
        status_grace_ms: STATUS_GRACE_MS,
        cseq_tolerant: true,
        phone_context: "dialstring".into(),
        features: Arc::new(Features::standard()),
        switches: Vec::new(),
        directory: Arc::new(Directory::new(appearances).expect("the entries are good")),
    })
}
