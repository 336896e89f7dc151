//! What one rendering may use up. Whoever may write a template must not be able to hold a thread or to fill the memory.

use super::STEPS_MAX;

/// Bytes that one rendering may build or look through, intermediate texts included.
const WORK_BYTES_MAX: usize = 128 << 20;

/// Why a rendering ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// A fault of the template, or of what it was given.
    Failed(String),
    /// The body is not JSON, but the template reads it as such.
    NoJson,
}

/// Counts what a rendering uses up.
#[derive(Debug)]
pub(super) struct Budget {
    steps: usize,
    bytes: usize,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { steps: STEPS_MAX, bytes: WORK_BYTES_MAX }
    }

    pub(super) fn spend(&mut self, steps: usize) -> Result<(), Stop> {
        let left = self.steps.checked_sub(steps);
        self.steps = left.ok_or_else(|| Stop::Failed(format!("the template takes more than {STEPS_MAX} steps")))?;
        Ok(())
    }

    pub(super) fn spend_bytes(&mut self, bytes: usize) -> Result<(), Stop> {
        let left = self.bytes.checked_sub(bytes);
        let most = WORK_BYTES_MAX >> 20;
        self.bytes = left.ok_or_else(|| Stop::Failed(format!("the template works on more than {most} MiB of text")))?;
        Ok(())
    }
}
