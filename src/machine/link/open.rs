//! Requests a PBX has not answered yet.

use std::collections::{BTreeMap, BTreeSet};

use super::words::Ticket;
use crate::id::Moment;

/// Tickets by their deadlines. Every ticket that was put in leaves exactly once.
#[derive(Debug, Default)]
pub struct OpenAsks {
    deadlines: BTreeMap<Ticket, Moment>,
    order: BTreeSet<(Moment, Ticket)>,
}

impl OpenAsks {
    pub fn put(&mut self, ticket: Ticket, deadline: Moment) {
        self.take(ticket);
        self.deadlines.insert(ticket, deadline);
        self.order.insert((deadline, ticket));
    }

    /// Whether it was still open.
    pub fn take(&mut self, ticket: Ticket) -> bool {
        match self.deadlines.remove(&ticket) {
            Some(deadline) => self.order.remove(&(deadline, ticket)),
            None => false,
        }
    }

    /// One whose time is over, earliest first.
    pub fn take_expired(&mut self, now: Moment) -> Option<Ticket> {
        let (deadline, ticket) = *self.order.first()?;
        if deadline > now {
            return None;
        }
        self.take(ticket);
        Some(ticket)
    }

    /// All of them, oldest ticket first.
    pub fn take_all(&mut self) -> Vec<Ticket> {
        self.order.clear();
        std::mem::take(&mut self.deadlines).into_keys().collect()
    }

    pub fn deadline(&self) -> Option<Moment> {
        self.order.first().map(|(deadline, _)| *deadline)
    }

    pub fn len(&self) -> usize {
        self.deadlines.len()
    }

    pub fn is_empty(&self) -> bool {
        self.deadlines.is_empty()
    }
}
