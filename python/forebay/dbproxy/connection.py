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
        remembers: its session may tell what the last statements did: a key, warnings, a value of a sequence.
        holds_value: what it remembers goes only with a reset.
        used_by: number of the only client since the last reset; ``NOBODY``, or ``SEVERAL``.
        texts_of: number of the only client whose statements the driver may have prepared; ``NOBODY``, or ``SEVERAL``.
        reads: the mode by which a session of it reads texts when nobody has changed it, and its database.
        other_mode: that mode, when new connections have another one by now; None when it is theirs.
        permit: the number under which the app's processes count it; None: they do not share their connections.
        must_close: a reset cannot undo what happened on it.
        retired: it is closed as soon as it comes back.
        leaving: it is being closed.

    """

    __slots__ = (
        "dirty",
        "dirty_in_transaction",
        "holds_value",
        "idle_since",
        "leaving",
        "local",
        "must_close",
        "opened_at",
        "other_mode",
        "permit",
        "pool",
        "reads",
        "remembers",
        "retired",
        "texts_of",
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
        self.texts_of = NOBODY
        self.reads: tuple[str, str] | None = None
        self.other_mode: str | None = None
        self.renewed()
        wire.share_prepared(self.meaning)

    def renewed(self) -> None:
        """Take note that nothing is left in its session."""
        self.tracked: Tracked = DEFAULTS
        self.local: Tracked = DEFAULTS
        self.dirty = ""
        self.used_by = NOBODY
        self.dirty_in_transaction = self.remembers = self.holds_value = False

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
        self.holds_value = self.holds_value or effect.uses_sequence

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

    def remembers_others(self, client: int) -> bool:
        """Tell whether a client that keeps it could ask its session for what others did."""
        return self.used_by not in (NOBODY, client) and (self.remembers or self.wire.remembers())

    def suits(self, client: int, want: Tracked) -> bool:
        """Tell whether a client may use it as it is, and take note that it does; ``Pool.prepare`` helps if not."""
        if self.tracked is not want:
            return False
        if self.used_by != client:
            if self.dirty or self.pool.settings.hygiene_always:
                return False
            self.used_by = SEVERAL if self.used_by else client
            if self.texts_of != client:
                self.texts_of = SEVERAL if self.texts_of else client
        return True

    def reset_for_all(self) -> None:
        """Have what makes it dirty undone before the next loan, its last client's too."""
        self.used_by = SEVERAL

    def is_used_by(self, client: int) -> None:
        """Take note who uses it."""
        self.used_by = client if self.used_by in (NOBODY, client) else SEVERAL
        self.texts_of = client if self.texts_of in (NOBODY, client) else SEVERAL

    def shows_texts(self, client: int) -> bool:
        """Tell whether a client that asks what its session holds would be shown what the driver has prepared for others."""
        return self.texts_of not in (NOBODY, client)

    def is_as_opened(self) -> bool:
        """Tell whether nothing is changed in its session: what the server shows in it, it shows to everybody."""
        return not (self.dirty or self.tracked or self.local or self.wire.in_transaction())

    def outdated(self) -> None:
        """Take note that new connections read texts by another mode. It is closed as soon as it comes back."""
        self.retired = True
        if self.other_mode is None and self.reads is not None:
            self.other_mode = self.reads[0] or "on"

    def is_usable(self) -> bool:
        """Tell whether the next client may have it."""
        return not (self.retired or self.must_close or self.wire.is_unfit())
