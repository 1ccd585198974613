//! One run: faults, healing, convergence, judgement.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use lyncpin_cluster::replica::Timers;
use lyncpin_cluster::runtime;
use lyncpin_cluster::store::FencedStore;
use openraft::ChangeMembers;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, timeout};

use super::dice;
use super::host::{Gateway, Machine, RESTART_MS, Setting, voter};
use super::linear;
use super::net::{Net, machine_of};
use super::ops::{self, History};
use super::plan::{ALL, DATA, Fault, Plan, Planned};
use super::story::{Story, tell};

/// After the faults everything must be well within this.
const CONVERGENCE_MS: u64 = 10_000;
/// How soon a proven death is known to the others.
const DEATH_TOLD_US: std::ops::Range<u64> = 500..4_000;

/// What a run came to.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub seed: u64,
    /// What must not be: the invariant, and what was seen.
    pub violations: Vec<Violation>,
    pub acknowledged: usize,
    pub operations: usize,
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

struct World {
    plan: Rc<Plan>,
    story: Story,
    net: Net,
    machines: Vec<Rc<RefCell<Machine>>>,
    history: Rc<History>,
}

impl World {
    async fn run(plan: Rc<Plan>, keeps_story: bool) -> Outcome {
        let story = Story::new(keeps_story);
        let net = Net::new(plan.weather.clone());
        let (ended, mut restarts) = mpsc::unbounded_channel();
        let timers = if plan.lan_timers { Timers::LAN } else { Timers::DEFAULT };
        let gateway: Rc<dyn Gateway> = Rc::new(super::ops::NoGateway);
        let setting = Setting { net: net.clone(), story: story.clone(), timers, ended, gateway };
        let machines: Vec<_> =
            ALL.iter().map(|number| Rc::new(RefCell::new(Machine::new(*number, setting.clone())))).collect();
        let world = Rc::new(Self { plan: plan.clone(), story, net, machines, history: Rc::default() });
        world.machines.iter().for_each(|machine| machine.borrow_mut().start());
        let again = world.clone();
        spawn_local(async move {
            while let Some(number) = restarts.recv().await {
                let machine = again.machine(number);
                machine.borrow_mut().stop();
                sleep(Duration::from_millis(RESTART_MS)).await;
                machine.borrow_mut().start();
            }
        });
        for machine in &world.machines[..2] {
            let (history, story) = (world.history.clone(), world.story.clone());
            spawn_local(ops::write_and_read(machine.clone(), history, story, plan.clone(), plan.faults_until_ms + 500));
        }
        for planned in &plan.faults {
            spawn_local(world.clone().suffer(*planned));
        }
        sleep(Duration::from_millis(plan.faults_until_ms)).await;
        world.heal();
        let mut violations = Vec::new();
        let converged = timeout(Duration::from_millis(CONVERGENCE_MS), world.converge()).await;
        if converged.is_err() {
            violations.push(Violation { invariant: "I13", what: world.clone().what_is_wrong() });
        }
        let simulated_ms = world.story.now_ms();
        world.judge(&mut violations);
        for violation in &violations {
            tell!(world.story, "VIOLATION {} {}", violation.invariant, violation.what);
        }
        Outcome {
            seed: plan.seed,
            acknowledged: world.history.acknowledged(),
            operations: world.history.ops.borrow().len(),
            packets: world.net.packets(),
            converged_ms: converged.is_ok().then(|| simulated_ms - plan.faults_until_ms),
            simulated_ms,
            print: world.story.print(),
            story: world.story.lines(),
            violations,
        }
    }

    fn machine(&self, number: u64) -> &Rc<RefCell<Machine>> {
        &self.machines[number as usize - 1]
    }

    /// One fault, from its beginning to its end.
    async fn suffer(self: Rc<Self>, planned: Planned) {
        sleep(Duration::from_millis(planned.at_ms)).await;
        let lasts = Duration::from_millis(planned.lasts_ms.min(self.plan.faults_until_ms - planned.at_ms));
        let fault = planned.fault;
        if let Some(node) = fault.stops().filter(|node| !self.machine(*node).borrow().is_up()) {
            return tell!(self.story, "skipped, node {node} is down: {fault}");
        }
        tell!(self.story, "FAULT {fault} for {} ms", lasts.as_millis());
        match fault {
            Fault::Kill { node } => self.kill(node),
            Fault::PowerCut { node } => self.cut_power(node),
            Fault::Blackout => ALL.iter().for_each(|node| self.cut_power(*node)),
            Fault::Pause { node } => self.machine(node).borrow().pause(true),
            Fault::CutOneWay { from, to } => self.net.cut(from, to),
            Fault::Isolate { node } => self.ways(node).for_each(|(from, to)| self.net.cut(from, to)),
            Fault::Hold { from, to } => self.net.hold(from, to),
            Fault::LyingDisk { node } => {
                self.machine(node).borrow().disk.lie(true);
                sleep(lasts).await;
                self.cut_power(node);
            }
            Fault::LostDisk { node } => {
                self.machine(node).borrow_mut().stop();
                self.machine(node).borrow_mut().begin_anew();
            }
            Fault::Switchover => return self.switch_over().await,
            Fault::CutLog { node } => {
                let asked = self.machine(node).borrow().ask(|running| async move {
                    // Err: it has stopped.
                    let _ = running.replica.raft().trigger().snapshot().await;
                });
                asked.await;
                return;
            }
        }
        sleep(lasts).await;
        tell!(self.story, "over: {fault}");
        match fault {
            Fault::Pause { node } => self.machine(node).borrow().pause(false),
            Fault::CutOneWay { from, to } => self.net.mend(from, to),
            Fault::Isolate { node } => self.ways(node).for_each(|(from, to)| self.net.mend(from, to)),
            Fault::Hold { from, to } => self.net.release(from, to),
            Fault::Blackout => self.machines.iter().for_each(|machine| machine.borrow_mut().start()),
            other => {
                if let Some(node) = other.stops() {
                    self.machine(node).borrow_mut().start();
                }
            }
        }
    }

    /// Both ways between a node and each other one.
    fn ways(&self, node: u64) -> impl Iterator<Item = (u64, u64)> + use<> {
        ALL.into_iter().filter(move |other| *other != node).flat_map(move |other| [(node, other), (other, node)])
    }

    /// The process is gone, and those who reach its kernel know it.
    fn kill(&self, node: u64) {
        let id = self.machine(node).borrow().id;
        self.machine(node).borrow_mut().stop();
        for other in ALL.into_iter().filter(|other| *other != node) {
            if self.net.is_cut(node, other) || self.net.is_cut(other, node) {
                continue;
            }
            let Some(running) = self.machine(other).borrow().running() else { continue };
            let delay = Duration::from_micros(dice::within(DEATH_TOLD_US));
            let deaths = running.deaths.clone();
            spawn_local(async move {
                sleep(delay).await;
                // Err: it died as well.
                let _ = deaths.try_send(id);
            });
        }
    }

    fn cut_power(&self, node: u64) {
        let mut machine = self.machine(node).borrow_mut();
        machine.stop();
        let unsynced = machine.disk.unsynced();
        let lost = machine.disk.cut_power(dice::within(0..unsynced as u64 + 1) as usize);
        machine.disk.lie(false);
        if lost > 0 {
            tell!(
                self.story,
                "node {node} lost {lost} writes that were said to be durable; it does not vote with that store"
            );
            machine.begin_anew();
        }
    }

    async fn switch_over(&self) {
        let Some(leader) = self.leader() else { return };
        let heir = if leader == 1 { 2 } else { 1 };
        let to = self.machine(heir).borrow().id;
        let asked = self.machine(leader).borrow().ask(move |running| async move {
            // Err: it leads no more.
            let _ = running.replica.raft().trigger().transfer_leader(to).await;
        });
        asked.await;
    }

    fn leader(&self) -> Option<u64> {
        let leads = |machine: &&Rc<RefCell<Machine>>| {
            let machine = machine.borrow();
            !machine.is_paused() && machine.running().is_some_and(|running| running.replica.is_leader())
        };
        self.machines.iter().find(leads).map(|machine| machine.borrow().number)
    }

    fn heal(&self) {
        tell!(self.story, "everything is healed");
        for from in ALL {
            for to in ALL {
                self.net.mend(from, to);
                self.net.release(from, to);
            }
        }
        self.net.calm();
        for machine in &self.machines {
            let mut machine = machine.borrow_mut();
            machine.disk.lie(false);
            machine.pause(false);
            machine.start();
        }
    }

    /// Until one leads, all know the same, voters are the three that run, and both data nodes are taken and take commands.
    async fn converge(&self) {
        loop {
            sleep(Duration::from_millis(20)).await;
            self.replace_voters().await;
            if self.is_calm() && self.takes_commands().await && self.is_calm() {
                return;
            }
        }
    }

    /// What an operator does after a store was lost: the new voter in, the old one out.
    async fn replace_voters(&self) {
        let Some(leader) = self.leader() else { return };
        let Some(running) = self.machine(leader).borrow().running() else { return };
        let known = running.life.voters();
        for machine in &self.machines {
            let (number, id) = (machine.borrow().number, machine.borrow().id);
            let old = known.keys().copied().find(|known| machine_of(*known) == number && *known != id);
            if !machine.borrow().joins() || (known.contains_key(&id) && old.is_none()) {
                continue;
            }
            tell!(self.story, "voter {id} takes the place of {old:?}");
            let asked = self.machine(leader).borrow().ask(move |running| async move {
                let raft = running.replica.raft();
                raft.add_learner(id, voter(number), true).await.ok()?;
                raft.change_membership(ChangeMembers::AddVoterIds([id].into()), false).await.ok()?;
                if let Some(old) = old {
                    raft.change_membership(ChangeMembers::RemoveVoters([old].into()), false).await.ok()?;
                }
                Some(())
            });
            // Err: tried again.
            let _ = timeout(Duration::from_millis(2_000), asked).await;
        }
    }

    fn is_calm(&self) -> bool {
        let Some(leader) = self.leader() else { return false };
        let all: Option<Vec<_>> = self.machines.iter().map(|machine| machine.borrow().running()).collect();
        let Some(all) = all else { return false };
        let members = all[0].replica.members();
        let first = all[0].replica.records().machine().snapshot();
        members.len() == DATA.len()
            && all[..2].iter().all(|running| {
                members.iter().any(|member| Some(member.incarnation) == running.incarnation.get())
                    && running.replica.may_act()
            })
            && all.iter().all(|running| {
                running.replica.leader().map(machine_of) == Some(leader)
                    && running.replica.records().machine().snapshot() == first
            })
    }

    async fn takes_commands(&self) -> bool {
        for number in DATA {
            let asked =
                self.machine(number).borrow().ask(|running| async move { running.replica.catch_up().await.is_ok() });
            if asked.await != Some(true) {
                return false;
            }
        }
        true
    }

    fn what_is_wrong(self: Rc<Self>) -> String {
        let nodes: Vec<String> = self
            .machines
            .iter()
            .map(|machine| {
                let machine = machine.borrow();
                match machine.running() {
                    Some(running) => format!(
                        "node {} voter {} follows {:?}, lives as {:?}, may act {}, members {:?}",
                        machine.number,
                        machine.id,
                        running.replica.leader(),
                        running.incarnation.get(),
                        running.replica.may_act(),
                        running.replica.members()
                    ),
                    None => format!("node {} does not run", machine.number),
                }
            })
            .collect();
        format!("not well {CONVERGENCE_MS} ms after the last fault: {}", nodes.join("; "))
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
        violations.dedup();
    }
}
