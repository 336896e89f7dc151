"""Machines whose clocks are an hour ahead and an hour behind: the store's time is the server's, whoever owns the store.

`make deep` has the owner killed more often: FOREBAY_COUNT says how many times.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ledger import check_ledger
from members import Members, Process, now, until

if TYPE_CHECKING:
    from db_servers import Postgres

PROGRAM = Path(__file__).parent / "clock_app.py"
DELAY = 8
COUNT = int(os.environ.get("FOREBAY_COUNT") or 1)
LIBRARIES = Path("/usr/lib")
CLOCKS = ("+1h", "-1h")
TIMEOUT_MS = 30_000
# A message is not due while nobody owns the store; an owner is dead after 5 s. A busy machine takes longer.
TAKEN_WITHIN = 12.0 if os.environ.get("FOREBAY_COUNT") else 30.0
# The moments of a message are told in whole ms, and a process may be held up between two of its steps.
UNSURE = 0.2


def set_to(clock: str) -> dict[str, str]:
    """Give the environment of a process whose clock is set; the one that measures spans is as it was."""
    library = next(iter(sorted(LIBRARIES.glob("*/faketime/libfaketime.so.1"))), None)
    if library is None:
        pytest.skip("no clock can be set here without libfaketime: sudo apt-get install faketime")
    return {"LD_PRELOAD": str(library), "FAKETIME": clock, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def check_times(members: Members, begun: float, wall: float) -> int:
    """Each message came when it was due, its handler had its time, and it was sent when the server says so; give how many."""
    sent = {words[0]: (float(words[1]), float(words[2])) for process in members.all for words in process.lines("sent")}
    came = [(words, process) for process in members.all for words in process.lines("came")]
    for (name, at, left, stamp, _), _process in came:
        if name in sent:
            first, last = sent[name]
            waited = float(at) - first
            assert waited > DELAY - UNSURE, f"{name} came {waited:.1f} s after it was sent"
            assert float(at) - last < DELAY + TAKEN_WITHIN, f"{name} came {waited:.1f} s after it was sent"
            true = wall + first - begun
            assert abs(float(stamp) - true) < last - first + 2, f"{name} was sent {float(stamp) - true:.1f} s off"
        assert 0 < int(left) <= TIMEOUT_MS, f"{name} had {left} ms of {TIMEOUT_MS}"
    return len(sent)


@pytest.mark.timeout(240 + 120 * COUNT)
def test_clocks_that_are_an_hour_wrong_bring_nothing_early_late_or_twice(
    members: Members, own_server: Postgres
) -> None:
    url = f"{own_server.url}?sslmode=disable"
    begun, wall = now(), time.time()

    def start(clock: str) -> Process:
        return members.start(url, str(DELAY), program=PROGRAM, **set_to(clock))

    def both_put(running: dict[str, Process]) -> None:
        before = {clock: len(process.lines("sent")) for clock, process in running.items()}
        until(lambda: all(len(one.lines("sent")) > before[clock] + 5 for clock, one in running.items()), members.logs)

    running = {clock: start(clock) for clock in CLOCKS}
    owners = set()
    for _ in range(2 * COUNT):
        both_put(running)
        owner = members.owner(url)
        clock = next(clock for clock, process in running.items() if process is owner)
        owners.add(clock)
        killed = now()
        owner.signal(signal.SIGKILL)
        owner.child.wait()
        members.working(killed, [process for process in running.values() if process is not owner], anew=True)
        running[clock] = start(clock)
    both_put(running)
    assert owners == set(CLOCKS), "each of them has owned the store"
    last = {words[0] for process in members.all for words in process.lines("sent")}
    until(
        lambda: last <= {words[0] for process in members.all for words in process.lines("came")},
        members.logs,
    )
    check_ledger(members)
    figures = {"kills": 2 * COUNT, "messages": check_times(members, begun, wall), "early": 0, "late": 0, "lost": 0}
    sys.stdout.write(f"\nfigures {json.dumps(figures)}\n")
    members.end()
