"""An app that several processes run on one store: it puts numbers, handles them, and writes down what it did.

python shared_app.py NOTES NAME [quiet | busy]
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import sys

from notes import noted_in, now

import forebay

PUTTERS = 2
STUBBORN_SECONDS = 9.0

app = forebay.App("shared", store=os.environ["STORE_URL"])
numbers = app.stream("numbers", shards=2)
stubborn: list[float] = []
note = noted_in(sys.argv[1])


@app.on_stream("numbers", batch_size=10, parallelization_factor=2)
async def handle(batch: forebay.Batch[forebay.Record], context: forebay.Context) -> None:
    """Take a while over a batch; the one after a signal is not stopped before its time."""
    begun = now()
    if stubborn:
        ends = begun + stubborn.pop()
        note("stays")
        while now() < ends:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(ends - now())
    else:
        await asyncio.sleep(0.01)
    ran = (f"{record.data.decode()}@{record.sequence_number}" for record in batch)
    note("ran", context.fencing_token, begun, now(), *ran)


async def put(key: str) -> None:
    """Put numbers with one key until the process ends, and write down which of them were acknowledged."""
    for count in itertools.count(1):
        name = f"{key}:{count}"
        try:
            await numbers.put(name, key)
        except forebay.StoreError as error:
            note("refused", name, type(error).__name__, error)
        else:
            note("acked", name)
        await asyncio.sleep(0.02)


async def main() -> None:
    """Run until the process is told to end."""
    ends, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ends.set)
    loop.add_signal_handler(signal.SIGUSR1, stubborn.append, STUBBORN_SECONDS)
    async with app:
        note("started")
        putters = 0 if "quiet" in sys.argv else PUTTERS * (4 if "busy" in sys.argv else 1)
        keys = [f"{sys.argv[2]}-{putter}" for putter in range(putters)]
        putting = [asyncio.create_task(put(key)) for key in keys]
        await ends.wait()
        for task in putting:
            task.cancel()
        await asyncio.gather(*putting, return_exceptions=True)


logging.basicConfig(level="INFO", format="%(asctime)s %(name)s %(message)s")
asyncio.run(main())
