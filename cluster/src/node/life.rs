//! A voter as its own tasks see it: the replica, and the life it has joined with.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

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
}

impl Life {
    pub fn new(replica: Replica, name: String) -> Self {
        Self { replica, name, incarnation: Mutex::default() }
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

    pub fn voters(&self) -> BTreeMap<u64, Voter> {
        membership::nodes_of(&self.replica)
    }
}
