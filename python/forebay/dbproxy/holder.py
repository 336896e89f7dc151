"""The books of a client that borrows connections: what it holds, what pins it, what a failure means.

A connection whose statement was interrupted never runs another one. A write whose answer was lost is never repeated.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import get_running_loop
from threading import get_ident
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

from forebay.dbproxy.block_end import (
    CONNECTION_LOST,
    UNDONE_BY_USER,
    cut_short,
    ended_by,
    failed_with,
    may_have_committed,
)
from forebay.dbproxy.driver import Result
from forebay.dbproxy.effect import ENDS, PLAIN, UNJUDGED, Effect
from forebay.dbproxy.losses import SEVERAL, commit_unknown, loss_of, lost_before, refusal
from forebay.dbproxy.names import LookUpTimeout, Names
from forebay.dbproxy.pool import RESET_SECONDS_MAX
from forebay.dbproxy.session import Session
from forebay.dbproxy.statistics import now
from forebay.errors import (
    ClientClosed,
    DBProxyError,
    InvalidParameterValue,
    QueryTimeout,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from forebay._core import StatementJudge
    from forebay.dbproxy.block_end import BlockEnd
    from forebay.dbproxy.borrow_queue import BorrowQueue
    from forebay.dbproxy.connection import DBConnection
    from forebay.dbproxy.names import Schema
    from forebay.dbproxy.pool import Pool
    from forebay.dbproxy.session import Tracked
    from forebay.dbproxy.settings import ProxySettings
    from forebay.dbproxy.statistics import Counters

# The server has read it no better, and has run nothing of it.
UNREADABLE = (("statement:a text that cannot be read",), ("statement:more than one statement",))
UNDONE = Effect(transaction="rollback")
NOTHING_SUITS: Tracked = MappingProxyType({})  # no connection has this very object
UNDONE_SETTINGS = ("setting:what a savepoint has undone",)
LEFT = "a stream was left before its last row, and its connection was closed"
CANCELLED = "a statement was cancelled, and its connection was closed"
TIMED_OUT = "a statement did not end in time, and its connection was closed"

log = logging.getLogger("forebay.dbproxy")


def _limit_of(error: TimeoutError) -> str:
    if isinstance(error, LookUpTimeout):
        return f": the server did not tell within {error.args[0]:g} s what its names stand for"
    return f": {error.args[0]:g} s, by timeout= or query_timeout" if error.args else ""


class Holder:
    """One client's session, and the DB connection it holds, if it holds one.

    Attributes:
        held: the connection of an open transaction, or the one the client is pinned to.
        is_open: a transaction is open on it.
        began: when that transaction was first seen, by ``statistics.now``.
        lost: the connection was lost in a transaction that the user has not ended yet.
        names: how its statements are read.
        lost_because: what took it from this client; empty when it was the server or the network.
        busy: a statement runs.
        blocks: so many blocks of ``client.transaction()`` are entered, each in the one before.
        over: how the transaction of these blocks has ended, if it has; ``lost`` is set then, so that nothing runs outside of it.
        query_timeout: seconds for each statement that has no limit of its own.
        closed_because: why no statement may run any more; empty while one may.

    """

    __slots__ = (
        "_closing_stream",
        "_counters",
        "_exclude_variable_sets",
        "_is_changing",
        "_judged",
        "_last",
        "_left_stream",
        "_loop",
        "_queue",
        "_schema",
        "_suspect",
        "_thread",
        "_using",
        "began",
        "blocks",
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
        "over",
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
        schema: Schema,
        counters: Counters,
        suspect: Callable[[Pool], None],
    ) -> None:
        self.number = number
        self.engine = settings.target.engine
        self.session = Session()
        self.held: DBConnection | None = None
        self.is_open = self.lost = self.busy = False
        self.began = 0.0
        self.blocks = 0
        self.over: BlockEnd | None = None
        self.lost_because = ""
        self.closed_because = ""
        self._loop = asyncio.get_running_loop()
        self.loop_time = self._loop.time
        self._thread = get_ident()
        self.last_used = now()
        self._queue = queue
        self._schema = schema
        self.names = Names(judge, schema, self.engine)
        self._is_changing = False  # it runs a statement whose end may change the schema
        self._judged = judge.judge
        self._counters = counters
        self._suspect = suspect
        self._last: DBConnection | None = None
        self._using: DBConnection | None = None
        self._left_stream: AsyncGenerator[Any, None] | None = None
        self._closing_stream: asyncio.Task[None] | None = None
        self.query_timeout = settings.query_timeout
        self._exclude_variable_sets = settings.exclude_variable_sets

    def is_at_home(self) -> bool:
        """Tell whether its own event loop runs this. In Python 3.11 to ask which loop runs is a system call: it comes last."""
        return (get_ident() == self._thread and self._loop.is_running()) or get_running_loop() is self._loop

    @property
    def borrowed(self) -> DBConnection | None:
        """The connection that it has at this moment, for its session or for one statement."""
        return self.held or self._using

    def is_left_behind(self) -> bool:
        """Tell whether its own event loop has ended, and with it every connection that it opened."""
        return self._loop.is_closed()

    # The books

    async def _settle(self, db: DBConnection, sql: str, effect: Effect, result: Any) -> None:
        """Do the books after a statement that was not plain, or that left something open."""
        session, was_open = self.session, self.is_open
        if db.wire.is_broken():  # it broke after the answer: what was open on it is gone
            was_open = (was_open or effect.transaction == "begin") and effect.transaction not in ENDS
            self._lose(db, in_transaction=was_open or effect.chains)
            return
        is_open = self._note_transaction(db, ended=effect.transaction in ENDS)
        if self.blocks and (self.lost or not is_open):
            end = ended_by(self.names.digest(sql), effect, result, self.engine)
            self._look_at_block(end, is_next=effect.transaction == "begin")
        db.note(effect)
        pins = effect.pins + session.hidden_transaction(effect, is_open=is_open)
        if self.engine == "postgresql" and self._follow_transaction(db, effect, result):
            db.mark_dirty(UNDONE_SETTINGS[0])
            pins += UNDONE_SETTINGS
        if effect.sets or effect.unsets:
            session.track(effect)
            db.tracked = session.tracked
        session.fix(effect.fixes)
        if pins:
            self._pin(db, sql, pins)
        if session.pins and not is_open:
            await self._unpin(db, effect, transaction_ended=was_open)
        if "sql_mode" in effect.unsets:
            await self._read_anew(db)
        self.names.follow(db, session, effect, is_open=is_open)
        if db.leaving:
            return
        if is_open or session.pins:
            self.held = db
        else:
            self.held = None
            db.pool.give_back(db)

    async def _read_anew(self, db: DBConnection) -> None:
        """Ask by which mode texts are read: the default of MySQL is the server's of now, not that of when it was opened."""
        try:
            mode, _ = await db.wire.reads_by()
        except BaseException as error:  # noqa: BLE001 - each kind is told apart and raised there
            await self._failed(db, "", PLAIN, error, may_repeat=False)
            return
        if db.reads is None or mode != db.reads[0]:
            db.outdated()
            db.other_mode = mode

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
            kept = tuple(pin for pin in pins if not pin.startswith(("user variable:", "setting:")))
            if kept != pins:
                db.reset_for_all()
            pins = kept
        text = self.names.digest(sql)
        for pin in self.session.pin(pins, text, self.loop_time()):
            kind, _, detail = pin.cause.partition(":")
            self._counters.pins[kind] = self._counters.pins.get(kind, 0) + 1
            log.info(
                "The client session was pinned to the database connection [dbConnection=%d, client=%d]. "
                "Reason: %s. Digest: %s",
                db.wire.server_id,
                self.number,
                f"{kind} ({detail})" if detail else kind,
                text,
            )

    async def _unpin(self, db: DBConnection, effect: Effect, *, transaction_ended: bool) -> None:
        """Release what this statement, or the end of a transaction, has ended. PostgreSQL and named locks are asked."""
        session = self.session
        if not session.released(effect, is_postgres=self.engine == "postgresql", transaction_ended=transaction_ended):
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
        is_left_in = was_open and (effect.transaction not in ENDS or effect.chains)  # nobody will end it after this
        if not isinstance(error, Exception):  # cancelled, or the generator was left
            because = LEFT if isinstance(error, GeneratorExit) else CANCELLED
            self._lose_in(db, sql, effect, is_left_in=is_left_in, because=because)
            raise error
        if self.closed_because:
            self._lose(db, in_transaction=False)
            raise self._closed() from error
        if isinstance(error, TimeoutError) and error.errno is None:  # ours; the network's has a number
            self._lose_in(db, sql, effect, is_left_in=is_left_in, because=TIMED_OUT)
            if commits:
                raise commit_unknown("COMMIT did not answer in time") from None
            raise QueryTimeout(
                f"the statement did not end in time{_limit_of(error)}; it was cancelled and its connection closed"
            ) from None
        told = db.pool.driver.translate(error, db.wire, db.pool.where)
        if not told.broken:
            # A part of several statements may have run, and a function may raise what error it likes.
            was_unread = db.wire.stopped_at_reading(error) and SEVERAL not in effect.pins
            may_have_run = not was_unread or (
                effect.must_close and effect is not UNJUDGED and effect.pins not in UNREADABLE
            )
            was_sent = not isinstance(error, InvalidParameterValue)
            await self._refused(db, sql, effect if may_have_run else PLAIN, read_only=told.read_only, was_sent=was_sent)
            end = failed_with(self.names.digest(sql), effect, told.error, self.engine)
            self._look_at_block(end)
            raise told.error from error
        self._lose_in(db, sql, effect, is_left_in=is_left_in)
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

    async def _refused(
        self, db: DBConnection, sql: str, effect: Effect, *, read_only: bool, was_sent: bool = True
    ) -> None:
        """Go on after an error the server told: the connection is good, but half of the statement may have happened."""
        self._half_done(db, sql, effect, "a statement failed half-way")
        self._last = db
        db.remembers = True  # its warnings
        try:
            if was_sent:
                async with asyncio.timeout(RESET_SECONDS_MAX):
                    await db.wire.after_error()
        except BaseException as error:
            self._lose(db, in_transaction=effect.transaction not in ENDS or effect.chains)
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

    def _lose_in(self, db: DBConnection, sql: str, effect: Effect, *, is_left_in: bool, because: str = "") -> None:
        """Close the connection under a statement, which may have committed what ran before it in a block."""
        digest = self.names.digest(sql)
        self._lose(db, in_transaction=is_left_in, because=because)
        if is_left_in and self.blocks and may_have_committed(digest, effect, self.engine):
            self.over = cut_short(digest)

    def _lose(self, db: DBConnection, *, in_transaction: bool, because: str = "") -> None:
        """Close the connection under this client; a transaction on it is lost until the user has ended it."""
        if in_transaction and because:
            self.lost_because = self.lost_because or because
        self._forget(in_transaction=in_transaction)
        db.pool.discard(db, interrupted=True)

    def _forget(self, *, in_transaction: bool) -> None:
        """Go on without the connection."""
        self.held = None
        self.is_open = False
        self.session.ended(committed=False)
        self.session.pins.clear()
        self.names.start_over()
        self.names.read_by(None, self.session.tracked)
        self.lost = self.lost or in_transaction
        self._look_at_block(CONNECTION_LOST)

    def _is_skipped(self, effect: Effect) -> bool:
        """In a lost transaction only its end may run: ROLLBACK has nothing to do, COMMIT and the rest are refused."""
        because = self.lost_because
        if self.over is not None:
            if effect.transaction == "begin":  # the block goes on in the next one
                return False
            if effect.transaction != "rollback" or effect.chains:
                raise self.over.refusal()
            # What is committed, or may be, is not undone by a ROLLBACK that comes too late.
            if self.over.is_undone:
                self.over = UNDONE_BY_USER
            return True
        if effect.transaction == "rollback" and not effect.chains:
            self._begin_anew()
            self._look_at_block(UNDONE_BY_USER)
            return True
        if effect.transaction == "commit":
            self._begin_anew()
            self._look_at_block(CONNECTION_LOST)
        raise lost_before(because)

    # Blocks of `client.transaction()`

    def enter_block(self) -> None:
        """Take note of a block: what runs in it is for its transaction."""
        self.blocks += 1

    def leave_block(self, *, is_savepoint: bool) -> BlockEnd | None:
        """Take note that the newest block ends; give how its transaction has ended before, if it has.

        Where the outermost block was a savepoint, the transaction is the user's, who has yet to end it: what follows would run
        outside of it.
        """
        self.blocks -= 1
        over = self.over
        if over is not None and not self.blocks:
            self._begin_anew()
            self.lost = is_savepoint and not over.says_so and not self.session.begins_by_itself()
            self.lost_because = over.how if self.lost else ""
        return over

    def end_around(self, end: BlockEnd) -> None:
        """Have what follows refused, in the blocks around one that has left their transaction, or until its user's ROLLBACK."""
        self.lost, self.lost_because = True, end.how
        self.over = end if self.blocks else None

    def _begin_anew(self) -> None:
        """Forget a transaction that was lost: its user has ended it."""
        self.lost, self.over, self.lost_because = False, None, ""

    def _look_at_block(self, end: BlockEnd, *, is_next: bool = False) -> None:
        """Have what follows in a block refused when its transaction is over; let a block go on that has begun the next.

        Args:
            end: what may have ended it.
            is_next: one text has begun the next transaction, and may have ended it, too.

        """
        if self.is_open:
            if self.over is not None:
                self._begin_anew()
        elif self.blocks and (is_next or not self.lost):
            self.lost, self.over = True, end

    def _refuse_begin(self) -> None:
        """Refuse what would end the transaction of a block without a word of it: MySQL commits one when it begins the next.

        Raises:
            DBProxyError: always.

        """
        raise DBProxyError(
            "BEGIN inside of `async with client.transaction()` would commit what the block has done so far, on MySQL and "
            "MariaDB: use another `client.transaction()`, which is a savepoint"
        )

    def _refuse(self) -> NoReturn:
        if self.closed_because:
            raise self._closed()
        raise refusal(self.number, is_at_home=self.is_at_home(), is_busy=self.busy, because=self.lost_because)

    def _closed(self) -> ClientClosed:
        return ClientClosed(f"client {self.number}: {self.closed_because}")

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
        self.names.start_over()
        self.session = Session(NOTHING_SUITS)  # if it waits, what comes is looked at once more
        if self._using is not None:
            self._using.pool.discard(self._using, interrupted=True)
        elif db is not None:
            db.pool.clean(db)
