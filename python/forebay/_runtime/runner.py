"""The engine's end in Python: takes work when the bell rings, hands outcomes back, wakes whoever waits for an answer.

One `exchange` carries many outcomes and many pieces of work. There is never a wake-up, a future or a hop per record.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import weakref
from collections import Counter
from concurrent.futures import Future as Handed
from typing import TYPE_CHECKING, Any, Final

from forebay._runtime import answer
from forebay._runtime.context import Lease
from forebay._runtime.environments import of_execution
from forebay._runtime.operator_events import OperatorEvents
from forebay._runtime.tail import TailLines
from forebay.clock import Attempt, ManualClock, Parked
from forebay.errors import AppClosed, ForebayError, OwnerLeft, OwnerLost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from forebay._core import Engine, Outcome, Work
    from forebay._runtime.environments import Environment
    from forebay._runtime.threads import ThreadPool
    from forebay.clock import Clock

log = logging.getLogger("forebay.runtime")

# How much one exchange brings, and how many follow each other before other callbacks of the loop have their turn.
WORKS_MAX: Final = 512
ROUNDS_MAX: Final = 8
# Questions that wait for an engine.
DEFERRED_MAX: Final = 10_000
LEFT: Final = (
    "this attempt had not ended 30 s after its process had lost the store (context.lease_lost): it was left behind, and runs "
    "again"
)
# Nobody asked for what comes on this ticket: an error when the store has failed or its owner is gone, else events for the log.
UNSOLICITED: Final = 0

PendingRequest = tuple["Callable[[Engine], int]", asyncio.Future[Any]]
"""What gives the ticket, and who waits for its answer."""


class Runner:
    """Keeps one engine busy from one event loop. While there is no engine, questions wait for one."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, pool: ThreadPool) -> None:
        self.loop = loop
        self.pool = pool
        self.manual = clock if isinstance(clock, ManualClock) else None
        self.now_ns: Callable[[], int] = time.monotonic_ns if self.manual is None else self.manual.monotonic_ns
        """Gives the moment from which durations are counted."""
        self.operator_events = OperatorEvents(loop, self.now_ns)
        self.store_failure: asyncio.Future[ForebayError] = loop.create_future()
        self.needed = asyncio.Event()
        """Somebody asks, and there is no engine."""
        self.lost = asyncio.Event()
        """The owner of the store is gone."""
        self.asks_through_loop = self.manual is not None
        """Threads do not ask the engine themselves."""
        self.lease = Lease()
        """The hold of the store that the engine has, if others may take it."""
        self._engine: Engine | None = None
        self._waiting: Engine | None = None
        """The same engine, for threads that wait."""
        self._tail = TailLines()
        self._environments: dict[int, Environment] = {}
        self._tickets: dict[int, PendingRequest] = {}
        self._deferred: list[PendingRequest] = []
        self._outcomes: list[Outcome] = []
        self._held: list[Work] = []
        self._left: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        self._due = False
        self._moved = False
        self._listens_to_processes = False
        self._runs_for_owner = False
        self._closed = False

    def serve(self, handler_id: int, environment: Environment) -> None:
        """Run a handler's work in this environment from now on."""
        self._environments[handler_id] = environment

    # --- the engine comes and goes

    @property
    def engine(self) -> Engine | None:
        """The engine that is attached."""
        return self._engine

    def attach(self, engine: Engine) -> None:
        """Listen to an engine's bell, or turn it as the manual clock says. Questions still wait for `ask_deferred`."""
        self._engine, self._waiting = engine, engine.waiting()
        self._environments.clear()
        self.lease = Lease(engine.fencing_token)
        self._runs_for_owner = engine.role == "client"
        self.lost.clear()
        if self.manual is not None:
            self.manual.drive(self, self.loop)
        else:
            self.loop.add_reader(engine.fileno(), self._ring)

    def ask_deferred(self) -> None:
        """Ask what waited for an engine."""
        self.needed.clear()
        deferred, self._deferred = self._deferred, []
        for begin, waiter in deferred:
            if waiter.done():
                continue
            try:
                self._ask(begin, waiter)
            except ForebayError as error:
                _set(waiter, ok=False, value=error)

    def refuse_deferred(self, error: ForebayError) -> None:
        """Give up on what waits for an engine."""
        self.needed.clear()
        deferred, self._deferred = self._deferred, []
        for _, waiter in deferred:
            _set(waiter, ok=False, value=error)

    def detach(self, error: ForebayError | None = None) -> None:
        """Listen to the engine no more; whoever still waits for it is told so."""
        error = error or AppClosed("the app was stopped before it had the answer")
        engine, self._engine, self._waiting = self._engine, None, None
        self._tail.follow(None)
        if engine is None:
            return
        if self.manual is not None:
            self.manual.release(self)
        if self.manual is None or self._listens_to_processes:
            self._listens_to_processes = False
            self.loop.remove_reader(engine.fileno())
        for ticket in list(self._tickets):
            self._resolve(ticket, ok=False, value=error)

    def forget(self) -> None:
        """Touch neither the engine nor the loop again: they are those of the process that was forked."""
        self._closed = True
        if self._engine is not None:
            self._engine.forked()

    def close(self) -> None:
        """Take no more questions."""
        self._closed = True
        for environment in self._environments.values():
            environment.close()
        self.detach()
        self.operator_events.close()
        self.refuse_deferred(AppClosed("the app was stopped before it had the answer"))
        if not self.store_failure.done():
            self.store_failure.cancel()

    # --- work and outcomes

    def ended(self, outcome: Outcome) -> None:
        """Hand over how an attempt ended; it goes out with all others of this pass of the loop."""
        self._outcomes.append(outcome)
        if not self._due:
            self._due = True
            self.loop.call_soon(self._pump)

    def execution_of(self, token: int) -> str:
        """Say for which execution of a workflow an attempt runs, for the end of a line of the log; nothing of others."""
        found = None if self._engine is None else self._engine.execution_of(token)
        return "" if found is None else of_execution(*found)

    def _ring(self) -> None:
        if self._engine is not None:
            self._engine.quiet()
            self._pump()

    def _pump(self) -> None:
        if self.manual is not None:
            self._due = False
            self._turn_for_answers()
            return
        self._due = True  # what ends meanwhile goes out in these rounds
        for _ in range(ROUNDS_MAX):
            if not self._exchange(self._begin):
                self._due = False
                return
        self.loop.call_soon(self._pump)

    def _exchange(self, begin: Callable[[Work], None]) -> bool:
        """Swap outcomes for work; tell whether there may be more at once."""
        engine = self._engine
        if engine is None:
            self._outcomes.clear()
            return False
        outcomes, self._outcomes = self._outcomes, []
        works, resolved = engine.exchange(outcomes, WORKS_MAX)
        for ticket, ok, value in resolved:
            self._resolve(ticket, ok=ok, value=value)
        if works:
            self._tail.follow(engine)
            if self._runs_for_owner:
                self.lease.token = engine.fencing_token  # the owner's, who has given it with the first work
        for work in works:
            begin(work)
        self._moved = bool(works or outcomes or resolved)  # whoever has an answer may ask for more
        return len(works) == WORKS_MAX or bool(self._outcomes)

    def _begin(self, work: Work) -> None:
        environment = self._environments.get(work[1])
        if environment is None:
            self._give_back(work)
        elif work[2] == answer.STOP:
            environment.stop(work[0], answer.STOPPED)
        elif work[2] == answer.INTERRUPT:
            # The owner stops all that was given here: it is to run elsewhere.
            self.lease.lost = True
            environment.stop(work[0], answer.INTERRUPTED)
        else:
            environment.start(work)

    def _give_back(self, work: Work) -> None:
        """Settle work whose handler is not here: the rest of the exchange begins all the same."""
        log.error("work came for a handler that this process does not have (number %d): it is given back", work[1])
        if work[2] != answer.STOP:
            self.ended((work[0], answer.NOT_REACHED, None, 0))

    def attempts(self) -> Iterable[Attempt]:
        """Give everything that was started and has not ended."""
        here = [attempt for environment in self._environments.values() for attempt in environment.attempts()]
        return here + self._in_processes() if self._listens_to_processes else here

    def _in_processes(self) -> list[Attempt]:
        """Give what runs in processes, and which of them start or end, as a manual clock wants to see it."""
        at_work = self._engine.environments_at_work() if self._engine is not None else []
        return [
            Attempt(name, request or "(its process starts or ends)", None, parked=False) for name, request in at_work
        ]

    def tell_late(self) -> None:
        """Log what still runs when the grace of a stop is over."""
        late = Counter(attempt.function for attempt in self.attempts())
        if late:
            names = ", ".join(f"{function} ({count})" for function, count in sorted(late.items()))
            log.warning("the grace is over: interrupted %s; a request to an API that waits for one gets 503", names)

    def interrupt(self) -> None:
        """Stop every attempt, also in processes that run handlers for this one: they will be run again."""
        self.lease.lost = True  # a thread that looks at it ends before another process runs the same
        if self._engine is not None:
            self._engine.interrupt()
        for environment in self._environments.values():
            for token in environment.tokens():
                environment.stop(token, answer.INTERRUPTED)

    def leave_behind(self) -> None:
        """Wait no longer for what has not ended although it was interrupted."""
        self._left.update(attempt.task for attempt in self.attempts() if attempt.task is not None)
        for environment in self._environments.values():
            environment.leave_behind()
        self._environments.clear()

    def _refuse_left_behind(self) -> None:
        """Refuse what the handler of a thread asks that was left behind: what it does is done again by another attempt."""
        environment = getattr(self.pool.current, "environment", None)
        if environment is not None and environment.is_left:
            raise OwnerLost(LEFT)

    def flush(self) -> None:
        """Hand over at once what has ended."""
        self._pump()

    # --- a manual clock

    def turn(self) -> int | None:
        """Do what is due now and start what may start; give the next deadline (monotonic ns) if there is one."""
        if self.manual is None or self._engine is None:
            return None
        deadline = self._engine.turn(*self.manual.moment())
        held, self._held = self._held, []
        for work in held:
            self._begin(work)
        self._exchange(self._begin)
        self._moved |= bool(held)
        return deadline

    def unsettled(self) -> bool:
        """Tell whether another turn at the same moment would move something on."""
        in_processes = self._listens_to_processes and self._in_processes()
        return bool(self._moved or self._outcomes or self._held or in_processes)

    def listen_to_processes(self) -> None:
        """With a manual clock: listen to the bell all the same, since the answers of processes come by themselves."""
        if self.manual is not None and self._engine is not None and not self._listens_to_processes:
            self._listens_to_processes = True
            self.loop.add_reader(self._engine.fileno(), self._ring_between_turns)

    def _ring_between_turns(self) -> None:
        if self._engine is not None:
            self._engine.quiet()
            self._exchange(self._begin_invocation)

    def _turn_for_answers(self) -> None:
        """Resolve what can be answered now. Only invocations start; all other work is held until the clock is moved."""
        if self.manual is not None and self._engine is not None:
            self._engine.turn(*self.manual.moment())
            self._exchange(self._begin_invocation)

    def _begin_invocation(self, work: Work) -> None:
        if work[2] == answer.INVOCATION:
            self._begin(work)
        else:
            self._held.append(work)

    # --- questions and answers

    @property
    def waits(self) -> bool:
        """Whether somebody waits for an answer."""
        return bool(self._tickets or self._deferred)

    @property
    def is_asked(self) -> bool:
        """Whether the engine owes somebody an answer."""
        return bool(self._tickets)

    def ask(self, begin: Callable[[Engine], int]) -> asyncio.Future[Any]:
        """Begin something that gives a ticket; the future gets its answer."""
        if self._left and asyncio.current_task() in self._left:
            raise OwnerLost(LEFT)
        waiter = self.loop.create_future() if self.manual is None else Parked(loop=self.loop)
        if self._engine is not None and not self.lost.is_set():
            self._ask(begin, waiter)
        elif self._closed:
            raise AppClosed("the app is stopped")
        elif len(self._deferred) >= DEFERRED_MAX:
            raise OwnerLost(
                f"the process that owned the store is gone, and the queue for its successor is full ({DEFERRED_MAX:,})"
            )
        else:
            self._deferred.append((begin, waiter))
            self.needed.set()
        return waiter

    def _ask(self, begin: Callable[[Engine], int], waiter: asyncio.Future[Any]) -> None:
        if self._engine is None:
            self._deferred.append((begin, waiter))
            return
        self._tickets[begin(self._engine)] = begin, waiter
        if self.manual is not None:
            self._turn_for_answers()

    def _resolve(self, ticket: int, *, ok: bool, value: Any) -> None:
        pending = self._tickets.pop(ticket, None)
        if pending is not None and (ok or not isinstance(value, OwnerLeft)):
            _set(pending[1], ok=ok, value=value)
        elif pending is not None:
            # Certainly not accepted: the next owner is asked.
            self._deferred.append(pending)
            self.needed.set()
        elif ticket == UNSOLICITED and ok:
            self.operator_events.write(value)
        elif ticket == UNSOLICITED and isinstance(value, OwnerLost):
            self.lost.set()
        elif ticket == UNSOLICITED and not self.store_failure.done():
            log.critical("the store failed, nothing more is acknowledged: %s", value)
            self.store_failure.set_result(value)

    # --- from other threads

    def blocking(self, begin: Callable[[Engine], Any]) -> Any:
        """Ask from a thread and wait; through the loop where the engine may come, go, or be turned by it alone."""
        self._refuse_left_behind()
        engine = self._waiting
        if engine is not None and not self.asks_through_loop:
            with contextlib.suppress(OwnerLeft):
                return begin(engine)
        handed: Handed[Any] = Handed()
        token = getattr(self.pool.current, "token", None)
        self.loop.call_soon_threadsafe(self._ask_for_thread, begin, token, handed)
        return handed.result()

    def ask_now(self, begin: Callable[[Engine], Any], *, may_wait: bool) -> Any:
        """Ask what the engine answers at once. While there is no engine, who may wait waits for one."""
        self._refuse_left_behind()
        engine = self._waiting
        if engine is not None and not self.lost.is_set():
            try:
                return begin(engine)
            except OwnerLost:
                if not may_wait:
                    raise
        if not may_wait:
            raise OwnerLost("the process that owned the store is gone, and the next one is not known yet: ask again")
        return self.blocking(begin)

    def _ask_for_thread(self, begin: Callable[[Engine], int], token: int | None, handed: Handed[Any]) -> None:
        try:
            waiter = self.ask(begin)
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


def _set(waiter: asyncio.Future[Any], *, ok: bool, value: Any) -> None:
    if waiter.done():  # whoever waited was cancelled
        return
    if ok:
        waiter.set_result(value)
    else:
        waiter.set_exception(value)
