//! Whether what was seen of the records is what one single copy of them would have shown (linearizability, by key).
//!
//! Versions are drawn from one counter and never again, so an order of writes is known and need not be searched: a history
//! is linearizable when its versions agree with real time, with what each write expected, and with what was read.

use std::collections::BTreeMap;

/// Of one operation. `began`, `ended`: positions in the run's order of events.
#[derive(Clone, Debug)]
pub struct Op {
    pub key: String,
    pub began: u64,
    pub ended: u64,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    /// `writer`: the incarnation.
    Write { writer: u64, expected: u64, value: u64, result: Written },
    /// Version and value; `None`: there was no record.
    Read { seen: Option<(u64, u64)> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    Version(u64),
    /// Definitely not done.
    Refused,
    Unknown,
}

/// What cannot be, in words.
pub fn check(history: &[Op]) -> Vec<String> {
    let mut keys: BTreeMap<&str, Vec<&Op>> = BTreeMap::new();
    for op in history {
        keys.entry(&op.key).or_default().push(op);
    }
    keys.into_iter().flat_map(|(key, ops)| check_key(key, &ops)).collect()
}

fn version(op: &Op) -> Option<u64> {
    match &op.what {
        What::Write { result: Written::Version(version), .. } => Some(*version),
        What::Write { .. } => None,
        What::Read { seen } => Some(seen.map_or(0, |(version, _)| version)),
    }
}

fn check_key(key: &str, ops: &[&Op]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut written: BTreeMap<u64, u64> = BTreeMap::new();
    let mut expected_by: BTreeMap<u64, u64> = BTreeMap::new();
    let mut outcomes: BTreeMap<u64, Written> = BTreeMap::new();
    for op in ops {
        if let What::Write { expected, value, result, .. } = &op.what {
            outcomes.insert(*value, *result);
            if let Written::Version(version) = result {
                written.insert(*version, *value);
                if let Some(other) = expected_by.insert(*expected, *value) {
                    wrong.push(format!("{key}: writes {other} and {value} both replaced version {expected}"));
                }
            }
        }
    }
    for op in ops {
        let What::Read { seen: Some((version, value)) } = &op.what else { continue };
        match (written.get(version), outcomes.get(value)) {
            (Some(written), _) if written == value => {}
            (Some(written), _) => wrong.push(format!("{key}: version {version} is {written}, read as {value}")),
            (None, Some(Written::Refused)) => wrong.push(format!("{key}: {value} was refused, and read")),
            (None, None) => wrong.push(format!("{key}: {value} was never written, and read")),
            // Its own version was read as another one's: a takeover gives a record a new version and keeps its content.
            (None, Some(_)) => {}
        }
    }
    // Real time: what began after another had ended saw at least its version.
    let mut by_end: Vec<&&Op> = ops.iter().filter(|op| version(op).is_some()).collect();
    by_end.sort_by_key(|op| op.ended);
    let mut by_begin = by_end.clone();
    by_begin.sort_by_key(|op| op.began);
    let (mut at, mut highest) = (0, 0);
    for op in by_begin {
        while at < by_end.len() && by_end[at].ended < op.began {
            highest = highest.max(version(by_end[at]).unwrap_or_default());
            at += 1;
        }
        let own = version(op).unwrap_or_default();
        let is_write = matches!(op.what, What::Write { .. });
        if own < highest || (is_write && own == highest) {
            wrong.push(format!("{key}: {:?} began at {} and does not know version {highest}", op.what, op.began));
        }
    }
    wrong.extend(check_owners(key, ops));
    wrong
}

/// One owner acts: in order of versions the writers are A..A B..B, and never A again.
fn check_owners(key: &str, ops: &[&Op]) -> Option<String> {
    let mut writes: Vec<(u64, u64)> = ops
        .iter()
        .filter_map(|op| match &op.what {
            What::Write { writer, result: Written::Version(version), .. } => Some((*version, *writer)),
            _ => None,
        })
        .collect();
    writes.sort_unstable();
    let mut owners: Vec<u64> = writes.into_iter().map(|(_, writer)| writer).collect();
    owners.dedup();
    let again = owners.iter().enumerate().find(|(at, owner)| owners[..*at].contains(owner))?;
    Some(format!("{key}: incarnation {} acted again after another: {owners:?}", again.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(began: u64, ended: u64, expected: u64, value: u64, result: Written) -> Op {
        Op { key: "k".into(), began, ended, what: What::Write { writer: 1, expected, value, result } }
    }

    fn read(began: u64, ended: u64, seen: Option<(u64, u64)>) -> Op {
        Op { key: "k".into(), began, ended, what: What::Read { seen } }
    }

    #[test]
    fn a_history_of_one_copy_is_fine_whatever_became_of_unknown_writes() {
        let history = [
            write(1, 4, 0, 10, Written::Version(1)),
            read(2, 3, None),
            write(5, 9, 1, 11, Written::Unknown),
            read(6, 8, Some((2, 11))),
            write(10, 12, 1, 12, Written::Refused),
        ];
        assert_eq!(check(&history), Vec::<String>::new());
    }

    #[test]
    fn a_stale_read_a_lost_write_and_two_heirs_of_one_version_are_found() {
        let stale = [write(1, 2, 0, 10, Written::Version(1)), read(3, 4, None)];
        assert_eq!(check(&stale).len(), 1);
        let twice = [write(1, 9, 0, 10, Written::Version(1)), write(2, 8, 0, 11, Written::Version(2))];
        assert_eq!(check(&twice).len(), 1);
        let ghost = [write(1, 2, 0, 10, Written::Refused), read(3, 4, Some((1, 10)))];
        assert_eq!(check(&ghost).len(), 1);
    }
}
