"""What the database proxy costs, beside the bare drivers and the pools that people use, on real servers that the bench starts."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from forebay_bench import machine, servers
from forebay_bench.dbproxy_peers import CONNECTIONS, PEERS, Peer
from forebay_bench.harness import Figure, Scenario, Stage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

SECONDS = 1.5
WARM_UP_SECONDS = 0.5
LOOK_SECONDS = 0.02
DATABASES = {"postgresql": "PostgreSQL", "mysql": "MariaDB", "pgbouncer": "PostgreSQL"}


@dataclass(frozen=True, slots=True)
class Work:
    """One question asked of every peer."""

    title: str
    verb: str
    clients: int
    looks: bool = False
    """Whether the server's own count of connections is watched."""


WORKS = {
    "bare": Work("SELECT 1, as many clients as connections, no pool", "select", CONNECTIONS),
    "select": Work("SELECT 1, 500 clients", "select", 500),
    "borrow": Work("borrow and give back at once, 500 clients", "borrow", 500),
    "turn": Work("borrow and give back a turn of the event loop later, 500 clients", "turn", 500),
    "storm": Work("SELECT 1, storm of 5,000 clients", "select", 5_000, looks=True),
}


async def measure(peer: Peer, work: Work, stage: Stage) -> Mapping[str, float]:
    """Let all clients ask as fast as they are answered; give rate, waits, fairness, processor time."""
    url, clients = servers.address(peer.server), max(CONNECTIONS, stage.share(work.clients))
    async with contextlib.AsyncExitStack() as stack:
        one = getattr(await stack.enter_async_context(peer.opened(url, clients)), work.verb)
        await _ask(one, clients, WARM_UP_SECONDS * min(1.0, stage.scale))
        looking = None
        if work.looks and peer.server != "pgbouncer":
            looking = asyncio.create_task(_watch(await stack.enter_async_context(peer.looked_at(url))))
        processor = time.process_time()
        with stage.meter:
            waits, counts, errors = await _ask(one, clients, max(0.2, SECONDS * stage.scale))
        processor = time.process_time() - processor
        peak = 0
        if looking is not None:
            looking.cancel()
            peak = await looking
    rate = len(waits) / stage.meter.seconds
    waits.sort()
    values = {
        "rate": rate,
        "p50": machine.percentile(waits, 50) * 1e3,
        "p99": machine.percentile(waits, 99) * 1e3,
        "p99_to_fair": machine.percentile(waits, 99) * rate / clients,
        "jain": sum(counts) ** 2 / (len(counts) * sum(count * count for count in counts)),
        "processor": processor / len(waits) * 1e6,
        "errors": errors,
        "peak": peak,
    }
    return {figure.name: values[figure.name] for figure in _figures(peer, work)}


async def _ask(
    one: Callable[[int], Awaitable[Any]], clients: int, seconds: float
) -> tuple[list[float], list[int], int]:
    now = time.perf_counter
    waits: list[float] = []
    counts = [0] * clients
    errors = 0
    ends = now() + seconds

    async def client(number: int) -> None:
        nonlocal errors
        while (began := now()) < ends:
            try:
                await one(number)
            except Exception:  # noqa: BLE001 - a refusal of any kind counts as one
                errors += 1
                await asyncio.sleep(0)
                continue
            waits.append(now() - began)
            counts[number] += 1
            if began % 1 < 1e-4:  # noqa: PLR2004 - a pool that never waits would not let the loop look at its clock
                await asyncio.sleep(0)

    await asyncio.gather(*(client(number) for number in range(clients)))
    return waits, counts, errors


async def _watch(count: Callable[[], Awaitable[int]]) -> int:
    """Ask the server again and again how many connections of this user it has, without the asking one."""
    peak = 0
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            peak = max(peak, await count() - 1)
            await asyncio.sleep(LOOK_SECONDS)
    return peak


def _figures(peer: Peer, work: Work) -> tuple[Figure, ...]:
    database = DATABASES[peer.server]
    title = f"{peer.name}: {work.title}"
    is_bare = work.clients == CONNECTIONS
    limits = {"select": f"limits.{database.lower()}:rate", "turn": "limits.future:rate"}
    rate = Figure(
        "rate",
        title,
        "statements/s" if work.verb == "select" else "loans/s",
        limit=None if is_bare else limits.get(work.verb),
        question=None if is_bare else f"{database}, {CONNECTIONS} connections: {work.title}",
    )
    waits = (
        Figure("p50", f"{title}, p50", "ms"),
        Figure("p99", f"{title}, p99", "ms"),
        Figure("processor", f"{title}, processor time of one", "µs"),
    )
    fair = (
        Figure("p99_to_fair", f"{title}, p99 to clients / rate", "times"),
        Figure("jain", f"{title}, Jain's index of fairness", "of 1"),
        Figure("errors", f"{title}, refused", "errors"),
        # In front of PgBouncer nobody sees the server's own count.
        *(
            ()
            if peer.server == "pgbouncer"
            else (Figure("peak", f"{title}, most connections at the server", "connections"),)
        ),
    )
    if work.verb == "borrow":
        return (rate, *waits)  # who never waits has no fair share of waiting
    return (rate, *waits, *(fair if work.looks else fair[:1]))


def _scenario(name: str, peer: Peer, work: Work) -> Scenario:
    return Scenario(
        name,
        partial(_measured, peer, work),
        _figures(peer, work),
        durability="none",
        warm_up=0,
        seconds=SECONDS + WARM_UP_SECONDS + (2.0 if work.looks else 1.0),
        who=peer.name,
        note=f"{CONNECTIONS} connections",
        servers=(peer.server,),
        packages=peer.packages,
    )


async def _measured(peer: Peer, work: Work, stage: Stage) -> Mapping[str, float]:
    return await measure(peer, work, stage)


def _peer(name: str) -> Peer:
    return next(peer for peer in PEERS if peer.name == name)


LIMITS = (
    _scenario("limits.postgresql", _peer("asyncpg alone"), WORKS["bare"]),
    _scenario("limits.mariadb", _peer("asyncmy alone"), WORKS["bare"]),
)
OURS = (_peer("forebay, PostgreSQL"), _peer("forebay, MariaDB"))
SCENARIOS = tuple(
    _scenario(f"dbproxy.{work}-{DATABASES[peer.server].lower()}", peer, WORKS[work])
    for peer in OURS
    for work in peer.works
)
PEER_SCENARIOS = tuple(
    _scenario(f"peers.dbproxy.{work}.{peer.name.lower().replace(', ', '-').replace(' ', '-')}", peer, WORKS[work])
    for peer in PEERS
    for work in peer.works
    if peer not in OURS and work != "bare"
)
