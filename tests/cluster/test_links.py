"""Links between machines and the server that are far, lose packets, or are cut and healed: real packets, real time-outs.

`make deep` runs more of them: FOREBAY_COUNT says how many of each kind, FOREBAY_SEED where chance begins.
"""

from __future__ import annotations

import contextlib
import json
import logging
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
    from collections.abc import Callable, Iterator

    from db_servers import Postgres

KINDS = ("slow", "lossy", "short_cut", "long_cut")
COUNT = int(os.environ.get("FOREBAY_COUNT") or 1)
SEED = int(os.environ.get("FOREBAY_SEED", "20261129"))
MACHINES = ("one", "two", "three")
# Seconds one way, and how much more by chance. `make deep` has a machine as far away as it gets.
FAR = 0.1 if os.environ.get("FOREBAY_COUNT") else 0.03
# An owner is dead after 5 s, and one that is far from the server opens the store in some fifteen round trips.
log = logging.getLogger("figures")
GOES_ON_WITHIN = {kind: 30.0 if kind == "slow" else 40.0 for kind in KINDS}
# Who is cut off from the owner alone notices it after 6 s, stops its handlers, and says so with its next beat.
SAID_WITHIN = 15.0


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


def begin_on(network: Network, members: Members, server: Postgres, *arguments: str) -> Callable[[str], Process]:
    """Give what starts a process on a machine."""
    url = f"{server.url}?sslmode=disable".replace("@127.0.0.1:", f"@{network.address}:")

    def begin(machine: str) -> Process:
        return members.start(url, *arguments, machine=machine, inside=network.machines[machine].inside())

    return begin


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
    fleet = Fleet(members, url, MACHINES, begin_on(network, members, far_server))
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


@pytest.mark.parametrize("is_stubborn", [False, True])
@pytest.mark.timeout(240)
def test_what_a_process_ran_that_is_cut_off_from_the_owner_alone_runs_elsewhere(
    members: Members, network: Network, far_server: Postgres, is_stubborn: bool
) -> None:
    """It reached the database, so it was not held for dead, and its records waited until it reached the owner again.

    What it cannot stop at once runs elsewhere when it has ended, and not before.
    """
    url = f"{far_server.url}?sslmode=disable"
    fleet = Fleet(members, url, MACHINES[:2], begin_on(network, members, far_server, "busy"))
    fleet.all_put()
    owner, token = fleet.owner()
    (other,) = (watched for watched in fleet.running.values() if watched is not owner)
    until(lambda: len(other.process.lines("ran")) > 5, members.logs)
    if is_stubborn:
        other.process.signal(signal.SIGUSR1)
        until(lambda: other.process.lines("stays") != [], members.logs)
    begun = now()
    with network.parted(owner.machine, other.machine):
        # What is put now is given to both, as long as the owner does not know.
        time.sleep(3)
        put = {words[0] for words in owner.process.lines("acked")} | {
            words[0] for words in other.process.lines("acked")
        }
        until(lambda: put <= {name for run in members.runs() for name, _ in run.records}, members.logs)
        took = now() - begun
        ran_here = len(other.process.lines("ran"))
        time.sleep(2)
        assert len(other.process.lines("ran")) == ran_here, "it runs nothing for an owner that it does not reach"
        assert other.process.lives
    log.info("%s: %.1f s until all that was put had run", "stubborn" if is_stubborn else "cut off", took)
    assert took < SAID_WITHIN
    healed = now()
    until(lambda: any(float(words[1]) > healed for words in other.process.lines("ran")), members.logs)
    members.cuts.append((begun, now()))
    fleet.all_put()
    assert fleet.owner() == (owner, token), "nobody took the store"
    check_nothing_overlaps(members)
    late = {name for run in members.runs() if run.ended - run.begun > 5 for name, _ in run.records}
    assert bool(late) == is_stubborn
    assert late <= {word.partition("@")[0] for words in owner.process.lines("ran") for word in words[3:]}
    check_ledger(members)
    members.end()


def check_nothing_overlaps(members: Members) -> None:
    """No record runs in two processes."""
    ends: dict[str, float] = {}
    for run in sorted(members.runs(), key=lambda run: run.begun):
        for name, _ in run.records:
            assert ends.get(name, 0.0) < run.begun, f"{name} ran in two processes at once"
            ends[name] = run.ended
