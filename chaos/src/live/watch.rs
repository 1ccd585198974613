//! What a watcher of the pair sees: who serves, what the processes use, and whether a fault shows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::observer::{self, Look, Observers};
use super::site::Site;
use crate::fault::Kind;
use crate::history::{By, What};

/// Between two readings of what the processes use.
const SAMPLE_EVERY_US: u64 = 500_000;
/// Words of a log line by which a node says that its store is bad.
const BAD_STORE: [&str; 4] = ["damaged", "cannot be written", "set aside", "does not fit"];

/// A fault that must show, until its end was seen too.
struct Expected {
    fault: u32,
    kind: Kind,
    node: u32,
    by: By,
    log_from: u64,
    is_shown: bool,
    is_healed: bool,
    is_cleared: bool,
}

#[derive(Default)]
pub struct Watch {
    serves: BTreeMap<u32, bool>,
    expected: Vec<Expected>,
    sampled_us: u64,
    /// Nodes that were unwell since they were last asked about.
    was_away: BTreeSet<u32>,
}

impl Watch {
    pub fn serves(&self, node: u32) -> bool {
        self.serves.get(&node).copied().unwrap_or(false)
    }

    pub fn expect(&mut self, site: &Site, fault: u32, kind: Kind, nodes: &[u32]) {
        let has_operator = site.observers.is_some();
        let by = |by: &By| match by {
            By::Service => kind.must_show(),
            By::Metrics | By::Api => has_operator && kind.must_show_to_operator(),
        };
        for node in nodes.iter().copied() {
            self.was_away.remove(&node);
            let log_from = fs::metadata(site.log(node)).map_or(0, |log| log.len());
            for by in [By::Service, By::Metrics, By::Api].into_iter().filter(by) {
                let (is_shown, is_healed, is_cleared) = (false, false, false);
                self.expected.push(Expected { fault, kind, node, by, log_from, is_shown, is_healed, is_cleared });
            }
        }
    }

    pub fn healed(&mut self, fault: u32) {
        self.expected.iter_mut().filter(|one| one.fault == fault).for_each(|one| one.is_healed = true);
    }

    /// Writes down which faults show now, and which are over.
    fn notice(&mut self, site: &Site) {
        if self.expected.iter().all(|one| one.is_cleared) {
            return;
        }
        let looks = site.observers.as_ref().map(Observers::looks).unwrap_or_default();
        let signs = Signs { serves: &self.serves, was_away: &self.was_away, looks };
        for one in &mut self.expected {
            let (fault, node, by) = (one.fault, one.node, one.by);
            if !one.is_shown
                && let Some(how) = one.sign(site, &signs)
            {
                one.is_shown = true;
                site.notes.add(What::Notice { fault, node, shown: true, how, by });
            }
            if one.is_shown && one.is_healed && !one.is_cleared && one.is_well(site, &signs) {
                one.is_cleared = true;
                site.notes.add(What::Notice { fault, node, shown: false, how: "it is well again".to_owned(), by });
            }
        }
    }

    /// Looks once.
    pub fn look(&mut self, site: &Site) {
        for (node, serves) in (1..).zip(site.doctor.health()) {
            if self.serves.insert(node, serves) != Some(serves) {
                site.notes.add(What::Health { node, serves });
            }
            if !serves {
                self.was_away.insert(node);
            }
        }
        for (node, process) in &site.nodes {
            // A witness serves nobody: its service manager alone sees that it is gone.
            if !self.serves.contains_key(node) && process.pid().is_none() {
                self.was_away.insert(*node);
            }
        }
        self.notice(site);
        let now_us = site.notes.now_us();
        if now_us - self.sampled_us >= SAMPLE_EVERY_US {
            self.sampled_us = now_us;
            for (node, process) in &site.nodes {
                let Some((rss_bytes, files, threads)) = process.uses() else { continue };
                let log_bytes = fs::metadata(site.log(*node)).map_or(0, |log| log.len());
                site.notes.add(What::Sample { node: *node, rss_bytes, files, threads, log_bytes });
            }
        }
    }
}

impl Expected {
    /// How the fault shows now.
    fn sign(&self, site: &Site, watch: &Signs<'_>) -> Option<String> {
        match self.by {
            By::Metrics => observer::in_metrics(&watch.looks, self.node),
            By::Api => observer::in_api(&watch.looks, self.node),
            By::Service if self.kind.damages_store() => bad_store(site, self.node, self.log_from),
            By::Service if !watch.was_away.contains(&self.node) => None,
            By::Service if watch.serves.contains_key(&self.node) => Some("OPTIONS is not answered with 200".to_owned()),
            By::Service => Some("its process is gone".to_owned()),
        }
    }

    fn is_well(&self, site: &Site, watch: &Signs<'_>) -> bool {
        match self.by {
            By::Metrics => observer::in_metrics(&watch.looks, self.node).is_none(),
            By::Api => observer::in_api(&watch.looks, self.node).is_none(),
            By::Service => watch.serves.get(&self.node).copied().unwrap_or_else(|| {
                // A witness serves nobody.
                site.nodes.get(&self.node).is_some_and(|process| process.pid().is_some())
            }),
        }
    }
}

/// What is known when faults are looked for.
struct Signs<'a> {
    serves: &'a BTreeMap<u32, bool>,
    was_away: &'a BTreeSet<u32>,
    looks: BTreeMap<u32, Look>,
}

/// The line by which a node says that its store is bad, since the fault began.
fn bad_store(site: &Site, node: u32, log_from: u64) -> Option<String> {
    let log = fs::read(site.log(node)).ok()?;
    let text = String::from_utf8_lossy(log.get(log_from as usize..)?);
    text.lines().find(|line| BAD_STORE.iter().any(|word| line.contains(word))).map(|line| format!("its log: {line}"))
}
