"""The queue of clients that wait to borrow a DB connection: first come, first served.

A connection that comes back goes straight to the oldest waiter; nobody can overtake. One timer serves the whole queue.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from forebay.dbproxy.connection import DBConnection

    Waiter = tuple[asyncio.Future[DBConnection], float, float]  # what it waits on, since when, and until when

_COMPACT_ABOVE = 64
NEVER = float("inf")
TOLD_SECONDS = (
    0.5  # so much longer is waited for a connection than it may take: that it failed is told before, with its reason
)


class BorrowQueue:
    """Waiters and idle connections of one role (writer or reader). Never both at once."""

    __slots__ = (
        "_connect_timeout",
        "_due",
        "_loop",
        "_on_leave",
        "_on_timeout",
        "_on_wait",
        "_refuse",
        "_timeout",
        "_timer",
        "_uniform",
        "idle",
        "newest_first",
        "role",
        "waiters",
        "waiting",
    )

    def __init__(
        self,
        role: str,
        *,
        timeout: float,
        connect_timeout: float,
        on_wait: Callable[[BorrowQueue], bool],
        on_leave: Callable[[BorrowQueue], None],
        refuse: Callable[[BorrowQueue, float], Exception],
    ) -> None:
        self.role = role
        self.idle: dict[DBConnection, None] = {}
        self.waiters: deque[Waiter] = deque()
        self.waiting = 0
        self.newest_first = True
        self._timeout = timeout
        self._connect_timeout = connect_timeout + TOLD_SECONDS
        self._on_wait = on_wait
        self._on_leave = on_leave
        self._refuse = refuse
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due = NEVER
        self._uniform = True  # whoever came first has the first deadline

    def set_timeouts(self, timeout: float, connect_timeout: float) -> None:
        """Change how long clients wait, from the next one on."""
        self._timeout, self._connect_timeout = timeout, connect_timeout + TOLD_SECONDS
        self._uniform = False  # those who wait already have other deadlines

    def take(self, last: DBConnection | None) -> DBConnection | None:
        """Take an idle connection, the client's last one if it is free; None when there is none."""
        idle = self.idle
        while idle:
            if last in idle:
                db = last
                del idle[last]
            elif self.newest_first:
                db = idle.popitem()[0]
            else:
                db = next(iter(idle))
                del idle[db]
            if db.is_usable():
                return db
            db.pool.discard(db)
        return None

    async def wait(self) -> DBConnection:
        """Wait until a connection is handed over.

        Raises:
            BorrowTimeout: none came within the borrow timeout.
            DatabaseUnavailable: no server could be reached at all in that time.

        """
        now = self._loop.time()
        future: asyncio.Future[DBConnection] = self._loop.create_future()
        self.waiting += 1
        deadline = now + self._timeout
        if self._on_wait(self):  # a connection is being opened for it: that is no wait for others
            deadline = now + max(self._timeout, self._connect_timeout)
        self.waiters.append((future, now, deadline))
        if deadline < self._due:
            self._arm(deadline)
        try:
            return await future
        except asyncio.CancelledError:
            if future.cancelled():
                self.waiting -= 1
                self._compact()
                self._on_leave(self)
            elif future.exception() is None:  # it was handed over in the same breath
                handed = future.result()
                handed.pool.give_back(handed)
            raise

    def hand_over(self, db: DBConnection) -> bool:
        """Give a connection to the oldest waiter; False when nobody waits."""
        waiters = self.waiters
        while waiters:
            future = waiters.popleft()[0]
            if not future.done():
                self.waiting -= 1
                future.set_result(db)
                return True
        return False

    def fail(self, error: Exception) -> None:
        """Refuse everybody: waiting longer cannot help."""
        waiters, self.waiters = self.waiters, deque()
        for future, _, _ in waiters:
            if not future.done():
                self.waiting -= 1
                future.set_exception(_again(error))
        self._on_leave(self)

    def _arm(self, deadline: float) -> None:
        """Set the timer for the first deadline."""
        if self._timer is not None:
            self._timer.cancel()
        self._due = deadline
        self._timer = self._loop.call_at(deadline, self._expire)

    def nothing_comes(self, but: int = 0) -> None:
        """Take back the longer wait of those for whom a connection was being opened: it could not be.

        Args:
            but: so many are still being opened, for those who have waited longest.

        """
        if self._timeout >= self._connect_timeout or not self.waiters:
            return
        waiters, self.waiters = self.waiters, deque()
        for future, since, until in waiters:
            self.waiters.append((future, since, until if but > 0 else min(until, since + self._timeout)))
            but -= not future.done()
        self._arm(min(deadline for _, _, deadline in self.waiters))

    def _expire(self) -> None:
        """Refuse those whose time is up. All wait equally long, so the first that may stay ends the search."""
        self._timer, self._due = None, NEVER
        now = self._loop.time()
        stay: list[Waiter] = []
        uniform = self._uniform and self._timeout >= self._connect_timeout
        while self.waiters and not (stay and uniform):
            waiter = future, since, deadline = self.waiters.popleft()
            if future.done():
                continue
            if deadline <= now:
                self.waiting -= 1
                future.set_exception(self._refuse(self, now - since))
            else:
                stay.append(waiter)
        self.waiters.extendleft(reversed(stay))
        self._on_leave(self)
        if stay:
            self._arm(min(deadline for _, _, deadline in stay))

    def _compact(self) -> None:
        """Forget waiters that were cancelled, once they are most of the queue."""
        if len(self.waiters) > 2 * self.waiting + _COMPACT_ABOVE:
            self.waiters = deque(waiter for waiter in self.waiters if not waiter[0].done())

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._due = None, NEVER


def _again(error: Exception) -> Exception:
    """Copy an error, so that each waiter has a traceback of its own."""
    copy = type(error)(*error.args)
    copy.__dict__.update(error.__dict__)
    copy.__cause__ = error.__cause__
    return copy
