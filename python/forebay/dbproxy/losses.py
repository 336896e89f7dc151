"""What the loss of its connection means for a statement, in the words that its user reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forebay.errors import CommitUnknown, ConnectionLost

if TYPE_CHECKING:
    from forebay.dbproxy.effect import Effect


def commit_unknown(reason: str) -> CommitUnknown:
    """Say that nobody knows what became of a COMMIT."""
    return CommitUnknown(f"{reason}: the transaction may or may not be in the database")


def loss_of(reason: Exception, effect: Effect, *, commits: bool, gone: str, because: str) -> Exception | None:
    """Say what the loss of its connection means for a statement; None when it may run again on another one.

    Args:
        reason: how the connection was lost.
        effect: what the statement does.
        commits: it is the COMMIT of a transaction.
        gone: what was lost with a connection that the client held; empty when it held none.
        because: why the proxy took it from the client; empty when the proxy did not.

    """
    if commits:
        return commit_unknown(f"the answer to COMMIT was lost ({reason})")
    if gone and because:
        return ConnectionLost(f"the transaction was ended and rolled back: {because}")
    if gone:
        return ConnectionLost(f"{reason}; the {gone} on it is gone")
    if not (effect.repeatable or effect.transaction == "begin" or effect.sets):
        return CommitUnknown(f"the answer to a write was lost ({reason}): look before you repeat it")
    return None
