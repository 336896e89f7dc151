//! The flexible time window: how much later than due a schedule may fire.

use super::ScheduleError;

/// Longest window, minutes (AWS's Scheduler).
pub const WINDOW_MINUTES_MAX: u16 = 1440;

/// A window of 1 to 1440 minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlexibleWindow {
    minutes: u16,
}

impl FlexibleWindow {
    /// A window of so many minutes.
    pub fn new(minutes: u16) -> Result<Self, ScheduleError> {
        if !(1..=WINDOW_MINUTES_MAX).contains(&minutes) {
            let reason = format!("A flexible window has 1 to {WINDOW_MINUTES_MAX} minutes; {minutes} were given.");
            return Err(ScheduleError { message: String::new(), reason });
        }
        Ok(Self { minutes })
    }

    /// How long after its due time a firing waits, milliseconds: `entropy`, drawn evenly, over the window. Store what was
    /// drawn with the firing: drawn anew after a restart, it would be another time.
    pub fn delay_ms(self, entropy: u64) -> u64 {
        let window_ms = u128::from(self.minutes) * 60_000;
        ((u128::from(entropy) * window_ms) >> 64) as u64
    }
}
