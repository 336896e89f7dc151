"""An app whose handlers run in processes, on queues, streams and events. Never imported by name: see `conftest.py`."""

import asyncio
import json
import os
import sys
import time
from pathlib import Path

import forebay

app = forebay.App("sources", store=os.environ["FOREBAY_TEST_STORE"])
one = forebay.Environments(maximum=1)
soon = forebay.Backoff(base=0.01, cap=0.01, jitter=0)

events = app.queue("events")
shares = app.queue("shares")
unread = app.queue("unread")
groups = app.queue("groups.fifo", content_based_deduplication=True)
dead = app.queue("dead")
poison = app.queue("poison", dead_letter_queue=dead, maximum_receive_count=2)
slow = app.queue("slow")
commands = app.queue("commands")
numbers = app.stream("numbers", shards=1)


def tell(what):
    """Leave a line that the test reads."""
    with Path(os.environ["FOREBAY_TEST_ATTEMPTS"]).open("a") as told:
        told.write(json.dumps(what) + "\n")


@app.on_queue("events", batch_size=10)
@app.function(isolation="process", environments=one)
def takes_events(event, context):
    tell(event["Records"])


@app.on_queue("shares", batch_size=10, report_batch_item_failures=True, retry_delay=soon)
@app.function(isolation="process", environments=one)
async def takes_shares(event, context):
    await asyncio.sleep(0)
    tell([record["body"] for record in event["Records"]])
    first = [record for record in event["Records"] if record["attributes"]["ApproximateReceiveCount"] == "1"]
    return {
        "batchItemFailures": [{"itemIdentifier": record["messageId"]} for record in first if record["body"] == "bad"]
    }


@app.on_queue("unread", batch_size=10)
@app.function(isolation="process", environments=one)
def is_not_read(event, context):
    tell("handled")
    return {"batchItemFailures": [{"itemIdentifier": record["messageId"]} for record in event["Records"]]}


@app.on_queue("groups.fifo", batch_size=10, report_batch_item_failures=True, retry_delay=soon)
@app.function(isolation="process", environments=one)
def takes_groups(batch: forebay.Batch, context):
    for message in batch:
        plain = {name: list(value) if isinstance(value, bytes) else value for name, value in message.attributes.items()}
        tell([message.group_id, message.body, message.receive_count, plain])
    for message in batch:
        if message.body == "bad" and message.receive_count == 1:
            batch.fail(message)


@app.on_queue("poison", batch_size=1, retry_delay=soon)
@app.function(isolation="process", timeout=10, environments=one)
def dies(event, context):
    tell(event["Records"][0]["attributes"]["ApproximateReceiveCount"])
    os._exit(3)


@app.on_queue("slow", batch_size=1)
@app.function(isolation="process", timeout=20, environments=forebay.Environments(maximum=2))
def waits(event, context):
    while not Path(os.environ["FOREBAY_TEST_STORE"], "go").exists():
        time.sleep(0.01)
    tell(event["Records"][0]["body"])


program = app.command_function(
    "program", command=[sys.executable, str(Path(__file__).with_name("runtime_client.py")), "well"], environments=one
)
app.on_queue("commands", batch_size=5)(program)


@app.on_stream("numbers", report_batch_item_failures=True, retry_backoff=soon)
@app.function(isolation="process", environments=one)
def takes_numbers(batch: forebay.Batch, context):
    tell([record.json() for record in batch])
    for record in batch:
        if record.json() == 2 and not Path(os.environ["FOREBAY_TEST_STORE"], "failed").exists():
            Path(os.environ["FOREBAY_TEST_STORE"], "failed").touch()
            batch.fail(record)


@app.function(isolation="process", environments=one)
def calls_itself(event, context):
    tell(event)
    calls_itself.invoke_async_sync(event + 1)


@app.function(isolation="process", environments=one)
def doubles(event, context):
    return 2 * event


@app.function(isolation="process", environments=forebay.Environments(maximum=1))
def asks_later(event, context):
    options = {"deduplication_id": "once", "delay": 0.1, "keep_result": True}
    requests = {doubles.invoke_async_sync(event, **options) for _ in range(2)}
    tell([len(requests), doubles.result_sync(requests.pop(), wait=20)])


reporting = forebay.Environments(maximum=1, report_lines=True)


@app.function(isolation="process", timeout=0.8, memory=100, environments=reporting)
def reported(event, context):
    sys.stdout.write(f"{event}\n")
    if event == "dies":
        os._exit(2)
    if event == "raises":
        raise ValueError
    if event == "hangs":
        time.sleep(60)


@app.function(isolation="process", environments=reporting, provisioned_concurrency=1)
def ready(event, context):
    pass
