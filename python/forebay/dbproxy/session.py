"""What a client's session is made of: settings that travel with it, causes that pin it, and transactions that undo both.

Pure: effects in, state out; no connection, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from forebay.dbproxy.effect import ENDS, UNKNOWN

if TYPE_CHECKING:
    from forebay.dbproxy.effect import Effect

Tracked = Mapping[str, str]
Meaning = tuple[bool | tuple[str, str], ...]
DEFAULTS: Tracked = MappingProxyType({})
UNCHANGED: Meaning = (True,)
PINS_MAX = 1000
MORE_PINS = "statement:more causes than are kept"
AUTOCOMMITS = frozenset(("1", "on", "true"))
TRIED = "advisory lock:"  # it may not have been got
HIDDEN = "transaction:begun with autocommit off"


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


class Session:
    """A client's session state. ``tracked`` is never changed in place, so it may be compared by identity first."""

    __slots__ = ("_before", "pins", "tracked")

    def __init__(self, tracked: Tracked = DEFAULTS) -> None:
        self.tracked = tracked
        self.pins: dict[str, Pin] = {}
        self._before: Tracked | None = None  # the settings with which the transaction began that is open

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
        new = [cause for cause in causes if cause not in self.pins]
        if len(self.pins) + len(new) > PINS_MAX:  # what is not kept is never seen to end
            new = [] if MORE_PINS in self.pins else [MORE_PINS]
        made = [Pin(cause, digest, now) for cause in new]
        for pin in made:
            self.pins[pin.cause] = pin
        return made

    def unpin(self, causes: tuple[str, ...], *, but: tuple[str, ...] = ()) -> None:
        """Drop causes; one that ends in a colon stands for its whole kind.

        Args:
            causes: what has ended.
            but: what the same text has begun: which of the two came last is not told.

        """
        for cause in causes:
            known = [pin for pin in self.pins if pin.startswith(cause)] if cause.endswith(":") else [cause]
            for pin in known:
                if pin not in but:
                    self.pins.pop(pin, None)

    def released(self, effect: Effect, *, is_postgres: bool, transaction_ended: bool) -> bool:
        """Drop the causes that a statement has ended; tell whether the server must be asked for those that are left."""
        if transaction_ended:
            self.unpin(("next transaction:",))
        if is_postgres:
            may_lack = TRIED in effect.pins
            asks = may_lack or bool(effect.unpins) or transaction_ended or effect.transaction in ENDS
            discards = "*" in effect.unsets and effect.must_close
            ended = tuple(cause for cause in effect.unpins if discards or cause.startswith("setting:"))
        else:
            ended, asks = effect.unpins, bool(effect.locks)
        self.unpin(ended, but=effect.pins)
        return asks and bool(self.pins)

    def fix(self, kinds: tuple[str, ...]) -> None:
        """Let causes of some kinds not end any more: they may have another name by now."""
        for kind in kinds:
            for cause in [cause for cause in self.pins if cause.startswith(kind)]:
                pin = self.pins.pop(cause)
                self.pins[f"{kind}{pin.cause.partition(':')[2]}, or what became of it"] = pin

    def follow(self, effect: Effect, *, is_open: bool, status: str) -> bool:
        """Undo settings as PostgreSQL does, when a transaction is rolled back.

        Args:
            effect: what the statement did that has just run.
            is_open: a transaction is open after it; the next one, if it was ``COMMIT AND CHAIN``.
            status: the server's word for what it did: a COMMIT may have been a ROLLBACK. Empty when it is not known.

        Returns:
            Whether settings may have been undone to a savepoint, so that nobody but the server knows them.

        """
        if effect.transaction in ENDS or not is_open:
            self.ended(committed=effect.transaction != "rollback" and status != "ROLLBACK")
        if not is_open:
            return False
        if self._before is None:
            self._before = self.tracked
        return effect.transaction == "rollback to" and self.tracked is not self._before

    def hidden_transaction(self, effect: Effect, *, is_open: bool) -> tuple[str, ...]:
        """Give the pin of a transaction that MySQL does not tell of, or end it.

        With autocommit off, `SAVEPOINT` begins one, and perhaps a write to a table without transactions. Neither is a pure read.
        """
        if effect.transaction in ENDS:
            self.pins.pop(HIDDEN, None)
        if not effect.plain or effect.repeatable or is_open:
            return ()
        return (HIDDEN,) if self.begins_by_itself() else ()

    def begins_by_itself(self) -> bool:
        """Tell whether autocommit is off, so that whatever runs outside of a transaction begins one."""
        if "autocommit" not in self.tracked:
            return False
        return self.tracked["autocommit"].partition("= ")[2].strip("'").lower() not in AUTOCOMMITS

    def ended(self, *, committed: bool) -> None:
        """Close the book on a transaction."""
        if self._before is not None and not committed:
            self.tracked = self._before
        self._before = None


def local_after(local: Tracked, effect: Effect, *, is_open: bool) -> Tracked:
    """Tell what settings are in force after a statement that end with the transaction; ``*`` is one that cannot be told."""
    if not is_open:
        return DEFAULTS
    state = {} if effect.transaction in ENDS else dict(local)
    made = effect.local
    if (state or made) and (effect.sets or effect.unsets or effect.transaction == "rollback to"):
        made += UNKNOWN  # one of them may have been undone, or set over
    for key, text in made:
        state.pop(key, None)
        state[key] = text
    return MappingProxyType(state) if state else DEFAULTS


def meaning(tracked: Tracked, local: Tracked, *, dirty: bool) -> Meaning:
    """Tell what else than its text a statement's meaning may hang on: a schema's path, a temporary table, a time zone.

    Args:
        tracked: the settings in force.
        local: those that end with the transaction.
        dirty: it was changed beyond them.

    Returns:
        Whether all of it is known, so that another session may have the same meaning; then the settings.

    """
    if not (dirty or local):
        return (True, *tracked.items()) if tracked else UNCHANGED
    beneath = [pair for pair in tracked.items() if pair[0] not in local]
    return (not dirty and "*" not in local, *beneath, *local.items())


def replay(have: Tracked, want: Tracked) -> list[tuple[str, str]] | None:
    """Tell what must be replayed to turn one state into another; None when only a reset can begin it."""
    if any(key not in want for key in have):
        return None
    keys = list(want)
    if keys[: len(have)] != list(have) and any(have.get(key) != want[key] for key in want):
        return None
    return [(key, text) for key, text in want.items() if have.get(key) != text]
