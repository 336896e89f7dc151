"""The messages between the process that owns the permits and one that wants some: over a socket, never waiting for it.

A message is a kind, the number of a server in the proxy's order, and a number of the sender's; a file descriptor may go with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_MESSAGE: Final = struct.Struct("<BHI")


class PermitChannel:
    """One end of a connection.

    Args:
        sock: a stream socket; it is closed with the channel.
        heard: called with kind, server, number, and the descriptor that came along, if one did: it is the callee's to close.
        ended: called once when the other end is gone.

    """

    def __init__(
        self, sock: socket.socket, heard: Callable[[int, int, int, int | None], None], ended: Callable[[], None]
    ) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._heard = heard
        self._ended = ended
        self._unsent: deque[tuple[bytes, socket.socket | None]] = deque()
        self._begun = 0
        """So many bytes of the first of those are sent."""
        self._part = b""
        self._passed: list[int] = []
        """What has come of a message, and with it."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock.fileno(), self._read)

    def send(self, kind: int, server: int, number: int, passed: socket.socket | None = None) -> None:
        """Send a message, behind those that the other end has had no room for yet."""
        if self._socket.fileno() < 0:
            return
        self._unsent.append((_MESSAGE.pack(kind, server, number), passed))
        if len(self._unsent) == 1:
            self._write()

    def unsend(self, kind: int, server: int, number: int) -> bool:
        """Take such a message back, if the other end has had no room for it yet.

        What is undone before it was told is not told at all: so no more waits for an end that does not read than holds of it.
        """
        message = _MESSAGE.pack(kind, server, number)
        for place, (unsent, _) in enumerate(self._unsent):
            if unsent == message and (place > 0 or self._begun == 0):
                del self._unsent[place]
                return True
        return False

    def _write(self) -> None:
        while self._unsent:
            message, passed = self._unsent[0]
            try:
                if (
                    self._begun or passed is None or passed.fileno() < 0
                ):  # closed meanwhile: nobody needs to see to its end
                    self._begun += self._socket.send(message[self._begun :])
                else:
                    self._begun = socket.send_fds(self._socket, [message], [passed.fileno()])
            except BlockingIOError:
                self._loop.add_writer(self._socket.fileno(), self._write)
                return
            except OSError:
                self._loop.call_soon(self._end)  # whoever sends may be in the middle of something
                return
            if self._begun == len(message):
                self._unsent.popleft()
                self._begun = 0
        self._loop.remove_writer(self._socket.fileno())

    def _read(self) -> None:
        while self._socket.fileno() >= 0:
            try:
                part, passed, _, _ = socket.recv_fds(self._socket, _MESSAGE.size - len(self._part), 1)
            except BlockingIOError:
                return
            except OSError:
                part, passed = b"", []
            self._part += part
            self._passed += passed
            if not part or len(self._passed) > 1:
                self._end()
                return
            if len(self._part) == _MESSAGE.size:
                kind, server, number = _MESSAGE.unpack(self._part)
                descriptor = self._passed.pop() if self._passed else None
                self._part = b""
                self._heard(kind, server, number, descriptor)

    def _end(self) -> None:
        if self._socket.fileno() >= 0:
            self.close()
            self._ended()

    def close(self) -> None:
        """Hang up."""
        if self._socket.fileno() < 0:
            return
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._unsent.clear()
        while self._passed:
            os.close(self._passed.pop())
        with contextlib.suppress(OSError):
            self._socket.close()
