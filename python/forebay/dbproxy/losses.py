"""What the loss of its connection means for a statement, and why one is refused, in the words that its user reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from forebay.dbproxy.effect import PLAIN
from forebay.errors import CommitUnknown, ConnectionLost, DBProxyError

if TYPE_CHECKING:
    from forebay.dbproxy.driver import Wire
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


def lost_before(because: str) -> ConnectionLost:
    """Refuse a statement in a transaction that was lost before.

    Args:
        because: what ended it; empty when it was the server or the network.

    """
    why = because or "its connection was lost"
    return ConnectionLost(f"this transaction was lost before its end ({why}): roll back, then begin again")


def refusal(client: int, *, is_at_home: bool, is_busy: bool, because: str) -> DBProxyError:
    """Refuse a statement for which a client is not free.

    Args:
        client: its number.
        is_at_home: the event loop that runs is the client's own.
        is_busy: it is in a statement; if not, it has lost its connection.
        because: what took its connection; empty when it was the server or the network.

    """
    if not is_at_home:
        return DBProxyError(f"client {client} belongs to another event loop: connect anew in this one")
    if not is_busy:
        return ConnectionLost(f"client {client}: its connection was lost{_in_brackets(because)}")
    return DBProxyError(
        f"client {client} is already in a statement, or its stream is still open: one task per client connection, "
        "clients are cheap; end a stream that you do not read to its end with `await rows.aclose()`"
    )


SEVERAL = "setting:several statements"
_FETCHES = frozenset(("fetch_all", "fetch_one", "fetch_value"))


def as_it_runs(verb: str, effect: Effect, engine: str) -> tuple[str, tuple[Any] | None]:
    """Give the wire's method by which a statement runs, and the answer that its user is given if it is not the method's own.

    Only ``execute`` tells whether a COMMIT of PostgreSQL was a ROLLBACK.
    """
    if engine != "postgresql" or effect.transaction != "commit" or effect.pins or verb not in _FETCHES:
        return verb, None
    return "execute", ([],) if verb == "fetch_all" else (None,)


def as_it_ran(effect: Effect, error: BaseException, wire: Wire, *, as_one: bool) -> Effect:
    """Tell what a refused text may have done: nothing, if it was sent as one statement and is refused for being several."""
    return PLAIN if as_one and SEVERAL in effect.pins and wire.refused_several(error) else effect


def _in_brackets(because: str) -> str:
    return f" ({because})" if because else ""
