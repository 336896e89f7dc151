//! Executions of workflows that rooms below the workflows begin: they join the commit that is gathered, and are refused with it.

use std::collections::{BTreeSet, VecDeque};

use forebay_core::workflow::machine::Data;

use crate::base::error::EngineError;

/// Most executions that may start one another in a chain, also over the buses between them: a machine that starts itself would go on
/// without end.
pub(crate) const CHAIN_MAX: u32 = 16;

/// What is declared, and what is to begin before the next commit is taken.
#[derive(Default)]
pub(crate) struct Starts {
    workflows: BTreeSet<String>,
    wanted: VecDeque<WantedStart>,
}

/// An execution that is to begin.
pub(crate) struct WantedStart {
    pub(crate) workflow: String,
    pub(crate) name: String,
    pub(crate) input: Data,
    pub(crate) depth: u32,
}

impl Starts {
    pub(crate) fn declared(&mut self, workflow: &str) {
        self.workflows.insert(workflow.to_owned());
    }

    pub(crate) fn is_declared(&self, workflow: &str) -> bool {
        self.workflows.contains(workflow)
    }

    pub(crate) fn want(&mut self, start: WantedStart) {
        self.wanted.push_back(start);
    }

    pub(crate) fn deleted(&mut self, workflow: &str) {
        self.workflows.remove(workflow);
    }

    pub(crate) fn has_wanted(&self) -> bool {
        !self.wanted.is_empty()
    }

    pub(crate) fn next(&mut self) -> Option<WantedStart> {
        self.wanted.pop_front()
    }
}

pub(crate) fn chain_too_long() -> EngineError {
    EngineError::Invalid(format!("{CHAIN_MAX} executions have started one another, which is the most"))
}
