"""When a server that failed, or has no room, is asked for a connection again: the rules alone, without a clock."""

from __future__ import annotations

import math

from forebay.dbproxy.driver import ServerFull

PAUSE_SECONDS_FIRST = 0.05
PAUSE_SECONDS_MAX = 5.0


class Retry:
    """What one server's attempts say of the next one.

    Attempts that were under way together are one round. The first of them that fails counts; the others tell nothing new.

    Attributes:
        rounds: so many rounds have failed since ever. An attempt takes the number as it begins.
        failures: so many rounds have failed in a row.
        is_full: the newest of them ended since the server had no room.

    """

    def __init__(self) -> None:
        self.rounds = 0
        self.failures = 0
        self.is_full = False
        self._at_once = math.inf
        self._told: type[Exception] | None = None

    @property
    def at_once(self) -> float:
        """So many attempts may be under way: one while the server fails, then one more with each success if it was full."""
        return 1 if self.failures else self._at_once

    @property
    def pause(self) -> float:
        """So many seconds after a failure the next attempt begins."""
        return min(PAUSE_SECONDS_MAX, PAUSE_SECONDS_FIRST * 2.0 ** min(max(self.failures - 1, 0), 16))

    def failed(self, began: int, error: Exception) -> bool:
        """Take note of a failed attempt; tell whether it counts, as the first of its round."""
        is_full = isinstance(error, ServerFull)
        if is_full:
            self._at_once = 1
        if began != self.rounds:
            self.is_full |= is_full
            return False
        self.rounds += 1
        self.failures += 1
        self.is_full = is_full
        return True

    def succeeded(self, began: int) -> bool:
        """Take note of a connection; tell whether it ends the failures: not those since its attempt began."""
        if began != self.rounds:
            return False
        if not self.failures:
            self._at_once += 1
        self.failures, self.is_full = 0, False
        return True

    def forget(self) -> None:
        """Take the failures as past: nobody needs a connection now. Whether they are over is not known."""
        self.failures, self.is_full = 0, False

    def over(self) -> None:
        """Take note that the server has given all that was asked of it."""
        self._at_once, self._told = math.inf, None

    def is_news(self, error: Exception) -> bool:
        """Tell whether a failure is to be logged: the first of its kind, until the server has given all again."""
        told, self._told = self._told, type(error)
        return told is not self._told
