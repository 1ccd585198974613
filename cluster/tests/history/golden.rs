//! Histories of which everybody can say by hand whether an order explains them.

use super::{Action, Operation, Outcome, Seen, check};

fn at(called: u64, answered: u64, action: Action, outcome: Outcome) -> Operation {
    Operation { client: 0, node: 1, action, outcome, called, answered }
}

fn put(writer: u64, expected: u64, body: u64) -> Action {
    Action::Put { writer, expected, body }
}

fn take(writer: u64, expected: u64) -> Action {
    Action::Take { writer, expected }
}

fn delete(writer: u64, expected: u64) -> Action {
    Action::Delete { writer, expected }
}

fn found(owner: u64, version: u64, body: u64) -> Outcome {
    Outcome::Found(Some(Seen { owner, version, body }))
}

const ABSENT: Outcome = Outcome::Found(None);

#[track_caller]
fn good(history: Vec<Operation>) {
    check(history).unwrap();
}

#[track_caller]
fn bad(history: Vec<Operation>) {
    assert!(check(history).is_err(), "an order was found for what cannot be");
}

#[test]
fn one_after_the_other_is_good_and_a_read_of_the_past_is_not() {
    let done = vec![
        at(1, 2, Action::Read, ABSENT),
        at(3, 4, put(1, 0, 10), Outcome::Done(5)),
        at(5, 6, put(1, 5, 11), Outcome::Done(7)),
    ];
    let then = |action, outcome| [done.clone(), vec![at(7, 8, action, outcome)]].concat();
    good(then(Action::Read, found(1, 7, 11)));
    good(then(put(1, 5, 12), Outcome::Stale(7)));
    good(then(put(2, 7, 12), Outcome::NotOwner(1)));
    good(then(take(2, 7), Outcome::Done(8)));
    bad(then(Action::Read, found(1, 5, 10)));
    bad(then(Action::Read, ABSENT));
    bad(then(Action::Read, found(1, 7, 10)));
    bad(then(put(1, 5, 12), Outcome::Stale(5)));
    bad(then(put(2, 7, 12), Outcome::Done(8)));
    bad(then(put(1, 7, 12), Outcome::Done(7)));
    bad(then(delete(1, 5), Outcome::Done(8)));
}

#[test]
fn reads_beside_a_put_see_either_but_never_new_then_old() {
    let put_of_new = [at(1, 2, put(1, 0, 10), Outcome::Done(1)), at(3, 20, put(1, 1, 11), Outcome::Done(2))];
    let (old, new) = (found(1, 1, 10), found(1, 2, 11));
    let reads = |first: &Outcome, second: &Outcome| {
        let reads = [at(4, 5, Action::Read, first.clone()), at(6, 7, Action::Read, second.clone())];
        [&put_of_new[..], &reads[..]].concat()
    };
    good(reads(&old, &old));
    good(reads(&old, &new));
    good(reads(&new, &new));
    bad(reads(&new, &old));
}

#[test]
fn of_two_puts_over_one_version_one_is_refused() {
    let first = at(1, 2, put(1, 0, 10), Outcome::Done(1));
    let two = |one, other| vec![first.clone(), at(3, 6, put(1, 1, 11), one), at(4, 5, put(1, 1, 12), other)];
    good(two(Outcome::Done(2), Outcome::Stale(2)));
    good(two(Outcome::Stale(2), Outcome::Done(2)));
    bad(two(Outcome::Done(2), Outcome::Done(3)));
    bad(two(Outcome::Stale(2), Outcome::Stale(2)));
}

#[test]
fn what_is_unknown_may_have_happened_late_or_never_but_not_both() {
    let before = [at(1, 2, put(1, 0, 10), Outcome::Done(1)), at(3, 4, put(1, 1, 11), Outcome::Unknown)];
    let then = |reads: &[(u64, Outcome)]| {
        let reads = reads.iter().map(|(called, outcome)| at(*called, called + 1, Action::Read, outcome.clone()));
        before.iter().cloned().chain(reads).collect::<Vec<_>>()
    };
    good(then(&[(5, found(1, 1, 10))]));
    good(then(&[(5, found(1, 2, 11))]));
    good(then(&[(5, found(1, 1, 10)), (7, found(1, 9, 11))]));
    bad(then(&[(5, found(1, 2, 11)), (7, found(1, 1, 10))]));
    bad(then(&[(5, found(1, 2, 11)), (7, found(1, 3, 11))]));
    // Not before it was called.
    bad([vec![at(0, 1, Action::Read, found(1, 2, 11))], then(&[])].concat());
}

#[test]
fn an_acknowledged_put_is_never_lost() {
    bad(vec![
        at(1, 2, put(1, 0, 10), Outcome::Done(1)),
        at(3, 4, put(1, 1, 11), Outcome::Done(2)),
        at(5, 6, put(1, 1, 12), Outcome::Done(3)),
        at(7, 8, Action::Read, found(1, 3, 12)),
    ]);
}

#[test]
fn a_record_moves_to_an_heir_by_itself_and_never_back() {
    let before = [at(1, 2, put(1, 0, 10), Outcome::Done(1)), at(3, 4, Action::Read, found(2, 5, 10))];
    let then = |more: &[Operation]| [&before[..], more].concat();
    good(then(&[at(5, 6, put(2, 5, 11), Outcome::Done(6))]));
    good(then(&[at(5, 6, put(1, 1, 11), Outcome::Fenced)]));
    bad(then(&[at(5, 6, put(1, 1, 11), Outcome::Done(6))]));
    bad(then(&[at(5, 6, take(1, 5), Outcome::Done(6))]));
    bad(then(&[at(5, 6, Action::Read, found(1, 7, 10))]));
    // Its version rises with the move.
    bad(vec![before[0].clone(), at(3, 4, Action::Read, found(2, 1, 10))]);
    // The owner is told that it has ended: the record is another's from then on.
    let ended = |seen| vec![before[0].clone(), at(3, 4, delete(1, 1), Outcome::Fenced), at(5, 6, Action::Read, seen)];
    good(ended(found(2, 5, 10)));
    bad(ended(found(1, 1, 10)));
    bad(ended(ABSENT));
}

/// The first to tell of a version or an owner after a put of unknown outcome may tell of what came after it.
#[test]
fn a_record_may_have_moved_before_anybody_told_what_it_was() {
    let before = [at(1, 2, put(1, 0, 10), Outcome::Unknown), at(3, 4, put(2, 9, 11), Outcome::NotOwner(1))];
    let then = |more: &[Operation]| [&before[..], more].concat();
    good(then(&[at(5, 6, take(2, 9), Outcome::Stale(33)), at(7, 8, Action::Read, found(2, 33, 10))]));
    good(then(&[at(5, 6, take(2, 9), Outcome::Stale(33)), at(7, 8, Action::Read, found(2, 34, 10))]));
    bad(then(&[at(5, 6, take(2, 9), Outcome::Stale(33)), at(7, 8, Action::Read, found(1, 34, 10))]));
}

#[test]
fn a_deletion_is_seen_and_the_next_life_has_higher_versions() {
    let before = [at(1, 2, put(1, 0, 10), Outcome::Done(4)), at(3, 4, delete(1, 4), Outcome::Done(5))];
    let then = |more: &[Operation]| [&before[..], more].concat();
    good(then(&[at(5, 6, put(2, 0, 11), Outcome::Done(6)), at(7, 8, Action::Read, found(2, 6, 11))]));
    good(then(&[at(5, 6, put(1, 4, 11), Outcome::Stale(0))]));
    bad(then(&[at(5, 6, put(2, 0, 11), Outcome::Done(3))]));
    bad(then(&[at(5, 6, Action::Read, found(1, 4, 10))]));
}

#[test]
fn a_take_by_one_ends_the_other_s_right_to_write() {
    let before = [at(1, 2, put(1, 0, 10), Outcome::Done(1)), at(3, 4, take(2, 1), Outcome::Done(2))];
    let then = |more: &[Operation]| [&before[..], more].concat();
    good(then(&[at(5, 6, put(1, 2, 11), Outcome::NotOwner(2)), at(7, 8, take(1, 2), Outcome::Done(3))]));
    bad(then(&[at(5, 6, put(1, 2, 11), Outcome::Done(3))]));
    // The taker lives: it has not lost the record by itself.
    bad(then(&[at(5, 6, put(1, 1, 11), Outcome::Stale(3)), at(7, 8, put(2, 2, 12), Outcome::Done(4))]));
}
