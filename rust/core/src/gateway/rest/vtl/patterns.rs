//! The patterns of one rendering. To compile one costs far more than to look for it, so each is compiled once, and is paid for.

use std::collections::HashMap;

use regex::{Error, Regex, RegexBuilder};

use super::budget::{Budget, Stop};

/// Bytes of a pattern as it is written. A longer one takes much memory before its size is known.
const WRITTEN_BYTES_MAX: usize = 4 * 1024;
/// Bytes that a compiled pattern may take: most take far less.
const SMALL_BYTES_MAX: usize = 32 << 10;
const LARGE_BYTES_MAX: usize = 1 << 20;
/// What it costs to compile one, in bytes of the budget: in the time for it, a rendering would look through about as many. What is
/// written counts beside it: a class of a few bytes has hundreds of ranges.
const SMALL_COST: usize = 64 << 10;
const LARGE_COST: usize = 4 << 20;
const WRITTEN_COST: usize = 2 << 10;
/// Patterns that are kept; beyond, all are compiled anew.
const KEPT_MAX: usize = 64;

/// The patterns that a rendering has used.
#[derive(Debug, Default)]
pub(super) struct Patterns(HashMap<String, Regex>);

impl Patterns {
    /// A pattern, of Java in its common part. Its time is in proportion to the text, whatever the pattern.
    pub(super) fn compiled(&mut self, pattern: &str, budget: &mut Budget) -> Result<Regex, Stop> {
        if let Some(known) = self.0.get(pattern) {
            return Ok(known.clone());
        }
        let fresh = compile(pattern, budget)?;
        if self.0.len() >= KEPT_MAX {
            self.0.clear();
        }
        self.0.insert(pattern.to_owned(), fresh.clone());
        Ok(fresh)
    }
}

fn compile(pattern: &str, budget: &mut Budget) -> Result<Regex, Stop> {
    if pattern.len() > WRITTEN_BYTES_MAX {
        return Err(Stop::Failed(format!("a pattern has more than {WRITTEN_BYTES_MAX} bytes")));
    }
    let within = |bytes| RegexBuilder::new(pattern).size_limit(bytes).build();
    budget.spend_bytes(SMALL_COST + pattern.len() * WRITTEN_COST)?;
    let built = match within(SMALL_BYTES_MAX) {
        Err(Error::CompiledTooBig(_)) => {
            budget.spend_bytes(LARGE_COST)?;
            within(LARGE_BYTES_MAX)
        }
        built => built,
    };
    built.map_err(|error| Stop::Failed(format!("the pattern {pattern:?} cannot be used: {error}")))
}

/// The pattern of what fits from its beginning to its end.
pub(super) fn whole(pattern: &str) -> String {
    format!("^(?:{pattern})$")
}
