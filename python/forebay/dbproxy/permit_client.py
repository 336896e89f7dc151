"""A process's side of a proxy's permits: its pools ask here before they open a connection."""

from __future__ import annotations

import asyncio
import socket
from typing import Protocol

from forebay.dbproxy.permit_channel import PermitChannel
from forebay.dbproxy.permits import Ask, Tell
from forebay.errors import DatabaseUnavailable


class Lender(Protocol):
    """A pool, as its permits see it."""

    leaving: int
    """Connections that are being closed."""

    def must_wait(self) -> None:
        """Take note that a permit comes only when another process gives one back."""

    def refused(self) -> None:
        """Take note that none is free for one that does not wait."""

    def close_idle(self) -> bool:
        """Close an idle connection, if there is one."""


class PermitClient:
    """A process's connection to the permits.

    Args:
        sock: the connection.
        passes_sockets: whoever has the permits is another process, and sees to our connections when this one dies.

    """

    def __init__(self, sock: socket.socket, *, passes_sockets: bool) -> None:
        self.passes_sockets = passes_sockets
        self.servers: list[ServerPermits] = []
        self.is_gone = False
        self._channel = PermitChannel(sock, self._heard, self._ended)
        self._numbers = 0

    def of(self, lender: Lender) -> ServerPermits:
        """Give the permits of the proxy's next server."""
        permits = ServerPermits(self, len(self.servers), lender)
        self.servers.append(permits)
        return permits

    def next_number(self) -> int:
        """Give a request its number."""
        self._numbers = self._numbers % 0xFFFF_FFFF + 1
        return self._numbers

    def send(self, kind: Ask, server: int, number: int, passed: socket.socket | None = None) -> None:
        """Tell whoever has the permits."""
        self._channel.send(kind, server, number, passed)

    def cancel(self, server: int, number: int) -> None:
        """Do not ask for that permit any more."""
        if not self._channel.unsend(Ask.TAKE, server, number):
            self.send(Ask.CANCEL, server, number)

    def _heard(self, kind: int, server: int, number: int, _passed: int | None) -> None:
        self.servers[server].told(Tell(kind), number)

    def _ended(self) -> None:
        self.is_gone = True
        for permits in self.servers:
            permits.ended()

    def close(self) -> None:
        """Hang up."""
        self._channel.close()
        self._ended()


class ServerPermits:
    """The permits of one server, as one pool asks for them.

    Attributes:
        owed: so many of them other processes wait for. Whatever is given back counts.

    """

    def __init__(self, client: PermitClient, server: int, lender: Lender) -> None:
        self._client = client
        self._server = server
        self._lender = lender
        self._asked: dict[int, asyncio.Future[int | None]] = {}
        self.owed = 0

    @property
    def asked(self) -> int:
        """So many permits it waits for."""
        return len(self._asked)

    async def take(self, *, waits: bool) -> int | None:
        """Wait for a permit; None where there is none free and this does not wait, or where it was cancelled.

        Raises:
            DatabaseUnavailable: whoever has the permits is gone.

        """
        if self._client.is_gone:
            raise _gone()
        number = self._client.next_number()
        future: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._asked[number] = future
        self._client.send(Ask.TAKE if waits else Ask.TRY, self._server, number)
        try:
            return await future
        except asyncio.CancelledError:
            if self._asked.pop(number, None) is not None:
                self._client.cancel(self._server, number)
            elif future.done() and not future.cancelled() and future.result() is not None:
                self.free(number)
            raise

    def cancel_last(self) -> None:
        """Do not wait for the permit that was asked for last."""
        number, future = self._asked.popitem()
        self._client.cancel(self._server, number)
        if not future.done():
            future.set_result(None)

    def hold(self) -> int:
        """Give a connection that was opened before there were permits its own."""
        number = self._client.next_number()
        self._client.send(Ask.HOLD, self._server, number)
        return number

    def opened(self, number: int, sock: socket.socket) -> None:
        """Tell of the connection that a permit is used for."""
        if self._client.passes_sockets:
            self._client.send(Ask.OPENED, self._server, number, sock)

    def free(self, number: int) -> None:
        """Give a permit back."""
        self.owed = max(0, self.owed - 1)
        self._client.send(Ask.FREE, self._server, number)

    def limit(self, maximum: int) -> None:
        """Tell how many connections the server allows."""
        self._client.send(Ask.LIMIT, self._server, maximum)

    def told(self, kind: Tell, number: int) -> None:
        """Do as the permits' owner says."""
        if kind is Tell.GIVE:
            self.owed += 1
            if self.owed > self._lender.leaving and not self._lender.close_idle():
                self._client.send(Ask.BUSY, self._server, 0)
        elif kind is Tell.KEEP:
            self.owed = max(0, self.owed - 1)
        elif kind is Tell.LATER:
            self._lender.must_wait()
        else:
            self._answered(number, granted=kind is Tell.GRANTED)

    def _answered(self, number: int, *, granted: bool) -> None:
        future = self._asked.pop(number, None)
        if future is None or future.done():  # it was cancelled while this was on its way
            if granted:
                self.free(number)
            return
        future.set_result(number if granted else None)
        if not granted:
            self._lender.refused()

    def ended(self) -> None:
        """Refuse everybody: no permit comes any more."""
        asked, self._asked = self._asked, {}
        for future in asked.values():
            if not future.done():
                future.set_exception(_gone())


def connected(address: str) -> socket.socket:
    """Connect to the permits of the app's proxy.

    Raises:
        DatabaseUnavailable: nobody has them any more.

    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect(address)
    except OSError as error:
        sock.close()
        raise _gone() from error
    return sock


def _gone() -> DatabaseUnavailable:
    return DatabaseUnavailable(
        "the process that owns the app's proxy is gone, or has stopped: it has the permits for connections"
    )
