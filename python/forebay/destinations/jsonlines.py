"""Failure records as lines of a file: each is on the disk before it is confirmed."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from forebay._durable import sync
from forebay._model import checks
from forebay._wire import payload
from forebay.errors import AppClosed

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger("forebay.destinations")

AT_ONCE: Final = 512
"""How many records a file is handed at once: more of them share an fsync than with other destinations."""
_TAIL_BYTES: Final = 64 * 1024
_MODE: Final = 0o600


class JSONLines:
    """A file that gets one line of JSON for each record.

    Records that come while the file is being written go out together, with one fsync. The file may be moved away at any
    time; the next record begins a new one. Several processes may append to one file.

    Args:
        path: the file; made with mode 0600 where there is none. Its directory must exist. A relative path is that of the working
            directory now, whatever `os.chdir` does later.

    Raises:
        InvalidParameterValue: it is not a path, or no file can be written there.

    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = _writable(path)
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._writing = False
        self._writer: ThreadPoolExecutor | None = None

    def __repr__(self) -> str:
        return f"JSONLines({str(self.path)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JSONLines) and other.path == self.path

    def __hash__(self) -> int:
        return hash(self.path)

    async def deliver(self, record: dict[str, Any]) -> None:
        """Append a record; it is on the disk when this returns.

        Raises:
            OSError: the file cannot be written; nothing of the record is left in it.

        """
        written = asyncio.get_running_loop().create_future()
        self._waiting.append((payload.dumps(record) + b"\n", written))
        if not self._writing:
            self._write()
        await written

    def close(self) -> None:
        """Let the writing thread go. The next record starts it again."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.shutdown(wait=True)
        for _, written in self._waiting:
            if not written.done():
                written.set_exception(AppClosed("the app was stopped before the record was written"))
        self._waiting.clear()
        self._writing = False

    def _write(self) -> None:
        burst, self._waiting = self._waiting, []
        self._writing = True
        if self._writer is None:
            self._writer = ThreadPoolExecutor(1, thread_name_prefix="forebay-jsonlines")
        lines = [line for line, _ in burst]
        done = asyncio.get_running_loop().run_in_executor(self._writer, append, self.path, lines)
        done.add_done_callback(lambda done: self._written(burst, done))

    def _written(self, burst: Sequence[tuple[bytes, asyncio.Future[None]]], done: asyncio.Future[None]) -> None:
        self._writing = False
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        for _, written in burst:
            if written.done():
                continue
            if error is not None:
                written.set_exception(error)
            else:
                written.set_result(None)
        if self._waiting:
            self._write()


def _writable(given: object) -> Path:
    """Refuse a path at which no line could ever be written. What goes wrong later is tried again."""
    plain = os.fspath(given) if isinstance(given, str | os.PathLike) else None
    if not isinstance(plain, str) or not plain or "\0" in plain:
        checks.refuse("path", given, "allowed is the path of a file, a str or an os.PathLike")
    path = Path(plain)
    if path.exists():
        if not path.is_file():
            checks.refuse("path", plain, "it is not a regular file: nothing can be appended there and kept")
    elif not path.parent.is_dir():
        checks.refuse("path", plain, f"there is no directory {str(path.parent)!r}: make it first")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        checks.refuse("path", plain, "this process may not write there")
    return path.absolute()


def append(path: Path, lines: Sequence[bytes]) -> None:
    """Append lines to a file and wait for the disk."""
    new = not path.exists()
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
    try:
        # Others may append too: the lock lets everyone see whole lines, so that only a crash leaves a torn one.
        fcntl.flock(handle, fcntl.LOCK_EX)
        size = _mend(handle, path)
        try:
            _write_all(handle, b"".join(lines))
            sync(handle)
        except OSError:
            os.ftruncate(handle, size)
            raise
    finally:
        os.close(handle)
    if new:
        sync(path.parent)


def _mend(handle: int, path: Path) -> int:
    """Remove the torn line that a crash left at the end, whose record was never confirmed; give the size."""
    size = os.fstat(handle).st_size
    if size == 0 or os.pread(handle, 1, size - 1) == b"\n":
        return size
    start = size
    while start > 0:
        step = min(_TAIL_BYTES, start)
        block = os.pread(handle, step, start - step)
        newline = block.rfind(b"\n")
        if newline >= 0:
            start = start - step + newline + 1
            break
        start -= step
    try:
        payload.loads(os.pread(handle, size - start, start))
    except ValueError:
        log.warning("%s ends in a torn line of %d bytes, left by a crash: removed", path, size - start)
        os.ftruncate(handle, start)
        return start
    _write_all(handle, b"\n")  # a whole line that only lacks its end, as some editors leave it
    return size + 1


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
