"""An app on a virtual clock whose handlers run in processes. Never imported by name: see `conftest.py`."""

import os
import time
from pathlib import Path

import forebay
from forebay.testing import VirtualClock

clock = VirtualClock(stall=3)
app = forebay.App("clocked", store=":memory:", clock=clock)
numbers = app.stream("numbers", shards=1)
letters = app.queue("letters", visibility_timeout=30)
one = forebay.Environments(maximum=1, idle_timeout=60)


def tell(what):
    with Path(os.environ["FOREBAY_TEST_ATTEMPTS"]).open("a") as told:
        told.write(f"{what}\n")


@app.on_stream("numbers", batch_size=1, retry_backoff=forebay.Backoff(base=10, cap=10, jitter=0))
@app.function(isolation="process", environments=one)
def takes_numbers(batch: forebay.Batch, context):
    time.sleep(0.05)
    number = batch[0].json()
    tell(number)
    if number == 2 and not Path(os.environ["FOREBAY_TEST_STORE"]).exists():
        Path(os.environ["FOREBAY_TEST_STORE"]).touch()
        raise ValueError("once")


@app.on_queue("letters", batch_size=1)
@app.function(environments=one)
def takes_letters(event, context):
    tell(event["Records"][0]["body"])


@app.function(isolation="process", timeout=3, environments=one)
def echo(event, context):
    return [event, os.getpid(), context.get_remaining_time_in_millis()]


@app.function(isolation="process", timeout=3, environments=one)
def hangs(event, context):
    time.sleep(600)


@app.function(isolation="process", environments=one)
def dies(event, context):
    tell("died")
    os._exit(1)
