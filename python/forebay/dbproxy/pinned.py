"""What the proxy tells of clients that hold a connection: who is pinned, and how many there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from forebay.dbproxy.statistics import now

if TYPE_CHECKING:
    from collections.abc import Iterable

    from forebay.dbproxy.holder import Holder


@dataclass(frozen=True, slots=True)
class Pinned:
    """A pinned client: who, why, for how long.

    Attributes:
        client: the client's number.
        connection: the server's own number of the DB connection (process or thread id).
        reason: ``temporary table``, ``lock``, ``user variable`` and so on.
        detail: its name, when it has one.
        digest: the statement that did it, without its literals.
        seconds: how long ago.

    """

    client: int
    connection: int
    reason: str
    detail: str
    digest: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Borrowed:
    """A client that has a database connection at this moment.

    Attributes:
        client: the client's number.
        connection: the server's own number of the DB connection (process or thread id).
        is_running: a statement runs on it.
        transaction_seconds: since when a transaction is open; None when none is.
        idle_seconds: since when no statement runs; 0 while one does.
        pins: what pins the client, as ``kind:name``.
        is_lent: it is lent to SQLAlchemy, which gives it back when its connection is closed.

    """

    client: int
    connection: int
    is_running: bool
    transaction_seconds: float | None
    idle_seconds: float
    pins: tuple[str, ...]
    is_lent: bool


def borrowed_of(clients: Iterable[tuple[Holder, bool]]) -> list[Borrowed]:
    """List who has a connection, the oldest transaction first; each client with the word whether its connection is lent on."""
    clock = now()
    found = [
        Borrowed(
            holder.number,
            db.wire.server_id,
            holder.busy,
            clock - holder.began if holder.is_open else None,
            0.0 if holder.busy else clock - holder.last_used,
            tuple(holder.session.pins),
            is_lent,
        )
        for holder, is_lent in clients
        if (db := holder.borrowed) is not None
    ]
    return sorted(found, key=lambda each: (each.transaction_seconds or 0.0, each.idle_seconds), reverse=True)


def pinned_of(clients: Iterable[Holder], loop_time: float) -> list[Pinned]:
    """List the pins of clients, by the time of their loop."""
    found: list[Pinned] = []
    for holder in clients:
        connection = holder.held.wire.server_id if holder.held is not None else 0
        for pin in holder.session.pins.values():
            reason, _, detail = pin.cause.partition(":")
            found.append(Pinned(holder.number, connection, reason, detail, pin.digest, loop_time - pin.since))
    return found


@dataclass(frozen=True, slots=True)
class Holders:
    """Where the connections are that a client waits for.

    Attributes:
        pinned: pinned clients of this process.
        in_transaction: its clients in a transaction.
        lent: connections that SQLAlchemy has.
        connections: its connections, of all database users.
        has_other_processes: other processes of the app share the maximum.

    """

    pinned: int
    in_transaction: int
    lent: int
    connections: int
    has_other_processes: bool

    def elsewhere(self, own: int) -> str:
        """Say where the connections are that are not a user's own in this process."""
        others = self.connections - own
        if not self.has_other_processes:
            return f" of this user and {others} of other users of the proxy"
        if others <= 0:
            return " in this process and the rest in others of the app"
        return (
            f" of this user and {others} of other users of the proxy in this process, and the rest in others of the app"
        )
