"""What asynchronous invocations cost: accepting them, running a backlog of them, the way from the call to the handler."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import forebay
from forebay_bench import machine
from forebay_bench.harness import Figure, Scenario, Stage
from forebay_bench.stream import CALLERS, part

if TYPE_CHECKING:
    from collections.abc import Mapping

ORDER = {
    "event": "order.created",
    "id": "6f9619ff-8b86-d011-b42d-00c04fc964ff",
    "customer": "c-1048576",
    "amount": 129.95,
}


async def accepted(function: forebay.Function[..., Any], count: int, **options: Any) -> None:
    """Have so many events accepted by 64 callers at once, each of whom waits for its own to be durable."""
    left = iter(range(count))

    async def call() -> None:
        for _ in left:
            await function.invoke_async(ORDER, **options)

    async with asyncio.TaskGroup() as callers:
        for _ in range(CALLERS):
            callers.create_task(call())


async def accept(stage: Stage) -> Mapping[str, float]:
    """Accept events for a function that is held up; then the same for one that runs what is accepted beside it."""
    count, ran, done, gate = stage.share(100_000), 0, asyncio.Event(), asyncio.Event()
    app = forebay.App("bench", store=stage.directory / "store", concurrency=1)

    @app.function(timeout=1_800)
    async def held(event: Any, context: forebay.Context) -> None:
        await gate.wait()

    async with app:
        with stage.meter:
            await accepted(held, count)
        alone = count / stage.meter.seconds
        await app.stop(grace=0)
    app = forebay.App("bench", store=part(stage, "beside").directory / "store")

    @app.function()
    async def handler(event: Any, context: forebay.Context) -> None:
        nonlocal ran
        ran += 1
        if ran == count:
            done.set()

    async with app:
        with stage.meter:
            await accepted(handler, count)
            await done.wait()
    return {"accepted": alone, "beside": count / stage.meter.seconds}


async def backlog(stage: Stage) -> Mapping[str, float]:
    """Run events that were accepted while the first of them held up the function."""
    count, done, ran = stage.share(200_000), asyncio.Event(), 0
    app = forebay.App("bench", store=stage.directory / "store")
    gate = asyncio.Event()

    @app.function(timeout=1_800)
    async def handler(event: Any, context: forebay.Context) -> None:
        nonlocal ran
        await gate.wait()
        ran += 1
        if ran == count:
            done.set()

    async with app:
        await accepted(handler, count)
        with stage.meter:
            start = time.perf_counter()
            gate.set()
            await done.wait()
            took = time.perf_counter() - start
    return {"rate": count / took}


async def latency(stage: Stage) -> Mapping[str, float]:
    """Invoke 200 times a second; time each call to the start of its handler."""
    waits: list[float] = []
    app = forebay.App("bench", store=stage.directory / "store")

    @app.function()
    async def handler(event: int, context: forebay.Context) -> None:
        waits.append((time.perf_counter_ns() - event) / 1e6)

    interval = 1 / 200
    async with app:
        with stage.meter:
            start = time.perf_counter()
            for number in range(stage.share(1_000)):
                await asyncio.sleep(max(0.0, start + number * interval - time.perf_counter()))
                await handler.invoke_async(time.perf_counter_ns())
    return {"p50": machine.percentile(waits, 50), "p99": machine.percentile(waits, 99)}


SCENARIOS = (
    Scenario(
        "invoke.accept",
        accept,
        (
            Figure("accepted", "invoke_async by 64 callers", "events/s", limit="limits.append:callers"),
            Figure(
                "beside",
                "invoke_async by 64 callers, until each event has run",
                "events/s",
                limit="limits.append:callers",
            ),
        ),
        seconds=7,
    ),
    Scenario(
        "invoke.backlog",
        backlog,
        (Figure("rate", "a backlog of events into an async handler", "events/s", limit="limits.task:rate"),),
        seconds=6,
    ),
    Scenario(
        "invoke.latency",
        latency,
        (
            Figure("p50", "invoke_async to handler at 200 events/s, p50", "ms", limit="limits.disk:p50"),
            Figure("p99", "invoke_async to handler at 200 events/s, p99", "ms", limit="limits.disk:p99"),
        ),
        seconds=7,
    ),
)
