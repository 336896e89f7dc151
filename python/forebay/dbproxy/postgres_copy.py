"""PostgreSQL's COPY: rows that travel beside the statement, from anything that gives bytes, to anything that takes them."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import io
import os
import stat
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from forebay.dbproxy.driver import OthersFault
from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Awaitable

CHUNK_BYTES = 262_144
_GIVERS = (bytes, bytearray, memoryview, AsyncIterable, Iterable)

Source = bytes | os.PathLike[str] | IO[bytes] | AsyncIterable[bytes] | Iterable[bytes]
Sink = os.PathLike[str] | IO[bytes] | Callable[[bytes], Any]


async def copy_in(raw: Any, sql: str, source: Source) -> str:
    """Send what a source gives; give the command tag."""
    status: str = await raw._protocol.copy_in(sql, _guarded(_checked(_chunks(source))), None, None, None, None)  # noqa: SLF001
    return status


async def copy_rows(
    raw: Any, table: str, rows: Iterable[Any] | AsyncIterable[Any], columns: list[str] | None, schema: str | None
) -> str:
    """Send rows in PostgreSQL's binary form; give the command tag.

    As asyncpg's ``copy_records_to_table``, which takes no note of values for which there is no column.
    """
    where = ".".join(quoted(part) for part in (schema, table) if part is not None)
    names = ", ".join(map(quoted, columns or ()))
    question = f"SELECT {names or '*'} FROM {where} LIMIT 1"  # noqa: S608 - the names are quoted
    # It is never run, so nothing would tell asyncpg that a column has been added since: it is asked each time.
    kinds = (await raw._prepare(question, use_cache=False))._state  # noqa: SLF001
    sql = f"COPY {where}{f' ({names})' if names else ''} FROM STDIN (FORMAT binary)"
    fitting = FittingRows(rows, len(kinds._get_attributes()))  # noqa: SLF001 - asyncpg tells them only with their types looked up
    try:
        status: str = await raw._protocol.copy_in(sql, None, None, _guarded(fitting), kinds, None)  # noqa: SLF001
    except (TypeError, ValueError, ArithmeticError, AttributeError, LookupError) as error:
        raise InvalidParameterValue(
            f"rows: row {fitting.taken} does not fit its table ({type(error).__name__}: {error})"
        ) from None
    return status


class FittingRows:
    """Rows as they are taken, each seen to have a value for each column.

    Attributes:
        taken: how many were taken: the number of the last one.

    """

    def __init__(self, rows: Iterable[Any] | AsyncIterable[Any], columns: int) -> None:
        self._rows = rows
        self._columns = columns
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[Any]:
        """Give the rows.

        Raises:
            InvalidParameterValue: a row is no sequence, or has not as many values as there are columns.

        """
        async for row in self._rows if isinstance(self._rows, AsyncIterable) else _each(self._rows):
            self.taken += 1
            kind = type(row)
            if kind is not tuple and kind is not list and not _is_row(row):
                raise InvalidParameterValue(
                    f"rows: row {self.taken} is of {kind.__name__}, and must be a sequence of values, as in (1, 'a')"
                )
            if len(row) != self._columns:
                raise InvalidParameterValue(
                    f"rows: row {self.taken} has {len(row)} values for {self._columns} columns; nothing was copied"
                )
            yield row


def _is_row(row: Any) -> bool:
    return not isinstance(row, (str, bytes, dict)) and hasattr(row, "__len__") and hasattr(row, "__getitem__")


def quoted(name: str) -> str:
    """Quote a name as it is."""
    return '"' + name.replace('"', '""') + '"'


async def copy_out(raw: Any, sql: str, sink: Sink) -> str:
    """Write what the server sends; give the command tag."""
    if isinstance(sink, os.PathLike):
        try:
            file = await asyncio.to_thread(SinkFile, Path(sink))
        except OSError as error:
            raise OthersFault from error
        with contextlib.closing(file):
            write = _writer(file)
            tag: str = await raw._protocol.copy_out(sql, write, None)  # noqa: SLF001
            await write(b"")
            return tag
    status: str = await raw._protocol.copy_out(sql, _writer(sink), None)  # noqa: SLF001
    return status


class SinkFile:
    """A file that is emptied with what is first written: a statement that is refused leaves it as it was."""

    def __init__(self, path: Path) -> None:
        self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666), "wb")
        self._is_old = stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)  # a pipe or a device has nothing old in it

    def write(self, data: bytes) -> None:
        """Write what comes next; nothing that was there before stays."""
        if self._is_old:
            self._file.truncate(0)
            self._is_old = False
        self._file.write(data)

    def close(self) -> None:
        """Close it."""
        self._file.close()


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
    else:
        for chunk in source:
            yield chunk


def check_source(source: Any) -> None:
    """Refuse what cannot give bytes."""
    if isinstance(source, str) or not (hasattr(source, "read") or isinstance(source, (os.PathLike, *_GIVERS))):
        hint = "; a path is written pathlib.Path(...)" if isinstance(source, str) else ""
        raise InvalidParameterValue(
            f"source={type(source).__name__}: must be bytes, a pathlib.Path, a binary file, or something that gives bytes{hint}"
        )


def check_sink(sink: Any) -> None:
    """Refuse what cannot take bytes."""
    if isinstance(sink, io.TextIOBase):
        raise InvalidParameterValue('sink: a file of text takes no bytes: open it with "wb"')
    if not (hasattr(sink, "write") or callable(sink) or isinstance(sink, os.PathLike)):
        hint = "; a path is written pathlib.Path(...)" if isinstance(sink, str) else ""
        raise InvalidParameterValue(
            f"sink={type(sink).__name__}: must be a pathlib.Path, a binary file, or a function{hint}"
        )


def _writer(sink: Any) -> Callable[[bytes], Awaitable[None]]:
    """Give what asyncpg writes to; a file is written beside the event loop."""
    is_file = hasattr(sink, "write")

    async def written(data: bytes) -> None:
        try:
            answer = asyncio.to_thread(sink.write, data) if is_file else sink(data)
            if inspect.isawaitable(answer):
                await answer
        except Exception as error:
            raise OthersFault from error

    return written
