//! Giving permits: who is next in turn gets one, and each room begins its own work with it.

use crate::base::error::EngineError;
use crate::dispatch::attempts::HandlerId;
use crate::dispatch::attempts::Token;
use crate::dispatch::permits::GIVEN_AT_ONCE;
use crate::dispatch::ready_list::Kind;
use crate::dispatch::waiters::Next;
use crate::dispatch::PERMITS;
use crate::runtime::rooms::Rooms;
use crate::workflows::throttle;
use forebay_core::concurrency::Kind as Start;
use forebay_core::concurrency::Lease;
use forebay_core::concurrency::Reason;
use forebay_core::concurrency::Refused;
use std::collections::BTreeSet;

impl Rooms {
    /// Give permits to what waits for them, in turn.
    pub(crate) fn give_permits(&mut self) {
        if self.ctx.started && !self.ctx.is_paused() {
            let could_run = self.dispatch.ready_list.batch_may_run();
            let suspect_due = self.dispatch().choose_suspect();
            if could_run && !self.dispatch.ready_list.batch_may_run() {
                self.queues().withdraw_strict();
            }
            let mut given = 0;
            while given < GIVEN_AT_ONCE && self.dispatch.ready_list.batch_may_run() {
                let Some(lease) = self.dispatch.permits.pool.next(self.ctx.now.mono_ns) else { break };
                self.give(lease);
                given += 1;
            }
            let due = if !self.dispatch.ready_list.batch_may_run() {
                self.give_to_invocations()
            } else if given < GIVEN_AT_ONCE {
                self.dispatch.permits.pool.next_due().into_iter().chain(suspect_due).min()
            } else {
                Some(self.ctx.now.mono_ns)
            };
            if let Some(due_ns) = due {
                self.ctx.timers.arm(&mut self.dispatch.permits.armed, due_ns, PERMITS);
            }
            self.dispatch().count_refusals();
        }
        self.dispatch.permits.show();
    }

    /// Invocations run beside a suspect of a crash, whose handler may be waiting for one. When the first of those that must wait for
    /// time to pass may run, mono ns.
    fn give_to_invocations(&mut self) -> Option<u64> {
        let mut due_ns: Option<u64> = None;
        for unit in 0..self.dispatch.permits.waiters.len() {
            while self.dispatch.permits.waiters[unit].invocations() > 0 && self.dispatch().could_run(unit) {
                let lease = match self.dispatch.permits.pool.acquire(unit, Start::Work, self.ctx.now.mono_ns) {
                    Ok(lease) => lease,
                    Err(refused) => {
                        due_ns = due_ns.into_iter().chain(refused.retry_at_ns).min();
                        break;
                    }
                };
                self.dispatch.permits.waiters[unit].working += 1;
                match self.dispatch.permits.waiters[unit].next_invocation() {
                    Some(token) => self.dispatch().seat(token, lease),
                    None => self.dispatch().free_unused(Some(lease)),
                }
            }
        }
        due_ns
    }
}

impl Rooms {
    /// Use a place for what is next in its unit's line. What turns out to have nothing to run passes it on.
    fn give(&mut self, lease: Lease) {
        let unit = lease.unit;
        let mut left = Some(lease);
        self.dispatch.permits.waiters[unit].working += 1;
        while let Some(lease) = left.take() {
            match self.dispatch.permits.waiters[unit].next() {
                Some(Next::Attempt(token)) if self.dispatch.stands_aside(token) => left = Some(lease),
                Some(Next::Attempt(token)) => self.dispatch().seat(token, lease),
                Some(Next::Pull(room, source)) => left = self.participant(room, |one| one.grant(source, lease)),
                None => self.dispatch().free_unused(Some(lease)),
            }
        }
        self.dispatch().wait_for_permit(unit);
    }
}

impl Rooms {
    /// Take a place for a synchronous invocation, after whatever waits for one. `None`: its function's environments all have work,
    /// so it is to wait in line, without a place that others could use.
    pub(crate) fn permit_of_invoke(&mut self, handler: HandlerId) -> Result<Option<Lease>, EngineError> {
        self.give_permits();
        let Some(unit) = self.dispatch.unit_of(handler) else {
            return Err(self.dispatch().throttled(handler, Reason::Concurrent, None));
        };
        let now_ns = self.ctx.now.mono_ns;
        let most = self.ctx.config.limits.concurrency as usize;
        let admitted = if self.dispatch().could_run(unit) {
            self.dispatch.permits.pool.acquire(unit, Start::Invoke, now_ns).map(Some)
        } else if self.dispatch.permits.waiters[unit].invocations() < most {
            self.dispatch.permits.pool.request(unit, now_ns).map(|()| None)
        } else {
            return Err(self
                .dispatch()
                .backlog(handler, format!("{most} invocations wait for an environment of this function already")));
        };
        if let Ok(Some(_)) = admitted {
            self.dispatch.permits.waiters[unit].working += 1;
        }
        admitted.map_err(|Refused { reason, retry_at_ns, .. }| self.dispatch().throttled(handler, reason, retry_at_ns))
    }
}

impl Rooms {
    /// Hand out no new work. Whoever waits for an invocation that has not begun is told so at once: it never will. Messages whose receive
    /// is on disk already are as if they had not been received.
    pub(crate) fn drain(&mut self) {
        self.ctx.draining = true;
        let mut unbegun: BTreeSet<Token> = self.dispatch.ready_list.invokes.drain(..).collect();
        for line in &mut self.dispatch.permits.waiters {
            unbegun.extend(std::iter::from_fn(|| line.next_invocation()));
        }
        let attempts = &mut self.dispatch.attempts;
        let mut is_invocation =
            |token| attempts.get_mut(token).is_some_and(|attempt| attempt.job.kind() == Kind::Invoke);
        unbegun.extend(self.dispatch.process_lines.waiting().filter(|&token| is_invocation(token)));
        self.dispatch.process_lines.withdraw(|token| unbegun.contains(&token));
        for token in unbegun {
            let Some(handler) = self.dispatch.attempts.get_mut(token).map(|attempt| attempt.handler) else { continue };
            let name = self.dispatch.functions[handler].qualified();
            let text = format!("function {name:?} did not begin: the app is stopping; it is safe to invoke it again");
            self.dispatch().refuse_invocation(token, EngineError::Closed(text));
        }
        self.queues().withdraw_strict();
        throttle::bring_answers(&mut self.workflows);
    }
}
