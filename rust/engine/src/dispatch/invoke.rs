//! Synchronous invocations: handed out, answered, and what becomes of those that wait when they may not run any more.

use std::sync::Arc;

use crate::base::error::Waiter;
use crate::base::ids::RoomId;
use crate::base::timers::Timer;
use crate::dispatch::attempts::{Attempt, Task, Token};
use crate::dispatch::job::{Handed, Job};
use crate::dispatch::participant::{Ended, Participant};
use crate::dispatch::ready_list::Kind;
use crate::dispatch::waiters::{SourceId, INVOCATIONS};
use crate::dispatch::{answers, DispatchRoom, ROOM};
use crate::payload::event::Qualifier;

/// A synchronous invocation.
pub(crate) struct Invoke {
    pub(crate) payload: Arc<[u8]>,
    pub(crate) qualifier: Qualifier,
    pub(crate) trace: Option<Arc<str>>,
    pub(crate) waiter: Option<Waiter>,
}

impl Invoke {
    /// Whoever waits for an attempt's answer and has not had one.
    pub(crate) fn take_waiter(attempt: &mut Attempt) -> Option<Waiter> {
        attempt.job.get_mut::<Self>()?.waiter.take()
    }
}

impl Job for Invoke {
    fn room(&self) -> RoomId {
        ROOM
    }

    fn source(&self) -> SourceId {
        INVOCATIONS
    }

    fn kind(&self) -> Kind {
        Kind::Invoke
    }

    fn asked_with(&self) -> (Qualifier, Option<Arc<str>>) {
        (self.qualifier.clone(), self.trace.clone())
    }
}

impl Participant for DispatchRoom<'_> {
    fn due(&mut self, _timer: Timer) {
        // The runtime looks at deadlines and permits itself: they concern every room.
    }

    fn hand_out(&mut self, token: Token) -> Option<Handed> {
        let invoke = self.dispatch.attempts.get_mut(token)?.job.get::<Invoke>()?;
        self.dispatch.ready_list.invoke_bytes -= invoke.payload.len();
        Some(Handed { task: Task::Invoke(invoke.payload.clone()), reads: true, reports: false })
    }

    fn overdue(&mut self, token: Token) {
        let Some(attempt) = self.dispatch.attempts.get_mut(token) else { return };
        let (handler, request) = (attempt.handler, attempt.request);
        let Some(waiter) = Invoke::take_waiter(attempt) else { return };
        let is_qualified = attempt.job.get::<Invoke>().is_some_and(|invoke| invoke.qualifier.is_some());
        let answer = answers::invoke_answer(self.dispatch, handler, request, is_qualified, (2, None));
        self.ctx.answer(waiter, answer);
    }

    fn settled(&mut self, attempt: Attempt, ended: Ended) {
        let (handler, request) = (attempt.handler, attempt.request);
        let Some(invoke) = attempt.job.into::<Invoke>() else { return };
        if let Some(waiter) = invoke.waiter {
            let is_qualified = invoke.qualifier.is_some();
            let answer =
                answers::invoke_answer(self.dispatch, handler, request, is_qualified, (ended.status, ended.body));
            self.ctx.answer(waiter, answer);
        }
    }
}
