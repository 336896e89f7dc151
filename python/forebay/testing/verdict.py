"""What a ledger says about the promises. The checkers know nothing of forebay: they see what was put, and what handlers did."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from forebay.testing.ledger import items_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from forebay.testing.ledger import Fact, Item

INFINITY = float("inf")


@dataclass(slots=True)
class Verdict:
    """The result of `check`.

    Attributes:
        violations: one text for each broken promise. It begins with `lost`, `order`, `exclusion`, `duplicate` or `attempts`.
        acknowledged: the number of accepted items.
        done: the number of different items that were done.
        duplicates: for each life that was killed, the number of its finished items that ran again in a later life. Items that
            a timeout excuses, and items that ran again in the same life, do not count.
        oldest_duplicate: the longest time, in seconds, from the end of such an item to the last fact of its life.

    """

    violations: list[str] = field(default_factory=list)
    acknowledged: int = 0
    done: int = 0
    duplicates: dict[int, int] = field(default_factory=dict)
    oldest_duplicate: float = 0.0


def check(
    facts: Sequence[Fact],
    *,
    given_up: Collection[Item] = frozenset(),
    drained: bool = True,
    timeout: float = INFINITY,
    attempts: float = INFINITY,
    forgotten: float | Mapping[int, float] = INFINITY,
    count_interruptions: bool = True,
) -> Verdict:
    """Check facts against the promises.

    - Nothing is lost: an acknowledged item is done or given up.
    - Order: an item begins when the earlier items of its key are over, or after them in one batch. This holds for each retry, and
      for items that run again after a kill.
    - Exclusion: a key has one batch in flight, also from one life of the app to the next.
    - Duplicates: a finished item runs again only in a later life, and only if it finished shortly before its life ended.
    - Attempts: no item begins more often than `attempts`.

    Args:
        facts: the result of `Ledger.facts`.
        given_up: items that have a failure record or are in a dead-letter queue.
        drained: True: all work had time to finish. False: no item counts as lost.
        timeout: seconds after which an attempt failed although its handler went on. Such an item runs again, but not before that
            handler has ended.
        attempts: how often an item may begin.
        forgotten: seconds before the end of a life in which finished items may be forgotten; or a dict from life to seconds, in
            which a missing life forgets nothing.
        count_interruptions: True: attempts count that were cut short by the end of their life, or that ended so shortly before
            it that they may be forgotten.

    Raises:
        ValueError: `given_up` contains something that is not an item.

    """
    bounds = _Bounds(timeout, attempts, forgotten, count_interruptions)
    checker = _Checker(facts, frozenset(items_of(given_up, "given_up")), bounds)
    for fact in facts:
        checker.take(fact)
    if drained:
        checker.end()
    return checker.verdict


@dataclass(frozen=True, slots=True)
class _Bounds:
    """As `check` was given them."""

    timeout: float
    attempts: float
    forgotten: float | Mapping[int, float]
    count_interruptions: bool


class _Checker:
    """One pass over the facts."""

    def __init__(self, facts: Sequence[Fact], given_up: frozenset[Item], bounds: _Bounds) -> None:
        self.verdict = Verdict()
        self._given_up, self._bounds = given_up, bounds
        self._last_ns = {fact.life: fact.at_ns for fact in facts}
        self._acknowledged: dict[str, list[int]] = defaultdict(list)
        # Heaps of what is acknowledged, or has failed, and must be over before a later item of its key begins. What has begun
        # again, is over, or was told as overtaken leaves it when it comes up.
        self._waiting: dict[str, list[int]] = defaultdict(list)
        self._flying: dict[str, dict[int, Fact]] = defaultdict(dict)  # of each key one batch
        self._begun: dict[Item, Fact] = {}
        self._tries: dict[Item, int] = defaultdict(int)
        # How many of them, in the life that made the last one, its end may hide.
        self._hidden: dict[Item, int] = defaultdict(int)
        # What was done since it last began, which of it took longer than the timeout, and what was ever done.
        self._done: dict[Item, Fact] = {}
        self._late: set[Item] = set()
        self._ever_done: set[Item] = set()
        # Of each key what began last, the highest that has begun, and the latest life that began one.
        self._newest: dict[str, Fact] = {}
        self._highest: dict[str, int] = {}
        self._life: dict[str, int] = {}

    def take(self, fact: Fact) -> None:
        """Look at the next fact."""
        if fact.kind == "acknowledged":
            self._acknowledged[fact.key].append(fact.number)
            self.verdict.acknowledged += 1
            heappush(self._waiting[fact.key], fact.number)
        elif fact.kind == "begun":
            for check_promise in (
                self._check_life,
                self._check_exclusion,
                self._check_duplicate,
                self._check_order,
                self._check_overtaken,
                self._check_attempts,
            ):
                check_promise(fact)
            self._begin(fact)
        elif fact.kind in {"done", "failed"}:
            self._check_life(fact)
            self._end(fact)

    def end(self) -> None:
        """Look for what is neither done nor given up."""
        over = self._ever_done | self._given_up
        for key, numbers in self._acknowledged.items():
            if lost := [number for number in numbers if (key, number) not in over]:
                self._report(f"lost: {len(lost)} acknowledged items of {key}, the first {lost[0]}")

    def _begin(self, fact: Fact) -> None:
        item = (fact.key, fact.number)
        self._begun[item] = self._newest[fact.key] = self._flying[fact.key][fact.number] = fact
        self._highest[fact.key] = max(fact.number, self._highest.get(fact.key, fact.number))
        self._life[fact.key] = max(fact.life, self._life.get(fact.key, fact.life))
        self._hidden[item] += 1
        self._done.pop(item, None)
        self._late.discard(item)

    def _end(self, fact: Fact) -> None:
        item, flying = (fact.key, fact.number), self._flying[fact.key]
        if fact.number in flying and flying[fact.number].life == fact.life:
            del flying[fact.number]
        # A life that had been frozen may tell of an end when a later one has begun the item again.
        begun = self._begun.get(item)
        if begun is not None and begun.life == fact.life and not self._is_forgettable(fact):
            self._hidden[item] -= 1
        if fact.kind == "failed":
            heappush(self._waiting[fact.key], fact.number)
            return
        self._done[item] = fact
        if (fact.at_ns - self._begun.get(item, fact).at_ns) / 1e9 >= self._bounds.timeout:
            self._late.add(item)
        self._ever_done.add(item)
        self.verdict.done = len(self._ever_done)

    def _report(self, violation: str) -> None:
        self.verdict.violations.append(violation)

    def _check_life(self, fact: Fact) -> None:
        if fact.life < (latest := self._life.get(fact.key, fact.life)):
            self._report(
                f"exclusion: {_named(fact)} is {fact.kind} in life {fact.life}, life {latest} had begun its key"
            )

    def _check_exclusion(self, fact: Fact) -> None:
        flying = self._flying[fact.key]
        other = next(iter(flying.values()), fact)
        if other.note == fact.note:
            return
        # What another life had in flight ended with it.
        if other.life == fact.life:
            self._report(f"exclusion: {_named(fact)} begins while its key is in flight, life {fact.life}")
        for number in flying:
            heappush(self._waiting[fact.key], number)
        flying.clear()

    def _check_duplicate(self, fact: Fact) -> None:
        item = (fact.key, fact.number)
        if item in self._begun and self._begun[item].note == fact.note:
            self._report(f"duplicate: {_named(fact)} is twice in one batch, life {fact.life}")
        done = self._done.get(item)
        if done is None or item in self._late:
            return
        if done.life == fact.life:
            self._report(f"duplicate: {_named(fact)} runs again in life {fact.life}, which had done it")
            return
        self.verdict.duplicates[done.life] = self.verdict.duplicates.get(done.life, 0) + 1
        age = self._age(done)
        self.verdict.oldest_duplicate = max(self.verdict.oldest_duplicate, age)
        if not self._is_forgettable(done):
            self._report(f"duplicate: {_named(fact)} runs again, done {age:.3f} s before the end of life {done.life}")

    def _check_order(self, fact: Fact) -> None:
        item = (fact.key, fact.number)
        if item not in self._begun and item not in self._given_up:
            highest = self._highest.get(fact.key, fact.number)
            if fact.number < highest:
                self._report(f"order: {_named(fact)} begins after {highest}, life {fact.life}")
            return
        newest = self._newest.get(fact.key, fact)
        if fact.number < newest.number and self._is_past(newest, fact):
            self._report(f"order: {_named(fact)} begins after {newest.number}, life {fact.life}")

    def _is_past(self, newest: Fact, fact: Fact) -> bool:
        """Tell whether an item may not begin any more, now that a later one of its key has begun."""
        item = (fact.key, fact.number)
        if newest.note == fact.note:
            return True
        # Of a batch of both the handler may have said that only the first failed.
        if item in self._begun and self._begun[item].note == newest.note:
            return False
        # A life that began the later one knew that this one was done.
        if item in self._done and item not in self._late and self._done[item].life < newest.life:
            return True
        later = (newest.key, newest.number)
        return newest.life == fact.life and later in self._done and later not in self._late

    def _check_overtaken(self, fact: Fact) -> None:
        waiting = self._waiting[fact.key]
        while waiting and waiting[0] <= fact.number:
            earlier = (fact.key, heappop(waiting))
            if earlier[1] < fact.number and earlier not in self._done and earlier not in self._given_up:
                self._report(f"order: {_named(fact)} begins and {earlier[1]} is not done, life {fact.life}")

    def _check_attempts(self, fact: Fact) -> None:
        item = (fact.key, fact.number)
        if item in self._begun and self._begun[item].life != fact.life:
            hidden = self._hidden.pop(item)
            self._tries[item] -= 0 if self._bounds.count_interruptions else hidden
        self._tries[item] += 1
        tries = self._tries[item]
        if tries > self._bounds.attempts:
            self._report(f"attempts: {_named(fact)} begins for the {tries}. time")

    def _age(self, fact: Fact) -> float:
        """Give the seconds from a fact to the end of its life."""
        return (self._last_ns[fact.life] - fact.at_ns) / 1e9

    def _is_forgettable(self, fact: Fact) -> bool:
        """Tell whether a fact stands so shortly before the end of its life that it may be forgotten."""
        forgotten = self._bounds.forgotten
        return self._age(fact) <= (forgotten.get(fact.life, 0.0) if isinstance(forgotten, Mapping) else forgotten)


def _named(fact: Fact) -> str:
    return f"{fact.key} {fact.number}"
