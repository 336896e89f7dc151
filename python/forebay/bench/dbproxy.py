"""What the database proxy costs beside the pools that people use: the same servers, the same work, in turns.

python -m forebay.bench.dbproxy --postgresql URL --mysql URL [--pgbouncer URL] [--runs N] [--results DIRECTORY] [PEER ...]

Each run has a process of its own. A peer whose packages are not installed is named and skipped.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from forebay.bench import harness, machine
from forebay.bench.dbproxy_peers import CONNECTIONS, PEERS, Peer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

SECONDS = 4.0
WARM_UP_SECONDS = 0.5
LOOK_SECONDS = 0.02


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
    "borrow": Work("borrow and give back, 500 clients", "borrow", 500),
    "turn": Work("borrow and give back a turn of the event loop later, 500 clients", "turn", 500),
    "storm": Work("SELECT 1, storm of 5,000 clients", "select", 5_000, looks=True),
}


async def measure(peer: Peer, work: Work, url: str, scale: float) -> dict[str, float]:
    """Let all clients ask as fast as they are answered; give rate, waits, fairness, processor time."""
    async with contextlib.AsyncExitStack() as stack:
        one = getattr(await stack.enter_async_context(peer.opened(url, work.clients)), work.verb)
        await _ask(one, work.clients, WARM_UP_SECONDS)
        looking = None
        if work.looks and peer.server != "pgbouncer":
            looking = asyncio.create_task(_watch(await stack.enter_async_context(peer.looked_at(url))))
        processor = time.process_time()
        with machine.Meter() as meter:
            waits, counts, errors = await _ask(one, work.clients, max(0.2, SECONDS * scale))
        processor = time.process_time() - processor
        peak = 0
        if looking is not None:
            looking.cancel()
            peak = await looking
    rate = len(waits) / meter.seconds
    waits.sort()
    return {
        "rate": rate,
        "p50": machine.percentile(waits, 50) * 1e3,
        "p99": machine.percentile(waits, 99) * 1e3,
        "p99_to_fair": machine.percentile(waits, 99) * rate / work.clients,
        "jain": sum(counts) ** 2 / (len(counts) * sum(count * count for count in counts)),
        "processor": processor / len(waits) * 1e6,
        "errors": errors,
        "peak": peak,
    }


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


def missing(peer: Peer, urls: Mapping[str, str | None]) -> str:
    """Say why a peer cannot be measured; nothing when it can."""
    packages = [name for name in peer.packages if importlib.util.find_spec(name) is None]
    if packages:
        return f"not installed: {', '.join(packages)}"
    return "" if urls.get(peer.server) else f"no server: --{peer.server}"


def sitting(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure every peer in turns, so that whatever disturbs the machine disturbs all of them; give a result for each."""
    urls = {"postgresql": options.postgresql, "mysql": options.mysql, "pgbouncer": options.pgbouncer}
    wanted = [peer for peer in PEERS if not options.peers or any(peer.name.startswith(name) for name in options.peers)]
    chosen = []
    for peer in wanted:
        reason = missing(peer, urls)
        if reason:
            print(f"skipped: {peer.name} ({reason})")
        else:
            chosen += [(peer, name) for name in peer.works if not options.works or name in options.works]
    samples: dict[tuple[str, str], list[dict[str, float]]] = {}
    for _ in range(options.runs):
        for peer, name in chosen:
            command = [sys.executable, "-m", "forebay.bench.dbproxy", "--once", peer.name, name, str(urls[peer.server])]
            command += ["--scale", str(options.scale)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
            samples.setdefault((peer.name, name), []).append(json.loads(done.stdout))
    return [result(peer, name, found, options) for (peer, name), found in samples.items()]


def result(peer: str, work: str, samples: list[dict[str, float]], options: argparse.Namespace) -> dict[str, Any]:
    """Give medians and spread."""
    return {
        "scenario": f"dbproxy.{work}",
        "peer": peer,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "runs": options.runs,
        "scale": options.scale,
        "figures": {
            name: {"median": float(f"{statistics.median(values):.4g}"), "least": min(values), "most": max(values)}
            for name in samples[0]
            for values in [[float(f"{sample[name]:.4g}") for sample in samples]]
        },
        **machine.describe(),
    }


def table(results: list[dict[str, Any]]) -> str:
    """Write results as a table for people, in Markdown."""
    lines = []
    for name, work in WORKS.items():
        rows = [row for row in results if row["scenario"] == f"dbproxy.{name}"]
        if rows:
            lines += ["", f"**{work.title}**, {CONNECTIONS} connections", ""]
            lines += [
                "| | rate /s | least to most | p50 ms | p99 ms | p99 to fair | Jain | processor µs | errors | peak |"
            ]
            lines += ["|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"]
        for row in rows:
            figures = row["figures"]
            told = [
                harness.shown(figures[name]["median"]) for name in ("p50", "p99", "p99_to_fair", "jain", "processor")
            ]
            rate = figures["rate"]
            spread = f"{harness.shown(rate['least'])} to {harness.shown(rate['most'])}"
            rest = [f"{figures['errors']['most']:.0f}", f"{figures['peak']['most']:.0f}" if work.looks else ""]
            lines.append(
                f"| {row['peer']} | {harness.shown(rate['median'])} | {spread} | {' | '.join([*told, *rest])} |"
            )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and keep the results if told where."""
    parser = argparse.ArgumentParser(prog="python -m forebay.bench.dbproxy", description="Measure the database proxy.")
    parser.add_argument("peers", nargs="*", metavar="PEER", help="beginnings of names; default: all")
    for name in ("postgresql", "mysql", "pgbouncer"):
        parser.add_argument(f"--{name}", metavar="URL", help="of a server, with user, password and database")
    parser.add_argument("--works", nargs="*", choices=list(WORKS), help="what to measure; default: all")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--results", type=Path, help="directory to append results to, one JSON line each")
    parser.add_argument("--once", nargs=3, metavar=("PEER", "WORK", "URL"), help="run once, here, and print JSON")
    options = parser.parse_args(arguments)
    if options.once:
        name, work, url = options.once
        peer = next(peer for peer in PEERS if peer.name == name)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            print(json.dumps(runner.run(measure(peer, WORKS[work], url, options.scale))))
        return
    harness.refuse_debug_build()
    results = sitting(options)
    print(table(results))
    if options.results:
        options.results.mkdir(parents=True, exist_ok=True)
        with (options.results / "dbproxy.jsonl").open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in results)


if __name__ == "__main__":
    main()
