"""How long it takes until the first record is handled: import, an empty store, a store with a backlog."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING

import forebay
from forebay_bench.harness import Figure, Scenario, Stage
from forebay_bench.stream import put_records

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


async def imported(stage: Stage) -> Mapping[str, float]:
    """Start Python and import forebay, beside Python alone."""
    count = stage.share(10)
    seconds = {}
    with stage.meter:
        for name, program in (("bare", ""), ("with", "import forebay")):
            began = time.perf_counter()
            for _ in range(count):
                process = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
                await process.wait()
            seconds[name] = (time.perf_counter() - began) / count
    return {"ms": (seconds["with"] - seconds["bare"]) * 1e3}


async def _first_record(store: Path, *, put: bool) -> float:
    """Give the seconds from making an app to the first record in its handler."""
    handled = asyncio.Event()
    began = time.perf_counter()
    app = forebay.App("bench", store=store)
    stream = app.stream("backlog", shards=4)

    @app.on_stream("backlog")
    async def handler(batch: forebay.Batch, context: forebay.Context) -> None:
        handled.set()

    async with app:
        if put:
            await stream.put({"first": True}, partition_key="k")
        await handled.wait()
        return time.perf_counter() - began


async def empty(stage: Stage) -> Mapping[str, float]:
    """Make a store, put a record, and wait for it in its handler."""
    with stage.meter:
        seconds = await _first_record(stage.directory / "store", put=True)
    return {"ms": seconds * 1e3}


async def backlog(stage: Stage) -> Mapping[str, float]:
    """Open a store in which 1,000,000 records wait, and wait for the first in its handler."""
    app = forebay.App("bench", store=stage.directory / "store")
    stream = app.stream("backlog", shards=4)
    async with app:
        await put_records(stream, stage.share(1_000_000), 10_000)
    with stage.meter:
        seconds = await _first_record(stage.directory / "store", put=False)
    return {"ms": seconds * 1e3}


SCENARIOS = (
    Scenario("start-up.import", imported, (Figure("ms", "import forebay", "ms"),), durability="memory"),
    Scenario(
        "start-up.empty",
        empty,
        (Figure("ms", "a new store, to its first record in a handler", "ms", limit="limits.disk:p50"),),
    ),
    Scenario(
        "start-up.backlog",
        backlog,
        (Figure("ms", "a store with 1,000,000 records, to the first in a handler", "ms"),),
        seconds=6,
    ),
)
