"""How soon a thousand handlers run that are asked for at once, and how long nine functions take beside a tenth that is stuck."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import forebay
from forebay_bench import machine
from forebay_bench.harness import Figure, Scenario, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

SPIKE = 1_000
SPIKES = 10
QUIET = 9
RESERVED = 10
"""Handlers of the stuck function that never end."""
INTERVAL_SECONDS = 0.0005
"""Between two invocations of the nine: they are asked for in turns, whether or not the one before has ended."""
SLICE_SECONDS = 0.25


async def spike(stage: Stage) -> Mapping[str, float]:
    """Invoke an idle function 1,000 times at one moment; time until the last of its handlers has begun. None may be refused."""
    app = forebay.App("bench", store=":memory:", concurrency=SPIKE, unreserved_minimum=0)
    spreads: list[float] = []
    begun, gate, everybody = 0, asyncio.Event(), asyncio.Event()
    last = 0.0

    @app.function(timeout=60)
    async def handler(event: int, context: forebay.Context) -> None:
        nonlocal begun, last
        begun += 1
        last = time.perf_counter()
        if begun == SPIKE:
            everybody.set()
        await gate.wait()

    async with app:
        with stage.meter:
            for _ in range(stage.share(SPIKES)):
                begun = 0
                gate.clear()
                everybody.clear()
                began = time.perf_counter()
                calls = [asyncio.create_task(handler.invoke(number)) for number in range(SPIKE)]
                await asyncio.wait_for(everybody.wait(), 30)
                gate.set()
                await asyncio.gather(*calls)
                spreads.append((last - began) * 1e3)
                await asyncio.sleep(0.05)
    return {"p50": machine.percentile(spreads, 50), "most": max(spreads)}


async def noisy(stage: Stage) -> Mapping[str, float]:
    """Time invocations of nine functions, in slices with a tenth at rest and with it stuck at its reserved concurrency."""
    app = forebay.App("bench", store=":memory:")
    gate = asyncio.Event()
    functions = [app.function(f"quiet-{number}")(_give_back()) for number in range(QUIET)]

    @app.function(timeout=1_800, reserved_concurrency=RESERVED)
    async def stuck(event: Any, context: forebay.Context) -> None:
        await gate.wait()

    waits: dict[bool, list[float]] = {False: [], True: []}
    async with app:
        await _invoked(functions, SLICE_SECONDS, [])
        with stage.meter:
            for _ in range(stage.share(8)):
                await _invoked(functions, SLICE_SECONDS, waits[False])
                gate.clear()
                held = [asyncio.create_task(stuck.invoke(number)) for number in range(RESERVED)]
                for number in range(RESERVED):
                    await stuck.invoke_async(number)
                refused = asyncio.create_task(_refused(stuck))
                await _invoked(functions, SLICE_SECONDS, waits[True])
                refused.cancel()
                gate.set()
                await asyncio.gather(*held, refused, return_exceptions=True)
                await asyncio.sleep(0.02)
    quiet, beside = (machine.percentile(waits[is_stuck], 99) for is_stuck in (False, True))
    return {"quiet": quiet, "beside": beside, "ratio": beside / quiet}


def _give_back() -> Callable[[Any, forebay.Context], Coroutine[Any, Any, Any]]:
    async def quiet(event: Any, context: forebay.Context) -> Any:
        return event

    return quiet


async def _invoked(functions: list[forebay.Function[..., Any]], seconds: float, waits: list[float]) -> None:
    """Invoke functions in turns for some time, at a fixed rate."""
    calls: set[asyncio.Task[None]] = set()
    began = time.perf_counter()
    for number in range(round(seconds / INTERVAL_SECONDS)):
        pause = began + number * INTERVAL_SECONDS - time.perf_counter()
        if pause > 0:
            await asyncio.sleep(pause)
        call = asyncio.create_task(_timed(functions[number % len(functions)], waits))
        calls.add(call)
        call.add_done_callback(calls.discard)
    await asyncio.gather(*calls)


async def _timed(function: forebay.Function[..., Any], waits: list[float]) -> None:
    began = time.perf_counter()
    await function.invoke(1)
    waits.append((time.perf_counter() - began) * 1e6)


async def _refused(function: forebay.Function[..., Any]) -> None:
    """Go on invoking a function that is stuck, as a caller does that does not know."""
    while True:
        with contextlib.suppress(forebay.TooManyRequests):
            await function.invoke()
        await asyncio.sleep(0.01)


SCENARIOS = (
    Scenario(
        "concurrency.spike",
        spike,
        (
            Figure("p50", "from 0 to 1,000 handlers, until the last has begun, p50", "ms"),
            Figure("most", "the same, the longest of 10", "ms"),
        ),
        durability="memory",
        warm_up=0.2,
        seconds=2,
    ),
    Scenario(
        "concurrency.noisy",
        noisy,
        (
            Figure("quiet", "an invocation of one of nine functions, p99", "µs"),
            Figure("beside", "the same beside a tenth, stuck at its reserved concurrency, p99", "µs"),
            Figure("ratio", "the second to the first", "times"),
        ),
        durability="memory",
        warm_up=0,
        seconds=5,
    ),
)
