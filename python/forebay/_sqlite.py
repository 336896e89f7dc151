"""SQLite's write-ahead log, for files of ours that several processes open."""

from __future__ import annotations

import sqlite3
import time
from typing import Final

BUSY_SECONDS_MAX: Final = 30.0
"""How long to wait for another process that changes such a file."""
_PAUSE_SECONDS: Final = 0.01


def write_ahead(connection: sqlite3.Connection) -> None:
    """Switch a file to the write-ahead log, while others may do so, too.

    SQLite's own busy timeout does not hold for this switch: of two processes that open a new file together, one is refused at
    once with "database is locked".

    Args:
        connection: a connection outside any transaction.

    Raises:
        sqlite3.OperationalError: the file was still locked after `BUSY_SECONDS_MAX`, or could not be written.

    """
    until = time.monotonic() + BUSY_SECONDS_MAX
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(_PAUSE_SECONDS)
        else:
            return
