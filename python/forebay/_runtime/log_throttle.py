"""Logs what may happen thousands of times a second: at most one line a second, which says how many it stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from forebay._model.plural import counted

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


@dataclass(slots=True)
class LogThrottle:
    """Writes something at once, or a second after the last line; of what came meanwhile the last one, and how many there were.

    The loop ends that second if there is one, else whoever calls `flush`.
    """

    write: Callable[[Any, int], None]
    """Takes the last of them, and how many others there were since the line before."""
    loop: asyncio.AbstractEventLoop | None = None
    quiet_until_ns: int = 0
    pending: int = 0
    last: Any = None
    due: asyncio.TimerHandle | None = None

    def add(self, what: Any, now_ns: int, count: int = 1) -> None:
        """Write something, or the last of so many, at once or when the second is over."""
        self.pending += count
        self.last = what
        if now_ns >= self.quiet_until_ns:
            self.quiet_until_ns = now_ns
            self.flush()
        elif self.due is None and self.loop is not None:
            self.due = self.loop.call_later((self.quiet_until_ns - now_ns) / 1e9, self.flush)

    def flush(self) -> None:
        """Write the last one, if it is not written yet."""
        if self.due is not None:
            self.due.cancel()
            self.due = None
        if self.pending:
            self.write(self.last, self.pending - 1)
            self.last, self.pending = None, 0
            self.quiet_until_ns += 1_000_000_000


def more(count: int, noun: str = "") -> str:
    """Say how many others there were."""
    if not count:
        return ""
    others = counted(count, f"more {noun}") if noun else f"{count:,} more"
    return f" ({others} since the last line)"
