"""The checkers: what a ledger of facts says about the promises. They know nothing of forebay.

A fact is (place in time, life of the process, kind, key, number). Kinds: `asked` and `acknowledged` (the caller), `begun` and
`done` (the handler, for each record of its batch). Numbers of a key grow in the order in which they were put.
"""

import sqlite3
from collections import defaultdict
from dataclasses import dataclass, field


@dataclass(slots=True)
class Verdict:
    """What was found, and how much there was to find it in."""

    violations: list[str] = field(default_factory=list)
    acknowledged: int = 0
    done: int = 0
    duplicates: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """By the life that ended too early, records done in it that ran again."""
    oldest_duplicate: float = 0.0
    """Seconds from a record's end to the last fact of the life that forgot it."""


def read(path) -> list[tuple[int, int, str, str, int]]:
    """Give the facts of a ledger, in the order in which they were noted."""
    with sqlite3.connect(path) as db:
        facts = db.execute("SELECT at_ns, life, kind, key, number FROM fact ORDER BY id").fetchall()
    db.close()
    return facts


def check(facts, *, given_up=frozenset(), drained=True, timeout=float("inf"), attempts=float("inf")) -> Verdict:
    """Hold the facts to the promises.

    Args:
        facts: as `read` gives them.
        given_up: (key, number) of records that have a failure record.
        drained: whether everything had the time to be done.
        timeout: seconds after which an attempt has failed although its handler went on; such a record runs again.
        attempts: how often a record may begin.

    """
    verdict = Verdict()
    acknowledged, done, done_at, begun_at = defaultdict(list), set(), {}, {}
    flying: dict[str, int] = {}
    last_begun: dict[tuple[int, str], int] = {}
    last_at = {life: at_ns for at_ns, life, *_ in facts}
    position: dict[str, int] = defaultdict(int)
    tries: dict[tuple[str, int], int] = defaultdict(int)
    life_of_key: dict[str, int] = {}
    for at_ns, life, kind, key, number in facts:
        if kind == "acknowledged":
            acknowledged[key].append(number)
        elif kind == "begun":
            if life_of_key.get(key) != life:
                flying.pop(key, None)  # what the dead process ran
                life_of_key[key] = life
            if key in flying and flying[key] != at_ns:
                verdict.violations.append(f"exclusion: {key} {number} begins while its key is in flight, life {life}")
            flying[key] = at_ns
            if (key, number) in done:
                died, ended = done_at[key, number]
                took = (ended - begun_at[key, number]) / 1e9
                if died == life and took < timeout:
                    verdict.violations.append(f"duplicate: {key} {number} runs again in life {life}, which had done it")
                verdict.duplicates[died] += 1
                if died != life and took < timeout:
                    verdict.oldest_duplicate = max(verdict.oldest_duplicate, (last_at[died] - ended) / 1e9)
            before = last_begun.get((life, key), 0)
            is_over = (key, before) in done and (done_at[key, before][1] - begun_at[key, before]) / 1e9 < timeout
            if number < before and is_over:
                verdict.violations.append(f"order: {key} {number} begins after {before}, life {life}")
            last_begun[life, key] = number
            tries[key, number] += 1
            if tries[key, number] > attempts:
                verdict.violations.append(f"attempts: {key} {number} begins for the {tries[key, number]}. time")
            begun_at[key, number] = at_ns
            known = acknowledged[key]
            while position[key] < len(known) and known[position[key]] < number:
                earlier = known[position[key]]
                together = begun_at.get((key, earlier)) == at_ns  # in one batch
                if not together and (key, earlier) not in done and (key, earlier) not in given_up:
                    verdict.violations.append(f"order: {key} {number} begins and {earlier} was never done, life {life}")
                position[key] += 1
        elif kind == "done":
            flying.pop(key, None)
            done.add((key, number))
            done_at[key, number] = (life, at_ns)
    for key, numbers in acknowledged.items():
        verdict.acknowledged += len(numbers)
        lost = [number for number in numbers if (key, number) not in done and (key, number) not in given_up]
        if drained and lost:
            verdict.violations.append(f"lost: {len(lost)} acknowledged records of {key}, the first {lost[0]}")
    verdict.done = len(done)
    return verdict


def halves(facts, *, given_up=frozenset()) -> list[str]:
    """Name the publications of which some copies are there and others are not: what was asked for in one step is one commit.

    Whether its caller heard of it does not matter. Everything had the time to be done.
    """
    together: dict[int, set[tuple[str, int]]] = defaultdict(set)
    ended = set(given_up)
    for _, _, kind, key, number in facts:
        if kind == "asked" and ("told-" in key or key.startswith("event-told")):
            together[number].add((key, number))
        elif kind == "done":
            ended.add((key, number))
    return [
        f"half: of publication {number} only {copies & ended}"
        for number, copies in together.items()
        if copies & ended and copies - ended
    ]
