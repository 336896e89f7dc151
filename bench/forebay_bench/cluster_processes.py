"""What more processes on one store add: handlers that keep their process waiting, in 1 to 16 processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING

import forebay
from forebay_bench import machine
from forebay_bench.cluster import store
from forebay_bench.harness import Figure, Scenario, Stage
from forebay_bench.stream import put_records

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

STEPS = (1, 2, 4, 8, 16)
TICK = 1 / os.sysconf("SC_CLK_TCK")
SHARDS, LANES = 32, 8
"""256 lanes in all."""
RECORDS = 1_000
"""For each process: about five seconds of waiting."""
# The handler keeps its process's event loop for 5 ms without a processor, so that two cores can show 16 processes.
_PROCESS = """
import asyncio, os, signal, sys, time
import forebay, uvloop

app = forebay.App("bench", store=sys.argv[1])
app.stream("waiting", shards=int(sys.argv[3]))
handled = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

@app.on_stream("waiting", batch_size=1, parallelization_factor=int(sys.argv[4]))
async def handler(batch: forebay.Batch, context: forebay.Context) -> None:
    time.sleep(0.005)
    os.write(handled, b".")

async def main():
    ends = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ends.set)
    async with app:
        print("started", flush=True)
        await ends.wait()

uvloop.run(main())
"""


async def processes(stage: Stage) -> Mapping[str, float]:
    """Handle records in 1, 2, 4, 8 and 16 processes; compare rate and processor time with those of one."""
    rates, spent = {}, {}
    for count in STEPS:
        rates[count], spent[count] = await handled_by(stage, count)
    return {
        **{f"rate_{count}": rate for count, rate in rates.items()},
        **{f"us_{count}": 1e6 * seconds for count, seconds in spent.items()},
        "times": rates[STEPS[-1]] / rates[1],
        "processor": spent[STEPS[-1]] / spent[1],
    }


async def handled_by(stage: Stage, count: int) -> tuple[float, float]:
    """Give the records/s of so many processes, and their processor time for each record in seconds."""
    records, notes = count * stage.share(RECORDS), stage.directory / f"handled-{count}"
    notes.touch()
    with store(stage) as url:
        command = ["-c", _PROCESS, url, str(notes), str(SHARDS), str(LANES)]
        async with contextlib.AsyncExitStack() as ending:
            for _ in range(count):
                process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
                ending.push_async_callback(_end, process)
                if process.stdout is None or not await process.stdout.readline():
                    message = "a process of the app did not start"
                    raise RuntimeError(message)
            app = forebay.App("bench", store=url, serve=False)
            stream = app.stream("waiting", shards=SHARDS)
            await ending.enter_async_context(app)
            await _all_handled(stream, notes, 10 * count)  # every process has been given work
            before = machine.living_seconds(os.getpid(), itself=False)
            with stage.meter:
                await _all_handled(stream, notes, records)
            # The system counts in ticks: a short run may have none.
            spent = max(TICK, machine.living_seconds(os.getpid(), itself=False) - before)
    return records / stage.meter.seconds, spent / records


async def _all_handled(stream: forebay.Stream, notes: Path, records: int) -> None:
    had = await asyncio.to_thread(notes.stat)
    await put_records(stream, records, 10_000)
    await asyncio.to_thread(_wait_for, notes, had.st_size + records)


def _wait_for(notes: Path, handled: int) -> None:
    while notes.stat().st_size < handled:
        time.sleep(0.01)  # what other processes do wakes nobody here


async def _end(process: asyncio.subprocess.Process) -> None:
    process.terminate()
    await process.wait()


def _each(name: str, title: str, unit: str) -> tuple[Figure, ...]:
    return tuple(Figure(f"{name}_{count}", f"{title}, processes: {count}", unit) for count in STEPS)


SCENARIOS = (
    Scenario(
        "cluster.processes",
        processes,
        (
            *_each(
                "rate", "handlers of 5 ms that keep their process waiting, 256 lanes, store on PostgreSQL", "records/s"
            ),
            *_each("us", "processor time of all processes for each record", "µs"),
            Figure("times", "rate of 16 processes beside that of one", "times"),
            Figure("processor", "processor time a record with 16 processes beside that with one", "times"),
        ),
        servers=("postgresql",),
        seconds=60,
    ),
)
