"""What an event costs as things grow. Straight lines are the promise; each scenario is one curve."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import forebay
from forebay_bench import machine, queue
from forebay_bench.harness import Scenario, Stage, curve
from forebay_bench.stream import MIB, Drain, batches, drained, part, put_records

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

BATCHES = (1, 10, 100, 1_000, 10_000)
SHARDS = (1, 10, 100, 1_000, 10_000)
KEYS = (1, 1_000, 1_000_000)
QUEUE_BATCHES = (1, 10, 100, 1_000, 10_000)
WAITING = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
FUNCTIONS = (1, 10, 100, 1_000)
BATCH = 100  # records of a stream's batch, unless a mapping says otherwise


async def batch(stage: Stage) -> Mapping[str, float]:
    """Drain a backlog in batches of different sizes."""
    costs = {}
    for size in BATCHES:
        records = stage.share(min(1_000_000, 50_000 * size))
        rate = await drained(part(stage, f"b{size}"), batches, records=records, batch_size=size)
        costs[f"us_{size}"] = 1e6 / rate
    return costs


async def shards(stage: Stage) -> Mapping[str, float]:
    """Drain a backlog of equal puts over more and more shards, three batches of each at least: to begin with one costs, too."""
    costs = {}
    for count in SHARDS:
        place, records = part(stage, f"s{count}"), stage.share(max(1_000_000, 300 * count))
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


class Gate(Drain):
    """A drain that holds each function in its first batch until it is opened, and remembers how many records came before that."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self.opened, self.early = asyncio.Event(), 0

    async def passed(self, records: int) -> None:
        """Let a handler on when the gate is open."""
        if not self.opened.is_set():
            self.early += records
            await self.opened.wait()
        self.had(records)


def gated(gate: Gate) -> Callable[..., Any]:
    """Make a handler that takes a `Batch`, looks at nothing, and waits for the gate."""

    async def handler(batch: forebay.Batch, context: forebay.Context) -> None:
        await gate.passed(len(batch))

    return handler


async def functions(stage: Stage) -> Mapping[str, float]:
    """Drain the same number of records through more and more functions, each with a stream of its own.

    The time runs from when all of them have been resumed and are held in their first batches, which are not counted: to resume
    a mapping costs as much as hundreds of records, once.
    """
    costs = {}
    for count in FUNCTIONS:
        place, each = part(stage, f"f{count}"), max(2 * BATCH, stage.share(1_000_000) // count)
        gate = Gate(count * each)
        app = forebay.App("bench", store=place.directory / "store")
        streams = [app.stream(f"stream{number}", shards=1) for number in range(count)]
        for number in range(count):
            app.on_stream(f"stream{number}", enabled=False)(app.function(name=f"function{number}")(gated(gate)))
        async with app:
            for stream in streams:
                await put_records(stream, each, 1_000)
            await asyncio.gather(*(mapping.resume() for mapping in app.mappings))
            with stage.meter:
                gate.opened.set()
                await gate.done.wait()
        costs[f"us_{count}"] = stage.meter.seconds / (count * each - gate.early) * 1e6
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


SCENARIOS = (
    Scenario("growth.batch", batch, curve("cost of a record", BATCHES, "records a batch"), seconds=15),
    Scenario("growth.shards", shards, curve("cost of a record", SHARDS, "shards"), seconds=25),
    Scenario("growth.keys", keys, curve("cost of a record", KEYS, "keys"), seconds=12),
    Scenario(
        "growth.waiting",
        waiting,
        (
            *curve("cost of a record", WAITING, "records waiting"),
            *curve("memory of the process", WAITING, "records waiting", name="mib", unit="MiB"),
        ),
        warm_up=0,
        seconds=60,
    ),
    Scenario(
        "growth.messages",
        messages,
        (
            *curve("cost of a message", WAITING, "messages waiting"),
            *curve("memory of the process", WAITING, "messages waiting", name="mib", unit="MiB"),
        ),
        warm_up=0,
        seconds=60,
    ),
    Scenario(
        "growth.queue-batch", queue_batch, curve("cost of a message", QUEUE_BATCHES, "messages a batch"), seconds=20
    ),
    Scenario("growth.functions", functions, curve("cost of a record", FUNCTIONS, "functions"), seconds=15),
)
