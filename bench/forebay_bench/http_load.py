"""A load on HTTP servers in turns, by wrk, which costs little; and the processor time that a request took of its server."""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from forebay_bench import servers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from forebay_bench.harness import Stage

CONNECTIONS = 64
ROUNDS = 5
SECONDS = 2
WARM_FROM = 0.1
"""A share of the work from which on a first round is not counted."""
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}
"""Milliseconds of each of wrk's units."""


@dataclass(frozen=True, slots=True)
class Side:
    """A URL, and the processor time that its server has used."""

    url: str
    processor: Callable[[], float]
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a load: requests a second, processor time of one in µs, and p99 in ms."""

    rate: float
    us: float
    p99_ms: float


async def in_turns(stage: Stage, sides: Mapping[str, Side], rounds: int = ROUNDS) -> dict[str, Told]:
    """Load each side in turns; give the medians of each."""
    wrk = servers.program("wrk", "apt-get install wrk")
    seconds = max(1, round(SECONDS * stage.scale))
    if stage.scale >= WARM_FROM:
        for side in sides.values():
            await _load(wrk, side, 1)
    told: dict[str, list[Told]] = {name: [] for name in sides}
    with stage.meter:
        for number in range(stage.share(rounds)):
            for name in list(sides)[:: 1 if number % 2 else -1]:
                told[name].append(await _load(wrk, sides[name], seconds))
    return {name: _middle(each) for name, each in told.items()}


def _middle(rounds: Sequence[Told]) -> Told:
    rates, times, waits = zip(*((one.rate, one.us, one.p99_ms) for one in rounds), strict=True)
    return Told(statistics.median(rates), statistics.median(times), statistics.median(waits))


async def _load(wrk: str, side: Side, seconds: int) -> Told:
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "20s", "--latency"]
    for header in side.headers:
        command += ["-H", header]
    began = side.processor()
    process = await asyncio.create_subprocess_exec(*command, side.url, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    used, text = side.processor() - began, output.decode()
    count = re.search(r"(\d+) requests in", text)
    rate = re.search(r"Requests/sec:\s*([\d.]+)", text)
    wait = re.search(r"99%\s+([\d.]+)([a-z]+)", text)
    if process.returncode or not count or not rate or not wait or "Non-2xx" in text or "Socket errors" in text:
        message = f"{side.url}: the load failed: {text}"
        raise RuntimeError(message)
    return Told(float(rate[1]), used / int(count[1]) * 1e6, float(wait[1]) * UNITS[wait[2]])


async def each_once(url: str, tokens: Sequence[str], connections: int = 8) -> float:
    """Ask once with each token; give this process's processor time for one, µs."""
    place = urlsplit(url)
    head = f"GET {place.path} HTTP/1.1\r\nhost: {place.netloc}\r\nauthorization: Bearer "
    requests = [f"{head}{token}\r\n\r\n".encode().hex() for token in tokens]
    work = {"port": place.port, "connections": connections, "count": len(tokens), "requests": requests}
    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, "-m", "forebay_bench.aws_load"]
    began = time.process_time()
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    await process.communicate(json.dumps(work).encode())
    if process.returncode:
        message = f"{url}: the load failed"
        raise RuntimeError(message)
    return (time.process_time() - began) / len(tokens) * 1e6
