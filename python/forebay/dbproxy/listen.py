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


class ChannelListener:
    """Notifications of one channel that nobody has read yet, and whether more can come."""

    __slots__ = ("changed", "lost", "missed", "notes")

    def __init__(self) -> None:
        self.notes: deque[str] = deque()
        self.changed = asyncio.Event()
        self.lost = False
        self.missed = False

    def receive(self, _connection: Any, _process: int, _channel: str, payload: str) -> None:
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
    listener, wire = ChannelListener(), cast("PostgresWire", db.wire)
    await wire.add_listener(channel, listener.receive, listener.lose)
    try:
        while True:
            while listener.notes and borrower.held is db:
                yield listener.notes.popleft()
            listener.lost = listener.lost or borrower.held is not db  # others may have it, and hear
            _raise_if_over(borrower, listener)
            borrower.busy = True  # so that it is not taken for idle
            try:
                await listener.changed.wait()
            finally:
                borrower.busy = False
            listener.changed.clear()
    finally:
        is_last = wire.remove_listener(channel, listener.receive, listener.lose)
        if is_last and borrower.held is db and not (listener.lost or borrower.closed_because):
            await borrower.run("execute", f"UNLISTEN {quoted}", (), None)


def _raise_if_over(borrower: Borrower, listener: ChannelListener) -> None:
    if listener.lost and borrower.closed_because:
        raise ClientClosed(f"client {borrower.number}: {borrower.closed_because}")
    if listener.lost:
        raise ConnectionLost("the connection was lost while it listened: notifications may have been missed")
    if listener.missed:
        raise DBProxyError(f"more than {UNREAD_MAX} notifications were waiting to be read: later ones were dropped")
