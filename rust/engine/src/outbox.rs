//! What waits to be handed out, and how much is out.

use std::collections::VecDeque;

use crate::attempts::Token;

/// Attempts waiting to be handed out, and how many are out.
#[derive(Default)]
pub(crate) struct Outbox {
    pub(crate) ready: VecDeque<Token>,
    /// Suspects of a crash: each is handed out when no function runs, and none while it does.
    pub(crate) alone: VecDeque<Token>,
    /// Failure records for destinations. They are bounded by themselves and wait for no function, nor the other way round: a
    /// destination that hangs takes nothing from the functions.
    pub(crate) deliveries: VecDeque<Token>,
    pub(crate) cancels: VecDeque<Token>,
    /// Functions that run.
    pub(crate) running: usize,
    /// Those of them that are past their deadline. They may never end, so no suspect waits for them.
    pub(crate) zombies: usize,
    pub(crate) running_alone: bool,
    /// Destinations at work.
    pub(crate) delivering: usize,
}

impl Outbox {
    /// The next attempt that may be handed out now.
    pub(crate) fn next(&mut self, draining: bool, most: usize) -> Option<Token> {
        if draining {
            return None;
        }
        if let Some(token) = self.deliveries.pop_front() {
            return Some(token);
        }
        if !self.may_run(most) {
            return None;
        }
        self.alone.pop_front().or_else(|| self.ready.pop_front())
    }

    /// Whether an exchange would bring anything.
    pub(crate) fn rings(&self, draining: bool, most: usize) -> bool {
        let has_work = !self.alone.is_empty() || !self.ready.is_empty();
        let brings = !self.deliveries.is_empty() || (has_work && self.may_run(most));
        !self.cancels.is_empty() || (!draining && brings)
    }

    fn may_run(&self, most: usize) -> bool {
        let must_wait = !self.alone.is_empty() && self.running > self.zombies;
        !self.running_alone && self.running < most && !must_wait
    }

    /// Attempts that nobody has taken yet.
    pub(crate) fn untaken(&self) -> Vec<Token> {
        self.ready.iter().chain(&self.alone).chain(&self.deliveries).copied().collect()
    }

    /// Forget one that was not handed out.
    pub(crate) fn withdraw(&mut self, token: Token) {
        self.ready.retain(|&other| other != token);
        self.alone.retain(|&other| other != token);
        self.deliveries.retain(|&other| other != token);
    }

    /// Nothing is out.
    pub(crate) fn is_idle(&self) -> bool {
        self.running == 0 && self.delivering == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox(ready: &[Token], alone: &[Token], deliveries: &[Token]) -> Outbox {
        let queue = |tokens: &[Token]| tokens.iter().copied().collect();
        Outbox { ready: queue(ready), alone: queue(alone), deliveries: queue(deliveries), ..Outbox::default() }
    }

    #[test]
    fn a_suspect_waits_for_functions_that_run_but_not_for_those_past_their_deadline() {
        let mut outbox = outbox(&[1], &[2], &[]);
        outbox.running = 2;
        outbox.zombies = 1;
        assert_eq!(outbox.next(false, 9), None);
        assert!(!outbox.rings(false, 9));
        outbox.zombies = 2;
        assert_eq!(outbox.next(false, 9), Some(2));
        outbox.running_alone = true;
        assert_eq!(outbox.next(false, 9), None, "nothing runs beside it");
    }

    #[test]
    fn destinations_that_hang_leave_the_functions_their_places() {
        let mut outbox = outbox(&[1], &[], &[7, 8]);
        assert_eq!(outbox.next(false, 1), Some(7));
        assert_eq!(outbox.next(false, 1), Some(8));
        outbox.delivering = 2;
        assert_eq!(outbox.next(false, 1), Some(1));
        outbox.running = 1;
        assert_eq!(outbox.next(false, 1), None);
    }

    #[test]
    fn nothing_is_handed_out_while_the_app_drains() {
        let mut outbox = outbox(&[1], &[2], &[3]);
        assert_eq!(outbox.next(true, 9), None);
        assert!(!outbox.rings(true, 9));
        outbox.cancels.push_back(4);
        assert!(outbox.rings(true, 9), "what runs too long is still told so");
    }
}
