"""What the proxy tells of clients that hold a connection: who is pinned, and how many there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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


def pinned_of(clients: Iterable[Holder], now: float) -> list[Pinned]:
    """List the pins of clients, by the time of their loop."""
    found: list[Pinned] = []
    for holder in clients:
        connection = holder.held.wire.server_id if holder.held is not None else 0
        for pin in holder.session.pins.values():
            reason, _, detail = pin.cause.partition(":")
            found.append(Pinned(holder.number, connection, reason, detail, pin.digest, now - pin.since))
    return found


@dataclass(frozen=True, slots=True)
class Holders:
    """Where the connections are that a client waits for.

    Attributes:
        pinned: pinned clients of this process.
        in_transaction: its clients in a transaction.
        connections: its connections, of all database users.
        has_other_processes: other processes of the app share the maximum.

    """

    pinned: int
    in_transaction: int
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
