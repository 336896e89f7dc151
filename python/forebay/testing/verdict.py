"""What a ledger says about the promises. The checkers know nothing of forebay: they see what was put, and what handlers did."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from forebay.testing.ledger import Fact, Item

INFINITY = float("inf")


@dataclass(slots=True)
class Verdict:
    """What was found, and how much there was to find it in.

    Attributes:
        violations: each begins with the promise that is broken: `lost`, `order`, `exclusion`, `duplicate` or `attempts`.
        acknowledged: how many items were accepted.
        done: how many different items were done.
        duplicates: by the life that ended too early, how many items done in it ran again.
        oldest_duplicate: seconds from the end of such an item to the last fact of the life that forgot it, at most.

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
    forgotten: float = INFINITY,
) -> Verdict:
    """Hold facts to the promises.

    Conservation: what was acknowledged is done or given up. Order: an item begins after those before it of its key. Exclusion:
    one batch of a key is in flight at a time. Duplicates: what was done runs again only in a later life, and only if it was done
    shortly before the end of its own. Attempts: no item begins more often than it may.

    Args:
        facts: as `Ledger.facts` gives them.
        given_up: items that have a failure record or are in a dead-letter queue.
        drained: whether everything had the time to be done; if not, nothing counts as lost.
        timeout: seconds after which an attempt has failed although its handler went on; such an item runs again, but
            not before that handler has really ended: exclusion holds even then.
        attempts: how often an item may begin.
        forgotten: seconds before the end of a life within which it may forget what it did.

    """
    checker = _Checker(facts, frozenset(given_up), timeout, attempts, forgotten)
    for fact in facts:
        checker.take(fact)
    if drained:
        checker.end()
    return checker.verdict


class _Checker:
    """One pass over the facts."""

    def __init__(
        self, facts: Sequence[Fact], given_up: frozenset[Item], timeout: float, attempts: float, forgotten: float
    ) -> None:
        self.verdict = Verdict()
        self._given_up, self._timeout, self._attempts, self._forgotten = given_up, timeout, attempts, forgotten
        self._last_ns = {fact.life: fact.at_ns for fact in facts}
        self._acknowledged: dict[str, list[int]] = defaultdict(list)
        # How many of a key's acknowledged items have been looked at: all before one that begins.
        self._passed: dict[str, int] = defaultdict(int)
        self._begun: dict[Item, Fact] = {}
        self._done: dict[Item, Fact] = {}
        self._tries: dict[Item, int] = defaultdict(int)
        self._flying: dict[str, Fact] = {}
        self._newest: dict[tuple[int, str], int] = {}

    def take(self, fact: Fact) -> None:
        """Look at the next fact."""
        if fact.kind == "acknowledged":
            self._acknowledged[fact.key].append(fact.number)
            self.verdict.acknowledged += 1
        elif fact.kind == "begun":
            for check_promise in (
                self._check_exclusion,
                self._check_duplicate,
                self._check_order,
                self._check_attempts,
            ):
                check_promise(fact)
            self._begun[fact.key, fact.number] = fact
            self._check_earlier(fact)
        elif fact.kind == "done":
            self._flying.pop(fact.key, None)
            self._done[fact.key, fact.number] = fact
            self.verdict.done = len(self._done)
        elif fact.kind == "failed":
            self._flying.pop(fact.key, None)

    def end(self) -> None:
        """Look for what is neither done nor given up."""
        for key, numbers in self._acknowledged.items():
            if lost := [number for number in numbers if not self._is_over((key, number))]:
                self._report(f"lost: {len(lost)} acknowledged items of {key}, the first {lost[0]}")

    def _report(self, violation: str) -> None:
        self.verdict.violations.append(violation)

    def _is_over(self, item: Item) -> bool:
        return item in self._done or item in self._given_up

    def _took(self, item: Item) -> float:
        """Give the seconds that a done item took."""
        done = self._done[item]
        return (done.at_ns - self._begun.get(item, done).at_ns) / 1e9

    def _check_exclusion(self, fact: Fact) -> None:
        other = self._flying.get(fact.key)
        # What another life had in flight ended with it.
        if other is not None and other.life == fact.life and other.note != fact.note:
            self._report(f"exclusion: {_named(fact)} begins while its key is in flight, life {fact.life}")
        self._flying[fact.key] = fact

    def _check_duplicate(self, fact: Fact) -> None:
        item = (fact.key, fact.number)
        if item not in self._done:
            return
        done = self._done[item]
        self.verdict.duplicates[done.life] = self.verdict.duplicates.get(done.life, 0) + 1
        if self._took(item) >= self._timeout:
            return
        if done.life == fact.life:
            self._report(f"duplicate: {_named(fact)} runs again in life {fact.life}, which had done it")
            return
        age = (self._last_ns[done.life] - done.at_ns) / 1e9
        self.verdict.oldest_duplicate = max(self.verdict.oldest_duplicate, age)
        if age > self._forgotten:
            self._report(f"duplicate: {_named(fact)} runs again, done {age:.3f} s before the end of life {done.life}")

    def _check_order(self, fact: Fact) -> None:
        before = self._newest.get((fact.life, fact.key), 0)
        item = (fact.key, before)
        if fact.number < before and item in self._done and self._took(item) < self._timeout:
            self._report(f"order: {_named(fact)} begins after {before}, life {fact.life}")
        self._newest[fact.life, fact.key] = fact.number

    def _check_attempts(self, fact: Fact) -> None:
        self._tries[fact.key, fact.number] += 1
        tries = self._tries[fact.key, fact.number]
        if tries > self._attempts:
            self._report(f"attempts: {_named(fact)} begins for the {tries}. time")

    def _check_earlier(self, fact: Fact) -> None:
        known = self._acknowledged[fact.key]
        while self._passed[fact.key] < len(known) and known[self._passed[fact.key]] < fact.number:
            earlier = (fact.key, known[self._passed[fact.key]])
            begun = self._begun.get(earlier)
            together = begun is not None and begun.note == fact.note  # in one batch
            if not together and not self._is_over(earlier):
                self._report(f"order: {_named(fact)} begins and {earlier[1]} was never done, life {fact.life}")
            self._passed[fact.key] += 1


def _named(fact: Fact) -> str:
    return f"{fact.key} {fact.number}"
