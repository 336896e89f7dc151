"""A client's way to the database: borrow, run, do the books of its session, give back; and what a failure means.

A connection whose statement was interrupted never runs another one. A write whose answer was lost is never repeated.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import get_running_loop
from functools import partial
from threading import get_ident
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

from forebay.dbproxy.driver import OutOfStep, Result
from forebay.dbproxy.effect import ENDS, PLAIN, Effect
from forebay.dbproxy.losses import commit_unknown, loss_of
from forebay.dbproxy.names import Names
from forebay.dbproxy.session import DEFAULTS, Session
from forebay.dbproxy.statistics import now
from forebay.dbproxy.tasks import closed_quietly, within
from forebay.errors import (
    ClientClosed,
    ConnectionLost,
    DatabaseUnavailable,
    DBProxyError,
    QueryTimeout,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from forebay._core import StatementJudge
    from forebay.dbproxy.borrow_queue import BorrowQueue
    from forebay.dbproxy.connection import DBConnection
    from forebay.dbproxy.pool import Pool
    from forebay.dbproxy.session import Tracked
    from forebay.dbproxy.settings import ProxySettings
    from forebay.dbproxy.statistics import Counters

ATTEMPTS_MAX = 3
SEVERAL = "setting:several statements"
UNDONE = Effect(transaction="rollback")
NOT_SENT = Effect(repeatable=True)
NOTHING_SUITS: Tracked = MappingProxyType({})  # no connection has this very object
UNDONE_SETTINGS = ("setting:what a savepoint has undone",)

log = logging.getLogger("forebay.dbproxy")


class Borrower:
    """One client's session, and the DB connection it holds, if it holds one.

    Attributes:
        held: the connection of an open transaction, or the one the client is pinned to.
        is_open: a transaction is open on it.
        began: when that transaction was first seen, by ``statistics.now``.
        lost: the connection was lost in a transaction that the user has not ended yet.
        names: how its statements are read.
        lost_because: what took it from this client; empty when it was the server or the network.
        busy: a statement runs.
        query_timeout: seconds for each statement that has no limit of its own.
        closed_because: why no statement may run any more; empty while one may.

    """

    __slots__ = (
        "_closing_stream",
        "_counters",
        "_exclude_variable_sets",
        "_judged",
        "_last",
        "_left_stream",
        "_loop",
        "_queue",
        "_suspect",
        "_thread",
        "_using",
        "began",
        "busy",
        "closed_because",
        "engine",
        "held",
        "is_open",
        "last_used",
        "loop_time",
        "lost",
        "lost_because",
        "names",
        "number",
        "query_timeout",
        "session",
    )

    def __init__(
        self,
        number: int,
        queue: BorrowQueue,
        *,
        settings: ProxySettings,
        judge: StatementJudge,
        forget_names: Callable[[], None],
        counters: Counters,
        suspect: Callable[[Pool], None],
    ) -> None:
        self.number = number
        self.engine = settings.target.engine
        self.session = Session()
        self.held: DBConnection | None = None
        self.is_open = self.lost = self.busy = False
        self.began = 0.0
        self.lost_because = ""
        self.closed_because = ""
        self._loop = asyncio.get_running_loop()
        self.loop_time = self._loop.time
        self._thread = get_ident()
        self.last_used = now()
        self._queue = queue
        self.names = Names(judge, forget_names)
        self._judged = judge.judge
        self._counters = counters
        self._suspect = suspect
        self._last: DBConnection | None = None
        self._using: DBConnection | None = None
        self._left_stream: AsyncGenerator[Any, None] | None = None
        self._closing_stream: asyncio.Task[None] | None = None
        self.query_timeout = settings.query_timeout
        self._exclude_variable_sets = settings.exclude_variable_sets

    def begin_again(self, number: int) -> None:
        """Be another client, with nothing of the one before; for loans alone, which have no time limits for statements."""
        self.number = number
        self.session = Session()
        self.is_open, self.lost, self.lost_because, self.closed_because = False, False, "", ""
        self.names.context = 0
        self.last_used = now()

    def is_at_home(self) -> bool:
        """Tell whether its own event loop runs this. In Python 3.11 to ask which loop runs is a system call: it comes last."""
        return (get_ident() == self._thread and self._loop.is_running()) or get_running_loop() is self._loop

    # Running

    async def run(self, verb: str, sql: str, args: Any, limit: float | None, rows: str | None = None) -> Any:
        """Run one statement by the wire's method of that name; a COPY with ``rows`` beside it (in, out) is not repeated."""
        if self.busy or self.closed_because or get_ident() != self._thread or not self._loop.is_running():
            await self.come_free()
        self.busy = True
        began = now()
        try:
            effect = self._judged(sql, self.names.context, bool(args), rows)
            if self.lost and self._is_skipped(effect):
                return Result()
            limit = self.query_timeout if limit is None else limit
            attempts = 0
            while True:
                attempts += 1
                db = self.held
                if db is None:
                    db = (self._queue.take(self._last) if self._queue.idle else None) or await self._queue.wait()
                    if effect.reads_session or not db.suits(self.number, self.session.tracked):
                        db = await self._made_fit(db, effect)
                self._using = db
                if effect.must_close:  # or it is not known yet
                    again = partial(self._judged, sql, self.names.context, bool(args), rows)
                    db, effect = await self._looked_up(db, sql, effect, limit, again)
                started = now()
                try:
                    answer = getattr(db.wire, verb)(sql, args)
                    result = await (answer if limit is None else within(limit, answer))
                    if db.wire.out_of_step:
                        raise OutOfStep  # noqa: TRY301 - it ends as any lost connection does
                except BaseException as error:  # noqa: BLE001 - each kind is told apart and raised there
                    await self._failed(db, sql, effect, error, may_repeat=attempts < ATTEMPTS_MAX and rows is None)
                    continue
                self._counters.answered(began, started, borrowed=self.held is None)
                self._last = db
                is_plain = effect.plain and (effect.repeatable or not self.session.tracked)
                if self.held is None and is_plain and not db.wire.in_transaction():
                    db.pool.give_back(db)
                else:
                    await self._settle(db, sql, effect, result)
                return result
        finally:
            self.busy = False
            self._using = None
            self.last_used = now()

    async def stream(self, sql: str, args: Any, *, prefetch: int, limit: float | None) -> AsyncGenerator[Any, None]:
        """Run one statement and give its rows as they come; the connection is borrowed until the last one."""
        if self.busy or self.closed_because or get_ident() != self._thread or not self._loop.is_running():
            await self.come_free()
        self.busy = True
        began = now()
        try:
            effect = self._judged(sql, self.names.context, bool(args))
            if self.lost:
                self._is_skipped(effect)
            db = self.held or await self._borrow(effect)
            self._using = db
            limit = self.query_timeout if limit is None else limit
            if effect.must_close:
                again = partial(self._judged, sql, self.names.context, bool(args))
                db, effect = await self._looked_up(db, sql, effect, limit, again)
            started = now()
            rows = db.wire.stream(sql, args, prefetch)
            try:
                while True:
                    async with asyncio.timeout(limit):
                        row = await anext(rows, None)
                    if row is None:
                        break
                    yield row
                if db.wire.out_of_step:
                    raise OutOfStep  # noqa: TRY301 - it ends as any lost connection does
            except BaseException as error:
                await self._stream_failed(db, sql, effect, error)
                raise
            self._counters.answered(began, started, borrowed=self.held is None)
            self._last = db
            await self._settle(db, sql, effect, None)
        finally:
            self.busy = False
            self._using = None
            self.last_used = now()

    async def _looked_up(
        self, db: DBConnection, sql: str, effect: Effect, limit: float | None, again: Callable[[], Effect]
    ) -> tuple[DBConnection, Effect]:
        """Judge a statement by what the server says of its names; give the verdict, and the connection that suits it."""
        attempts = 0
        while effect.needs:
            attempts += 1
            answer = self.names.look_up(db, effect, again)
            try:
                found = await (answer if limit is None else within(limit, answer))
            except BaseException as error:  # noqa: BLE001 - each kind is told apart and raised there
                await self._failed(db, sql, NOT_SENT, error, may_repeat=attempts < ATTEMPTS_MAX)
                db = self._using = await self._borrow(PLAIN)
                continue
            if found.reads_session and self.held is None:
                db = self._using = await self._made_fit(db, found)
            effect = found
            break
        if effect.must_close:
            db.will_close()
        return db, effect

    async def _stream_failed(self, db: DBConnection, sql: str, effect: Effect, error: BaseException) -> None:
        """Sort out a stream that did not reach its end; on PostgreSQL a cursor may simply be left."""
        if self.engine == "postgresql" and isinstance(error, GeneratorExit):
            self._half_done(db, sql, effect, "a statement was left half-way")
        else:
            await self._failed(db, sql, effect, error, may_repeat=False)

    async def _borrow(self, effect: Effect) -> DBConnection:
        """Take a free connection or wait for one; make it fit for this client."""
        return await self._made_fit(self._queue.take(self._last) or await self._queue.wait(), effect)

    async def _made_fit(self, db: DBConnection, effect: Effect) -> DBConnection:
        """Reset and replay what must be; when the connection breaks over it, do it with another one."""
        if self.closed_because:  # it has come too late
            db.pool.give_back(db)
            raise self._closed()
        want = self.session.tracked
        for attempt in range(ATTEMPTS_MAX):
            if attempt:
                db = self._queue.take(self._last) or await self._queue.wait()
            try:
                await db.pool.prepare(db, self.number, want, exclusive=effect.reads_session)
            except Exception as error:  # told apart by the driver
                db.pool.discard(db, interrupted=True)
                if self.closed_because:
                    raise self._closed() from error
                told = db.pool.driver.translate(error, db.wire, db.pool.where)
                if not told.broken:  # a tracked setting that this server refuses, such as a role that was dropped
                    without = {key: text for key, text in want.items() if key not in effect.unsets}
                    if len(without) == len(want):
                        raise told.error from error
                    want = without  # the statement unsets it: that must not be what it fails by
            except BaseException:
                db.pool.discard(db, interrupted=True)
                raise
            else:
                return db
        raise DatabaseUnavailable(f"{ATTEMPTS_MAX} connections in a row broke before the statement could run")

    # Lending to an adapter

    async def lend(self, suits_too: Tracked = DEFAULTS) -> DBConnection:
        """Borrow a connection that stays with this client until it is taken back; see ``BorrowedConnection``.

        Args:
            suits_too: settings with which it is taken as it is.

        """
        began = now()
        db = (self._queue.take(self._last) if self._queue.idle else None) or await self._queue.wait()
        if db.tracked is suits_too:
            self.session.tracked = suits_too
        if self.closed_because or not db.suits(self.number, self.session.tracked):
            db = await self._made_fit(db, PLAIN)
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
        try:
            result = await work(*args, **options)
        except BaseException as error:
            if not isinstance(error, Exception) or db.wire.is_broken():
                self._lose(db, in_transaction=False)
            else:
                db.wire.note_error(error)
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
            self.busy = False
            self._using = None
            self.last_used = now()

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

    # The books

    async def _settle(self, db: DBConnection, sql: str, effect: Effect, result: Any) -> None:
        """Do the books after a statement that was not plain, or that left something open."""
        session, was_open = self.session, self.is_open
        if db.wire.is_broken():  # it broke after the answer: what was open on it is gone
            was_open = (was_open or effect.transaction == "begin") and effect.transaction not in ENDS
            self._lose(db, in_transaction=was_open or effect.chains)
            return
        is_open = self._note_transaction(db, ended=effect.transaction in ENDS)
        db.note(effect)
        pins = effect.pins + session.hidden_transaction(effect, is_open=is_open)
        if self.engine == "postgresql" and self._follow_transaction(db, effect, result):
            db.mark_dirty(UNDONE_SETTINGS[0])
            pins += UNDONE_SETTINGS
        if effect.sets or effect.unsets:
            session.track(effect)
            db.tracked = session.tracked
        if effect.fixes and session.pins:
            session.fix(effect.fixes)
        if pins:
            self._pin(db, sql, pins)
        if session.pins and not is_open:
            await self._unpin(db, effect, transaction_ended=was_open)
        self.names.follow(db, session, effect, is_open=is_open)
        if db.leaving:
            return
        if is_open or session.pins:
            self.held = db
        else:
            self.held = None
            db.pool.give_back(db)

    def _note_transaction(self, db: DBConnection, *, ended: bool = False) -> bool:
        """Take note whether a transaction is open, and since when: one that has ``ended`` may have begun the next."""
        was_open, self.is_open = self.is_open, db.wire.in_transaction()
        if self.is_open and (ended or not was_open):
            self.began = now()
        return self.is_open

    def _follow_transaction(self, db: DBConnection, effect: Effect, result: Any) -> bool:
        """PostgreSQL undoes SET when a transaction or savepoint is rolled back; so do the books, if they can."""
        status = result.status if isinstance(result, Result) else ""
        if effect.transaction == "commit" and not status:
            db.mark_dirty("it is not known what became of a COMMIT")
        is_lost = self.session.follow(effect, is_open=self.is_open, status=status)
        db.tracked = self.session.tracked
        db.follow(effect, is_open=self.is_open)
        return is_lost

    def _pin(self, db: DBConnection, sql: str, pins: tuple[str, ...]) -> None:
        if self._exclude_variable_sets:
            pins = tuple(pin for pin in pins if not pin.startswith(("user variable:", "setting:")))
        text = self.names.digest(sql)
        for pin in self.session.pin(pins, text, self.loop_time()):
            kind = pin.cause.partition(":")[0]
            self._counters.pins[kind] = self._counters.pins.get(kind, 0) + 1
            log.info(
                "The client session was pinned to the database connection [dbConnection=%d, client=%d]. "
                "Reason: %s. Digest: %s",
                db.wire.server_id,
                self.number,
                kind,
                text,
            )

    async def _unpin(self, db: DBConnection, effect: Effect, *, transaction_ended: bool) -> None:
        """Release what this statement, or the end of a transaction, has ended. PostgreSQL and named locks are asked."""
        session = self.session
        if transaction_ended:
            session.unpin(("next transaction:",))
        if self.engine == "postgresql":
            asks = bool(effect.unpins) or transaction_ended or effect.transaction in ENDS
            discards = "*" in effect.unsets and effect.must_close
            ended = tuple(cause for cause in effect.unpins if discards or cause.startswith("setting:"))
        else:
            ended, asks = effect.unpins, bool(effect.locks)
        session.unpin(ended, but=effect.pins)
        if not session.pins or not asks:
            return
        try:
            held = await db.wire.held(list(session.pins), effect.locks)
            session.unpin(tuple(cause for cause in session.pins if cause not in held))
        except BaseException as error:  # noqa: BLE001 - each kind is told apart and raised there
            await self._failed(db, "", PLAIN, error, may_repeat=False)

    # Failures

    async def _failed(
        self, db: DBConnection, sql: str, effect: Effect, error: BaseException, *, may_repeat: bool
    ) -> None:
        """Decide what a failed statement means. Raise; or return, when it may be repeated on another connection."""
        was_held = self.held is not None
        was_open = self.is_open
        commits = was_open and effect.transaction == "commit"
        if not isinstance(error, Exception):  # cancelled, or the generator was left
            self._lose(db, in_transaction=was_open)
            raise error
        if self.closed_because:
            self._lose(db, in_transaction=False)
            raise self._closed() from error
        if isinstance(error, TimeoutError) and error.errno is None:  # ours; the network's has a number
            self._lose(db, in_transaction=was_open and not commits)
            if commits:
                raise commit_unknown("COMMIT did not answer in time") from None
            raise QueryTimeout(
                "the statement did not end in time; it was cancelled and its connection closed"
            ) from None
        told = db.pool.driver.translate(error, db.wire, db.pool.where)
        if not told.broken:
            # A part of several statements may have run, and a function may raise what error it likes.
            may_have_run = effect.must_close or SEVERAL in effect.pins or not db.wire.stopped_at_reading(error)
            await self._refused(db, sql, effect if may_have_run else PLAIN, read_only=told.read_only)
            raise told.error from error
        self._lose(db, in_transaction=was_open and not commits)
        if told.is_users:
            raise told.error
        gone = ("transaction" if was_open else "pinned session") if was_held else ""
        loss = loss_of(told.error, effect, commits=commits, gone=gone, because=self.lost_because)
        if loss is not None or not may_repeat:
            raise loss or told.error from error

    def _half_done(self, db: DBConnection, sql: str, effect: Effect, why: str) -> None:
        """Take note of what a statement may have done before it ended early: a lock stays, though its transaction does not."""
        if effect.plain:
            return
        db.mark_dirty(effect.dirty or why)
        half_set = self.engine == "mysql" and len(effect.sets) + len(effect.unsets) > 1
        db.must_close = db.must_close or effect.must_close or half_set
        if effect.pins:
            self._pin(db, sql, effect.pins)
        self.session.fix(effect.fixes)

    async def _refused(self, db: DBConnection, sql: str, effect: Effect, *, read_only: bool) -> None:
        """Go on after an error the server told: the connection is good, but half of the statement may have happened."""
        self._half_done(db, sql, effect, "a statement failed half-way")
        self._last = db
        try:
            await db.wire.after_error()
        except BaseException as error:
            self._lose(db, in_transaction=True)
            if not isinstance(error, Exception):
                raise
            return
        if read_only:
            self._suspect(db.pool)
        is_open = self._note_transaction(db)
        if self.engine == "postgresql":
            undone = PLAIN if is_open else UNDONE  # a COMMIT that fails has ended its transaction
            self._follow_transaction(db, undone, None)
            if self.session.pins and not is_open:
                await self._unpin(db, undone, transaction_ended=True)
                if db.leaving:
                    return
            self.names.follow(db, self.session, undone, is_open=is_open)
        if is_open or self.session.pins:
            self.held = db
        else:
            self.held = None
            db.pool.give_back(db)

    def _lose(self, db: DBConnection, *, in_transaction: bool) -> None:
        """Close the connection under this client; a transaction on it is lost until the user has ended it."""
        self._forget(in_transaction=in_transaction)
        db.pool.discard(db, interrupted=True)

    def _forget(self, *, in_transaction: bool) -> None:
        """Go on without the connection."""
        self.held = None
        self.is_open = False
        self.session.ended(committed=False)
        self.session.pins.clear()
        self.lost = self.lost or in_transaction

    def _is_skipped(self, effect: Effect) -> bool:
        """In a lost transaction only its end may run: ROLLBACK has nothing to do, COMMIT and the rest are refused."""
        reason = self._reason()
        if effect.transaction == "rollback" and not effect.chains:
            self.lost, self.lost_because = False, ""
            return True
        if effect.transaction == "commit":
            self.lost, self.lost_because = False, ""
        raise ConnectionLost(
            f"the connection was lost in this transaction, and with it the transaction{reason}: roll back, then begin again"
        )

    def _refuse(self) -> NoReturn:
        if self.closed_because:
            raise self._closed()
        if not self.is_at_home():
            raise DBProxyError(f"client {self.number} belongs to another event loop: connect anew in this one")
        if not self.busy:
            raise ConnectionLost(f"client {self.number}: its connection was lost{self._reason()}")
        raise DBProxyError(
            f"client {self.number} is in a statement already, or its stream is still open: one task per client connection, "
            "clients are cheap; end a stream that you do not read to its end with `await rows.aclose()`"
        )

    def _closed(self) -> ClientClosed:
        return ClientClosed(f"client {self.number}: {self.closed_because}")

    def _reason(self) -> str:
        return f" ({self.lost_because})" if self.lost_because else ""

    # Streams that nobody reads any more

    def leave(self, rows: AsyncGenerator[Any, None]) -> None:
        """Close a stream that its reader has forgotten. The garbage collector says so, perhaps in another thread."""
        if self.busy and not self._loop.is_closed():
            self._left_stream = rows
            self._loop.call_soon_threadsafe(self._close_stream)

    def _close_stream(self) -> None:
        rows, self._left_stream = self._left_stream, None
        if rows is not None:
            self._closing_stream = self._loop.create_task(closed_quietly(rows))

    async def come_free(self) -> None:
        """Wait until a stream that was left is closed; refuse when something else is in the way."""
        if self.busy and not self.closed_because and self.is_at_home():
            self._close_stream()
            if self._closing_stream is not None:
                await asyncio.wait((self._closing_stream,))
        if self.busy or self.closed_because or not self.is_at_home():
            self._refuse()

    def end_transaction(self, reason: str) -> None:
        """Take the transaction and its connection from this client: it has held them for too long."""
        db = self._using or self.held
        if db is None:
            return
        self.lost_because = reason
        if self._using is not None:
            db.pool.discard(db, interrupted=True)  # its statement fails, and the reason is told there
        else:
            self._forget(in_transaction=True)
            db.pool.clean(db)

    def close(self, reason: str) -> None:
        """Let nothing run any more. An open transaction is rolled back, its connection reset and lent on."""
        self.closed_because = reason
        db, self.held = self.held, None
        self._last = None
        self.session = Session(NOTHING_SUITS)  # if it waits, what comes is looked at once more
        if self._using is not None:
            self._using.pool.discard(self._using, interrupted=True)
        elif db is not None:
            db.pool.clean(db)
