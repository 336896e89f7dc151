"""One client's statements as its session reads them: by which mode, in which database, and what their names stand for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from forebay.dbproxy.catalogue import look_up
from forebay.dbproxy.effect import ENDS, OLD_NAMES, UNJUDGED, Effect
from forebay.dbproxy.statistics import now

if TYPE_CHECKING:
    from collections.abc import Callable

    from forebay._core import StatementJudge
    from forebay.dbproxy.connection import DBConnection
    from forebay.dbproxy.session import Session

LOOK_UP_SECONDS_MAX = 10.0
NAMES_SECONDS_MAX = 60.0  # how long the proxy does not notice what others than its clients have changed
LATEST = frozenset(("read committed", "read uncommitted"))  # each statement sees what was committed before it


class Schema:
    """What all clients of a proxy share of their names.

    Attributes:
        changes: how often a client has changed the schema. A verdict from before a change is not to be relied on.
        changed_at: when it did so last, by ``statistics.now``.

    """

    __slots__ = ("_forget", "_free", "_made", "changed_at", "changes")

    def __init__(self, forget: Callable[[], None]) -> None:
        self.changes = 0
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

    __slots__ = ("_is_postgres", "_judge", "_own", "_schema", "context", "is_changing", "judged")

    def __init__(self, judge: StatementJudge, schema: Schema, engine: str) -> None:
        self._judge = judge
        self._schema = schema
        self._is_postgres = engine == "postgresql"
        self._own = 0  # the transaction's number while it is changing the schema
        self.is_changing = False
        self.judged = judge.judge
        self.context = 0

    async def look_up(
        self, db: DBConnection, effect: Effect, again: Callable[[], Effect], *, began: float | None
    ) -> Effect:
        """Ask the server for the names that a statement's verdict hangs on; one that refuses lets nothing be told.

        Args:
            db: the connection that the statement will run on.
            effect: the names that it needs.
            again: judges it once more.
            began: when the transaction began that is open on the connection, by ``statistics.now``.

        """
        try:
            async with asyncio.timeout(LOOK_UP_SECONDS_MAX):
                if began is not None and await self._sees_old_names(db, began):
                    return OLD_NAMES
                return await look_up(self._judge, db.wire, effect, self.context, again)
        except Exception as error:
            if isinstance(error, TimeoutError) or db.pool.driver.translate(error, db.wire, db.pool.where).broken:
                raise
            return UNJUDGED  # in a transaction that has failed the statement is refused as well

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
            self.context = self._judge.context(None, f"\0{self._own}")

    def start_over(self) -> None:
        """Take note that the transaction has ended, and that nothing is left of the session that PostgreSQL read its texts by."""
        if self._own:
            self._schema.give_back(self._own)
            self._own = 0
        if self.is_changing:
            self.is_changing = False
            self._schema.changed()
        if self._is_postgres:
            self.context = 0

    def follow(self, db: DBConnection, session: Session, effect: Effect, *, is_open: bool) -> None:
        """Have the next texts read as the server will, by its names."""
        if self.is_changing and (effect.transaction in ENDS or not is_open):  # the next may be open already
            self.start_over()
        if effect.changes_schema or (self.is_changing and (effect.transaction == "rollback to" or effect.pins)):
            self.schema_changed(is_open=is_open)
        if self._is_postgres:
            is_held = is_open or session.pins
            mode = "off" if is_held and not db.wire.reads_standard() else None
            database = f"\0{self._own}" if self._own else None
            self.context = self._judge.context(mode, database) if mode or database else 0
        elif effect.sets or effect.unsets:
            mode = session.tracked.get("sql_mode")
            self.context = self._judge.context(
                None if mode is None else mode.partition("= ")[2].strip("'"), session.tracked.get("database")
            )

    def digest(self, sql: str) -> str:
        """Give a statement for people, without its literals."""
        return self._judge.digest(sql, self.context)
