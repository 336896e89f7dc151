"""An app with a function in a process of its own, on the store that STORE_URL names."""

from __future__ import annotations

import os
from typing import Any

import forebay

app = forebay.App("shared", store=os.environ.get("STORE_URL", "./data"))
numbers = app.stream("numbers")
handled: list[tuple[str, int | None]] = []


@app.on_stream("numbers", batch_size=1)
async def handle(batch: forebay.Batch[forebay.Record], context: forebay.Context) -> None:
    handled.extend((record.data.decode(), context.fencing_token) for record in batch)


@app.function(isolation="process", timeout=30)
def put_from_process(event: str, context: forebay.Context) -> dict[str, Any]:
    numbers.put_sync(event, "key")
    return {
        "pid": os.getpid(),
        "fencing_token": context.fencing_token,
        "lease_lost": context.lease_lost,
        "environment": str({name: value for name, value in os.environ.items() if name != "STORE_URL"}),
    }
