"""PostgreSQL through asyncpg: its connections, never its pool."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, cast

from forebay.dbproxy.driver import Failure, OthersFault, Result, ServerFull, duplicate_socket
from forebay.dbproxy.guard import GuardedLoop, StepGuard
from forebay.dbproxy.postgres_copy import copy_in, copy_out, copy_rows
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
    from forebay.dbproxy.prepared import Shown
    from forebay.dbproxy.secrets import Credentials
    from forebay.dbproxy.session import Meaning
    from forebay.dbproxy.settings import Address, ProxySettings

try:
    import asyncpg

    from forebay.dbproxy.prepared import SharedConnection
except ImportError:
    asyncpg = None

CACHED_STATEMENTS_MAX = 200  # per connection, as PgBouncer's max_prepared_statements
CLOSE_SECONDS_MAX = 5.0
CANCEL_SECONDS_MAX = 2.0
_SHUTDOWN_STATES = frozenset(("57P01", "57P02", "57P03", "57P05"))
_READ_ONLY_STATE = "25006"
_FULL_STATE = "53300"  # of the server, the database or the role
_IGNORED_STATE = "25P02"  # its transaction has failed

# Everything a session can hold, except the statements the driver has prepared for itself and uses again.
_RESET = """
SET SESSION AUTHORIZATION DEFAULT; RESET ALL; CLOSE ALL; UNLISTEN *; SELECT pg_advisory_unlock_all();
DISCARD PLANS; DISCARD SEQUENCES; DISCARD TEMP;
DO $$DECLARE statement text; BEGIN
  FOR statement IN SELECT name FROM pg_prepared_statements WHERE from_sql LOOP
    EXECUTE 'DEALLOCATE ' || quote_ident(statement);
  END LOOP;
END$$
"""
# What is temporary depends on its namespace: tables, and functions, types and domains as well. A temporary table may be called
# `pg_class`, and the session's path may be anything.
_HELD = """SELECT
 EXISTS (SELECT FROM pg_catalog.pg_depend
  WHERE refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass
  AND refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()) AS "temporary table",
 EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory'
  AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()) AS "advisory lock",
 EXISTS (SELECT FROM pg_catalog.pg_listening_channels()) AS "LISTEN",
 EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable AND name OPERATOR(pg_catalog.<>) '') AS "cursor",
 EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE from_sql) AS "prepared statement",
 pg_catalog.current_setting('role') OPERATOR(pg_catalog.<>) 'none' AS "role",
 session_user OPERATOR(pg_catalog.<>) (SELECT usename FROM pg_catalog.pg_stat_activity
  WHERE pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()) AS "session authorization"
"""
_BELOW = ("SAVEPOINT forebay_asks", "ROLLBACK TO SAVEPOINT forebay_asks; RELEASE SAVEPOINT forebay_asks")
_ALONE = ("BEGIN ISOLATION LEVEL READ COMMITTED", "ROLLBACK")
_LIMIT = """SELECT least(
 current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
 (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = session_user),
 (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database()))
"""
_LAG = """SELECT CASE
 WHEN EXISTS (SELECT FROM pg_stat_wal_receiver) AND pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
 ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END
"""
_IS_WRITER = "SELECT NOT pg_is_in_recovery() AND NOT current_setting('default_transaction_read_only')::bool"


class PostgresWire:
    """One PostgreSQL connection."""

    engine = "postgresql"
    __slots__ = (
        "guard",
        "in_transaction",
        "is_broken",
        "is_unfit",
        "out_of_step",
        "prepared_as_of",
        "raw",
        "server_id",
        "server_version",
        "socket",
    )

    def __init__(self, raw: Any) -> None:
        self.raw = raw
        self.server_id: int = raw.get_server_pid()
        version = raw.get_server_version()
        self.server_version = f"{version.major}.{version.minor}"
        self.socket = duplicate_socket(raw._transport)  # noqa: SLF001 - asyncpg shows its transport nowhere else
        self.out_of_step = False
        guard = raw._transport.get_protocol()  # noqa: SLF001
        self.guard = guard if isinstance(guard, StepGuard) else None
        if self.guard is not None:  # over TLS nobody else can send anything
            self.guard.slipped = self._slip
            self.guard.loosened = self._loosen
        self.is_broken = self.is_unfit = raw.is_closed  # what comes between two statements is read at once
        self.in_transaction = raw.is_in_transaction
        self.prepared_as_of = time.time()  # Unix time

    def _loosen(self, is_loose: bool) -> None:
        self.out_of_step = is_loose

    def _slip(self) -> None:
        self.out_of_step = True
        self.abort()

    def fetch_all(self, sql: str, args: Sequence[Any]) -> Awaitable[list[Any]]:
        """Run a statement and give all its rows (``asyncpg.Record``)."""
        return self.raw.fetch(sql, *args)  # type: ignore[no-any-return]

    def fetch_one(self, sql: str, args: Sequence[Any]) -> Awaitable[Any]:
        """Run a statement and give its first row, or None."""
        return self.raw.fetchrow(sql, *args)  # type: ignore[no-any-return]

    def fetch_value(self, sql: str, args: Sequence[Any]) -> Awaitable[Any]:
        """Run a statement and give the first column of its first row, or None."""
        return self.raw.fetchval(sql, *args)  # type: ignore[no-any-return]

    async def execute(self, sql: str, args: Sequence[Any]) -> Result:
        """Run a statement for its effect; several statements are allowed when there are no arguments."""
        return _result(await self.raw.execute(sql, *args))

    async def execute_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> Result:
        """Run a statement once per row of arguments, all or nothing."""
        await self.raw.executemany(sql, rows)
        return Result()

    async def stream(self, sql: str, args: Sequence[Any], prefetch: int) -> AsyncIterator[Any]:
        """Give rows through a cursor; the caller holds a transaction."""
        async for row in self.raw.cursor(sql, *args, prefetch=prefetch):
            yield row

    async def copy_in(self, sql: str, what: tuple[Any]) -> Result:
        """Run ``COPY … FROM STDIN`` with what a source gives."""
        (source,) = what
        return _result(await self._in_step(copy_in(self.raw, sql, source)))

    async def copy_out(self, sql: str, what: tuple[Any]) -> Result:
        """Run ``COPY … TO STDOUT`` into a sink."""
        (sink,) = what
        try:
            return _result(await copy_out(self.raw, sql, sink))
        except OthersFault:
            self.abort()  # asyncpg does not know how much of the answer is still to come
            raise

    async def copy_rows(self, _sql: str, what: tuple[tuple[str, Any, list[str] | None, str | None]]) -> Result:
        """Copy rows into a table."""
        return _result(await self._in_step(copy_rows(self.raw, *what[0])))

    async def _in_step(self, copying: Awaitable[str]) -> str:
        """Wait for the end of a COPY. asyncpg cancels one that is aborted, and that must not meet the next statement."""
        try:
            return await copying
        except Exception:
            try:
                async with asyncio.timeout(CANCEL_SECONDS_MAX):
                    await self.raw._protocol._wait_for_cancellation()  # noqa: SLF001 - asyncpg waits so before a statement
            except TimeoutError:  # the server had ended the COPY before: asyncpg waits for ever
                self.abort()
            raise

    async def add_listener(self, channel: str, heard: Callable[..., None], lost: Callable[..., None]) -> None:
        """Call back with each notification of a channel, and when the connection is gone."""
        self.raw._listeners.setdefault(channel, set())  # noqa: SLF001 - LISTEN has run: asyncpg must not send another one
        self.raw.add_termination_listener(lost)
        await self.raw.add_listener(channel, heard)

    def remove_listener(self, channel: str, heard: Callable[..., None], lost: Callable[..., None]) -> bool:
        """Call back no more, and send nothing; tell whether nobody else hears of the channel here."""
        self.raw.remove_termination_listener(lost)
        heard_by: set[Any] = self.raw._listeners.get(channel, set())  # noqa: SLF001 - its own way sends UNLISTEN at once
        for callback in [callback for callback in heard_by if callback.cb == heard]:
            heard_by.discard(callback)
        if not heard_by:
            self.raw._listeners.pop(channel, None)  # noqa: SLF001 - as above
        return not heard_by

    def reads_standard(self) -> bool:
        """Tell whether a backslash in quotes is a backslash: the server reports each change of it."""
        return self.raw.get_settings().standard_conforming_strings != "off"  # type: ignore[no-any-return]

    async def reads_by(self) -> tuple[str, str]:
        """Tell by which mode a new connection reads its texts."""
        return ("" if self.reads_standard() else "off"), ""

    async def search_path(self) -> str:
        """Ask where a new connection looks names up: a role or a database may have a path of its own."""
        return str(await self.raw.fetchval("SHOW search_path"))

    def stopped_at_reading(self, error: BaseException) -> bool:
        """Tell whether the server refused a statement before it ran any of it.

        An error of reading has a position; one of a function that ran has a context, and a cast that ran has neither.
        """
        if not isinstance(error, asyncpg.PostgresError):
            return isinstance(error, asyncpg.InterfaceError)
        state = error.sqlstate or ""
        was_read = state.startswith("42") and error.position
        return bool(was_read or state == _IGNORED_STATE) and not error.context

    def refused_several(self, error: BaseException) -> bool:
        """Tell whether the server refused to run any of a text because it has several statements, and may not."""
        return isinstance(error, asyncpg.PostgresSyntaxError) and not error.context

    def note_error(self, error: Exception) -> None:
        """Prepare anew what asyncpg refused an argument of, and take back a BEGIN that was not sent."""
        if self.guard is not None:
            self.guard.take_back()
        if refuses_argument(error):
            self.forget_refused()

    async def after_error(self) -> None:
        """Do nothing: every answer, an error too, ends with the transaction's status."""

    def prepared(self, sql: str) -> Shown | None:
        """Give a statement that is already prepared, as asyncpg's ``prepare`` does, and its columns; None when there is none."""
        raw = self.raw
        protocol = raw._protocol  # noqa: SLF001 - it has none any more once it is closed
        return protocol and raw._stmt_cache.shown(raw, (sql, protocol.get_record_class(), False))  # type: ignore[no-any-return]  # noqa: SLF001 - asyncpg's own key

    async def prepare_anew(self) -> None:
        """Drop what was prepared, and what is known of types."""
        await self.raw.reload_schema_state()
        self.prepared_as_of = time.time()

    def forget_refused(self) -> None:
        """Drop the statement whose argument was refused, and what is known of types: they may have been altered since.

        No other statement: an argument is far more often simply wrong, and the others are of use to others.
        """
        self.raw._stmt_cache.forget_last()  # noqa: SLF001 - it is ours
        self.raw._drop_local_type_cache()  # noqa: SLF001 - its public `reload_schema_state` drops all statements, too

    def remembers(self) -> bool:
        """Tell nothing: what a session remembers comes of a statement that is not a pure read."""
        return False

    async def forget_memory(self) -> None:
        """Forget which values of sequences the session was given."""
        await self.raw.execute("DISCARD SEQUENCES")

    def share_prepared(self, meaning: Callable[[], Meaning]) -> None:
        """Use a statement that was prepared before only where the session gives its text the same meaning."""
        self.raw._stmt_cache.meaning = meaning  # noqa: SLF001 - it is ours

    def close_nothing(self) -> None:
        """Close no prepared statement at the server any more."""
        self.raw.closes_nothing = True

    def forget_changed(self) -> None:
        """Drop what was prepared under a change of the session that has ended."""
        self.raw._stmt_cache.forget_changed()  # noqa: SLF001 - it is ours

    def forget_prepared(self) -> None:
        """Drop everything that was prepared: ``pg_prepared_statements`` has its texts."""
        self.raw._stmt_cache.clear()  # noqa: SLF001 - it is ours

    async def close_prepared(self) -> None:
        """Drop everything that was prepared, and close it at the server at once."""
        self.forget_prepared()
        await self.raw.close_dropped()

    async def held(self, pins: Sequence[str], _locks: Sequence[tuple[str, str]]) -> set[str]:
        """Ask the server which pin causes still exist. Who listens keeps its connection, even if it has said UNLISTEN itself."""
        held = dict(await self.raw.fetchrow(_HELD))
        held["LISTEN"] = held["LISTEN"] or bool(self.raw._listeners)  # noqa: SLF001 - asyncpg shows them nowhere else
        return {pin for pin in pins if held.get(pin.partition(":")[0], True)}

    @contextlib.asynccontextmanager
    async def without_limits(self) -> AsyncIterator[None]:
        """Ask without the session's time limits, below a savepoint or in a transaction that is undone."""
        begin, end = _BELOW if self.in_transaction() else _ALONE
        await self.raw.execute(f"{begin}; SET LOCAL statement_timeout = 0")
        try:
            yield
        except Exception:
            if self.in_transaction():
                await self.raw.execute(end)
            raise
        await self.raw.execute(end)

    async def reset(self) -> None:
        """Undo whatever the session holds; the driver's own prepared statements stay, if they mean the same without it."""
        if self.in_transaction():
            await self.raw.execute("ROLLBACK")
        self.forget_changed()
        self.raw._listeners.clear()  # noqa: SLF001 - whoever listened here has gone
        await self.raw.execute(self.raw.take_dropped() + _RESET)

    async def apply(self, assignments: Sequence[tuple[str, str]]) -> None:
        """Replay tracked settings in one message."""
        await self.raw.execute("; ".join(text for _, text in assignments))

    async def is_writer(self) -> bool:
        """Ask the server whether it accepts writes."""
        return bool(await self.raw.fetchval(_IS_WRITER))

    async def replica_lag(self) -> float | None:
        """Ask a replica how many seconds it is behind: none when it has applied all that a running receiver has got."""
        lag = await self.raw.fetchval(_LAG)
        return None if lag is None else float(lag)

    async def connection_limit(self) -> int:
        """Ask for ``max_connections``, or the role's or database's own limit when that is lower."""
        return int(await self.raw.fetchval(_LIMIT))

    async def kill(self, server_id: int) -> None:
        """Do nothing: the driver has sent a CancelRequest already."""

    async def close(self, *, interrupted: bool) -> None:  # noqa: ARG002 - asyncpg itself cancels what still runs
        """Cancel what still runs, send Terminate, and wait a little for the server to hang up."""
        with contextlib.suppress(Exception):  # it is closed by force below, whatever went wrong
            await self.raw.close(timeout=CLOSE_SECONDS_MAX)
        self.abort()

    def abort(self) -> None:
        """Drop the transport at once."""
        self.in_transaction = _no_transaction  # the driver forgets, and raises when it is asked
        self.raw.terminate()


def _result(status: str) -> Result:
    last = status.rpartition(" ")[2]
    return Result(int(last) if last.isdigit() else 0, 0, status)


def _no_transaction() -> bool:
    return False


class PostgresDriver:
    """PostgreSQL."""

    engine = "postgresql"
    needs_kill = False

    def __init__(self, judge: StatementJudge) -> None:
        self.judge = judge
        if asyncpg is None:
            raise DBProxyError("PostgreSQL needs the driver asyncpg: pip install 'forebay[postgres]'")

    async def open(self, address: Address, credentials: Credentials, settings: ProxySettings) -> PostgresWire:
        """Open one connection."""
        raw = await asyncpg.connect(
            host=address.host,
            port=address.port,
            user=credentials.username,
            password=credentials.password,
            database=settings.target.database,
            ssl=settings.tls or False,
            loop=None if settings.tls else GuardedLoop(asyncio.get_running_loop()),
            timeout=settings.connect_timeout,
            statement_cache_size=CACHED_STATEMENTS_MAX,
            max_cached_statement_lifetime=0,
            connection_class=SharedConnection,
            server_settings={"application_name": "forebay"},
        )
        return PostgresWire(raw)

    def translate(self, error: BaseException, wire: Any, where: str) -> Failure:
        """Translate an exception of asyncpg."""
        if wire is None:
            return _connect_failure(error, where)
        closed = wire.is_broken()
        if isinstance(error, asyncpg.PostgresError):
            return _told_by_server(error, wire, where, closed=closed)
        if isinstance(error, OthersFault):
            return Failure(cast("Exception", error.__cause__), broken=closed, is_users=True)
        if isinstance(error, (asyncpg.InterfaceError, InvalidParameterValue)) and not closed:
            return Failure(InvalidParameterValue(str(error)), broken=False)
        if isinstance(error, (ValueError, ArithmeticError)) and not closed:  # asyncpg reads the rest of the answer
            reason = (
                f"the statement has run, but Python has no value for what it gave ({error}): convert it to text in SQL"
            )
            return Failure(DatabaseError(reason), broken=False)
        what, why = "went away", str(error) or type(error).__name__
        if isinstance(error, asyncpg.InternalClientError):
            if closed and "cannot switch to state" in why:  # what the server said last came in between
                why = f"it ended the connection when the statement was to be sent ({why})"
            else:
                what = "sent an answer that cannot be read"
        return Failure(ConnectionLost(f"PostgreSQL at {where} {what}: {why}"), broken=True)


def _told_by_server(error: Any, wire: PostgresWire, where: str, *, closed: bool) -> Failure:
    """Translate an error of the server, or of asyncpg in the server's name."""
    state = error.sqlstate or ""
    if closed or state in _SHUTDOWN_STATES or state.startswith("08"):
        return Failure(ConnectionLost(f"PostgreSQL at {where} went away: {error}"), broken=True)
    wire.note_error(error)
    return Failure(DatabaseError(str(error), state), broken=False, read_only=state == _READ_ONLY_STATE)


def refuses_argument(error: BaseException) -> bool:
    """Tell whether asyncpg itself refused an argument: perhaps the statement is older than its column's type.

    The error is of the server's own class, but what the server sends has a severity.
    """
    return isinstance(error, asyncpg.DataError) and error.severity is None


def _connect_failure(error: BaseException, where: str) -> Failure:
    state = getattr(error, "sqlstate", None) or ""
    if state.startswith("28"):
        return Failure(AuthenticationFailed(f"PostgreSQL at {where} refused the credentials: {error}"), broken=True)
    if state == _FULL_STATE:
        return Failure(ServerFull(f"PostgreSQL at {where} has no room for another connection: {error}"), broken=True)
    if state:  # it was reached
        return Failure(DatabaseUnavailable(f"PostgreSQL at {where} refused the connection: {error}"), broken=True)
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        text = "no answer within connect_timeout"
    elif isinstance(error, OSError):
        text = error.strerror or str(error) or type(error).__name__
    else:
        text = str(error) or type(error).__name__
    return Failure(DatabaseUnavailable(f"PostgreSQL at {where} cannot be reached: {text}"), broken=True)
