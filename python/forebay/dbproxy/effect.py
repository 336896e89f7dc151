"""What one statement does to the session it runs in; the verdict of ``mysql_effects`` and ``postgres_effects``.

Pure: text in, verdict out. Verdicts are cached by text, because programs repeat themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

CACHED_EFFECTS_MAX = 4096
CACHED_TEXT_LENGTH_MAX = 8192
ENDS = frozenset(("commit", "rollback"))
UNKNOWN = (("*", ""),)


@dataclass(frozen=True, slots=True)
class Effect:
    """The verdict on one text.

    Attributes:
        dirty: why the connection must be reset before another client gets it; empty when it need not.
        pins: causes that tie the client to its connection, as ``kind:name``.
        unpins: causes that this text ends (``kind:name``), or whole kinds (``kind:``).
        sets: tracked settings as ``(key, assignment)``; the assignment is what is replayed on another connection.
        unsets: tracked keys that go back to their default; ``*`` means all.
        transaction: ``begin``, ``commit``, ``rollback``, ``savepoint``, ``release``, ``rollback to`` or empty.
        chains: the end of a transaction begins the next one (``AND CHAIN``).
        savepoint: the savepoint's name.
        reads_session: the text asks for something the session remembers (``LAST_INSERT_ID()``, ``lastval()``).
        repeatable: a pure read: running it twice is the same as running it once.
        must_close: a reset cannot undo it (``LOAD``): the connection is closed instead.
        local: settings that end with the transaction, as ``sets``; ``UNKNOWN`` when it cannot be told what they are.
        plain: nothing of the above: the hot path has nothing to do.

    """

    dirty: str = ""
    pins: tuple[str, ...] = ()
    unpins: tuple[str, ...] = ()
    sets: tuple[tuple[str, str], ...] = ()
    unsets: tuple[str, ...] = ()
    transaction: str = ""
    chains: bool = False
    savepoint: str = ""
    reads_session: bool = False
    repeatable: bool = False
    must_close: bool = False
    local: tuple[tuple[str, str], ...] = ()
    plain: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        special = (
            self.dirty
            or self.pins
            or self.unpins
            or self.sets
            or self.unsets
            or self.transaction
            or self.reads_session
            or self.must_close
            or self.local
        )
        object.__setattr__(self, "plain", not special)


PLAIN = Effect()
READ = Effect(repeatable=True)


def union(effects: list[Effect]) -> Effect:
    """Join the verdicts of several statements (or readings) of one text."""
    if len(effects) == 1:
        return effects[0]
    if not effects:
        return PLAIN
    return Effect(
        dirty=next((e.dirty for e in effects if e.dirty), ""),
        pins=tuple(dict.fromkeys(p for e in effects for p in e.pins)),
        unpins=tuple(dict.fromkeys(p for e in effects for p in e.unpins)),
        sets=_left(effects),
        unsets=tuple(dict.fromkeys(k for e in effects for k in e.unsets)),
        transaction=next((e.transaction for e in effects if e.transaction), ""),
        chains=any(e.chains for e in effects),
        savepoint=next((e.savepoint for e in effects if e.savepoint), ""),
        reads_session=any(e.reads_session for e in effects),
        repeatable=all(e.repeatable for e in effects),
        must_close=any(e.must_close for e in effects),
        local=_latest(s for e in effects for s in e.local),
    )


def _left(effects: list[Effect]) -> tuple[tuple[str, str], ...]:
    """Give the settings that none of the statements after them has unset; what is both unset and set is set at the end."""
    sets: list[tuple[str, str]] = []
    for effect in effects:
        if effect.unsets:
            sets = [pair for pair in sets if "*" not in effect.unsets and pair[0] not in effect.unsets]
        sets.extend(effect.sets)
    return _latest(sets)


def _latest(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Give the last value of each setting, in the order of those."""
    last: dict[str, str] = {}
    for key, text in pairs:
        last.pop(key, None)
        last[key] = text
    return tuple(last.items())


class EffectCache(dict[str, Effect]):
    """Verdicts by text, bounded; the oldest half goes when it is full. ``cache[sql]`` judges what it does not know."""

    __slots__ = ("classify",)

    def __init__(self, classify: Callable[[str], Effect]) -> None:
        super().__init__()
        self.classify = classify

    def __missing__(self, sql: str) -> Effect:
        """Judge a text, and remember it unless it is long."""
        effect = self.classify(sql)
        if len(sql) <= CACHED_TEXT_LENGTH_MAX:
            if len(self) >= CACHED_EFFECTS_MAX:
                for old in list(self)[: CACHED_EFFECTS_MAX // 2]:
                    del self[old]
            self[sql] = effect
        return effect
