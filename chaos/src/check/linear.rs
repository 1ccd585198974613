//! I14: linearizability of the record store, key by key (Wing and Gong 1993, with the states seen remembered as Lowe did).

use std::collections::{BTreeMap, BTreeSet};

use super::{Breach, Checked};
use crate::history::{History, StoreOp, StoreResult, What};

struct Call {
    start_us: u64,
    end_us: u64,
    op: StoreOp,
    result: StoreResult,
}

pub fn check(history: &History) -> Checked {
    let mut keys: BTreeMap<&str, Vec<Call>> = BTreeMap::new();
    for entry in &history.entries {
        let What::Store { key, start_us, op, result, .. } = &entry.what else { continue };
        // What is not known to have ended may still take effect at any later time; a read unanswered says nothing.
        if *result == StoreResult::Unknown && *op == StoreOp::Read {
            continue;
        }
        let end_us = if *result == StoreResult::Unknown { u64::MAX } else { entry.at_us };
        let call = Call { start_us: *start_us, end_us, op: op.clone(), result: result.clone() };
        keys.entry(key).or_default().push(call);
    }
    let observed = keys.values().map(Vec::len).sum();
    let mut breaches = Vec::new();
    for (key, calls) in &mut keys {
        calls.sort_by_key(|call| call.start_us);
        if let Some(at_us) = stuck_at(calls) {
            breaches.push(Breach::at(at_us, format!("no order of the operations on {key} explains what was seen")));
        }
    }
    (observed, breaches)
}

/// What a call leaves behind, if it can have happened on `value`.
fn apply(call: &Call, value: Option<u64>) -> Option<Option<u64>> {
    match (&call.op, &call.result) {
        (StoreOp::Write(new), StoreResult::Done | StoreResult::Unknown) => Some(Some(*new)),
        (StoreOp::Swap(from, to), StoreResult::Done) => (value == *from).then_some(Some(*to)),
        (StoreOp::Swap(from, to), StoreResult::Unknown) => Some(if value == *from { Some(*to) } else { value }),
        (StoreOp::Swap(from, _), StoreResult::Refused) => (value != *from).then_some(value),
        (StoreOp::Write(_), StoreResult::Refused) => Some(value),
        (StoreOp::Read, StoreResult::Found(found)) => (value == *found).then_some(value),
        _ => None,
    }
}

/// `None`: some order explains all. Otherwise the end of the first call that no explored order could place.
fn stuck_at(calls: &[Call]) -> Option<u64> {
    let words = calls.len().div_ceil(64);
    let mut seen: BTreeSet<(Vec<u64>, Option<u64>)> = BTreeSet::new();
    let mut open = vec![(vec![0_u64; words], None)];
    let has = |done: &[u64], n: usize| done[n / 64] & (1 << (n % 64)) != 0;
    let mut furthest = 0;
    while let Some((done, value)) = open.pop() {
        let rest = || (0..calls.len()).filter(|n| !has(&done, *n));
        // Whatever began after the earliest end among the rest cannot be next.
        let bound = rest().map(|n| calls[n].end_us).min();
        let bound = bound.filter(|bound| *bound != u64::MAX)?;
        furthest = furthest.max(bound);
        for n in rest().take_while(|n| calls[*n].start_us <= bound) {
            if let Some(after) = apply(&calls[n], value) {
                let mut next = done.clone();
                next[n / 64] |= 1 << (n % 64);
                if seen.insert((next.clone(), after)) {
                    open.push((next, after));
                }
            }
        }
    }
    Some(furthest)
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::check::golden::{Golden, broken, holds};
    use crate::history::StoreOp::{Read, Swap, Write};
    use crate::history::StoreResult::{Done, Found, Refused, Unknown};

    #[test]
    fn overlapping_calls_may_take_effect_in_any_order() {
        let good = Golden::default().store((0, 10), Write(1), Done).store((5, 30), Write(2), Done);
        let good = good.store((6, 20), Read, Found(Some(1))).store((40, 50), Read, Found(Some(2)));
        holds(check, &good.store((60, 70), Swap(Some(2), 3), Done).store((61, 90), Swap(Some(2), 4), Refused));
    }

    #[test]
    fn an_unanswered_write_may_take_effect_late_or_never() {
        let begun = || Golden::default().store((0, 1), Write(1), Done).store((2, 3), Write(2), Unknown);
        holds(check, &begun().store((10, 11), Read, Found(Some(1))).store((20, 21), Read, Found(Some(2))));
        holds(check, &begun().store((10, 11), Read, Found(Some(1))));
    }

    #[test]
    fn a_stale_read_a_lost_write_and_a_swap_done_twice_are_seen() {
        let two = || Golden::default().store((0, 1), Write(1), Done).store((2, 3), Write(2), Done);
        broken(check, &two().store((4, 5), Read, Found(Some(1))), "no order");
        broken(check, &two().store((4, 5), Read, Found(None)), "no order");
        let swaps = two().store((4, 5), Swap(Some(2), 3), Done).store((6, 7), Swap(Some(2), 4), Done);
        broken(check, &swaps, "no order");
        let flips = two().store((4, 9), Read, Found(Some(2))).store((10, 11), Read, Found(Some(1)));
        broken(check, &flips, "no order");
    }
}
