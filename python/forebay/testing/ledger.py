"""A ledger of what callers and handlers saw, in a file: it outlives every process that writes to it, however that one ends."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from forebay._sqlite import BUSY_SECONDS_MAX, write_ahead

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from os import PathLike
    from types import TracebackType

    from forebay.testing.clock import VirtualClock

Item = tuple[str, int]

KINDS: Final = ("asked", "acknowledged", "begun", "done", "failed")

SCHEMA = """
CREATE TABLE IF NOT EXISTS fact(
    id INTEGER PRIMARY KEY, note INTEGER, at_ns INTEGER, life INTEGER, kind TEXT, key TEXT, number INTEGER
)"""


class Fact(NamedTuple):
    """One event in the life of one item.

    Attributes:
        note: number of the call that noted it. Facts of one call happened together, as a batch begins.
        at_ns: the time in nanoseconds, from an arbitrary start.
        life: number of the app's start that saw it.
        kind: `asked` and `acknowledged` (noted by the caller), `begun`, `done` and `failed` (by the handler), or one of the
            ledger's `own`. Note `asked` before a put and `acknowledged` after it has returned. An item that was only asked for
            may be handled or not, and `check` ignores it.
        key: the partition key or message group, within which order is kept. An item without an order is a key of its own.
        number: number of the item in its key. Numbers grow in the order of the puts.

    """

    note: int
    at_ns: int
    life: int
    kind: str
    key: str
    number: int


class Ledger:
    """A file in which a test records what it saw, from any number of processes and threads.

    A killed process loses no note, because the operating system has it when the call returns. After a fork each side opens a
    ledger of its own.

    Args:
        path: the file. It is created if it does not exist.
        life: number of the app's start: 1, then one more after each restart. Processes that run together have the same number.
        clock: the clock of the facts; None: the machine's, which is the same in all processes.
        own: further kinds of facts for the test itself. `check` ignores them.

    """

    def __init__(
        self, path: str | PathLike[str], *, life: int = 1, clock: VirtualClock | None = None, own: Collection[str] = ()
    ) -> None:
        self._life = life
        self._kinds = (*KINDS, *own)
        self._now_ns = time.monotonic_ns if clock is None else clock.monotonic_ns
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS_MAX, check_same_thread=False)
        write_ahead(self._db)
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.execute(SCHEMA)
        # How many facts of each kind and life there are among the first so many.
        self._counts, self._counted = Counter[tuple[str, int]](), 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # --- writing

    def note(self, kind: str, items: Iterable[Item]) -> None:
        """Note that this happened to these items, together and now.

        Raises:
            ValueError: the kind is not one of `Fact.kind` and not among the ledger's `own`; items are not pairs of a key and a
                number, `("ada", 1)`. Nothing is written.

        """
        if kind not in self._kinds:
            raise ValueError(f"kind is {kind!r}: allowed are {', '.join(self._kinds)}, and what Ledger(own=) names")
        items = items_of(items)
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            [note] = self._db.execute("SELECT coalesce(max(id), 0) FROM fact").fetchone()
            rows = [(note, self._now_ns(), self._life, kind, key, number) for key, number in items]
            self._db.executemany(
                "INSERT INTO fact(note, at_ns, life, kind, key, number) VALUES(?, ?, ?, ?, ?, ?)", rows
            )

    @contextmanager
    def handling(self, items: Iterable[Item]) -> Iterator[set[Item]]:
        """Note that items begin, and then that they are done, or failed if the handler raises or is cancelled.

        A handler that reports a part of its batch as failed (`batch.fail`) adds the items that will run again to the set that
        this context manager returns: on a stream the first failed item and all after it, on a queue the failed items. Give items
        of one key in the order of the batch.

        Raises:
            ValueError: an added item is not among `items`. All items are noted as failed.

        """
        items, failed = list(items), set[Item]()
        self.note("begun", items)
        try:
            yield failed
            _refuse_others(failed, items)
        except BaseException:
            self.note("failed", items)
            raise
        self.note("failed", [item for item in items if item in failed])
        self.note("done", [item for item in items if item not in failed])

    # --- reading

    def facts(self) -> list[Fact]:
        """Return all facts, in the order of their notes."""
        return [Fact(*row) for row in self._ask("SELECT note, at_ns, life, kind, key, number FROM fact ORDER BY id")]

    def count(self, kind: str, life: int | None = None) -> int:
        """Count the facts of a kind, in one life or in all. A later call reads only new facts."""
        question = "SELECT kind, life, count(*), max(id) FROM fact WHERE id > ? GROUP BY kind, life"
        with self._lock:
            for of_kind, of_life, count, last in self._db.execute(question, [self._counted]).fetchall():
                self._counts[of_kind, of_life] += count
                self._counted = max(self._counted, last)
            return sum(n for (k, of_life), n in self._counts.items() if k == kind and life in {None, of_life})

    def behind(self) -> set[Item]:
        """Return the items that were acknowledged and are not done."""
        facts = "SELECT key, number FROM fact WHERE kind = ?"
        return set(self._ask(f"{facts} EXCEPT {facts}", "acknowledged", "done"))

    def next_number(self) -> int:
        """Return a number for the next item: above all numbers that were ever noted."""
        [(last,)] = self._ask("SELECT coalesce(max(number), 0) FROM fact")
        return int(last) + 1

    def _ask(self, question: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(question, values).fetchall()


def items_of(items: Iterable[Item], option: str = "items") -> list[Item]:
    """Check that these are items.

    Raises:
        ValueError: one of them is not.

    """
    items = list(items)
    for item in items:
        match item:
            case (str(), int()):
                continue
        raise ValueError(
            f'{option}: {item!r} is not an item: give a list of (key, number), such as [("ada", 1), ("ada", 2)]'
        )
    return items


def _refuse_others(failed: set[Item], items: list[Item]) -> None:
    if others := failed.difference(items):
        raise ValueError(f"these are not among the items that began: {others}")
