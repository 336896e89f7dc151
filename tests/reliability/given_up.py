"""What the victim's handlers never came to an end with, from where it is told: a list, a file of records, dead letters."""

import base64
import json
from collections import Counter, defaultdict

from victim import ROUTED, TOLD, fact_of, fact_of_event, failures_file

from forebay import App, Function
from forebay.testing import check

# A stream's batch of ten is split so often, at most, before a record is alone; then it may begin so often.
SPLITS, ALONE = 4, 1 + 2
# How often an item of a handler that fails may begin, by what its key begins with.
ATTEMPTS = {"k": SPLITS + ALONE, "ordered": 3, "plain": 3, "told": 3, "routed": 3, "event": 2}
# The fewest that must have failed before that was the reason.
EXHAUSTED = {"RetryAttemptsExhausted": 3, "RetriesExhausted": 2}
DEAD_LETTER = "DeadLetter"
HANDLED = {"begun", "done", "failed"}


class GivenUp:
    """Which items were given up, and why; it grows with each look."""

    def __init__(self, app: App, on_event: Function, how: dict) -> None:
        self._app, self._on_event, self._how = app, on_event, how
        self.conditions: dict[tuple[str, int], str] = {}

    async def look(self) -> set[tuple[str, int]]:
        """Look everywhere; dead letters are taken out of their queues."""
        for failure in await self._on_event.failed():
            self._take(failure["record"])
        path = failures_file(self._how)
        # A kill leaves a torn line at the end, whose record comes again.
        for line in path.read_text().split("\n")[:-1] if path.exists() else []:
            self._take(json.loads(line))
        if self._how.get("failing"):
            for name in self._app._declared.queues:
                await self._take_letters(name)
        return set(self.conditions)

    def _take(self, record: dict) -> None:
        condition = record["requestContext"]["condition"]
        if "KinesisBatchInfo" not in record:
            self.conditions[fact_of_event(record["requestPayload"])] = condition
            return
        for each in json.loads(record["payload"])["Records"]:
            data = json.loads(base64.b64decode(each["kinesis"]["data"]))
            self.conditions[each["kinesis"]["partitionKey"], data["number"]] = condition

    async def _take_letters(self, name: str) -> None:
        source = name.removeprefix("lost-")
        if source == name:
            return
        queue = self._app.queue(name)
        while letters := await queue.receive():
            for letter in letters:
                fact = (
                    (f"{source}.{letter.body}", int(letter.body)) if source in TOLD | ROUTED else fact_of(letter.body)
                )
                self.conditions[fact] = DEAD_LETTER
                await queue.delete(letter)


def counted_over_a_restart(facts, conditions: dict[tuple[str, int], str], forgotten) -> Counter[str]:
    """Count, by what its key begins with, what was given up after failures of a life before, which it had to remember.

    An engine that forgets them at a restart tries each of these too often.
    """
    ends, last = {fact.life: fact.at_ns for fact in facts}, {}
    for fact in facts:
        if fact.kind == "begun":
            last[fact.key, fact.number] = fact.life
    sizes = Counter(fact.note for fact in facts)
    counted = {
        (fact.key, fact.number)
        for fact in facts
        if fact.kind == "failed"
        # Of a batch that is going to be split nobody can tell how often it may fail.
        and (kind_of(fact.key) != "k" or sizes[fact.note] == 1)
        and last[fact.key, fact.number] > fact.life
        and (ends[fact.life] - fact.at_ns) / 1e9 > forgotten[fact.life]
    }
    return Counter(kind_of(key) for key, number in counted & conditions.keys())


def too_often(facts, forgotten) -> list[str]:
    """Name what began more often than its handler's retries allow; what the end of a life hid does not count."""
    violations, sizes = [], Counter(fact.note for fact in facts)
    kinds = {most: {kind for kind in ATTEMPTS if ATTEMPTS[kind] == most} for most in ATTEMPTS.values()}
    bounds = [(most, lambda fact, these=these: kind_of(fact.key) in these) for most, these in kinds.items()]
    bounds += [(ALONE, lambda fact: kind_of(fact.key) == "k" and sizes[fact.note] == 1)]
    for most, is_held in bounds:
        # What callers saw tells, too, how long a life lasted.
        these = [fact for fact in facts if fact.kind not in HANDLED or is_held(fact)]
        found = check(these, attempts=most, forgotten=forgotten, count_interruptions=False).violations
        violations += [violation for violation in found if violation.startswith("attempts")]
    return violations


def kind_of(key: str) -> str:
    """Tell what the key begins with, among those of `ATTEMPTS`."""
    return next(begins for begins in ATTEMPTS if key.startswith(begins))


def too_early(facts, conditions: dict[tuple[str, int], str]) -> list[str]:
    """Name what was given up for its failures before it had failed often enough."""
    failures: dict[tuple[str, int], int] = dict.fromkeys(conditions, 0)
    for fact in facts:
        if fact.kind == "failed" and (fact.key, fact.number) in failures:
            failures[fact.key, fact.number] += 1
    return [
        f"early: {item} was given up after {failures[item]} failures: {condition}"
        for item, condition in conditions.items()
        if failures[item] < EXHAUSTED.get(condition, 0)
    ]


def longest_puts(facts):
    """Give by life the seconds in which its slowest put was acknowledged; what waited when its life ended counts as well."""
    ends, longest = {fact.life: fact.at_ns for fact in facts}, defaultdict(float)
    asked, answered = {}, {}
    for fact in facts:
        item = (fact.key, fact.number)
        if fact.kind == "asked":
            asked[item] = fact
        elif fact.kind == "acknowledged":
            longest[fact.life] = max(longest[fact.life], (fact.at_ns - asked.pop(item).at_ns) / 1e9)
            answered[fact.life] = fact.at_ns
        elif fact.kind == "refused":
            asked.pop(item)
    # Whose putter died of something else waits no more, either, where others were answered since.
    for fact in asked.values():
        if fact.at_ns > answered.get(fact.life, 0):
            longest[fact.life] = max(longest[fact.life], (ends[fact.life] - fact.at_ns) / 1e9)
    return {life: longest[life] for life in ends}
