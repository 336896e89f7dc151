"""Async handlers: one real task per attempt, and nothing else per attempt."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, Final

from forebay._runtime import answer
from forebay._runtime.context import Context
from forebay._runtime.environments import FailureLog
from forebay._wire.errors import PAST_DEADLINE
from forebay.clock import Attempt

if TYPE_CHECKING:
    from collections.abc import Callable

    from forebay._core import Work
    from forebay._runtime.environments import OutcomeSink, ServedFunction

# An eager task runs to its first wait inside its creation: a handler that waits for nothing never goes through the loop.
EAGER: Final[dict[str, Any]] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


class TaskEnvironment:
    """Runs one async handler, many attempts at once."""

    __slots__ = (
        "_failure_log",
        "_is_left",
        "_loop",
        "_now_ns",
        "_options",
        "_running",
        "_served",
        "_sink",
        "_stopping",
    )

    def __init__(
        self,
        served: ServedFunction,
        sink: OutcomeSink,
        loop: asyncio.AbstractEventLoop,
        now_ns: Callable[[], int],
        *,
        eager: bool = True,
    ) -> None:
        self._served = served
        self._options = EAGER if eager else {}
        self._sink = sink
        self._loop = loop
        self._now_ns = now_ns
        self._running: dict[int, asyncio.Task[None]] = {}
        self._stopping: dict[int, int] = {}
        self._is_left = False
        self._failure_log = FailureLog(served.facts, loop)

    def start(self, work: Work) -> None:
        """Begin an attempt in a task of its own, named by its request id."""
        task = asyncio.Task(self._run(work), loop=self._loop, name=work[4], **self._options)
        if not task.done():
            self._running[work[0]] = task

    async def _run(self, work: Work) -> None:
        token, _, kind, event, request_id, deadline_ms, traces, qualifier = work
        served, now_ns = self._served, self._now_ns
        began = now_ns()
        span = None
        try:
            if kind in answer.INVOCATIONS:
                event, refusal = answer.invocation(event, request_id, wants_batch=served.wants_batch)
                if refusal is not None:
                    self._finish(token, (answer.RAISED, refusal), began, kind)
                    return
            context = Context(served.facts, request_id, deadline_ms, qualifier)
            context.enter()
            if served.tracing is not None:
                span = served.tracing.handling(served.facts, kind, event, request_id, traces)
            result = await served.handler(event, context)
            if result is None and (kind != answer.BATCH or not event.failures):
                end = answer.DONE
            else:
                end = answer.returned(served, kind, event, result, request_id)
        except BaseException as error:  # noqa: BLE001  a handler's own: it goes into the outcome, and nothing of it is lost
            end = answer.thrown(served, event, error, request_id)
            if span is not None:
                span.raised(error)
        if span is not None:
            span.ended(self._stopping.get(token, end[0]))
        self._finish(token, end, began, kind)

    def _finish(self, token: int, end: answer.Answer, began: int, kind: int | None = None) -> None:
        if self._is_left:
            return  # the next engine may call another attempt by this token
        status, body = end
        self._running.pop(token, None)
        now = self._now_ns()
        if self._stopping:
            forced = self._stopping.pop(token, None)
            # The engine knows that it has stopped the attempt; a late answer may name a job that is to be stopped.
            is_late = forced == answer.STOPPED and status == answer.RETURNED and body is not None
            if forced is not None and not is_late:
                status, body = forced, None
        if status == answer.RAISED and body is not None:
            of = self._sink.execution_of(token) if kind == answer.ASYNCHRONOUS else ""
            self._failure_log.add(body, now, of)
        self._sink.ended((token, status, body, now - began))

    def stop(self, token: int, status: int) -> None:
        """Cancel an attempt; it has ended when its task has, which may swallow the cancellation."""
        task = self._running.get(token)
        if task is None or self._stopping.get(token) == status:
            return  # one that tidies up is not interrupted in that
        self._stopping[token] = status
        # A task that is cancelled before its first step never enters `_run`: then this says that it ended.
        task.add_done_callback(lambda _: self._unbegun(token))
        task.cancel(PAST_DEADLINE if status == answer.STOPPED else "the app stops")

    def _unbegun(self, token: int) -> None:
        if token in self._running:
            self._finish(token, answer.DONE, self._now_ns())

    def tokens(self) -> list[int]:
        """Give the attempts that have not ended."""
        return list(self._running)

    def attempts(self) -> list[Attempt]:
        """Give the attempts that have not ended, as a manual clock wants to see them."""
        name = self._served.facts.qualified
        return [Attempt(name, task.get_name(), task, parked=False) for task in self._running.values()]

    def leave_behind(self) -> None:
        """Let what has not ended go on, and tell nobody how it ends."""
        self._is_left = True

    def close(self) -> None:
        """Write the failures that the log does not have yet."""
        self._failure_log.flush()
