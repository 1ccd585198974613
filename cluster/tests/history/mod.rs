//! A history of one record as its clients saw it, and the search for an order that explains it (Wing & Gong, with Lowe's
//! memory of what was tried): every operation at one moment between its call and its answer, as if one after the other.

mod cell;
mod golden;

use std::collections::HashSet;
use std::fmt;

pub use cell::{Action, Cell, Outcome, Seen};

/// One operation on the record. Times are of one clock that ticks with every call and every answer.
#[derive(Clone, Debug)]
pub struct Operation {
    pub client: usize,
    /// The voter it was put to.
    pub node: u64,
    pub action: Action,
    pub outcome: Outcome,
    pub called: u64,
    /// An operation of unknown outcome may happen at any time after its call, or never.
    pub answered: u64,
}

/// No order explains the history. Shown with the operations around the place at which the longest explanation ends.
pub struct Unexplained {
    explained: usize,
    cell: Cell,
    history: Vec<Operation>,
    stuck_at: u64,
}

/// Of what is printed, on either side of the place.
const SHOWN: usize = 40;

impl fmt::Debug for Unexplained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} of {} operations can be put in an order,", self.explained, self.history.len())?;
        writeln!(f, "which leaves the record as {:?}; then nothing follows:", self.cell)?;
        let middle = self.history.partition_point(|operation| operation.called < self.stuck_at);
        for operation in &self.history[middle.saturating_sub(SHOWN)..self.history.len().min(middle + SHOWN)] {
            let Operation { client, node, action, outcome, called, answered } = operation;
            let mark = if (*called..=*answered).contains(&self.stuck_at) { '>' } else { ' ' };
            let until = if *outcome == Outcome::Unknown { "...".to_owned() } else { answered.to_string() };
            writeln!(f, "{mark} {called:>8}..{until:<8} client {client:>2} at {node}: {action:?} -> {outcome:?}")?;
        }
        Ok(())
    }
}

/// How far a search has come: which operations are done, and what the record is then.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct Reached {
    /// All operations with an answer before this one are done.
    first: usize,
    /// And these behind it.
    ahead: Vec<usize>,
    /// Those of unknown outcome that happened.
    happened: Vec<usize>,
    cell: Cell,
}

/// Err: the history is not linearizable.
pub fn check(mut history: Vec<Operation>) -> Result<(), Unexplained> {
    history.sort_by_key(|operation| operation.called);
    let (unknown, known): (Vec<_>, Vec<_>) =
        history.iter().cloned().partition(|operation| operation.outcome == Outcome::Unknown);
    let mut tried = HashSet::new();
    let mut open = vec![Reached { first: 0, ahead: vec![], happened: vec![], cell: Cell::default() }];
    let mut best: Option<(usize, Reached)> = None;
    while let Some(reached) = open.pop() {
        if reached.first == known.len() {
            return Ok(());
        }
        if !tried.insert(reached.clone()) {
            continue;
        }
        let explained = reached.first + reached.ahead.len() + reached.happened.len();
        if best.as_ref().is_none_or(|(most, _)| *most < explained) {
            best = Some((explained, reached.clone()));
        }
        // Who must be done before anything that was called after its answer.
        let mut until = u64::MAX;
        let mut next = Vec::new();
        for (index, operation) in known.iter().enumerate().skip(reached.first) {
            if operation.called > until {
                break;
            }
            if reached.ahead.binary_search(&index).is_err() {
                until = until.min(operation.answered);
                next.push(index);
            }
        }
        // What changes nothing may as well be done at once.
        let idle = next.iter().find(|index| {
            let Operation { action, outcome, .. } = &known[**index];
            reached.cell.after(action, outcome).contains(&reached.cell)
        });
        if let Some(index) = idle {
            open.push(reached.with(*index, reached.cell.clone()));
            continue;
        }
        for (index, operation) in unknown.iter().enumerate() {
            if operation.called < until
                && let Err(place) = reached.happened.binary_search(&index)
            {
                for cell in reached.cell.after_unknown(&operation.action) {
                    let mut happened = reached.happened.clone();
                    happened.insert(place, index);
                    open.push(Reached { happened, cell, ..reached.clone() });
                }
            }
        }
        // Last pushed, first tried: the one that was called first.
        for index in next.into_iter().rev() {
            let operation = &known[index];
            for cell in reached.cell.after(&operation.action, &operation.outcome).into_iter().rev() {
                open.push(reached.with(index, cell));
            }
        }
    }
    let (explained, reached) = best.expect("the beginning is always reached");
    let stuck_at = known[reached.first].called;
    Err(Unexplained { explained, cell: reached.cell, history, stuck_at })
}

impl Reached {
    fn with(&self, index: usize, cell: Cell) -> Self {
        let (mut first, mut ahead) = (self.first, self.ahead.clone());
        let place = ahead.binary_search(&index).expect_err("an operation is done once");
        ahead.insert(place, index);
        let whole = ahead.iter().enumerate().take_while(|(n, index)| **index == first + n).count();
        ahead.drain(..whole);
        first += whole;
        Self { first, ahead, happened: self.happened.clone(), cell }
    }
}
