"""Telling the log of what may happen thousands of times a second: at most one line a second, with the number left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from forebay._model.words import counted

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


@dataclass(slots=True)
class Sparing:
    """Says something now, or when it has been quiet for a second; of what came meanwhile the last one, and how many there were.

    That second is ended by the loop if there is one, or by whoever calls `tell`.
    """

    say: Callable[[Any, int], None]
    """Given the last of them, and how many others there were since it was called before."""
    loop: asyncio.AbstractEventLoop | None = None
    quiet_until_ns: int = 0
    untold: int = 0
    last: Any = None
    due: asyncio.TimerHandle | None = None

    def add(self, what: Any, now_ns: int, count: int = 1) -> None:
        """Tell of something, or of the last of so many, now or when it has been quiet for a second."""
        self.untold += count
        self.last = what
        if now_ns >= self.quiet_until_ns:
            self.quiet_until_ns = now_ns
            self.tell()
        elif self.due is None and self.loop is not None:
            self.due = self.loop.call_later((self.quiet_until_ns - now_ns) / 1e9, self.tell)

    def tell(self) -> None:
        """Tell of the last one, if the log does not know of it."""
        if self.due is not None:
            self.due.cancel()
            self.due = None
        if self.untold:
            self.say(self.last, self.untold - 1)
            self.last, self.untold = None, 0
            self.quiet_until_ns += 1_000_000_000


def more(count: int, noun: str = "") -> str:
    """Say how many others there were."""
    if not count:
        return ""
    others = counted(count, f"more {noun}") if noun else f"{count:,} more"
    return f" ({others} since the last line)"
