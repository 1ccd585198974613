//! After the faults: how the world becomes well again, and how that is seen.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use lyncpin_cluster::store::FencedStore;
use openraft::ChangeMembers;
use tokio::time::{sleep, timeout};

use super::host::{Machine, voter};
use super::net::machine_of;
use super::plan::DATA;
use super::run::{CONVERGENCE_MS, World};
use super::story::tell;
use super::users::{Person, device};

/// Views and the PBX must agree this soon after the healing.
const GHOSTS_MS: u64 = 5_000;

impl World {
    pub(super) fn leader(&self) -> Option<u64> {
        let leads = |machine: &&Rc<RefCell<Machine>>| {
            let machine = machine.borrow();
            !machine.is_paused() && machine.running().is_some_and(|running| running.replica.is_leader())
        };
        self.machines.iter().find(leads).map(|machine| machine.borrow().number)
    }

    /// Until one leads, all know the same, voters are the three that run, and both data nodes are taken and take commands.
    pub(super) async fn converge(&self) {
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
            if matches!(timeout(Duration::from_millis(2_000), asked).await, Ok(Some(Some(())))) {
                tell!(self.story, "voter {id} took the place of {old:?}");
            }
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
            && DATA.contains(&leader)
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

    pub(super) fn what_is_wrong(&self) -> String {
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

    /// Whether this user gets an answer, and sees the calls there are.
    pub(super) async fn is_content(&self, person: &Person) -> Result<(), (&'static str, String)> {
        let within = Duration::from_millis(CONVERGENCE_MS);
        let served = async {
            while !person.is_served().await {
                sleep(Duration::from_millis(50)).await;
            }
        };
        if timeout(within, served).await.is_err() {
            return Err(("I13", format!("user {} got no answer within {CONVERGENCE_MS} ms", person.number)));
        }
        let pbx = || self.pbx.calls_of(&device(person.number));
        let view =
            || -> Vec<String> { person.client.with_view(|v| v.calls().iter().map(|call| call.id.clone()).collect()) };
        let agreed = async {
            while pbx().len() != view().len() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        if timeout(Duration::from_millis(GHOSTS_MS), agreed).await.is_err() {
            let what = format!("user {} sees calls {:?}, the PBX has {:?}", person.number, view(), pbx());
            return Err(("I4", what));
        }
        Ok(())
    }
}
