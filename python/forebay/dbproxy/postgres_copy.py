"""PostgreSQL's COPY: rows that travel beside the statement, from anything that gives bytes, to anything that takes them."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from forebay.dbproxy.driver import OthersFault
from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Awaitable

CHUNK_BYTES = 262_144

Source = bytes | os.PathLike[str] | IO[bytes] | AsyncIterable[bytes] | Iterable[bytes]
Sink = os.PathLike[str] | IO[bytes] | Callable[[bytes], Any]


async def copy_in(raw: Any, sql: str, source: Source) -> str:
    """Send what a source gives; give the command tag."""
    status: str = await raw._protocol.copy_in(sql, _guarded(_checked(_chunks(source))), None, None, None, None)  # noqa: SLF001
    return status


async def copy_rows(
    raw: Any, table: str, rows: Iterable[Any] | AsyncIterable[Any], columns: list[str] | None, schema: str | None
) -> str:
    """Send rows in PostgreSQL's binary form; give the command tag."""
    guarded = _guarded(rows if isinstance(rows, AsyncIterable) else _each(rows))
    try:
        status: str = await raw.copy_records_to_table(table, records=guarded, columns=columns, schema_name=schema)
    except (TypeError, ValueError, ArithmeticError, AttributeError, LookupError) as error:
        raise InvalidParameterValue(f"rows: one does not fit its table ({type(error).__name__}: {error})") from None
    return status


async def copy_out(raw: Any, sql: str, sink: Sink) -> str:
    """Write what the server sends; give the command tag."""
    if isinstance(sink, os.PathLike):
        try:
            file = await asyncio.to_thread(Path(sink).open, "wb")
        except OSError as error:
            raise OthersFault from error
        with file:
            return await copy_out(raw, sql, file)
    status: str = await raw._protocol.copy_out(sql, _writer(sink), None)  # noqa: SLF001
    return status


async def _guarded(items: AsyncIterable[Any]) -> AsyncIterator[Any]:
    """Mark what goes wrong in a source as its own: the connection is not to blame."""
    try:
        async for item in items:
            yield item
    except Exception as error:
        raise OthersFault from error


async def _checked(chunks: AsyncIterable[Any]) -> AsyncIterator[bytes | bytearray | memoryview]:
    """Refuse what is not bytes: the driver would take it for a connection that fails."""
    async for chunk in chunks:
        if not isinstance(chunk, (bytes, bytearray, memoryview)):
            raise InvalidParameterValue(
                f'source: it gave {type(chunk).__name__}, and COPY takes bytes: open a file with "rb", encode a text'
            )
        yield chunk


async def _each(items: Iterable[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


async def _chunks(source: Source) -> AsyncIterator[bytes]:
    """Give the bytes of a source in pieces; a file is read beside the event loop."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        yield bytes(source)
    elif isinstance(source, os.PathLike):
        with await asyncio.to_thread(Path(source).open, "rb") as file:
            async for chunk in _chunks(file):
                yield chunk
    elif hasattr(source, "read"):
        while chunk := await asyncio.to_thread(source.read, CHUNK_BYTES):
            yield chunk
    elif isinstance(source, AsyncIterable):
        async for chunk in source:
            yield chunk
    elif isinstance(source, Iterable) and not isinstance(source, str):
        for chunk in source:
            yield chunk
    else:
        raise InvalidParameterValue(
            f"source={type(source).__name__}: must be bytes, a path, a binary file, or something that gives bytes"
        )


def _writer(sink: Any) -> Callable[[bytes], Awaitable[None]]:
    """Give what asyncpg writes to; a file is written beside the event loop."""
    is_file = hasattr(sink, "write")
    if not is_file and not callable(sink):
        raise InvalidParameterValue(f"sink={type(sink).__name__}: must be a path, a binary file, or a function")

    async def written(data: bytes) -> None:
        try:
            answer = asyncio.to_thread(sink.write, data) if is_file else sink(data)
            if inspect.isawaitable(answer):
                await answer
        except Exception as error:
            raise OthersFault from error

    return written
