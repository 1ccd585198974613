//! Many seeds, on as many threads as there are cores.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::plan::{Plan, Profile};
use super::run::{Outcome, Violation, run};

/// Seeds of one profile, in order.
pub struct Batch {
    pub profile: Profile,
    pub seeds: Vec<u64>,
    pub threads: usize,
    /// The first violation of one of these ends it.
    pub stops_on: Vec<&'static str>,
    /// One line to standard error now and then.
    pub shows_progress: bool,
    /// The bug that is planted in each run.
    #[cfg(feature = "mutants")]
    pub mutant: Option<lyncpin::mutant::Mutant>,
}

/// Runs one seed; a panic of the product is a violation like any other.
pub fn run_seed(seed: u64, profile: Profile, keeps_story: bool) -> Outcome {
    run_plan(&Plan::of(seed, profile), keeps_story)
}

pub fn run_plan(plan: &Plan, keeps_story: bool) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| run(plan, keeps_story))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
        Outcome {
            seed: plan.seed,
            violations: vec![Violation { invariant: "panic", what: text }],
            acknowledged: 0,
            operations: 0,
            answered: 0,
            calls: 0,
            packets: 0,
            converged_ms: None,
            simulated_ms: 0,
            print: 0,
            story: Vec::new(),
        }
    })
}

impl Batch {
    /// The outcomes in order of the seeds that were run.
    pub fn run(&self) -> Vec<Outcome> {
        let (next, found, stopped) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
        let done = Mutex::new(Vec::new());
        let began = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..self.threads.max(1) {
                scope.spawn(|| {
                    #[cfg(feature = "mutants")]
                    lyncpin_cluster::mutant::plant(self.mutant);
                    while !stopped.load(Ordering::Relaxed) {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some(seed) = self.seeds.get(at) else { return };
                        let outcome = run_seed(*seed, self.profile, false);
                        if !outcome.violations.is_empty() {
                            found.fetch_add(1, Ordering::Relaxed);
                            let stops = outcome.violations.iter().any(|one| self.stops_on.contains(&one.invariant));
                            stopped.fetch_or(stops, Ordering::Relaxed);
                        }
                        done.lock().unwrap_or_else(PoisonError::into_inner).push((at, outcome));
                    }
                });
            }
            if self.shows_progress {
                scope.spawn(|| self.progress(&next, &found, &stopped, began));
            }
        });
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(at, _)| *at);
        done.into_iter().map(|(_, outcome)| outcome).collect()
    }

    fn progress(&self, next: &AtomicUsize, found: &AtomicUsize, stopped: &AtomicBool, began: Instant) {
        let mut told = Instant::now();
        loop {
            std::thread::sleep(Duration::from_millis(200));
            let begun = next.load(Ordering::Relaxed);
            if begun >= self.seeds.len() || stopped.load(Ordering::Relaxed) {
                return;
            }
            if told.elapsed() >= Duration::from_secs(5) {
                told = Instant::now();
                let rate = begun as f64 / began.elapsed().as_secs_f64();
                let found = found.load(Ordering::Relaxed);
                eprintln!("{begun} of {} seeds, {rate:.1} a second, {found} with a violation", self.seeds.len());
            }
        }
    }
}
