//! A voter as its own tasks see it: the replica, and the life it has joined with.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::machine::{Command, Reply};
use crate::membership;
use crate::raft::Voter;
use crate::record::Incarnation;
use crate::replica::Replica;
use crate::store::{CommitError, FencedStore};

pub struct Life {
    replica: Replica,
    /// The node's name in the configuration.
    name: String,
    incarnation: Mutex<Option<Incarnation>>,
    /// The last life this node fenced, and when it was heard last.
    lost: Mutex<Option<(Incarnation, Instant)>>,
}

impl Life {
    pub fn new(replica: Replica, name: String) -> Self {
        Self { replica, name, incarnation: Mutex::default(), lost: Mutex::default() }
    }

    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Begins a life of this node; its records of before belong to it.
    pub async fn join(&self) -> Result<Incarnation, CommitError> {
        match self.replica.propose(Command::Join { node: self.name.as_str().into() }).await? {
            Reply::Joined { incarnation, .. } => {
                self.live_as(incarnation);
                Ok(incarnation)
            }
            _ => Err(CommitError::Lost),
        }
    }

    /// Which life the guardian inherits for.
    pub fn live_as(&self, incarnation: Incarnation) {
        *self.incarnation.lock().unwrap_or_else(PoisonError::into_inner) = Some(incarnation);
    }

    pub fn incarnation(&self) -> Option<Incarnation> {
        *self.incarnation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this life may carry effects: nobody can have fenced it yet, and as far as it knows nobody has.
    pub fn may_act(&self) -> bool {
        let lives = |own| self.replica.records().machine().is_living(own);
        self.replica.may_act() && self.incarnation().is_none_or(lives)
    }

    /// This node is about to fence a life that was heard for the last time then.
    pub fn lose(&self, incarnation: Incarnation, heard: Instant) {
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some((incarnation, heard));
    }

    pub fn lost(&self) -> Option<(Incarnation, Instant)> {
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn voters(&self) -> BTreeMap<u64, Voter> {
        membership::nodes_of(&self.replica)
    }
}
