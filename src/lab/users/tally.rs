//! What has been counted so far.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::meter::Meter;

/// Kinds of failures kept apart; the rest is counted under one name.
const KINDS_MAX: usize = 64;

/// Written by many tasks at once.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub sign_in: Meter,
    pub service: Meter,
    pub refresh: Meter,
    /// MakeCall sent to Delivered seen by the called user.
    pub ring: Meter,
    /// MakeCall sent to Delivered or Established seen by the caller, for numbers outside.
    pub ring_outside: Meter,
    /// AnswerCall sent to Established seen by the caller.
    pub answer: Meter,
    pub signed_in: AtomicU64,
    pub calls: AtomicU64,
    pub calls_ok: AtomicU64,
    pub calls_skipped: AtomicU64,
    /// Requests whose result is unknown.
    pub unknown: AtomicU64,
    /// Calls a user still believed in after they were over.
    pub ghosts: AtomicU64,
    failures: Mutex<BTreeMap<String, u64>>,
}

impl Tally {
    pub fn failed(&self, kind: impl Into<String>) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = kind.into();
        let kind =
            if failures.len() >= KINDS_MAX && !failures.contains_key(&kind) { "others".to_owned() } else { kind };
        *failures.entry(kind).or_default() += 1;
    }

    pub fn failures(&self) -> BTreeMap<String, u64> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn failures_count(&self) -> u64 {
        self.failures().values().sum()
    }
}

pub(super) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

pub(super) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
