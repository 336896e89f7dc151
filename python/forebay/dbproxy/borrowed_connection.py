"""A DB connection lent to an adapter that speaks to the driver itself, such as SQLAlchemy, until it gives the connection back.

Everything that it does still passes here: what a statement may leave in the session is noted, and a connection whose
statement was interrupted is closed. Session state ends there: it is reset before another client gets the connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from forebay.dbproxy.session import DEFAULTS
from forebay.errors import CommitUnknown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from forebay.dbproxy.connection import DBConnection
    from forebay.dbproxy.driver import Wire
    from forebay.dbproxy.effect import Effect
    from forebay.dbproxy.lender import Lender
    from forebay.dbproxy.proxy import DBProxy
    from forebay.dbproxy.session import Tracked


class BorrowedConnection:
    """A client of the proxy that holds one DB connection from beginning to end, then perhaps another one, as another client."""

    __slots__ = (
        "_borrower", "_changes", "_db", "_must_reset", "_proxy", "_schema_changed", "_settings", "_suits_too", "opened_at", "use",
    )  # fmt: skip

    _borrower: Lender
    _db: DBConnection
    use: Callable[..., Awaitable[Any]]
    """Does something over the connection; it is ``Lender.use`` itself, which saves a call for everything that is done.

    Raises:
        ClientClosed: the client was idle or open for too long, or the proxy was closed.
        ConnectionLost: the connection was lost before.

    """

    def __init__(self, proxy: DBProxy, *, suits_too: Tracked = DEFAULTS) -> None:
        self._proxy = proxy
        self._suits_too = suits_too  # settings with which a connection is taken as it is
        self._must_reset = False
        self._schema_changed = False
        self._settings: Tracked = DEFAULTS  # what was set since it was lent, as far as it says how texts are read
        self._changes: int | None = None  # how often the schema had been changed when its first statement was judged
        self.opened_at = 0.0  # the loop's time; it was never a client

    async def begin(self, *, read_only: bool, user: str | None = None) -> Self:
        """Stand in line for a connection.

        Raises:
            BorrowTimeout: none became free in time.
            DatabaseUnavailable: no server could be reached in that time.
            TooManyClients: the proxy has no room for another client.

        """
        if read_only or not self._admitted_again():
            await self.admitted(read_only=read_only, user=user)
        try:
            self._db = await self._borrower.lend(self._suits_too)
        except BaseException:
            self.end()
            raise
        return self

    async def admitted(self, *, read_only: bool = False, user: str | None = None) -> Self:
        """Become a client of the proxy, without a connection yet."""
        self._borrower = await self._proxy.admit(self, read_only=read_only, user=user)
        self.use = self._borrower.use
        return self

    def _admitted_again(self) -> bool:
        """Become a client once more, if this was one before and there is room."""
        return bool(self.opened_at) and self._proxy.admit_again(self, self._borrower)

    async def take(self) -> None:
        """Stand in line for a connection."""
        self._db = await self._borrower.lend(self._suits_too)

    def give_back(self) -> None:
        """Give the connection back. What may hold locks is reset before anybody is offered it.

        It is reset if others have changed the schema meanwhile: what ran was judged by what they had not made yet.
        """
        if self._changes is not None:
            if self._changes != self._borrower.changes_seen() and not self._schema_changed:
                self.require_reset("others have changed the schema")
            self._changes = None
        self._borrower.take_back(reset=self._must_reset)
        self._must_reset = False
        if self._schema_changed:  # perhaps after its names had been looked up by others
            self._schema_changed = False
            self._borrower.names.schema_changed(is_open=False)
        self._borrower.names.start_over()
        self._borrower.names.read_by(None, DEFAULTS)
        self._settings = DEFAULTS

    def drop(self) -> None:
        """Close the connection: something still runs on it."""
        self._borrower.drop_lent()

    def end(self) -> None:
        """Give the connection back, and be a client no more."""
        self.give_back()
        self._proxy.dismiss(self._borrower, "it was closed")

    @property
    def wire(self) -> Wire:
        """The connection through its driver."""
        return self._db.wire

    @property
    def is_over(self) -> bool:
        """Whether the connection was given back or lost."""
        return self._borrower.held is None

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._borrower.is_open

    @property
    def pins(self) -> tuple[str, ...]:
        """What ties it to its connection beside the borrowing itself: nothing."""
        return ()

    def is_plain(self, sql: str) -> bool:
        """Tell whether a statement is known to leave nothing in the session; if not, ``judge`` it."""
        return self._verdict(sql, has_arguments=False).plain

    def _verdict(self, sql: str, *, has_arguments: bool) -> Effect:
        names, db = self._borrower.names, self._db
        if (db.dirty or db.other_mode is not None) and not db.wire.is_broken():
            names.read_as(db, self._settings)
        effect = names.judged(sql, names.context, has_arguments)
        if effect.writes_session:
            db.remembers = True
        if self._changes is None:
            self._changes = self._borrower.changes_seen()
        return effect

    async def judge(self, sql: str, *, has_arguments: bool = False) -> Effect:
        """Tell what a statement does to the session, and take note of it: one that fails may have done half of its work."""
        borrower = self._borrower
        names = borrower.names
        effect = self._verdict(sql, has_arguments=has_arguments)
        db = self._db
        if effect.needs:

            def judged(context: int) -> Effect:
                return names.judged(sql, context, has_arguments)

            began = borrower.began if borrower.is_open else None
            pins = (db.dirty,) if ":" in db.dirty else ()
            effect = await self.use(names.look_up, db, effect, judged, began=began, pins=pins)
        if effect.writes_session:
            db.remembers = True
        if effect.reads_session and db.shows_texts(borrower.number):
            await self.use(db.pool.hide_texts, db, borrower.number)
        if not effect.plain:
            if effect.dirty or effect.sets:
                db.mark_dirty(effect.dirty or "a setting")
            if effect.must_close:
                db.will_close()
            db.follow(effect, is_open=True)  # whether one is, is asked when it has run
            self._must_reset = self._must_reset or bool(effect.pins)
            if effect.changes_schema or (names.is_changing and effect.transaction == "rollback to"):
                self._schema_changed = True
                names.schema_changed(is_open=True)  # whether one is open is seen when it has run
        return effect

    def follow(self, effect: Effect) -> None:
        """Have the next statements read as the server reads them since this one has run, and looked up where it does so."""
        if "sql_mode" in effect.unsets:  # the server's own of now, which may be any
            self._db.will_close()
        self._settings = {**self._settings, **dict(effect.sets)}

    def settled(self, tracked: Tracked) -> None:
        """Take note of the settings that are in force from now on."""
        self._db.tracked = self._borrower.session.tracked = tracked

    def require_reset(self, reason: str) -> None:
        """Have the session reset whatever was done to it: the proxy has not seen it."""
        self._db.mark_dirty(reason)
        self._must_reset = True

    async def commit(self, work: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Commit.

        Raises:
            ClientClosed: the client was closed before.
            CommitUnknown: the answer was lost: look before you repeat anything.
            ConnectionLost: the transaction was ended and rolled back before.

        """
        was_over = self.is_over  # nothing is sent then
        try:
            await self.use(work, *args)
        except Exception as error:
            if self.is_over and not was_over:
                raise CommitUnknown(
                    f"the answer to COMMIT was lost ({type(error).__name__}): the transaction may or may not be in the database"
                ) from error
            raise
