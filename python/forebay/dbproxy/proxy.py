"""The database proxy: RDS Proxy's settings, queueing and pins in your own process."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, Self

from forebay._core import StatementJudge
from forebay.dbproxy import settings as checks
from forebay.dbproxy import statistics
from forebay.dbproxy.client import Client
from forebay.dbproxy.cluster import Cluster
from forebay.dbproxy.drivers import driver_of
from forebay.dbproxy.effect import Effect
from forebay.dbproxy.housekeeping import look_after_clients, seconds_between, tidy
from forebay.dbproxy.lender import Lender
from forebay.dbproxy.names import NAMES_SECONDS_MAX, Schema
from forebay.dbproxy.permit_client import PermitClient, connected
from forebay.dbproxy.permit_server import PermitServer
from forebay.dbproxy.pinned import Borrowed, Holders, Pinned, borrowed_of, pinned_of
from forebay.dbproxy.settings import ProxySettings, Target
from forebay.dbproxy.tasks import Tasks
from forebay.errors import DatabaseUnavailable, DBProxyError, InvalidParameterValue, TooManyClients

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import timedelta
    from types import TracebackType

    from forebay._core import Histogram
    from forebay.dbproxy.borrow_queue import BorrowQueue
    from forebay.dbproxy.borrowed_connection import BorrowedConnection
    from forebay.dbproxy.connection import DBConnection
    from forebay.dbproxy.pool import Pool
    from forebay.dbproxy.secrets import Secret

CLOSED = "the proxy was closed"
PAUSE_LOOK_SECONDS = 0.01
CLOSE_SECONDS_MAX = 10.0


class DBProxy:
    """A pool of few DB connections for thousands of clients, with RDS Proxy's settings and defaults.

    Args:
        target: ``"mysql://user:password@host:3306/db"``, ``"postgresql://…"``; several servers as ``"…@a:1,b:2/db"``;
            or a ``Target``.
        secret: where user name and password come from, if not from the URL: ``EnvSecret``, ``FileSecret``, or anything
            with ``async def get()``.
        maximum_connections: DB connections to each server, 1 to 16384 (10).
        maximum_connections_percent: instead: percent of the server's own limit, 1 to 100.
        minimum_connections: kept open, and opened by ``open()``; 0 to the maximum.
        maximum_idle_connections: kept after ``idle_connection_timeout``, 0 to the maximum; half of it when None.
        maximum_idle_connections_percent: instead, beside ``maximum_connections_percent``: percent of the server's own limit.
        connection_borrow_timeout: seconds a client waits for a DB connection, 0 to 300.
        idle_client_timeout: seconds until an idle client connection is closed, 0.001 to 28,800.
        client_lifetime: seconds until a client connection is closed, 0.001 to 86,400.
        idle_connection_timeout: seconds after which a DB connection without use may be closed, 0 to 86,400.
        connection_lifetime: seconds after which an idle DB connection is closed, 0.001 to 604,800.
        connect_timeout: seconds to open a DB connection, 0.01 to 300.
        query_timeout: seconds a statement may run, 0.001 to 86,400; no limit when None.
        init_query: statements run once on each new DB connection and after each reset, ``;`` between them. No secrets in it.
        session_pinning_filters: ``("EXCLUDE_VARIABLE_SETS",)``: variable sets do not pin.
        clean_functions: your own volatile functions, procedures and trigger functions that leave nothing in the session, as
            ``name`` or ``schema.name``; a statement that runs another one pins its client.
        hygiene: ``"auto"`` resets a connection that may carry state before another client gets it; ``"always"`` every one.
        require_tls: encrypt, and check the server's certificate and name.
        tls_context: encrypt with this context.
        maximum_clients: client connections at a time, 1 to 1,000,000.
        role_check_interval: seconds between questions who is the writer, when there are several servers, 0.01 to 3,600.
        idle_in_transaction_timeout: seconds a client may do nothing in a transaction, which is rolled back then; None: for ever.
        transaction_timeout: seconds a transaction may last before it is rolled back, 0.001 to 86,400; no limit when None.
        maximum_replica_lag: seconds a replica may be behind the writer to be lent to readers, 0 to 86,400; no limit when None.
        name: what it is called in metrics, as their label ``proxy``; the database's name when None. A second proxy of an app
            with the same one gets a number.
        users: further database users, by name, and where their passwords come from: ``proxy.connect(user="reports")``. They
            share the maximum.

    Raises:
        InvalidParameterValue: a setting is out of range or not understood.

    """

    def __init__(
        self,
        target: str | Target,
        *,
        secret: Secret | None = None,
        maximum_connections: int | None = None,
        maximum_connections_percent: float | None = None,
        minimum_connections: int = 0,
        maximum_idle_connections: int | None = None,
        maximum_idle_connections_percent: float | None = None,
        connection_borrow_timeout: float | timedelta = 120,
        idle_client_timeout: float | timedelta = 1800,
        client_lifetime: float | timedelta = 86_400,
        idle_connection_timeout: float | timedelta = 300,
        connection_lifetime: float | timedelta = 86_400,
        connect_timeout: float | timedelta = 10,
        query_timeout: float | timedelta | None = None,
        init_query: str | None = None,
        session_pinning_filters: Iterable[str] = (),
        clean_functions: Iterable[str] = (),
        hygiene: str = "auto",
        require_tls: bool = False,
        tls_context: ssl.SSLContext | None = None,
        maximum_clients: int = 10_000,
        role_check_interval: float | timedelta = 1.0,
        idle_in_transaction_timeout: float | timedelta | None = 300,
        transaction_timeout: float | timedelta | None = None,
        maximum_replica_lag: float | timedelta | None = None,
        users: Mapping[str, Secret] | None = None,
        name: str | None = None,
    ) -> None:
        where = checks.choose_target(target)
        self.settings = ProxySettings(
            target=where,
            secret=checks.choose_secret(secret, where),
            maximum_connections=maximum_connections,
            maximum_connections_percent=maximum_connections_percent,
            minimum_connections=minimum_connections,
            maximum_idle_connections=maximum_idle_connections,
            maximum_idle_connections_percent=maximum_idle_connections_percent,
            connection_borrow_timeout=checks.seconds("connection_borrow_timeout", connection_borrow_timeout),
            idle_client_timeout=checks.seconds("idle_client_timeout", idle_client_timeout),
            client_lifetime=checks.seconds("client_lifetime", client_lifetime),
            idle_connection_timeout=checks.seconds("idle_connection_timeout", idle_connection_timeout),
            connection_lifetime=checks.seconds("connection_lifetime", connection_lifetime),
            connect_timeout=checks.seconds("connect_timeout", connect_timeout),
            query_timeout=checks.optional_seconds("query_timeout", query_timeout),
            init_query=checks.check_init_query(init_query, where.engine),
            exclude_variable_sets=checks.check_filters(session_pinning_filters),
            clean_functions=checks.check_clean_functions(clean_functions),
            hygiene_always=checks.check_hygiene(hygiene),
            tls=checks.choose_tls(require_tls, tls_context),
            maximum_clients=maximum_clients,
            role_check_interval=checks.seconds("role_check_interval", role_check_interval),
            idle_in_transaction_timeout=checks.optional_seconds(
                "idle_in_transaction_timeout", idle_in_transaction_timeout
            ),
            transaction_timeout=checks.optional_seconds("transaction_timeout", transaction_timeout),
            maximum_replica_lag=checks.optional_seconds("maximum_replica_lag", maximum_replica_lag),
            users=checks.check_users(users),
        )
        self.engine = where.engine
        self.name = where.database if name is None else checks.check_name(name)
        self.counters = statistics.Counters()
        self._clients: dict[Lender, Client | BorrowedConnection] = {}
        self._numbers = 0
        self.on_failover: Callable[[str, str], None] | None = None
        """Called with the address of the writer that was and of the one that is. An app that the proxy is attached to sets it."""
        self._cluster: Cluster | None = None
        self._users: dict[str, Cluster] = {}
        self._schema = Schema(self._forget_names)
        self._paused = self._closed = False
        self._tasks = Tasks()
        self._permits: PermitClient | None = None
        self._permits_of_users: list[PermitClient] = []
        self._permit_server: PermitServer | None = None
        self._joined = ""
        self._housekeeper: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        target = self.settings.target
        return f"DBProxy({target.engine}://{','.join(map(str, target.addresses))}/{target.database})"

    # Opening and closing

    async def open(self) -> None:
        """Open the proxy, and its ``minimum_connections``, all of them; without a minimum nothing is connected yet.

        Raises:
            BorrowTimeout, DatabaseUnavailable: no server gave as many in ``connection_borrow_timeout``, or none is reached.
            AuthenticationFailed: the server refused the credentials.

        """
        cluster = self._begin()
        if self._minimum and not cluster.proven:
            await self._prove(cluster.writer_queue)
            most = cluster.writer.maximum if cluster.writer is not None else 1
            warm = [asyncio.ensure_future(self._borrow(cluster.writer_queue)) for _ in range(min(self._minimum, most))]
            try:
                await asyncio.wait(warm)
            finally:  # it may be cancelled: what came, or comes in the same breath, goes back
                for opening in warm:
                    opening.cancel()
                found = await asyncio.gather(*warm, return_exceptions=True)
                for db in found:
                    if not isinstance(db, BaseException):
                        db.pool.give_back(db)
            failure = next((error for error in found if isinstance(error, BaseException)), None)
            if failure is not None:
                raise failure

    def _begin(self) -> Cluster:
        if self._closed:
            raise DBProxyError(f"{self!r} is closed")
        if self._cluster is None:
            self._loop = asyncio.get_running_loop()
            if self.settings.users and self._permits is None:
                self.share()  # one maximum for all of them
            self._cluster = self._new_cluster(self.settings)
            self._cluster.on_failover = self._failed_over
            self._roles_checked_at = self._names_forgotten_at = self._loop.time()
            self._share_pools()
            for pool in self._cluster.pools:
                if self._paused:
                    pool.pause()
                pool.grow()
            self._housekeep()
        self._check_loop()
        return self._cluster

    def _check_loop(self) -> None:
        if self._cluster is not None and self._loop is not asyncio.get_running_loop():
            raise DBProxyError(f"{self!r} belongs to another event loop: make one proxy per loop")

    def _of_user(self, user: str | None) -> Cluster:
        """Give a user's servers; each user has connections of its own, under the one maximum."""
        cluster = self._begin()
        if user is None or user == self.settings.target.username:
            return cluster
        found = self._users.get(user)
        if found is None:
            if user not in self.settings.users:
                known = ", ".join(map(repr, self.settings.users)) or "none"
                raise InvalidParameterValue(f"user={user!r}: the proxy has no secret for it (users: {known})")
            settings = checks.for_user(self.settings, user)
            found = self._new_cluster(settings)
            self._users[user] = found
            permits = self._new_permits()
            self._permits_of_users.append(permits)
            for pool in found.pools:
                pool.share(permits, 0)
                if self._paused:
                    pool.pause()
        return found

    def _new_cluster(self, settings: ProxySettings) -> Cluster:
        """Make the servers of one user, with a judge of its own: what a catalogue shows depends on who asks."""
        judge = StatementJudge(self.engine, Effect, list(settings.clean_functions))
        return Cluster(
            driver_of(self.engine, judge),
            settings,
            self.counters,
            self._tasks,
            self._holders,
            forget_names=self._schema.changed,
        )

    def _failed_over(self, former: str, writer: str) -> None:
        if self.on_failover is not None:
            self.on_failover(former, writer)

    def _forget_names(self) -> None:
        """Have every name looked up again: the schema was changed, or may have been."""
        for cluster in self._clusters():
            cluster.driver.judge.forget()

    def _clusters(self) -> list[Cluster]:
        return [] if self._cluster is None else [self._cluster, *self._users.values()]

    def _pools(self) -> list[Pool]:
        return [pool for cluster in self._clusters() for pool in cluster.pools]

    async def _prove(self, queue: BorrowQueue) -> None:
        """Find out, by borrowing once, that the target can be used at all."""
        db = await self._borrow(queue)
        db.pool.give_back(db)

    async def _borrow(self, queue: BorrowQueue) -> DBConnection:
        return queue.take(None) or await queue.wait()

    async def close(self) -> None:
        """Close all clients and connections. Statements in progress are cancelled; do it after the last handler.

        Raises:
            DBProxyError: it is called in another event loop than the proxy's own, which still runs.

        """
        if self._cluster is not None and self._loop.is_closed():  # the connections have ended with their loop
            self._closed = True
            return
        self._check_loop()
        self._closed = True
        if self._housekeeper is not None:
            self._housekeeper.cancel()
        for borrower in list(self._clients):
            self.dismiss(borrower, CLOSED)
        for cluster in self._clusters():
            cluster.close()
        await self._tasks.finish(CLOSE_SECONDS_MAX)
        for pool in self._pools():
            pool.close()
        for permits in (self._permits, *self._permits_of_users):
            if permits is not None:
                permits.close()
        await self.unshare()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # One maximum for several processes

    @property
    def permit_address(self) -> str | None:
        """Where other processes of the app ask before they open a connection; None while the proxy is not shared."""
        return self._permit_server.address if self._permit_server is not None else None

    def share(self) -> None:
        """Keep ``maximum_connections`` over this process and all that ``join``. An app does so with what is attached to it."""
        if self._permit_server is None:
            most = self.settings.maximum_connections or 1  # of a percentage: until a server has told its limit
            self._permit_server = PermitServer(most for _ in self.settings.target.addresses)
            self._permits = self._new_permits()
            self._share_pools()

    @property
    def joins(self) -> tuple[int, int]:
        """How many other processes have joined so far, and how many of them have not left."""
        server = self._permit_server
        return (server.joins, server.joined) if server is not None else (0, 0)

    def _new_permits(self) -> PermitClient:
        if self._permit_server is not None:
            return PermitClient(self._permit_server.own(), passes_sockets=False)
        return PermitClient(connected(self._joined), passes_sockets=True)

    async def unshare(self) -> None:
        """Give other processes nothing more; does nothing when the proxy is not shared."""
        server, self._permit_server = self._permit_server, None
        if server is not None:
            await server.close()

    def join(self, address: str) -> None:
        """Open connections only with permits of the process that has this address. The minimum is that process's own.

        Raises:
            DatabaseUnavailable: that process is gone.

        """
        self._joined = address
        self._permits = self._new_permits()
        self._share_pools()

    def _share_pools(self) -> None:
        if self._permits is not None and self._cluster is not None:
            for pool in self._cluster.pools:
                pool.share(self._permits, self._minimum)

    @property
    def _has_joined(self) -> bool:
        return self._permits is not None and self._permit_server is None

    @property
    def _minimum(self) -> int:
        return 0 if self._has_joined else self.settings.minimum_connections

    # Clients

    def connect(self, *, read_only: bool = False, user: str | None = None) -> Client:
        """Make a client connection: ``async with proxy.connect() as client``.

        Args:
            read_only: go to the readers (several servers only).
            user: one of ``users``; the proxy's own when None.

        Raises:
            InvalidParameterValue: the proxy has no secret for that user.
            TooManyClients: ``maximum_clients`` are connected.
            DatabaseUnavailable: the target has never been reached and cannot be now; or there is no reader at all.
            AuthenticationFailed: the server refused the credentials.

        """
        if not isinstance(read_only, bool):
            raise InvalidParameterValue(f"read_only={read_only!r}: must be True or False")
        return Client(self, read_only=read_only, user=user)

    async def admit(self, client: Client | BorrowedConnection, *, read_only: bool, user: str | None = None) -> Lender:
        """Let a client in. See ``connect``, which is what users call."""
        self.counters.clients_received += 1
        cluster = self._of_user(user)
        if len(self._clients) >= self.settings.maximum_clients:
            raise TooManyClients(
                f"The maximum client connections to the proxy exceeded {self.settings.maximum_clients} (maximum_clients)."
            )
        self._numbers += 1
        borrower = Lender(
            self._numbers,
            cluster.reader_queue if read_only else cluster.writer_queue,
            settings=self.settings,
            judge=cluster.driver.judge,
            schema=self._schema,
            counters=self.counters,
            suspect=cluster.suspect,
        )
        client.opened_at = self._loop.time()  # it may wait below, and its age is looked at meanwhile
        self._clients[borrower] = client
        try:
            if read_only:
                await self._find_readers(cluster)
            if not cluster.proven:
                await self._prove(cluster.reader_queue if read_only else cluster.writer_queue)
        except BaseException:
            self._clients.pop(borrower, None)
            client.opened_at = 0.0
            raise
        self.counters.clients_succeeded += 1
        return borrower

    def admit_again(self, client: BorrowedConnection, borrower: Lender) -> bool:
        """Let a client in that was dismissed, under a new number; false: ``admit`` says what is wrong."""
        if self._closed or not borrower.is_at_home() or len(self._clients) >= self.settings.maximum_clients:
            return False
        self.counters.clients_received += 1
        self.counters.clients_succeeded += 1
        self._numbers += 1
        borrower.begin_again(self._numbers)
        client.opened_at = self._loop.time()
        self._clients[borrower] = client
        return True

    async def _find_readers(self, cluster: Cluster) -> None:
        if cluster.alone:
            raise DatabaseUnavailable(
                "read_only=True needs a reader: the proxy has one address. Add the replicas' addresses to its URL."
            )
        if not cluster.proven:
            await self._prove(cluster.writer_queue)
        if not cluster.readers():
            raise DatabaseUnavailable("read_only=True needs a reader: every server says it is a writer")

    def dismiss(self, borrower: Lender, reason: str) -> None:
        """Let a client go, for a reason that its user will read."""
        if self._clients.pop(borrower, None) is not None:
            self.counters.clients_closed += 1
            if not borrower.is_left_behind():  # its connection has ended with its loop
                borrower.close(reason)

    # Maintenance

    def change(self, **limits: Any) -> None:
        """Change limits while the proxy runs: numbers of connections and clients, and time limits, by their names in ``DBProxy``.

        They hold from now on, also for clients that are connected. Connections above a lower maximum close as they come back.

        Raises:
            InvalidParameterValue: a value is out of range, or that setting cannot be changed.
            DBProxyError: ``maximum_connections`` belongs to another process of the app.

        """
        settings = checks.changed(self.settings, limits)
        if self._has_joined and "maximum_connections" in limits:
            raise DBProxyError(
                "maximum_connections belongs to the process of the app that owns the proxy: change it there"
            )
        self.settings = settings
        if self._cluster is None:
            return
        self._check_loop()
        self._cluster.change(settings)
        for user, cluster in self._users.items():
            cluster.change(checks.for_user(settings, user))
        for pool in self._cluster.pools:
            pool.minimum = self._minimum
            pool.grow()
        for borrower in self._clients:
            borrower.query_timeout = settings.query_timeout
        self._housekeep()

    def disconnect(self, client: int) -> bool:
        """Close a client by its number in ``borrowed()``, whatever it does; it gets ``ClientClosed``. Tell if it was there."""
        self._check_loop()
        found = next((holder for holder in self._clients if holder.number == client), None)
        if found is not None:
            self.dismiss(found, "it was ended by proxy.disconnect()")
        return found is not None

    async def pause(self, *, timeout: float | timedelta | None = None) -> bool:  # noqa: ASYNC109 - it ends the waiting alone
        """Lend no connection until ``resume``, and wait until all are closed. Statements and transactions end as usual before.

        Clients that ask meanwhile wait, ``connection_borrow_timeout`` at most. A pinned client keeps its connection.

        Args:
            timeout: seconds to wait, 0 to 86,400; None: for ever.

        Returns:
            Whether the proxy has no connection any more. If not, it stays paused; call it again to wait on.

        """
        most = None if timeout is None else checks.within_range("timeout", timeout, 0, 86_400)
        self._begin()
        self._paused = True
        for pool in self._pools():
            pool.pause()
        deadline = math.inf if most is None else self._loop.time() + most
        while any(pool.size for pool in self._pools()):
            if not self._paused or self._loop.time() >= deadline:
                return False
            await asyncio.sleep(PAUSE_LOOK_SECONDS)
        return True

    def resume(self) -> None:
        """End a ``pause``."""
        self._check_loop()
        self._paused = False
        for pool in self._pools():
            pool.resume()

    def reconnect(self) -> None:
        """Replace every database connection: idle ones now, others when they come back. Secrets and names are looked up anew."""
        self._check_loop()
        for secret in (self.settings.secret, *self.settings.users.values()):
            if hasattr(secret, "forget"):
                secret.forget()
        for pool in self._pools():
            pool.renew()

    # Housekeeping

    def _housekeep(self) -> None:
        if self._cluster is None:
            return
        if self._housekeeper is not None:
            self._housekeeper.cancel()
        now, settings, alone = self._loop.time(), self.settings, self._cluster.alone
        look_after_clients(self._clients, settings, now, self.dismiss)
        if now - self._names_forgotten_at >= NAMES_SECONDS_MAX:
            self._names_forgotten_at = now
            self._forget_names()
        for pool in self._pools():
            tidy(pool, now)
            pool.minimum_refused = False
            pool.grow()
        if not alone and now - self._roles_checked_at >= settings.role_check_interval:
            self._roles_checked_at = now
            for cluster in self._clusters():
                cluster.check_roles()
        self._housekeeper = self._loop.call_later(seconds_between(settings, alone=alone), self._housekeep)

    def _holders(self) -> Holders:
        clients = self._clients.values()
        return Holders(
            pinned=sum(1 for c in clients if c.pins),
            in_transaction=sum(1 for c in clients if c.in_transaction),
            lent=sum(each.is_lent for each in self.borrowed()),
            connections=sum(pool.size - pool.asked for pool in self._pools()),
            has_other_processes=self._has_joined or bool(self.joins[1]),
        )

    def _levels(self) -> statistics.Levels:
        holders = self._holders()
        if self._cluster is None:
            return statistics.Levels(len(self._clients), 0, 0, 0, 0, 0, self.settings.maximum_connections or 0)
        queues = [queue for each in self._clusters() for queue in (each.writer_queue, each.reader_queue)]
        connections = sum(len(pool.connections) for pool in self._pools())
        return statistics.Levels(
            clients=len(self._clients),
            connections=connections,
            borrowed=connections - sum(len(queue.idle) for queue in queues),
            in_transaction=holders.in_transaction,
            pinned=holders.pinned,
            waiting=sum(queue.waiting for queue in queues),
            maximum=sum(pool.maximum for pool in self._cluster.pools),
        )

    def statistics(self) -> dict[str, float]:
        """Give RDS Proxy's metrics by name (latencies: averages in microseconds), and a few of our own."""
        return statistics.statistics(self.counters, self._levels(), tls=self.settings.tls is not None)

    def latencies(self) -> dict[str, dict[str, float]]:
        """Give count, average, maximum and percentiles of RDS Proxy's three latencies, in microseconds."""
        return {name: statistics.summary(latency) for name, latency in self.counters.latencies().items()}

    def measurements(self) -> Iterator[tuple[str, dict[str, str], float | Histogram]]:
        """Give name, labels and number of everything for an app's ``/metrics``; names are RDS Proxy's, latencies in seconds."""
        labels = {"ProxyName": self.name}
        numbers: dict[str, float | Histogram] = {**self.statistics(), **self.counters.latencies()}
        if self._has_joined:
            del numbers["MaxDatabaseConnectionsAllowed"]  # the owner's is for all
        for name, value in numbers.items():
            yield name, labels, value
        for reason, number in self.counters.pins.items():
            yield "SessionPins", {**labels, "Reason": reason}, number

    def borrowed(self) -> list[Borrowed]:
        """List which client has which database connection, since when it is in a transaction, and how long it is idle."""
        return borrowed_of((holder, not isinstance(client, Client)) for holder, client in self._clients.items())

    def pinned(self) -> list[Pinned]:
        """List who is pinned, why and for how long."""
        return pinned_of(self._clients, self._loop.time() if self._cluster is not None else 0.0)
