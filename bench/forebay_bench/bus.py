"""Event buses: events in calls of a hundred, through one rule to an async handler; and the replay of an archive."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import forebay
from forebay_bench import machine
from forebay_bench.harness import Figure, Scenario
from forebay_bench.stream import part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forebay_bench.harness import Stage

TOGETHER = 100
CALLERS = 16
PATTERN = {"detail-type": ["OrderPlaced"], "detail": {"total": [{"numeric": [">=", 100]}]}}


def _events() -> list[forebay.Event]:
    detail = {"id": "0123456789abcdef", "customer": "c-1234567", "total": 250, "currency": "EUR", "note": "x" * 100}
    return [forebay.Event(detail, "shop.orders", "OrderPlaced")] * TOGETHER


async def _put_all(bus: forebay.Bus, count: int) -> None:
    calls = iter(range(-(-count // TOGETHER)))
    events = _events()

    async def caller() -> None:
        for _ in calls:
            await bus.put_many(events)

    async with asyncio.TaskGroup() as callers:
        for _ in range(CALLERS):
            callers.create_task(caller())


async def put(stage: Stage) -> Mapping[str, float]:
    """Put events in calls of a hundred from 16 callers, until the handler of the one matching rule has had each."""
    count, ran, done = stage.share(200_000), 0, asyncio.Event()
    count = -(-count // TOGETHER) * TOGETHER
    app = forebay.App("bench", store=stage.directory / "store")
    bus = app.bus("orders")

    @app.on_event(bus, pattern=PATTERN)
    async def handler(event: Any, context: forebay.Context) -> None:
        nonlocal ran
        ran += 1
        if ran == count:
            done.set()

    async with app:
        start = time.perf_counter()
        with stage.meter:
            await _put_all(bus, count)
            accepted = time.perf_counter() - start
            await done.wait()
    return {"accepted": count / accepted, "handled": count / stage.meter.seconds}


async def replay(stage: Stage) -> Mapping[str, float]:
    """Replay an archive to the handler of one rule."""
    count, ran, done = stage.share(200_000), 0, asyncio.Event()
    count = -(-count // TOGETHER) * TOGETHER
    app = forebay.App("bench", store=part(stage, "replay").directory / "store")
    bus = app.bus("orders")
    archive = bus.archive("all")
    async with app:
        await _put_all(bus, count)

        @app.on_event(bus, pattern=PATTERN)
        async def handler(event: Any, context: forebay.Context) -> None:
            nonlocal ran
            ran += 1
            if ran == count:
                done.set()

        with stage.meter:
            await bus.replay(archive, 0, time.time() + 1)
            await done.wait()
    return {"rate": count / stage.meter.seconds}


async def latency(stage: Stage) -> Mapping[str, float]:
    """Put an event 200 times a second; time each put to the start of its handler, and beside it a put that is a commit alone."""
    waits: list[float] = []
    commits: list[float] = []
    interval, count, done = 1 / 200, max(2, stage.share(1_000)), asyncio.Event()
    app = forebay.App("bench", store=stage.directory / "store")
    bus, plain = app.bus("orders"), app.bus("plain")

    @app.on_event(bus, pattern={"source": ["shop"]})
    async def handler(event: Any, context: forebay.Context) -> None:
        waits.append((time.perf_counter_ns() - event["detail"]["at"]) / 1e6)
        if len(waits) == (count + 1) // 2:
            done.set()

    async with app:
        plain.archive("all")
        await plain.put({"at": 0}, source="shop", detail_type="Tick")
        with stage.meter:
            start = time.perf_counter()
            for number in range(count):
                await asyncio.sleep(max(0.0, start + number * interval - time.perf_counter()))
                began = time.perf_counter_ns()
                if number % 2:
                    await plain.put({"at": began}, source="shop", detail_type="Tick")
                    commits.append((time.perf_counter_ns() - began) / 1e6)
                else:
                    await bus.put({"at": began}, source="shop", detail_type="Tick")
        await done.wait()
    percentiles = {f"p{share}": machine.percentile(waits, share) for share in (50, 99)}
    return percentiles | {f"commit_p{share}": machine.percentile(commits, share) for share in (50, 99)}


async def discovery(stage: Stage) -> Mapping[str, float]:
    """Put events of a known shape with discovery off and on, in turns."""
    count, took = stage.share(100_000), {"off": 0.0, "on": 0.0}
    app = forebay.App("bench", store=stage.directory / "store")
    buses = {"off": app.bus("off"), "on": app.bus("on", discovery=True)}
    turns = 10
    async with app:
        await buses["on"].put_many(_events())
        with stage.meter:
            for _ in range(turns):
                for name, bus in buses.items():
                    start = time.perf_counter()
                    await _put_all(bus, count // turns)
                    took[name] += time.perf_counter() - start
    return {"rate": count / took["on"], "share": took["off"] / took["on"]}


SCENARIOS = (
    Scenario(
        "bus.latency",
        latency,
        (
            Figure("p50", "put to the start of its handler, at 200/s, median", "ms"),
            Figure("p99", "put to the start of its handler, at 200/s, 99th percentile", "ms"),
            Figure("commit_p50", "a put that is one commit and no more, in turns, median", "ms"),
            Figure("commit_p99", "a put that is one commit and no more, in turns, 99th percentile", "ms"),
        ),
        seconds=6,
    ),
    Scenario(
        "bus.discovery",
        discovery,
        (
            Figure("rate", "put_many of 100 events by 16 callers, discovery on", "events/s"),
            Figure("share", "throughput with discovery on, of that with it off", "times"),
        ),
        seconds=8,
    ),
    Scenario(
        "bus.put",
        put,
        (
            Figure("accepted", "put_many of 100 events by 16 callers, each matching one rule", "events/s"),
            Figure("handled", "put_many of 100 events by 16 callers, until an async handler has had each", "events/s"),
        ),
        seconds=8,
    ),
    Scenario(
        "bus.replay",
        replay,
        (Figure("rate", "replay of an archive into an async handler", "events/s"),),
        seconds=8,
    ),
)
