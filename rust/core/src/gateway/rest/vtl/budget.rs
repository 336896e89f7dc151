//! What one rendering may use up. Whoever may write a template must not be able to hold a thread or to fill the memory.

use super::STEPS_MAX;

/// Bytes that one rendering may build or look through, intermediate texts included.
const WORK_BYTES_MAX: usize = 128 << 20;

/// The same of a rendering for which all other requests wait: about a millisecond.
const BRIEF_STEPS_MAX: usize = 5_000;
const BRIEF_BYTES_MAX: usize = 512 << 10;

/// Why a rendering ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// A fault of the template, or of what it was given.
    Failed(String),
    /// The body is not JSON, but the template reads it as such.
    NoJson,
    /// What is brief is used up.
    Long,
}

/// Counts what a rendering uses up.
#[derive(Debug)]
pub(super) struct Budget {
    steps: usize,
    bytes: usize,
    is_brief: bool,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { steps: STEPS_MAX, bytes: WORK_BYTES_MAX, is_brief: false }
    }

    pub(super) fn brief() -> Self {
        Self { steps: BRIEF_STEPS_MAX, bytes: BRIEF_BYTES_MAX, is_brief: true }
    }

    fn used_up(&self, text: impl FnOnce() -> String) -> Stop {
        if self.is_brief {
            Stop::Long
        } else {
            Stop::Failed(text())
        }
    }

    pub(super) fn spend(&mut self, steps: usize) -> Result<(), Stop> {
        let left = self.steps.checked_sub(steps);
        self.steps = left.ok_or_else(|| self.used_up(|| format!("the template takes more than {STEPS_MAX} steps")))?;
        Ok(())
    }

    pub(super) fn spend_bytes(&mut self, bytes: usize) -> Result<(), Stop> {
        let left = self.bytes.checked_sub(bytes);
        let most = WORK_BYTES_MAX >> 20;
        self.bytes =
            left.ok_or_else(|| self.used_up(|| format!("the template works on more than {most} MiB of text")))?;
        Ok(())
    }
}
