"""An app at half of what this machine can do, for as long as it is told: memory, descriptors, threads and tasks stay level.

Usage: python tests/reliability/soak.py SECONDS
"""

import asyncio
import gc
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import uvloop

from forebay import App, Batch

RECORDS, MESSAGES, EVENTS = 100, 10, 2
FLAT_OUT_SECONDS = 10
AT_ONCE = 4  # rounds, so that commits are shared
SAMPLE_SECONDS = 1.0
# What is kept for a while fills up first: records for a minute, newest chunks, the facts of `forebay why`, deduplication ids for
# five minutes, in a ring that is written all over after ten. A run that is shorter than twice that never gets warm: its memory is
# told and not judged.
WARMING_SECONDS = 600
JUDGED_SECONDS = 2 * WARMING_SECONDS
# Points of each second are kept for three hours, and take so much at most: here about 30 MiB in an hour. Nothing else may grow:
# one byte for each record and message would be 160 MiB in an hour.
MEBIBYTES_OF_POINTS = 64.0


def resident_mebibytes() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def sample() -> dict[str, float]:
    return {
        "mebibytes": resident_mebibytes(),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "threads": len(list(Path("/proc/self/task").iterdir())),
        "python threads": threading.active_count(),
        "tasks": len(asyncio.all_tasks()),
    }


def slope(times: list[float], values: list[float]) -> float:
    """Fit a line; give by how much it rises in a second."""
    mean_time, mean = sum(times) / len(times), sum(values) / len(values)
    over = sum((at - mean_time) * (value - mean) for at, value in zip(times, values, strict=True))
    return over / sum((at - mean_time) ** 2 for at in times)


class Load:
    """Rounds: records, messages and events, and their handlers."""

    def __init__(self, store: Path) -> None:
        self.app, self.handled = App("soak", store=store), 0
        self.stream = self.app.stream("records", shards=4, retention=60)
        self.queue, self.fifo = self.app.queue("plain", retention=60), self.app.queue("ordered.fifo", retention=60)

        @self.app.on_stream("records", batch_size=100, parallelization_factor=2)
        async def on_records(batch: Batch, context) -> None:
            self.handled += len(batch)

        @self.app.on_queue("plain")
        @self.app.on_queue("ordered.fifo")
        async def on_messages(batch: Batch, context) -> None:
            self.handled += len(batch)

        @self.app.function()
        async def on_event(event, context) -> None:
            self.handled += 1

        self.on_event, self.round = on_event, 0

    async def one(self) -> int:
        """Give one round; tell how much it is."""
        self.round += 1
        number = self.round
        data = [(b'{"round":%d}' % number, f"key-{number % 97}-{each}") for each in range(RECORDS)]
        await self.stream.put_many(data)
        await self.queue.send_many([f"{number}.{each}" for each in range(MESSAGES)])
        messages = [
            {"body": f"{number}.{each}", "group_id": f"g{each}", "deduplication_id": f"{number}.{each}"}
            for each in range(MESSAGES)
        ]
        await self.fifo.send_many(messages)
        for _ in range(EVENTS):
            await self.on_event.invoke_async({"round": number})
        return RECORDS + 2 * MESSAGES + EVENTS

    async def drained(self, given: int) -> None:
        ends = time.monotonic() + 120
        while self.handled < given:
            assert time.monotonic() < ends, f"{self.handled} of {given} were handled"
            await asyncio.sleep(0.05)


async def rounds_a_second(load: Load) -> float:
    """Find out how many rounds there are in a second, flat out."""
    begun, first = time.monotonic(), load.handled
    given = first
    while time.monotonic() < begun + FLAT_OUT_SECONDS:
        given += sum(await asyncio.gather(*(load.one() for _ in range(AT_ONCE))))
        await load.drained(given)
    return load.round / (time.monotonic() - begun)


async def soak(seconds: float, store: Path) -> dict[str, float]:
    load = Load(store)
    times: list[float] = []
    seen: dict[str, list[float]] = {}
    async with load.app:
        most = await rounds_a_second(load)
        await load.drained(load.round * (RECORDS + 2 * MESSAGES + EVENTS))
        first, begun = load.round, time.monotonic()
        next_sample = begun
        while (now := time.monotonic()) < begun + seconds:
            if now >= next_sample:
                gc.collect()
                times.append(now - begun)
                for name, value in sample().items():
                    seen.setdefault(name, []).append(value)
                next_sample += SAMPLE_SECONDS
                if len(times) % 60 == 1:
                    print(f"{times[-1]:.0f} s: {seen['mebibytes'][-1]:.1f} MiB", flush=True)
            await asyncio.gather(*(load.one() for _ in range(AT_ONCE)))
            # Never faster to catch up: a machine that had other work would be given bursts, and memory that fills with them.
            await asyncio.sleep(max(0.0, now + 2 * AT_ONCE / most - time.monotonic()))
        given = load.round * (RECORDS + 2 * MESSAGES + EVENTS)
        await load.drained(given)
    assert load.handled == given, f"{load.handled} of {given} were handled: some twice"
    is_judged = seconds >= JUDGED_SECONDS
    kept = next(at for at, when in enumerate(times) if when >= (WARMING_SECONDS if is_judged else seconds / 2))
    hourly = {name: slope(times[kept:], values[kept:]) * 3600 for name, values in seen.items()}
    for name, values in seen.items():
        print(
            f"{name}: {values[0]:.1f}, {values[kept]:.1f} when warm, {values[-1]:.1f} at the end; {hourly[name]:+.2f} an hour"
        )
    print(f"{(load.round - first) / seconds:.1f} rounds a second of {most:.1f} flat out")
    figures = {"seconds": seconds, "handled": load.handled, "mebibytes_most": round(max(seen["mebibytes"]), 1)}
    figures |= {f"{name.replace(' ', '_')}_an_hour_most": round(rise, 3) for name, rise in hourly.items()}
    print("figures " + json.dumps(figures))
    for name in ("descriptors", "threads", "python threads"):
        assert max(seen[name][kept:]) == min(seen[name][kept:]), f"{name} change: {seen[name][kept:]}"
    assert abs(hourly["tasks"]) < 60, f"tasks grow: {hourly['tasks']:+.1f} an hour"
    hours = max(1.0, (seconds - WARMING_SECONDS) / 3600)
    assert not is_judged or hourly["mebibytes"] * hours < MEBIBYTES_OF_POINTS, (
        f"memory grows: {hourly['mebibytes']:+.1f} MiB an hour"
    )
    return figures


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(soak(float(sys.argv[1]), Path(directory) / "data"))
