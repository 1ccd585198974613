//! What a watcher of the pair sees: who serves, what the processes use, and whether a fault shows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::site::Site;
use crate::fault::Kind;
use crate::history::What;

/// Between two readings of what the processes use.
const SAMPLE_EVERY_US: u64 = 500_000;
/// Words of a log line by which a node says that its store is bad.
const BAD_STORE: [&str; 4] = ["damaged", "cannot be written", "set aside", "does not fit"];

/// A fault that must show, until its end was seen too.
struct Expected {
    fault: u32,
    kind: Kind,
    node: u32,
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
        if !kind.must_show() {
            return;
        }
        for node in nodes.iter().copied() {
            self.was_away.remove(&node);
            let log_from = fs::metadata(site.log(node)).map_or(0, |log| log.len());
            let (is_shown, is_healed, is_cleared) = (false, false, false);
            self.expected.push(Expected { fault, kind, node, log_from, is_shown, is_healed, is_cleared });
        }
    }

    pub fn healed(&mut self, fault: u32) {
        self.expected.iter_mut().filter(|one| one.fault == fault).for_each(|one| one.is_healed = true);
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
        for one in &mut self.expected {
            let is_witness = !self.serves.contains_key(&one.node);
            if !one.is_shown {
                let how = match one.kind.damages_store() {
                    true => bad_store(site, one.node, one.log_from),
                    false if !self.was_away.contains(&one.node) => None,
                    false if is_witness => Some("its process is gone".to_owned()),
                    false => Some("OPTIONS is not answered with 200".to_owned()),
                };
                if let Some(how) = how {
                    one.is_shown = true;
                    site.notes.add(What::Notice { fault: one.fault, node: one.node, shown: true, how });
                }
            }
            let is_well = match is_witness {
                true => site.nodes.get(&one.node).is_some_and(|process| process.pid().is_some()),
                false => self.serves.get(&one.node).copied().unwrap_or(false),
            };
            if one.is_shown && one.is_healed && !one.is_cleared && is_well {
                one.is_cleared = true;
                let how = "it serves again".to_owned();
                site.notes.add(What::Notice { fault: one.fault, node: one.node, shown: false, how });
            }
        }
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

/// The line by which a node says that its store is bad, since the fault began.
fn bad_store(site: &Site, node: u32, log_from: u64) -> Option<String> {
    let log = fs::read(site.log(node)).ok()?;
    let text = String::from_utf8_lossy(log.get(log_from as usize..)?);
    text.lines().find(|line| BAD_STORE.iter().any(|word| line.contains(word))).map(|line| format!("its log: {line}"))
}
