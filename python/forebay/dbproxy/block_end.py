"""How the transaction of a block ended before the block did, and what its user is told of that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from forebay.dbproxy.driver import Result
from forebay.dbproxy.effect import ENDS
from forebay.dbproxy.losses import SEVERAL
from forebay.errors import DatabaseError, DBProxyError

if TYPE_CHECKING:
    from forebay.dbproxy.effect import Effect

# MySQL's and MariaDB's errors that roll the whole transaction back, where they end it: the victim of a deadlock, a wait for a
# lock (under innodb_rollback_on_timeout), too many locks, and a row changed since (under innodb_snapshot_isolation).
ROLLED_BACK = frozenset(("1213", "1205", "1206", "1020"))
# What begins with another word may have committed before it failed: DDL does before it waits for its lock, and a procedure may.
COMMITS_NOTHING = frozenset(
    (
        "select",
        "(select",
        "insert",
        "update",
        "delete",
        "replace",
        "with",
        "values",
        "table",
        "do",
        "commit",
        "rollback",
    )
)


@dataclass(frozen=True, slots=True)
class BlockEnd:
    """The end of a block's transaction that the block did not make.

    Attributes:
        how: what ended it, as a clause.
        is_undone: what ran in it is known to be rolled back.
        is_asked_for: a statement of the user's ended it, and did what it does: to leave the block after it is no mistake.
        says_so: it was a COMMIT or a ROLLBACK.

    """

    how: str
    is_undone: bool = False
    is_asked_for: bool = False
    says_so: bool = False

    def refusal(self) -> DBProxyError:
        """Refuse a statement that would run outside of a transaction."""
        return DBProxyError(
            f"the transaction of this `async with client.transaction()` is over: {self.how}. Nothing more runs in the block, "
            "for it would run outside of a transaction: leave it, and begin another one"
        )

    def note(self) -> str:
        """Say to whom an exception ends the block that there was nothing left to roll back."""
        return (
            f"the transaction of this `async with client.transaction()` was not rolled back: it was over before, {self.how}. "
            "What was committed then stays"
        )


UNDONE_BY_USER = BlockEnd("ROLLBACK ended it", is_undone=True, is_asked_for=True, says_so=True)
NEXT = BlockEnd("a statement in it ended it, and another one began")
NEXT_NOTE = (
    "a statement in this `async with client.transaction()` ended its transaction, and another one began, which was rolled back: "
    "what was committed before stays"
)
CONNECTION_LOST = BlockEnd("the connection was lost when it was to end")


def ended_by(digest: str, effect: Effect, result: Any, engine: str) -> BlockEnd:
    """Say which statement ended a transaction, and whether it is one that says so."""
    says_so = effect.transaction in ENDS
    refused = effect.transaction == "commit" and isinstance(result, Result) and result.status == "ROLLBACK"
    how = f"`{digest}` ended it"
    if refused:
        how += ": an earlier statement had failed, and the server rolled it back"
    elif not says_so and engine == "mysql":
        how += ": MySQL and MariaDB commit before and after DDL, and so do some other statements"
    is_undone = refused or effect.transaction == "rollback"
    return BlockEnd(how, is_undone=is_undone, is_asked_for=not refused, says_so=says_so and not refused)


def failed_with(digest: str, effect: Effect, error: Exception, engine: str) -> BlockEnd:
    """Say which statement failed and took its transaction with it, as the victim of a deadlock does.

    The error's text has the user's data in it, and this goes into the log: its number stands for it.
    """
    code = error.code if isinstance(error, DatabaseError) else None
    ends_it = effect.transaction == "commit" if engine == "postgresql" else code in ROLLED_BACK
    return BlockEnd(
        f"`{digest}` failed with {code or type(error).__name__}, and the server ended it",
        is_undone=ends_it and not may_have_committed(digest, effect, engine),
    )


def may_have_committed(digest: str, effect: Effect, engine: str) -> bool:
    """Tell whether a statement that failed, or was not waited for, may have committed what ran before it."""
    if effect.plain:
        return False
    if engine == "postgresql":  # of several statements one may be a COMMIT
        return SEVERAL in effect.pins
    return digest.partition(" ")[0].lower() not in COMMITS_NOTHING


def cut_short(digest: str) -> BlockEnd:
    """Say which statement was not waited for that may have committed."""
    return BlockEnd(
        f"`{digest}` did not end in time, or its connection was lost; it may have committed what ran before it"
    )
