//! How many records a destination is given in a second: a token bucket for each, and what waits for its tokens.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use forebay_core::token_bucket::{Rate, TokenBucket};

use crate::dispatch::attempts::HandlerId;
use crate::payload::failure_key::FailureKey;

/// A bucket holds what flows in within a second, divided by this: a destination is never given many more in a second than it may be.
const BURST_OF_SECOND: u32 = 10;
/// Most records that wake at once to see whether there are tokens for them.
const WAKING_MAX: usize = 64;

/// The buckets of destinations that have a rate.
#[derive(Default)]
pub(crate) struct InvocationRates(BTreeMap<HandlerId, TokenBucket>);

impl InvocationRates {
    /// Take a token for a record; gives the bucket if it has none.
    pub(crate) fn lacks_token(
        &mut self,
        handler: HandlerId,
        rate: Option<u32>,
        now_ns: u64,
    ) -> Option<&mut TokenBucket> {
        let per_second = rate?;
        let (rate, burst) = (Rate::per_second(per_second.into())?, u64::from((per_second / BURST_OF_SECOND).max(1)));
        let bucket = match self.0.entry(handler) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(TokenBucket::new(rate, burst, now_ns)?),
        };
        if bucket.rate() != rate {
            bucket.configure(rate, burst, now_ns);
        }
        (!bucket.try_acquire(1, now_ns)).then_some(bucket)
    }
}

/// Records that wait for tokens of one destination.
#[derive(Default)]
pub(crate) struct Parked {
    pub(crate) keys: BTreeSet<FailureKey>,
    /// When there are tokens for some of them, and for how many.
    pub(crate) until_ns: u64,
    waking: usize,
}

impl Parked {
    pub(crate) fn park(&mut self, key: FailureKey, bucket: &mut TokenBucket, now_ns: u64) {
        self.keys.insert(key);
        self.waking = self.keys.len().min(WAKING_MAX).min(bucket.burst() as usize);
        self.until_ns = now_ns.saturating_add(bucket.time_until(self.waking as u64, now_ns).unwrap_or_default());
    }

    /// Those for which there are tokens now.
    pub(crate) fn wake(&mut self, now_ns: u64) -> BTreeSet<FailureKey> {
        if now_ns < self.until_ns {
            return BTreeSet::new();
        }
        let rest = self.keys.iter().nth(self.waking).copied();
        let others = rest.map(|rest| self.keys.split_off(&rest)).unwrap_or_default();
        std::mem::replace(&mut self.keys, others)
    }
}
