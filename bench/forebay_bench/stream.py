"""What streams cost: a backlog drained, records put, the way from a put to its handler, growth, memory."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Any

import forebay
from forebay_bench import machine, questions
from forebay_bench.harness import Figure, Scenario, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RECORD = (
    b'{"event":"order.created","id":"6f9619ff-8b86-d011-b42d-00c04fc964ff","customer":"c-1048576","amount":129.95,'
    b'"currency":"EUR","items":[{"sku":"A-100","quantity":2},{"sku":"B-7","quantity":10}],"s":100}'
)  # 200 bytes
MIB = 1 << 20
PUT_BATCH = 10_000
CALLERS = 64  # as `limits.append` has


async def put_records(stream: forebay.Stream, count: int, keys: int, batch: int = PUT_BATCH, together: int = 1) -> None:
    """Put records whose keys go round; so many of a key come together."""
    for at in range(0, count, batch):
        numbers = range(at, min(at + batch, count))
        await stream.put_many([(RECORD, f"k{number // together % keys}") for number in numbers])


class Drain:
    """A paused mapping in front of a backlog, and the count of what its handler has had."""

    def __init__(self, total: int) -> None:
        self.begin(total)

    def begin(self, total: int) -> None:
        """Wait for so many, from now on."""
        self._left = total
        self.done = asyncio.Event()

    def had(self, records: int) -> None:
        """Count records the handler was given."""
        self._left -= records
        if self._left <= 0:
            self.done.set()


def batches(drain: Drain) -> Callable[..., Any]:
    """Make a handler that takes a `Batch` and looks at nothing."""

    async def handler(batch: forebay.Batch, context: forebay.Context) -> None:
        drain.had(len(batch))

    return handler


def batches_read(drain: Drain) -> Callable[..., Any]:
    """Make a handler that takes a `Batch` and reads each record's data as JSON."""

    async def handler(batch: forebay.Batch, context: forebay.Context) -> None:
        for record in batch:
            record.json()
        drain.had(len(batch))

    return handler


def events(drain: Drain) -> Callable[..., Any]:
    """Make a handler that takes Lambda's event dict."""

    async def handler(event: dict[str, Any], context: forebay.Context) -> None:
        drain.had(len(event["Records"]))

    return handler


async def drained(
    stage: Stage,
    make: Callable[[Drain], Callable[..., Any]],
    *,
    records: int,
    keys: int = 10_000,
    shards: int = 4,
    together: int = 1,
    **mapping: Any,
) -> float:
    """Put a backlog, start the app anew in front of it, and give the records/s at which it is handled to the last one."""
    drain = Drain(records)
    directory = stage.directory / "store"
    app = forebay.App("bench", store=directory)
    stream = app.stream("backlog", shards=shards)
    async with app:
        await put_records(stream, records, keys, together=together)
    app = forebay.App("bench", store=directory)
    app.stream("backlog", shards=shards)
    app.on_stream("backlog", enabled=False, **mapping)(make(drain))
    async with app:
        with stage.meter:
            await app.mappings[0].resume()
            await drain.done.wait()
    return records / stage.meter.seconds


async def backlog_batch(stage: Stage) -> Mapping[str, float]:
    """Drain a backlog through batches of 100, undecoded."""
    return {"rate": await drained(stage, batches, records=stage.share(1_000_000))}


async def backlog_read(stage: Stage) -> Mapping[str, float]:
    """Drain a backlog through batches of 100, each record's data read."""
    return {"rate": await drained(stage, batches_read, records=stage.share(1_000_000))}


async def backlog_event(stage: Stage) -> Mapping[str, float]:
    """Drain a backlog through batches of 100 as Lambda's event dict."""
    return {"rate": await drained(stage, events, records=stage.share(500_000))}


async def backlog_single(stage: Stage) -> Mapping[str, float]:
    """Drain a backlog one record at a time in 16 lanes: one invocation, one task each."""
    rate = await drained(stage, batches, records=stage.share(200_000), batch_size=1, parallelization_factor=4)
    return {"rate": rate}


async def put_many(stage: Stage, callers: int = 1) -> Mapping[str, float]:
    """Put 500 records a call; the next call when the disk has them."""
    records = stage.share(200_000)
    app = forebay.App("bench", store=stage.directory / "store")
    stream = app.stream("put", shards=4)
    async with app, asyncio.TaskGroup() as group:
        with stage.meter:
            putting = [
                group.create_task(put_records(stream, records // callers, 10_000, batch=500)) for _ in range(callers)
            ]
            await asyncio.wait(putting)
    return {"rate": records / stage.meter.seconds}


async def put_many_four(stage: Stage) -> Mapping[str, float]:
    """Put 500 records a call from four tasks at once."""
    return await put_many(stage, callers=4)


async def put_callers(stage: Stage) -> Mapping[str, float]:
    """Put one record a call from 64 tasks at once, as the handlers of a web server do."""
    records = stage.share(100_000)
    app = forebay.App("bench", store=stage.directory / "store")
    stream = app.stream("put", shards=4)
    left = iter(range(records))

    async def call() -> None:
        for number in left:
            await stream.put(RECORD, f"k{number % 10_000}")

    async with app:
        with stage.meter:
            await asyncio.gather(*[call() for _ in range(CALLERS)])
    return {"rate": records / stage.meter.seconds}


async def latency(stage: Stage) -> Mapping[str, float]:
    """Put 200 records/s one by one; time each from its put to the start of its handler. Beside it: the bare disk."""
    waits: list[float] = []
    app = forebay.App("bench", store=stage.directory / "store")
    stream = app.stream("paced", shards=4)

    @app.on_stream("paced", starting_position="LATEST")
    async def handler(batch: forebay.Batch, context: forebay.Context) -> None:
        now = time.perf_counter_ns()
        waits.extend((now - int(record.data)) / 1e6 for record in batch)

    interval = 1 / 200
    disk = await asyncio.to_thread(machine.disk_waits, stage.directory, stage.share(200), interval)
    async with app:
        with stage.meter:
            start = time.perf_counter()
            for number in range(stage.share(1_000)):
                await asyncio.sleep(max(0.0, start + number * interval - time.perf_counter()))
                await stream.put(str(time.perf_counter_ns()), partition_key=f"k{number}")
    disk += await asyncio.to_thread(machine.disk_waits, stage.directory, stage.share(200), interval)
    return {
        "p50": machine.percentile(waits, 50),
        "p99": machine.percentile(waits, 99),
        "disk_p50": machine.percentile(disk, 50) * 1e3,
        "disk_p99": machine.percentile(disk, 99) * 1e3,
    }


async def latency_client(stage: Stage) -> Mapping[str, float]:
    """Put 200 records/s one by one from another process, through the owner's socket; time each to the start of its handler."""
    waits = await waits_of_client(stage, str(stage.directory / "store"))
    return {"p50": machine.percentile(waits, 50), "p99": machine.percentile(waits, 99)}


async def waits_of_client(stage: Stage, store: str) -> list[float]:
    """Own a store whose records another process puts, 200 a second; give how long each took to the start of its handler, ms."""
    waits: list[float] = []
    app = forebay.App("bench", store=store)
    app.stream("paced", shards=4)

    @app.on_stream("paced", starting_position="LATEST")
    async def handler(batch: forebay.Batch, context: forebay.Context) -> None:
        now = time.perf_counter_ns()  # of the whole machine: CLOCK_MONOTONIC
        waits.extend((now - int(record.data)) / 1e6 for record in batch)

    async with app:
        with stage.meter:
            client = await asyncio.create_subprocess_exec(sys.executable, "-c", _CLIENT, store, str(stage.share(1_000)))
            if await client.wait():
                message = "the client failed"
                raise RuntimeError(message)
    return waits


_CLIENT = """
import asyncio, sys, time
import forebay, uvloop

async def main(store, count):
    app = forebay.App("bench", store=store, serve=False)
    stream = app.stream("paced", shards=4)
    async with app:
        start = time.perf_counter()
        for number in range(count):
            await asyncio.sleep(max(0.0, start + number / 200 - time.perf_counter()))
            await stream.put(str(time.perf_counter_ns()), partition_key=f"k{number}")

uvloop.run(main(sys.argv[1], int(sys.argv[2])))
"""


async def growth_shards(stage: Stage) -> Mapping[str, float]:
    """Compare the cost of a record in a stream of 10,000 shards with that in a stream of one."""
    records, many = stage.share(1_000_000), stage.share(10_000)
    one = await drained(part(stage, "one"), batches, records=records, shards=1, keys=many, together=100)
    every = await drained(part(stage, "every"), batches, records=records, shards=many, keys=many, together=100)
    scattered = await drained(part(stage, "scattered"), batches, records=records, shards=many, keys=20 * many)
    single = await drained(part(stage, "single"), batches, records=records, shards=many, keys=1)
    return {"all_active": one / every, "one_active": one / single, "together": every, "scattered": scattered}


async def growth_keys(stage: Stage) -> Mapping[str, float]:
    """Compare the cost of a record when all keys differ with that when there is one key."""
    records = stage.share(1_000_000)
    one = await drained(part(stage, "one"), batches, records=records, shards=1, keys=1)
    every = await drained(part(stage, "every"), batches, records=records, shards=1, keys=records)
    return {"ratio": one / every}


def part(stage: Stage, name: str) -> Stage:
    """Give a part of a scenario a directory of its own; the meter stays the same."""
    (stage.directory / name).mkdir()
    return Stage(stage.directory / name, stage.scale, stage.meter)


async def memory(stage: Stage) -> Mapping[str, float]:
    """Let 1,000,000 records wait, then handle them; read the memory of the process on the way."""
    records = stage.share(1_000_000)
    drain = Drain(records)
    app = forebay.App("bench", store=stage.directory / "store")
    stream = app.stream("waiting", shards=4)
    app.on_stream("waiting", enabled=False)(batches(drain))
    async with app:
        with stage.meter:
            await put_records(stream, records // 4, 10_000)
            quarter = machine.memory_bytes()
            await put_records(stream, records - records // 4, 10_000)
            waiting = machine.memory_bytes()
            await app.mappings[0].resume()
            await drain.done.wait()
            after = machine.memory_bytes()
    return {"quarter": quarter / MIB, "waiting": waiting / MIB, "after": after / MIB}


def _rate(
    title: str, unit: str = "records/s", *, limit: str, each: float = 1.0, question: str | None = None
) -> tuple[Figure, ...]:
    return (Figure("rate", title, unit, limit=limit, each=each, question=question),)


SCENARIOS = (
    Scenario(
        "stream.backlog-batch",
        backlog_batch,
        _rate(
            "backlog into an async Batch handler, 100 a batch",
            limit="limits.task:rate",
            each=100,
        ),
    ),
    Scenario(
        "stream.backlog-read",
        backlog_read,
        _rate(
            "backlog into an async Batch handler that reads every record as JSON",
            limit="limits.loop:rate",
            question=questions.BATCH,
        ),
    ),
    Scenario(
        "stream.backlog-event",
        backlog_event,
        _rate("backlog into an async handler of Lambda's event dict, 100 a batch", limit="limits.task:rate", each=100),
    ),
    Scenario(
        "stream.backlog-single",
        backlog_single,
        _rate("backlog, one record an invocation, 16 lanes", "invocations/s", limit="limits.task:rate"),
    ),
    Scenario("stream.put-many", put_many, _rate("put_many of 500, one caller", limit="limits.append:rate")),
    Scenario(
        "stream.put-many-four",
        put_many_four,
        _rate("put_many of 500, four callers at once", limit="limits.append:rate"),
    ),
    Scenario("stream.put-callers", put_callers, _rate("put by 64 callers", limit="limits.append:callers")),
    Scenario(
        "stream.latency",
        latency,
        (
            Figure("p50", "put to handler at 200 records/s, p50", "ms", limit="limits.disk:p50"),
            Figure("p99", "put to handler at 200 records/s, p99", "ms", limit="limits.disk:p99"),
            Figure("disk_p50", "a bare append and fdatasync in the same run, p50", "ms"),
            Figure("disk_p99", "a bare append and fdatasync in the same run, p99", "ms"),
        ),
        seconds=9,
    ),
    Scenario(
        "stream.latency-client",
        latency_client,
        (
            Figure("p50", "put in another process to handler at 200 records/s, p50", "ms", limit="limits.disk:p50"),
            Figure("p99", "put in another process to handler at 200 records/s, p99", "ms", limit="limits.disk:p99"),
        ),
        seconds=7,
    ),
    Scenario(
        "stream.growth-shards",
        growth_shards,
        (
            Figure("all_active", "cost of a record: 10,000 active shards to 1", "times"),
            Figure("one_active", "cost of a record: 1 active of 10,000 shards to 1", "times"),
            Figure("together", "backlog over 10,000 shards, put in hundreds of one key", "records/s"),
            Figure("scattered", "backlog over 10,000 shards, each record put to another", "records/s"),
        ),
    ),
    Scenario("stream.growth-keys", growth_keys, (Figure("ratio", "cost of a record: 1,000,000 keys to 1", "times"),)),
    Scenario(
        "stream.memory",
        memory,
        (
            Figure("quarter", "memory of the process, 250,000 records waiting", "MiB"),
            Figure("waiting", "memory of the process, 1,000,000 records waiting", "MiB"),
            Figure("after", "memory of the process when they are handled", "MiB"),
        ),
        warm_up=0,
    ),
)
