//! From a run that breaks a promise to the smallest one that breaks the same.

use super::batch::run_plan;
use super::plan::Plan;
use super::run::Violation;

/// What is left of a plan, and what it still breaks.
pub struct Shrunk {
    pub plan: Plan,
    pub violation: Violation,
    pub runs: u32,
}

/// Leaves out one fault, one habit of the network, one user after the other, as long as the same invariant breaks; `None`:
/// the plan breaks nothing.
pub fn shrink(plan: &Plan) -> Option<Shrunk> {
    let first = run_plan(plan, false).violations.into_iter().next()?;
    let mut shrunk = Shrunk { plan: plan.clone(), violation: first, runs: 1 };
    loop {
        let smaller = smaller(&shrunk.plan);
        let better = smaller.into_iter().find_map(|plan| {
            shrunk.runs += 1;
            let violations = run_plan(&plan, false).violations;
            let same = violations.into_iter().find(|found| found.invariant == shrunk.violation.invariant)?;
            Some((plan, same))
        });
        match better {
            Some((plan, violation)) => (shrunk.plan, shrunk.violation) = (plan, violation),
            None => return Some(shrunk),
        }
    }
}

/// Every plan that is one step smaller.
fn smaller(plan: &Plan) -> Vec<Plan> {
    let mut plans = Vec::new();
    for at in 0..plan.faults.len() {
        let mut less = plan.clone();
        less.faults.remove(at);
        plans.push(less);
    }
    let mut push = |is_there: bool, change: &dyn Fn(&mut Plan)| {
        if is_there {
            let mut less = plan.clone();
            change(&mut less);
            plans.push(less);
        }
    };
    push(plan.weather.twice_permille > 0, &|plan| plan.weather.twice_permille = 0);
    push(plan.weather.lost_permille > 0, &|plan| plan.weather.lost_permille = 0);
    push(plan.weather.late_permille > 0, &|plan| plan.weather.late_permille = 0);
    push(plan.users > 1, &|plan| plan.users -= 1);
    push(plan.keys > 1, &|plan| plan.keys -= 1);
    for at in 0..plan.faults.len() {
        push(plan.faults[at].lasts_ms > 100, &move |plan| plan.faults[at].lasts_ms /= 2);
    }
    plans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Profile;

    #[test]
    fn a_step_leaves_out_one_thing_and_no_more() {
        let plan = Plan::of(2, Profile::Mixed);
        for less in smaller(&plan) {
            let faults = plan.faults.len() - less.faults.len();
            let others = [
                less.users != plan.users,
                less.keys != plan.keys,
                less.weather.twice_permille != plan.weather.twice_permille,
                less.weather.lost_permille != plan.weather.lost_permille,
                less.weather.late_permille != plan.weather.late_permille,
                faults == 0 && less.faults != plan.faults,
            ];
            assert_eq!(faults + others.iter().filter(|changed| **changed).count(), 1);
        }
    }
}
