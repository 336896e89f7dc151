"""One client's statements as its session reads them: by which mode, in which database, and what their names stand for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from forebay.dbproxy.catalogue import look_up
from forebay.dbproxy.effect import UNJUDGED, Effect

if TYPE_CHECKING:
    from collections.abc import Callable

    from forebay._core import StatementJudge
    from forebay.dbproxy.connection import DBConnection
    from forebay.dbproxy.session import Session

LOOK_UP_SECONDS_MAX = 10.0


class Names:
    """What the judge must know of a session to read its statements.

    Attributes:
        judged: the judge's own call, by text, context and whether there are arguments.
        context: how the session's texts are read, and whose names they have.

    """

    __slots__ = ("_forget", "_judge", "_schema_changed", "context", "judged")

    def __init__(self, judge: StatementJudge, forget: Callable[[], None]) -> None:
        self._judge = judge
        self._forget = forget
        self._schema_changed = False  # in the transaction that is open
        self.judged = judge.judge
        self.context = 0

    async def look_up(self, db: DBConnection, effect: Effect, again: Callable[[], Effect]) -> Effect:
        """Ask the server for the names that a statement's verdict hangs on; one that refuses lets nothing be told."""
        ask = look_up(self._judge, db.wire, effect, self.context, again)
        try:
            async with asyncio.timeout(LOOK_UP_SECONDS_MAX):
                return await ask
        except Exception as error:
            if isinstance(error, TimeoutError) or db.pool.driver.translate(error, db.wire, db.pool.where).broken:
                raise
            return UNJUDGED  # in a transaction that has failed the statement is refused as well

    def schema_changed(self) -> None:
        """Take note that names may mean something else now, for every client."""
        self._forget()

    def follow(self, db: DBConnection, session: Session, effect: Effect, *, is_open: bool) -> None:
        """Have the next texts read as the server will, by its names."""
        if effect.changes_schema or (self._schema_changed and not is_open):
            self._forget()
            self._schema_changed = is_open
        if db.wire.engine == "postgresql":
            held = is_open or session.pins
            self.context = self._judge.context("off", None) if held and not db.wire.reads_standard() else 0
        elif effect.sets or effect.unsets:
            mode = session.tracked.get("sql_mode")
            self.context = self._judge.context(
                None if mode is None else mode.partition("= ")[2].strip("'"), session.tracked.get("database")
            )

    def digest(self, sql: str) -> str:
        """Give a statement for people, without its literals."""
        return self._judge.digest(sql)
