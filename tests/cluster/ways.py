"""A way to a server that can be cut: nothing comes through any more, and nobody is told. And a host that is lost."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 1 << 16


class Way:
    """Carries bytes between a port of its own and a server's, until it is cut, and when it is healed."""

    def __init__(self, port: int) -> None:
        self._server = ("127.0.0.1", port)
        self._heals = threading.Event()
        self._heals.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def port(self) -> int:
        """Where it begins."""
        return int(self._listener.getsockname()[1])

    def cut(self) -> None:
        """Let nothing through."""
        self._heals.clear()

    def heal(self, *, forgets: bool) -> None:
        """Let everything through: what waited, too, or `forgets` the connections that were open."""
        if forgets:
            self._hang_up()
        self._heals.set()

    def close(self) -> None:
        """Carry nothing any more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._heals.set()
        self._hang_up()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _hang_up(self) -> None:
        with self._lock:
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            self._open.clear()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._server)
            except OSError:
                near.close()
                continue
            for one in (near, far):
                # As the server and its clients do: else what is sent in two pieces waits for 40 ms.
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open += [near, far]
            ends = threading.Barrier(2)
            for one, other in ((near, far), (far, near)):
                thread = threading.Thread(target=self._carry, args=(one, other, ends))
                thread.start()
                self._threads.append(thread)

    def _carry(self, one: socket.socket, other: socket.socket, ends: threading.Barrier) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(CHUNK):
                self._heals.wait()
                other.sendall(data)
        self._heals.wait()
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)
        # Both descriptors are in use until neither direction carries anything.
        if ends.wait() == 0:
            with self._lock:
                self._open = [socket_ for socket_ in self._open if socket_ not in (one, other)]
            one.close()
            other.close()


@contextlib.contextmanager
def vanishing(port: int) -> Iterator[None]:
    """Let what is sent to begin a connection to a port vanish, as on its way to a machine that is lost."""
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(0)
        # The queue of those that nobody accepts is full.
        for _ in range(4):
            waiting = opened.enter_context(socket.socket())
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(("127.0.0.1", port))
        yield
