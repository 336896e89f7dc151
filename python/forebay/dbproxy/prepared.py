"""The statements that asyncpg has prepared on one connection, kept apart by what a text means in the session.

asyncpg keeps them by their text alone, and takes one that it must close for the one that it keeps when their texts are equal.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from forebay.dbproxy.session import UNCHANGED, Meaning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Text = tuple[str, type, bool]  # the text, the class of its rows, and whether the driver asks it for itself
    Key = tuple[Meaning, Text | None]


NOT_TOLD = (None,) * 5  # of a column: its sizes, precision, scale, and whether it may be NULL
DROPPED_MAX = 20  # open at the server at a time


class Shown(NamedTuple):
    """A statement as asyncpg's ``prepare`` gives it, its columns, and these as the DB-API describes them, if there are any."""

    statement: PreparedStatement
    attributes: tuple[Any, ...]
    description: list[tuple[Any, ...]] | None


class StatementCache:
    """Stands where asyncpg expects its own cache: the statement that was used longest ago goes when it is full."""

    def __init__(self, size_max: int, on_remove: Callable[[Any], None]) -> None:
        self.meaning: Callable[[], Meaning] = lambda: UNCHANGED
        self._size_max = size_max
        self._on_remove = on_remove
        self._statements: OrderedDict[Key, Any] = OrderedDict()
        self._held: set[Any] = set()
        self._shown: dict[Any, Shown] = {}
        self._used_last: Key = (UNCHANGED, None)

    def __contains__(self, statement: Any) -> bool:
        return statement in self._held

    def get(self, text: Text) -> Any:
        """Give the statement of a text in the session as it is now, or None."""
        key = (self.meaning(), text)
        if not text[2]:
            self._used_last = key
        found = self._statements.get(key)
        if found is None:
            return None
        if found.closed:  # the driver has found it outdated
            self._drop(key)
            return None
        self._statements.move_to_end(key)
        return found

    def put(self, text: Text, statement: Any) -> None:
        """Keep the statement of a text in the session as it is now."""
        key = (self.meaning(), text)
        self._drop(key)
        self._statements[key] = statement
        self._held.add(statement)
        if len(self._statements) > self._size_max:
            self._drop(next(iter(self._statements)))

    def shown(self, connection: Any, text: Text) -> Shown | None:
        """Give the statement of a text as ``prepare`` gives it, with its columns; None when it is not here."""
        statement = self.get(text)
        if statement is None:
            return None
        shown = self._shown.get(statement)
        if shown is None:
            prepared = PreparedStatement(connection, text[0], statement)
            attributes = prepared.get_attributes()
            description = [(attribute.name, attribute.type.oid, *NOT_TOLD) for attribute in attributes] or None
            shown = self._shown[statement] = Shown(prepared, attributes, description)
        return shown

    def iter_statements(self) -> Iterator[Any]:
        """Give all statements."""
        return iter(self._statements.values())

    def clear(self) -> None:
        """Drop all statements."""
        for key in list(self._statements):
            self._drop(key)

    def holds_last(self) -> bool:
        """Tell whether it has the statement that was used last; a text that is too long is never kept."""
        return self._used_last in self._statements

    def forget_last(self) -> None:
        """Drop the statement that was used last."""
        self._drop(self._used_last)

    def forget_changed(self) -> None:
        """Drop the statements of changes that nobody else can have made in the same way."""
        for key in [key for key in self._statements if not key[0][0]]:
            self._drop(key)

    def _drop(self, key: Key) -> None:
        statement = self._statements.pop(key, None)
        if statement is not None:
            self._held.discard(statement)
            self._shown.pop(statement, None)
            self._on_remove(statement)


class SharedConnection(asyncpg.Connection):  # type: ignore[misc] # asyncpg has no types
    """A connection of asyncpg whose cache knows what its texts mean."""

    _stmts_to_close: set[Any]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        own: Any = self._stmt_cache  # type: ignore[has-type]
        self._stmt_cache = StatementCache(own.get_max_size(), own._on_remove)  # noqa: SLF001 - it closes what nobody uses
        self._names_it = False  # what is being prepared, though it may be too long to be kept
        self.closes_nothing = False

    async def _execute(
        self,
        query: str,
        args: Any,
        limit: int,
        timeout: float | None,  # noqa: ASYNC109 - the driver's own signature
        *,
        record_class: Any = None,
        **options: Any,
    ) -> Any:
        """Run a statement; one that is already prepared without the four coroutines that asyncpg has between."""
        protocol = self._protocol
        statement = None
        if timeout is None and record_class is None and not options and not self._query_loggers:
            statement = self._stmt_cache.get((query, protocol.get_record_class(), False))
        if statement is not None:
            try:
                with self._stmt_exclusive_section:
                    return await protocol.bind_execute(statement, args, "", limit, False, None)
            except asyncpg.exceptions.OutdatedSchemaCacheError:  # as asyncpg does, here and below
                await self.reload_schema_state()
                raise
            except asyncpg.InvalidCachedStatementError:
                self._drop_global_statement_cache()
                if protocol.is_in_transaction():
                    raise
        return await super()._execute(query, args, limit, timeout, record_class=record_class, **options)

    async def _get_statement(self, query: str, *args: Any, named: str | bool | None = False, **options: Any) -> Any:
        """Take note whether what is prepared has a name; the driver may prepare a question of its own meanwhile."""
        before, self._names_it = self._names_it, bool(named)
        try:
            return await super()._get_statement(query, *args, named=named, **options)
        finally:
            self._names_it = before

    def _maybe_gc_stmt(self, stmt: Any) -> None:
        """Close a statement at the server that nobody uses and the cache does not hold, whatever it holds for its text."""
        if stmt.refs == 0 and stmt.name and stmt not in self._stmt_cache:
            stmt.mark_closed()
            self._stmts_to_close.add(stmt)

    def take_dropped(self) -> str:
        """Give the text that closes at the server what was dropped; what it names is taken for closed."""
        dropped, self._stmts_to_close = self._stmts_to_close, set()
        return "".join('DEALLOCATE "{}";'.format(stmt.name.replace('"', '""')) for stmt in dropped)

    async def close_dropped(self) -> None:
        """Close at the server at once what was dropped; what could not be closed is tried again later."""
        if self.closes_nothing or not self._stmts_to_close:
            return
        dropped = set(self._stmts_to_close)
        try:
            await self.execute(self.take_dropped())
        except asyncpg.PostgresError:
            self._stmts_to_close |= dropped
            raise

    async def _cleanup_stmts(self) -> None:
        """Close what was dropped in one round trip, and seldom: somebody waits who has just prepared.

        Not when what was prepared has no name: the server forgets such a one over any text that it is sent.
        """
        if (
            self.closes_nothing
        ):  # DEALLOCATE ALL may have closed them: to name one would fail, and its transaction with it
            self._stmts_to_close.clear()
            return
        has_name = self._names_it or self._stmt_cache.holds_last()
        if len(self._stmts_to_close) < DROPPED_MAX or not has_name:
            return
        dropped = self._stmts_to_close
        try:
            await self._protocol.query(self.take_dropped(), None)
        except asyncpg.InFailedSQLTransactionError:  # it was a ROLLBACK that was prepared
            self._stmts_to_close |= dropped
