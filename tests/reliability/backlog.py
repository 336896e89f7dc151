"""A store with a long backlog: filled by a process that is killed, opened by the next one.

Usage: python tests/reliability/backlog.py fill STORE COUNT
       python tests/reliability/backlog.py open STORE COUNT
"""

import asyncio
import json
import os
import signal
import sys
import time

import uvloop

from forebay import App, Batch

KINDS = ("stream", "queue", "fifo")
AT_ONCE = 40  # sends, so that commits are shared
GROUPS = 1_000


async def fill(store: str, count: int) -> None:
    """Put so many records and send so many messages to each queue; then die."""
    app = App("backlog", store=store, durability="process-crash")
    stream, queue, fifo = app.stream("stream", shards=4), app.queue("queue"), app.queue("fifo.fifo")
    async with app:
        for first in range(0, count, 500):
            numbers = range(first, min(first + 500, count))
            await stream.put_many([(b"%d" % number, f"k{number % 1_000}") for number in numbers])
        for first in range(0, count, 10 * AT_ONCE):
            tens = range(first, min(first + 10 * AT_ONCE, count), 10)
            await asyncio.gather(*(send_ten(queue, fifo, range(ten, min(ten + 10, count))) for ten in tens))
        os.kill(os.getpid(), signal.SIGKILL)


async def send_ten(queue, fifo, numbers) -> None:
    await queue.send_many([str(number) for number in numbers])
    await fifo.send_many(
        [
            {"body": str(number), "group_id": f"g{number % GROUPS}", "deduplication_id": str(number)}
            for number in numbers
        ]
    )


async def open_again(store: str, count: int) -> dict[str, float]:
    """Start on that store; tell how long it takes until the app runs and until a handler has something of each kind.

    Then wait until all of it has been there; tell how much is missing.
    """
    app = App("backlog", store=store, durability="process-crash")
    app.stream("stream", shards=4)
    app.queue("queue")
    app.queue("fifo.fifo")
    since, busy, told = time.monotonic(), time.process_time(), {}
    something_of_each, missing = asyncio.Event(), {kind: bytearray(b"\1" * count) for kind in KINDS}

    def handle(kind: str, numbers: list[int]) -> None:
        told.setdefault(kind, time.monotonic() - since)
        if len(told) == len(KINDS):
            something_of_each.set()
        for number in numbers:
            missing[kind][number] = 0

    @app.on_stream("stream", batch_size=10)
    async def on_stream(batch: Batch, context) -> None:
        handle("stream", [record.json() for record in batch])

    @app.on_queue("queue")
    async def on_queue(batch: Batch, context) -> None:
        handle("queue", [record.json() for record in batch])

    @app.on_queue("fifo.fifo")
    async def on_fifo(batch: Batch, context) -> None:
        handle("fifo", [record.json() for record in batch])

    async with app:
        runs = time.monotonic() - since
        await asyncio.wait_for(something_of_each.wait(), 300)
        took = {f"ms until {name}": wait for name, wait in {"the app runs": runs, **told}.items()}
        took["processor ms"] = time.process_time() - busy
        ends = time.monotonic() + 100 + count / 1_000
        while any(map(any, missing.values())) and time.monotonic() < ends:
            await asyncio.sleep(0.1)
    figures = {f"{name} most": round(1000 * wait, 1) for name, wait in took.items()}
    return {**figures, "missing": sum(map(sum, missing.values()))}


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if sys.argv[1] == "fill":
            runner.run(fill(sys.argv[2], int(sys.argv[3])))
        else:
            figures = runner.run(open_again(sys.argv[2], int(sys.argv[3])))
            print("figures " + json.dumps({name.replace(" ", "_"): took for name, took in figures.items()}))
