//! How long to wait before a retry.

use super::face::Backoff;

const NS_PER_MS: f64 = 1e6;

impl Backoff {
    /// Delay before retry `retry` (from 1), in nanoseconds: uniform in `d·(1 - jitter) ..= min(d·(1 + jitter), cap)` with
    /// `d = min(base · 2^(retry-1), cap)`. So it is never above the cap, and spread at the cap too.
    pub fn delay_ns(&self, retry: u32, entropy: u64) -> u64 {
        let doublings = retry.saturating_sub(1).min(63);
        let nominal = self.base_ms.saturating_mul(1 << doublings).min(self.cap_ms) as f64;
        let low = nominal * (1.0 - self.jitter);
        let high = (nominal * (1.0 + self.jitter)).min(self.cap_ms as f64);
        // 53 bits: what an f64 holds exactly.
        let share = (mix(entropy) >> 11) as f64 / (1_u64 << 53) as f64;
        ((low + share * (high - low)) * NS_PER_MS) as u64
    }
}

/// Spreads neighbouring inputs over all 64 bits (the finalizer of `SplitMix64`), so that `entropy + batch` is as good as a
/// fresh random number.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}
