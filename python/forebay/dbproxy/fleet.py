"""The servers behind one proxy, and who of them is the writer.

With one address that server is the writer. With several the servers themselves are asked, again and again; a server that no
longer says it is the writer, or no longer answers, loses its clients to the one that does. Old and new writer are never mixed.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from forebay.dbproxy.line import Line
from forebay.dbproxy.pool import Pool
from forebay.errors import AuthenticationFailed, BorrowTimeout, DatabaseUnavailable, DBProxyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from forebay.dbproxy.driver import Driver
    from forebay.dbproxy.settings import ProxySettings
    from forebay.dbproxy.statistics import Counters
    from forebay.dbproxy.tasks import Tasks

ROLE_ANSWER_SECONDS_MAX = 3.0
SUSPICION_PAUSE_SECONDS = 1.0

log = logging.getLogger("forebay.dbproxy")


class Fleet:
    """All servers of one proxy, with one line of waiting clients for the writer and one for the readers."""

    def __init__(
        self,
        driver: Driver,
        settings: ProxySettings,
        counters: Counters,
        tasks: Tasks,
        held: Callable[[], tuple[int, int]],
    ) -> None:
        self._settings = settings
        self._counters = counters
        self._tasks = tasks
        self._held = held
        self._loop = asyncio.get_running_loop()
        self._checking: set[Pool] = set()
        self._settling = False
        self._suspected_at = float("-inf")
        self.proven = False
        self.writer: Pool | None = None
        self.write_line = self._new_line("writer")
        self.read_line = self._new_line("reader")
        self.pools = [
            Pool(address, driver, settings, watch=self, counters=counters, tasks=tasks)
            for address in settings.target.addresses
        ]
        self.alone = len(self.pools) == 1
        self.write_line.newest_first = True
        self.read_line.newest_first = len(self.pools) <= 2  # noqa: PLR2004 - one reader at most
        if self.alone:
            self.writer = self.pools[0]
            self.writer.line = self.write_line

    def _new_line(self, role: str) -> Line:
        return Line(
            role,
            timeout=self._settings.connection_borrow_timeout,
            connect_timeout=self._settings.connect_timeout,
            on_wait=self._wanted,
            refuse=self._refusal,
        )

    def readers(self) -> list[Pool]:
        """List the servers that are, or may be, readers."""
        return [] if self.alone else [pool for pool in self.pools if pool.line is not self.write_line]

    # What pools tell

    def opened(self, pool: Pool, *, writer: bool) -> None:
        """Take note of what a server says it is."""
        self.proven = True
        if self.alone:
            return
        if not writer:
            if pool is self.writer:
                self._lose_writer(pool, "it is read-only now")
            self._assign(pool, self.read_line)
        elif self.writer is None or self.writer is pool:
            if self.writer is None:
                log.info("%s is the writer", pool.where)
            self.writer = pool
            self._assign(pool, self.write_line)
        elif not self._settling:
            self._settling = True
            self._tasks.start(self._settle(self.writer, pool))

    def unreachable(self, pool: Pool, error: DBProxyError) -> None:
        """Take note of a failed attempt; send waiters home when waiting cannot help."""
        if pool.line is not None:
            pool.line.nothing_comes()
        if pool.connections:
            return
        if not self.alone and pool is self.writer:
            self._lose_writer(pool, "it cannot be reached")
        if isinstance(error, AuthenticationFailed):
            self._counters.clients_failed_auth += self.write_line.waiting + self.read_line.waiting
        hopeless = isinstance(error, AuthenticationFailed) or not self.proven
        if hopeless and all(other.failures and not other.connections for other in self.pools):
            for line in (self.write_line, self.read_line):
                line.fail(error if self.alone else self._all_failed(error))

    def _all_failed(self, error: DBProxyError) -> DBProxyError:
        return type(error)("; ".join(str(pool.last_error) for pool in self.pools))

    def _assign(self, pool: Pool, line: Line) -> None:
        if pool.line is line:
            return
        idle = pool.idle()
        if pool.line is not None:
            for db in idle:
                del pool.line.idle[db]
        pool.line = line
        for db in idle:
            pool.give_back(db)
        pool.grow()

    def _lose_writer(self, pool: Pool, reason: str) -> None:
        self.writer = None
        pool.retire(reason)
        pool.line = None
        self.look()

    # Asking

    def look(self) -> None:
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
        self._checking.add(pool)
        try:
            writer = await self._ask(pool)
        finally:
            self._checking.discard(pool)
        if writer is None:
            if pool is self.writer and not self.alone and not pool.connections:
                self._lose_writer(pool, "it does not answer")
            elif not pool.connections and not self.alone:
                pool.line = None if pool.line is self.read_line and self.writer is None else pool.line
                pool.grow()
        elif self.alone:
            if not writer:  # the name may lead to another server by now
                pool.retire("it is read-only now")
        else:
            self.opened(pool, writer=writer)

    async def _ask(self, pool: Pool) -> bool | None:
        """Give a server's own answer; None when it has no connection free to ask over, or does not answer."""
        db = await pool.spare()
        if db is None:
            return None
        self._counters.probes += 1
        try:
            async with asyncio.timeout(ROLE_ANSWER_SECONDS_MAX):
                writer = await db.wire.is_writer()
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the connection did not answer
            self._counters.probes_failed += 1
            log.warning("%s did not say whether it is the writer: %s", pool.where, type(error).__name__)
            pool.discard(db, interrupted=True)
            if pool is self.writer and not self.alone:
                self._lose_writer(pool, "it does not answer")
            return None
        pool.give_back(db)
        return writer

    async def _settle(self, old: Pool, new: Pool) -> None:
        """Two servers accept writes: the old one stays the writer if it confirms that it is, else the new one takes over."""
        try:
            confirmed = await self._ask(old)
        finally:
            self._settling = False
        if confirmed:
            log.warning("%s and %s both accept writes; %s stays the writer", old.where, new.where, old.where)
            return
        if self.writer is old:
            self._lose_writer(old, f"{new.where} is the writer now")
        if self.writer is None:
            self.opened(new, writer=True)

    # What lines tell

    def _wanted(self, line: Line) -> bool:
        """Open what can be opened for the last in line; tell whether a connection is on its way to it."""
        coming = 0
        for pool in self.pools:
            if len(pool.connections) < pool.maximum and (pool.line is line or pool.line is None):
                pool.grow()
                coming += 0 if pool.failures else pool.opening
        return coming >= line.waiting

    def _refusal(self, line: Line, waited: float) -> Exception:
        pools = [pool for pool in self.pools if pool.line is line]
        size = sum(pool.size for pool in pools)
        if not any(pool.connections for pool in pools):
            told = (
                "; ".join(str(pool.last_error) for pool in self.pools if pool.last_error)
                or f"no server is the {line.role}"
            )
            return DatabaseUnavailable(f"waited {waited:.3g} s (connection_borrow_timeout) for a {line.role}: {told}")
        self._counters.borrow_timeouts += 1
        pinned, in_transaction = self._held()
        return BorrowTimeout(
            f"Timed-out waiting to acquire database connection: waited {waited:.3g} s "
            f"(connection_borrow_timeout); {size} connections, "
            f"{pinned} pinned, {in_transaction} in a transaction, {line.waiting} clients still waiting. "
            "Raise maximum_connections, or shorten transactions; proxy.pinned() tells who is pinned and why.",
            waited=waited,
            size=size,
            pinned=pinned,
            in_transaction=in_transaction,
        )

    def close(self) -> None:
        """Stop lending."""
        for line in (self.write_line, self.read_line):
            line.fail(DatabaseUnavailable("the proxy is closed"))
            line.close()
        for pool in self.pools:
            pool.close()
