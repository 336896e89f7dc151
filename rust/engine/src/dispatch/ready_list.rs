//! What waits to be handed out, and how much is out.

use std::collections::VecDeque;

use crate::dispatch::attempts::Token;

/// Most bytes of the payloads of invocations that wait to be handed out.
pub(crate) const INVOKE_BYTES_MAX: usize = 64 << 20;

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

/// Attempts waiting to be handed out, and how many are out. What runs a function has its place already (`permits`), but for the
/// suspects of a crash.
#[derive(Default)]
pub(crate) struct ReadyList {
    /// Batches, events and redrives with a place.
    pub(crate) placed: VecDeque<Token>,
    /// Suspects of a crash, without a place: each is handed out when no other batch runs, and none while it does.
    pub(crate) alone: VecDeque<Token>,
    /// The suspect that has its place and is the next to run.
    pub(crate) suspect: Option<Token>,
    /// A suspect could have a place, and waits for what runs.
    pub(crate) suspect_waits: bool,
    /// Invocations. They never wait for a suspect, nor the other way round: a handler that runs may be waiting for one.
    pub(crate) invokes: VecDeque<Token>,
    /// Bytes of their payloads.
    pub(crate) invoke_bytes: usize,
    /// Failure records for destinations. They are bounded by themselves and wait for no function, nor the other way round: a
    /// destination that hangs takes nothing from the functions.
    pub(crate) deliveries: VecDeque<Token>,
    pub(crate) cancels: VecDeque<Token>,
    /// Batches, events and redrives that run.
    running: usize,
    /// Those of them that are past their deadline. They may never end, so no suspect waits for them.
    overdue: usize,
    /// A suspect runs, or is the next to run, that is within its deadline.
    pub(crate) running_alone: bool,
    /// Suspects past their deadline, which nothing has begun beside so far.
    overdue_suspects: Vec<Token>,
    /// Those that something has begun beside, until that stands on file, too.
    pub(crate) joined: Vec<Token>,
    /// Invocations that run.
    invoking: usize,
    /// Destinations at work.
    delivering: usize,
    /// Batches go before invocations when the next one is handed out.
    batches_first: bool,
}

impl ReadyList {
    /// The next attempt that may be handed out now.
    pub(crate) fn next(&mut self, draining: bool) -> Option<Token> {
        if draining {
            return None;
        }
        if let Some(token) = self.deliveries.pop_front() {
            return Some(token);
        }
        if self.batches_first {
            self.next_batch().or_else(|| self.next_invoke())
        } else {
            self.next_invoke().or_else(|| self.next_batch())
        }
    }

    /// How many attempts are ready that another process could be given.
    pub(crate) fn shared(&self) -> usize {
        self.invokes.len() + if self.shares_batches() { self.placed.len() } else { 0 }
    }

    /// How many attempts are out that run a function.
    pub(crate) fn runs(&self) -> usize {
        self.running + self.invoking
    }

    fn shares_batches(&self) -> bool {
        self.suspect.is_none() && self.batch_may_run()
    }

    /// The next attempt of those that another process can run.
    pub(crate) fn next_for_another(&mut self, invokes: bool, mut can_run: impl FnMut(Token) -> bool) -> Option<Token> {
        let shares_batches = self.shares_batches();
        let placed = shares_batches.then(|| self.placed.iter().position(|&token| can_run(token))).flatten();
        let invoke = invokes.then(|| self.invokes.iter().position(|&token| can_run(token))).flatten();
        let takes_batch = placed.is_some() && (invoke.is_none() || self.batches_first);
        let (queue, at) = if takes_batch { (&mut self.placed, placed) } else { (&mut self.invokes, invoke) };
        let token = queue.remove(at?)?;
        self.batches_first = !takes_batch;
        Some(token)
    }

    /// Whether an invocation with so large a payload must be refused.
    pub(crate) fn is_full_of_invokes(&self, bytes: usize) -> bool {
        self.invoke_bytes + bytes > INVOKE_BYTES_MAX
    }

    fn next_batch(&mut self) -> Option<Token> {
        let may_run = self.batch_may_run();
        let token = self.suspect.take().or_else(|| if may_run { self.placed.pop_front() } else { None })?;
        self.batches_first = false;
        Some(token)
    }

    fn next_invoke(&mut self) -> Option<Token> {
        let token = self.invokes.pop_front()?;
        self.batches_first = true;
        Some(token)
    }

    /// Whether an exchange would bring anything.
    pub(crate) fn rings(&self, draining: bool) -> bool {
        let has_batch = self.suspect.is_some() || (!self.placed.is_empty() && self.batch_may_run());
        !self.cancels.is_empty()
            || (!draining && (has_batch || !self.deliveries.is_empty() || !self.invokes.is_empty()))
    }

    /// Nothing runs beside a suspect.
    pub(crate) fn batch_may_run(&self) -> bool {
        !self.running_alone && !self.suspect_waits
    }

    /// Whether a suspect may run: no batch runs but what may never end.
    pub(crate) fn suspect_may_run(&self) -> bool {
        !self.running_alone && self.running <= self.overdue
    }

    /// One was handed out.
    pub(crate) fn began(&mut self, kind: Kind, alone: bool) {
        *self.out(kind) += 1;
        self.running_alone |= alone;
        if kind == Kind::Work {
            self.joined.append(&mut self.overdue_suspects);
        }
    }

    /// One is past its deadline, and still runs. `suspect`: which one, if it ran alone.
    pub(crate) fn overdue(&mut self, kind: Kind, suspect: Option<Token>) {
        self.overdue += usize::from(kind == Kind::Work);
        if suspect.is_some() {
            self.running_alone = false;
        }
        self.overdue_suspects.extend(suspect);
    }

    /// One has ended; `overdue`: after its deadline.
    pub(crate) fn ended(&mut self, kind: Kind, alone: bool, overdue: bool) {
        *self.out(kind) -= 1;
        self.overdue -= usize::from(overdue && kind == Kind::Work);
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

    /// Attempts that nobody has taken yet.
    pub(crate) fn untaken(&self) -> impl Iterator<Item = Token> + '_ {
        let queues = [&self.placed, &self.alone, &self.invokes, &self.deliveries];
        queues.into_iter().flatten().copied().chain(self.suspect)
    }

    /// Forget one that was not handed out.
    pub(crate) fn withdraw(&mut self, token: Token) {
        for queue in [&mut self.placed, &mut self.alone, &mut self.invokes, &mut self.deliveries] {
            queue.retain(|&other| other != token);
        }
        self.suspect = self.suspect.filter(|&suspect| suspect != token);
    }

    /// Nothing is out.
    pub(crate) fn is_idle(&self) -> bool {
        self.running == 0 && self.invoking == 0 && self.delivering == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready_list(placed: &[Token], deliveries: &[Token]) -> ReadyList {
        let queue = |tokens: &[Token]| tokens.iter().copied().collect();
        ReadyList { placed: queue(placed), deliveries: queue(deliveries), ..ReadyList::default() }
    }

    #[test]
    fn a_suspect_waits_for_batches_that_run_but_not_for_those_past_their_deadline() {
        let mut ready_list = ready_list(&[1], &[]);
        ready_list.running = 2;
        ready_list.overdue = 1;
        ready_list.suspect_waits = true;
        assert!(!ready_list.suspect_may_run());
        assert_eq!(ready_list.next(false), None);
        assert!(!ready_list.rings(false));
        ready_list.overdue = 2;
        assert!(ready_list.suspect_may_run());
    }

    #[test]
    fn nothing_is_handed_out_beside_the_suspect_that_is_next() {
        let mut ready_list = ready_list(&[1], &[]);
        (ready_list.suspect, ready_list.running_alone) = (Some(2), true);
        assert_eq!(ready_list.next(false), Some(2));
        assert_eq!(ready_list.next(false), None);
        ready_list.began(Kind::Work, true);
        ready_list.ended(Kind::Work, true, false);
        assert_eq!(ready_list.next(false), Some(1));
    }

    #[test]
    fn a_suspect_past_its_deadline_is_alone_until_another_batch_begins() {
        let mut ready_list = ready_list(&[], &[]);
        ready_list.began(Kind::Work, true);
        ready_list.overdue(Kind::Work, Some(7));
        ready_list.began(Kind::Invoke, false);
        ready_list.began(Kind::Delivery, false);
        assert!(ready_list.joined.is_empty());
        ready_list.began(Kind::Work, true);
        assert_eq!(ready_list.joined, [7]);
    }

    #[test]
    fn nothing_is_handed_out_while_the_app_drains() {
        let mut ready_list = ready_list(&[1], &[3]);
        assert_eq!(ready_list.next(true), None);
        assert!(!ready_list.rings(true));
        ready_list.cancels.push_back(4);
        assert!(ready_list.rings(true), "what runs too long is still told so");
    }

    #[test]
    fn invocations_do_not_wait_for_a_suspect() {
        let mut ready_list = ready_list(&[1], &[]);
        ready_list.invokes = [5, 6].into();
        ready_list.running = 1;
        ready_list.running_alone = true;
        assert!(ready_list.rings(false));
        assert_eq!(ready_list.next(false), Some(5));
    }

    #[test]
    fn batches_and_invocations_are_handed_out_in_turns() {
        let mut ready_list = ready_list(&[1, 2], &[]);
        ready_list.invokes = [5, 6, 7].into();
        let order: Vec<Token> = std::iter::from_fn(|| ready_list.next(false)).collect();
        assert_eq!(order, [5, 1, 6, 2, 7]);
    }
}
