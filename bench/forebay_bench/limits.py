"""What the machine itself allows: each scenario does the least that a path of forebay must do, and nothing else."""

from __future__ import annotations

import asyncio
import math
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

from forebay_bench import machine
from forebay_bench.harness import Figure, Scenario, Stage

if TYPE_CHECKING:
    from collections.abc import Mapping

RECORD = b"x" * 200
FRAME = b"x" * 200
CALLERS = 64
ECHO = """
import os, sys
while frame := os.read(0, 65536):
    os.write(1, frame)
"""


async def append(stage: Stage) -> Mapping[str, float]:
    """Append records to a file and wait for the disk each time: 500 at once, then as many as 64 callers have who each wait."""
    rates = {}
    for name, count, together in (("rate", stage.share(200_000), 500), ("callers", stage.share(100_000), CALLERS)):
        with (stage.directory / name).open("ab", buffering=0) as file, stage.meter:
            for _ in range(0, count, together):
                file.write(RECORD * together)
                machine.sync(file.fileno())
        rates[name] = count / stage.meter.seconds
    return rates


async def disk(stage: Stage) -> Mapping[str, float]:
    """Append a record 200 times a second and wait for the disk."""
    waits = await asyncio.to_thread(machine.disk_waits, stage.directory, stage.share(1_000), 1 / 200)
    return {"p50": machine.percentile(waits, 50) * 1e3, "p99": machine.percentile(waits, 99) * 1e3}


async def sqlite(stage: Stage) -> Mapping[str, float]:
    """Insert, claim and delete messages in SQLite, 100 a commit, each commit on the disk: a queue without anything around it."""
    count, together = stage.share(50_000), 100
    database = sqlite3.connect(stage.directory / "queue.db", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE message (id INTEGER PRIMARY KEY, body BLOB, claimed INTEGER DEFAULT 0)")
    with stage.meter:
        for first in range(0, count, together):
            ids = [(number,) for number in range(first, first + together)]
            for statement, rows in (
                ("INSERT INTO message (id, body) VALUES (?, ?)", [(number, RECORD) for (number,) in ids]),
                ("UPDATE message SET claimed = 1 WHERE id = ?", ids),
                ("DELETE FROM message WHERE id = ?", ids),
            ):
                database.execute("BEGIN IMMEDIATE")
                database.executemany(statement, rows)
                database.execute("COMMIT")
    database.close()
    return {"rate": count / stage.meter.seconds}


async def task(stage: Stage) -> Mapping[str, float]:
    """Start a task that does nothing and hear that it has ended."""
    count = stage.share(1_000_000)
    ended = 0
    done = asyncio.Event()

    async def nothing() -> None:
        pass

    def end(_: asyncio.Task[None]) -> None:
        nonlocal ended
        ended += 1
        if ended == count:
            done.set()

    with stage.meter:
        for number in range(count):
            asyncio.get_running_loop().create_task(nothing()).add_done_callback(end)
            if number % 1_000 == 0:
                await asyncio.sleep(0)
        await done.wait()
    return {"rate": count / stage.meter.seconds}


async def future(stage: Stage) -> Mapping[str, float]:
    """Let 64 tasks wait, again and again, each for a future of its own that the next pass of the loop answers."""
    count = stage.share(1_000_000)
    left, loop = iter(range(count)), asyncio.get_running_loop()
    asked: list[asyncio.Future[None]] = []

    def answer() -> None:
        waiting = asked.copy()
        asked.clear()
        for waiter in waiting:
            waiter.set_result(None)

    async def call() -> None:
        for _ in left:
            if not asked:
                loop.call_soon(answer)
            asked.append(loop.create_future())
            await asked[-1]

    with stage.meter:
        await asyncio.gather(*(call() for _ in range(CALLERS)))
    return {"rate": count / stage.meter.seconds}


async def loop(stage: Stage) -> Mapping[str, float]:
    """Read the length of each of 100 records again and again, in Python."""
    count, records, size = stage.share(10_000_000), [RECORD] * 100, 0
    with stage.meter:
        for _ in range(0, count, len(records)):
            for record in records:
                size += len(record)
    return {"rate": count / stage.meter.seconds}


async def call(stage: Stage) -> Mapping[str, float]:
    """Call a function that is written in C and does next to nothing, again and again, from Python."""
    count, function = stage.share(10_000_000), math.fabs
    values = [0.5] * 1_000
    with stage.meter:
        for _ in range(0, count, len(values)):
            for value in values:
                function(value)
    return {"rate": count / stage.meter.seconds, "us": stage.meter.seconds / count * 1e6}


async def pipe(stage: Stage) -> Mapping[str, float]:
    """Send 200 bytes to another process and have them back, one at a time."""
    return await asyncio.to_thread(_echoed, stage, stage.share(50_000))


def _echoed(stage: Stage, count: int) -> Mapping[str, float]:
    ours, theirs = socket.socketpair()
    with subprocess.Popen([sys.executable, "-c", ECHO], stdin=theirs.fileno(), stdout=theirs.fileno()) as echo:
        theirs.close()
        ours.sendall(FRAME)
        ours.recv(len(FRAME), socket.MSG_WAITALL)
        with stage.meter:
            for _ in range(count):
                ours.sendall(FRAME)
                ours.recv(len(FRAME), socket.MSG_WAITALL)
        ours.close()
        echo.wait()
    return {"rate": count / stage.meter.seconds, "us": stage.meter.seconds / count * 1e6}


async def wake(stage: Stage) -> Mapping[str, float]:
    """Wake another thread, and be woken by it through the event loop."""
    count = stage.share(20_000)
    loop = asyncio.get_running_loop()
    bell, asked = asyncio.Event(), threading.Semaphore(0)

    def answer() -> None:
        for _ in range(count):
            asked.acquire()
            loop.call_soon_threadsafe(bell.set)

    thread = threading.Thread(target=answer)
    thread.start()
    with stage.meter:
        for _ in range(count):
            asked.release()
            await bell.wait()
            bell.clear()
    thread.join()
    return {"us": stage.meter.seconds / count * 1e6}


async def processes(stage: Stage) -> Mapping[str, float]:
    """Start a Python process that does nothing, and wait for its end."""
    count = stage.share(20)
    began = time.perf_counter()
    with stage.meter:
        for _ in range(count):
            process = await asyncio.create_subprocess_exec(sys.executable, "-I", "-c", "", env=dict(os.environ))
            await process.wait()
    return {"ms": (time.perf_counter() - began) / count * 1e3}


SCENARIOS = (
    Scenario(
        "limits.append",
        append,
        (
            Figure("rate", "bare append of 500 and fdatasync", "records/s"),
            Figure("callers", "bare append of 64 and fdatasync", "records/s"),
        ),
    ),
    Scenario(
        "limits.disk",
        disk,
        (
            Figure("p50", "bare append of one and fdatasync at 200/s, p50", "ms"),
            Figure("p99", "bare append of one and fdatasync at 200/s, p99", "ms"),
        ),
        seconds=6,
    ),
    Scenario(
        "limits.sqlite", sqlite, (Figure("rate", "bare SQLite: insert, claim, delete, 100 a commit", "messages/s"),)
    ),
    Scenario(
        "limits.task", task, (Figure("rate", "bare uvloop: task and its callback", "tasks/s"),), durability="memory"
    ),
    Scenario(
        "limits.future",
        future,
        (Figure("rate", "bare uvloop: 64 callers, a future for each call", "calls/s"),),
        durability="memory",
    ),
    Scenario(
        "limits.loop", loop, (Figure("rate", "bare loop over records", "records/s"),), durability="memory", seconds=1
    ),
    Scenario(
        "limits.call",
        call,
        (
            Figure("rate", "bare call of a function in C", "calls/s"),
            Figure("us", "bare call of a function in C, one", "µs"),
        ),
        durability="memory",
        seconds=1,
    ),
    Scenario(
        "limits.pipe",
        pipe,
        (
            Figure("rate", "bare socket to another process and back", "round trips/s"),
            Figure("us", "bare socket to another process and back, one", "µs"),
        ),
        durability="memory",
    ),
    Scenario(
        "limits.wake", wake, (Figure("us", "bare wake-up of a thread and of the loop", "µs"),), durability="memory"
    ),
    Scenario(
        "limits.process",
        processes,
        (Figure("ms", "bare Python process, from start to end", "ms"),),
        durability="memory",
    ),
)
