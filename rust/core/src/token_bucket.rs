//! A token bucket: `rate` tokens a second flow in up to `burst`; what is done takes tokens or is refused.
//!
//! It counts in whole parts of a token, so that nothing is lost or won by rounding: after any time the bucket has let through exactly
//! `burst + rate * time` tokens at most.

/// Most tokens a bucket can hold.
pub const BURST_MAX: u64 = 1_000_000_000_000;
/// Most tokens, and most nanoseconds, of a [`Rate`].
pub const TOKENS_MAX: u64 = SECOND_NS * SECOND_NS;
/// Fastest flow of [`Rate::per_second`], tokens a second.
pub const RATE_MAX: f64 = 1e9;
/// Slowest flow of [`Rate::per_second`]: a token in about 32 years.
pub const RATE_MIN: f64 = 1e-9;

const SECOND_NS: u64 = 1_000_000_000;

/// How fast tokens flow in: exactly `tokens` in each `per_ns` nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// 1..=10^18.
    tokens: u64,
    /// 1..=10^18. A token has as many parts.
    per_ns: u64,
}

impl Rate {
    /// So many tokens in so many nanoseconds, both from 1 to 10^18; `None` outside.
    pub fn new(tokens: u64, per_ns: u64) -> Option<Self> {
        ((1..=TOKENS_MAX).contains(&tokens) && (1..=TOKENS_MAX).contains(&per_ns)).then_some(Self { tokens, per_ns })
    }

    /// So many tokens a second, from [`RATE_MIN`] to [`RATE_MAX`]; `None` outside. Whole numbers are exact, others are
    /// rounded to nine decimals.
    pub fn per_second(rate: f64) -> Option<Self> {
        if !(RATE_MIN..=RATE_MAX).contains(&rate) {
            None
        } else if rate.fract() == 0.0 {
            Self::new(rate as u64, SECOND_NS)
        } else {
            Self::new((rate * 1e9).round() as u64, SECOND_NS * SECOND_NS)
        }
    }

    /// Tokens a second.
    pub fn get(self) -> f64 {
        self.tokens as f64 / self.per_ns as f64 * 1e9
    }
}

/// A bucket, full at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    rate: Rate,
    burst: u64,
    /// Parts of tokens: `rate.per_ns` make one. At most `burst` tokens.
    level: u128,
    /// When `level` was right.
    at_ns: u64,
}

impl TokenBucket {
    /// A full bucket; `None` unless `burst` is from 1 to [`BURST_MAX`].
    pub fn new(rate: Rate, burst: u64, now_ns: u64) -> Option<Self> {
        let level = u128::from(burst) * u128::from(rate.per_ns);
        (1..=BURST_MAX).contains(&burst).then_some(Self { rate, burst, level, at_ns: now_ns })
    }

    /// Take `n` tokens, all or none; whether they were there.
    #[inline]
    pub fn try_acquire(&mut self, n: u64, now_ns: u64) -> bool {
        self.refill(now_ns);
        let wanted = self.parts(n);
        let there = wanted <= self.level;
        if there {
            self.level -= wanted;
        }
        there
    }

    /// Put `n` tokens back that were not used, as far as the bucket holds them.
    pub fn give_back(&mut self, n: u64, now_ns: u64) {
        self.refill(now_ns);
        self.level = self.level.saturating_add(self.parts(n)).min(self.capacity());
    }

    /// Nanoseconds until `n` tokens are there if nobody else takes any: 0 when they are, `None` when the bucket never holds as
    /// many.
    pub fn time_until(&mut self, n: u64, now_ns: u64) -> Option<u64> {
        self.refill(now_ns);
        if n > self.burst {
            return None;
        }
        let missing = self.parts(n).saturating_sub(self.level);
        Some(u64::try_from(missing.div_ceil(u128::from(self.rate.tokens))).unwrap_or(u64::MAX))
    }

    /// Tokens that are there, as a number with a fraction.
    pub fn tokens(&mut self, now_ns: u64) -> f64 {
        self.refill(now_ns);
        self.level as f64 / self.rate.per_ns as f64
    }

    /// Change rate and burst. What is there stays, as far as the new bucket holds it. `false`, and nothing changes, unless
    /// `burst` is from 1 to [`BURST_MAX`].
    pub fn configure(&mut self, rate: Rate, burst: u64, now_ns: u64) -> bool {
        if !(1..=BURST_MAX).contains(&burst) {
            return false;
        }
        self.refill(now_ns);
        let (old, new) = (u128::from(self.rate.per_ns), u128::from(rate.per_ns));
        let level = self.level / old * new + self.level % old * new / old;
        *self = Self { rate, burst, level: level.min(u128::from(burst) * new), at_ns: now_ns };
        true
    }

    /// The state to keep: tokens there, whole and in billionths of one.
    pub fn save(&mut self, now_ns: u64) -> (u64, u32) {
        self.refill(now_ns);
        let per = u128::from(self.rate.per_ns);
        let billionths = self.level % per * u128::from(SECOND_NS) / per;
        ((self.level / per) as u64, billionths as u32)
    }

    /// Go on from a state kept `elapsed_ns` ago; more than the bucket holds makes it full.
    pub fn restore(&mut self, (whole, billionths): (u64, u32), elapsed_ns: u64, now_ns: u64) {
        let per = u128::from(self.rate.per_ns);
        let level = u128::from(whole.min(BURST_MAX)) * per + u128::from(billionths) * per / u128::from(SECOND_NS);
        self.level = level.min(self.capacity());
        self.at_ns = 0;
        self.refill(elapsed_ns);
        self.at_ns = now_ns;
    }

    /// Tokens a second.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Most tokens there can be.
    pub fn burst(&self) -> u64 {
        self.burst
    }

    /// A clock that went back counts as no time passed; time is measured from its new reading on.
    #[inline]
    fn refill(&mut self, now_ns: u64) {
        let elapsed = now_ns.saturating_sub(self.at_ns);
        // Both factors are below 2^64, and the level is far below 2^127: neither step can overflow.
        let inflow = u128::from(elapsed) * u128::from(self.rate.tokens);
        self.level = self.level.saturating_add(inflow).min(self.capacity());
        self.at_ns = now_ns;
    }

    #[inline]
    fn capacity(&self) -> u128 {
        self.parts(self.burst)
    }

    #[inline]
    fn parts(&self, tokens: u64) -> u128 {
        u128::from(tokens) * u128::from(self.rate.per_ns)
    }
}

#[cfg(test)]
mod tests;
