"""One server's DB connections: opened on demand, lent one at a time, and counted until the server itself has let go of them.

Never more than the maximum at the server: a connection that is being closed keeps its place until the server has hung up.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from typing import TYPE_CHECKING

from forebay.dbproxy.connection import AUTOCOMMIT_OFF, NOBODY, DBConnection
from forebay.dbproxy.opening import open_wire
from forebay.dbproxy.retry import Retry
from forebay.dbproxy.secrets import credentials_of
from forebay.dbproxy.server_close import shut_down, wait_until_closed
from forebay.dbproxy.session import Tracked, replay
from forebay.errors import AuthenticationFailed, DatabaseUnavailable, DBProxyError

if TYPE_CHECKING:
    from forebay.dbproxy.borrow_queue import BorrowQueue
    from forebay.dbproxy.driver import Driver, Wire
    from forebay.dbproxy.permit_client import PermitClient, ServerPermits
    from forebay.dbproxy.settings import Address, ProxySettings
    from forebay.dbproxy.statistics import Counters
    from forebay.dbproxy.tasks import Tasks
    from forebay.dbproxy.watch import Watch

COMMITS_AGAIN = [("autocommit", "autocommit = 1")]  # a reset would cost several round trips
NEEDED = frozenset(
    ("database", "role", "session authorization", "search_path")
)  # whose tables they are, and whose rights
RESET_SECONDS_MAX = 10.0
FINISHES_BY_ITSELF_SECONDS = 0.05
SPARE_WAIT_SECONDS_MAX = 1.0
SERVER_CLOSE_SECONDS_MAX = 60.0

log = logging.getLogger("forebay.dbproxy")


class Pool:
    """The DB connections of one server."""

    def __init__(
        self,
        address: Address,
        driver: Driver,
        settings: ProxySettings,
        *,
        watch: Watch,
        counters: Counters,
        tasks: Tasks,
    ) -> None:
        self.address = address
        self.where = str(address)
        self.driver = driver
        self.settings = settings
        self.maximum = settings.maximum_connections or 1  # of a percentage: once the server has told its limit
        self.limit_known = settings.maximum_connections is not None
        self.connections: set[DBConnection] = set()
        self.opening = 0
        self.leaving = 0
        self.retry = Retry()
        self.waits_for = ""
        """What the newest connection that is being opened waits for."""
        self.last_error: DBProxyError | None = None
        self.queue: BorrowQueue | None = None
        self.closed = False
        self.paused = False
        self._lowered = False
        """Its maximum has been changed: there may be more connections."""
        self.too_far_behind = self.told_behind = False
        """It is a replica whose lag is over ``maximum_replica_lag``: it is asked again with the next question for roles."""
        self.refused_as_writer = False
        """It says that it is the writer, and another one is: it is asked again with the next question for roles."""
        self.minimum = settings.minimum_connections
        self.minimum_refused = False
        """None of the app's permits was free for a connection that only the minimum asks for."""
        self._permits: ServerPermits | None = None
        self._watch = watch
        self._counters = counters
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._retry_timer: asyncio.TimerHandle | None = None
        self._urgent: list[asyncio.Future[DBConnection]] = []
        self._above_maximum = asyncio.Lock()
        self._random = random.Random()  # noqa: S311 - jitter, not a secret

    @property
    def size(self) -> int:
        """Connections the server may count as ours."""
        return len(self.connections) + self.opening + self.leaving

    @property
    def failures(self) -> int:
        """So many times in a row no connection could be opened; attempts at the same time are one."""
        return self.retry.failures

    @property
    def asked(self) -> int:
        """So many of those that are being opened wait for a permit."""
        return self._permits.asked if self._permits is not None else 0

    @property
    def on_its_way(self) -> int:
        """So many connections are being opened that wait for the server alone."""
        return self.opening - self.asked

    def idle(self) -> list[DBConnection]:
        """List this server's idle connections, the longest idle first."""
        return [db for db in self.queue.idle if db.pool is self] if self.queue is not None else []

    # Lending

    def give_back(self, db: DBConnection) -> None:
        """Take a connection back: to the oldest waiter, else to the idle ones."""
        if db.retired or db.must_close or db.wire.is_unfit():  # as `is_usable`, with a call less for each statement
            self.discard(db)
            return
        while self._urgent:
            future = self._urgent.pop()
            if not future.done():
                future.set_result(db)
                return
        queue = self.queue
        if (
            queue is None
            or self.closed
            or self.paused
            or (self._permits is not None and self._is_owed())
            or (self._lowered and self.size > self.maximum)
        ):
            self.discard(db)
        elif queue.hand_over(db):
            if self._permits is not None:
                self.want_less()
        else:
            db.idle_since = self._loop.time()
            queue.idle[db] = None

    async def prepare(
        self,
        db: DBConnection,
        client: int,
        want: Tracked,
        *,
        exclusive: bool,
        keeps: bool,
        without_refused: bool = False,
    ) -> Tracked:
        """Make a borrowed connection fit for a client: reset what others left, replay what is the client's own.

        Args:
            db: the connection.
            client: the client's number.
            want: its settings.
            exclusive: its statement asks what the session holds, so that nothing of others may be there.
            keeps: it will keep the connection, and may ask later what the session remembers.
            without_refused: leave out what the server does not take any more, if the client may go on without it.

        Returns:
            The settings that it has now.

        """
        shows_texts = exclusive and db.shows_texts(client)
        exclusive = exclusive or (keeps and db.holds_value)
        if db.used_by not in (NOBODY, client) and (db.dirty or exclusive or self.settings.hygiene_always):
            if shows_texts:
                db.wire.forget_prepared()  # the reset closes them
                db.texts_of = NOBODY
            await self.reset(db)
        elif shows_texts:
            async with asyncio.timeout(RESET_SECONDS_MAX):
                await self.hide_texts(db, client)
        elif keeps and db.remembers_others(client):
            async with asyncio.timeout(RESET_SECONDS_MAX):
                await db.wire.forget_memory()
            db.remembers = False
        if db.tracked is not want:
            steps = COMMITS_AGAIN if db.tracked is AUTOCOMMIT_OFF and not want else replay(db.tracked, want)
            if steps is None:
                await self.reset(db)
                steps = list(want.items())
            if steps:
                self._counters.replays += 1
                async with asyncio.timeout(RESET_SECONDS_MAX):
                    if without_refused:
                        want = await self._without_refused(db, want, steps)
                    else:
                        await db.wire.apply(steps)
            db.tracked = want
        db.is_used_by(client)
        return want

    async def hide_texts(self, db: DBConnection, client: int) -> None:
        """Close what the driver has prepared: a statement that asks what the session holds would be shown others' texts."""
        await db.wire.close_prepared()
        db.texts_of = client

    async def _without_refused(self, db: DBConnection, want: Tracked, steps: list[tuple[str, str]]) -> Tracked:
        for key, text in steps:
            try:
                await db.wire.apply([(key, text)])
            except Exception as error:
                if key in NEEDED or self.driver.translate(error, db.wire, self.where).broken:
                    raise
                log.warning("%s takes a client's setting no more, it goes on without: %s (%s)", self.where, key, error)
                want = {other: kept for other, kept in want.items() if other != key}
        return want

    async def reset(self, db: DBConnection) -> None:
        """Bring a connection back to how it was when it was opened."""
        self._counters.resets += 1
        async with asyncio.timeout(RESET_SECONDS_MAX):
            await db.wire.reset()
            for statement in self.settings.init_query:
                await db.wire.execute(statement, ())
            reads = await db.wire.reads_by()  # by what the server has for all now
        db.renewed()
        if reads != db.reads:
            db.reads = reads
            self._watch.reads_by(db)

    def clean(self, db: DBConnection) -> None:
        """Reset a connection whose client has gone, then lend it on. Its locks must not outlive the client."""
        self._tasks.start(self._clean(db))

    async def _clean(self, db: DBConnection) -> None:
        if db.is_usable():
            try:
                await self.reset(db)
            except Exception as error:  # noqa: BLE001 - a failed reset, for whatever reason, makes it unfit
                log.warning(
                    "connection %d to %s could not be reset (%s): closed",
                    db.wire.server_id,
                    self.where,
                    type(error).__name__,
                )
                self.discard(db, interrupted=True)
                return
        self.give_back(db)

    # Opening

    def grow(self) -> None:
        """Open connections for those who wait, as far as the maximum allows."""
        while self._may_open():
            self.opening += 1
            self._tasks.start(self._open())

    def _may_open(self) -> bool:
        if self.closed or self.paused or self.too_far_behind or self.refused_as_writer or self.size >= self.maximum:
            return False
        at_once = 1 if self.queue is None or not self.limit_known else self.retry.at_once
        return self._retry_timer is None and self.opening < at_once and self._is_wanted()

    def _is_wanted(self) -> bool:
        if not self.minimum_refused and len(self.connections) + self.opening < self.minimum:
            return True
        if self.queue is None:  # its role is unknown: one connection finds out
            return not self.connections
        return self.queue.waiting > self.opening

    async def _open(self) -> None:
        began = self.retry.rounds
        try:
            permit = await self._permits.take(waits=self._is_waited_for()) if self._permits is not None else None
            if permit is None and self._permits is not None:
                return  # none is free, or nobody waits any more: it is counted no longer
            began = self.retry.rounds
            db = await self._connect(permit)
        except DBProxyError as error:
            self.opening -= 1
            self._failed(began, error)
            return
        except BaseException:
            self.opening -= 1
            raise
        self.opening -= 1
        if self.retry.succeeded(began) and not self.too_far_behind:
            self.last_error = None
        if db.permit is None and self._permits is not None:  # it was asked for before there were permits
            db.permit = self._permits.hold()
        self.connections.add(db)
        self._counters.connections_succeeded += 1
        # The client that its permit was given for uses it first: what is owed to other processes is paid with what comes back.
        if self.queue is None or self.closed or self.paused or self._urgent or not self.queue.hand_over(db):
            self.give_back(db)
        self.grow()
        if not self.opening and not self.failures:
            self.retry.over()
        self._forget_failures()

    async def _connect(self, permit: int | None) -> DBConnection:
        """Open a connection, learn the server's role and limit, run ``init_query``."""
        self._counters.connections_requested += 1
        self._counters.probes += 1
        try:
            wire = await open_wire(self)
        except BaseException:
            self._free(permit)
            raise
        db = DBConnection(wire, self, self._loop.time(), permit)
        if permit is not None and self._permits is not None:
            self._permits.opened(permit, wire.socket)
        try:
            async with asyncio.timeout(self.settings.connect_timeout):
                await self._introduce(db)
        except BaseException as error:
            self.discard(db, interrupted=True)
            if isinstance(error, TimeoutError):
                raise DatabaseUnavailable(
                    f"{self.where} accepts connections but does not answer within connect_timeout"
                ) from None
            if not isinstance(error, Exception):
                raise
            raise self.unusable(error, wire) from error
        return db

    async def _introduce(self, db: DBConnection) -> None:
        writer = await db.wire.is_writer()
        if not self.limit_known:
            limit = await db.wire.connection_limit()
            self.maximum = max(1, math.floor(limit * (self.settings.maximum_connections_percent or 100.0) / 100.0))
            self.limit_known = True
            if self._permits is not None:
                self._permits.limit(self.maximum)
        for statement in self.settings.init_query:
            await db.wire.execute(statement, ())
        db.reads = await db.wire.reads_by()
        self._watch.reads_by(db)
        path = await db.wire.search_path()
        if path and self.driver.judge.judge(f"SET search_path = {path}").must_close:
            raise DatabaseUnavailable(
                f"{self.where} begins each session with search_path = {path}: a table may be temporary, or a name another's "
                "than PostgreSQL's own, without a word of it in a statement. Next: ALTER ROLE or ALTER DATABASE ... RESET "
                "search_path, or a path without pg_temp and with pg_catalog first or not at all"
            )
        self._watch.opened(self, writer=writer, lag=await self.lag(db) if not writer else 0.0)

    async def lag(self, db: DBConnection) -> float:
        """Ask a replica how many seconds it is behind, if there is a limit; infinity when it cannot tell."""
        if self.settings.maximum_replica_lag is None:
            return 0.0
        try:
            lag = await db.wire.replica_lag()
        except Exception as error:
            told = self.driver.translate(error, db.wire, self.where)
            if told.broken:
                raise
            log.warning("%s does not say how far it is behind: %s", self.where, told.error)
            return math.inf
        return math.inf if lag is None else lag

    def unusable(self, error: Exception, wire: Wire) -> DBProxyError:
        """Say that a connection failed before its client could use it."""
        if isinstance(error, DatabaseUnavailable):
            return error
        translated = self.driver.translate(error, wire, self.where).error
        if isinstance(translated, DatabaseUnavailable | AuthenticationFailed):
            return translated
        return DatabaseUnavailable(
            f"a connection to {self.where} could not be set up (role, limit, init_query): {translated}"
        )

    def _failed(self, began: int, error: DBProxyError) -> None:
        self._counters.connections_failed += 1
        self._counters.probes_failed += 1
        if self.retry.failed(began, error):
            self.last_error = error
            if self.retry.is_news(error):
                log.warning("no connection to %s: %s: %s", self.where, type(error).__name__, error)
        if self._retry_timer is None and not self.closed:
            pause = self.retry.pause * self._random.uniform(0.5, 1.0)
            self._retry_timer = self._loop.call_later(pause, self._retry_now)
        self._watch.unreachable(self, error)

    def _retry_now(self) -> None:
        self._retry_timer = None
        self.grow()
        self._forget_failures()

    def _forget_failures(self) -> None:
        """Forget what the server said where nothing is asked of it: it is old when somebody needs a connection again."""
        is_idle = self._retry_timer is None and not self.opening and not self._is_wanted()
        if self.failures and is_idle and self.connections:
            self.retry.forget()
            self.last_error = self.last_error if self.too_far_behind else None

    # Permits, where processes of an app share the maximum

    def share(self, client: PermitClient, minimum: int) -> None:
        """Open a connection only with a permit from now on."""
        self._permits, self.minimum = client.of(self), minimum
        for db in self.connections:
            db.permit = self._permits.hold()

    def _is_waited_for(self) -> bool:
        """Tell whether the last connection that is being opened is for a client, not for the minimum alone."""
        return self.queue is None or self.queue.waiting >= self.opening

    def _is_owed(self) -> bool:
        """Tell whether another process waits for the permit of a connection that comes back."""
        return self._permits is not None and self._permits.owed > self.leaving

    def _free(self, permit: int | None) -> None:
        if permit is not None and self._permits is not None:
            self._permits.free(permit)

    def want_less(self) -> None:
        """Wait for no more permits than are needed: a client has gone, or has another connection."""
        if self._permits is None or self.queue is None:
            return
        needed = max(self.queue.waiting, self.minimum - len(self.connections))
        for _ in range(min(self.opening - needed, self._permits.asked)):
            self.opening -= 1
            self._permits.cancel_last()

    def must_wait(self) -> None:
        """Let clients wait no longer than their own time: no connection is on its way to them."""
        if self.queue is not None:
            self.queue.nothing_comes()

    def refused(self) -> None:
        """Open what is wanted by the minimum alone at some other time."""
        self.opening -= 1
        self.minimum_refused = True
        self.grow()

    def close_idle(self) -> bool:
        """Close the connection that has been idle longest, if there is one."""
        for db in self.idle():
            if self.queue is not None:
                del self.queue.idle[db]
            self.discard(db)
            return True
        return False

    # Maintenance

    def limit(self, maximum: int) -> None:
        """Have another maximum from now on; what is borrowed above it closes as it comes back."""
        self.maximum, self.limit_known, self._lowered = maximum, True, True
        if self._permits is not None:
            self._permits.limit(maximum)
        while self.size > maximum and self.close_idle():
            pass
        self.grow()

    def pause(self) -> None:
        """Open nothing and lend nothing; connections close as they come back."""
        self.paused = True
        self._close_all_idle()

    def resume(self) -> None:
        """Lend again."""
        self.paused = False
        self.grow()

    def renew(self) -> None:
        """Replace every connection: the idle ones now, the borrowed ones as they come back."""
        for db in self.connections:
            db.retired = True
        self._close_all_idle()
        self.grow()

    def _close_all_idle(self) -> None:
        while self.close_idle():
            pass

    # Closing

    def discard(self, db: DBConnection, *, interrupted: bool = False) -> None:
        """Close a connection; its place is free when the server has hung up."""
        if db.leaving:
            return
        self.connections.discard(db)
        db.leaving = db.retired = True
        self.leaving += 1
        self._counters.interrupted += interrupted
        self._tasks.start(self._close(db, interrupted=interrupted))

    def retire(self, reason: str) -> None:
        """Close every connection: the idle ones now, the borrowed ones under their clients."""
        if self.connections:
            log.warning("closing %d connections to %s: %s", len(self.connections), self.where, reason)
        self._close_all_idle()
        for db in self.connections:
            db.retired = True
            db.wire.abort()
        self.limit_known = self.settings.maximum_connections is not None

    async def _close(self, db: DBConnection, *, interrupted: bool) -> None:
        sock = db.wire.socket
        try:
            await db.wire.close(interrupted=interrupted)
            shut_down(sock)
            if interrupted and self.driver.needs_kill and not await wait_until_closed(sock, FINISHES_BY_ITSELF_SECONDS):
                await self._kill(db.wire.server_id)
            if not await wait_until_closed(sock, SERVER_CLOSE_SECONDS_MAX):
                log.warning(
                    "%s still holds connection %d after %g s", self.where, db.wire.server_id, SERVER_CLOSE_SECONDS_MAX
                )
        finally:
            sock.close()
            self.leaving -= 1
            self._free(db.permit)
            self.grow()

    async def _kill(self, server_id: int) -> None:
        """End a statement that still runs, over the next connection that is free.

        When every connection of the pool is stuck, one more is opened for this one statement: the only case in which the
        server sees connections above the maximum, one of each process that shares it.
        """
        db = await self.spare()
        try:
            async with asyncio.timeout(RESET_SECONDS_MAX):
                if db is not None:
                    await db.wire.kill(server_id)
                else:
                    await self._kill_alone(server_id)
        except Exception as error:  # noqa: BLE001 - the close's own limit ends the wait, whatever the reason
            log.warning(
                "statement on connection %d to %s could not be killed: %s", server_id, self.where, type(error).__name__
            )
            if db is not None:
                self.discard(db, interrupted=True)
            return
        if db is not None:
            self.give_back(db)

    async def spare(self, seconds_max: float = SPARE_WAIT_SECONDS_MAX, *, but: int = 0) -> DBConnection | None:
        """Borrow for the proxy's own use: an idle connection, else the next that comes back; None when none does soon.

        What a client left on it is reset first: under ``default_transaction_read_only`` of one client the server would seem to be
        no writer any more.

        Args:
            seconds_max: how long it waits.
            but: so many connections whoever asks has already.

        """
        db = await self._spare(seconds_max, but)
        if db is not None and (db.dirty or db.tracked):
            try:
                await self.reset(db)
            except BaseException as error:  # a failed reset, for whatever reason, makes it unfit
                self.discard(db, interrupted=True)
                if not isinstance(error, Exception):  # whoever asked for it waits no more
                    raise
                log.warning(
                    "connection %d to %s could not be reset: %s", db.wire.server_id, self.where, type(error).__name__
                )
                return None
        return db

    async def _spare(self, seconds_max: float, but: int) -> DBConnection | None:
        for db in self.idle():
            if self.queue is not None and db.is_usable():
                del self.queue.idle[db]
                return db
        if len(self.connections) <= but:
            return None
        future: asyncio.Future[DBConnection] = self._loop.create_future()
        self._urgent.append(future)
        try:
            await asyncio.wait((future,), timeout=seconds_max)
        except BaseException:
            if future.done():
                self.give_back(future.result())
            else:
                self._urgent.remove(future)
            raise
        if future.done():
            return future.result()
        self._urgent.remove(future)
        return None

    async def _kill_alone(self, server_id: int) -> None:
        async with self._above_maximum:
            credentials = await credentials_of(self.settings.secret, self.settings.target.username)
            wire = await self.driver.open(self.address, credentials, self.settings)
            try:
                await wire.kill(server_id)
            finally:
                await wire.close(interrupted=False)
                shut_down(wire.socket)
                await wait_until_closed(wire.socket, RESET_SECONDS_MAX)
                wire.socket.close()

    def close(self) -> None:
        """Open nothing more, and close what is idle; borrowed connections close when they come back."""
        self.closed = True
        if self._retry_timer is not None:
            self._retry_timer.cancel()
            self._retry_timer = None
        self._close_all_idle()
