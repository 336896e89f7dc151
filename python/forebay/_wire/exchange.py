"""One request to an endpoint, which ends when its time is over, however slowly the endpoint answers."""

from __future__ import annotations

import contextlib
import socket
import threading


class Exchange:
    """A request under way, which another thread may end."""

    def __init__(self) -> None:
        self.is_aborted = False
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def begins(self, connected: socket.socket) -> None:
        """Take the connection that the request is on.

        Raises:
            TimeoutError: the request is to end already.

        """
        with self._lock:
            self._socket = connected
            if self.is_aborted:
                raise TimeoutError

    def ends(self) -> None:
        """Let the connection go."""
        with self._lock:
            self._socket = None

    def abort(self) -> None:
        """End the request: whoever reads its answer is told that the connection is closed."""
        with self._lock:
            self.is_aborted = True
            if self._socket is not None:
                with contextlib.suppress(OSError):  # it is already closed
                    self._socket.shutdown(socket.SHUT_RDWR)
