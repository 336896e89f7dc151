"""The app's one clock. It never starts anything by itself."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@runtime_checkable
class Clock(Protocol):
    """What forebay asks of a clock."""

    def time(self) -> float:
        """Give the wall time in seconds since 1970."""

    def monotonic(self) -> float:
        """Give seconds that never go back; only differences mean anything."""

    async def sleep(self, seconds: float) -> None:
        """Wait for so many seconds of this clock."""


class SystemClock:
    """The machine's own clock."""

    __slots__ = ()

    def time(self) -> float:
        """Give the wall time in seconds since 1970."""
        return time.time()

    def monotonic(self) -> float:
        """Give seconds that never go back; only differences mean anything."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait for so many real seconds."""
        await asyncio.sleep(seconds)


class Moment(NamedTuple):
    """One moment of a manual clock, as the engine takes it."""

    mono_ns: int
    wall_ms: int
    entropy: int


class Parked(asyncio.Future[Any]):
    """A wait on forebay itself: a manual clock may move on while a handler stands in it."""


class Attempt(NamedTuple):
    """One attempt that was started and has not ended, as a manual clock sees it."""

    function: str
    request_id: str
    task: asyncio.Task[None] | None
    parked: bool
    """For a thread, which has no task: it waits on forebay."""

    def __str__(self) -> str:
        """Name it for a log."""
        return f"{self.function} ({self.request_id})"


class Driven(Protocol):
    """An app, as the manual clock that moves it sees it."""

    def turn(self) -> int | None:
        """Do what is due now and start what may start; give the next deadline (monotonic ns) if there is one."""

    def unsettled(self) -> bool:
        """Tell whether another turn at the same moment would move something on."""

    def attempts(self) -> Iterable[Attempt]:
        """Give everything that was started and has not ended."""


@runtime_checkable
class ManualClock(Clock, Protocol):
    """A clock that is moved by hand and turns the apps that follow it."""

    def monotonic_ns(self) -> int:
        """Give `monotonic` in whole nanoseconds."""

    def moment(self) -> Moment:
        """Give the present moment."""

    def drive(self, app: Driven, loop: asyncio.AbstractEventLoop) -> None:
        """Turn this app from now on."""

    def release(self, app: Driven) -> None:
        """Turn it no more."""

    async def run_until(self, done: Callable[[], bool], within: float) -> bool:
        """Move on until `done` says yes, at most so many seconds; tell whether it did."""
