"""The app's one clock. It never starts anything by itself."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol, runtime_checkable


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


class Driven(Protocol):
    """An app, as a clock that is moved by hand sees it."""

    def turn(self, mono_ns: int, wall_ms: int, entropy: int) -> int | None:
        """Do what is due at this moment, start what may start; give the next deadline (monotonic ns) if there is one."""

    def unsettled(self) -> bool:
        """Tell whether something is left that another turn at the same moment would move on."""


@runtime_checkable
class ManualClock(Clock, Protocol):
    """A clock that is moved by hand and turns the apps that follow it."""

    def monotonic_ns(self) -> int:
        """Give `monotonic` in whole nanoseconds."""

    def drive(self, app: Driven) -> None:
        """Turn this app from now on."""

    def release(self, app: Driven) -> None:
        """Turn it no more."""
