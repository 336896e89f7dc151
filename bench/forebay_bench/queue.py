"""What queues cost: a backlog drained one message at a time, sends beside it, FIFO groups, the way to the handler."""

from __future__ import annotations

import asyncio
import os
import struct
import sys
import time
from typing import TYPE_CHECKING, Any

import uvloop

import forebay
from forebay_bench import machine, questions
from forebay_bench.harness import Figure, Scenario, Stage, curve
from forebay_bench.stream import MIB, RECORD, Drain, batches, part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

BODY = RECORD.decode()
TOGETHER = 10  # messages of one call: the most that SQS takes
SENDERS = 64
IN_FLIGHT = 100
GROUPS = (1, 1_000, 1_000_000)
RATIOS = {1_000: "some", 1_000_000: "ratio"}  # to one group


def bodies(count: int, groups: int = 0) -> Iterator[list[str | dict[str, Any]]]:
    """Make calls of ten messages each; with groups, messages go round them."""
    for at in range(0, count, TOGETHER):
        numbers = range(at, min(at + TOGETHER, count))
        if groups:
            yield [{"body": BODY, "group_id": f"g{n % groups}", "deduplication_id": str(n)} for n in numbers]
        else:
            yield [BODY for _ in numbers]


async def send_all(queue: forebay.Queue, calls: Iterator[list[str | dict[str, Any]]]) -> None:
    """Send everything from 64 tasks, each of which waits until the disk has what it sent."""

    async def sender() -> None:
        for call in calls:
            await queue.send_many(call)

    async with asyncio.TaskGroup() as senders:
        for _ in range(SENDERS):
            senders.create_task(sender())


async def fill(store: str, name: str, messages: int, groups: int) -> None:
    """Send a backlog: in a process of its own, so that its memory is not that of the one that is measured."""
    app = forebay.App("bench", store=store)
    queue = app.queue(name)
    async with app:
        await send_all(queue, bodies(messages, groups))


async def drained(
    stage: Stage,
    make: Callable[[Drain], Callable[..., Any]] = batches,
    *,
    messages: int,
    handled: int | None = None,
    groups: int = 0,
    **mapping: Any,
) -> tuple[float, float]:
    """Have another process send a backlog, then open it; give messages/s until so many (all) are handled, and MiB of memory."""
    name = "backlog.fifo" if groups else "backlog"
    arguments = [str(stage.directory / "store"), name, str(messages), str(groups)]
    sender = await asyncio.create_subprocess_exec(sys.executable, "-m", "forebay_bench.queue", *arguments)
    if await sender.wait():
        message = "the backlog could not be sent"
        raise RuntimeError(message)
    drain = Drain(handled or messages)
    app = forebay.App("bench", store=stage.directory / "store")
    app.queue(name)
    app.on_queue(name, enabled=False, **mapping)(make(drain))
    async with app:
        memory = machine.memory_bytes() / MIB
        with stage.meter:
            await app.mappings[0].resume()
            await drain.done.wait()
    return (handled or messages) / stage.meter.seconds, memory


async def single(stage: Stage) -> Mapping[str, float]:
    """Drain a backlog one message an invocation, 100 in flight."""
    rate, _ = await drained(stage, messages=stage.share(200_000), batch_size=1, maximum_concurrency=IN_FLIGHT)
    return {"rate": rate}


async def single_read(stage: Stage) -> Mapping[str, float]:
    """Drain a backlog one message an invocation with a handler that does what those of `bench/peers` do."""
    stamps = os.open(stage.directory / "stamps", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def stamping(drain: Drain) -> Callable[..., Any]:
        async def handler(batch: forebay.Batch, context: forebay.Context) -> None:
            batch[0].json()
            os.write(stamps, struct.pack("=q", time.monotonic_ns()))
            drain.had(1)

        return handler

    count = stage.share(200_000)
    rate, _ = await drained(stage, stamping, messages=count, batch_size=1, maximum_concurrency=IN_FLIGHT)
    os.close(stamps)
    return {"rate": rate}


async def tens(stage: Stage) -> Mapping[str, float]:
    """Drain a backlog in batches of ten."""
    rate, _ = await drained(stage, messages=stage.share(500_000), batch_size=10, maximum_concurrency=IN_FLIGHT)
    return {"rate": rate}


async def beside(stage: Stage) -> Mapping[str, float]:
    """Send messages beside a backlog that is drained one message an invocation, until as many are sent as are handled."""
    count = stage.share(200_000)
    drain = Drain(count)
    app = forebay.App("bench", store=stage.directory / "store")
    queue = app.queue("backlog")
    app.on_queue("backlog", batch_size=1, maximum_concurrency=IN_FLIGHT, enabled=False)(batches(drain))
    async with app:
        await send_all(queue, bodies(count // 4))
        with stage.meter:
            await app.mappings[0].resume()
            await send_all(queue, bodies(count))
            await drain.done.wait()
    return {"rate": count / stage.meter.seconds}


async def latency(stage: Stage) -> Mapping[str, float]:
    """Send 200 messages a second one by one; time each from its send to the start of its handler."""
    waits: list[float] = []
    app = forebay.App("bench", store=stage.directory / "store")
    queue = app.queue("paced")

    @app.on_queue("paced", batch_size=1)
    async def handler(batch: forebay.Batch, context: forebay.Context) -> None:
        waits.append((time.perf_counter_ns() - int(batch[0].body)) / 1e6)

    async with app:
        with stage.meter:
            start = time.perf_counter()
            for number in range(stage.share(1_000)):
                await asyncio.sleep(max(0.0, start + number / 200 - time.perf_counter()))
                await queue.send(str(time.perf_counter_ns()))
    return {"p50": machine.percentile(waits, 50), "p99": machine.percentile(waits, 99)}


async def fifo(stage: Stage) -> Mapping[str, float]:
    """Drain a backlog of 10,000 groups in batches of ten."""
    rate, _ = await drained(stage, messages=stage.share(300_000), groups=10_000, batch_size=10)
    return {"rate": rate}


async def fifo_growth(stage: Stage) -> Mapping[str, float]:
    """Let messages be of more and more groups: memory of the process, cost of a message, and to one group's."""
    values: dict[str, float] = {}
    for count in GROUPS:
        handled, groups = stage.share(200_000), stage.share(count)
        rate, memory = await drained(
            part(stage, f"g{count}"), messages=max(handled, groups), handled=handled, groups=groups, batch_size=10
        )
        values |= {f"mib_{count}": memory, f"us_{count}": 1e6 / rate}
    ratios = {name: values[f"us_{count}"] / values["us_1"] for count, name in RATIOS.items()}
    return values | ratios


async def memory(stage: Stage) -> Mapping[str, float]:
    """Let 1,000,000 messages wait and handle 200,000 of them, ten at a time; beside it a backlog of 200,000."""
    few = stage.share(200_000)
    small, _ = await drained(part(stage, "few"), messages=few, batch_size=10)
    many, used = await drained(part(stage, "many"), messages=5 * few, handled=few, batch_size=10)
    return {"waiting": used, "ratio": small / many}


def _tens(title: str) -> tuple[Figure, ...]:
    """Compare with a task for ten messages: each of them has been sent before, so no cycle of a store is part of it."""
    return (Figure("rate", title, "messages/s", limit="limits.task:rate", each=TOGETHER),)


SCENARIOS = (
    Scenario(
        "queue.backlog-single",
        single,
        (
            Figure(
                "rate",
                "queue: backlog, one message an invocation, 100 in flight",
                "messages/s",
                limit="limits.task:rate",
            ),
        ),
        seconds=5,
    ),
    Scenario(
        "queue.backlog-read",
        single_read,
        (
            Figure(
                "rate",
                "queue: the same, each message read as JSON and its time written down, as the peers do",
                "messages/s",
                limit="limits.task:rate",
                question=questions.SINGLE,
            ),
        ),
        seconds=5,
    ),
    Scenario(
        "queue.beside",
        beside,
        (
            Figure(
                "rate",
                "queue: one message an invocation, as many sent beside it",
                "messages/s",
                limit="limits.task:rate",
            ),
        ),
        seconds=5,
    ),
    Scenario(
        "queue.backlog-tens",
        tens,
        _tens("queue: backlog, ten messages an invocation, 100 in flight"),
        seconds=6,
    ),
    Scenario(
        "queue.latency",
        latency,
        (
            Figure("p50", "send to handler at 200 messages/s, p50", "ms", limit="limits.disk:p50"),
            Figure("p99", "send to handler at 200 messages/s, p99", "ms", limit="limits.disk:p99"),
        ),
        seconds=6,
    ),
    Scenario(
        "queue.memory",
        memory,
        (
            Figure("waiting", "memory of the process, 1,000,000 messages waiting", "MiB"),
            Figure("ratio", "cost of a message: 1,000,000 waiting to 200,000", "times"),
        ),
        warm_up=0,
        seconds=8,
    ),
    Scenario(
        "fifo.backlog",
        fifo,
        _tens("FIFO queue: backlog of 10,000 groups, ten messages an invocation"),
        seconds=6,
    ),
    Scenario(
        "fifo.growth-groups",
        fifo_growth,
        (
            *(Figure(name, f"cost of a message: {count:,} groups to 1", "times") for count, name in RATIOS.items()),
            *curve("cost of a message", GROUPS, "groups"),
            *curve("memory of the process", GROUPS, "groups", name="mib", unit="MiB"),
        ),
        warm_up=0,
        seconds=18,
    ),
)

if __name__ == "__main__":
    uvloop.run(fill(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
