"""What an event costs as things grow. Straight lines are the promise; each scenario is one curve."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import forebay
from forebay.bench import machine, queue
from forebay.bench.harness import Figure, Scenario, Stage
from forebay.bench.stream import MIB, Drain, batches, drained, part, put_records

if TYPE_CHECKING:
    from collections.abc import Mapping

BATCHES = (1, 10, 100, 1_000, 10_000)
SHARDS = (1, 10, 100, 1_000, 10_000)
KEYS = (1, 1_000, 1_000_000)
GROUPS = (1, 1_000, 1_000_000)
QUEUE_BATCHES = (1, 10, 100, 1_000, 10_000)
WAITING = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
FUNCTIONS = (1, 10, 100, 1_000)


async def batch(stage: Stage) -> Mapping[str, float]:
    """Drain a backlog in batches of different sizes."""
    costs = {}
    for size in BATCHES:
        records = stage.share(min(1_000_000, 50_000 * size))
        rate = await drained(part(stage, f"b{size}"), batches, records=records, batch_size=size)
        costs[f"us_{size}"] = 1e6 / rate
    return costs


async def shards(stage: Stage) -> Mapping[str, float]:
    """Drain a backlog of equal-sized puts over more and more shards."""
    costs = {}
    for count in SHARDS:
        place, records = part(stage, f"s{count}"), stage.share(1_000_000)
        rate = await drained(place, batches, records=records, shards=count, keys=max(count, 100), together=100)
        costs[f"us_{count}"] = 1e6 / rate
    return costs


async def keys(stage: Stage) -> Mapping[str, float]:
    """Drain a backlog of more and more keys."""
    costs = {}
    for count in KEYS:
        records = stage.share(1_000_000)
        costs[f"us_{count}"] = 1e6 / await drained(part(stage, f"k{count}"), batches, records=records, keys=count)
    return costs


async def waiting(stage: Stage) -> Mapping[str, float]:
    """Let more and more records wait: memory of the process, and the cost of a record when they are drained."""
    values: dict[str, float] = {}
    for count in WAITING:
        place, records = part(stage, f"w{count}"), stage.share(count)
        drain = Drain(records)
        app = forebay.App("bench", store=place.directory / "store")
        stream = app.stream("backlog", shards=4)
        app.on_stream("backlog", enabled=False)(batches(drain))
        async with app:
            await put_records(stream, records, 10_000)
            values[f"mib_{count}"] = machine.memory_bytes() / MIB
            with stage.meter:
                await app.mappings[0].resume()
                await drain.done.wait()
            values[f"us_{count}"] = stage.meter.seconds / records * 1e6
    return values


async def functions(stage: Stage) -> Mapping[str, float]:
    """Drain the same number of records through more and more functions, each with a stream of its own."""
    costs = {}
    for count in FUNCTIONS:
        place, records = part(stage, f"f{count}"), max(count, stage.share(200_000) // count * count)
        drain = Drain(records)
        app = forebay.App("bench", store=place.directory / "store")
        streams = [app.stream(f"stream{number}", shards=1) for number in range(count)]
        for number in range(count):
            app.on_stream(f"stream{number}", enabled=False)(app.function(name=f"function{number}")(batches(drain)))
        async with app:
            await asyncio.gather(*(put_records(stream, records // count, 1_000) for stream in streams))
            with stage.meter:
                await asyncio.gather(*(mapping.resume() for mapping in app.mappings))
                await drain.done.wait()
        costs[f"us_{count}"] = stage.meter.seconds / records * 1e6
    return costs


async def messages(stage: Stage) -> Mapping[str, float]:
    """Let more and more messages wait in a queue: memory of the process, and the cost of each of 100,000 that are handled."""
    values: dict[str, float] = {}
    for count in WAITING:
        place, waiting = part(stage, f"m{count}"), stage.share(count)
        handled = min(waiting, stage.share(100_000))
        rate, memory = await queue.drained(place, messages=waiting, handled=handled, batch_size=10)
        values |= {f"mib_{count}": memory, f"us_{count}": 1e6 / rate}
    return values


async def groups(stage: Stage) -> Mapping[str, float]:
    """Let a FIFO queue's messages be of more and more groups."""
    values: dict[str, float] = {}
    for count in GROUPS:
        place, total = part(stage, f"g{count}"), stage.share(max(200_000, count))
        handled = stage.share(200_000)
        rate, memory = await queue.drained(
            place, messages=total, handled=handled, groups=stage.share(count), batch_size=10
        )
        values |= {f"mib_{count}": memory, f"us_{count}": 1e6 / rate}
    return values


async def queue_batch(stage: Stage) -> Mapping[str, float]:
    """Drain a queue in batches of different sizes, but for the end of it: what no longer fills a batch waits out its window."""
    costs = {}
    for size in QUEUE_BATCHES:
        window = 0 if size <= queue.TOGETHER else 1
        rate, _ = await queue.drained(
            part(stage, f"b{size}"),
            messages=stage.share(220_000),
            handled=stage.share(200_000),
            batch_size=size,
            maximum_batching_window=window,
        )
        costs[f"us_{size}"] = 1e6 / rate
    return costs


def _curve(title: str, steps: tuple[int, ...], what: str, *, name: str = "us", unit: str = "µs") -> tuple[Figure, ...]:
    return tuple(
        Figure(f"{name}_{step}", f"{title}, {step:,} {what}", unit, series=f"{title}, by {what}", at=step)
        for step in steps
    )


SCENARIOS = (
    Scenario("growth.batch", batch, _curve("cost of a record", BATCHES, "records a batch"), seconds=15),
    Scenario("growth.shards", shards, _curve("cost of a record", SHARDS, "shards"), seconds=25),
    Scenario("growth.keys", keys, _curve("cost of a record", KEYS, "keys"), seconds=12),
    Scenario(
        "growth.waiting",
        waiting,
        (
            *_curve("cost of a record", WAITING, "records waiting"),
            *_curve("memory of the process", WAITING, "records waiting", name="mib", unit="MiB"),
        ),
        warm_up=0,
        seconds=60,
    ),
    Scenario(
        "growth.messages",
        messages,
        (
            *_curve("cost of a message", WAITING, "messages waiting"),
            *_curve("memory of the process", WAITING, "messages waiting", name="mib", unit="MiB"),
        ),
        warm_up=0,
        seconds=60,
    ),
    Scenario(
        "growth.groups",
        groups,
        (
            *_curve("cost of a message", GROUPS, "groups"),
            *_curve("memory of the process", GROUPS, "groups", name="mib", unit="MiB"),
        ),
        warm_up=0,
        seconds=25,
    ),
    Scenario(
        "growth.queue-batch", queue_batch, _curve("cost of a message", QUEUE_BATCHES, "messages a batch"), seconds=20
    ),
    Scenario("growth.functions", functions, _curve("cost of a record", FUNCTIONS, "functions"), seconds=15),
)
