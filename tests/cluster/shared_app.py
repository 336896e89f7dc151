"""An app that several processes run on one store: it puts numbers, handles them, and writes down what it did.

python shared_app.py NOTES NAME [quiet]
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time

import forebay

app = forebay.App("shared", store=os.environ["STORE_URL"])
numbers = app.stream("numbers", shards=2)
notes = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def note(*words: object) -> None:
    """Write down a line in one piece: the process may be killed at any moment."""
    os.write(notes, (" ".join(map(str, words)) + "\n").encode())


def now() -> float:
    """A clock that all processes of the machine share."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@app.on_stream("numbers", batch_size=10, parallelization_factor=2)
async def handle(batch: forebay.Batch[forebay.Record], context: forebay.Context) -> None:
    """Take a while over a batch."""
    begun = now()
    await asyncio.sleep(0.01)
    note("ran", context.fencing_token, begun, now(), *(record.data.decode() for record in batch))


async def put() -> None:
    """Put numbers until the process ends, and write down which of them were acknowledged."""
    count = 0
    while True:
        count += 1
        name = f"{sys.argv[2]}-{count}"
        try:
            await numbers.put(name, name)
        except forebay.StoreError as error:
            note("refused", name, type(error).__name__)
        else:
            note("acked", name)
        await asyncio.sleep(0.02)


async def main() -> None:
    """Run until the process is ended."""
    async with app:
        note("started")
        if "quiet" not in sys.argv:
            await put()
        await asyncio.Event().wait()


logging.basicConfig(level="INFO", format="%(asctime)s %(name)s %(message)s")
asyncio.run(main())
