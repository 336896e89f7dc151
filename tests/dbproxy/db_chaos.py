"""A small TCP proxy that cuts, delays and stops what passes through it: the network on a bad day."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType


class Chaos:
    """Forwards to one server until it is told otherwise.

    Attributes:
        cut_after: bytes of replies still let through on each connection before both sides are reset; None lets all through.
        delay: seconds each chunk of a reply is held back.
        frozen: nothing is forwarded, and nothing is closed: a half-open network.
        refusing: new connections are reset.

    """

    def __init__(self, port: int) -> None:
        self.target = port
        self.port = 0
        self.cut_after: int | None = None
        self.delay = 0.0
        self.frozen = False
        self.refusing = False
        self.replied = 0
        self.accepted = 0
        self._server: asyncio.Server | None = None
        self._thaw = asyncio.Event()
        self._links: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for link in list(self._links):
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)
        await self._server.wait_closed()

    def freeze(self) -> None:
        self.frozen = True
        self._thaw.clear()

    def thaw(self) -> None:
        self.frozen = False
        self._thaw.set()

    def cut_all(self) -> None:
        """Reset every connection that is open now."""
        for link in list(self._links):
            link.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        up_writer = None
        try:
            if self.refusing:
                return
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, up_writer, replies=False))
                group.create_task(self._pump(up_reader, writer, replies=True))
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            pass
        finally:
            self._links.discard(task)
            for end in (writer, up_writer):
                if end is not None:
                    end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, replies: bool) -> None:
        while data := await reader.read(65536):
            if replies and self.delay:
                await asyncio.sleep(self.delay)
            while self.frozen:
                await self._thaw.wait()
            if replies:
                self.replied += len(data)
                if self.cut_after is not None:
                    if len(data) > self.cut_after:
                        writer.write(data[: self.cut_after])
                        await writer.drain()
                        await asyncio.sleep(0)
                        raise ConnectionResetError("cut")
                    self.cut_after -= len(data)
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
