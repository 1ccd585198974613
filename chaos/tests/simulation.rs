//! The simulation itself: the same seed is the same run, a run does something, and a broken promise is seen.

#![cfg(feature = "sim")]

use lyncpin_chaos::sim::Profile;
use lyncpin_chaos::sim::batch::run_seed;

#[test]
fn the_same_seed_is_the_same_run_and_another_one_is_another() {
    for profile in [Profile::Mixed, Profile::Fence] {
        let (one, two) = (run_seed(11, profile, true), run_seed(11, profile, true));
        assert_eq!(one.story, two.story);
        assert_eq!(one.print, two.print);
        assert_ne!(one.print, run_seed(12, profile, false).print);
    }
}

#[test]
fn a_run_signs_users_in_makes_calls_and_keeps_its_promises() {
    let outcome = run_seed(1, Profile::Mixed, false);
    assert_eq!(outcome.violations, Vec::new());
    assert!(outcome.acknowledged > 0 && outcome.answered > 0 && outcome.calls > 0, "{outcome:?}");
}

#[cfg(feature = "mutants")]
#[test]
fn a_planted_bug_is_seen() {
    lyncpin_cluster::mutant::plant(Some(lyncpin::mutant::Mutant::VersionReused));
    let outcome = run_seed(1, Profile::Mixed, false);
    lyncpin_cluster::mutant::plant(None);
    assert!(outcome.violations.iter().any(|violation| violation.invariant == "I14"), "{:?}", outcome.violations);
}
