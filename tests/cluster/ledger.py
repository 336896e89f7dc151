"""What a user would notice of a takeover, read from what the processes wrote down."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from members import until

if TYPE_CHECKING:
    from members import Members, Run

# What a machine may take longer over what a process began, while other tests run beside it. `make deep` allows nothing for it.
BUSY = 0.0 if os.environ.get("FOREBAY_COUNT") else 2.0
# How long before an owner's end it may have handled what it did not commit any more: it runs 3.5 s without the server at most.
UNCOMMITTED = 4.5 + BUSY
# How long before its end, or before it is cut off, a process may have handled what it did not tell the owner any more.
UNTOLD = 1.0 + BUSY
# How long after it goes on, or is reached again, a process may run what another owns by now.
UNNOTICED = 1.0 + BUSY


def check_ledger(members: Members) -> None:
    """Nothing acknowledged is lost, nothing is stored or committed twice, and every key keeps its order."""
    until(lambda: len(members.acknowledged()) > 20, members.logs)
    acknowledged = members.acknowledged()
    assert len(acknowledged) == len(set(acknowledged))

    def handled() -> set[str]:
        return {name for run in members.runs() for name, _ in run.records}

    until(lambda: set(acknowledged) <= handled(), members.logs)
    runs = members.runs()
    check_owners_follow_each_other(members, runs)
    check_order(runs)
    check_repeats(runs, members.cuts)


def check_owners_follow_each_other(members: Members, runs: list[Run]) -> None:
    """Who has lost the store runs nothing beside the next owner, unless it was stopped in its midst."""
    pauses = [pause for process in members.all for pause in process.paused]
    ends: dict[int, float] = {}
    for run in runs:
        ends[run.token] = max(ends.get(run.token, 0.0), run.ended)
    for run in runs:
        older = max((end for other, end in ends.items() if other < run.token), default=0.0)
        if run.begun < older:
            assert any(low < older and run.begun < high + UNNOTICED for low, high in pauses), (run, older)


def check_order(runs: list[Run]) -> None:
    """A record is stored once, and no record of a key begins before one that was put before it."""
    stored: dict[str, int] = {}
    newest: dict[str, int] = {}
    for name, number in ((name, number) for run in runs for name, number in run.records):
        if name in stored:
            assert stored[name] == number, f"{name} is stored twice"
            continue
        stored[name] = number
        key = name.partition(":")[0]
        assert number > newest.get(key, 0), f"{name} began after one that was put later"
        newest[key] = number


def check_repeats(runs: list[Run], cuts: list[tuple[float, float]]) -> None:
    """A record runs once under one owner, and again under the next only if the first had no time to commit it.

    Under the same owner it runs again only if its process was killed, stopped or cut off before it said that the batch had ended.
    Then its owner could not commit it either, and the next one runs it again, too: an owner whose link loses half of all packets
    may own the store as long as its beats get through, and commit nothing for longer than it may run without the server.
    """

    def was_told(run: Run) -> bool:
        cut_off = any(low - UNTOLD < run.ended < high + UNNOTICED for low, high in cuts)
        return run.ended <= min(run.killed, run.stopped) - UNTOLD and not cut_off

    last: dict[int, float] = {}
    for run in runs:
        if run.begun < run.stopped:
            last[run.token] = max(last.get(run.token, 0.0), run.begun)
    seen: dict[int, Run] = {}
    for run in runs:
        for name, number in run.records:
            before = seen.get(number)
            if before is not None:
                if before.token == run.token:
                    assert not was_told(before), f"{name} ran twice under one owner: {before}, {run}, {cuts}"
                    continue
                assert before.token < run.token
                had_time = before.ended <= last[before.token] - UNCOMMITTED
                assert not (had_time and was_told(before)), (
                    f"{name} was committed, and ran again: {before}, {run}, {cuts}"
                )
            seen[number] = run
