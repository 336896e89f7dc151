"""An app whose messages are due some seconds after they were sent, and which writes down when they came.

python clock_app.py NOTES NAME SECONDS
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import sys

from notes import noted_in, now

import forebay

DELAY = int(sys.argv[3])

app = forebay.App("shared", store=os.environ["STORE_URL"])
later, numbers = app.queue("later"), app.stream("numbers")
note = noted_in(sys.argv[1])


@app.on_queue("later")
@app.function(timeout=30)
async def come(batch: forebay.Batch[forebay.Message], context: forebay.Context) -> None:
    """Note what came, what it may take, and when it was sent by the store's time."""
    for message in batch:
        left = context.get_remaining_time_in_millis()
        note("came", message.body, now(), left, message.sent_timestamp, context.fencing_token)


@app.on_stream("numbers", batch_size=10)
async def handle(batch: forebay.Batch[forebay.Record], context: forebay.Context) -> None:
    """Note what ran, as the ledger wants it."""
    begun = now()
    ran = (f"{record.data.decode()}@{record.sequence_number}" for record in batch)
    note("ran", context.fencing_token, begun, now(), *ran)


async def put(key: str) -> None:
    """Put numbers, and send messages that are due later, until the process ends; note which were acknowledged."""
    for count in itertools.count(1):
        name = f"{key}:{count}"
        try:
            await numbers.put(name, key)
            note("acked", name)
            begun = now()
            await later.send(name, delay=DELAY)
            note("sent", name, begun, now())
        except forebay.StoreError as error:
            note("refused", name, type(error).__name__)
        await asyncio.sleep(0.1)


async def main() -> None:
    """Run until the process is told to end."""
    ends = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ends.set)
    async with app:
        note("started")
        putting = asyncio.create_task(put(sys.argv[2]))
        await ends.wait()
        putting.cancel()
        await asyncio.gather(putting, return_exceptions=True)


logging.basicConfig(level="INFO", format="%(asctime)s %(name)s %(message)s")
asyncio.run(main())
