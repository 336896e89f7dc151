"""What one statement does to the session it runs in: the verdict of ``_core.StatementJudge``."""

from __future__ import annotations

from dataclasses import dataclass, field

ENDS = frozenset(("commit", "rollback"))
UNKNOWN = (("*", ""),)


@dataclass(frozen=True, slots=True)
class Effect:
    """The verdict on one text.

    Attributes:
        pins: causes that tie the client to its connection, as ``kind:name``; no part of a literal is in them.
        unpins: causes that this text may end (``kind:name``), or whole kinds (``kind:``).
        locks: named locks that it may free, as cause and name; the server is asked for each.
        fixes: kinds whose causes do not end any more before the client is closed.
        sets: settings as ``(key, assignment)``; the assignment is what is replayed on another connection.
        unsets: settings that go back to their default; ``*`` means all.
        local: settings that end with the transaction, as ``sets``; ``UNKNOWN`` when it cannot be told what they are.
        transaction: ``begin``, ``commit``, ``rollback``, ``rollback to`` or empty.
        chains: the end of a transaction begins the next one (``AND CHAIN``).
        reads_session: the text asks for something the session remembers (``LAST_INSERT_ID()``, ``lastval()``).
        repeatable: a pure read: running it twice is the same as running it once.
        must_close: no reset is known to undo it: the connection is closed instead.
        changes_schema: names may mean something else from now on.
        needs: names that the server's catalogue must be asked for first; until then the rest is the worst that can be.
        uses_sequence: it takes a value of a sequence of MariaDB, which the session goes on to tell until it is reset.
        writes_session: it may leave a key or a sequence's value that the session remembers and the server's answer does not tell.
        dirty: why the connection must be reset before another client gets it; empty when it need not.
        keeps: the client keeps its connection after it; not told while there are needs.
        plain: nothing of the above: the hot path has nothing to do.

    """

    pins: tuple[str, ...] = ()
    unpins: tuple[str, ...] = ()
    locks: tuple[tuple[str, str], ...] = ()
    fixes: tuple[str, ...] = ()
    sets: tuple[tuple[str, str], ...] = ()
    unsets: tuple[str, ...] = ()
    local: tuple[tuple[str, str], ...] = ()
    transaction: str = ""
    chains: bool = False
    reads_session: bool = False
    repeatable: bool = False
    must_close: bool = False
    changes_schema: bool = False
    needs: tuple[str, ...] = ()
    uses_sequence: bool = False
    writes_session: bool = True
    dirty: str = field(init=False, default="")
    keeps: bool = field(init=False, default=False)
    plain: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        reason = self.pins[0] if self.pins else ("a setting was taken back" if self.unsets else "")
        object.__setattr__(self, "dirty", reason or ("it is closed" if self.must_close else ""))
        object.__setattr__(
            self, "keeps", not self.needs and (self.transaction == "begin" or self.chains or bool(self.pins))
        )
        special = (
            self.dirty
            or self.unpins
            or self.locks
            or self.fixes
            or self.sets
            or self.local
            or self.transaction
            or self.reads_session
            or self.changes_schema
            or self.uses_sequence
        )
        object.__setattr__(self, "plain", not special)


PLAIN = Effect()
BEGINS = Effect(transaction="begin")
OLD_NAMES = Effect(pins=("statement:its transaction sees names as they were",), must_close=True, reads_session=True)
UNJUDGED = Effect(
    pins=("statement:the catalogue cannot be read",), must_close=True, reads_session=True, changes_schema=True
)
