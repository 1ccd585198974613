//! Knowing the others: a link to each of whom the membership names, and none to who was let go; and being named there.

use std::time::Duration;

use tokio::time::sleep;

use super::Node;
use super::opening::Scouts;
use crate::membership::Change;
use crate::raft::Voter;
use crate::wire::{self, Kind};

const LOOK_MS: u64 = 50;
const ASK_AGAIN_MS: u64 = 200;
/// Catching up may mean a whole snapshot.
const TAKEN_IN_MS: u64 = 120_000;

/// Follows the membership.
pub async fn watch(node: Node) {
    let mut known = Default::default();
    loop {
        let named = node.voters();
        if named != known && !named.is_empty() {
            for (id, voter) in named.iter().filter(|(id, _)| **id != node.id()) {
                node.links().know(*id, &voter.address);
            }
            node.links().keep_only(|id| named.contains_key(&id));
            known = named;
        }
        sleep(Duration::from_millis(LOOK_MS)).await;
    }
}

/// Asks each of the others, until the membership names this node as a voter.
pub(super) async fn ask_to_be_taken_in(node: Node, scouts: Scouts, own: Voter) {
    let question = wire::encode(&Change::Admit { id: node.id(), voter: own });
    let mut told = String::new();
    loop {
        for scout in scouts.links() {
            if crate::membership::voters_of(node.replica()).contains(&node.id()) {
                tracing::info!(id = node.id(), "this node was taken in and votes");
                return;
            }
            if let Err(why) = scout.ask(Kind::Membership, &question, Duration::from_millis(TAKEN_IN_MS)).await {
                let why = why.to_string();
                if why != told {
                    tracing::info!(node = scout.to(), why, "not taken in yet");
                    told = why;
                }
            }
        }
        sleep(Duration::from_millis(ASK_AGAIN_MS)).await;
    }
}
