"""Blocking handlers: a thread per attempt from one bounded pool, never the event loop.

A thread cannot be stopped: past its deadline it is left alone, and its attempt ends when it does.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections import deque
from queue import SimpleQueue
from typing import TYPE_CHECKING

from forebay._runtime import answer
from forebay._runtime.context import Context
from forebay._runtime.environments import FailureLog
from forebay._runtime.thread_loop import ThreadLoops
from forebay.clock import Attempt

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from forebay._core import Outcome, Work
    from forebay._runtime.environments import OutcomeSink, ServedFunction


class ThreadPool:
    """The threads of one app: started when they are needed, never more than `most`."""

    def __init__(self, most: int, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        """Where outcomes are handed over."""
        self._most = most
        self._jobs: SimpleQueue[Callable[[], Callable[[], None]] | None] = SimpleQueue()
        self._reports: deque[Callable[[], None]] = deque()
        self._rung = False
        self._threads = 0
        self._unfinished = 0
        self._context = contextvars.copy_context()
        self.current = threading.local()
        """In a thread: `token` of the attempt that it runs."""
        self.parked: set[int] = set()
        """Attempts whose thread waits on forebay; kept on the event loop."""

    def submit(self, job: Callable[[], Callable[[], None]]) -> None:
        """Run a job in a thread; what it gives is called on the event loop afterwards."""
        self._unfinished += 1
        if self._unfinished > self._threads and self._threads < self._most:
            self._threads += 1
            # A daemon: a handler that never ends must not keep the process from ending.
            threading.Thread(target=self._work, name=f"forebay-handler-{self._threads}", daemon=True).start()
        self._jobs.put(job)

    def close(self) -> None:
        """Let every thread go as soon as it has nothing to do."""
        for _ in range(self._threads):
            self._jobs.put(None)
        self._threads = 0

    def _work(self) -> None:
        loops = ThreadLoops()
        while (job := self._jobs.get()) is not None:
            loops.enter()
            self._reports.append(self._context.copy().run(job))
            del job
            if not self._rung:
                self._rung = True
                # A closed loop means that the app is gone: nobody is left to be told.
                with contextlib.suppress(RuntimeError):
                    self.loop.call_soon_threadsafe(self._collect)
        loops.close()

    def _collect(self) -> None:
        # Lowered first: a thread that reports from now on rings again, so nothing is left lying.
        self._rung = False
        while self._reports:
            self._unfinished -= 1
            self._reports.popleft()()


class ThreadEnvironment:
    """Runs one blocking handler, many attempts at once."""

    def __init__(self, served: ServedFunction, sink: OutcomeSink, pool: ThreadPool, now_ns: Callable[[], int]) -> None:
        self._served = served
        self._sink = sink
        self._pool = pool
        self._now_ns = now_ns
        self._running: dict[int, str] = {}
        self._stopping: dict[int, int] = {}
        self.is_left = False
        """What has not ended was left behind."""
        self._failure_log = FailureLog(served.facts, pool.loop)

    def start(self, work: Work) -> None:
        """Begin an attempt in a thread."""
        token, kind = work[0], work[2]
        self._running[token] = work[4]

        def job() -> Callable[[], None]:
            self._pool.current.token, self._pool.current.environment = token, self
            began = self._now_ns()
            status, body = self._run(work)
            took = self._now_ns() - began
            return lambda: self._finish((token, status, body, took), kind)

        self._pool.submit(job)

    def _run(self, work: Work) -> answer.Answer:
        token, _, kind, event, request_id, deadline_ms, traces, qualifier = work
        served, span = self._served, None
        try:
            if kind in answer.INVOCATIONS:
                event, refusal = answer.invocation(event, request_id, wants_batch=served.wants_batch)
                if refusal is not None:
                    return answer.RAISED, refusal
            context = Context(served.facts, request_id, deadline_ms, qualifier)
            context.enter()
            if served.tracing is not None:
                span = served.tracing.handling(served.facts, kind, event, request_id, traces)
            result = served.handler(event, context)
            end = answer.returned(served, kind, event, result, request_id)
        except BaseException as error:  # noqa: BLE001  a handler's own: it goes into the outcome, and nothing of it is lost
            end = answer.thrown(served, event, error, request_id)
            if span is not None:
                span.raised(error)
        if span is not None:
            span.ended(self._stopping.get(token, end[0]))
        return end

    def _finish(self, outcome: Outcome, kind: int) -> None:
        if self.is_left:
            return  # the next engine may call another attempt by this token
        token, status, body, took = outcome
        del self._running[token]
        forced = self._stopping.pop(token, None)
        if forced is not None:
            status, body = forced, None
        if status == answer.RAISED and body is not None:
            of = self._sink.execution_of(token) if kind == answer.ASYNCHRONOUS else ""
            self._failure_log.add(body, self._now_ns(), of)
        self._sink.ended((token, status, body, took))

    def stop(self, token: int, status: int) -> None:
        """Remember that the answer is refused; the thread itself runs on."""
        if token in self._running:
            self._stopping[token] = status

    def tokens(self) -> list[int]:
        """Give the attempts that have not ended."""
        return list(self._running)

    def attempts(self) -> list[Attempt]:
        """Give the attempts that have not ended, as a manual clock wants to see them."""
        name, parked = self._served.facts.qualified, self._pool.parked
        return [Attempt(name, request, None, parked=token in parked) for token, request in self._running.items()]

    def leave_behind(self) -> None:
        """Let what has not ended go on, and tell nobody how it ends."""
        self.is_left = True

    def close(self) -> None:
        """Write the failures that the log does not have yet."""
        self._failure_log.flush()
