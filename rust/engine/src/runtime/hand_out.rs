//! Handing out: attempts begin, and those past their deadline are stopped.

use crate::base::ids::uuid_text;
use crate::dispatch::attempts::HandlerId;
use crate::dispatch::attempts::Task;
use crate::dispatch::attempts::Token;
use crate::dispatch::attempts::Work;
use crate::dispatch::job::Handed;
use crate::dispatch::participant::Ended;
use crate::dispatch::ready_list::Kind;
use crate::observe::operator_events::OperatorEvent;
use crate::runtime::rooms::Rooms;
use crate::workflows::turns;

impl Rooms {
    /// Hand out at most `most` pieces of work. Attempts are counted on disk before this returns.
    pub(crate) fn take(&mut self, most: usize, works: &mut Vec<Work>) {
        while works.len() < most {
            let Some(token) = self.dispatch.ready_list.cancels.pop_front() else { break };
            if let Some(attempt) = self.dispatch.attempts.get_mut(token) {
                let handler = attempt.handler;
                let request = attempt.request;
                let task = Task::Cancel;
                works.push(Work { token, handler, request, deadline_ms: 0, qualifier: None, trace: None, task });
            }
        }
        self.give_permits();
        self.runners().feed();
        works.append(&mut self.runners.kept());
        while works.len() < most {
            let Some(token) = self.dispatch.ready_list.next(self.ctx.is_paused()) else { break };
            if let Some((work, _)) = self.hand_out(token) {
                works.push(work);
            }
        }
        if !self.attempts_are_counted() {
            works.retain(|work| matches!(work.task, Task::Cancel));
        }
    }

    /// Begin an attempt: its deadline runs, and the room whose job it is makes a task of it.
    pub(crate) fn hand_out(&mut self, token: Token) -> Option<(Work, Handed)> {
        let now = self.ctx.now;
        let attempt = self.dispatch.attempts.get_mut(token)?;
        let function = &mut self.dispatch.functions[attempt.handler];
        attempt.deadline_ns = now.mono_ns.saturating_add(function.timeout_ns);
        self.ctx.timers.arm(&mut function.armed, attempt.deadline_ns, crate::dispatch::deadline(attempt.handler));
        // In order even when the timeout has become shorter while attempts are in flight.
        let at = function.deadlines.partition_point(|&(deadline, _)| deadline <= attempt.deadline_ns);
        function.deadlines.insert(at, (attempt.deadline_ns, token));
        self.dispatch.ready_list.began(attempt.job.kind(), attempt.alone);
        if let Some(lease) = attempt.lease {
            function.meters.in_flight.add(1.0);
            self.dispatch.permits.count_source(lease);
        }
        let deadline_ms = now.wall_ms + function.timeout_ns / 1_000_000;
        let (handler, request, room) = (attempt.handler, attempt.request, attempt.job.room());
        let (qualifier, trace) = attempt.job.asked_with();
        let handed = self.participant(room, |one| one.hand_out(token))?;
        let task = handed.task.clone();
        Some((Work { token, handler, request, deadline_ms, qualifier, trace, task }, handed))
    }

    /// A function's oldest deadline passed: cancel what is still running.
    pub(crate) fn deadline_due(&mut self, handler: HandlerId) {
        self.dispatch.functions[handler].armed = None;
        while let Some(&(deadline, token)) = self.dispatch.functions[handler].deadlines.front() {
            let is_alive = self.dispatch.attempts.get_mut(token).is_some_and(|attempt| attempt.deadline_ns == deadline);
            if deadline > self.ctx.now.mono_ns {
                if is_alive {
                    self.ctx.timers.arm(
                        &mut self.dispatch.functions[handler].armed,
                        deadline,
                        crate::dispatch::deadline(handler),
                    );
                    return;
                }
            } else if is_alive {
                self.time_out(token);
            }
            self.dispatch.functions[handler].deadlines.pop_front();
        }
    }

    /// An attempt is past its deadline.
    fn time_out(&mut self, token: Token) {
        if self.dispatch.attempts.get_mut(token).is_some_and(|attempt| attempt.timed_out) {
            return;
        }
        self.notice_timeout(token);
        self.stop_attempt(token);
        if let Some(room) = self.dispatch.attempts.get_mut(token).map(|attempt| attempt.job.room()) {
            self.participant(room, |one| one.overdue(token));
        }
    }

    /// Nobody waits for the end of an attempt any more: it is stopped, or never begins.
    pub(crate) fn stop_unwanted(&mut self, token: Token) {
        if self.dispatch.attempts.get_mut(token).is_some_and(|attempt| attempt.is_out()) {
            return self.stop_attempt(token);
        }
        if let Some(attempt) = self.dispatch().withdraw(token) {
            let room = attempt.job.room();
            let ended = Ended { status: 4, body: None, late: None, duration_ns: 0 };
            self.participant(room, |one| one.settled(attempt, ended));
        }
    }

    /// Stop an attempt that runs. It has failed, and may never end: its lane and its permit stay held, nothing else waits.
    fn stop_attempt(&mut self, token: Token) {
        let Some(attempt) = self.dispatch.attempts.get_mut(token).filter(|one| one.is_out() && !one.timed_out) else {
            return;
        };
        attempt.timed_out = true;
        let (handler, kind, is_alone) = (attempt.handler, attempt.job.kind(), attempt.alone);
        if kind != Kind::Delivery {
            self.dispatch.functions[handler].meters.overdue.add(1.0);
        }
        self.dispatch.ready_list.overdue(kind, is_alone.then_some(token));
        if !self.runners.stop(token, false) && !self.environments.stop_attempt(handler, token, self.ctx.now.mono_ns) {
            self.dispatch.ready_list.cancels.push_back(token);
            self.ctx.ring = true;
        }
    }

    /// Which execution of a workflow an attempt runs for, by its ARN, and which of its states.
    pub(crate) fn execution_of(&self, token: Token) -> Option<(String, Option<String>)> {
        turns::execution_of(&self.ctx, &self.workflows, self.dispatch.attempts.get(token)?)
    }

    fn notice_timeout(&mut self, token: Token) {
        let of = self.execution_of(token);
        let Some(attempt) = self.dispatch.attempts.get_mut(token) else { return };
        let function = &self.dispatch.functions[attempt.handler];
        let (name, seconds) = (function.qualified(), function.timeout_ns as f64 / 1e9);
        let mut fields = attempt.job.described();
        fields["seconds"] = seconds.into();
        fields["attempt"] = attempt.number.into();
        fields["request"] = uuid_text(attempt.request).into();
        if let Some((execution, state)) = of {
            (fields["execution"], fields["state"]) = (execution.into(), state.into());
        }
        if attempt.job.kind() == Kind::Delivery {
            fields["destinations"] = [name.as_str()].as_slice().into();
        }
        self.ctx.notice(OperatorEvent::TimedOut, &name, fields);
    }
}
