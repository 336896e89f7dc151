"""What metrics cost: the throughput they take, a scrape of 10,000 series, and how long either keeps a handler waiting."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import json
import socket
import statistics
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import forebay
from forebay_bench.alternating import kept
from forebay_bench.harness import Figure, Scenario, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

FUNCTIONS = 350
"""As many have 10,000 lines on the page."""
SPIN_SECONDS, REST_SECONDS = 0.01, 0.002
# Scrapes from a process of its own, as Prometheus is one: prints the seconds of each, and the lines of the last page.
SCRAPER = """
import http.client, json, sys, time
took = []
for _ in range(int(sys.argv[2])):
    time.sleep(0.05)
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
    connection.request("GET", "/metrics")
    page = connection.getresponse().read()
    took.append(time.perf_counter() - began)
print(json.dumps([took, sum(not line.startswith(b"#") for line in page.splitlines())]))
"""


def make(store: Path | str, *, counted: bool = True) -> forebay.App:
    """Make an app that counts what happens, or nothing at all."""
    app = forebay.App("bench", store=store)
    app.settings = dataclasses.replace(app.settings, metrics=counted)
    return app


WITHOUT: tuple[str, Callable[[Path], forebay.App]] = ("without", partial(make, counted=False))
WITH: tuple[str, Callable[[Path], forebay.App]] = ("kept", make)
# Of equal apps, one that was there before the other is not as fast: so there are two of each kind.
COUNTED = (WITHOUT, WITH, WITH, WITHOUT)


async def batched(stage: Stage) -> Mapping[str, float]:
    """Count batches of 100."""
    return await kept(stage, COUNTED, 500_000)


async def single(stage: Stage) -> Mapping[str, float]:
    """Count batches of one record, 16 lanes: the most there is to count for a record."""
    return await kept(stage, COUNTED, 50_000, batch_size=1, parallelization_factor=4)


def _with_api(store: Path) -> forebay.App:
    importlib.import_module("opentelemetry.trace")
    return make(store)


def _with_provider(store: Path) -> forebay.App:
    provider = importlib.import_module("opentelemetry.sdk.trace").TracerProvider()
    importlib.import_module("opentelemetry.trace").set_tracer_provider(provider)
    return make(store)


async def traced(stage: Stage) -> Mapping[str, float]:
    """Handle records one by one: OpenTelemetry not imported yet, imported without a provider, with spans that nobody reads."""
    # An app looks once, when it starts: so each finds what the one before it has not had.
    makers = (("absent", make), ("off", _with_api), ("on", _with_provider))
    return await kept(stage, makers, 20_000, batch_size=1, parallelization_factor=4)


class Caller:
    """Invokes a function that does nothing, again and again, and notes how long each invocation took, from call to answer."""

    def __init__(self, function: forebay.Function[..., Any]) -> None:
        self._function = function
        self.took: list[float] = []
        self._task = asyncio.get_running_loop().create_task(self._call())

    async def _call(self) -> None:
        while True:
            began = before = time.perf_counter()
            while before < began + SPIN_SECONDS:
                await self._function.invoke(None)
                now = time.perf_counter()
                self.took.append(now - before)
                before = now
            await asyncio.sleep(REST_SECONDS)  # a real-time process that never rests is held back by the system

    async def stop(self) -> list[float]:
        """Give the seconds of each invocation."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        return self.took


async def scrape(stage: Stage) -> Mapping[str, float]:
    """Scrape an app of 10,000 series again and again from another process, and invoke a function meanwhile."""
    app, count = make(":memory:"), stage.share(40)
    functions = [app.function(name=f"f{number}")(_nothing) for number in range(FUNCTIONS)]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    await app.start(metrics_port=port)
    try:
        for function in functions:
            for size in range(20):
                await function.invoke(size)
        caller = Caller(functions[0])
        await asyncio.sleep(count * 0.06)
        alone = await caller.stop()
        caller = Caller(functions[0])
        with stage.meter:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", SCRAPER, str(port), str(count), stdout=asyncio.subprocess.PIPE
            )
            printed, _ = await process.communicate()
        scraped = await caller.stop()
    finally:
        await app.stop()
    took, lines = json.loads(printed)
    return {
        "ms": statistics.median(took) * 1e3,
        "lines": lines,
        "late": max(scraped) * 1e3,
        "alone": max(alone) * 1e3,
    }


async def _nothing(event: object, context: object) -> None:
    await asyncio.sleep(0)


SCENARIOS = (
    Scenario(
        "metrics.batches",
        batched,
        (Figure("kept", "throughput with all metrics on, batches of 100", "% of without"),),
        warm_up=0,
        seconds=7,
    ),
    Scenario(
        "metrics.single",
        single,
        (Figure("kept", "throughput with all metrics on, batches of 1", "% of without"),),
        warm_up=0,
        seconds=12,
    ),
    Scenario(
        "metrics.tracing",
        traced,
        (
            Figure("off", "throughput with OpenTelemetry imported and no provider, batches of 1", "% of without"),
            Figure("on", "throughput with a span for each invocation, batches of 1", "% of without"),
        ),
        warm_up=0,
        seconds=15,
        packages=("opentelemetry-api", "opentelemetry-sdk"),
    ),
    Scenario(
        "metrics.scrape",
        scrape,
        (
            Figure("ms", "scrape of a page of 10,000 series", "ms"),
            Figure("lines", "series on that page", "series"),
            Figure("late", "longest invocation while scraped", "ms"),
            Figure("alone", "longest invocation with nobody scraping", "ms"),
        ),
        durability="memory",
        warm_up=0,
        seconds=8,
    ),
)
