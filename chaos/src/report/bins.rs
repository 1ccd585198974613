//! A history as numbers over time, for the picture.

use std::collections::BTreeMap;

use crate::history::{Done, FaultTurn, History, Phase, ProcessTurn, What};

/// Bars in a row over the whole run.
pub const BINS: usize = 220;

/// A stretch of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub from_us: u64,
    pub to_us: u64,
}

/// What the lanes of the picture show.
#[derive(Clone, Debug, Default)]
pub struct Lanes {
    pub end_us: u64,
    pub phases: Vec<(Phase, Span)>,
    pub faults: Vec<(String, Span)>,
    /// When each data node answered OPTIONS with 200.
    pub serving: BTreeMap<u32, Vec<Span>>,
    /// When each voter's process was there.
    pub alive: BTreeMap<u32, Vec<Span>>,
    /// Services that reached the PBX, by bin: from node 1, from node 2.
    pub acting: Vec<[u64; 2]>,
    /// Answers: done, refused, unknown.
    pub answers: Vec<[u64; 3]>,
    /// The longest pause of an asking user that was still going on.
    pub pause_ms: Vec<u64>,
}

impl Lanes {
    pub fn of(history: &History) -> Self {
        let end_us = history.entries.last().map_or(1, |entry| entry.at_us.max(1));
        let bin = |at_us: u64| ((at_us as u128 * BINS as u128 / end_us as u128) as usize).min(BINS - 1);
        let mut lanes = Self {
            end_us,
            acting: vec![[0; 2]; BINS],
            answers: vec![[0; 3]; BINS],
            pause_ms: vec![0; BINS],
            ..Self::default()
        };
        let mut last_answer: BTreeMap<&str, u64> = BTreeMap::new();
        let probers = &history.run.probers;
        let mut asks = true;
        for entry in &history.entries {
            let at_us = entry.at_us;
            match &entry.what {
                What::Phase { phase } => {
                    lanes.phases.last_mut().into_iter().for_each(|(_, span)| span.to_us = at_us);
                    lanes.phases.push((*phase, Span { from_us: at_us, to_us: end_us }));
                    if matches!(phase, Phase::Healing | Phase::Convergence) {
                        // Nobody asks without a pause any more.
                        last_answer.clear();
                        asks = false;
                    }
                }
                What::Health { node, serves } => turn(lanes.serving.entry(*node).or_default(), *serves, at_us, end_us),
                What::Process { node, turn: now, .. } => {
                    turn(lanes.alive.entry(*node).or_default(), *now == ProcessTurn::Started, at_us, end_us);
                }
                What::Fault { name, turn: FaultTurn::Began, fault, nodes } => {
                    let healed =
                        history.faults().into_iter().find(|seen| seen.fault == *fault).and_then(|f| f.healed_us);
                    let whom: Vec<String> = nodes.iter().map(u32::to_string).collect();
                    let whom = if whom.is_empty() { String::new() } else { format!(", node {}", whom.join(", ")) };
                    let span = Span { from_us: at_us, to_us: healed.unwrap_or(end_us) };
                    lanes.faults.push((format!("{}{whom}", name.text()), span));
                }
                What::Asked(asked) if (1..=2).contains(&asked.node) => {
                    lanes.acting[bin(at_us)][asked.node as usize - 1] += 1;
                }
                What::Operation(operation) => {
                    let kind = match operation.result {
                        Done::Ok | Done::Failed(0, _) => 0,
                        Done::Failed(..) => 1,
                        Done::Unknown(_) => 2,
                    };
                    lanes.answers[bin(at_us)][kind] += 1;
                    if asks && kind == 0 && probers.contains(&operation.user) {
                        let last = last_answer.insert(&operation.user, at_us).unwrap_or(at_us);
                        for pause in &mut lanes.pause_ms[bin(last)..=bin(at_us)] {
                            *pause = (*pause).max((at_us - last) / 1000);
                        }
                    }
                }
                _ => {}
            }
        }
        lanes
    }
}

/// Begins or ends a span.
fn turn(spans: &mut Vec<Span>, is_on: bool, at_us: u64, end_us: u64) {
    let is_open = spans.last().is_some_and(|span| span.to_us == end_us);
    match (is_on, is_open) {
        (true, false) => spans.push(Span { from_us: at_us, to_us: end_us }),
        (false, true) => spans.last_mut().into_iter().for_each(|span| span.to_us = at_us),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::golden::Golden;

    #[test]
    fn lanes_hold_when_a_node_served_and_how_long_somebody_waited() {
        let golden = Golden::default().prober("10001").health(1, true).asked_ok("10001").wait_ms(500);
        let golden = golden.health(1, false).asked_ok("10001").wait_ms(500).health(1, true).pbx_asked((2, 1), "10001");
        let lanes = Lanes::of(&golden.history());
        assert_eq!(lanes.serving[&1].len(), 2);
        assert_eq!(lanes.pause_ms.iter().max(), Some(&504));
        assert_eq!(lanes.acting.iter().map(|bin| bin[1]).sum::<u64>(), 1);
        assert_eq!(lanes.answers.iter().map(|bin| bin[0]).sum::<u64>(), 2);
    }
}
