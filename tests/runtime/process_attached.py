"""An app with resources, each of which tells when it is opened and closed. Never imported by name: see `conftest.py`."""

import asyncio
import os
import time
from pathlib import Path

import forebay

app = forebay.App("attached", store=":memory:")


class Resource:
    """Leaves a line with the process it was opened or closed in."""

    def __init__(self, name):
        self.name = name
        self.opened_in = None

    def _tell(self, what):
        with Path(os.environ["FOREBAY_TEST_ATTEMPTS"]).open("a") as told:
            told.write(f"{what} {self.name} {os.getpid()}\n")

    async def __aenter__(self):
        if self.name == os.environ.get("FOREBAY_TEST_REFUSES") and os.environ.get("AWS_LAMBDA_FUNCTION_NAME"):
            raise ConnectionRefusedError("nobody there")
        await asyncio.sleep(0)
        self.opened_in = os.getpid()
        self._tell("opened")

    async def __aexit__(self, *_):
        if self.name == os.environ.get("FOREBAY_TEST_NEVER_CLOSES") and os.environ.get("AWS_LAMBDA_FUNCTION_NAME"):
            await asyncio.sleep(60)
        await asyncio.sleep(0.05)
        self._tell("closed")


first, second = Resource("first"), Resource("second")
app.attach(first)
app.attach(second)


@app.function(isolation="process", environments=forebay.Environments(maximum=1, idle_timeout=1))
async def used(event, context):
    await asyncio.sleep(0)
    return [os.getpid(), first.opened_in, second.opened_in]


@app.function(isolation="process", timeout=0.5, environments=forebay.Environments(maximum=1))
def hangs(event, context):
    time.sleep(event)
    return os.getpid()
