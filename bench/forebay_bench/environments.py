"""What a process of its own costs a function: warm invocations, work that keeps a processor busy, cold starts."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING

from forebay_bench import machine
from forebay_bench.harness import Figure, Scenario, Stage
from forebay_bench.process_app import app, cold, in_a_process, in_a_task, in_a_thread, lanes, provisioned, turns, warm
from forebay_bench.stream import put_records

if TYPE_CHECKING:
    from collections.abc import Mapping

    import forebay

PROVISIONED = 7
"""Processes that the app keeps ready ahead of need."""
PAUSE_SECONDS = 0.05
"""Before an invocation is timed: whatever starts or ends a process has come to rest by then."""


async def _ready(functions: int) -> None:
    """Wait until so many environments are idle."""
    until = time.perf_counter() + 30
    while time.perf_counter() < until:
        idle = [line for line in (await _metrics()).splitlines() if 'state="idle"' in line]
        if sum(float(line.rpartition(" ")[2]) for line in idle) >= functions:
            return
        await asyncio.sleep(0.02)
    message = f"{functions} environments were not ready within 30 s"
    raise RuntimeError(message)


async def _metrics() -> str:
    answer = await warm._caller.ask("metrics.text")  # noqa: SLF001  the bench looks at gauges that the page shows
    return "\n".join(line for line in answer["text"].splitlines() if line.startswith("forebay_environments"))


async def _drain(stage: Stage, stream: forebay.Stream, count: int) -> float:
    """Put records, let the mapping run, and give the seconds until every one was handled."""
    mapping = next(mapping for mapping in app.mappings if mapping.stream == stream.name)
    await put_records(stream, count, 10_000)
    with stage.meter:
        await mapping.resume()
        while any(shard["records"] for shard in (await mapping.describe())["shards"]):  # noqa: ASYNC110  no event tells it
            await asyncio.sleep(0.02)
    return stage.meter.seconds


async def warm_rate(stage: Stage) -> Mapping[str, float]:
    """Run one invocation for each of many records of 200 bytes, in two processes."""
    count = stage.share(200_000)
    async with app:
        await _ready(PROVISIONED)
        return {"rate": count / await _drain(stage, lanes, count)}


async def busy_rate(stage: Stage) -> Mapping[str, float]:
    """Keep two processes busy through forebay, and two bare ones with the same loop."""
    count = stage.share(8_000)
    async with app:
        await _ready(PROVISIONED)
        seconds = await _drain(stage, turns, count)
    return {"rate": count / seconds, "share": await _bare(count // 2) / seconds}


async def _bare(count: int) -> float:
    """Give the seconds from the word to begin until two processes have each said that their rounds are done."""
    program = f"from forebay_bench.process_app import spin_for; print(flush=True); input(); spin_for({count}); print(flush=True)"
    pipe = asyncio.subprocess.PIPE
    both = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdin=pipe, stdout=pipe) for _ in range(2)
    ]
    pipes = [(process.stdin, process.stdout) for process in both if process.stdin and process.stdout]
    await asyncio.gather(*[said.readline() for _, said in pipes])  # starting an interpreter is not the loop's cost
    began = time.perf_counter()
    for told, _ in pipes:
        told.write(b"\n")
    await asyncio.gather(*[said.readline() for _, said in pipes])
    seconds = time.perf_counter() - began
    await asyncio.gather(*[process.wait() for process in both])
    return seconds


async def starts(stage: Stage) -> Mapping[str, float]:
    """Invoke in turns, after the same pause: what has no process, then one that is new, then the same one again."""
    times: dict[str, list[float]] = {"cold": [], "first": [], "again": []}
    async with app:
        with stage.meter:
            for _ in range(stage.share(20)):
                for name, function in (("cold", cold), ("first", provisioned), ("again", provisioned)):
                    await _ready(PROVISIONED)
                    await asyncio.sleep(PAUSE_SECONDS)
                    began = time.perf_counter()
                    await function.invoke(1)
                    times[name].append((time.perf_counter() - began) * 1e6)
                await provisioned.invoke(1)
    middle = {name: machine.percentile(waits, 50) for name, waits in times.items()}
    return {**middle, "cold": middle["cold"] / 1e3, "ratio": middle["first"] / middle["again"]}


async def isolation(stage: Stage) -> Mapping[str, float]:
    """Invoke the same handler in a process, a thread and a task, in turns: one after the other, and by 16 callers at once."""
    kinds = {"process": in_a_process, "thread": in_a_thread, "task": in_a_task}
    waits: dict[str, list[float]] = {name: [] for name in kinds}
    seconds = dict.fromkeys(kinds, 0.0)
    rounds, each = stage.share(20), 100
    async with app:
        await _ready(PROVISIONED)
        with stage.meter:
            for _ in range(rounds):
                for name, function in kinds.items():
                    for _ in range(each):
                        began = time.perf_counter()
                        await function.invoke(1)
                        waits[name].append((time.perf_counter() - began) * 1e6)
                    began = time.perf_counter()
                    await asyncio.gather(*(_ask(function, each) for _ in range(16)))
                    seconds[name] += time.perf_counter() - began
    rates = {f"{name}_rate": rounds * each * 16 / took for name, took in seconds.items()}
    return {**{name: machine.percentile(times, 50) for name, times in waits.items()}, **rates}


async def _ask(function: forebay.Function[..., object], times: int) -> None:
    for _ in range(times):
        await function.invoke(1)


SCENARIOS = (
    Scenario(
        "environments.warm",
        warm_rate,
        (Figure("rate", "one record of 200 bytes an invocation, 2 processes", "invocations/s"),),
        durability="memory",
    ),
    Scenario(
        "environments.busy",
        busy_rate,
        (
            Figure("rate", "a millisecond of pure Python an invocation, 2 processes", "invocations/s"),
            Figure("share", "that rate to the one of two bare processes with the same loop", "times"),
        ),
        durability="memory",
    ),
    Scenario(
        "environments.isolation",
        isolation,
        (
            Figure("process", "an invocation in a process, p50", "µs", limit="limits.pipe:us"),
            Figure("thread", "the same in a thread, p50", "µs"),
            Figure("task", "the same in a task, p50", "µs"),
            Figure("process_rate", "the same by 16 callers, 2 processes", "invocations/s"),
            Figure("thread_rate", "the same by 16 callers, in threads", "invocations/s"),
            Figure("task_rate", "the same by 16 callers, in tasks", "invocations/s"),
        ),
        durability="memory",
    ),
    Scenario(
        "environments.start",
        starts,
        (
            Figure("cold", "an invocation that starts its process, p50", "ms", limit="limits.process:ms"),
            Figure("first", "the first invocation of a provisioned process, p50", "µs", limit="limits.pipe:us"),
            Figure("again", "its second one, after the same pause, p50", "µs", limit="limits.pipe:us"),
            Figure("ratio", "the first to the second", "times"),
        ),
        durability="memory",
        warm_up=0,
        seconds=8,
    ),
)
