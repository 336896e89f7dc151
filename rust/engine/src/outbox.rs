//! What waits to be handed out, and how much is out.

use std::collections::VecDeque;

use crate::attempts::Token;

/// Most invocations that wait to be handed out, and most bytes of their payloads; one more is refused as throttled.
pub(crate) const INVOKES_MAX: usize = 10_000;
const INVOKE_BYTES_MAX: usize = 64 << 20;

/// What waits apart from what, and is counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A failure record for a destination: no function runs.
    Delivery,
    /// A synchronous invocation.
    Invoke,
    /// Anything else that runs a function.
    Work,
}

/// Attempts waiting to be handed out, and how many are out.
#[derive(Default)]
pub(crate) struct Outbox {
    /// Batches and redrives.
    pub(crate) ready: VecDeque<Token>,
    /// Suspects of a crash: each is handed out when no other batch runs, and none while it does.
    pub(crate) alone: VecDeque<Token>,
    /// Invocations. They never wait for a suspect, nor the other way round: a handler that runs may be waiting for one.
    pub(crate) invokes: VecDeque<Token>,
    /// Bytes of their payloads.
    pub(crate) invoke_bytes: usize,
    /// Failure records for destinations. They are bounded by themselves and wait for no function, nor the other way round: a
    /// destination that hangs takes nothing from the functions.
    pub(crate) deliveries: VecDeque<Token>,
    pub(crate) cancels: VecDeque<Token>,
    /// Batches and redrives that run.
    pub(crate) running: usize,
    /// Those of them that are past their deadline. They may never end, so no suspect waits for them.
    pub(crate) zombies: usize,
    /// A suspect runs that is within its deadline.
    pub(crate) running_alone: bool,
    /// Invocations that run.
    pub(crate) invoking: usize,
    /// Destinations at work.
    pub(crate) delivering: usize,
    /// Batches go before invocations when the next place is given.
    batches_first: bool,
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
        if self.places_taken() >= most {
            return None;
        }
        // In turns, so that neither kind takes every place from the other.
        if self.batches_first {
            self.next_batch().or_else(|| self.next_invoke())
        } else {
            self.next_invoke().or_else(|| self.next_batch())
        }
    }

    /// Whether an invocation with so large a payload must be refused.
    pub(crate) fn is_full_of_invokes(&self, bytes: usize) -> bool {
        self.invokes.len() >= INVOKES_MAX || self.invoke_bytes + bytes > INVOKE_BYTES_MAX
    }

    fn next_batch(&mut self) -> Option<Token> {
        if !self.batch_may_run() {
            return None;
        }
        let token = self.alone.pop_front().or_else(|| self.ready.pop_front())?;
        self.batches_first = false;
        Some(token)
    }

    fn next_invoke(&mut self) -> Option<Token> {
        let token = self.invokes.pop_front()?;
        self.batches_first = true;
        Some(token)
    }

    /// Whether an exchange would bring anything.
    pub(crate) fn rings(&self, draining: bool, most: usize) -> bool {
        let has_batch = !self.alone.is_empty() || !self.ready.is_empty();
        let has_work = !self.invokes.is_empty() || (has_batch && self.batch_may_run());
        let brings = !self.deliveries.is_empty() || (has_work && self.places_taken() < most);
        !self.cancels.is_empty() || (!draining && brings)
    }

    /// Whether one more may run now.
    pub(crate) fn may_run(&self, kind: Kind, most: usize) -> bool {
        self.places_taken() < most && (kind == Kind::Invoke || self.batch_may_run())
    }

    /// Functions that run.
    pub(crate) fn places_taken(&self) -> usize {
        self.running + self.invoking
    }

    /// Where an attempt waits; `alone`: it is a suspect.
    pub(crate) fn line(&mut self, kind: Kind, alone: bool) -> &mut VecDeque<Token> {
        match kind {
            Kind::Delivery => &mut self.deliveries,
            Kind::Invoke => &mut self.invokes,
            Kind::Work if alone => &mut self.alone,
            Kind::Work => &mut self.ready,
        }
    }

    /// One was handed out.
    pub(crate) fn began(&mut self, kind: Kind, alone: bool) {
        *self.out(kind) += 1;
        self.running_alone |= alone;
    }

    /// One is past its deadline, and still runs.
    pub(crate) fn overdue(&mut self, kind: Kind, alone: bool) {
        self.zombies += usize::from(kind == Kind::Work);
        if alone {
            self.running_alone = false;
        }
    }

    /// One has ended; `overdue`: after its deadline.
    pub(crate) fn ended(&mut self, kind: Kind, alone: bool, overdue: bool) {
        *self.out(kind) -= 1;
        self.zombies -= usize::from(overdue && kind == Kind::Work);
        if alone && !overdue {
            self.running_alone = false;
        }
    }

    fn out(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Delivery => &mut self.delivering,
            Kind::Invoke => &mut self.invoking,
            Kind::Work => &mut self.running,
        }
    }

    /// Nothing runs beside a suspect, and a suspect waits for what runs.
    fn batch_may_run(&self) -> bool {
        !self.running_alone && (self.alone.is_empty() || self.running <= self.zombies)
    }

    /// Attempts that nobody has taken yet.
    pub(crate) fn untaken(&self) -> Vec<Token> {
        self.ready.iter().chain(&self.alone).chain(&self.invokes).chain(&self.deliveries).copied().collect()
    }

    /// Forget one that was not handed out.
    pub(crate) fn withdraw(&mut self, token: Token) {
        for queue in [&mut self.ready, &mut self.alone, &mut self.invokes, &mut self.deliveries] {
            queue.retain(|&other| other != token);
        }
    }

    /// Nothing is out.
    pub(crate) fn is_idle(&self) -> bool {
        self.running == 0 && self.invoking == 0 && self.delivering == 0
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

    #[test]
    fn a_suspect_and_its_invocations_do_not_wait_for_each_other() {
        let mut outbox = outbox(&[1], &[], &[]);
        outbox.invokes = [5, 6].into();
        outbox.running = 1;
        outbox.running_alone = true;
        assert!(outbox.rings(false, 9));
        assert_eq!(outbox.next(false, 9), Some(5));
        outbox.running_alone = false;
        outbox.running = 0;
        outbox.invoking = 1;
        outbox.alone.push_back(2);
        assert_eq!(outbox.next(false, 9), Some(2), "the invocation may have come from anywhere");
    }

    #[test]
    fn batches_and_invocations_take_places_in_turns() {
        let mut outbox = outbox(&[1, 2], &[], &[]);
        outbox.invokes = [5, 6, 7].into();
        let order: Vec<Token> = std::iter::from_fn(|| outbox.next(false, 9)).collect();
        assert_eq!(order, [5, 1, 6, 2, 7]);
    }
}
