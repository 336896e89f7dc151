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
from ledger import check_ledger
from members import Members, Process, need_machines, now, until
from ways import Way

from forebay._core import look_at_server

if TYPE_CHECKING:
    from db_servers import Postgres

KINDS = ("kill", "stop", "cut")
COUNT = int(os.environ.get("FOREBAY_COUNT") or 1)
SEED = int(os.environ.get("FOREBAY_SEED", "20261128"))
MACHINES = ("one", "two", "three")
# An owner is dead after 5 s, and what it left is opened; a busy machine takes longer for all of it.
TAKEN_WITHIN = 15.0 if os.environ.get("FOREBAY_COUNT") else 30.0


class Watched:
    """A process, and what it has written down until now, each line of which is read once."""

    def __init__(self, process: Process, machine: str) -> None:
        self.process = process
        self.machine = machine
        self.acknowledged = 0
        self.begun: list[tuple[int, float]] = []
        """The token of each batch, and when it began."""
        self._read = 0

    def look(self) -> None:
        """Read on."""
        if not self.process.notes.exists():
            return
        with self.process.notes.open("rb") as notes:
            notes.seek(self._read)
            text = notes.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode().splitlines():
            words = line.split()
            if words[0] == "acked":
                self.acknowledged += 1
            elif words[0] == "ran":
                self.begun.append((int(words[1]), float(words[2])))


class Fleet:
    """The processes, one on each machine, each with a way of its own to the server."""

    def __init__(self, members: Members, server: Postgres, ways: dict[str, Way]) -> None:
        self._members = members
        self._url = f"{server.url}?sslmode=disable"
        self._port = f":{server.port}/"
        self.ways = ways
        self.running = {machine: self.start(machine) for machine in ways}

    def start(self, machine: str) -> Watched:
        """Start a process on a machine."""
        url = self._url.replace(self._port, f":{self.ways[machine].port}/")
        return Watched(self._members.start(url, machine=machine), machine)

    def owner(self) -> tuple[Watched, int]:
        """Give the process that owns the store, and its token."""
        process = self._members.owner(self._url)
        token = json.loads(look_at_server(self._url))["store"]["epoch"]
        return next(watched for watched in self.running.values() if watched.process is process), token

    def taken(self, victim: Watched, former: int) -> float:
        """Wait until another process runs handlers with a newer token; give when that began."""
        found: list[float] = []

        def look() -> bool:
            for watched in self.running.values():
                if watched is not victim:
                    watched.look()
                    found.extend(moment for token, moment in watched.begun if token > former)
                    watched.begun.clear()
            return bool(found)

        until(look, self._members.logs)
        return min(found)

    def all_put(self) -> None:
        """Wait until the puts of all processes are acknowledged, whoever owns the store now."""
        before = {machine: watched.acknowledged for machine, watched in self.running.items()}

        def look() -> bool:
            for watched in self.running.values():
                watched.look()
            return all(watched.acknowledged > before[machine] + 3 for machine, watched in self.running.items())

        until(look, self._members.logs)


def strike(fleet: Fleet, kind: str, chance: random.Random) -> float:
    """Have one fault come over the owner and pass; give the seconds until another process ran handlers."""
    victim, token = fleet.owner()
    way, process = fleet.ways[victim.machine], victim.process
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


def percentile(times: list[float], share: float) -> int:
    """Give a percentile, in ms."""
    return round(1000 * statistics.quantiles(times, n=1000, method="inclusive")[round(1000 * share) - 1])


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
        fleet = Fleet(members, own_server, ways)
        fleet.all_put()
        for kind in kinds:
            took = strike(fleet, kind, chance)
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
