"""A client whose connection an adapter uses by itself: lent, used, taken back; the driver's own errors go through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from forebay.dbproxy.borrower import Borrower
from forebay.dbproxy.driver import OutOfStep
from forebay.dbproxy.effect import BEGINS, PLAIN
from forebay.dbproxy.session import DEFAULTS, Session
from forebay.dbproxy.statistics import now
from forebay.errors import ConnectionLost

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from forebay.dbproxy.connection import DBConnection
    from forebay.dbproxy.session import Tracked


class Lender(Borrower):
    """A borrower that lends its connection on to an adapter; see ``BorrowedConnection``."""

    __slots__ = ()

    def begin_again(self, number: int) -> None:
        """Be another client, with nothing of the one before; for loans alone, which have no time limits for statements."""
        self.number = number
        self.session = Session()
        self.is_open, self.lost, self.lost_because, self.closed_because = False, False, "", ""
        self.blocks, self.over = 0, None
        self.names.start_over()
        self.last_used = now()

    async def lend(self, suits_too: Tracked = DEFAULTS) -> DBConnection:
        """Borrow a connection that stays with this client until it is taken back; see ``BorrowedConnection``.

        Args:
            suits_too: settings with which it is taken as it is.

        """
        began = now()
        db = (self._queue.take(self._last) if self._queue.idle else None) or await self._queue.wait()
        if db.tracked is suits_too:
            self.session.tracked = suits_too
        if self.closed_because or not db.suits(self.number, self.session.tracked) or db.remembers_others(self.number):
            db = await self._made_fit(db, BEGINS)
        self.held = db
        self._counters.borrow.record(now() - began)
        return db

    async def use(self, work: Callable[..., Awaitable[Any]], *args: Any, **options: Any) -> Any:
        """Do something over the lent connection; the driver's own errors go through."""
        db = self.held
        if db is None or self.busy or self.closed_because or not self.is_at_home():
            self._refuse()
        self.busy = True
        self._using = db
        started = now()
        is_changing = self.names.is_changing  # others may see it with the end of this
        self._schema.changing += is_changing
        try:
            result = await work(*args, **options)
        except BaseException as error:
            if not isinstance(error, Exception) or db.wire.is_broken() or db.leaving:
                self._lose(db, in_transaction=False)
                # The proxy took it: the driver names the network.
                if isinstance(error, Exception) and self.closed_because:
                    raise self._closed() from error
                if isinstance(error, Exception) and self.lost_because:
                    raise ConnectionLost(f"the transaction was ended and rolled back: {self.lost_because}") from error
            else:
                db.wire.note_error(error)
                db.remembers = True
            raise
        else:
            if db.wire.out_of_step:
                self._lose(db, in_transaction=False)
                raise ConnectionLost(f"{db.pool.driver.engine} at {db.pool.where} went away: {OutOfStep()}")
            self._counters.answered(started, started, borrowed=False)
            return result
        finally:
            # A COMMIT that failed, too, has ended its transaction.
            if self.held is db and not self._note_transaction(db) and (db.local or db.dirty_in_transaction):
                db.follow(PLAIN, is_open=False)
            if self.names.is_changing and not self.is_open:
                self.names.start_over()
            self._schema.changing -= is_changing
            self.busy = False
            self._using = None
            self.last_used = now()

    def changes_seen(self) -> int:
        """Tell how often the schema was changed."""
        return self._schema.changes

    def drop_lent(self) -> None:
        """Close the lent connection, whatever runs on it."""
        if self.held is not None:
            self._lose(self.held, in_transaction=False)

    def take_back(self, *, reset: bool) -> None:
        """Lend the connection on; after a reset, when that is asked for or a transaction is open."""
        db, self.held = self.held, None
        if db is not None:
            is_open = db.wire.in_transaction()
            if not is_open and (db.local or db.dirty_in_transaction):
                db.follow(PLAIN, is_open=False)
            (db.pool.clean if reset or is_open else db.pool.give_back)(db)
