"""A client's way to the database: borrow, run, do the books of its session, give back; and what a failure means.

A connection whose statement was interrupted never runs another one. A write whose answer was lost is never repeated.
"""

from __future__ import annotations

import asyncio
import logging
from itertools import count
from threading import get_ident
from typing import TYPE_CHECKING, Any

from forebay.dbproxy.arguments import call_seconds
from forebay.dbproxy.driver import OutOfStep, Result
from forebay.dbproxy.effect import PLAIN, UNJUDGED, Effect
from forebay.dbproxy.holder import Holder
from forebay.dbproxy.losses import as_it_ran, as_it_runs
from forebay.dbproxy.names import LookUpTimeout
from forebay.dbproxy.statistics import now
from forebay.dbproxy.tasks import closed_quietly, within
from forebay.errors import (
    DatabaseUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from datetime import timedelta

    from forebay.dbproxy.connection import DBConnection

ATTEMPTS_MAX = 3
NOT_SENT = Effect(repeatable=True)

log = logging.getLogger("forebay.dbproxy")


class Borrower(Holder):
    """A client's way to a connection: borrow, judge, run, and leave the books to ``Holder``."""

    __slots__ = ()

    # Running

    async def run(
        self, verb: str, sql: str, args: Any, limit: float | timedelta | None, rows: str | None = None
    ) -> Any:
        """Run one statement by the wire's method of that name; a COPY with ``rows`` beside it (in, out) is not repeated."""
        if self.busy or self.closed_because or get_ident() != self._thread or not self._loop.is_running():
            await self.come_free()
        self.busy = True
        began = now()
        runs, given = verb, None
        try:
            effect = self._judged(sql, self.names.context, bool(args), rows)
            changes = self._schema.changes
            if self.lost and self._is_skipped(effect):
                return Result()
            limit = self.query_timeout if limit is None else call_seconds(limit)
            for attempts in count(1):
                db = self.held
                if db is None:
                    db = (self._queue.take(self._last) if self._queue.idle else None) or await self._queue.wait()
                    tracked = self.session.tracked
                    fits = (
                        changes == self._schema.changes  # or others have changed it while this client waited
                        and not effect.reads_session
                        and db.suits(self.number, tracked)
                        and not (
                            (effect.keeps or (tracked and "autocommit" in tracked)) and db.remembers_others(self.number)
                        )
                    )
                else:
                    fits = db.other_mode is None
                self._using = db if fits else None
                if not (fits and effect.plain):
                    judged = self._judgement(sql, args, rows)
                    db, effect, changes = await self._made_ready(
                        db, sql, effect, judged, changes=changes, limit=limit, fits=fits
                    )
                    runs, given = as_it_runs(verb, effect, self.engine)
                started = now()
                try:
                    answer = getattr(db.wire, runs)(sql, args)
                    result = await (answer if limit is None else within(limit, answer))
                    if db.wire.out_of_step:
                        raise OutOfStep  # noqa: TRY301 - it ends as any lost connection does
                except BaseException as error:  # noqa: BLE001 - each kind is told apart and raised there
                    self._note_changes(db, changes)
                    effect = as_it_ran(effect, error, db.wire, as_one=bool(args) or verb != "execute")
                    await self._failed(db, sql, effect, error, may_repeat=attempts < ATTEMPTS_MAX and rows is None)
                    continue
                self._counters.answered(began, started, borrowed=self.held is None)
                self._last = db
                db.remembers = db.remembers or effect.writes_session
                if changes != self._schema.changes or self._schema.changing:
                    effect = await self._looked_back(db, sql, effect, self._judgement(sql, args, rows), changes)
                is_plain = effect.plain and (effect.repeatable or not self.session.tracked)
                if self.held is None and is_plain and not db.wire.in_transaction():
                    db.pool.give_back(db)
                else:
                    await self._settle(db, sql, effect, result)
                return result if given is None else given[0]
        finally:
            self._schema.changing -= self._is_changing
            self._is_changing = self.busy = False
            self._using = None
            self.last_used = now()

    async def stream(self, sql: str, args: Any, *, prefetch: int, limit: float | None) -> AsyncGenerator[Any, None]:
        """Run one statement and give its rows as they come; the connection is borrowed until the last one."""
        if self.busy or self.closed_because or get_ident() != self._thread or not self._loop.is_running():
            await self.come_free()
        self.busy = True
        began = now()
        try:
            judged = self._judgement(sql, args)
            effect = judged(self.names.context)
            changes = self._schema.changes
            if self.lost:
                self._is_skipped(effect)
            db = self.held or self._queue.take(self._last) or await self._queue.wait()
            limit = self.query_timeout if limit is None else limit
            db, effect, changes = await self._made_ready(
                db, sql, effect, judged, changes=changes, limit=limit, fits=False
            )
            started = now()
            rows = db.wire.stream(sql, args, prefetch)
            try:
                while True:
                    answer = anext(rows, None)
                    row = await (answer if limit is None else within(limit, answer))
                    if row is None:
                        break
                    yield row
                if db.wire.out_of_step:
                    raise OutOfStep  # noqa: TRY301 - it ends as any lost connection does
            except BaseException as error:
                self._note_changes(db, changes)
                await self._stream_failed(db, sql, effect, error)
                raise
            self._counters.answered(began, started, borrowed=self.held is None)
            self._last = db
            db.remembers = True
            effect = await self._looked_back(db, sql, effect, judged, changes)
            await self._settle(db, sql, effect, None)
        finally:
            self._schema.changing -= self._is_changing
            self._is_changing = self.busy = False
            self._using = None
            self.last_used = now()

    async def _made_ready(
        self,
        db: DBConnection,
        sql: str,
        effect: Effect,
        judged: Callable[[int], Effect],
        *,
        changes: int,
        limit: float | None,
        fits: bool,
    ) -> tuple[DBConnection, Effect, int]:
        """Make a connection fit for a statement, and look up what its names stand for."""
        if self.blocks and effect.transaction == "begin" and self.is_open and self.engine == "mysql":
            self._refuse_begin()
        if self.held is None and not fits:
            db, effect, changes = await self._fitted(db, effect, judged, changes)
        elif db.other_mode is not None:
            self.names.read_by(db.other_mode, self.session.tracked)
            effect = judged(self.names.context)
        self._using = db
        if not effect.plain:  # or it is not known yet
            db, effect = await self._looked_up(db, sql, effect, limit, judged)
        if not self._is_changing and not effect.plain and (effect.changes_schema or self.names.is_changing):
            self._schema.changing += 1
            self._is_changing = True
        return db, effect, changes

    def _is_unsure(self, changes: int) -> bool:
        """Tell whether others have changed the schema since it was changed so often, or may have."""
        return changes != self._schema.changes or self._schema.changing > self._is_changing

    def _note_changes(self, db: DBConnection, changes: int) -> None:
        """Have a connection closed whose statement has failed: it may have run what others have just made."""
        if self._is_unsure(changes):
            db.must_close = True

    async def _looked_back(
        self, db: DBConnection, sql: str, effect: Effect, judged: Callable[[int], Effect], changes: int
    ) -> Effect:
        """Judge a statement that has run anew, if others have changed the schema."""
        return await self._judged_again(db, sql, effect, judged) if self._is_unsure(changes) else effect

    def _judgement(self, sql: str, args: Any, rows: str | None = None) -> Callable[[int], Effect]:
        """Make what judges a text once more, in a context."""
        return lambda context: self._judged(sql, context, bool(args), rows)

    async def _looked_up(
        self, db: DBConnection, sql: str, effect: Effect, limit: float | None, judged: Callable[[int], Effect]
    ) -> tuple[DBConnection, Effect]:
        """Judge a statement by what the server says of its names; give the verdict, and the connection that suits it."""
        attempts = 0
        while effect.needs:
            attempts += 1
            answer = self.names.look_up(
                db, effect, judged, began=self.began if self.is_open else None, pins=self.session.pins
            )
            try:
                found = await (answer if limit is None else within(limit, answer))
            except LookUpTimeout as error:
                if self.held is not None:
                    await self._failed(db, sql, NOT_SENT, error, may_repeat=False)
                log.info("connection %d to %s was closed: %s", db.wire.server_id, db.pool.where, error)
                db.pool.discard(db, interrupted=True)
                db = self._using = await self._borrow(UNJUDGED)
                found = UNJUDGED
            except BaseException as error:  # noqa: BLE001 - each kind is told apart and raised there
                await self._failed(db, sql, NOT_SENT, error, may_repeat=attempts < ATTEMPTS_MAX)
                db = self._using = await self._borrow(PLAIN)
                continue
            if (found.reads_session or found.keeps) and self.held is None:
                db = self._using = await self._made_fit(db, found)
            effect = found
            break
        if effect.reads_session and self.held is db and db.shows_texts(self.number):
            await self._hide_texts(db)
        if effect.must_close:
            db.will_close()
        return db, effect

    async def _judged_again(
        self, db: DBConnection, sql: str, effect: Effect, judged: Callable[[int], Effect]
    ) -> Effect:
        """Judge a statement that has run by what its names stand for now; nobody knows what ran if that is not told."""
        began = self.began if self.is_open else None
        try:
            return await self.names.judge_again(db, effect, judged, began=began, pins=self.session.pins)
        except BaseException as error:  # noqa: BLE001 - each kind is told apart and raised there
            await self._failed(db, sql, effect, error, may_repeat=False)
            return effect

    async def _hide_texts(self, db: DBConnection) -> None:
        try:
            await db.pool.hide_texts(db, self.number)
        except Exception as error:  # told apart by the driver
            told = db.pool.driver.translate(error, db.wire, db.pool.where)
            if told.broken:
                self._lose(db, in_transaction=self.is_open)
                raise told.error from error
            # Its transaction has failed: the statement is refused, too.

    async def _stream_failed(self, db: DBConnection, sql: str, effect: Effect, error: BaseException) -> None:
        """Sort out a stream that did not reach its end; on PostgreSQL a cursor may simply be left."""
        if self.engine == "postgresql" and isinstance(error, GeneratorExit):
            self._half_done(db, sql, effect, "a statement was left half-way")
        else:
            await self._failed(db, sql, effect, error, may_repeat=False)

    async def _borrow(self, effect: Effect) -> DBConnection:
        """Take a free connection or wait for one; make it fit for this client."""
        return await self._made_fit(self._queue.take(self._last) or await self._queue.wait(), effect)

    async def _fitted(
        self, db: DBConnection, effect: Effect, judged: Callable[[int], Effect], changes: int
    ) -> tuple[DBConnection, Effect, int]:
        """Make a connection fit; judge anew what was judged before others changed the schema, or how texts are read."""
        while True:
            if changes != self._schema.changes:
                changes = self._schema.changes
                effect = judged(self.names.context)
            db = await self._made_fit(db, effect)
            if changes == self._schema.changes:
                return db, effect, changes

    async def _made_fit(self, db: DBConnection, effect: Effect) -> DBConnection:
        """Reset and replay what must be; when the connection breaks over it, do it with another one."""
        if self.closed_because:  # it has come too late
            db.pool.give_back(db)
            raise self._closed()
        want = self.session.tracked
        is_refused = False
        for attempt in range(ATTEMPTS_MAX):
            if attempt:
                db = self._queue.take(self._last) or await self._queue.wait()
            try:
                keeps = effect.keeps or "autocommit" in want
                given = await db.pool.prepare(
                    db, self.number, want, exclusive=effect.reads_session, keeps=keeps, without_refused=is_refused
                )
            except Exception as error:  # told apart by the driver
                db.pool.discard(db, interrupted=True)
                if self.closed_because:
                    raise self._closed() from error
                told = db.pool.driver.translate(error, db.wire, db.pool.where)
                if not told.broken:  # a tracked setting that this server refuses, such as a role that was dropped
                    if is_refused:
                        raise told.error from error
                    is_refused = True
                    own = {
                        *effect.unsets,
                        *(key for key, _ in effect.sets),
                    }  # that must not be what the statement fails by
                    want = {key: text for key, text in want.items() if key not in own}
            except BaseException:
                db.pool.discard(db, interrupted=True)
                raise
            else:
                self.session.tracked = given
                return db
        raise DatabaseUnavailable(f"{ATTEMPTS_MAX} connections in a row broke before the statement could run")

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
