"""An app with a record that kills whoever handles it: it writes down what it handled.

python poison_app.py NOTES NUMBER
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys

import forebay

KILLED = 9

app = forebay.App("poison", store=os.environ["STORE_URL"])
records = app.stream("records")
notes = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)


@app.on_stream("records", batch_size=1)
async def handle(batch: forebay.Batch[forebay.Record], context: forebay.Context) -> None:
    """Die of one record."""
    if any(record.data == b"poison" for record in batch):
        os._exit(KILLED)
    os.write(notes, b"".join(b"ran %s\n" % record.data for record in batch))


async def main() -> None:
    """Put the records first, and run until the process is killed."""
    async with app:
        if sys.argv[2] == "0":
            await records.put_many([(name, "key") for name in ("before", "poison", "after")])
        os.write(notes, b"started\n")
        await asyncio.Event().wait()


logging.basicConfig(level="INFO", format="%(asctime)s %(name)s %(message)s")
asyncio.run(main())
