"""A DB connection and what is known of its session: who has used it, what must be undone, what a text means on it now.

It decides nothing for its client, and sends nothing.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from forebay.dbproxy.effect import ENDS
from forebay.dbproxy.session import DEFAULTS, UNCHANGED, Meaning, Tracked, local_after, meaning

if TYPE_CHECKING:
    from forebay.dbproxy.driver import Wire
    from forebay.dbproxy.effect import Effect
    from forebay.dbproxy.pool import Pool

AUTOCOMMIT_OFF: Tracked = MappingProxyType(
    {"autocommit": "autocommit = 0"}
)  # as SQLAlchemy's connections to MySQL have it
NOBODY = 0
SEVERAL = -1


class DBConnection:
    """A DB connection and what is known of its session.

    Attributes:
        tracked: settings in force on it.
        local: settings in force that end with the transaction.
        dirty: why it must be reset before another client gets it; empty when it need not.
        dirty_in_transaction: it was made so in the transaction that is open.
        used_by: number of the only client since the last reset; ``NOBODY``, or ``SEVERAL``.
        permit: the number under which the app's processes count it; None: they do not share their connections.
        must_close: a reset cannot undo what happened on it.
        retired: it is closed as soon as it comes back.
        leaving: it is being closed.

    """

    __slots__ = (
        "dirty",
        "dirty_in_transaction",
        "idle_since",
        "leaving",
        "local",
        "must_close",
        "opened_at",
        "permit",
        "pool",
        "retired",
        "tracked",
        "used_by",
        "wire",
    )

    def __init__(self, wire: Wire, pool: Pool, now: float, permit: int | None = None) -> None:
        self.wire = wire
        self.pool = pool
        self.permit = permit
        self.opened_at = now
        self.idle_since = now
        self.must_close = False
        self.retired = False
        self.leaving = False
        self.renewed()
        wire.share_prepared(self.meaning)

    def renewed(self) -> None:
        """Take note that nothing is left in its session."""
        self.tracked: Tracked = DEFAULTS
        self.local: Tracked = DEFAULTS
        self.dirty = ""
        self.used_by = NOBODY
        self.dirty_in_transaction = False

    def meaning(self) -> Meaning:
        """Tell what the meaning of a text may hang on in the session as it is now."""
        if not (self.dirty or self.local or self.tracked):
            return UNCHANGED
        return meaning(self.tracked, self.local, dirty=bool(self.dirty))

    def will_close(self) -> None:
        """Have it closed as soon as it comes back. A function that runs on it may close what the driver has prepared."""
        self.must_close = True
        self.wire.close_nothing()

    def note(self, effect: Effect) -> None:
        """Take note of what a statement has left in the session."""
        if effect.dirty:
            self.mark_dirty(effect.dirty)
        self.must_close = self.must_close or effect.must_close

    def mark_dirty(self, why: str) -> None:
        """Have it reset before another client gets it. A text may mean something else from now on, and nobody knows what."""
        self.wire.forget_changed()
        self.dirty = self.dirty or why
        self.dirty_in_transaction = True

    def follow(self, effect: Effect, *, is_open: bool) -> None:
        """Take note of what ends with the transaction, of what undoes a part of it, and of the transaction's end.

        Args:
            effect: what the statement did that has just run.
            is_open: a transaction is open after it; the next one, if it was ``COMMIT AND CHAIN``.

        """
        ends = effect.transaction in ENDS or not is_open
        undoes = ends or effect.transaction == "rollback to"
        drops = "temporary table:" in effect.unpins
        if (self.dirty_in_transaction and undoes) or ("*" in self.local and (undoes or effect.local)) or drops:
            self.wire.forget_changed()
        self.dirty_in_transaction = (self.dirty_in_transaction or drops) and not ends
        self.local = local_after(self.local, effect, is_open=is_open)

    def suits(self, client: int, want: Tracked) -> bool:
        """Tell whether a client may use it as it is, and take note that it does; ``Pool.prepare`` helps if not."""
        if self.tracked is not want:
            return False
        if self.used_by != client:
            if self.dirty or self.pool.settings.hygiene_always:
                return False
            self.used_by = SEVERAL if self.used_by else client
        return True

    def is_usable(self) -> bool:
        """Tell whether the next client may have it."""
        return not (self.retired or self.must_close or self.wire.is_unfit())
