"""Workflows: starts and transitions of both types, from a start to its handler, a restart with open executions, and Maps."""

from __future__ import annotations

import asyncio
import resource
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import forebay
from forebay.integrations import ObjectStore
from forebay_bench import questions
from forebay_bench.harness import Figure, Scenario

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forebay_bench.harness import Stage

TOGETHER = 1_000
CALLERS = 4
INPUT = {"order": "o-1234567", "customer": "c-1234567", "total": 250, "lines": [{"item": "lamp", "quantity": 2}] * 4}
EXPRESS_STATES = 3
STANDARD_STATES = 5


def _flow(**states: dict[str, Any]) -> dict[str, Any]:
    return {"StartAt": next(iter(states)), "States": states}


EXPRESS = _flow(
    Large={"Type": "Choice", "Choices": [{"Variable": "$.total", "NumericGreaterThan": 100, "Next": "Mark"}]},
    Mark={"Type": "Pass", "Result": "large", "ResultPath": "$.size", "Next": "Rest"},
    Rest={"Type": "Pass", "End": True},
)


def _sends(queue: str, **fields: object) -> dict[str, Any]:
    parameters = {"QueueUrl": queue, "MessageBody.$": "$.order"}
    return {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "Parameters": parameters, **fields}


def _processor_us(stage: Stage, count: int) -> float:
    """Give the processor time of one of so many."""
    return stage.meter.cores * stage.meter.seconds / count * 1e6


def _resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize() / 2**20


async def _start_all(flow: forebay.Workflow, count: int) -> None:
    """Start executions in calls of a thousand by four callers."""
    calls = iter(range(-(-count // TOGETHER)))

    async def caller() -> None:
        for _ in calls:
            await flow.start_many([INPUT] * TOGETHER)

    async with asyncio.TaskGroup() as callers:
        for _ in range(CALLERS):
            callers.create_task(caller())


async def _running(app: forebay.App, name: str) -> int:
    told = await app._caller.ask("workflow.describe", name=name)  # noqa: SLF001 - nothing public counts them
    return int(told["running"])


async def _until_none_runs(app: forebay.App, name: str) -> None:
    """Wait until no execution of a workflow runs."""
    while await _running(app, name):  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.005)


async def express(stage: Stage) -> Mapping[str, float]:
    """Start Express executions of a Choice and two Pass states, until all have ended."""
    count = stage.share(200_000)
    count = -(-count // TOGETHER) * TOGETHER
    app = forebay.App("bench", store=stage.directory / "store")
    flow = app.workflow("quote", EXPRESS, "EXPRESS")
    async with app:
        with stage.meter:
            await _start_all(flow, count)
            await _until_none_runs(app, "quote")
    rate = count / stage.meter.seconds
    return {"starts": rate, "transitions": rate * EXPRESS_STATES, "cpu": _processor_us(stage, count)}


async def standard(stage: Stage) -> Mapping[str, float]:
    """Start Standard executions of three tasks that send to a queue between two Pass states, until all have ended."""
    count = stage.share(30_000)
    count = -(-count // TOGETHER) * TOGETHER
    app = forebay.App("bench", store=stage.directory / "store")
    queue = app.queue("sent")
    flow = app.workflow(
        "order",
        _flow(
            First={"Type": "Pass", "Next": "One"},
            One=_sends(queue.arn, ResultPath="$.one", Next="Two"),
            Two=_sends(queue.arn, ResultPath="$.two", Next="Three"),
            Three=_sends(queue.arn, ResultPath="$.three", Next="Last"),
            Last={"Type": "Pass", "End": True},
        ),
    )
    async with app:
        with stage.meter:
            await _start_all(flow, count)
            await _until_none_runs(app, "order")
    rate = count / stage.meter.seconds
    return {
        "starts": rate,
        "transitions": rate * STANDARD_STATES,
        "cpu": _processor_us(stage, count),
        "cpu_transition": _processor_us(stage, count * STANDARD_STATES),
    }


async def functions(stage: Stage) -> Mapping[str, float]:
    """Start Standard executions of three tasks that call a function: each waits for its step, so each is a commit of its own."""
    count = stage.share(10_000)
    count = -(-count // TOGETHER) * TOGETHER
    app = forebay.App("bench", store=stage.directory / "store")

    @app.function()
    async def step(event: Any, context: forebay.Context) -> Any:
        return event

    task = {"Type": "Task", "Resource": "${step}"}
    flow = app.workflow(
        "order", _flow(One={**task, "Next": "Two"}, Two={**task, "Next": "Three"}, Three={**task, "End": True})
    )
    async with app:
        with stage.meter:
            await _start_all(flow, count)
            await _until_none_runs(app, "order")
    rate = count / stage.meter.seconds
    return {"starts": rate, "transitions": rate * 3, "cpu": _processor_us(stage, count * 3)}


async def latency(stage: Stage) -> Mapping[str, float]:
    """Start one Standard execution after the other: the time until the handler of its first task, beside a put alone."""
    count = stage.share(1_000)
    app = forebay.App("bench", store=stage.directory / "store")
    began: asyncio.Queue[float] = asyncio.Queue()

    @app.function()
    async def step(event: Any, context: forebay.Context) -> Any:
        began.put_nowait(time.perf_counter())

    flow = app.workflow("order", _flow(One={"Type": "Task", "Resource": "${step}", "End": True}))
    stream = app.stream("alone")
    ways, commits = [], []
    async with app:
        with stage.meter:
            for _ in range(count):
                start = time.perf_counter()
                await stream.put(b"x" * 300, "k")
                commits.append(time.perf_counter() - start)
                start = time.perf_counter()
                execution = await flow.start(INPUT)
                ways.append(await began.get() - start)
                await execution.result()
    return {
        "p50": _cut(ways, 50),
        "p99": _cut(ways, 99),
        "commit_p50": _cut(commits, 50),
        "commit_p99": _cut(commits, 99),
    }


def _cut(values: list[float], at: int) -> float:
    """Give a percentile in ms."""
    return statistics.quantiles(values, n=100)[at - 1] * 1e3 if len(values) > 1 else values[0] * 1e3


async def restart(stage: Stage) -> Mapping[str, float]:
    """Open a store with executions that wait, until each of them is there and one has gone on."""
    count = stage.share(100_000)
    count = -(-count // TOGETHER) * TOGETHER
    directory = stage.directory / "store"

    def app_of() -> tuple[forebay.App, forebay.Workflow]:
        app = forebay.App("bench", store=directory)
        flow = app.workflow(
            "order",
            _flow(
                Wait={
                    "Type": "Task",
                    "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
                    "Parameters": {
                        "QueueUrl": app.queue("asked").arn,
                        "MessageBody": {"token.$": "$$.Task.Token"},
                    },
                    "End": True,
                },
            ),
        )
        return app, flow

    app, flow = app_of()
    async with app:
        await _start_all(flow, count)
    app, flow = app_of()
    with stage.meter:
        began = time.perf_counter()
        async with app:
            execution = await flow.start(INPUT)
            seconds = time.perf_counter() - began
            running = await _running(app, flow.name)
            resident = _resident_mib()
    if running != count + 1:
        message = f"{running} executions run where {count} were left, and {execution.name} was started"
        raise RuntimeError(message)
    return {"seconds": seconds, "resident": resident}


async def inline_map(stage: Stage) -> Mapping[str, float]:
    """Run an inline Map of 10,000 items; an Express execution has no history that could be full."""
    count = stage.share(10_000)
    app = forebay.App("bench", store=stage.directory / "store")
    body = {"ItemProcessor": _flow(One={"Type": "Pass", "Result": 1, "End": True})}
    flow = app.workflow("each", _flow(Each={"Type": "Map", **body, "End": True}), "EXPRESS")
    async with app:
        with stage.meter:
            results = await flow.start_sync_execution(list(range(count)))
    if len(results) != count:
        message = f"{len(results)} results of {count} items"
        raise RuntimeError(message)
    return {"seconds": stage.meter.seconds}


async def _distributed(stage: Stage, app: forebay.App, given: object, more: dict[str, object]) -> tuple[float, float]:
    """Run a distributed Map of Express children; how long it took, and how much the process has grown."""
    processor = {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
        **_flow(One={"Type": "Pass", "Result": 1, "End": True}),
    }
    flow = app.workflow(
        "each", _flow(Each={"Type": "Map", "ItemProcessor": processor, "ResultPath": None, "End": True, **more})
    )
    async with app:
        before = _resident_mib()
        with stage.meter:
            execution = await flow.start(given)
            await execution.result()
        after = _resident_mib()
    return stage.meter.seconds, after - before


async def distributed_map(stage: Stage) -> Mapping[str, float]:
    """Run a distributed Map of an input, which has room for 100,000 items of a digit each."""
    count = stage.share(100_000)
    app = forebay.App("bench", store=stage.directory / "store")
    seconds, grown = await _distributed(stage, app, [0] * count, {})
    return {"seconds": seconds, "per_item": seconds / count * 1e6, "grown": grown}


async def distributed_map_of_a_file(stage: Stage) -> Mapping[str, float]:
    """Run one of the items of a file, which may be larger than any input."""
    count = stage.share(100_000)
    bucket = stage.directory / "objects" / "in"
    bucket.mkdir(parents=True)
    (bucket / "items.jsonl").write_text("".join(f"{number}\n" for number in range(count)))
    app = forebay.App("bench", store=stage.directory / "store")
    app.integrate(ObjectStore(bucket.parent))
    reader = {
        "Resource": "arn:aws:states:::s3:getObject",
        "ReaderConfig": {"InputType": "JSONL"},
        "Parameters": {"Bucket": "in", "Key": "items.jsonl"},
    }
    seconds, grown = await _distributed(stage, app, {}, {"ItemReader": reader})
    return {"seconds": seconds, "per_item": seconds / count * 1e6, "grown": grown}


SCENARIOS = (
    Scenario(
        "workflow.express",
        express,
        (
            Figure("starts", "Express, a Choice and two Pass, no log", "starts/s", question=questions.STATES),
            Figure("transitions", "Express, a Choice and two Pass, no log", "transitions/s"),
            Figure("cpu", "Express, processor time of a start and its three states", "µs"),
        ),
        seconds=6,
    ),
    Scenario(
        "workflow.standard",
        standard,
        (
            Figure("starts", "Standard, three tasks in the store between two Pass", "starts/s"),
            Figure("transitions", "Standard, three tasks in the store between two Pass", "transitions/s"),
            Figure("cpu", "Standard, processor time of an execution of five states", "µs"),
            Figure("cpu_transition", "Standard, processor time of a transition", "µs"),
        ),
        seconds=10,
    ),
    Scenario(
        "workflow.functions",
        functions,
        (
            Figure("starts", "Standard, three calls of a function", "starts/s", question=questions.STEPS),
            Figure("transitions", "Standard, three calls of a function, each a durable step", "transitions/s"),
            Figure("cpu", "Standard, processor time of a state that calls a function", "µs"),
        ),
        seconds=10,
    ),
    Scenario(
        "workflow.latency",
        latency,
        (
            Figure("p50", "from start to the first task's handler, p50", "ms"),
            Figure("p99", "from start to the first task's handler, p99", "ms"),
            Figure("commit_p50", "a put alone in the same run, p50", "ms"),
            Figure("commit_p99", "a put alone in the same run, p99", "ms"),
        ),
        seconds=6,
    ),
    Scenario(
        "workflow.restart",
        restart,
        (
            Figure("seconds", "open a store with 100,000 executions that wait", "s"),
            Figure("resident", "resident memory then", "MiB"),
        ),
        warm_up=0.0,
        seconds=20,
    ),
    Scenario(
        "workflow.inline_map",
        inline_map,
        (Figure("seconds", "a Map of 10,000 items in its execution", "s"),),
        seconds=3,
    ),
    Scenario(
        "workflow.distributed_map",
        distributed_map,
        (
            Figure("seconds", "a distributed Map of 100,000 Express children", "s"),
            Figure("per_item", "a distributed Map, each item", "µs"),
            Figure("grown", "memory that it took more", "MiB"),
        ),
        seconds=10,
    ),
    Scenario(
        "workflow.distributed_map_of_a_file",
        distributed_map_of_a_file,
        (
            Figure("seconds", "a distributed Map of 100,000 items of a file, Express children", "s"),
            Figure("per_item", "a distributed Map of a file, each item", "µs"),
            Figure("grown", "memory that the Map of a file took more", "MiB"),
        ),
        seconds=20,
    ),
)
