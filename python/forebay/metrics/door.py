"""The metrics' address of an app that takes a store over: a port that another program holds must not keep it from that.

The engine listens as it is opened, or is not opened. So where the port is taken, it is given one that is free, and what comes to
the wanted one, as soon as that can be listened on, is passed on to it as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import TYPE_CHECKING, Any, Final

from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Callable

    from forebay._core import Engine
    from forebay._model.metrics import MetricsAddress

log = logging.getLogger("forebay.metrics")

# The engine's own word for a port that it cannot listen on.
REFUSED: Final = "metrics_port: "
RETRY_SECONDS: Final = 2.0
# As the engine has them: connections at once, a further one waits to be accepted, and the seconds that one may last.
CONNECTIONS_MAX: Final = 128
CONNECTION_SECONDS: Final = 30.0
BUSY_SECONDS: Final = 0.05
CHUNK_BYTES: Final = 65_536


class LateDoor:
    """Opens engines for an app that takes over, and its metrics' port when that is free."""

    def __init__(self, address: MetricsAddress) -> None:
        self._address = address
        self._behind = 0
        self._told = False
        self._passing: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return "<door to the metrics>"

    async def open_engine(self, open_at: Callable[[int], Engine]) -> Engine:
        """Open an engine with its metrics at the port that is wanted, else at one that is free and told through the other."""
        await self.close()
        engine, refused = await asyncio.to_thread(self._open, open_at)
        if refused is not None and engine.role == "owner":
            if not self._told:
                self._told = True
                log.warning("%s: this app owns the store, and serves metrics there once that can be done", refused)
            self._passing = asyncio.get_running_loop().create_task(self._run(), name="forebay-metrics-door")
        return engine

    @property
    def waits(self) -> bool:
        """Whether the metrics are not at the port of the engine."""
        return self._passing is not None

    def _open(self, open_at: Callable[[int], Engine]) -> tuple[Engine, str | None]:
        refused = None
        for free in (False, True):
            self._behind = _free_port(self._address) if free else self._address.port
            try:
                return open_at(self._behind), refused
            except InvalidParameterValue as error:
                if not str(error).startswith(REFUSED):
                    raise
                refused = refused or str(error).partition(";")[0]
        self._behind = 0
        return open_at(0), refused

    async def _run(self) -> None:
        loop, wanted = asyncio.get_running_loop(), self._address
        while True:
            try:
                family, *_, address = (await loop.getaddrinfo(wanted.host, wanted.port, type=socket.SOCK_STREAM))[0]
                listener = _listen(family, address)
                break
            except OSError:
                await asyncio.sleep(RETRY_SECONDS)
        with listener:
            self._told = False
            log.info("metrics are on %s now", wanted.page)
            await self._serve(listener, (_reached(str(address[0])), self._behind, *address[2:]))

    async def _serve(self, listener: socket.socket, behind: tuple[Any, ...]) -> None:
        loop, places = asyncio.get_running_loop(), asyncio.Semaphore(CONNECTIONS_MAX)
        async with asyncio.TaskGroup() as group:
            while True:
                await places.acquire()
                try:
                    caller, _ = await loop.sock_accept(listener)
                except OSError:  # too many open files, or a caller that has gone again
                    places.release()
                    await asyncio.sleep(BUSY_SECONDS)
                    continue
                group.create_task(_pass(caller, behind)).add_done_callback(lambda _: places.release())

    async def close(self) -> None:
        """Listen no more; what is being passed on is cut."""
        passing = self._passing
        self.cut()
        if passing is not None:
            await asyncio.gather(passing, return_exceptions=True)

    def cut(self) -> None:
        """Begin to close, without waiting."""
        if self._passing is not None:
            self._passing.cancel()
            self._passing = None


def _listen(family: int, address: Any) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(CONNECTIONS_MAX)
    except BaseException:
        listener.close()
        raise
    return listener


def _free_port(wanted: MetricsAddress) -> int:
    """Give a port of the same host that nobody listens on; 0 where there is none."""
    try:
        family, *_, address = socket.getaddrinfo(wanted.host, 0, type=socket.SOCK_STREAM)[0]
        with _listen(family, address) as listener:
            return int(listener.getsockname()[1])
    except OSError:
        return 0


def _reached(host: str) -> str:
    """Give the address at which this machine reaches a host that it listens on."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  nothing is bound to it here


async def _pass(caller: socket.socket, behind: tuple[Any, ...]) -> None:
    """Pass one connection on, until the engine has answered."""
    loop = asyncio.get_running_loop()
    with caller, socket.socket(caller.family, socket.SOCK_STREAM) as engine:
        caller.setblocking(False)
        engine.setblocking(False)
        with contextlib.suppress(OSError):  # one of them has gone, or took too long: the caller sees that itself
            async with asyncio.timeout(CONNECTION_SECONDS):
                await loop.sock_connect(engine, behind)
                asking = loop.create_task(_copy(caller, engine))
                try:
                    await _copy(engine, caller)
                finally:
                    asking.cancel()
                    await asyncio.gather(asking, return_exceptions=True)


async def _copy(source: socket.socket, target: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(source, CHUNK_BYTES):
        await loop.sock_sendall(target, data)
    target.shutdown(socket.SHUT_WR)
