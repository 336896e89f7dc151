"""For handlers that use Powertools for AWS Lambda: its Idempotency on a file in the app's store, in place of a table in DynamoDB.

Powertools is not a dependency of forebay: `pip install '.[powertools]'`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import sqlite3
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from forebay._model import checks
from forebay._sqlite import BUSY_SECONDS_MAX, write_ahead
from forebay.errors import ForebayError, InvalidParameterValue, StoreError, StoreFull, StoreNewerFormat

try:
    from aws_lambda_powertools.utilities.idempotency import BasePersistenceLayer
    from aws_lambda_powertools.utilities.idempotency.exceptions import (
        IdempotencyItemAlreadyExistsError,
        IdempotencyItemNotFoundError,
    )
    from aws_lambda_powertools.utilities.idempotency.persistence.datarecord import DataRecord
except ImportError as error:
    raise ForebayError(
        "forebay.powertools needs Powertools for AWS Lambda, version 3 or newer, and boto3, which its Idempotency imports: "
        f"pip install '.[powertools]' ({error})"
    ) from error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forebay.app import App

FILE: Final = "idempotency.db"
FORMAT: Final = 1
BYTES_DEFAULT: Final = 1 << 30
BYTES_MIN: Final = 1 << 20
EXPIRED_AT_ONCE: Final = 32
"""Expired records that a put removes: more than it adds, so that only those stay that have not expired."""
_TABLE: Final = (
    """
    CREATE TABLE records (
        key TEXT PRIMARY KEY, status TEXT NOT NULL, expires_s INTEGER NOT NULL, in_progress_expires_ms INTEGER,
        response TEXT, payload_hash TEXT
    )
    """,
    "CREATE INDEX by_expiry ON records (expires_s)",
)
_INSERT: Final = """
INSERT INTO records (key, status, expires_s, in_progress_expires_ms, response, payload_hash)
VALUES (:key, :status, :expires_s, :in_progress_expires_ms, :response, :payload_hash)
ON CONFLICT (key) DO UPDATE SET
    status = excluded.status, expires_s = excluded.expires_s, in_progress_expires_ms = excluded.in_progress_expires_ms,
    response = excluded.response, payload_hash = excluded.payload_hash
"""
_IF_FREE: Final = """
WHERE records.expires_s < :now_s
    OR (records.status = 'INPROGRESS' AND records.in_progress_expires_ms < :now_ms)
"""
_SELECT: Final = (
    "SELECT key, status, expires_s, in_progress_expires_ms, response, payload_hash FROM records WHERE key = ?"
)
_EXPIRE: Final = """
DELETE FROM records WHERE key IN (SELECT key FROM records WHERE expires_s < ? ORDER BY expires_s LIMIT ?)
"""


class IdempotencyStore(BasePersistenceLayer):
    """Keeps Powertools' idempotency records in the app's store: `idempotent(persistence_store=IdempotencyStore(app))`.

    A record survives what the app's `durability` says, until it expires (`IdempotencyConfig(expires_after_seconds=…)`). It is
    the same for the app, all its processes, and every other process on the machine that opens the same store; whichever of them
    puts a key first has it, as with DynamoDB's condition. It opens its file at its first use, and is closed with the app.

    Args:
        app: whose store it is kept in; a directory, not ":memory:". It must not run yet.
        maximum_bytes: greatest size of the file, at least 1 MiB. Expired records make room for new ones.

    Raises:
        InvalidParameterValue: the app keeps nothing, or an option is outside its range.
        ForebayError: the app is running.

    Of its use:
        StoreFull: the records that have not expired take all the room; to a handler an `IdempotencyPersistenceLayerError`.
        StoreNewerFormat: a newer forebay has written the file.

    """

    def __init__(self, app: App, *, maximum_bytes: int = BYTES_DEFAULT) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if app.settings.store == ":memory:" or app.settings.durability == "memory":
            raise InvalidParameterValue(
                f"app: app {app.name!r} keeps nothing (store=':memory:', or durability='memory'): give it a directory"
            )
        if app.settings.is_on_server:
            raise InvalidParameterValue(
                f"app: the store of app {app.name!r} is on a server, and these records are kept in a directory, which the "
                "process that takes the store over does not see: use a persistence layer of Powertools that all of them reach"
            )
        self.maximum_bytes = checks.integer("maximum_bytes", maximum_bytes, low=BYTES_MIN, high=1 << 40)
        self._app = app
        self._lock = threading.Lock()
        self._opened: sqlite3.Connection | None = None
        self._opened_by = 0
        app.attach(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            opened, self._opened = self._opened, None
            if opened is not None and self._opened_by == os.getpid():
                opened.close()

    # What Powertools asks for

    def _get_record(self, idempotency_key: str) -> DataRecord:
        with self._transaction() as connection:
            row = connection.execute(_SELECT, (idempotency_key,)).fetchone()
        if row is None:
            raise IdempotencyItemNotFoundError
        return _record(row)

    def _put_record(self, data_record: DataRecord) -> None:
        now = dt.datetime.now(dt.UTC).timestamp()
        known: Any = None
        with self._transaction() as connection:
            connection.execute(_EXPIRE, (int(now), EXPIRED_AT_ONCE))
            row = _row(data_record) | {"now_s": int(now), "now_ms": int(now * 1000)}
            if connection.execute(_INSERT + _IF_FREE, row).rowcount == 0:
                known = connection.execute(_SELECT, (data_record.idempotency_key,)).fetchone()
        if known is not None:
            before = _record(known)
            self._validate_payload(data_payload=data_record, stored_data_record=before)
            self._save_to_cache(data_record=before)
            raise IdempotencyItemAlreadyExistsError(old_data_record=before)

    def _update_record(self, data_record: DataRecord) -> None:
        with self._transaction() as connection:
            connection.execute(_INSERT, _row(data_record))

    def _delete_record(self, data_record: DataRecord) -> None:
        with self._transaction() as connection:
            connection.execute("DELETE FROM records WHERE key = ?", (data_record.idempotency_key,))

    # The file

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                connection = self._connection()
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                except BaseException:
                    if connection.in_transaction:  # SQLite may have rolled it back itself
                        connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                raise self._failure(error) from error

    def _failure(self, error: sqlite3.Error) -> StoreError:
        where = f"idempotency records of app {self._app.name!r} in {self.path}"
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            return StoreFull(
                f"{where}: no room is left in {self.maximum_bytes:,} bytes (maximum_bytes), or on the disk; let records expire "
                "sooner (expires_after_seconds), or raise maximum_bytes"
            )
        return StoreError(f"{where}: {error}")

    @property
    def path(self) -> Path:
        """The file; that of a relative store is known once the app has started."""
        return Path(self._app.settings.store).absolute() / FILE

    def _connection(self) -> sqlite3.Connection:
        """Give the connection of this process: SQLite allows none to be taken along by a fork."""
        if self._opened is None or self._opened_by != os.getpid():
            self._opened, self._opened_by = self._open(), os.getpid()
        return self._opened

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A file that is there is not opened: closing it would end the locks that this process has on it.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        # Handlers in threads take turns under the lock.
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS_MAX, isolation_level=None, check_same_thread=False)
        try:
            write_ahead(connection)
            durable = self._app.settings.durability == "power-loss"
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            [page_bytes] = connection.execute("PRAGMA page_size").fetchone()
            connection.execute(f"PRAGMA max_page_count = {self.maximum_bytes // page_bytes}")
            self._bring_to_format(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _bring_to_format(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        [found] = connection.execute("PRAGMA user_version").fetchone()
        if found > FORMAT:
            raise StoreNewerFormat(
                f"{self.path} has format {found}, and this forebay knows {FORMAT}: it was written by a newer one"
            )
        if found == 0:
            for statement in _TABLE:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {FORMAT}")
        connection.execute("COMMIT")


def _row(record: DataRecord) -> dict[str, Any]:
    return {
        "key": record.idempotency_key,
        "status": record.status,
        "expires_s": record.expiry_timestamp,
        "in_progress_expires_ms": record.in_progress_expiry_timestamp,
        "response": record.response_data,
        "payload_hash": record.payload_hash,
    }


def _record(row: tuple[str, str, int, int | None, str, str]) -> DataRecord:
    key, status, expires_s, in_progress_expires_ms, response, payload_hash = row
    return DataRecord(
        idempotency_key=key,
        status=status,
        expiry_timestamp=expires_s,
        in_progress_expiry_timestamp=in_progress_expires_ms,
        response_data=response,
        payload_hash=payload_hash,
    )
