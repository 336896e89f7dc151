"""Checks the frames of a PostgreSQL handshake before asyncpg sees them, and notes an answer that nobody has asked for.

asyncpg 0.32 does not check a message's length: one of less than four bytes makes it loop for ever, and the event loop with
it. Whoever sits on the server's port could do that, before any password has been checked. Lengths are looked at until the first
ReadyForQuery: from there on the server has proved that it knows the user. After it asyncpg raises when it gets an answer without
a question; the guard tells so, because the answer to the question before may have been somebody else's.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# BEGIN as the extended protocol says it, without the Sync that ends a question: an error in it keeps what follows from running.
BEGIN = (
    b"P\x00\x00\x00\x0d\x00BEGIN\x00\x00\x00"
    b"B\x00\x00\x00\x0c\x00\x00\x00\x00\x00\x00\x00\x00"
    b"E\x00\x00\x00\x09\x00\x00\x00\x00\x00"
)
BEGUN = b"1\x00\x00\x00\x042\x00\x00\x00\x04C\x00\x00\x00\x0aBEGIN\x00"
BEGUN_KINDS = b"12C"
BESIDE_KINDS = b"ANS"  # a notification, a notice, a setting: they may come at any time
BETWEEN_KINDS = (
    BESIDE_KINDS + b"1tTn"
)  # what Parse and Describe are answered with, before the Sync that asyncpg sends later
READY = b"Z\x00\x00\x00\x05"  # then one byte
READY_BYTES = 6
HEADER_BYTES = 5
LENGTH_BYTES = 4  # a length counts itself
MESSAGE_BYTES_MAX = 1 << 20
READY_FOR_QUERY = ord("Z")

log = logging.getLogger("forebay.dbproxy")


class Outlet:
    """What asyncpg writes to: its transport, where ``write`` may be another one for a while."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.write: Callable[[Any], None] = transport.write

    def __getattr__(self, name: str) -> Any:
        """Give what the transport itself has."""
        return getattr(self._transport, name)


class StepGuard(asyncio.Protocol):
    """Stands before asyncpg's protocol.

    Attributes:
        slipped: called when the server sent more than the answer to the question.
        loosened: called when bytes end elsewhere than after an answer, and when they do no more: what is left after an
            answer would be taken for the beginning of the next.

    """

    def __init__(self, inner: Any) -> None:
        self.slipped: Callable[[], None] = _nobody_listens
        self.loosened: Callable[[bool], None] = _nobody_cares
        self._is_loose = False
        self._tail = b""
        self._inner = inner
        self._feed = inner.data_received
        self._is_ready = False
        self._transport: asyncio.Transport | None = None
        self._header = bytearray()
        self._left = 0
        self._outlet: Outlet | None = None
        self._taken_back: Callable[[], None] = _nobody_listens
        self._begun = b""  # what is still to come of the answer to BEGIN
        self._early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Pass it on."""
        self._transport = transport  # type: ignore[assignment]
        self._outlet = Outlet(transport)  # type: ignore[arg-type]
        self._inner.connection_made(self._outlet)

    def data_received(self, data: bytes) -> None:
        """Pass bytes on that can be an answer; hang up on others."""
        if not self._is_ready:
            ready = self._walk(data)
            if ready is None:
                self._hang_up()
                return
            self._is_ready = ready
        if self._begun:
            data = self._after_begin(data)
        try:
            self._feed(data)
        except Exception as error:  # noqa: BLE001 - whatever asyncpg's own slip is, the connection has no next answer
            log.warning("PostgreSQL sent what was not asked for (%s): connection closed", type(error).__name__)
            self.slipped()
            self._hang_up()
            return
        if data[-READY_BYTES:-1] != READY:
            self._note_end(data)
            return
        self._tail = b""
        if self._is_loose:
            self._is_loose = False
            self.loosened(False)

    def _note_end(self, data: bytes) -> None:
        """Tell whether bytes that do not end with an answer end after one: what may come at any time is not part of it."""
        data = self._tail + data
        end = data.rfind(READY)
        at = end + READY_BYTES if end >= 0 else 0
        is_loose = self._is_loose if end < 0 else at > len(data)
        while not is_loose and at < len(data):
            is_loose = data[at] not in BETWEEN_KINDS
            length = int.from_bytes(data[at + 1 : at + HEADER_BYTES], "big")
            after = at + 1 + max(length, LENGTH_BYTES)
            if after > len(data):  # a part of it is still to come
                break
            at = after
        self._tail = data[-READY_BYTES:] if is_loose else data[at:]
        if is_loose is not self._is_loose:
            self._is_loose = is_loose
            self.loosened(is_loose)

    def begin(self, taken_back: Callable[[], None]) -> None:
        """Have a BEGIN go in one piece with the question that is sent next; asyncpg is not shown its answer.

        Args:
            taken_back: called when nothing was sent, and BEGIN is still owed.

        """
        if self._outlet is not None:
            self._taken_back = taken_back
            self._outlet.write = self._write_begin

    def _write_begin(self, question: Any) -> None:
        transport: Any = self._transport
        self._outlet.write = transport.write  # type: ignore[union-attr]  # asyncpg has just written to it
        self._begun = BEGUN_KINDS
        transport.write(BEGIN + bytes(question))

    def take_back(self) -> None:
        """Take BEGIN back if nothing was sent."""
        outlet, transport = self._outlet, self._transport
        if outlet is not None and transport is not None and outlet.write == self._write_begin:
            outlet.write = transport.write
            self._taken_back()

    def _after_begin(self, data: bytes) -> bytes:
        """Leave the answer to BEGIN out. An error is the answer to the whole question."""
        if self._begun == BEGUN_KINDS and not self._early and data.startswith(BEGUN):
            self._begun = b""
            return data[len(BEGUN) :]
        data, self._early = self._early + data, b""
        shown, at = b"", 0
        while self._begun and len(data) - at >= HEADER_BYTES:
            end = at + 1 + int.from_bytes(data[at + 1 : at + HEADER_BYTES], "big")
            if end > len(data):
                break
            if data[at] == self._begun[0]:
                self._begun = self._begun[1:]
            elif data[at] in BESIDE_KINDS:
                shown += data[at:end]
            else:
                self._begun = b""
                break
            at = end
        if self._begun:
            self._early = data[at:]
            return shown
        return shown + data[at:]

    def _hang_up(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _walk(self, data: bytes) -> bool | None:
        """Follow the frames; True at the end of a ReadyForQuery, None when a length cannot be."""
        at, kind = 0, 0
        while at < len(data):
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
                continue
            step = HEADER_BYTES - len(self._header)
            self._header += data[at : at + step]
            at += step
            if len(self._header) == HEADER_BYTES:
                length = int.from_bytes(self._header[1:], "big")
                if not LENGTH_BYTES <= length <= MESSAGE_BYTES_MAX:
                    return None
                kind = self._header[0]
                self._left = length - LENGTH_BYTES
                self._header.clear()
        return kind == READY_FOR_QUERY and not self._left and not self._header

    def eof_received(self) -> bool | None:
        """Pass it on."""
        return self._inner.eof_received()  # type: ignore[no-any-return]

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on."""
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass it on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._inner.resume_writing()


def _nobody_cares(_is_loose: bool) -> None:
    """Do nothing."""


def _nobody_listens() -> None:
    """Do nothing: the connection is closed before anybody has it."""


class GuardedLoop:
    """An event loop whose new connections begin behind a guard; asyncpg offers no other door."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        """Give what the loop itself has."""
        return getattr(self._loop, name)

    async def create_connection(self, factory: Any, *args: Any, **options: Any) -> tuple[Any, Any]:
        """Connect through a guard; give the guarded protocol, as if there were none."""
        inner = factory()
        transport, _ = await self._loop.create_connection(lambda: StepGuard(inner), *args, **options)
        return transport, inner
