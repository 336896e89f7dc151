"""A small TCP proxy that cuts, delays, splits, repeats and stops what passes through it: the network on a bad day."""

from __future__ import annotations

import asyncio
import ctypes
import random
import socket
import struct
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

    from forebay.dbproxy import DBProxy


class Chaos:
    """Forwards to one server until it is told otherwise.

    Attributes:
        cut_after: bytes of replies still let through on each connection before both sides are reset; None lets all through.
        delay: seconds each chunk of a reply is held back.
        frozen: nothing is forwarded, and nothing is closed: a half-open network.
        refusing: new connections are reset.
        cuts, stalls, splits, repeats: the chance of a chunk of replies to be cut off in the middle, held back for a moment, sent in
            pieces, and of an answer to be sent twice.
        done: how often each of them was done.

    """

    def __init__(self, port: int, seed: int = 0) -> None:
        self.target = port
        self.cuts = self.stalls = self.splits = self.repeats = 0.0
        self.done = {"cut": 0, "stalled": 0, "split": 0, "repeated": 0}
        self._dice = random.Random(seed)
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
        self._sockets: set[socket.socket] = set()

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

    def swallow_all(self, proxy: DBProxy) -> None:
        """Lose every packet of the open connections from now on, as a firewall that has forgotten them.

        The kernel drops them on both sides before it acknowledges them: whoever sends one hears nothing at all.
        """
        self.freeze()
        drop = ctypes.create_string_buffer(
            struct.pack("HBBI", 0x06, 0, 0, 0)
        )  # BPF: return 0, no byte of the packet is kept
        program = struct.pack("HL", 1, ctypes.addressof(drop))
        for sock in (*self._sockets, *(db.wire.socket for db in proxy._cluster.pools[0].connections)):
            sock.setsockopt(socket.SOL_SOCKET, 26, program)  # SO_ATTACH_FILTER

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        sock = writer.get_extra_info("socket")
        self._sockets.add(sock)
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
            self._sockets.discard(sock)
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
                data = await self._harm(data, writer)
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    async def _harm(self, data: bytes, writer: asyncio.StreamWriter) -> bytes:
        """Do to a chunk of replies what chance says; give what is left to be sent."""
        roll = self._dice.random
        once = 0
        if roll() < self.repeats and is_answer(data):
            self.done["repeated"] += 1
            once = len(data)
            data += data
        if roll() < self.stalls:
            self.done["stalled"] += 1
            await asyncio.sleep(0.02 * roll())
        if roll() < self.splits and len(data) > 1:
            self.done["split"] += 1
            at = self._dice.randrange(1, len(data))
            at += at == once  # what comes whole, and after the next question, is its answer to anybody who reads it
            writer.write(data[:at])
            await writer.drain()
            await asyncio.sleep(0.002 * roll())
            data = data[at:]
        if roll() < self.cuts:
            self.done["cut"] += 1
            writer.write(data[: self._dice.randrange(len(data))])
            await writer.drain()
            await asyncio.sleep(0)
            raise ConnectionResetError("cut")
        return data


def is_answer(data: bytes) -> bool:
    """Tell whether a chunk is an answer from its beginning to its end, of either engine."""
    return _is_answer_of_mysql(data) or _is_answer_of_postgres(data)


def _is_answer_of_mysql(data: bytes) -> bool:
    at, sequence, last = 0, 1, b""
    while at + 4 <= len(data):
        length = int.from_bytes(data[at : at + 3], "little")
        if data[at + 3] != sequence & 0xFF:
            return False
        last, at, sequence = data[at + 4 : at + 4 + length], at + 4 + length, sequence + 1
    return at == len(data) and last[:1] in {b"\x00", b"\xfe", b"\xff"}


def _is_answer_of_postgres(data: bytes) -> bool:
    at, kinds = 0, b""
    while at + 5 <= len(data):
        kinds += data[at : at + 1]
        at += 1 + int.from_bytes(data[at + 1 : at + 5], "big")
    return at == len(data) and kinds[-1:] == b"Z" and kinds[:1] != b"R"
