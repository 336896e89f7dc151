"""Processes of two releases on one store, killed in turn: they take over from each other, and run what the other gives them.

FOREBAY_OTHER_PYTHON is a Python with another release of forebay. FOREBAY_COUNT says how often two owners are killed, FOREBAY_SEED
where chance begins.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from ledger import check_ledger
from members import Members, Process, now, until

if TYPE_CHECKING:
    from db_servers import Postgres

COUNT = int(os.environ.get("FOREBAY_COUNT") or 1)
SEED = int(os.environ.get("FOREBAY_SEED", "20261130"))
OTHER = os.environ.get("FOREBAY_OTHER_PYTHON")
TAKEN_WITHIN = 12.0


@pytest.mark.timeout(120 + 60 * COUNT)
def test_processes_of_two_releases_take_over_from_each_other(members: Members, own_server: Postgres) -> None:
    if OTHER is None:
        sys.stdout.write('\nfigures {"skipped_for_want_of_another_release": 1}\n')
        pytest.skip("there is no other release here: FOREBAY_OTHER_PYTHON names a Python that has one")
    chance = random.Random(SEED)
    url = f"{own_server.url}?sslmode=disable"
    pythons = [sys.executable, OTHER]
    running: list[tuple[Process, str]] = [(members.start(url, python=python), python) for python in [*pythons, OTHER]]

    def all_put() -> None:
        before = [len(process.lines("acked")) for process, _ in running]
        pairs = list(zip(running, before, strict=True))
        until(lambda: all(len(one.lines("acked")) > n + 5 for (one, _), n in pairs), members.logs)

    longest, owned = 0.0, dict.fromkeys(pythons, 0)
    for _ in range(2 * COUNT):
        all_put()
        owner = members.owner(url)
        at = next(at for at, (process, _) in enumerate(running) if process is owner)
        owned[running[at][1]] += 1
        killed = now()
        owner.signal(signal.SIGKILL)
        owner.child.wait()
        _, moment = members.working(killed, [process for process, _ in running if process is not owner], anew=True)
        longest = max(longest, moment - killed)
        assert longest < TAKEN_WITHIN
        # There are both of them at each moment.
        others = {python for process, python in running if process is not owner}
        python = chance.choice(pythons) if len(others) > 1 else next(one for one in pythons if one not in others)
        running[at] = (members.start(url, python=python), python)
    all_put()
    ran = {
        python: sum(len(process.lines("ran")) for process in members.all if process.child.args[0] == python)
        for python in pythons
    }  # type: ignore[index]
    assert min(ran.values()) > 0, "both run handlers"
    check_ledger(members)
    figures = {
        "kills": 2 * COUNT,
        "owned_by_the_other_release": owned[OTHER],
        "acknowledged": len(members.acknowledged()),
    }
    figures |= {"lost": 0, "until_another_runs_ms_most": round(1000 * longest)}  # the ledger was checked
    sys.stdout.write(f"\nfigures {json.dumps(figures)}\n")
    members.end()
