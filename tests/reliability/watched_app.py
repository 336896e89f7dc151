"""An app with work of every kind, whose handlers fail with it. Its processes import it; never imported by name."""

import os
import sys
from pathlib import Path

import forebay

app = forebay.App("watched", store=os.environ["FOREBAY_TEST_STORE"])
one = forebay.Environments(maximum=1, report_lines=True)
once = {"maximum_retry_attempts": 0}

events = app.stream("events", shards=1)
dead = app.queue("dead")
orders = app.queue("orders", dead_letter_queue=dead, maximum_receive_count=1, visibility_timeout=1)
news = app.topic("news")
parcels = app.queue("parcels", dead_letter_queue=dead, maximum_receive_count=1, visibility_timeout=1)


class Deaf:
    """A destination that is down."""

    async def deliver(self, record):
        raise ConnectionError("nobody listens")


@app.on_stream("events", batch_size=1, **once)
async def ships(batch: forebay.Batch, context):
    raise ValueError("the handler's own words")


@app.on_queue("orders")
async def packs(event, context):
    raise ValueError("the handler's own words")


@app.function(on_failure=Deaf(), dead_letter_queue=dead, **once)
async def bills(event, context):
    raise ValueError("the handler's own words")


@app.function(isolation="process", environments=one)
def in_a_process(event, context):
    if event["how"] == "raises":
        raise ValueError("the handler's own words")
    if event["how"] == "exits":
        os._exit(3)
    return {1, event["password"]}  # no JSON


client = Path(__file__).with_name("watched_client.py")
by_command = app.command_function("by_command", command=[sys.executable, str(client)], environments=one)
app.on_queue("parcels")(by_command)
