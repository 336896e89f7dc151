//! The time of a store that several machines share. It comes from the store's server, so that deadlines which outlive their owner are due
//! when the owner's successor comes to them, whatever the clocks of both machines say.

const MS: u64 = 1_000_000;

/// How far the server's clock is ahead of this machine's clock that is never set.
///
/// The server says its time between a question and its answer, so each answer gives two bounds. What was known stays as long as it is
/// between them: so the time does not shake with the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreTime {
    ahead_ms: Option<i64>,
}

impl StoreTime {
    /// The server has said its time, ms since 1970, in the answer to a question.
    pub fn told(&mut self, server_ms: u64, asked_ns: u64, answered_ns: u64) {
        let ahead = |own_ns: u64| server_ms as i64 - (own_ns / MS) as i64;
        // The server's milliseconds, too, are cut off.
        let (least, most) = (ahead(answered_ns), ahead(asked_ns).saturating_add(1));
        let middle = least + (most - least) / 2;
        self.ahead_ms = Some(self.ahead_ms.filter(|known| (least..=most).contains(known)).unwrap_or(middle));
    }

    /// How much is to be added to the own clock, ms; `None`: the server has not said its time yet.
    pub fn ahead_ms(&self) -> Option<i64> {
        self.ahead_ms
    }
}

/// A moment of the store, as this machine's clock says it, which may be set to another time.
pub fn on_machine(store_ms: u64, store_now_ms: u64, machine_now_ms: u64) -> u64 {
    machine_now_ms.saturating_add(store_ms).saturating_sub(store_now_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    #[test]
    fn what_is_known_stays_while_answers_allow_it() {
        let mut time = StoreTime::default();
        assert_eq!(time.ahead_ms(), None);
        time.told(1_000_000, 50 * MS, 90 * MS);
        assert_eq!(time.ahead_ms(), Some(999_930), "the middle");
        time.told(1_000_100, 150 * MS, 171 * MS);
        assert_eq!(time.ahead_ms(), Some(999_930), "still between the bounds");
        time.told(1_000_200, 300 * MS, 302 * MS);
        assert_eq!(time.ahead_ms(), Some(999_899), "the clocks run apart");
    }

    #[test]
    fn a_server_whose_clock_is_set_is_followed_and_a_slow_answer_says_little() {
        let mut time = StoreTime::default();
        time.told(5 * HOUR_MS, 0, 2 * MS);
        let before = time.ahead_ms().unwrap();
        time.told(5 * HOUR_MS + 1_400, 0, 1_450 * MS);
        assert_eq!(time.ahead_ms(), Some(before));
        time.told(4 * HOUR_MS, 2_000 * MS, 2_002 * MS);
        assert!(time.ahead_ms().unwrap() < before - 3_590_000);
    }

    #[test]
    fn a_deadline_is_as_far_away_on_every_machine() {
        assert_eq!(on_machine(5 * HOUR_MS + 3, 5 * HOUR_MS, 4 * HOUR_MS), 4 * HOUR_MS + 3);
        assert_eq!(on_machine(5 * HOUR_MS - 3, 5 * HOUR_MS, 6 * HOUR_MS), 6 * HOUR_MS - 3);
        assert_eq!(on_machine(0, 5, 3), 0);
    }
}
