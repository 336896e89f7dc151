"""``async with client.transaction()``: begin, then commit or roll back; a savepoint inside another transaction."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Self

from forebay.dbproxy.arguments import choice
from forebay.dbproxy.block_end import NEXT, NEXT_NOTE
from forebay.errors import DatabaseError, DBProxyError, InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from forebay.dbproxy.block_end import BlockEnd
    from forebay.dbproxy.client import Client
    from forebay.dbproxy.holder import Holder

ROLLBACK_SECONDS_MAX = 10.0
NO_SAVEPOINT = ("1305", "3B001")  # of that name
ISOLATION_LEVELS = ("read uncommitted", "read committed", "repeatable read", "serializable")

log = logging.getLogger("forebay.dbproxy")


class Transaction:
    """One transaction, or one savepoint, of a client."""

    __slots__ = ("_began", "_begin", "_client", "_holder", "_savepoint")

    def __init__(
        self,
        client: Client,
        holder: Callable[[], Holder],
        *,
        isolation: str | None,
        read_only: bool | None,
        deferrable: bool | None,
    ) -> None:
        level = isolation.lower().replace("_", " ") if isinstance(isolation, str) else isolation
        if level is not None and level not in ISOLATION_LEVELS:
            raise InvalidParameterValue(
                f"isolation={isolation!r}: must be one of {', '.join(map(repr, ISOLATION_LEVELS))}"
            )
        if choice("deferrable", deferrable) is not None and client.engine != "postgresql":
            raise InvalidParameterValue(f"deferrable={deferrable!r}: only PostgreSQL has it")
        choice("read_only", read_only)
        self._client = client
        self._holder = holder
        self._savepoint = ""
        self._began = 0.0
        mode = {None: "", True: " READ ONLY", False: " READ WRITE"}[read_only]
        if client.engine == "postgresql":
            wait = {None: "", True: " DEFERRABLE", False: " NOT DEFERRABLE"}[deferrable]
            self._begin = [f"BEGIN{f' ISOLATION LEVEL {level.upper()}' if level else ''}{mode}{wait}"]
        else:
            self._begin = [f"SET TRANSACTION ISOLATION LEVEL {level.upper()}"] if level else []
            self._begin.append(f"START TRANSACTION{mode}")

    async def __aenter__(self) -> Self:
        """Begin."""
        client, holder = self._client, self._holder()
        if client.in_transaction or holder.over is not None:
            if self._begin not in (["BEGIN"], ["START TRANSACTION"]):
                raise InvalidParameterValue("isolation, read_only and deferrable belong to the outermost transaction")
            self._savepoint = client.next_savepoint()
            await client.execute(f"SAVEPOINT {self._savepoint}")
        else:
            for statement in self._begin:
                await client.execute(statement)
        holder.enter_block()
        self._began = holder.began
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        holder = self._holder()
        over = holder.leave_block(is_savepoint=bool(self._savepoint))
        if over is not None:
            self._end_late(over, error)
            return
        is_next = holder.began != self._began  # the block has ended its transaction, and begun another one
        if is_next and self._savepoint:
            await self._end_next(error)
        elif error is None:
            await self._commit()
        elif not self._savepoint:
            await self._undo("ROLLBACK")
            if is_next:
                self._tell(NEXT_NOTE, error)
        elif await self._undo(f"ROLLBACK TO SAVEPOINT {self._savepoint}") in NO_SAVEPOINT:
            await self._end_next(error)

    async def _end_next(self, error: BaseException | None) -> None:
        """End a block whose savepoint went with its transaction: what was begun since is undone, and the blocks around are over.

        Raises:
            DBProxyError: the block ended without an exception.

        """
        try:
            await self._undo("ROLLBACK")
        finally:
            self._holder().end_around(NEXT)
        if error is None:
            raise NEXT.refusal()
        self._tell(NEXT_NOTE, error)

    async def _undo(self, statement: str) -> str:
        """Roll back. Give the server's number of what went wrong, or an empty text."""
        try:
            await self._client.execute(statement, timeout=ROLLBACK_SECONDS_MAX)
        except DBProxyError as error:
            # The body's own error is what the user must see; the server rolls back when the connection closes.
            log.info("client %d: %s failed: %s", self._client.number, statement, type(error).__name__)
            return error.code if isinstance(error, DatabaseError) else ""
        return ""

    def _tell(self, note: str, error: BaseException) -> None:
        """Say once to whom an exception ends blocks that there was something that is not rolled back."""
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)
            log.warning("client %d: %s", self._client.number, note)

    def _end_late(self, over: BlockEnd, error: BaseException | None) -> None:
        """End a block whose transaction has ended before; tell of it, unless that was asked for and is all.

        Raises:
            DBProxyError: it is not known what became of the transaction, or a savepoint has gone with it.

        """
        if error is None:
            if self._savepoint or not over.is_asked_for:
                raise over.refusal()
        elif not over.is_undone:
            self._tell(over.note(), error)

    async def _commit(self) -> None:
        if self._savepoint:
            await self._client.execute(f"RELEASE SAVEPOINT {self._savepoint}")
            return
        result = await self._client.execute("COMMIT")
        if result.status == "ROLLBACK":
            raise DatabaseError(
                "an earlier statement of this transaction had failed: the server rolled it back instead of committing",
                "25P02",
            )
