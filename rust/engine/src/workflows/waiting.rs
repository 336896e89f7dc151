//! Who waits for the ends of executions.

use std::collections::BTreeMap;

use crate::base::error::{EngineError, Waiter};
use crate::workflows::express::InMemory;
use crate::workflows::row::RunId;
use crate::workflows::Run;

/// Callers by the executions that they wait for.
#[derive(Default)]
pub(crate) struct Waiting {
    by_run: BTreeMap<RunId, Vec<Waiter>>,
    count: usize,
}

impl Waiting {
    /// How many wait. They are not counted one by one: each question for an end asks for the number.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn add(&mut self, run: RunId, waiter: Waiter) {
        self.by_run.entry(run).or_default().push(waiter);
        self.count += 1;
    }

    /// Those that wait for an execution, who wait no longer.
    pub(crate) fn take(&mut self, run: RunId) -> Vec<Waiter> {
        let waiters = self.by_run.remove(&run).unwrap_or_default();
        self.count -= waiters.len();
        waiters
    }

    /// Everybody, who waits no longer, each with the execution.
    pub(crate) fn take_all(&mut self) -> Vec<(RunId, Waiter)> {
        self.count = 0;
        let by_run = std::mem::take(&mut self.by_run);
        by_run.into_iter().flat_map(|(run, waiters)| waiters.into_iter().map(move |waiter| (run, waiter))).collect()
    }
}

/// What is told whoever waits for an execution of which nothing more will be said.
pub(super) fn told_at_the_end(error: &EngineError, run: Option<&Run>) -> EngineError {
    let is_written = run.is_none_or(|run| run.memory.as_ref().is_none_or(InMemory::is_written));
    match error {
        // It has begun: whoever asks the next owner begins it a second time.
        EngineError::OwnerLeft(_) | EngineError::OwnerLost(_) if !is_written => {
            let text = "the process that ran the execution stopped before it had ended: it does not go on, and nothing of it is written";
            EngineError::OwnerLost(text.into())
        }
        error => error.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_callers_follows_those_who_come_and_go() {
        let run = |number| RunId { machine: 1, number };
        let waiter = || Waiter::Call(Box::new(|_| ()));
        let mut waiting = Waiting::default();
        for number in [1, 1, 2, 3] {
            waiting.add(run(number), waiter());
        }
        assert_eq!((waiting.take(run(1)).len(), waiting.take(run(1)).len(), waiting.count()), (2, 0, 2));
        assert_eq!((waiting.take_all().len(), waiting.count()), (2, 0));
    }
}
