//! Executions of workflows that rooms below the workflows begin: they join the commit that is gathered, and are refused with it.

use std::collections::{BTreeMap, VecDeque};

use forebay_core::workflow::machine::Data;

use crate::base::error::EngineError;

/// Most executions that may start one another in a chain, also over the buses between them: a machine that starts itself would go on
/// without end.
pub(crate) const CHAIN_MAX: u32 = 16;
/// Most Express executions that have been accepted and have not ended.
pub(crate) const EXPRESS_OPEN_MAX: usize = 100_000;

/// What is declared, and what is to begin before the next commit is taken.
#[derive(Default)]
pub(crate) struct Starts {
    /// By name, and whether it is an Express one.
    workflows: BTreeMap<String, bool>,
    wanted: VecDeque<WantedStart>,
    /// How many Express executions have not ended.
    pub(crate) express_open: usize,
}

/// An execution that is to begin.
pub(crate) struct WantedStart {
    pub(crate) workflow: String,
    pub(crate) name: String,
    pub(crate) input: Data,
    pub(crate) depth: u32,
}

impl Starts {
    pub(crate) fn declared(&mut self, workflow: &str, is_express: bool) {
        self.workflows.insert(workflow.to_owned(), is_express);
    }

    pub(crate) fn is_declared(&self, workflow: &str) -> bool {
        self.workflows.contains_key(workflow)
    }

    /// Refuse one more start of a workflow while too many Express executions have not ended.
    pub(crate) fn check_open(&self, workflow: &str) -> Result<(), EngineError> {
        match self.workflows.get(workflow) {
            Some(true) => check_express_open(self.express_open + self.wanted.len(), 1),
            _ => Ok(()),
        }
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

/// Refuse so many more Express executions while too many have not ended.
pub(crate) fn check_express_open(open: usize, more: usize) -> Result<(), EngineError> {
    if open + more <= EXPRESS_OPEN_MAX {
        return Ok(());
    }
    Err(EngineError::TooMany {
        message: format!(
            "{open} Express executions have not ended: at most {EXPRESS_OPEN_MAX} may be open; start more when some have ended"
        ),
        reason: "ExpressExecutions".into(),
        retry_after_ms: 100,
    })
}
