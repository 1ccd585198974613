//! Who votes: taking a voter in, letting one go, and ids that no node has had.
//!
//! A node's place in the configuration is its seat; the id it votes under is `n * 65,536 + seat`, with `n` 0 at first. A
//! node that lost its store comes back under a fresh `n`: what its former id promised, it does not know any more.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver;
use serde::{Deserialize, Serialize};

use crate::peer::Links;
use crate::raft::Voter;
use crate::replica::Replica;
use crate::wire::{self, Kind};

const SEAT_BITS: u32 = 16;
/// Catching up may mean a whole snapshot.
const CHANGE_MS: u64 = 120_000;

/// The place in the configuration of the node that votes under this id.
pub fn seat(id: u64) -> u64 {
    id & ((1 << SEAT_BITS) - 1)
}

/// An id for this seat that no node has had; below 2^48, so that every JSON reader takes it.
pub fn fresh_id(seat: u64) -> io::Result<u64> {
    let bits = getrandom::u32().map_err(|error| io::Error::other(error.to_string()))?;
    Ok(u64::from(bits.max(1)) << SEAT_BITS | seat)
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Takes a voter in; another one of the same seat is let go with the same entry. Refused while that one lives.
    Admit {
        id: u64,
        voter: Voter,
    },
    Remove {
        id: u64,
    },
}

/// Has a change made, by this node if it leads, else by the one that does.
pub async fn change(replica: &Replica, links: &Links, change: Change) -> io::Result<()> {
    match replica.leader() {
        Some(leader) if leader == replica.id() => lead(replica, links, change).await,
        Some(leader) => ask(links, leader, change).await,
        None => Err(io::Error::new(io::ErrorKind::NotConnected, "nobody leads: a quorum is missing")),
    }
}

async fn ask(links: &Links, leader: u64, change: Change) -> io::Result<()> {
    let link = links.to(leader).ok_or_else(|| io::Error::other(format!("the leader, {leader}, is not known here")))?;
    let asked = link.ask(Kind::Membership, &wire::encode(&change), Duration::from_millis(CHANGE_MS)).await;
    asked.map(drop).map_err(io::Error::other)
}

/// The leader's part.
pub(crate) async fn lead(replica: &Replica, links: &Links, change: Change) -> io::Result<()> {
    let raft = replica.raft();
    match change {
        Change::Admit { id, voter } => {
            let voters = voters_of(replica);
            if voters.contains(&id) {
                return Ok(());
            }
            let former: BTreeSet<u64> = voters.iter().copied().filter(|other| seat(*other) == seat(id)).collect();
            if let Some(former) = former.iter().find(|former| is_alive(replica, **former)) {
                let why = format!("node {former} has this seat and lives");
                return Err(io::Error::new(io::ErrorKind::AddrInUse, why));
            }
            links.know(id, &voter.address);
            raft.add_learner(id, voter, true).await.map_err(io::Error::other)?;
            let next: BTreeSet<u64> = voters.difference(&former).copied().chain([id]).collect();
            let change = ChangeMembers::ReplaceAllVoters(next);
            raft.change_membership(change, false).await.map_err(io::Error::other)?;
            tracing::info!(node = id, replaces = ?former, "a voter was taken in");
        }
        Change::Remove { id } => {
            let change = ChangeMembers::RemoveVoters(BTreeSet::from([id]));
            raft.change_membership(change, false).await.map_err(io::Error::other)?;
            tracing::info!(node = id, "a voter was let go");
        }
    }
    Ok(())
}

pub(crate) fn voters_of(replica: &Replica) -> BTreeSet<u64> {
    let metrics = replica.raft().metrics();
    let metrics = metrics.borrow_watched();
    metrics.membership_config.voter_ids().collect()
}

/// Voters and learners.
pub(crate) fn nodes_of(replica: &Replica) -> BTreeMap<u64, Voter> {
    let metrics = replica.raft().metrics();
    let metrics = metrics.borrow_watched();
    metrics.membership_config.nodes().map(|(id, voter)| (*id, voter.clone())).collect()
}

/// Whether the leader, which asks, has heard this voter within the lease.
fn is_alive(replica: &Replica, id: u64) -> bool {
    use openraft::Instant as _;
    if id == replica.id() {
        return true;
    }
    let metrics = replica.raft().metrics();
    let metrics = metrics.borrow_watched();
    let heard = metrics.heartbeat.as_ref().and_then(|heard| heard.get(&id).copied().flatten());
    heard.is_some_and(|at| at.elapsed() < replica.timers().lease())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_id_keeps_its_seat_and_is_another_one_each_time() {
        let ids: BTreeSet<u64> = (0..100).map(|_| fresh_id(255).unwrap()).collect();
        assert_eq!(ids.len(), 100);
        assert!(ids.iter().all(|id| seat(*id) == 255 && *id > 65_535 && *id < 1 << 53));
        assert_eq!(seat(3), 3);
    }
}
