"""MySQL and MariaDB through asyncmy: its connections, never its pool.

Chosen by measurement against aiomysql (``docs/dbproxy.md``): both end a cancelled query by closing their connection, asyncmy
spends less processor time on one that is answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING, Any

from forebay._core import split_statements
from forebay.dbproxy.driver import Failure, Result, ServerFull, duplicate_socket
from forebay.errors import (
    AuthenticationFailed,
    ConnectionLost,
    DatabaseError,
    DatabaseUnavailable,
    DBProxyError,
    InvalidParameterValue,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from forebay._core import StatementJudge
    from forebay.dbproxy.secrets import Credentials
    from forebay.dbproxy.session import Meaning
    from forebay.dbproxy.settings import Address, ProxySettings

try:
    import asyncmy
    from asyncmy import errors as asyncmy_errors
    from asyncmy.cursors import SSCursor

    from forebay.dbproxy.mysql_connection import GuardedConnection
    from forebay.dbproxy.mysql_text import encode, encode_rows
except ImportError:
    asyncmy = None

ROW_TYPES_MAX = 512
_COM_RESET_CONNECTION = 0x1F
_STATUS_IN_TRANSACTION = 0x0001
_STATUS_AUTOCOMMIT = 0x0002
SHORT_MAX = 1024  # the smallest max_allowed_packet there is
PACKET_BYTES_MAX = 1 << 30  # the largest max_allowed_packet there is
# The server is going down or has hung up: 1053 shutdown, 1152..1161 aborted or network, 1927 killed, 2006/2013 gone, 4031 idle.
_LOST = frozenset((1053, 1152, 1158, 1159, 1160, 1161, 1184, 1927, 2006, 2013, 2014, 3032, 3169, 4031))
_DENIED = frozenset((1044, 1045, 1698, 1862, 3118, 3159))
_READ_ONLY = frozenset((1290, 1792, 1836))
_FULL = frozenset((1040, 1203, 1226))  # the server is, or its share for this user
_CLIENTS_OWN = 2000  # from here on to 2999 the driver tells, not the server
_UNKNOWN_THREAD = 1094
_ROLE = """SELECT @@global.read_only, @@global.innodb_read_only, @@session.max_allowed_packet, @@global.init_connect"""
# Whose new connections the server does not run `init_connect` on.
_IS_EXEMPT = """SELECT EXISTS (SELECT 1 FROM information_schema.USER_PRIVILEGES
 WHERE PRIVILEGE_TYPE IN ('SUPER', 'CONNECTION ADMIN', 'CONNECTION_ADMIN') AND GRANTEE = CONCAT(
  QUOTE(SUBSTRING_INDEX(CURRENT_USER(), '@', 1)), '@', QUOTE(SUBSTRING_INDEX(CURRENT_USER(), '@', -1))))"""
_FORGET = "SELECT LAST_INSERT_ID(0) FROM (SELECT 1 AS one) AS t"
_HOLDS_LOCK = "SELECT COALESCE(IS_USED_LOCK(%s) = CONNECTION_ID(), 0)"
_SYNTAX = 1064


class Row(tuple[Any, ...]):
    """A row of MySQL: a tuple that also answers to column names, ``row["name"]``."""

    __slots__ = ()
    _columns: dict[str, int] = {}  # noqa: RUF012 - one subclass per set of columns holds its own

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            try:
                key = self._columns[key]
            except KeyError:
                raise KeyError(key) from None
        return tuple.__getitem__(self, key)

    def keys(self) -> tuple[str, ...]:
        """Give the column names in order."""
        return tuple(self._columns)

    def get(self, key: str, default: Any = None) -> Any:
        """Give a column's value, or the default when there is no such column."""
        position = self._columns.get(key)
        return default if position is None else tuple.__getitem__(self, position)


class MySQLWire:
    """One MySQL connection."""

    engine = "mysql"
    out_of_step = False  # its connection raises at once
    __slots__ = (
        "_at_first",
        "_database",
        "_init_connect",
        "_packet_bytes_max",
        "_row_types",
        "raw",
        "server_id",
        "server_version",
        "socket",
    )

    def __init__(self, raw: Any, database: str) -> None:
        self.raw = raw
        self._packet_bytes_max = PACKET_BYTES_MAX  # until the server has told its own
        self._database = database
        self._init_connect = ""
        self._at_first: list[str] = []  # what the server ran on it when it was new
        self._row_types: dict[tuple[str, ...], type[Row]] = {}
        self.server_id: int = raw.thread_id()
        self.server_version: str = raw.get_server_info()
        self.socket = duplicate_socket(raw._transport)  # noqa: SLF001 - asyncmy shows its transport nowhere else

    def is_broken(self) -> bool:
        """Tell whether the connection is known to be gone."""
        return self.raw._stream_broken  # type: ignore[no-any-return]  # noqa: SLF001

    def is_unfit(self) -> bool:
        """Tell whether it is gone, or has bytes that nobody has asked for: the server says so when it hangs up on an idle one."""
        raw = self.raw
        received = raw._proto  # noqa: SLF001
        return received is None or received.pos != received.length or raw._stream_broken  # noqa: SLF001

    def in_transaction(self) -> bool:
        """Tell what the server's last answer said."""
        return self.raw.server_status & _STATUS_IN_TRANSACTION != 0  # type: ignore[no-any-return]

    def _encoded(self, sql: str, args: Sequence[Any]) -> bytes:
        if not args and len(sql) < SHORT_MAX and sql.isascii():
            return sql.encode()
        return encode(self.raw, sql, args, self._packet_bytes_max)

    def fetch_all(self, sql: str, args: Sequence[Any]) -> Awaitable[list[Any]]:
        """Run a statement and give all its rows."""
        return self.raw.ask(self._encoded(sql, args), self._rows)  # type: ignore[no-any-return]

    def fetch_one(self, sql: str, args: Sequence[Any]) -> Awaitable[Any]:
        """Run a statement and give its first row, or None."""
        return self.raw.ask(self._encoded(sql, args), self._first_row)  # type: ignore[no-any-return]

    def fetch_value(self, sql: str, args: Sequence[Any]) -> Awaitable[Any]:
        """Run a statement and give the first column of its first row, or None."""
        return self.raw.ask(self._encoded(sql, args), _first_value)  # type: ignore[no-any-return]

    def execute(self, sql: str, args: Sequence[Any]) -> Awaitable[Result]:
        """Run a statement for its effect."""
        return self.raw.ask(self._encoded(sql, args), _done)  # type: ignore[no-any-return]

    async def execute_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> Result:
        """Run a statement once per row of arguments; INSERT rows are joined into few messages."""
        count = last = 0
        for text in encode_rows(self.raw, sql, rows, self._packet_bytes_max):
            result = await self.raw.ask(text, _done)
            count += result.row_count
            last = result.last_insert_id
        return Result(count, last)

    async def stream(self, sql: str, args: Sequence[Any], prefetch: int) -> AsyncIterator[Any]:
        """Give rows as they come over the wire; the server sends no faster than they are taken."""
        raw = self.raw
        cursor = raw.cursor(SSCursor)
        await cursor.execute(self._encoded(sql, args))
        row_type = self._row_type(cursor.description) if cursor.description else Row
        while rows := await cursor.fetchmany(prefetch):
            for row in rows:
                yield row_type(row)
        if cursor.description:
            raw.server_status = raw.status_of_rows()

    def _rows(self, result: Any) -> list[Any]:
        return list(map(self._row_type(result.description), result.rows)) if result.rows else []

    def _first_row(self, result: Any) -> Any:
        return self._row_type(result.description)(result.rows[0]) if result.rows else None

    def _row_type(self, description: Sequence[Sequence[Any]]) -> type[Row]:
        names = tuple([column[0] for column in description])
        found = self._row_types.get(names)
        if found is None:
            if len(self._row_types) >= ROW_TYPES_MAX:
                self._row_types.clear()
            columns = {name: position for position, name in reversed(list(enumerate(names)))}
            ordered = {name: columns[name] for name in names}
            found = self._row_types[names] = type("Row", (Row,), {"__slots__": (), "_columns": ordered})
        return found

    def note_error(self, _error: Exception) -> None:
        """Take a transaction for open: an error's answer does not say, and with autocommit off there may be one."""
        if not self.raw.server_status & _STATUS_AUTOCOMMIT:
            self.raw.server_status |= _STATUS_IN_TRANSACTION

    def stopped_at_reading(self, error: BaseException) -> bool:
        """Tell whether the server refused a text before it ran any of it."""
        return error.args[:1] == (_SYNTAX,) or isinstance(error, InvalidParameterValue)

    def refused_several(self, _error: BaseException) -> bool:
        """Tell nothing: what is read as several statements may be a block."""
        return False

    async def after_error(self) -> None:
        """Ask with a ping: an error's answer does not say whether a transaction is open.

        A deadlock ends it, and so does DDL that fails; with autocommit off a statement that fails may have begun one.
        """
        if self.raw.server_status & (_STATUS_AUTOCOMMIT | _STATUS_IN_TRANSACTION) != _STATUS_AUTOCOMMIT:
            await self.raw.ping(reconnect=False)

    async def held(self, pins: Sequence[str], locks: Sequence[tuple[str, str]]) -> set[str]:
        """Ask the server about named locks, by their names: it tells of nothing else."""
        held = set(pins)
        for cause, name in locks:
            if cause in held and await self.fetch_value(_HOLDS_LOCK, (name,)) == 0:  # no row is not an answer
                held.discard(cause)
        return held

    @contextlib.asynccontextmanager
    async def without_limits(self) -> AsyncIterator[None]:
        """Do nothing: a question that fails leaves the transaction as it was."""
        yield

    async def reset(self) -> None:
        """Send COM_RESET_CONNECTION, then go back to the database, character set and autocommit of a new connection."""
        raw = self.raw
        await raw._execute_command(_COM_RESET_CONNECTION, b"")  # noqa: SLF001 - asyncmy has no call for it
        await raw._read_ok_packet()  # noqa: SLF001
        raw.has_warned = False
        await raw.select_db(self._database)
        await raw.query(
            "SET NAMES utf8mb4" if raw.server_status & _STATUS_AUTOCOMMIT else "SET autocommit = 1, NAMES utf8mb4"
        )
        for statement in self._at_first:
            await raw.query(statement)

    def remembers(self) -> bool:
        """Tell whether an answer had warnings."""
        return self.raw.has_warned  # type: ignore[no-any-return]

    async def forget_memory(self) -> None:
        """Overwrite the last key, and the counts; a question over a table drops the warnings."""
        await self.raw.query(_FORGET)
        self.raw.has_warned = False

    def share_prepared(self, meaning: Callable[[], Meaning]) -> None:
        """Do nothing: nothing is prepared, the arguments are in the text."""

    def close_nothing(self) -> None:
        """Do nothing."""

    def forget_changed(self) -> None:
        """Do nothing."""

    def forget_prepared(self) -> None:
        """Do nothing."""

    async def close_prepared(self) -> None:
        """Do nothing."""

    async def apply(self, assignments: Sequence[tuple[str, str]]) -> None:
        """Replay tracked settings: one SET for all that can share it."""
        joined: list[str] = []
        for key, text in assignments:
            alone = key == "database" or text.startswith("SESSION TRANSACTION")
            if alone and joined:  # a database may change the character set, and a character set what a database has set
                await self.raw.query(f"SET {', '.join(joined)}")
                joined = []
            if key == "database":
                await self.raw.select_db(text)
            elif alone:
                await self.raw.query(f"SET {text}")
            else:
                joined.append(text)
        if joined:
            await self.raw.query(f"SET {', '.join(joined)}")

    def reads_standard(self) -> bool:
        """Tell nothing: the mode is the session's own."""
        return True

    async def reads_by(self) -> tuple[str, str]:
        """Ask by which mode a new connection reads its texts, and what its database is.

        After a reset it overwrites what FOUND_ROWS() tells, too.
        """
        mode, database = await self.fetch_one(
            "SELECT @@session.sql_mode, DATABASE() LIMIT 1", ()
        )  # over sql_select_limit
        return str(mode), str(database or "")

    async def search_path(self) -> str:
        """Tell nothing: names are looked up in the database alone."""
        return ""

    async def is_writer(self) -> bool:
        """Ask the server whether it accepts writes, and how long a statement may be."""
        *read_only, packet_bytes_max, init_connect = await self.fetch_one(_ROLE, ())
        self._packet_bytes_max = int(packet_bytes_max)
        if init_connect != self._init_connect:
            self._init_connect = init_connect
            self._at_first = []
            if init_connect and not await self.fetch_value(_IS_EXEMPT, ()):
                self._at_first = split_statements(self.engine, init_connect) or [init_connect]
        return all(str(value).upper() in {"0", "OFF"} for value in read_only)

    async def replica_lag(self) -> float | None:
        """Ask a replica how many seconds it is behind, the most of all its sources; None when one of them does not replicate."""
        word = "REPLICA" if self._says_replica() else "SLAVE"
        every = "ALL SLAVES" if "MariaDB" in self.server_version else word
        rows = await self.fetch_all(f"SHOW {every} STATUS", ())
        lags = [row.get("Seconds_Behind_Master", row.get("Seconds_Behind_Source")) for row in rows]
        return None if not lags or None in lags else float(max(lags))

    def _says_replica(self) -> bool:
        """Tell whether this is a MySQL that knows the new words: since 8.0.22; since 8.4 it knows no others."""
        numbers = [int(number) for number in re.findall(r"\d+", self.server_version)[:3]]
        return numbers >= [8, 0, 22]

    async def connection_limit(self) -> int:
        """Ask for ``max_connections``, or the user's own limit when that is lower."""
        everyone, user = await self.fetch_one("SELECT @@global.max_connections, @@session.max_user_connections", ())
        return min(everyone, user) if user else int(everyone)

    async def kill(self, server_id: int) -> None:
        """End another connection of the same user."""
        try:
            await self.raw.query(f"KILL {server_id:d}")
        except asyncmy_errors.Error as error:
            if error.args[:1] != (_UNKNOWN_THREAD,):
                raise

    async def close(self, *, interrupted: bool) -> None:
        """Say COM_QUIT when nothing runs, and drop the transport."""
        if not interrupted and not self.is_broken():
            with contextlib.suppress(Exception):  # it is closed by force below, whatever went wrong
                await self.raw.ensure_closed()
        self.raw.close()

    def abort(self) -> None:
        """Drop the transport at once."""
        transport = self.raw._transport  # noqa: SLF001
        if transport is not None:
            transport.abort()


def _first_value(result: Any) -> Any:
    return result.rows[0][0] if result.rows else None


def _done(result: Any) -> Result:
    return Result(result.affected_rows, result.insert_id)


class MySQLDriver:
    """MySQL and MariaDB."""

    engine = "mysql"
    needs_kill = True

    def __init__(self, judge: StatementJudge) -> None:
        self.judge = judge
        if asyncmy is None:
            raise DBProxyError("MySQL and MariaDB need the driver asyncmy: pip install 'forebay[mysql]'")

    async def open(self, address: Address, credentials: Credentials, settings: ProxySettings) -> MySQLWire:
        """Open one connection."""
        raw = GuardedConnection(
            host=address.host,
            port=address.port,
            user=credentials.username,
            password=credentials.password,
            database=settings.target.database,
            connect_timeout=settings.connect_timeout,
            autocommit=True,
            charset="utf8mb4",
            ssl=settings.tls,
            program_name="forebay",
        )
        await raw.connect()
        return MySQLWire(raw, settings.target.database)

    def translate(self, error: BaseException, wire: Any, where: str) -> Failure:
        """Translate an exception of asyncmy."""
        code = error.args[0] if isinstance(error, asyncmy_errors.Error) and error.args else None
        text = str(error.args[1]) if code is not None and len(error.args) > 1 else str(error)
        if wire is None:
            return _connect_failure(error, code, text, where)
        if isinstance(code, int) and code > 0 and code not in _LOST and not wire.is_broken():
            return Failure(DatabaseError(text, str(code)), broken=False, read_only=code in _READ_ONLY)
        if isinstance(error, InvalidParameterValue):
            return Failure(error, broken=False)
        return Failure(ConnectionLost(f"MySQL at {where} went away: {text or type(error).__name__}"), broken=True)


def _connect_failure(error: BaseException, code: Any, text: str, where: str) -> Failure:
    if isinstance(error, DBProxyError):
        return Failure(error, broken=True)
    if code in _DENIED:
        return Failure(AuthenticationFailed(f"MySQL at {where} refused the credentials: {text}"), broken=True)
    if code in _FULL:
        return Failure(ServerFull(f"MySQL at {where} has no room for another connection: {text}"), broken=True)
    if isinstance(code, int) and 0 < code < _CLIENTS_OWN:  # it was reached
        return Failure(DatabaseUnavailable(f"MySQL at {where} refused the connection: {text}"), broken=True)
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)) or isinstance(error.__cause__, TimeoutError):
        text = "no answer within connect_timeout"
    elif isinstance(error.__cause__, OSError):
        text = error.__cause__.strerror or text
    return Failure(
        DatabaseUnavailable(f"MySQL at {where} cannot be reached: {text or type(error).__name__}"), broken=True
    )
