"""Puts records or messages to handlers that never end, half of them twice, and tells how much memory the second half takes.

Usage: python tests/reliability/stopped.py STORE records|messages COUNT
"""

import asyncio
import json
import sys

import uvloop
from soak import resident_mebibytes

from forebay import App

BODY = "." * 4_000
STEP = 500


async def main(store: str, kind: str, count: int) -> None:
    app = App("stopped", store=store, durability="process-crash")
    stream, queue = app.stream("stream", shards=4), app.queue("queue")

    @app.on_stream("stream", batch_size=10, parallelization_factor=4)
    @app.on_queue("queue", maximum_concurrency=16)
    @app.function(timeout=1_800)
    async def never_ends(event, context) -> None:
        await asyncio.Event().wait()

    async def put_records(first: int) -> int:
        return len(await stream.put_many([(BODY, f"k{number}") for number in range(first, first + STEP)]))

    async def put_messages(_: int) -> int:
        return sum(map(len, await asyncio.gather(*(queue.send_many([BODY] * 10) for _ in range(STEP // 10)))))

    put, done, levels = put_records if kind == "records" else put_messages, 0, []
    await app.start()
    for end in (count // 2, count):
        while done < end:
            done += await put(done)
        levels.append(resident_mebibytes())
    print("figures " + json.dumps({f"{kind}_put": done, f"{kind}_MiB_more_most": round(levels[1] - levels[0])}))
    await app.stop(grace=0)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
