"""The owner's side of a proxy's permits: processes of the app connect to it, and what they leave behind is waited for.

Its address is a socket in a temporary directory of its own, which only the same user may enter.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forebay.dbproxy.permit_channel import PermitChannel
from forebay.dbproxy.permits import Ask, Permits, Tell
from forebay.dbproxy.server_close import shut_down, wait_until_closed
from forebay.dbproxy.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Iterable

ANSWER_SECONDS_MAX: Final = 0.05
"""How long a process may take to say whether it can give a permit back, before another one is asked, too."""
UNSEEN_SECONDS: Final = 1.0
"""How long the permit of a connection that a process was opening when it died stays taken: the kernel closes it at once."""
LEFT_SECONDS_MAX: Final = 60.0
"""How long the server may run on with a connection whose process has died."""
_BACKLOG: Final = 512
_TEMPORARY_BYTES_MAX: Final = 64
"""Longest path of the system's temporary directory: with it, a socket's path has at most 104 bytes on macOS."""


class PermitServer:
    """Hands out the permits of each server of a proxy.

    Args:
        maximums: connections to each server.

    """

    def __init__(self, maximums: Iterable[int]) -> None:
        self._permits = [
            Permits[_Process](maximum, partial(self._tell, server)) for server, maximum in enumerate(maximums)
        ]
        self._tasks = Tasks()
        """They wait until servers have hung up on the dead."""
        self._processes: set[_Process] = set()
        self.joins = 0
        """Other processes that have joined so far."""
        self.joined = 0
        """Other processes that have joined and not left."""
        self._loop = asyncio.get_running_loop()
        self._directory = _private_directory()
        self.address = str(self._directory / "permits.sock")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.setblocking(False)
        self._listener.bind(self.address)
        self._listener.listen(_BACKLOG)
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def own(self) -> socket.socket:
        """Give this process's own connection."""
        ours, own = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._processes.add(_Process(ours, self))
        return own

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            sock, _ = self._listener.accept()
            self._processes.add(_Process(sock, self, is_other=True))
            self.joins += 1
            self.joined += 1

    def _tell(self, server: int, process: _Process, kind: Tell, number: int) -> None:
        if kind is Tell.GRANTED:
            process.connections[server, number] = None
        elif kind is Tell.GIVE:
            self._loop.call_later(ANSWER_SECONDS_MAX, self._permits[server].busy, process)
        undone = {Tell.GIVE: Tell.KEEP, Tell.KEEP: Tell.GIVE}.get(kind)
        if undone is None or not process.channel.unsend(undone, server, number):
            process.channel.send(kind, server, number)

    def heard(self, process: _Process, kind: int, server: int, number: int, passed: int | None) -> None:
        """Do as a process says. What makes no sense is not a message of ours: that process is let go."""
        connection = None if passed is None else socket.socket(fileno=passed)
        key = (server, number)
        if server >= len(self._permits) or (kind in {Ask.OPENED, Ask.FREE} and key not in process.connections):
            process.channel.close()
            self.left(process)
            return
        permits = self._permits[server]
        if kind in {Ask.TAKE, Ask.TRY}:
            permits.take(process, number, waits=kind == Ask.TAKE)
        elif kind == Ask.CANCEL:
            permits.cancel(process, number)
        elif kind == Ask.OPENED:
            process.connections[key] = connection
        elif kind == Ask.HOLD:
            process.connections[key] = None
            permits.hold(process)
        elif kind == Ask.FREE:
            known = process.connections.pop(key)
            if known is not None:
                known.close()
            permits.free(process)
        elif kind == Ask.BUSY:
            permits.busy(process)
        elif kind == Ask.LIMIT:
            permits.limit(number)

    def left(self, process: _Process) -> None:
        """Take back what a process had, as the server hangs up on each of its connections."""
        if process in self._processes:
            self._processes.discard(process)
            self.joined -= process.is_other
        for permits in self._permits:
            permits.leave(process)
        for (server, _), connection in process.connections.items():
            self._tasks.start(self._take_back(self._permits[server], connection))
        process.connections.clear()

    async def _take_back(self, permits: Permits[_Process], connection: socket.socket | None) -> None:
        if connection is None:
            await asyncio.sleep(UNSEEN_SECONDS)
        else:
            connection.setblocking(False)
            shut_down(connection)
            try:
                await wait_until_closed(connection, LEFT_SECONDS_MAX)
            finally:
                connection.close()
        permits.freed()

    def _stop_listening(self) -> None:
        self._loop.remove_reader(self._listener.fileno())
        self._listener.close()
        with contextlib.suppress(OSError):  # somebody has cleaned up
            Path(self.address).unlink(missing_ok=True)
            self._directory.rmdir()

    async def close(self) -> None:
        """Let everybody go."""
        self._stop_listening()
        for process in self._processes:
            process.channel.close()
            for connection in process.connections.values():
                if connection is not None:
                    connection.close()
        self._processes.clear()
        await self._tasks.finish(0)


class _Process:
    """A process and the connections that it has permits for, by server and number; None: one that it has not told of."""

    def __init__(self, sock: socket.socket, server: PermitServer, *, is_other: bool = False) -> None:
        self.is_other = is_other
        self.connections: dict[tuple[int, int], socket.socket | None] = {}
        self.channel = PermitChannel(sock, lambda *message: server.heard(self, *message), lambda: server.left(self))


def _private_directory() -> Path:
    within = tempfile.gettempdir()
    if len(os.fsencode(within)) > _TEMPORARY_BYTES_MAX:
        within = "/tmp"  # noqa: S108  only for a directory in it that nobody else may enter
    return Path(tempfile.mkdtemp(prefix="forebay-", dir=within))
