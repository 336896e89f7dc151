//! How long to wait before a retry.

use super::protocol::Backoff;

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

#[cfg(test)]
mod tests {
    use super::*;

    fn delays_ms(backoff: Backoff, retry: u32) -> impl Iterator<Item = f64> {
        (0..10_000).map(move |entropy| backoff.delay_ns(retry, entropy) as f64 / NS_PER_MS)
    }

    #[test]
    fn delays_double_up_to_the_cap() {
        let backoff = Backoff { base_ms: 500, cap_ms: 30_000, jitter: 0.0 };
        let delays: Vec<u64> = (1..=9).map(|retry| backoff.delay_ns(retry, 7) / 1_000_000).collect();
        assert_eq!(delays, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
        assert_eq!(backoff.delay_ns(u32::MAX, 7), 30_000_000_000);
    }

    #[test]
    fn jitter_spreads_over_its_whole_share_and_never_passes_the_cap() {
        let backoff = Backoff { base_ms: 500, cap_ms: 30_000, jitter: 0.2 };
        for (retry, low, high) in [(1, 400.0, 600.0), (3, 1600.0, 2400.0), (20, 24_000.0, 30_000.0)] {
            let least = delays_ms(backoff, retry).fold(f64::MAX, f64::min);
            let most = delays_ms(backoff, retry).fold(0.0, f64::max);
            let margin = (high - low) / 100.0;
            assert!((low..low + margin).contains(&least), "retry {retry}: least {least}");
            assert!((high - margin..=high).contains(&most), "retry {retry}: most {most}");
        }
    }

    /// The first two numbers of `SplitMix64` from seed 0, as its author publishes them (`splitmix64.c`, Vigna 2015).
    #[test]
    fn inputs_are_mixed_as_published() {
        assert_eq!((mix(0), mix(0x9E37_79B9_7F4A_7C15)), (0xE220_A839_7B1D_CDAF, 0x6E78_9E6A_A1B9_65F4));
    }

    #[test]
    fn no_base_is_no_delay() {
        assert_eq!(Backoff { base_ms: 0, cap_ms: 30_000, jitter: 1.0 }.delay_ns(9, 1), 0);
    }
}
