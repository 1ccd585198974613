//! How the world of a run is broken, and mended.

use std::rc::Rc;
use std::time::Duration;

use lyncpin_cluster::mutant::{Mutant, mutant};
use tokio::task::spawn_local;
use tokio::time::sleep;

use super::dice;
use super::plan::{ALL, Fault, Planned};
use super::run::World;
use super::story::tell;

/// How soon a proven death is known to the others.
const DEATH_TOLD_US: std::ops::Range<u64> = 500..4_000;

impl World {
    /// One fault, from its beginning to its end.
    pub(super) async fn suffer(self: Rc<Self>, planned: Planned) {
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
                self.stop(node);
                self.machine(node).borrow_mut().begin_anew();
            }
            Fault::LinkLost { node } => return self.pbx.cut(node),
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
        self.stop(node);
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
        self.stop(node);
        let mut machine = self.machine(node).borrow_mut();
        let unsynced = machine.disk.unsynced();
        let lost = machine.disk.cut_power(dice::within(0..unsynced as u64 + 1) as usize);
        machine.disk.lie(false);
        if lost > 0 && !mutant(Mutant::NoFsync) {
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

    pub(super) fn heal(&self) {
        tell!(self.story, "everything is healed");
        for from in ALL {
            for to in ALL {
                self.net.mend(from, to);
                self.net.release(from, to);
            }
        }
        self.net.calm();
        self.pbx.calm();
        self.common.hub.calm();
        for machine in &self.machines {
            let mut machine = machine.borrow_mut();
            machine.disk.lie(false);
            machine.pause(false);
            machine.start();
        }
    }
}
