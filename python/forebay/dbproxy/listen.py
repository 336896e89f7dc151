"""Receives PostgreSQL's notifications: the channel's client keeps its connection for as long as it listens."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, cast

from forebay.errors import ClientClosed, ConnectionLost, DBProxyError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from forebay.dbproxy.borrower import Borrower
    from forebay.dbproxy.postgres import PostgresWire

UNREAD_MAX = 10_000


class Ear:
    """Notifications of one channel that nobody has read yet, and whether more can come."""

    __slots__ = ("changed", "lost", "missed", "notes")

    def __init__(self) -> None:
        self.notes: deque[str] = deque()
        self.changed = asyncio.Event()
        self.lost = False
        self.missed = False

    def hear(self, _connection: Any, _process: int, _channel: str, payload: str) -> None:
        """Take a notification in."""
        if len(self.notes) < UNREAD_MAX:
            self.notes.append(payload)
        else:
            self.missed = True
        self.changed.set()

    def lose(self, _connection: Any) -> None:
        """Take note that the connection is gone."""
        self.lost = True
        self.changed.set()


async def listen(borrower: Borrower, channel: str) -> AsyncGenerator[str, None]:
    """Give the payloads of a channel as they come; see ``Client.listen``."""
    quoted = '"' + channel.replace('"', '""') + '"'
    await borrower.run("execute", f"LISTEN {quoted}", (), None)
    db = borrower.held
    if db is None:
        raise ConnectionLost("the connection was lost while it began to listen")
    ear, wire = Ear(), cast("PostgresWire", db.wire)
    await wire.add_listener(channel, ear.hear, ear.lose)
    try:
        while True:
            while ear.notes:
                yield ear.notes.popleft()
            _raise_if_over(borrower, ear)
            borrower.busy = True  # so that it is not taken for idle
            try:
                await ear.changed.wait()
            finally:
                borrower.busy = False
            ear.changed.clear()
    finally:
        await _end(borrower, wire, channel, ear)
        if borrower.held is db and not ear.lost:
            await borrower.run("execute", f"UNLISTEN {quoted}", (), None)


def _raise_if_over(borrower: Borrower, ear: Ear) -> None:
    if ear.lost and borrower.closed_because:
        raise ClientClosed(f"client {borrower.number}: {borrower.closed_because}")
    if ear.lost:
        raise ConnectionLost("the connection was lost while it listened: notifications may have been missed")
    if ear.missed:
        raise DBProxyError(f"more than {UNREAD_MAX} notifications were waiting to be read: later ones were dropped")


async def _end(borrower: Borrower, wire: PostgresWire, channel: str, ear: Ear) -> None:
    if not ear.lost and not borrower.closed_because:
        await wire.remove_listener(channel, ear.hear, ear.lose)
