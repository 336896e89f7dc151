//! What becomes of one event: the questions before an attempt, and what an attempt means.

use super::protocol::{Condition, Life, Outcome, Settings, INTERRUPTIONS_MAX};
use crate::chain;

const NS_PER_MS: u64 = 1_000_000;

/// What follows an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The event's life is over.
    End(Condition),
    /// Another attempt after this delay.
    Later { delay_ms: u64 },
    /// Another attempt as soon as may be: this one did not count.
    Again,
}

/// Why an event must not run at all. `left_ns` is what is left of its maximum age.
pub(super) fn before(settings: &Settings, life: &Life, interruptions: u32, left_ns: u64) -> Option<Condition> {
    if settings.is_off {
        Some(Condition::ZeroReservedConcurrency)
    } else if !chain::may_run(life.hops) {
        Some(Condition::RecursiveInvocation)
    } else if interruptions >= INTERRUPTIONS_MAX {
        Some(Condition::RuntimeInterrupted)
    } else if left_ns == 0 {
        Some(Condition::EventAgeExceeded)
    } else {
        None
    }
}

/// Count an attempt and say what follows. Nothing may start at the maximum age or beyond, so an event whose next attempt would
/// is over now.
pub(super) fn after(settings: &Settings, life: &mut Life, outcome: Outcome, left_ns: u64) -> Fate {
    let delay_ms = match outcome {
        Outcome::Success => return Fate::End(Condition::Success),
        Outcome::Interrupted => return Fate::Again,
        Outcome::Error => {
            life.failures += 1;
            life.unreached = 0;
            if life.failures > settings.maximum_retry_attempts {
                return Fate::End(Condition::RetriesExhausted);
            }
            let nth = life.failures as usize - 1;
            let delays = &settings.retry_delays_ms;
            delays.get(nth).or(delays.last()).copied().unwrap_or(0)
        }
        Outcome::NotInvoked => {
            let (base_ms, cap_ms) = settings.backoff_ms;
            let delay_ms = base_ms.saturating_mul(1 << life.unreached.min(40)).min(cap_ms);
            life.unreached = life.unreached.saturating_add(1);
            delay_ms
        }
    };
    if delay_ms.saturating_mul(NS_PER_MS) >= left_ns {
        return Fate::End(Condition::EventAgeExceeded);
    }
    Fate::Later { delay_ms }
}
