//! The PBX's own account of what was asked of it: a witness that trusts nobody else.

use std::collections::VecDeque;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::control::Request;
use crate::csta::{EventBody, Failure, Outcome, Service};

/// One line of the account. `seq` counts from 1 without gaps; `ms` is monotonic, from the PBX's start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub seq: u64,
    pub ms: u64,
    #[serde(flatten)]
    pub what: Happening,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Happening {
    /// A service as it came in. `peer` and `application` (the session's applicationID) tell who asked.
    Service {
        link: String,
        peer: SocketAddr,
        application: String,
        invoke: u16,
        service: Service,
        correlator: Option<String>,
        did: Did,
        /// Whether an answer was put on its way; a fault or the `silent` setting may have kept it back.
        is_answered: bool,
    },
    /// An application session began, went on over a new connection, or ended.
    Session {
        link: String,
        peer: Option<SocketAddr>,
        application: String,
        session: String,
        turn: SessionTurn,
    },
    /// Something done at a phone, or by somebody outside.
    Phone {
        request: Request,
        did: Did,
    },
    /// Something that happened by itself.
    Timer {
        what: String,
    },
    Fault {
        request: Request,
    },
    /// Only with `history_has_events`: told to the monitors of `device`, however many there are.
    Event {
        device: String,
        event: EventBody,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Did {
    Ok,
    /// Done; the id of the call it made, or of the call that came of it.
    Call(String),
    Refused(Failure),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionTurn {
    Started,
    Resumed,
    Refused,
    Stopped,
    Expired,
    /// The connection is gone; a DMCC session may still be resumed.
    Lost,
    CleanedUp,
}

impl Did {
    pub fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Failed(failure) => Self::Refused(failure.clone()),
            Outcome::MakeCall { calling: connection }
            | Outcome::ConsultationCall { initiated: connection }
            | Outcome::TransferCall { transferred: connection, .. }
            | Outcome::SingleStepTransferCall { transferred: connection, .. }
            | Outcome::ConferenceCall { conference: connection, .. }
            | Outcome::SingleStepConferenceCall { conferenced: connection } => Self::Call(connection.call.clone()),
            _ => Self::Ok,
        }
    }
}

/// A bounded ring of entries.
#[derive(Debug)]
pub struct History {
    entries: VecDeque<Entry>,
    entries_max: usize,
    next_seq: u64,
}

/// A part of the history. `dropped` entries are gone for ever; a reader that goes on after `entries`' last `seq` and
/// sees a gap has been too slow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryPage {
    pub entries: Vec<Entry>,
    pub dropped: u64,
    /// The newest entry's `seq`; 0 when there is none.
    pub last_seq: u64,
}

impl History {
    pub fn new(entries_max: usize) -> Self {
        Self { entries: VecDeque::new(), entries_max, next_seq: 1 }
    }

    pub fn add(&mut self, ms: u64, what: Happening) {
        if self.entries.len() >= self.entries_max {
            self.entries.pop_front();
        }
        if self.entries_max > 0 {
            self.entries.push_back(Entry { seq: self.next_seq, ms, what });
        }
        self.next_seq += 1;
    }

    /// At most `max` entries with a `seq` above `after`, oldest first.
    pub fn page(&self, after: u64, max: usize) -> HistoryPage {
        let dropped = self.next_seq - 1 - self.entries.len() as u64;
        let skipped = usize::try_from(after.saturating_sub(dropped)).unwrap_or(usize::MAX);
        let entries = self.entries.iter().skip(skipped).take(max).cloned().collect();
        HistoryPage { entries, dropped, last_seq: self.next_seq - 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entries_are_dropped_and_counted() {
        let mut history = History::new(3);
        for n in 0..5 {
            history.add(n, Happening::Timer { what: n.to_string() });
        }
        let seqs = |page: &HistoryPage| page.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>();
        let all = history.page(0, 10);
        assert_eq!((seqs(&all), all.dropped, all.last_seq), (vec![3, 4, 5], 2, 5));
        assert_eq!(seqs(&history.page(3, 1)), [4]);
        assert_eq!(seqs(&history.page(5, 10)), [0; 0]);
    }
}
