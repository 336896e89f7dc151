//! Wall time that does not jump: how waits are measured on the monotonic clock and yet written down as wall time.

use crate::Now;

const NS_PER_MS: u64 = 1_000_000;

/// A count of milliseconds that agrees with the wall clock when it is made, and from then on follows the monotonic clock.
///
/// Inside one run of the process a jump of the wall clock changes no wait. What a row says after a restart is wall time of
/// another run; it is taken over with a clamp, so that no wait is negative or longer than its maximum.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timeline {
    start_ms: u64,
    start_ns: u64,
}

impl Timeline {
    pub(crate) fn new(now: &Now) -> Self {
        Self::showing(now.wall_ms, now)
    }

    /// One that shows `wall_ms` at present.
    pub(crate) fn showing(wall_ms: u64, now: &Now) -> Self {
        Self { start_ms: wall_ms, start_ns: now.mono_ns }
    }

    /// The present moment; it may lie before the start. It is never ahead: a wait that is not over would end.
    pub(crate) fn at(&self, now: &Now) -> u64 {
        match now.mono_ns.checked_sub(self.start_ns) {
            Some(passed_ns) => self.start_ms + passed_ns / NS_PER_MS,
            None => self.start_ms.saturating_sub((self.start_ns - now.mono_ns).div_ceil(NS_PER_MS)),
        }
    }

    /// When a wait that begins now is over. A millisecond that has begun does not count: the wait would end early.
    pub(crate) fn after(&self, wait_ms: u64, now: &Now) -> u64 {
        let at_ms = self.at(now);
        let has_begun = !now.mono_ns.abs_diff(self.start_ns).is_multiple_of(NS_PER_MS);
        at_ms + wait_ms + u64::from(has_begun && wait_ms > 0)
    }

    /// When the monotonic clock will be at a moment.
    pub(crate) fn mono_ns(&self, at_ms: u64) -> u64 {
        at_ms.saturating_sub(self.start_ms).saturating_mul(NS_PER_MS).saturating_add(self.start_ns)
    }

    /// What to write down for a moment to come. It is never earlier, and may be a millisecond later.
    pub(crate) fn wall_ms(&self, at_ms: u64, now: &Now) -> u64 {
        now.wall_ms + at_ms.saturating_sub(self.at(now))
    }

    /// A deadline that was written down, at most `wait_ms_max` from now. The wall clock is read in milliseconds: it may be one early or late.
    pub(crate) fn deadline(&self, wall_ms: u64, wait_ms_max: u64, now: &Now) -> u64 {
        self.after(wall_ms.saturating_sub(now.wall_ms).min(wait_ms_max), now)
    }

    /// A moment in the past that was written down; one that seems to lie ahead is now.
    pub(crate) fn past(&self, wall_ms: u64, now: &Now) -> u64 {
        self.at(now).saturating_sub(now.wall_ms.saturating_sub(wall_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (mono ns, what is asked for, answer) of a timeline that began at 1,000 ms when the monotonic clock showed 7.5 ms.
    fn timeline() -> Timeline {
        Timeline::new(&at(7_500_000))
    }

    fn at(mono_ns: u64) -> Now {
        Now { mono_ns, wall_ms: 1_000, entropy: 0 }
    }

    #[test]
    fn it_shows_whole_milliseconds_that_have_passed() {
        for (mono_ns, shown_ms) in
            [(7_500_000, 1_000), (8_499_999, 1_000), (8_500_000, 1_001), (7_499_999, 999), (6_500_000, 999), (0, 992)]
        {
            assert_eq!(timeline().at(&at(mono_ns)), shown_ms, "{mono_ns}");
        }
    }

    #[test]
    fn no_wait_is_over_early_and_none_is_a_millisecond_late() {
        for mono_ns in [6_000_000, 7_499_999, 7_500_000, 7_500_001, 8_000_000, 8_499_999, 8_500_000, 123_456_789] {
            for wait_ms in [2, 3, 30_000] {
                let over_ns = timeline().mono_ns(timeline().after(wait_ms, &at(mono_ns)));
                let late_ns = over_ns.checked_sub(mono_ns + wait_ms * NS_PER_MS).expect("it is not early");
                assert!(late_ns < NS_PER_MS, "{mono_ns} + {wait_ms} ms: {late_ns}");
            }
        }
    }

    #[test]
    fn without_a_wait_it_is_over_at_once() {
        assert_eq!(timeline().after(0, &at(8_000_000)), 1_000);
    }

    #[test]
    fn a_row_of_another_run_makes_no_wait_negative_or_longer_than_its_maximum() {
        for (row_ms, over_ms) in [(0, 1_000), (1_000, 1_000), (1_005, 1_005), (1_100, 1_100), (1_101, 1_100)] {
            assert_eq!(timeline().deadline(row_ms, 100, &at(7_500_000)), over_ms, "{row_ms}");
        }
        for (row_ms, was_ms) in [(990, 990), (1_000, 1_000), (1_001, 1_000)] {
            assert_eq!(timeline().past(row_ms, &at(7_500_000)), was_ms, "{row_ms}");
        }
    }

    #[test]
    fn what_is_written_down_is_wall_time_whatever_the_wall_clock_was_set_to() {
        let set = Now { mono_ns: 9_500_000, wall_ms: 50_000, entropy: 0 };
        assert_eq!(timeline().wall_ms(1_010, &set), 50_008);
    }
}
