//! I8: recovery: the longest pause of each asking user, fault by fault, beside its goal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Breach, Checked};
use crate::fault::Kind;
use crate::history::{Done, FaultSeen, History, Phase, What};

/// A pause that ends this long after the fault still belongs to it.
const AFTER_US: u64 = 5_000_000;

/// What one fault cost the users that ask without a pause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    pub fault: u32,
    pub kind: Kind,
    pub began_us: u64,
    pub users: usize,
    pub p50_ms: u64,
    pub p90_ms: u64,
    pub p99_ms: u64,
    pub max_ms: u64,
    /// Before the run's slack.
    pub goal_ms: Option<u64>,
    /// The user with the longest pause, and when that ended.
    pub worst: Option<(String, u64)>,
}

/// Times of the answers of each asking user. An answer is an answer, also a refusal by the PBX: status 0.
fn answers(history: &History) -> BTreeMap<&str, Vec<u64>> {
    let mut answers: BTreeMap<&str, Vec<u64>> =
        history.run.probers.iter().map(|user| (user.as_str(), Vec::new())).collect();
    for (at_us, operation) in history.operations() {
        if matches!(&operation.result, Done::Ok | Done::Failed(0, _))
            && let Some(times) = answers.get_mut(operation.user.as_str())
        {
            times.push(at_us);
        }
    }
    answers
}

/// The longest pause that overlaps the fault: how long, and when it ended.
fn longest_pause(times: &[u64], fault: &FaultSeen, next_us: u64, end_us: u64) -> Option<(u64, u64)> {
    let until_us = fault.healed_us.map_or(end_us, |healed| (healed + AFTER_US).min(next_us.max(healed))).min(end_us);
    let before = times.iter().rev().find(|at| **at <= fault.began_us).copied()?;
    let mut last = before;
    let mut longest = (0, before);
    for at in times.iter().copied().filter(|at| *at > fault.began_us).chain([u64::MAX]) {
        if last >= until_us {
            break;
        }
        // Whoever waits still when the measuring ends has waited until then.
        let answered = at.min(until_us);
        longest = longest.max((answered - last, answered));
        last = at;
    }
    Some(longest)
}

/// The longest pause of anybody while nothing was broken: what this machine makes users wait anyhow.
fn usual_ms(history: &History) -> u64 {
    let phase = |phase| history.phase_at(phase);
    let (Some(from_us), Some(to_us)) = (phase(Phase::Calm), phase(Phase::Faults)) else { return 0 };
    let calm = |times: &Vec<u64>| {
        let calm: Vec<u64> = times.iter().copied().filter(|at| (from_us..to_us).contains(at)).collect();
        calm.windows(2).map(|pair| pair[1] - pair[0]).max()
    };
    answers(history).values().filter_map(calm).max().unwrap_or(0) / 1000
}

/// For how long the machine itself stood still within a pause that ended then.
fn stalled_ms(history: &History, ended_us: u64, pause_ms: u64) -> u64 {
    let began_us = ended_us.saturating_sub(pause_ms * 1000);
    let within = history.entries.iter().filter_map(|entry| match &entry.what {
        What::Stall { us } => {
            Some(entry.at_us.min(ended_us).saturating_sub(entry.at_us.saturating_sub(*us).max(began_us)))
        }
        _ => None,
    });
    within.sum::<u64>() / 1000
}

/// Fault by fault, in the order they began.
pub fn recoveries(history: &History) -> Vec<Recovery> {
    let answers = answers(history);
    let faults = history.faults();
    // Once everybody hangs up and the views are compared nobody asks.
    let end_us = history.phase_at(Phase::Healing).or(history.entries.last().map(|entry| entry.at_us)).unwrap_or(0);
    let of = |(n, fault): (usize, &FaultSeen)| {
        let next_us = faults.get(n + 1).map_or(end_us, |next| next.began_us);
        let pause = |(user, times): (&&str, &Vec<u64>)| {
            longest_pause(times, fault, next_us, end_us).map(|(us, at)| (us, at, (*user).to_owned()))
        };
        let mut pauses: Vec<(u64, u64, String)> = answers.iter().filter_map(pause).collect();
        pauses.sort();
        let at = |percent: usize| match pauses.len() {
            0 => 0,
            len => pauses[(len * percent).div_ceil(100).clamp(1, len) - 1].0 / 1000,
        };
        Recovery {
            fault: fault.fault,
            kind: fault.kind,
            began_us: fault.began_us,
            users: pauses.len(),
            p50_ms: at(50),
            p90_ms: at(90),
            p99_ms: at(99),
            max_ms: at(100),
            goal_ms: fault.kind.goal_ms(),
            worst: pauses.last().map(|(_, at, user)| (user.clone(), *at)),
        }
    };
    faults.iter().enumerate().map(of).collect()
}

pub fn check(history: &History) -> Checked {
    let slack = history.run.slack.max(1);
    let promised = recoveries(history).into_iter().filter_map(|recovery| Some((recovery.goal_ms?, recovery)));
    let usual_ms = usual_ms(history);
    let (mut observed, mut breaches) = (0, Vec::new());
    for (goal_ms, recovery) in promised {
        observed += recovery.users;
        let stalled_ms = recovery.worst.as_ref().map_or(0, |(_, at_us)| stalled_ms(history, *at_us, recovery.max_ms));
        let limit_ms = (goal_ms + usual_ms) * slack + stalled_ms;
        if let Some((user, at_us)) = recovery.worst.filter(|_| recovery.p99_ms > limit_ms) {
            breaches.push(Breach::at(
                at_us,
                format!(
                    "{}: 99 of 100 users should wait {limit_ms} ms at most ({usual_ms} ms when nothing is broken, the machine \
                     stood still for {stalled_ms} ms), and waited {} ms; user {user} {} ms",
                    recovery.kind.text(),
                    recovery.p99_ms,
                    recovery.max_ms
                ),
            ));
        }
    }
    (observed, breaches)
}

#[cfg(test)]
mod tests {
    use super::{check, recoveries};
    use crate::check::golden::{Golden, broken, holds};
    use crate::history::Phase;

    #[test]
    fn what_users_wait_when_nothing_is_broken_is_not_held_against_a_fault() {
        let calm = |ms| {
            let begun =
                Golden::default().prober("10001").phase(Phase::Calm).asked_ok("10001").wait_ms(ms).asked_ok("10001");
            let killed = begun.phase(Phase::Faults).asked_ok("10001").kill(1).healed(1).wait_ms(300);
            killed.asked_ok("10001").wait_ms(5).asked_ok("10001")
        };
        holds(check, &calm(200));
        broken(check, &calm(20), "when nothing is broken");
    }

    #[test]
    fn what_the_machine_stood_still_is_not_held_against_a_fault() {
        let after = |stalled_ms| {
            let begun = Golden::default().prober("10001").asked_ok("10001").kill(1).healed(1).wait_ms(200);
            begun.stalled_ms(stalled_ms).asked_ok("10001").wait_ms(5).asked_ok("10001")
        };
        holds(check, &after(120));
        broken(check, &after(20), "should wait 170 ms");
        // Before the pause, it explains nothing.
        let early = Golden::default().prober("10001").stalled_ms(120).wait_ms(5).asked_ok("10001").kill(1).healed(1);
        broken(check, &early.wait_ms(200).asked_ok("10001").wait_ms(5).asked_ok("10001"), "should wait 150 ms");
    }

    fn asked_after_ms(ms: u64) -> Golden {
        let begun = Golden::default().prober("10001").asked_ok("10001").wait_ms(5).asked_ok("10001").kill(1).healed(1);
        begun.wait_ms(ms).asked_ok("10001").wait_ms(5).asked_ok("10001")
    }

    #[test]
    fn a_pause_within_the_goal_is_good() {
        let golden = asked_after_ms(100);
        holds(check, &golden);
        let found = recoveries(&golden.history());
        assert!((100..110).contains(&found[0].max_ms), "{found:?}");
    }

    #[test]
    fn a_pause_beyond_the_goal_and_a_user_never_answered_again_are_seen() {
        broken(check, &asked_after_ms(200), "should wait 150 ms");
        let never = Golden::default().prober("10001").asked_ok("10001").kill(1).healed(1).wait_ms(400);
        broken(check, &never.told("1", "X", "c"), "should wait 150 ms");
    }
}
