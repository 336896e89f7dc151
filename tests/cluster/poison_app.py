"""An app with a record that kills whoever handles it, beside others: it writes down what began and what ended.

python poison_app.py NOTES NUMBER

The first process puts the records when there is a file NOTES.go.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from pathlib import Path

import forebay

KILLED = 9
KEYS = {"one": "1", "two": "2", "three": "3", "poison": "4", "after": "4"}

app = forebay.App("poison", store=os.environ["STORE_URL"])
records = app.stream("records")
notes = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)


@app.on_stream("records", batch_size=1, parallelization_factor=10)
async def handle(batch: forebay.Batch[forebay.Record], context: forebay.Context) -> None:
    """Die of one record, while the others still run."""
    name = batch[0].data
    os.write(notes, b"began %s\n" % name)
    await asyncio.sleep(0.3 if name == b"poison" else 0.6)
    if name == b"poison":
        os._exit(KILLED)
    os.write(notes, b"ended %s\n" % name)


def wait_for(path: str) -> None:
    """Wait until there is a file."""
    while not Path(path).exists():
        time.sleep(0.02)


async def main() -> None:
    """Put the records first, and run until the process is killed."""
    async with app:
        os.write(notes, b"started\n")
        if sys.argv[2] == "0":
            await asyncio.to_thread(wait_for, f"{sys.argv[1]}.go")
            await records.put_many(KEYS.items())
        await asyncio.Event().wait()


logging.basicConfig(level="INFO", format="%(asctime)s %(name)s %(message)s")
asyncio.run(main())
