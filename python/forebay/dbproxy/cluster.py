"""The servers behind one proxy, and who of them is the writer.

With one address that server is the writer. With several the servers themselves are asked, again and again; a server that no
longer says it is the writer, or no longer answers, loses its clients to the one that does. Old and new writer are never mixed.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from forebay.dbproxy.borrow_queue import BorrowQueue
from forebay.dbproxy.pool import Pool
from forebay.errors import AuthenticationFailed, BorrowTimeout, ClientClosed, DatabaseUnavailable, DBProxyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from forebay.dbproxy.connection import DBConnection
    from forebay.dbproxy.driver import Driver
    from forebay.dbproxy.pinned import Holders
    from forebay.dbproxy.settings import ProxySettings
    from forebay.dbproxy.statistics import Counters
    from forebay.dbproxy.tasks import Tasks

ROLE_ANSWER_SECONDS_MAX = 3.0
SUSPICION_PAUSE_SECONDS = 1.0

log = logging.getLogger("forebay.dbproxy")


class Cluster:
    """All servers of one proxy, with one queue of waiting clients for the writer and one for the readers."""

    def __init__(
        self,
        driver: Driver,
        settings: ProxySettings,
        counters: Counters,
        tasks: Tasks,
        holders: Callable[[], Holders],
        *,
        forget_names: Callable[[], None],
    ) -> None:
        self.driver = driver
        self._settings = settings
        self._counters = counters
        self._tasks = tasks
        self._holders = holders
        self._forget_names = forget_names
        self._reads: tuple[str, str] | None = None
        self._loop = asyncio.get_running_loop()
        self._checking: set[Pool] = set()
        self._settling = False
        self._disputed: tuple[Pool, Pool] | None = None
        """The writer and another server that says that it is one; it has been logged."""
        self._suspected_at = float("-inf")
        self.proven = False
        self.writer: Pool | None = None
        self._former: str | None = None
        self.on_failover: Callable[[str, str], None] | None = None
        """Called with the writer that was and the one that is, when another server has become it."""
        self.writer_queue = self._new_queue("writer")
        self.reader_queue = self._new_queue("reader")
        self.pools = [
            Pool(address, driver, settings, watch=self, counters=counters, tasks=tasks)
            for address in settings.target.addresses
        ]
        self.alone = len(self.pools) == 1
        self.writer_queue.newest_first = True
        self.reader_queue.newest_first = len(self.pools) <= 2  # noqa: PLR2004 - one reader at most
        if self.alone:
            self.writer = self.pools[0]
            self.writer.queue = self.writer_queue

    def _new_queue(self, role: str) -> BorrowQueue:
        return BorrowQueue(
            role,
            timeout=self._settings.connection_borrow_timeout,
            connect_timeout=self._settings.connect_timeout,
            on_wait=self._wanted,
            on_leave=self._left,
            refuse=self._refusal,
        )

    def readers(self) -> list[Pool]:
        """List the servers that are, or may be, readers."""
        return [] if self.alone else [pool for pool in self.pools if pool.queue is not self.writer_queue]

    # What pools tell

    def reads_by(self, db: DBConnection) -> None:
        """Judge statements by the mode of the newest connection. Those that read by another are closed as they come back."""
        if db.reads is None or db.reads == self._reads:
            return
        is_first, self._reads = self._reads is None, db.reads
        self.driver.judge.rebase(*db.reads)
        if is_first:
            return
        log.warning("%s reads texts otherwise than before: connections from before are closed", db.pool.where)
        self._forget_names()
        for pool in self.pools:
            for other in pool.connections:
                if other is not db and other.reads != db.reads:
                    other.outdated()
            for other in pool.idle():
                if other.retired and pool.queue is not None:
                    del pool.queue.idle[other]
                    pool.discard(other)

    def opened(self, pool: Pool, *, writer: bool, lag: float = 0.0) -> None:
        """Take note of what a server says it is, and of how many seconds it is behind."""
        self.proven = True
        if self.alone:
            return
        if not writer and self._disputed and pool in self._disputed:
            self._disputed = None
        if not writer:
            if pool is self.writer:
                self._lose_writer(pool, "it is read-only now")
            most = self._settings.maximum_replica_lag
            if most is not None and lag > most:
                self._rest(pool, lag, most)
            else:
                pool.told_behind = False
                self._assign(pool, self.reader_queue)
        elif self.writer is None or self.writer is pool:
            if self.writer is None:
                log.info("%s is the writer", pool.where)
                self._tell_failover(pool.where)
            self.writer = pool
            self._assign(pool, self.writer_queue)
        elif not self._settling:
            self._settling = True
            self._tasks.start(self._settle(self.writer, pool))

    def _tell_failover(self, writer: str) -> None:
        former, self._former = self._former, writer
        if former not in (None, writer) and self.on_failover is not None:
            self.on_failover(former, writer)

    def unreachable(self, pool: Pool, error: DBProxyError) -> None:
        """Take note of a failed attempt; send waiters home when waiting cannot help."""
        if pool.queue is not None:
            pool.queue.nothing_comes(pool.on_its_way)
        if pool.connections:
            return
        if not self.alone and pool is self.writer:
            self._lose_writer(pool, "it cannot be reached")
        is_denied = isinstance(error, AuthenticationFailed)
        is_reached = self.proven or any(p.retry.is_full for p in self.pools)  # a server that is full has been reached
        hopeless = is_denied or not is_reached
        if hopeless and all(p.failures and not p.connections and p.on_its_way <= 0 for p in self.pools):
            if is_denied:
                self._counters.clients_failed_auth += self.writer_queue.waiting + self.reader_queue.waiting
            for queue in (self.writer_queue, self.reader_queue):
                queue.fail(error if self.alone else self._all_failed(error))

    def _all_failed(self, error: DBProxyError) -> DBProxyError:
        return type(error)("; ".join(str(pool.last_error) for pool in self.pools))

    def _assign(self, pool: Pool, queue: BorrowQueue) -> None:
        if pool.queue is queue:
            return
        idle = pool.idle()
        if pool.queue is not None:
            for db in idle:
                del pool.queue.idle[db]
        pool.queue = queue
        for db in idle:
            pool.give_back(db)
        pool.grow()

    def _rest(self, pool: Pool, lag: float, most: float) -> None:
        """Lend no connection of a replica that is too far behind; those that are borrowed close as they come back."""
        behind = (
            f"{lag:.3g} s behind" if lag < float("inf") else "not replicating, or does not say how far it is behind"
        )
        pool.last_error = DatabaseUnavailable(
            f"{pool.where} is {behind} ({most:.3g} s are allowed: maximum_replica_lag)"
        )
        if not pool.told_behind:
            log.warning("no reader for now: %s", pool.last_error)
        pool.too_far_behind = pool.told_behind = True
        pool.renew()
        pool.queue = None

    def _lose_writer(self, pool: Pool, reason: str) -> None:
        self.writer = None
        for other in self.pools:
            other.refused_as_writer = False
        pool.retire(reason)
        pool.queue = None
        self.check_roles()

    # Asking

    def check_roles(self) -> None:
        """Ask every server what it is."""
        for pool in self.pools:
            if pool not in self._checking:
                self._tasks.start(self._check(pool))

    def suspect(self, pool: Pool) -> None:
        """Ask a server that refused to write, once in a while at most, whether it is still the writer."""
        now = self._loop.time()
        if now - self._suspected_at >= SUSPICION_PAUSE_SECONDS and pool not in self._checking:
            self._suspected_at = now
            self._tasks.start(self._check(pool))

    async def _check(self, pool: Pool) -> None:
        """Ask one server what it is, over a connection it already has; else open one, which asks."""
        if pool.paused:
            return
        self._checking.add(pool)
        pool.too_far_behind = pool.refused_as_writer = False
        try:
            writer, lag = await self._ask(pool)
        finally:
            self._checking.discard(pool)
        if writer is None:
            if pool is self.writer and not self.alone and not pool.connections:
                self._lose_writer(pool, "it does not answer")
            elif not pool.connections and not self.alone:
                pool.queue = None if pool.queue is self.reader_queue and self.writer is None else pool.queue
                pool.grow()
        elif self.alone:
            if not writer:  # the name may lead to another server by now
                pool.retire("it is read-only now")
        else:
            self.opened(pool, writer=writer, lag=lag)

    async def _ask(self, pool: Pool) -> tuple[bool | None, float]:
        """Give a server's own answer and its lag; None when it has no connection free to ask over, or does not answer."""
        db = await pool.spare()
        if db is None:
            return None, 0.0
        self._counters.probes += 1
        try:
            async with asyncio.timeout(ROLE_ANSWER_SECONDS_MAX):
                writer = await db.wire.is_writer()
                lag = 0.0 if writer else await pool.lag(db)
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the connection did not answer
            self._counters.probes_failed += 1
            log.warning("%s did not say whether it is the writer: %s", pool.where, type(error).__name__)
            pool.discard(db, interrupted=True)
            if pool is self.writer and not self.alone:
                self._lose_writer(pool, "it does not answer")
            return None, 0.0
        pool.give_back(db)
        return writer, lag

    async def _settle(self, old: Pool, new: Pool) -> None:
        """Two servers accept writes: the old one stays the writer if it confirms that it is, else the new one takes over."""
        try:
            confirmed, _ = await self._ask(old)
        finally:
            self._settling = False
        if confirmed and self.writer is old:  # else it was lost while it answered
            new.refused_as_writer = True
            if self._disputed != (old, new):
                self._disputed = (old, new)
                log.warning("%s and %s both accept writes; %s stays the writer", old.where, new.where, old.where)
            return
        if self.writer is old:
            self._lose_writer(old, f"{new.where} is the writer now")
        if self.writer is None:
            self.opened(new, writer=True)

    # What the queues ask

    def _wanted(self, queue: BorrowQueue) -> bool:
        """Open what can be opened for the last that waits; tell whether a connection is on its way to it."""
        coming = 0
        is_served = any(pool.queue is queue and pool.connections for pool in self.pools)
        for pool in self.pools:
            if len(pool.connections) < pool.maximum and (pool.queue is queue or pool.queue is None):
                pool.grow()
                # One whose role is not known may be lost, and may be of the other role.
                coming += pool.opening if pool.queue is queue or not (is_served or pool.failures) else 0
        return coming >= queue.waiting

    def _left(self, queue: BorrowQueue) -> None:
        """Ask for no more permits than clients wait for."""
        for pool in self.pools:
            if pool.queue is queue:
                pool.want_less()

    def _refusal(self, queue: BorrowQueue, waited: float) -> Exception:
        pools = [pool for pool in self.pools if pool.queue is queue]
        asked = sum(pool.asked for pool in pools)
        size = sum(pool.size for pool in pools) - asked
        if not asked and not any(pool.connections for pool in pools):
            reason = "the proxy is paused" if any(pool.paused for pool in self.pools) else self._why_none(queue, pools)
            return DatabaseUnavailable(
                f"waited {round(waited, 3):g} s ({self._limit_of(waited)}) for a {queue.role}: {reason}"
            )
        self._counters.borrow_timeouts += 1
        holders = self._holders()
        pinned, in_transaction = holders.pinned, holders.in_transaction
        failed = [str(pool.last_error) for pool in pools if pool.failures]
        if any(pool.paused for pool in pools):
            advice = "The proxy is paused."
        elif failed:
            advice = f"No other connection can be opened: {'; '.join(failed)}"
        else:
            advice = "Raise maximum_connections, or shorten transactions; proxy.borrowed() and proxy.pinned() tell who has them."
        return BorrowTimeout(
            f"Timed-out waiting to acquire database connection: waited {round(waited, 3):g} s "
            f"({self._limit_of(waited)}); {size} connections{holders.elsewhere(size) if asked else ''}, "
            f"{pinned} pinned, {in_transaction} in a transaction, "
            f"{f'{holders.lent} lent to SQLAlchemy, ' if holders.lent else ''}{queue.waiting} clients still waiting. {advice}",
            waited=waited,
            size=size,
            pinned=pinned,
            in_transaction=in_transaction,
        )

    def _why_none(self, queue: BorrowQueue, pools: list[Pool]) -> str:
        """Say why there is no connection at all."""
        errors = [str(pool.last_error) for pool in self.pools if pool.last_error]
        opening = [pool.waits_for for pool in self.pools if pool.opening]
        nothing = "none of its connections is open yet" if pools else f"no server is the {queue.role}"
        return "; ".join(errors or opening) or nothing

    def _limit_of(self, waited: float) -> str:
        """Name the setting that a client has waited for: it waits longer while a connection is being opened for it."""
        borrow, connect = self._settings.connection_borrow_timeout, self._settings.connect_timeout
        return "connect_timeout" if borrow < connect <= waited else "connection_borrow_timeout"

    def change(self, settings: ProxySettings) -> None:
        """Have other limits from now on."""
        before, self._settings = self._settings, settings
        for queue in (self.writer_queue, self.reader_queue):
            queue.set_timeouts(settings.connection_borrow_timeout, settings.connect_timeout)
        for pool in self.pools:
            pool.settings = settings
            if settings.maximum_connections is not None and settings.maximum_connections != before.maximum_connections:
                pool.limit(settings.maximum_connections)

    def close(self) -> None:
        """Stop lending."""
        for queue in (self.writer_queue, self.reader_queue):
            queue.fail(ClientClosed("a client that waits: the proxy was closed"))
            queue.close()
        for pool in self.pools:
            pool.close()
