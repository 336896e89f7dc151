//! Numbers that are counted and read without a lock.

use std::sync::Arc;

use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// A number that only grows. Clones count together; one of a registry that is off counts nothing.
#[derive(Clone, Debug, Default)]
pub struct Counter(Option<Arc<Growth>>);

#[derive(Debug, Default)]
struct Growth {
    count: AtomicU64,
    /// What of it has been read by [`Counter::take`].
    taken: AtomicU64,
}

impl Counter {
    pub(super) fn new() -> Self {
        Self(Some(Arc::default()))
    }

    /// Count one more.
    #[inline]
    pub fn increment(&self) {
        self.add(1);
    }

    /// Count `n` more.
    #[inline]
    pub fn add(&self, n: u64) {
        if let Some(growth) = &self.0 {
            growth.count.fetch_add(n, Relaxed);
        }
    }

    /// The count since the start.
    pub fn get(&self) -> u64 {
        self.0.as_ref().map_or(0, |growth| growth.count.load(Relaxed))
    }

    /// What it grew by since the last call. One reader only.
    pub(super) fn take(&self) -> u64 {
        let Some(growth) = &self.0 else { return 0 };
        let count = growth.count.load(Relaxed);
        count - growth.taken.swap(count, Relaxed)
    }
}

/// A number that goes up and down, 0 or more. Clones show the same number.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<Level>);

/// Bits of floats of 0 or more, which are ordered as the floats are.
#[derive(Debug, Default)]
struct Level {
    now: AtomicU64,
    peak: AtomicU64,
}

impl Gauge {
    /// Show `value`.
    #[inline]
    pub fn set(&self, value: f64) {
        let bits = value.max(0.0).to_bits();
        self.0.now.store(bits, Relaxed);
        self.raise_peak(bits);
    }

    /// Show `change` more, or less.
    #[inline]
    pub fn add(&self, change: f64) {
        let mut bits = self.0.now.load(Relaxed);
        loop {
            let changed = (f64::from_bits(bits) + change).max(0.0).to_bits();
            match self.0.now.compare_exchange_weak(bits, changed, Relaxed, Relaxed) {
                Ok(_) => return self.raise_peak(changed),
                Err(meanwhile) => bits = meanwhile,
            }
        }
    }

    /// Write even what changes nothing: a peak that was only seen to be high enough may just have been taken by one who cannot see the
    /// new level yet.
    #[inline]
    fn raise_peak(&self, bits: u64) {
        self.0.peak.fetch_max(bits, Release);
    }

    /// The number shown.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.now.load(Relaxed))
    }

    /// The greatest number shown since the last call, which began with the one shown then. One reader only.
    ///
    /// The number is read once the peak is taken, never before: every change shows the number first and then writes the peak, so one
    /// that wrote it before the call is seen to stand now, and the next peak begins with it; any other is in the next peak.
    pub(super) fn take_peak(&self) -> f64 {
        let peak = self.0.peak.swap(0, Acquire);
        let now = self.0.now.load(Relaxed);
        self.0.peak.fetch_max(now, Relaxed);
        f64::from_bits(peak.max(now))
    }
}
