"""Puts to a stream and a queue whose handlers never end, and how much memory that takes.

Usage: python tests/reliability/stopped.py STORE COUNT
"""

import asyncio
import json
import sys

import uvloop
from soak import resident_mebibytes

from forebay import App, Batch

FILLING = b"." * 500
FIRST = 20_000  # what is there before memory is looked at: all that is made once


async def main(store: str, count: int) -> None:
    app = App("stopped", store=store, durability="process-crash")
    stream, queue = app.stream("stream", shards=4), app.queue("queue")

    @app.on_stream("stream", batch_size=10, parallelization_factor=4)
    @app.function(name="records", timeout=1_800)
    async def on_records(batch: Batch, context) -> None:
        await asyncio.Event().wait()

    @app.on_queue("queue", maximum_concurrency=16)
    @app.function(name="messages", timeout=1_800)
    async def on_messages(batch: Batch, context) -> None:
        await asyncio.Event().wait()

    async def put(first: int, end: int) -> None:
        for number in range(first, end, 500):
            await stream.put_many([(FILLING, f"k{each}") for each in range(number, number + 500)])
            # A message for every ten records.
            await asyncio.gather(*(queue.send_many([FILLING.decode()] * 10) for _ in range(5)))

    await app.start()
    await put(0, FIRST)
    base = resident_mebibytes()
    await put(FIRST, FIRST + count)
    more = resident_mebibytes() - base
    print("figures " + json.dumps({"put": count, "MiB_base_most": round(base), "MiB_more_most": round(more)}))
    await app.stop(grace=0)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1], int(sys.argv[2])))
