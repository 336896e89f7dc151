"""The engine's end in Python: takes work when the bell rings, hands outcomes back, wakes whoever waits for an answer.

One `exchange` carries many outcomes and many pieces of work. There is never a wake-up, a future or a hop per record.
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future as Handed
from typing import TYPE_CHECKING, Any, Final, TypeVar

from forebay.clock import Attempt, ManualClock, Parked
from forebay.errors import AppClosed, ForebayError
from forebay.runtime import answer

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from forebay._core import Engine, Outcome, Work
    from forebay.clock import Clock
    from forebay.runtime.port import Environment
    from forebay.runtime.threads import ThreadPool

log = logging.getLogger("forebay.runtime")

# How much one exchange brings, and how many follow each other before other callbacks of the loop have their turn.
WORKS_MAX: Final = 512
ROUNDS_MAX: Final = 8

# Ticket 0 is nobody's: the engine answers it when the store has failed.
STORE_TICKET: Final = 0

Answered = TypeVar("Answered")


class Runner:
    """Keeps one engine busy from one event loop."""

    def __init__(self, engine: Engine, loop: asyncio.AbstractEventLoop, clock: Clock, pool: ThreadPool) -> None:
        self.engine = engine
        self.loop = loop
        self.pool = pool
        self.manual = clock if isinstance(clock, ManualClock) else None
        self.store_failure: asyncio.Future[ForebayError] = loop.create_future()
        self._environments: dict[int, Environment] = {}
        self._tickets: dict[int, asyncio.Future[Any]] = {}
        self._outcomes: list[Outcome] = []
        self._held: list[Work] = []
        self._due = False
        self._moved = False
        self._closed = False

    def now_ns(self) -> int:
        """Give the moment from which durations are counted."""
        return self.manual.monotonic_ns() if self.manual is not None else time.monotonic_ns()

    def serve(self, slot: int, environment: Environment) -> None:
        """Run a slot's work in this environment from now on."""
        self._environments[slot] = environment

    def open(self) -> None:
        """Listen to the bell, or follow the manual clock."""
        if self.manual is not None:
            self.manual.drive(self, self.loop)
        else:
            self.loop.add_reader(self.engine.fileno(), self._ring)

    def close(self) -> None:
        """Listen no more, and tell everybody who still waits."""
        self._closed = True
        if self.manual is not None:
            self.manual.release(self)
        else:
            self.loop.remove_reader(self.engine.fileno())
        self.engine.close()
        for ticket in list(self._tickets):
            self._resolve(ticket, ok=False, value=AppClosed("the app was stopped before it had the answer"))
        if not self.store_failure.done():
            self.store_failure.cancel()

    # --- work and outcomes

    def ended(self, outcome: Outcome) -> None:
        """Hand over how an attempt ended; it goes out with all others of this pass of the loop."""
        self._outcomes.append(outcome)
        if not self._due and not self._closed:
            self._due = True
            self.loop.call_soon(self._pump)

    def _ring(self) -> None:
        self.engine.quiet()
        self._pump()

    def _pump(self) -> None:
        if self._closed:
            return
        if self.manual is not None:
            self._due = False
            self._turn_for_answers(self.manual)
            return
        self._due = True  # what ends meanwhile goes out in these rounds
        for _ in range(ROUNDS_MAX):
            if not self._exchange(self._begin):
                self._due = False
                return
        self.loop.call_soon(self._pump)

    def _exchange(self, begin: Callable[[Work], None]) -> bool:
        """Swap outcomes for work; tell whether there may be more at once."""
        outcomes, self._outcomes = self._outcomes, []
        works, resolved = self.engine.exchange(outcomes, WORKS_MAX)
        for ticket, ok, value in resolved:
            self._resolve(ticket, ok=ok, value=value)
        for work in works:
            begin(work)
        self._moved = bool(works or outcomes)
        return len(works) == WORKS_MAX or bool(self._outcomes)

    def _begin(self, work: Work) -> None:
        token, slot, kind, event, request_id, deadline_ms = work
        if kind == answer.STOP:
            self._environments[slot].stop(token, answer.STOPPED)
        else:
            self._environments[slot].start(token, kind, event, request_id, deadline_ms)

    def attempts(self) -> Iterable[Attempt]:
        """Give everything that was started and has not ended."""
        return [attempt for environment in self._environments.values() for attempt in environment.attempts()]

    def interrupt(self) -> None:
        """Stop every attempt: the app ends, and they will be run again after the next start."""
        for environment in self._environments.values():
            for token in environment.tokens():
                environment.stop(token, answer.INTERRUPTED)

    # --- a manual clock

    def turn(self) -> int | None:
        """Do what is due now and start what may start; give the next deadline (monotonic ns) if there is one."""
        if self.manual is None or self._closed:
            return None
        deadline = self.engine.turn(*self.manual.moment())
        held, self._held = self._held, []
        for work in held:
            self._begin(work)
        self._exchange(self._begin)
        self._moved |= bool(held)
        return deadline

    def unsettled(self) -> bool:
        """Tell whether another turn at the same moment would move something on."""
        return bool(self._moved or self._outcomes or self._held)

    def _turn_for_answers(self, clock: ManualClock) -> None:
        """Resolve what can be answered now. Only invocations start; all other work is held until the clock is moved."""
        self.engine.turn(*clock.moment())
        self._exchange(self._begin_invocation)

    def _begin_invocation(self, work: Work) -> None:
        if work[2] == answer.INVOCATION:
            self._begin(work)
        else:
            self._held.append(work)

    # --- answers

    def wait(self, ticket: int) -> asyncio.Future[Any]:
        """Give the future that gets the answer to a ticket."""
        waiter: asyncio.Future[Any]
        if self.manual is None:
            self._tickets[ticket] = waiter = self.loop.create_future()
        else:
            self._tickets[ticket] = waiter = Parked(loop=self.loop)
            self._turn_for_answers(self.manual)
        return waiter

    def _resolve(self, ticket: int, *, ok: bool, value: Any) -> None:
        waiter = self._tickets.pop(ticket, None)
        if waiter is None:
            if ticket == STORE_TICKET and not self.store_failure.done():
                log.critical("the store failed, nothing more is acknowledged: %s", value)
                self.store_failure.set_result(value)
            return
        if waiter.done():
            return
        if ok:
            waiter.set_result(value)
        else:
            waiter.set_exception(value)

    # --- from other threads

    def blocking(self, direct: Callable[[], Answered], ticketed: Callable[[], int]) -> Answered:
        """Ask from a thread and wait. A manual clock's engine is turned by the loop alone, so there the loop asks."""
        if self.manual is None:
            return direct()
        handed: Handed[Answered] = Handed()
        token = getattr(self.pool.current, "token", None)
        self.loop.call_soon_threadsafe(self._ask_for_thread, ticketed, token, handed)
        return handed.result()

    def _ask_for_thread(self, ticketed: Callable[[], int], token: int | None, handed: Handed[Any]) -> None:
        if self._closed:
            handed.set_exception(AppClosed("the app is stopped"))
            return
        try:
            waiter = self.wait(ticketed())
        except ForebayError as error:
            handed.set_exception(error)
            return
        if token is not None:
            self.pool.parked.add(token)

        def hand_on(waiter: asyncio.Future[Any]) -> None:
            if token is not None:
                self.pool.parked.discard(token)
            error = waiter.exception()
            if error is not None:
                handed.set_exception(error)
            else:
                handed.set_result(waiter.result())

        waiter.add_done_callback(hand_on)
