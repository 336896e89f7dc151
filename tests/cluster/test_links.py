"""Links between machines and the server that are far, lose packets, or are cut and healed: real packets, real time-outs.

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
from fleet import Fleet
from ledger import check_ledger
from links import Machine, Network, need_network
from members import DURABLE, Members, Process, need_machines, now, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from db_servers import Postgres

KINDS = ("slow", "lossy", "short_cut", "long_cut")
COUNT = int(os.environ.get("FOREBAY_COUNT") or 1)
SEED = int(os.environ.get("FOREBAY_SEED", "20261129"))
MACHINES = ("one", "two", "three")
# Seconds one way, and how much more by chance. `make deep` has a machine as far away as it gets.
FAR = 0.1 if os.environ.get("FOREBAY_COUNT") else 0.03
# An owner is dead after 5 s, and one that is far from the server opens the store in some fifteen round trips.
GOES_ON_WITHIN = {kind: 30.0 if kind == "slow" else 40.0 for kind in KINDS}


@pytest.fixture
def network() -> Iterator[Network]:
    need_machines()
    need_network()
    with Network(random.Random(SEED)) as made:
        for machine in MACHINES:
            made.machine(machine)
        yield made


@pytest.fixture
def far_server(template: Postgres, network: Network) -> Iterator[Postgres]:
    """Run a server that the machines reach."""
    clone = template.clone()
    with (clone.folder / "data" / "pg_hba.conf").open("a") as rules:
        rules.write(f"host all all {network.subnet} scram-sha-256\n")
    clone.start(*DURABLE, f"-clisten_addresses=127.0.0.1,{network.address}")
    yield clone
    clone.remove()


@contextlib.contextmanager
def bad(link: Machine, lost: float, members: Members) -> Iterator[None]:
    """Let a share of the packets of a link be lost for a while, and nobody be told."""
    begun = now()
    link.lost = lost
    yield
    link.heal()
    members.cuts.append((begun, now()))


def strike(fleet: Fleet, network: Network, kind: str, chance: random.Random, members: Members) -> float:
    """Have one fault come over a link and pass; give the seconds until all went on."""
    victim, token = fleet.owner()
    any_link, link = network.machines[chance.choice(MACHINES)], network.machines[victim.machine]
    begun = now()
    match kind:
        case "slow":
            # Whoever is far from the server may be the next owner, and is to find out as soon as any other.
            any_link.delay = any_link.jitter = FAR
            fleet.all_put()
            victim, token = fleet.owner()
            begun = now()
            victim.process.signal(signal.SIGKILL)
            victim.process.child.wait()
            took = fleet.taken(victim, token) - begun
            any_link.heal()
            fleet.running[victim.machine] = fleet.start(victim.machine)
            fleet.all_put()
        case "lossy":
            with bad(any_link, 0.5, members):
                time.sleep(chance.uniform(3, 8))
            took = fleet.all_put()
        case "short_cut":
            with bad(link, 1.0, members):
                time.sleep(chance.uniform(0.5, 3))
            took = fleet.all_put()
        case _:
            with bad(link, 1.0, members):
                took = fleet.taken(victim, token) - begun
                time.sleep(chance.uniform(0, 2))
            fleet.all_put()
    return took


@pytest.mark.timeout(240 + 120 * COUNT)
def test_links_that_are_slow_lose_packets_or_are_cut_lose_nothing(
    members: Members, network: Network, far_server: Postgres
) -> None:
    chance = random.Random(SEED)
    kinds = list(KINDS) * COUNT
    chance.shuffle(kinds)
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    url = f"{far_server.url}?sslmode=disable"

    def begin(machine: str) -> Process:
        far = url.replace("@127.0.0.1:", f"@{network.address}:")
        return members.start(far, machine=machine, inside=network.machines[machine].inside())

    fleet = Fleet(members, url, MACHINES, begin)
    fleet.all_put()
    for kind in kinds:
        took = strike(fleet, network, kind, chance, members)
        assert took < GOES_ON_WITHIN[kind], kind
        times[kind].append(took)
    # What a link that was cut has left open at the server ends by itself: else it would have no place for anybody some time.
    until(lambda: int(far_server.sql("SELECT count(*) FROM pg_stat_activity WHERE client_addr IS NOT NULL")) < 25)
    check_ledger(members)
    figures = {"faults": len(kinds), "acknowledged": len(members.acknowledged()), "lost": 0}  # the ledger was checked
    figures["packets_lost"] = sum(machine.dropped for machine in network.machines.values())
    for kind in KINDS:
        figures[f"{kind}_p50_ms_most"] = round(1000 * statistics.median(times[kind]))
        figures[f"{kind}_longest_ms_most"] = round(1000 * max(times[kind]))
    sys.stdout.write(f"\nfigures {json.dumps(figures)}\n")
    members.end()
