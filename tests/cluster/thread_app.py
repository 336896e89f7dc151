"""An app with a handler in a thread that goes on for some seconds after the store was lost, and one in a task.

python thread_app.py NOTES NAME SECONDS
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time

from notes import noted_in, now

import forebay

SECONDS = float(sys.argv[3])

app = forebay.App("threads", store=os.environ["STORE_URL"])
slow, quick = app.stream("slow", shards=8), app.stream("quick")
note = noted_in(sys.argv[1])


@app.on_stream("slow", batch_size=1)
@app.function(isolation="thread", timeout=600)
def in_thread(batch: forebay.Batch[forebay.Record], context: forebay.Context) -> None:
    """Run until the store is lost, and then on; the second time return at once."""
    note("begun", batch[0].json()["name"], context.fencing_token, now())
    if context.fencing_token == 1:
        while not context.lease_lost:
            time.sleep(0.02)
        note("lost", now())
        time.sleep(SECONDS)
    note("ended", batch[0].json()["name"], context.fencing_token, now())


@app.on_stream("quick", batch_size=1)
async def in_task(batch: forebay.Batch[forebay.Record], context: forebay.Context) -> None:
    """Write down what was handled."""
    note("quick", batch[0].json()["name"], context.fencing_token, now())


async def main() -> None:
    """Run until the process is told to end."""
    ends = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ends.set)
    async with app:
        note("started")
        await ends.wait()
        await app.stop(grace=0.5)
        # The process lives on for a while, as a server does that runs more than the app.
        await asyncio.sleep(SECONDS)


logging.basicConfig(level="INFO", format="%(asctime)s %(name)s %(message)s")
asyncio.run(main())
