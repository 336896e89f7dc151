//! The one way time and chance enter a rule.

/// What the caller knows of the moment: it is handed to every rule, so that a test can own it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Monotonic nanoseconds; durations inside one process run (back-off, batching window, timeout) are measured on it.
    pub mono_ns: u64,
    /// Milliseconds since 1970-01-01T00:00:00Z; ages and deadlines that outlive the process are measured on it.
    pub wall_ms: u64,
    /// A fresh 64-bit random value; jitter is taken from it.
    pub entropy: u64,
}
