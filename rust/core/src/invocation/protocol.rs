//! The facts an event queue takes and the commands it gives.

/// So many deaths of the process while an event alone was in flight give it up.
pub const INTERRUPTIONS_MAX: u32 = 3;

/// Longest delay of an event's first attempt: 365 days. Ours: longer than any schedule, and far from what a key holds.
pub const DELAY_MS_MAX: u64 = 31_536_000_000;

/// Settings of a function's asynchronous invocations, already validated (ranges: `forebay._model.limits`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Retries after the first attempt, 0..=2.
    pub maximum_retry_attempts: u32,
    /// No attempt starts at this age or beyond, 60,000..=21,600,000 ms.
    pub maximum_event_age_ms: u64,
    /// How long the event waits after its first, second, … failed attempt; the last one counts for all that follow. AWS:
    /// 60,000 and 120,000 ms.
    pub retry_delays_ms: Vec<u64>,
    /// First and longest wait of an event that did not reach the function, doubled each time. AWS: 1,000 and 300,000 ms.
    pub backoff_ms: (u64, u64),
    /// The function has zero reserved concurrency: no event of it ever runs.
    pub is_off: bool,
    /// Most waiting events that are held in memory; the others are found again in the store.
    pub waiting_max: usize,
}

impl Settings {
    /// How long an event waits for its next attempt at most.
    pub(super) fn longest_wait_ms(&self) -> u64 {
        self.retry_delays_ms.iter().copied().fold(self.backoff_ms.1, u64::max)
    }
}

/// Names an event and says when it is due. Events are kept in this order, so that the store is the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// When it may run next, wall ms; after the wall clock was set back, as if it had not been.
    pub due_ms: u64,
    /// Its number in the store: grows from event to event, never used again.
    pub number: u64,
}

/// What the rules know of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// When it was accepted, wall ms.
    pub accepted_ms: u64,
    /// How long after that it is due for its first attempt, at most [`DELAY_MS_MAX`]. Its age counts from then on.
    pub delay_ms: u64,
    /// Functions that the chain it belongs to has gone through before.
    pub hops: u32,
    /// Attempts that reached the function and failed.
    pub failures: u32,
    /// Tries since the last attempt that did not reach it: throttles and system errors.
    pub unreached: u32,
}

impl Life {
    /// Whether there was any attempt.
    pub(super) fn was_tried(&self) -> bool {
        self.failures > 0 || self.unreached > 0
    }

    /// When its age is 0, wall ms: when it was first due.
    pub fn born_ms(&self) -> u64 {
        self.accepted_ms.saturating_add(self.delay_ms)
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The function returned.
    Success,
    /// It raised, ran out of time, or its answer could not be used.
    Error,
    /// It was not reached: throttled, or a system error.
    NotInvoked,
    /// The runtime stopped it by its own doing.
    Interrupted,
}

/// How an event's life ended, spelled as in the invocation record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// The function returned.
    Success,
    /// Every attempt failed.
    RetriesExhausted,
    /// The next attempt would have started at the maximum age or beyond.
    EventAgeExceeded,
    /// The function has zero reserved concurrency.
    ZeroReservedConcurrency,
    /// Its chain went through [`HOPS_MAX`](crate::chain::HOPS_MAX) functions.
    RecursiveInvocation,
    /// The process died [`INTERRUPTIONS_MAX`] times while it alone was in flight.
    RuntimeInterrupted,
}

impl Condition {
    /// Every condition.
    pub const ALL: [Self; 6] = [
        Self::Success,
        Self::RetriesExhausted,
        Self::EventAgeExceeded,
        Self::ZeroReservedConcurrency,
        Self::RecursiveInvocation,
        Self::RuntimeInterrupted,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "Success",
            Self::RetriesExhausted => "RetriesExhausted",
            Self::EventAgeExceeded => "EventAgeExceeded",
            Self::ZeroReservedConcurrency => "ZeroReservedConcurrency",
            Self::RecursiveInvocation => "RecursiveInvocation",
            Self::RuntimeInterrupted => "RuntimeInterrupted",
        }
    }
}

/// What the engine must do, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Hand the event to the function.
    Run {
        /// The event.
        key: Key,
        /// 1 for the first attempt that reaches the function.
        attempt: u32,
        /// Nothing else of the whole runtime may be in flight meanwhile: it was in flight when the process died.
        alone: bool,
        /// Deaths of the process while it alone was in flight. Kept with the attempt, so that [`super::EventQueue::suspect`] can
        /// carry it back.
        interruptions: u32,
    },
    /// Keep the event under another key, with this life.
    Retry {
        /// The event as it was.
        key: Key,
        /// As it is from now on.
        to: Key,
        /// What has become of it.
        life: Life,
    },
    /// Its life is over: write down what became of it and remove it, in one commit.
    End {
        /// The event.
        key: Key,
        /// How often it was tried; on success without the last attempt.
        life: Life,
        /// Why.
        condition: Condition,
    },
    /// Look into the store for the events after this key (`None`: from the first) and answer with
    /// [`super::EventQueue::found`].
    Find {
        /// The last one that needs no finding.
        after: Option<Key>,
    },
}
