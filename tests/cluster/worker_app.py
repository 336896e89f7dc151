"""An app for `forebay run`: its handler adds a line to the file that NOTES names."""

from __future__ import annotations

import os

import forebay

app = forebay.App("shared", store=os.environ["STORE_URL"])
numbers = app.stream("numbers")
notes = os.open(os.environ["NOTES"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)


@app.on_stream("numbers", batch_size=1)
async def handle(batch: forebay.Batch[forebay.Record], context: forebay.Context) -> None:
    """Note which process has handled a record, and with which token."""
    for record in batch:
        os.write(notes, f"{os.getpid()} {context.fencing_token} {record.data.decode()}\n".encode())
