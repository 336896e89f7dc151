"""A clock that stands still until a test moves it: everything due happens in order, handlers included."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import time
from typing import TYPE_CHECKING, Final

from forebay._model import checks
from forebay._model.plural import plain
from forebay.clock import Moment, Parked
from forebay.errors import ClockStalled, ForebayError, InvalidParameterValue
from forebay.testing import task_state
from forebay.testing.task_state import State
from forebay.testing.task_tree import TaskTree

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from forebay._model.checks import Seconds
from forebay.clock import Attempt, Driven

START: Final = 1_577_836_800  # 2020-01-01T00:00:00Z
LOOK_SECONDS_MIN: Final = 0.0002
LOOK_SECONDS_MAX: Final = 0.005
PASSES_MAX: Final = 1000
QUIET_PASSES: Final = 3
NAMED_MAX: Final = 5
STEPS_MAX: Final = 1000
NOW: Final = -1
SECONDS_MAX: Final = 100 * 366 * 86_400


class VirtualClock:
    """A clock that stands still until a test moves it.

    Args:
        start: the first wall time: seconds since 1970 or a `datetime` with a time zone; None: 2020-01-01T00:00:00Z.
        seed: seed of the random numbers, for example of the jitter of retries. The same seed gives the same run.
        stall: real seconds that `advance` waits for handlers that neither end nor wait on forebay.

    """

    def __init__(self, *, start: float | datetime | None = None, seed: int = 0, stall: float = 10.0) -> None:
        begin = START if start is None else checks.timestamp("start", start)
        self._stall = checks.seconds("stall", stall, low=0.01, high=86_400)
        self._mono_ns = 0
        self._wall_ns = round(begin * 1_000_000_000)
        self._chance = random.Random(seed)  # noqa: S311  repeatable on purpose
        self._apps: list[Driven] = []
        self._task_tree: TaskTree | None = None
        self._sleepers: list[tuple[int, int, Parked]] = []
        self._order = itertools.count()
        self._moving = False

    def __repr__(self) -> str:
        return f"<VirtualClock {self.time():.3f}>"

    # --- what it shows

    def time(self) -> float:
        """Return the wall time in seconds since 1970."""
        return (self._wall_ns + self._mono_ns) / 1_000_000_000

    def monotonic(self) -> float:
        """Return the seconds by which the clock was advanced."""
        return self._mono_ns / 1_000_000_000

    def monotonic_ns(self) -> int:
        """Return `monotonic` in nanoseconds."""
        return self._mono_ns

    def moment(self) -> Moment:
        """Return the present moment for the engine."""
        wall_ms = (self._wall_ns + self._mono_ns) // 1_000_000
        return Moment(self._mono_ns, wall_ms, self._chance.getrandbits(64))

    # --- what a test does with it

    async def advance(self, seconds: Seconds) -> None:
        """Advance the clock. Everything that is due in this time happens, in order, before the call returns.

        When something is due, the clock stands still until every started handler has ended or waits on forebay.

        Args:
            seconds: 0 or more, or a `timedelta`.

        Raises:
            ClockStalled: a handler neither ended nor waited on forebay for `stall` real seconds.

        """
        span = checks.seconds("seconds", seconds, low=0, high=SECONDS_MAX)
        await self._move(self._mono_ns + round(span * 1_000_000_000), lambda: False)

    async def settle(self) -> None:
        """Let everything happen that is due now, without advancing the clock."""
        await self.advance(0)

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock was advanced by this many seconds. Handlers under test call it."""
        span = checks.seconds("seconds", seconds, low=0, high=SECONDS_MAX)
        waiter = Parked(loop=asyncio.get_running_loop())
        due = self._mono_ns + round(span * 1_000_000_000)
        heapq.heappush(self._sleepers, (due, next(self._order), waiter))
        await waiter

    def jump_wall(self, seconds: float) -> None:
        """Change the wall time alone, as an administrator does who sets the machine's clock.

        Args:
            seconds: the change; negative values set the clock back. Wall time stays after 1970.

        """
        span = checks.seconds("seconds", seconds, low=-SECONDS_MAX, high=SECONDS_MAX)
        wall_ns = self._wall_ns + round(span * 1_000_000_000)
        if wall_ns + self._mono_ns < 0:
            raise InvalidParameterValue(f"seconds={seconds!r}: wall time would be before 1970")
        self._wall_ns = wall_ns

    # --- what an app does with it

    def drive(self, app: Driven, loop: asyncio.AbstractEventLoop) -> None:
        """Drive this app from now on. The app calls it when it starts."""
        if self._task_tree is None:
            self._task_tree = TaskTree(loop)
            self._task_tree.install()
        self._apps.append(app)

    def release(self, app: Driven) -> None:
        """Stop driving this app. The app calls it when it stops."""
        if app in self._apps:
            self._apps.remove(app)
        if not self._apps and self._task_tree is not None:
            self._task_tree.remove()
            self._task_tree = None

    async def run_until(self, done: Callable[[], bool], within: float) -> bool:
        """Advance until `done` returns True, for at most `within` seconds. Return whether it did."""
        await self._move(self._mono_ns + round(within * 1_000_000_000), done)
        return done()

    # --- how it moves

    async def _move(self, target_ns: int, done: Callable[[], bool]) -> None:
        if self._moving or self._called_by_handler():
            raise ForebayError(
                "the clock is already being moved: a handler waits with `await clock.sleep(...)` instead"
            )
        self._moving = True
        try:
            due, steps = await self._settle(), 0
            while not done():
                steps += 1
                if steps % STEPS_MAX == 0:
                    await asyncio.sleep(0)
                arrived = due is None or due > target_ns
                self._mono_ns = max(self._mono_ns, target_ns if due is None else min(due, target_ns))
                due = self._turn_alone()
                if due is NOW:
                    due = await self._settle()
                if arrived:
                    return
        finally:
            self._moving = False

    async def _settle(self) -> int | None:
        """Let everything happen that is due now; give the next moment at which something is."""
        stalls_at, known, look = time.monotonic() + self._stall, -1, LOOK_SECONDS_MIN
        while True:
            self._wake()
            await _let_pass()
            attempts = self._attempts()
            at_work = self._at_work(attempts)
            if not at_work:
                due = self._turn()
                if due is not NOW:
                    return due
                continue
            if len(attempts) != known:
                stalls_at, known, look = time.monotonic() + self._stall, len(attempts), LOOK_SECONDS_MIN
            if time.monotonic() > stalls_at:
                raise ClockStalled(self._complaint(at_work))
            await asyncio.sleep(look)
            look = min(2 * look, LOOK_SECONDS_MAX)

    def _turn_alone(self) -> int | None:
        """Turn where no handler and no test waits, as in a long simulated night: nothing needs to pass through the loop."""
        if self._wake() or self._attempts():
            return NOW
        return self._turn()

    def _wake(self) -> bool:
        """Wake those whose time has come; tell whether there were any."""
        woken = False
        while self._sleepers and (self._sleepers[0][0] <= self._mono_ns or self._sleepers[0][2].done()):
            waiter = heapq.heappop(self._sleepers)[2]
            if not waiter.done():
                waiter.set_result(None)
                woken = True
        return woken

    def _turn(self) -> int | None:
        """Turn every app; give the next moment at which something is due, or NOW if something moved."""
        dues = [due for app in self._apps if (due := app.turn()) is not None]
        if self._sleepers:
            dues.append(self._sleepers[0][0])
        if any(app.unsettled() for app in self._apps):
            return NOW
        return max(min(dues), self._mono_ns + 1) if dues else None

    def _attempts(self) -> list[Attempt]:
        return [attempt for app in self._apps for attempt in app.attempts()]

    def _at_work(self, attempts: list[Attempt]) -> list[Attempt]:
        states = [self._states(attempt) for attempt in attempts]
        # A handler that waits for a lock or the like is woken by another one: it is let be while one of them waits on forebay.
        parked = any(State.PARKED in each for each in states)
        most = State.PASSIVE if parked else State.PARKED
        return [
            attempt for attempt, each in zip(attempts, states, strict=True) if max(each, default=State.ENDED) > most
        ]

    def _states(self, attempt: Attempt) -> list[State]:
        if attempt.task is None or self._task_tree is None:
            return [State.PARKED if attempt.parked else State.AT_WORK]
        return [task_state.state_of(task) for task in self._task_tree.of(attempt.task)]

    def _called_by_handler(self) -> bool:
        current, task_tree = asyncio.current_task(), self._task_tree
        tasks = [attempt.task for attempt in self._attempts() if attempt.task is not None]
        return task_tree is not None and any(current is mine for task in tasks for mine in task_tree.of(task))

    def _complaint(self, at_work: list[Attempt]) -> str:
        names = [
            f"function {attempt.function!r}, request {attempt.request_id}" + task_state.place(attempt.task)
            for attempt in at_work[:NAMED_MAX]
        ]
        more = f" and {len(at_work) - NAMED_MAX} more" if len(at_work) > NAMED_MAX else ""
        return f"neither ended nor waited on forebay for {plain(self._stall)} real seconds: {'; '.join(names)}{more}"


async def _let_pass() -> None:
    """Let every task run until all of them wait."""
    current, still = asyncio.current_task(), 0
    for _ in range(PASSES_MAX):
        await asyncio.sleep(0)
        running = any(task_state.ready(task) for task in asyncio.all_tasks() if task is not current)
        # A task may be woken by callbacks that take a pass or two: one quiet pass says nothing yet.
        still = 0 if running else still + 1
        if still == QUIET_PASSES:
            return
