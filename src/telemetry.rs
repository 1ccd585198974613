//! What the node tells: counters under stable names, and the one list of log field names.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Field names of log lines; no other spelling is used anywhere.
pub mod field {
    pub const PEER: &str = "peer";
    pub const CALL_ID: &str = "call_id";
    pub const SESSION: &str = "session";
    pub const USER: &str = "user";
    pub const DEVICE: &str = "device";
    pub const LINK: &str = "link";
    pub const REASON: &str = "reason";
}

/// Counters of one node. Names are closed lists of `&'static str`, so the table is bounded.
#[derive(Debug, Default)]
pub struct Counters {
    named: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    pub requests: AtomicU64,
    pub responses: AtomicU64,
    /// Events of the PBX that sessions were told.
    pub events: AtomicU64,
    services: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
}

impl Counters {
    /// Adds one to `group`/`name`, e.g. `sign_in_refused`/`line_unknown`.
    pub fn count(&self, group: &'static str, name: &'static str) {
        self.add(group, name, 1);
    }

    pub fn add(&self, group: &'static str, name: &'static str, count: u64) {
        *self.named.lock().unwrap_or_else(PoisonError::into_inner).entry((group, name)).or_default() += count;
    }

    pub fn value(&self, group: &'static str, name: &'static str) -> u64 {
        self.named.lock().unwrap_or_else(PoisonError::into_inner).get(&(group, name)).copied().unwrap_or_default()
    }

    /// A service that the PBX was asked for a user has come to this: `MakeCall`/`refused`.
    pub fn count_service(&self, service: &'static str, outcome: &'static str) {
        *self.services.lock().unwrap_or_else(PoisonError::into_inner).entry((service, outcome)).or_default() += 1;
    }

    /// Service, outcome, count, in order.
    pub fn services(&self) -> Vec<(&'static str, &'static str, u64)> {
        let services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        services.iter().map(|((service, outcome), count)| (*service, *outcome, *count)).collect()
    }

    /// All named counters, in order.
    pub fn snapshot(&self) -> Vec<(&'static str, &'static str, u64)> {
        let named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = named.iter().map(|((group, name), value)| (*group, *name, *value)).collect();
        let totals = [("sip", "requests", &self.requests), ("sip", "responses", &self.responses)];
        all.extend(totals.map(|(group, name, value)| (group, name, value.load(Ordering::Relaxed))));
        all
    }
}
