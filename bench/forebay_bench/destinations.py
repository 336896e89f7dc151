"""What a destination adds to an asynchronous invocation, and what a kept result, a delay or a deduplication id does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import forebay
from forebay_bench.harness import Figure, Scenario, Stage
from forebay_bench.invoke import accepted
from forebay_bench.stream import part

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

LOOK_SECONDS = 0.005


class CountedLines(forebay.JSONLines):
    """A file that counts what is on the disk."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.written = 0

    async def deliver(self, record: dict[str, Any]) -> None:
        """Append a record."""
        await super().deliver(record)
        self.written += 1


async def delivered(
    stage: Stage, destination: Callable[[forebay.App, Path], tuple[Any, Callable[[], int]]], **options: Any
) -> float:
    """Have events accepted that succeed; give events/s until each has run and its record has arrived."""
    count, ran = stage.share(50_000), 0
    app = forebay.App("bench", store=stage.directory / "store")
    target, arrived = destination(app, stage.directory)

    @app.function(on_success=target)
    async def handler(event: Any, context: forebay.Context) -> None:
        nonlocal ran
        ran += 1

    async with app:
        with stage.meter:
            await accepted(handler, count, **options)
            # A queue tells its depth only when it is asked.
            while ran < count or (target is not None and arrived() < count):  # noqa: ASYNC110
                await asyncio.sleep(LOOK_SECONDS)
    return count / stage.meter.seconds


def nowhere(app: forebay.App, directory: Path) -> tuple[None, Callable[[], int]]:
    """Tell nobody."""
    return None, lambda: 0


def queue(app: forebay.App, directory: Path) -> tuple[forebay.Queue, Callable[[], int]]:
    """Tell a queue of the same store: its message is written in the commit that ends the event."""
    results = app.queue("results")
    return results, lambda: results.depth().visible


def file(app: forebay.App, directory: Path) -> tuple[forebay.JSONLines, Callable[[], int]]:
    """Tell a file: sent, confirmed, then forgotten."""
    lines = CountedLines(directory / "results.jsonl")
    return lines, lambda: lines.written


async def success(stage: Stage) -> Mapping[str, float]:
    """Run the same events without a destination, into a queue, and into a file."""
    rates = [await delivered(part(stage, way.__name__), way) for way in (nowhere, queue, file)]
    return {
        "queue": rates[1],
        "file": rates[2],
        "queue_cost": rates[0] / rates[1],
        "file_cost": rates[0] / rates[2],
    }


async def options(stage: Stage) -> Mapping[str, float]:
    """Run the same events plainly, with their results kept, and with the least delay, which is the cost of an option alone."""
    plain = await delivered(part(stage, "plain"), nowhere)
    kept = await delivered(part(stage, "kept"), nowhere, keep_result=True)
    delayed = await delivered(part(stage, "delayed"), nowhere, delay=0.001)
    return {"kept": kept, "kept_cost": plain / kept, "delay_cost": plain / delayed}


SCENARIOS = (
    Scenario(
        "events.options",
        options,
        (
            Figure("kept", "invoke_async until the event has run and its result is kept", "events/s"),
            Figure("kept_cost", "cost of an event whose result is kept to one without", "times"),
            Figure("delay_cost", "cost of an event with a delay of 1 ms to one without", "times"),
        ),
        seconds=8,
    ),
    Scenario(
        "destinations.success",
        success,
        (
            Figure("queue", "invoke_async until the result is in a queue", "events/s", limit="limits.sqlite:rate"),
            Figure("file", "invoke_async until the result is in a file, confirmed", "events/s"),
            Figure("queue_cost", "cost of an event with a queue as its destination to one without", "times"),
            Figure("file_cost", "cost of an event with a file as its destination to one without", "times"),
        ),
        seconds=8,
    ),
)
