//! From a run that breaks a promise to the smallest one that still does.

use std::panic::AssertUnwindSafe;

use crate::flows;
use crate::ledger::Counts;
use crate::ledger::Promise;
use crate::ledger::Violation;
use crate::plan::Plan;
use crate::plan::Room;
use crate::world::World;

/// Run a plan. A panic breaks a promise, too.
pub fn run(plan: &Plan) -> Result<Counts, Violation> {
    let run = || match plan.room {
        Some(Room::Workflows) => flows::run(plan),
        _ => World::new(plan.clone()).run(),
    };
    std::panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned())).unwrap_or_default();
        Err(Violation { promise: Promise::Liveness, story: format!("panicked: {text}") })
    })
}

/// Take away kinds of faults and steps for as long as the same promise is still broken.
pub fn shrink(plan: &Plan, violation: &Violation) -> (Plan, Violation) {
    let (mut best, mut violation, promise) = (plan.clone(), violation.clone(), violation.promise);
    let breaks = |candidate: Plan| {
        let found = run(&candidate).err().filter(|found| found.promise == promise)?;
        Some((candidate, found))
    };
    while let Some((candidate, found)) = candidates(&best).into_iter().find_map(breaks) {
        (best, violation) = (candidate, found);
    }
    (best, violation)
}

fn candidates(plan: &Plan) -> Vec<Plan> {
    let mut list = Vec::new();
    for part in [1, 2, 4] {
        let steps = plan.steps - plan.steps.div_ceil(2 * part);
        list.push(Plan { steps, ..plan.clone() });
    }
    list.retain(|smaller| smaller.steps < plan.steps);
    for fault in plan.faults() {
        let mut without = plan.without.clone();
        without.insert(fault);
        list.push(Plan { without, ..plan.clone() });
    }
    list
}
