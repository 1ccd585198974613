//! The end of a run: green, red, or invalid. A run that did too little proves nothing, and is not green.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::check::intruders::ATTEMPTS_MIN;
use crate::check::{self, Finding, Recovery};
use crate::fault::Kind;
use crate::history::{Done, FaultSeen, History, Phase, What};

/// Less than this proves nothing.
const OPERATIONS_PER_S_MIN: u64 = 50;
const OPERATIONS_MIN: usize = 1_000;
const UNKNOWN_PERCENT_MAX: usize = 20;
/// An owner fault must be followed by another owner within this.
const OWNER_CHANGE_US: u64 = 10_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Green,
    Red,
    /// Too little was done: neither good nor bad.
    Invalid,
}

/// For machines (`verdict.json`) and, through `Display`, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    pub outcome: Outcome,
    pub scenario: String,
    pub seed: u64,
    pub replay: String,
    /// Why the run proves nothing.
    pub invalid: Vec<String>,
    pub operations: Operations,
    pub findings: Vec<Finding>,
    pub recoveries: Vec<Recovery>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operations {
    pub acknowledged: usize,
    pub failed: usize,
    pub unknown: usize,
    pub per_s: u64,
    /// Of the acknowledged.
    pub p50_us: u64,
    pub p99_us: u64,
}

impl Operations {
    fn of(history: &History) -> Self {
        let mut counted = Self::default();
        let mut took_us = Vec::new();
        for (at_us, operation) in history.operations() {
            match operation.result {
                Done::Ok | Done::Failed(0, _) => {
                    counted.acknowledged += 1;
                    took_us.push(at_us.saturating_sub(operation.start_us));
                }
                Done::Failed(..) => counted.failed += 1,
                Done::Unknown(_) => counted.unknown += 1,
            }
        }
        took_us.sort_unstable();
        let at = |percent: usize| took_us.get((took_us.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        counted.p50_us = at(50).unwrap_or(0);
        counted.p99_us = at(99).unwrap_or(0);
        let begun_us = history.phase_at(Phase::Calm).or(history.phase_at(Phase::Faults)).unwrap_or(0);
        let end_us = history.phase_at(Phase::Healing).or(history.entries.last().map(|entry| entry.at_us)).unwrap_or(0);
        let during = history.operations().filter(|(at_us, operation)| {
            (begun_us..=end_us).contains(at_us) && matches!(operation.result, Done::Ok | Done::Failed(0, _))
        });
        counted.per_s = during.count() as u64 * 1_000_000 / end_us.saturating_sub(begun_us).max(1);
        counted
    }
}

pub fn judge(history: &History) -> Verdict {
    let operations = Operations::of(history);
    let findings = check::all(history);
    let invalid = too_little(history, &operations, &findings);
    let is_broken = findings.iter().any(|finding| !finding.breaches.is_empty());
    let outcome = match (is_broken, invalid.is_empty()) {
        (true, _) => Outcome::Red,
        (false, true) => Outcome::Green,
        (false, false) => Outcome::Invalid,
    };
    let History { run, .. } = history;
    Verdict {
        outcome,
        scenario: run.scenario.clone(),
        seed: run.seed,
        replay: run.replay.clone(),
        invalid,
        operations,
        findings,
        recoveries: check::recoveries(history),
    }
}

fn too_little(history: &History, operations: &Operations, findings: &[Finding]) -> Vec<String> {
    let mut why = Vec::new();
    if history.entries.is_empty() {
        return vec!["the history is empty".to_owned()];
    }
    if history.run.lost > 0 {
        why.push(format!("{} entries of the history were lost", history.run.lost));
    }
    if operations.acknowledged < OPERATIONS_MIN {
        why.push(format!("{} operations were acknowledged, fewer than {OPERATIONS_MIN}", operations.acknowledged));
    }
    if operations.per_s < OPERATIONS_PER_S_MIN {
        why.push(format!("{} operations/s were acknowledged, fewer than {OPERATIONS_PER_S_MIN}", operations.per_s));
    }
    let all = operations.acknowledged + operations.failed + operations.unknown;
    if operations.unknown * 100 > all * UNKNOWN_PERCENT_MAX {
        why.push(format!("{} of {all} results are unknown, more than {UNKNOWN_PERCENT_MAX} %", operations.unknown));
    }
    let faults = history.faults();
    for fault in faults.iter().filter(|fault| fault.proof.is_none()) {
        why.push(format!("nothing shows that fault {} ({}) did anything", fault.fault, fault.kind.text()));
    }
    why.extend(no_takeover(history, &faults));
    let attempts = findings.iter().find(|finding| finding.id == "I12").map_or(0, |finding| finding.observed);
    if faults.iter().any(|fault| fault.kind == Kind::Intruders) && attempts < ATTEMPTS_MIN {
        why.push(format!("{attempts} intruders tried, fewer than {ATTEMPTS_MIN}"));
    }
    let has = |wanted: fn(&What) -> bool| history.entries.iter().any(|entry| wanted(&entry.what));
    if !has(|what| matches!(what, What::Asked(_))) {
        why.push("the PBX's account is empty".to_owned());
    }
    if !has(|what| matches!(what, What::Compared { .. })) {
        why.push("the views were never compared".to_owned());
    }
    why
}

/// Owner faults without another owner afterwards, and owner faults that hit nobody who owned anything.
fn no_takeover(history: &History, faults: &[FaultSeen]) -> Vec<String> {
    let mut why = Vec::new();
    let owner_faults: Vec<_> = faults.iter().filter(|fault| fault.kind.takes_owner()).collect();
    let mut hit_an_owner = owner_faults.is_empty();
    for fault in owner_faults {
        let mut acting: BTreeMap<&str, u32> = BTreeMap::new();
        let mut was_taken_over = false;
        for (at_us, asked) in history.asked().filter(|(at_us, _)| *at_us <= fault.began_us + OWNER_CHANGE_US) {
            let Some(user) = asked.user.as_deref() else { continue };
            if at_us < fault.began_us {
                acting.insert(user, asked.node);
            } else if !fault.nodes.contains(&asked.node) {
                was_taken_over |= acting.get(user).is_some_and(|owner| fault.nodes.contains(owner));
            }
        }
        let is_owner = acting.values().any(|owner| fault.nodes.contains(owner));
        hit_an_owner |= is_owner;
        if is_owner && !was_taken_over {
            why.push(format!("no session changed its owner after fault {} ({})", fault.fault, fault.kind.text()));
        }
    }
    if !hit_an_owner {
        why.push("no fault hit a node that owned a session".to_owned());
    }
    why
}

impl Verdict {
    /// 0 green, 1 red, 3 invalid.
    pub fn exit_code(&self) -> u8 {
        match self.outcome {
            Outcome::Green => 0,
            Outcome::Red => 1,
            Outcome::Invalid => 3,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.outcome {
            Outcome::Green => "GREEN",
            Outcome::Red => "RED",
            Outcome::Invalid => "INVALID",
        };
        let Operations { acknowledged, failed, unknown, per_s, p50_us, p99_us } = self.operations;
        writeln!(f, "{word}  {}, seed {}", self.scenario, self.seed)?;
        writeln!(
            f,
            "  operations  {acknowledged} acknowledged ({per_s}/s), {failed} refused, {unknown} unknown; p50 {:.1} ms, p99 {:.1} ms",
            p50_us as f64 / 1000.0,
            p99_us as f64 / 1000.0
        )?;
        for recovery in &self.recoveries {
            let goal = recovery.goal_ms.map_or("no promise".to_owned(), |goal| format!("goal {goal} ms"));
            writeln!(
                f,
                "  {:<44} longest pause p50 {} ms, p99 {} ms, max {} ms ({goal}, {} users)",
                recovery.kind.text(),
                recovery.p50_ms,
                recovery.p99_ms,
                recovery.max_ms,
                recovery.users
            )?;
        }
        for finding in &self.findings {
            match (finding.observed, finding.breaches.as_slice()) {
                (0, []) => {}
                (observed, []) => {
                    writeln!(f, "  {:<4} holds   {observed:>8} looked at  {}", finding.id, finding.title)?
                }
                (observed, breaches) => {
                    writeln!(f, "  {:<4} BROKEN  {observed:>8} looked at  {}", finding.id, finding.title)?;
                    for breach in breaches.iter().take(5) {
                        writeln!(f, "         at {:>9.3} s  {}", breach.at_us as f64 / 1e6, breach.what)?;
                    }
                    if breaches.len() > 5 {
                        writeln!(f, "         and {} more", breaches.len() - 5)?;
                    }
                }
            }
        }
        let silent: Vec<&str> = self.findings.iter().filter(|f| f.observed == 0).map(|f| f.id.as_str()).collect();
        if !silent.is_empty() {
            writeln!(f, "  not looked at in this run: {}", silent.join(", "))?;
        }
        self.invalid.iter().try_for_each(|why| writeln!(f, "  proves nothing: {why}"))?;
        write!(f, "  again: {}", self.replay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::golden::Golden;
    use crate::history::FaultTurn;

    /// 1,200 operations in 3 s, a kill, a takeover, agreement.
    fn enough() -> Golden {
        let begun = Golden::default().phase(Phase::Calm).signed_in("10001", "a", "t").pbx_asked((1, 1), "10001");
        let asked = (0..1_200).fold(begun, |golden, _| golden.asked_ok("10001"));
        let killed = asked.kill(1).notice(1, 1, true).pbx_asked((2, 1), "10001").healed(1).notice(1, 1, false);
        killed.phase(Phase::Healing).compared(&[]).phase(Phase::Convergence).asked_ok("10001")
    }

    #[test]
    fn a_run_that_did_enough_and_broke_nothing_is_green() {
        let verdict = judge(&enough().history());
        assert_eq!((verdict.outcome, verdict.invalid.clone()), (Outcome::Green, Vec::new()), "{verdict}");
        assert_eq!((verdict.exit_code(), verdict.operations.acknowledged), (0, 1_201));
    }

    #[test]
    fn a_breach_makes_it_red_and_names_the_invariant() {
        let verdict = judge(&enough().refused("10001", 481).history());
        assert_eq!((verdict.outcome, verdict.exit_code()), (Outcome::Red, 1));
        assert!(verdict.to_string().contains("I1   BROKEN"), "{verdict}");
    }

    #[test]
    fn a_run_that_did_too_little_is_invalid_and_says_why() {
        let says = |history: History, wanted: &str| {
            let verdict = judge(&history);
            assert_eq!(verdict.outcome, Outcome::Invalid, "{verdict}");
            assert!(verdict.invalid.iter().any(|why| why.contains(wanted)), "{wanted}: {:?}", verdict.invalid);
        };
        says(History::default(), "empty");
        says(Golden::default().asked_ok("10001").history(), "fewer than 1000");
        let mut slow = enough().history();
        slow.entries
            .iter_mut()
            .filter(|entry| matches!(entry.what, What::Phase { phase: Phase::Calm }))
            .for_each(|entry| entry.at_us = 0);
        slow.entries.iter_mut().skip(1).for_each(|entry| entry.at_us += 60_000_000);
        says(slow, "operations/s");
        let mut lost = enough().history();
        lost.run.lost = 1;
        says(lost, "lost");
        let mut toothless = enough().history();
        toothless.entries.retain(|e| !matches!(&e.what, What::Fault { turn: FaultTurn::Bit(_), .. }));
        says(toothless, "did anything");
        let mut unmoved = enough().history();
        unmoved.entries.retain(|e| !matches!(&e.what, What::Asked(asked) if asked.node == 2));
        says(unmoved, "changed its owner");
        let mut elsewhere = enough().history();
        elsewhere.entries.retain(|e| !matches!(&e.what, What::Asked(asked) if asked.node == 1));
        says(elsewhere, "owned a session");
        let unknown = (0..400).fold(enough(), |golden, n| {
            golden.dialled("10001", &format!("+{n}"), Done::Unknown("no answer".to_owned()))
        });
        let mut unknown = unknown.history();
        unknown.entries.retain(|entry| !matches!(entry.what, What::Phase { phase: Phase::Convergence }));
        says(unknown, "unknown");
        says(enough().fault(Kind::Intruders, &[]).intruder(0, false).history(), "fewer than 200");
    }
}
