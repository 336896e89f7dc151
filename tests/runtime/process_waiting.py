"""An app with more invocations than processes. Never imported by name: see `conftest.py`."""

import asyncio
import os
import time
from pathlib import Path

import forebay

app = forebay.App("waiting", store=":memory:", concurrency=6, unreserved_minimum=0)
gate = asyncio.Event()


@app.function("slow", isolation="process", timeout=30, environments=forebay.Environments(maximum=2))
def slow(event, context):
    while not Path(os.environ["FOREBAY_TEST_ATTEMPTS"]).exists():
        time.sleep(0.01)
    return os.getpid()


@app.function("other", timeout=30)
async def other(event, context):
    await gate.wait()


@app.function("starts", isolation="process", timeout=30)
def starts(event, context):
    return os.getpid()
