"""An app whose functions write, at home in a module so that processes can import it."""
# ruff: noqa: T201  what a function prints is what is looked for

import asyncio
import logging
import sys

from forebay import App

app = App("tail", store=":memory:", region="eu-central-1", account="123456789012")
log = logging.getLogger("shop")


@app.function(isolation="process", memory=256)
def in_process(event, context):
    """Write to both outputs, and fail if it is asked to."""
    print("printed", event)
    print("an error", file=sys.stderr)
    log.warning("logged %s", event)
    if event == "fail":
        raise ValueError("no")
    return event


@app.function()
async def in_task(event, context):
    """Write, also between waits and in a thread of its own."""
    print("printed", event)
    await asyncio.sleep(0)
    log.warning("logged %s", event)
    if event == "long":
        for number in range(1000):
            print("line", number)
    if event == "fail":
        raise ValueError("no")
    await asyncio.to_thread(print, "from a thread")
    return event


@app.function(isolation="thread")
def in_thread(event, context):
    """Write."""
    print("printed", event)
    log.warning("logged %s", event)
    return event


@app.function(timeout=0.2)
async def slow(event, context):
    """Take too long."""
    print("begun")
    await asyncio.sleep(20)
