"""Apps that differ in one thing drain equal backlogs in turns: what disturbs one of them disturbs the others, too."""

from __future__ import annotations

import contextlib
import statistics
import time
from typing import TYPE_CHECKING, Any

from forebay_bench.stream import Drain, batches, put_records

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import forebay
    from forebay_bench.harness import Stage

ROUNDS = 30


class Side:
    """One of the apps, in front of its backlog."""

    def __init__(self, app: forebay.App, records: int, **mapping: Any) -> None:
        self.app = app
        self._records, self._drain = records, Drain(records)
        self._stream = app.stream("backlog", shards=4)
        app.on_stream("backlog", enabled=False, **mapping)(batches(self._drain))

    async def fill(self) -> None:
        """Put the backlog, and go through it once unmeasured."""
        await put_records(self._stream, self._records, 10_000)
        await self.drain()

    async def drain(self) -> float:
        """Go through the whole backlog from its start; give the seconds."""
        mapping = self.app.mappings[0]
        self._drain.begin(self._records)
        await mapping.seek("TRIM_HORIZON")
        began = time.perf_counter()
        await mapping.resume()
        await self._drain.done.wait()
        seconds = time.perf_counter() - began
        await mapping.pause()
        return seconds


async def kept(
    stage: Stage, makers: Sequence[tuple[str, Callable[[Path], forebay.App]]], records: int, **mapping: Any
) -> dict[str, float]:
    """Give what the apps of each name but the first's keep of the throughput of those of the first name, in percent.

    Compared is what a quarter of the rounds stays under: whatever else the machine does only ever makes a round longer.
    """
    seconds: list[list[float]] = [[] for _ in makers]
    async with contextlib.AsyncExitStack() as running:
        sides = []
        for number, (_, make) in enumerate(makers):
            sides.append(Side(make(stage.directory / str(number)), stage.share(records), **mapping))
            await running.enter_async_context(sides[-1].app)
            await sides[-1].fill()
        with stage.meter:
            for number in range(ROUNDS):
                for side in range(len(sides))[:: 1 if number % 2 else -1]:
                    seconds[side].append(await sides[side].drain())
    typical: dict[str, list[float]] = {}
    for (name, _), each in zip(makers, seconds, strict=True):
        typical.setdefault(name, []).append(statistics.quantiles(each, n=4)[0])
    first, *others = (statistics.mean(each) for each in typical.values())
    return {name: 100 * first / own for name, own in zip(list(typical)[1:], others, strict=True)}
