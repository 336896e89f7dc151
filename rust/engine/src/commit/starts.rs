//! Executions of workflows that rooms below the workflows begin: they join the commit that is gathered, and are refused with it.

use std::collections::{BTreeMap, VecDeque};

use forebay_core::chain::HOPS_MAX;
use forebay_core::token_bucket::{Rate, TokenBucket};
use forebay_core::workflow::machine::Data;

use crate::base::error::EngineError;
use crate::base::limits::{BucketSettings, WorkflowLimits};

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
    /// What the buckets are made of.
    limits: WorkflowLimits,
    standard: Option<TokenBucket>,
    express: Option<TokenBucket>,
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

    /// Take a token for a start of a workflow.
    pub(crate) fn take_one(&mut self, workflow: &str, limits: WorkflowLimits, now_ns: u64) -> Result<(), EngineError> {
        let is_express = self.workflows.get(workflow).copied().unwrap_or(false);
        self.take(is_express, 1, limits, now_ns)
    }

    /// Take tokens for several starts: all of them or none. The buckets of limits that have changed are full.
    pub(crate) fn take(
        &mut self,
        is_express: bool,
        count: usize,
        limits: WorkflowLimits,
        now_ns: u64,
    ) -> Result<(), EngineError> {
        if self.limits.standard_starts != limits.standard_starts {
            self.standard = full_bucket(limits.standard_starts, now_ns);
        }
        if self.limits.express_starts != limits.express_starts {
            self.express = full_bucket(limits.express_starts, now_ns);
        }
        self.limits = limits;
        let bucket = if is_express { &mut self.express } else { &mut self.standard };
        let Some(bucket) = bucket else { return Ok(()) };
        if bucket.try_acquire(count as u64, now_ns) {
            return Ok(());
        }
        let Some(wait_ns) = bucket.time_until(count as u64, now_ns) else {
            return Err(EngineError::Invalid(format!(
                "{count} executions are to begin at once: the bucket of starts holds {}; start them in several calls",
                bucket.burst()
            )));
        };
        let retry_after_ms = wait_ns.div_ceil(1_000_000).max(1);
        Err(EngineError::TooMany { message: "Rate exceeded".into(), reason: "StartExecution".into(), retry_after_ms })
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

/// A new bucket, if there is to be one.
pub(crate) fn full_bucket(of: Option<BucketSettings>, now_ns: u64) -> Option<TokenBucket> {
    of.and_then(|of| TokenBucket::new(Rate::per_second(of.per_second)?, of.burst, now_ns))
}

pub(crate) fn chain_too_long() -> EngineError {
    EngineError::Invalid(format!("{HOPS_MAX} executions have started one another, which is the most"))
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
