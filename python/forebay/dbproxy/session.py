"""What a client's session is made of: settings that travel with it, causes that pin it, and transactions that undo both.

Pure: effects in, state out; no connection, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forebay.dbproxy.effect import Effect

Tracked = Mapping[str, str]
Meaning = tuple[bool | tuple[str, str], ...]
DEFAULTS: Tracked = MappingProxyType({})
UNCHANGED: Meaning = (False, False)
PINS_MAX = 1000
SAVEPOINTS_MAX = 1000


@dataclass(slots=True)
class Pin:
    """Why a client keeps its DB connection.

    Attributes:
        cause: ``kind:name``, such as ``temporary table:cart``.
        digest: the statement that did it, without its literals.
        since: loop time in seconds.

    """

    cause: str
    digest: str
    since: float


@dataclass(slots=True)
class Session:
    """A client's session state. ``tracked`` is never changed in place, so it may be compared by identity first."""

    tracked: Tracked = field(default_factory=lambda: DEFAULTS)
    pins: dict[str, Pin] = field(default_factory=dict)
    _before: list[tuple[str, Tracked]] = field(default_factory=list)

    def track(self, effect: Effect) -> None:
        """Take over the settings a successful statement made or unmade."""
        if "*" in effect.unsets:
            self.tracked = DEFAULTS
        if effect.unsets or effect.sets:
            state = {key: text for key, text in self.tracked.items() if key not in effect.unsets}
            for key, text in effect.sets:
                state.pop(key, None)  # the newest comes last, so that a replay has the same end
                state[key] = text
            self.tracked = MappingProxyType(state) if state else DEFAULTS

    def pin(self, causes: tuple[str, ...], digest: str, now: float) -> list[Pin]:
        """Add the causes of a statement; give the new ones."""
        new = [Pin(cause, digest, now) for cause in causes if cause not in self.pins]
        for pin in new[: PINS_MAX - len(self.pins)]:
            self.pins[pin.cause] = pin
        return new

    def unpin(self, causes: tuple[str, ...]) -> None:
        """Drop causes; one that ends in a colon stands for its whole kind."""
        for cause in causes:
            if cause.endswith(":"):
                for known in [pin for pin in self.pins if pin.startswith(cause)]:
                    del self.pins[known]
            else:
                self.pins.pop(cause, None)

    def began(self) -> None:
        """Remember the settings at the start of a transaction, for engines that undo SET on rollback."""
        if not self._before:
            self._before = [("", self.tracked)]

    def marked(self, savepoint: str) -> None:
        """Remember the settings at a savepoint."""
        if self._before and len(self._before) < SAVEPOINTS_MAX:
            self._before.append((savepoint, self.tracked))

    def rolled_back_to(self, savepoint: str) -> None:
        """Go back to the settings at a savepoint (at the start when it is unknown)."""
        for position in range(len(self._before) - 1, -1, -1):
            name, tracked = self._before[position]
            if name == savepoint or position == 0:
                self.tracked = tracked
                del self._before[position + 1 :]
                return

    def ended(self, *, committed: bool) -> None:
        """Close the book on a transaction."""
        if self._before and not committed:
            self.tracked = self._before[0][1]
        self._before = []


def meaning(tracked: Tracked, *, dirty: bool, local: bool) -> Meaning:
    """Tell what else than its text a statement's meaning may hang on: a schema's path, a temporary table, a time zone.

    Args:
        tracked: the settings in force.
        dirty: it was changed beyond them.
        local: a setting is in force that ends with the transaction.

    """
    return (dirty, local, *tracked.items()) if dirty or local or tracked else UNCHANGED


def is_shared(of: Meaning) -> bool:
    """Tell whether another session may have this meaning, too: everything in it is known."""
    return not (of[0] or of[1])


def replay(have: Tracked, want: Tracked) -> list[tuple[str, str]] | None:
    """Tell what must be replayed to turn one state into another; None when only a reset can begin it."""
    if any(key not in want for key in have):
        return None
    keys = list(want)
    if keys[: len(have)] != list(have) and any(have.get(key) != want[key] for key in want):
        return None
    return [(key, text) for key, text in want.items() if have.get(key) != text]
