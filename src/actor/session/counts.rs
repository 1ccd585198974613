//! What a session tells the counters and the log.

use std::sync::atomic::Ordering;

use tracing::{debug, error, info, warn};

use super::SessionActor;
use crate::csta::Outcome;
use crate::cti::LinkFailed;
use crate::machine::effect::Note;
use crate::machine::input::Input;

impl SessionActor {
    /// Keeps the node's count of calls true.
    pub(super) fn count_calls(&mut self) {
        let now = self.session.calls.len();
        let before = std::mem::replace(&mut self.calls, now);
        if now > before {
            self.node.calls.fetch_add(now - before, Ordering::Relaxed);
        } else {
            self.node.calls.fetch_sub(before - now, Ordering::Relaxed);
        }
    }

    pub(super) fn count(&self, input: &Input) {
        match input {
            Input::PbxEvent { .. } => {
                self.node.counters.events.fetch_add(1, Ordering::Relaxed);
            }
            Input::Settled { ask, result } => {
                // What the session asked for itself, monitors and snapshots, is not among them.
                if let Some(asked) = self.session.asked.iter().find(|asked| asked.ask == *ask) {
                    self.node.counters.count_service(asked.service.name(), outcome_name(result));
                }
            }
            _ => {}
        }
    }

    pub(super) fn note(&self, note: &Note) {
        let name = note.name();
        self.node.counters.count("session", name);
        match note {
            Note::NotTrusted { status } => error!(
                session = %self.session.id,
                status,
                "the front end does not trust this gateway: check that its host is a trusted application and its certificate name matches"
            ),
            Note::MonitorFailed | Note::SnapshotFailed | Note::OutboxOverflow => {
                warn!(session = %self.session.id, device = %self.session.appearance.device, reason = name);
            }
            Note::Settled { service, verdict } => {
                info!(session = %self.session.id, service, verdict, "a command whose answer was lost is answered");
            }
            _ => debug!(session = %self.session.id, reason = name),
        }
    }
}

/// Stable name in the counters.
fn outcome_name(result: &Result<Outcome, LinkFailed>) -> &'static str {
    match result {
        Ok(Outcome::Failed(_)) => "refused",
        Ok(_) => "ok",
        Err(LinkFailed::NotSent) => "not_sent",
        Err(LinkFailed::Lost) => "lost",
        Err(LinkFailed::TimedOut) => "timed_out",
    }
}
