"""One client's statements as its session reads them: by which mode, in which database, and what their names stand for."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from forebay.dbproxy.catalogue import OWN, look_up
from forebay.dbproxy.effect import ENDS, OLD_NAMES, UNJUDGED, Effect
from forebay.dbproxy.statistics import now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from forebay._core import StatementJudge
    from forebay.dbproxy.connection import DBConnection
    from forebay.dbproxy.session import Session, Tracked

LOOK_UP_SECONDS_MAX = 10.0
NAMES_SECONDS_MAX = 60.0  # how long the proxy does not notice what others than its clients have changed
ASIDE_SECONDS_MAX = 0.05  # how long a look-up waits for a connection beside the client's own
CANCELLED = "57014"  # PostgreSQL's code
LATEST = frozenset(("read committed", "read uncommitted"))  # each statement sees what was committed before it
# Causes that change neither what a session may see of the catalogue of MySQL, nor how much of it.
SHOWS_ALL = (
    "temporary table:", "lock:", "table locks:", "next transaction:", "transaction:", "handler:", "prepared statement:",
    "user variable:", "session memory:",
)  # fmt: skip


class LookUpTimeout(TimeoutError):
    """A server did not tell what names stand for."""


class Schema:
    """What all clients of a proxy share of their names.

    Attributes:
        changes: how often a client has changed the schema. A verdict from before a change is not to be relied on.
        changed_at: when it did so last, by ``statistics.now``.
        changing: statements that run now, and that may change it with their end.

    """

    __slots__ = ("_forget", "_free", "_made", "changed_at", "changes", "changing")

    def __init__(self, forget: Callable[[], None]) -> None:
        self.changes = 0
        self.changing = 0
        self.changed_at = 0.0
        self._forget = forget
        self._free: list[int] = []
        self._made = 0

    def changed(self) -> None:
        """Have every name looked up again: it may mean something else now, for every client."""
        self.changes += 1
        self.changed_at = now()
        self._forget()

    def take(self) -> int:
        """Give a number for a transaction that has changed the schema: only it sees the change, and only it may learn from it."""
        if self._free:
            return self._free.pop()
        self._made += 1
        return self._made

    def give_back(self, number: int) -> None:
        """Take a number back when the transaction has ended."""
        self._free.append(number)


class Names:
    """What the judge must know of a session to read its statements.

    Attributes:
        judged: the judge's own call, by text, context and whether there are arguments.
        context: how the session's texts are read, and whose names they have.
        is_changing: the transaction that is open has changed the schema.

    """

    __slots__ = ("_is_postgres", "_judge", "_mode", "_own", "_schema", "context", "is_changing", "judged")

    def __init__(self, judge: StatementJudge, schema: Schema, engine: str) -> None:
        self._judge = judge
        self._schema = schema
        self._is_postgres = engine == "postgresql"
        self._own = 0  # the transaction's number while it is changing the schema
        self._mode: str | None = None
        self.is_changing = False
        self.judged = judge.judge
        self.context = 0

    async def look_up(
        self,
        db: DBConnection,
        effect: Effect,
        judged: Callable[[int], Effect],
        *,
        began: float | None,
        pins: Iterable[str],
        context: int | None = None,
    ) -> Effect:
        """Ask the server for the names that a statement's verdict hangs on; one that does not tell lets nothing be told.

        It is asked where the session is as it was opened: on the client's own connection if that is so, else on another that
        is free. Otherwise it is asked in the client's own session, unless that may be shown something else than others are.

        Args:
            db: the connection that the statement will run on.
            effect: the names that it needs.
            judged: judges it once more, in a context.
            began: when the transaction began that is open on the connection, by ``statistics.now``.
            pins: what ties the client to it.
            context: whose names they are, if not the client's own.

        Raises:
            LookUpTimeout: the client's own connection did not answer.

        """
        context = self.context if context is None else context
        again = partial(judged, context)
        if self.is_changing or db.is_as_opened():
            return await self._ask(db, effect, again, context, began)
        aside = await db.pool.spare(ASIDE_SECONDS_MAX, but=1)
        if aside is None:
            if not self._is_postgres and any(not pin.startswith(SHOWS_ALL) for pin in pins):
                return UNJUDGED
            return await self._ask(db, effect, again, context, began)
        try:
            found = await self._ask(aside, effect, again, context, None)
        except BaseException as error:
            aside.pool.discard(aside, interrupted=True)
            if not isinstance(error, Exception):
                raise
            return UNJUDGED
        aside.pool.give_back(aside)
        return found

    async def _ask(
        self, db: DBConnection, effect: Effect, again: Callable[[], Effect], context: int, began: float | None
    ) -> Effect:
        is_asked = db.is_as_opened()
        try:
            async with asyncio.timeout(LOOK_UP_SECONDS_MAX):
                if is_asked:
                    return await look_up(self._judge, db.wire, effect, context, again)
                async with db.wire.without_limits():
                    is_asked = True
                    if began is not None and await self._sees_old_names(db, began):
                        return OLD_NAMES
                    return await look_up(self._judge, db.wire, effect, context, again)
        except TimeoutError as error:
            raise LookUpTimeout(LOOK_UP_SECONDS_MAX) from error
        except Exception as error:
            told = db.pool.driver.translate(error, db.wire, db.pool.where)
            if not is_asked or told.broken or getattr(told.error, "code", "") == CANCELLED:
                raise  # the client's own time limit may have come before or after: its transaction has failed
            return UNJUDGED

    async def judge_again(
        self,
        db: DBConnection,
        effect: Effect,
        judged: Callable[[int], Effect],
        *,
        began: float | None,
        pins: Iterable[str],
    ) -> Effect:
        """Judge a statement by the names that there are now: others have changed the schema while it ran, or are about to.

        What is learned stays with it, since the next moment may show others.

        Args:
            db: the connection that it ran on.
            effect: the verdict by which it ran.
            judged: judges it once more, in a context.
            began: when the transaction began that is open on the connection, by ``statistics.now``.
            pins: what ties the client to it.

        Returns:
            The stricter of the two verdicts.

        """
        number = self._schema.take()
        try:
            context = self._judge.context(self._mode, f"{self._judge.database(self.context)}{OWN}{number}")
            self._judge.forget(context)
            found = judged(context)
            if found.needs:
                found = await self.look_up(db, found, judged, began=began, pins=pins, context=context)
        finally:
            self._schema.give_back(number)
        return effect if effect.pins or effect.must_close else found

    async def _sees_old_names(self, db: DBConnection, began: float) -> bool:
        """Tell whether a transaction sees the catalogue as it was, while what it calls is what there is now."""
        is_recent = began > self._schema.changed_at and now() - began < NAMES_SECONDS_MAX
        if is_recent or not self._is_postgres:
            return False
        return await db.wire.fetch_value("SHOW transaction_isolation", ()) not in LATEST

    def schema_changed(self, *, is_open: bool) -> None:
        """Take note that names may mean something else now; for this client alone while its transaction is open."""
        self._schema.changed()
        self.is_changing = self.is_changing or is_open
        if is_open and self._is_postgres and not self._own:
            self._own = self._schema.take()
            self.context = self._judge.context(None, f"{OWN}{self._own}")

    def start_over(self) -> None:
        """Take note that the transaction has ended, and that nothing is left of the session that PostgreSQL read its texts by."""
        if self._own:
            self._schema.give_back(self._own)
            self._own = 0
        if self.is_changing:
            self.is_changing = False
            self._schema.changed()
        if self._is_postgres:
            self._mode, self.context = None, 0

    def read_by(self, mode: str | None, tracked: Tracked) -> None:
        """Have the next texts read by the mode of a connection that was opened before others got another one; None is theirs."""
        if self._is_postgres:
            database = f"{OWN}{self._own}" if self._own else None
        else:
            own = tracked.get("sql_mode")
            mode = mode if own is None else own.partition("= ")[2].strip("'")
            database = tracked.get("database")
        self._mode = mode
        self.context = 0 if mode is None and database is None else self._judge.context(mode, database)

    def read_as(self, db: DBConnection, tracked: Tracked) -> None:
        """Have the next texts read as a connection reads them now, on which these settings were made."""
        mode = db.other_mode
        if self._is_postgres:
            reads = "on" if db.wire.reads_standard() else "off"
            mode = reads if reads == "off" or mode is not None else None
        self.read_by(mode, tracked)

    def follow(self, db: DBConnection, session: Session, effect: Effect, *, is_open: bool) -> None:
        """Have the next texts read as the server will, by its names."""
        if self.is_changing and (effect.transaction in ENDS or not is_open):  # the next may be open already
            self.start_over()
        if effect.changes_schema or (self.is_changing and (effect.transaction == "rollback to" or effect.pins)):
            self.schema_changed(is_open=is_open)
        if self._is_postgres or effect.sets or effect.unsets or db.other_mode is not None:
            if is_open or session.pins:
                self.read_as(db, session.tracked)
            else:
                self.read_by(None, session.tracked)

    def digest(self, sql: str) -> str:
        """Give a statement for people, without its literals."""
        return self._judge.digest(sql, self.context)
