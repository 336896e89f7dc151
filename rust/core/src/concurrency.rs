//! Who may start now, and who is next: an account's concurrency, shared by its functions.
//!
//! **Places.** The account has so many. A function's *reserved* concurrency is its floor and its ceiling: nobody else gets these
//! permits, and it gets no others. *Provisioned* concurrency belongs to one version, and is usable when as many environments as
//! were asked for are ready; until then its version runs on demand on the permits set aside for it. An invocation takes a permit
//! from its version's provisioned concurrency first, then from the function's reservation, or, where there is none, from what
//! nobody has set aside.
//! <https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html>
//!
//! **Growth.** A permit that was not used for [`IDLE_NS`] counts as new, and new ones come no faster than [`Scaling`] says.
//!
//! **Turns.** A synchronous invocation is refused when there is no permit. All other work waits, by [`Unit`]: `wait` puts a unit in
//! line, `next` gives the next one that may start, with its lease. A unit that may start stands in one line; one that may not
//! stands in the line of what it lacks:
//!
//! ```text
//! growth     the account grows no faster (`Scope::Account`)
//! crowded    its own permit is free, but more runs than the account has by now: limits were lowered
//! account    no permit of the account is free
//! (own)      the function's own limits; woken when one of its attempts ends, when limits change, or by time
//! woken      what it lacked may be there now
//! open       new, or served: may start, as far as is known
//! ```
//!
//! They are asked in this order, each from its front, and whoever was served goes to the end of `open`. So nobody is served twice
//! before somebody who waits for the same: **while W units wait for permits of the account, each gets every W-th of them; while V
//! versions wait for their function's reservation, each gets every V-th of its permits; and a unit that lacks nothing is served
//! after all others once, at the latest.** A synchronous invocation can only take what is left then. An order costs a fixed number
//! of steps, and one more for each other version of the same function that waits.

mod fair_queue;
mod pool;
mod promises;
mod rings;

use crate::token_bucket::Rate;
use crate::token_bucket::TokenBucket;

pub use pool::Pool;
pub use promises::{Account, FunctionId, LimitsError, Promises};

/// A version of a function: what has a handler, provisioned concurrency and a place in line of its own.
pub type UnitId = usize;

/// How long a permit that nobody uses stays warm, at least; twice as long at most.
pub const IDLE_NS: u64 = 300_000_000_000;

/// Whose growth is limited together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All functions of the account.
    Account,
    /// Each function by itself.
    Function,
}

/// How fast concurrency may grow: so many permits at once, then so many a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scaling {
    scope: Scope,
    /// Full, as each one begins.
    bucket: TokenBucket,
}

impl Scaling {
    /// `burst` is from 1 to [`crate::token_bucket::BURST_MAX`], `per_minute` from 1 to 10^18; `None` outside.
    pub fn new(scope: Scope, burst: u64, per_minute: u64) -> Option<Self> {
        const MINUTE_NS: u64 = 60_000_000_000;
        let bucket = TokenBucket::new(Rate::new(per_minute, MINUTE_NS)?, burst, 0)?;
        Some(Self { scope, bucket })
    }

    fn of_account(self) -> Option<TokenBucket> {
        (self.scope == Scope::Account).then_some(self.bucket)
    }

    fn of_function(self) -> Option<TokenBucket> {
        (self.scope == Scope::Function).then_some(self.bucket)
    }
}

/// What holds for the whole account.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AccountLimits {
    /// Its permits.
    pub account: Account,
    /// How fast they may be taken into use.
    pub scaling: Scaling,
    /// Synchronous invocations a second, up to one second's worth at once.
    pub requests: Option<Rate>,
}

/// What holds for one function.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Floor and ceiling; 0 switches it off.
    pub reserved: Option<u32>,
    /// Attempts that start a second, up to one second's worth at once.
    pub rate: Option<Rate>,
}

/// What wants to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A synchronous invocation: `AccountLimits::requests` counts these.
    Invoke,
    /// Anything that can wait.
    Work,
}

/// Where a permit comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The version's provisioned concurrency.
    Provisioned,
    /// The function's reserved concurrency.
    Reserved,
    /// What nobody has set aside.
    Unreserved,
}

/// A permit. It must be given to [`Pool::release`] once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Who has it.
    pub unit: UnitId,
    /// Where it comes from.
    pub source: Source,
}

/// Which limit refused, by AWS's names: <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The account's concurrency.
    Concurrent,
    /// The function's reserved concurrency.
    ReservedConcurrent,
    /// Requests or growth over their rate, of a function without reserved concurrency.
    Rate,
    /// The same of a function that has some.
    ReservedRate,
}

impl Reason {
    /// AWS's text for all of them.
    pub const MESSAGE: &'static str = "Rate Exceeded.";

    /// AWS's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Concurrent => "ConcurrentInvocationLimitExceeded",
            Self::ReservedConcurrent => "ReservedFunctionConcurrentInvocationLimitExceeded",
            Self::Rate => "FunctionInvocationRateLimitExceeded",
            Self::ReservedRate => "ReservedFunctionInvocationRateLimitExceeded",
        }
    }
}

/// Not now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which limit.
    pub reason: Reason,
    /// From when on it may be tried again, mono ns; `None`: when something that runs has ended, or a limit was changed.
    pub retry_at_ns: Option<u64>,
    wait: Wait,
}

/// What a unit lacks: the line it waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Account,
    Crowded,
    Growth,
    Function,
}

impl Refused {
    fn now(reason: Reason, wait: Wait) -> Self {
        Self { reason, retry_at_ns: None, wait }
    }

    fn until(at_ns: u64, reason: Reason, wait: Wait) -> Self {
        Self { reason, retry_at_ns: Some(at_ns), wait }
    }
}

/// How much is in use and set aside: AWS's metrics of the same names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// `ConcurrentExecutions`.
    pub running: u64,
    /// `UnreservedConcurrentExecutions`: those that took a permit that nobody had set aside.
    pub unreserved: u64,
    /// `ClaimedAccountConcurrency`: `unreserved`, and everything that is set aside.
    pub claimed: u64,
}

#[cfg(test)]
mod tests;
