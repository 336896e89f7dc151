"""Owners that are killed, stopped and cut off, again and again: nothing acknowledged is lost, and another goes on soon.

`make deep` runs more of them: FOREBAY_COUNT says how many of each kind, FOREBAY_SEED where chance begins.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import statistics
import sys
import time
from typing import TYPE_CHECKING

import pytest
from fleet import Fleet, percentile
from ledger import check_ledger
from members import Members, Process, need_machines, now
from ways import Way

if TYPE_CHECKING:
    from db_servers import Postgres

KINDS = ("kill", "stop", "cut")
COUNT = int(os.environ.get("FOREBAY_COUNT") or 1)
SEED = int(os.environ.get("FOREBAY_SEED", "20261128"))
MACHINES = ("one", "two", "three")
# An owner is dead after 5 s, and what it left is opened; a busy machine takes longer for all of it.
TAKEN_WITHIN = 15.0 if os.environ.get("FOREBAY_COUNT") else 30.0


def strike(fleet: Fleet, ways: dict[str, Way], kind: str, chance: random.Random) -> float:
    """Have one fault come over the owner and pass; give the seconds until another process ran handlers."""
    victim, token = fleet.owner()
    way, process = ways[victim.machine], victim.process
    begun = now()
    match kind:
        case "kill":
            process.signal(signal.SIGKILL)
        case "stop":
            process.signal(signal.SIGSTOP)
        case "cut":
            way.cut()
    took = fleet.taken(victim, token) - begun
    time.sleep(chance.uniform(0, 2))
    match kind:
        case "kill":
            process.child.wait()
            fleet.running[victim.machine] = fleet.start(victim.machine)
        case "stop":
            process.paused.append((begun, now()))
            process.signal(signal.SIGCONT)
        case "cut":
            way.heal(forgets=chance.random() < 0.5)
    fleet.all_put()
    return took


@pytest.mark.timeout(240 + 120 * COUNT)
def test_whatever_comes_over_an_owner_another_goes_on_and_nothing_is_lost(
    members: Members, own_server: Postgres
) -> None:
    need_machines()
    chance = random.Random(SEED)
    kinds = list(KINDS) * COUNT
    chance.shuffle(kinds)
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with contextlib.ExitStack() as cleanup:
        ways = {machine: cleanup.enter_context(Way(own_server.port)) for machine in MACHINES}
        cleanup.callback(members.end)
        url = f"{own_server.url}?sslmode=disable"

        def begin(machine: str) -> Process:
            return members.start(url.replace(f":{own_server.port}/", f":{ways[machine].port}/"), machine=machine)

        fleet = Fleet(members, url, MACHINES, begin)
        fleet.all_put()
        for kind in kinds:
            took = strike(fleet, ways, kind, chance)
            assert took < TAKEN_WITHIN, kind
            times[kind].append(took)
        check_ledger(members)
        acknowledged = members.acknowledged()
    every = [took for kind in KINDS for took in times[kind]]
    figures = {
        "faults": len(every),
        "until_another_runs_p50_ms_most": percentile(every, 0.5),
        "until_another_runs_p99_ms_most": percentile(every, 0.99),
        "acknowledged": len(acknowledged),
        "lost": 0,  # the ledger was checked
    }
    for kind in KINDS:
        figures |= {f"{kind}s": len(times[kind]), f"{kind}_longest_ms_most": round(1000 * max(times[kind]))}
        figures[f"{kind}_p50_ms_most"] = round(1000 * statistics.median(times[kind]))
    sys.stdout.write(f"\nfigures {json.dumps(figures)}\n")
