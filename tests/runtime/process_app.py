"""An app whose handlers run in processes; each process imports this file. Never imported by name: see `conftest.py`."""

import asyncio
import ctypes
import gc
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path

import forebay

COLLECTS = gc.isenabled()
app = forebay.App("processes", store=os.environ["FOREBAY_TEST_STORE"])
inbox = app.stream("inbox", shards=1)
stuck_inbox = app.stream("stuck-inbox", shards=1)
outbox = app.stream("outbox", shards=1)
one = forebay.Environments(maximum=1)


def engine_socket():
    """Find the socket that the engine is at the other end of, as a handler gone wrong might."""
    for descriptor in range(3, 64):
        try:
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                return socket.socket(fileno=os.dup(descriptor)), descriptor
        except OSError:
            continue
    raise AssertionError


def leave_children_behind():
    for _ in range(64):
        if os.fork() == 0:
            time.sleep(600)
    os._exit(9)


def close_the_socket():
    ours, _ = engine_socket()
    ours.shutdown(socket.SHUT_RDWR)
    time.sleep(600)


def say(frame):
    ours, _descriptor = engine_socket()
    ours.sendall(frame)
    time.sleep(600)


def flood():
    line = b"x" * 1000 + b"\n"
    while True:
        os.write(1, line * 60)


def take_memory():
    held = []
    while True:
        held.append(b"x" * 10_000_000)
        time.sleep(0.005)


FAULTS = {
    "exit": lambda: os._exit(3),
    "exit 0": lambda: os._exit(0),
    "sys.exit": lambda: sys.exit(5),
    "segmentation fault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "abort": os.abort,
    "loop": lambda: [None for _ in iter(int, 1)],
    "blocking call": lambda: ctypes.PyDLL(None).sleep(600),  # holds the interpreter's lock
    "children": leave_children_behind,
    "closed socket": close_the_socket,
    "flood": flood,
    "memory": take_memory,
    "nonsense": lambda: say(struct.pack("<IB", 6, 3) + b"{nope"),
    "a frame too long": lambda: say(struct.pack("<IB", 2**31, 3)),
    "an unknown kind": lambda: say(struct.pack("<IB", 1, 77)),
}


def commit_fault(event):
    for record in event["Records"]:
        with Path(os.environ["FOREBAY_TEST_ATTEMPTS"]).open("a") as attempts:
            attempts.write(f"{record['kinesis']['sequenceNumber']}\n")
        FAULTS.get(record["kinesis"]["partitionKey"], lambda: None)()


soon = forebay.Backoff(base=0.01, jitter=0)


@app.on_stream("inbox", batch_size=1, maximum_retry_attempts=1, retry_backoff=soon)
@app.function(isolation="process", timeout=30, memory=256, environments=one)
def faulty(event, context):
    commit_fault(event)


@app.on_stream("stuck-inbox", batch_size=1, maximum_retry_attempts=1, retry_backoff=soon)
@app.function(isolation="process", timeout=0.7, memory=256, environments=one)
def stuck(event, context):
    commit_fault(event)


@app.function(isolation="process", environments=one)
def echo(event, context):
    return {
        "event": event,
        "pid": os.getpid(),
        "request": context.aws_request_id,
        "arn": context.invoked_function_arn,
        "memory": context.memory_limit_in_mb,
        "remaining": context.get_remaining_time_in_millis(),
    }


@app.function(isolation="process")
def collector(event, context):
    return {"at import": COLLECTS, "now": gc.isenabled(), "left alone": gc.get_freeze_count()}


@app.function(isolation="process", provisioned_concurrency=1, environments=one)
async def variables(event, context):
    await asyncio.sleep(0)
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_")}


@app.function(isolation="process", environments=one)
async def puts(event, context):
    return await outbox.put(event, partition_key="k")


@app.function(isolation="process", environments=one)
def puts_sync(event, context):
    return outbox.put_sync(event, partition_key="k")


@app.function(isolation="process", environments=one)
def raises(event, context):
    raise KeyError("missing")


@app.function(isolation="process", environments=one)
def unmarshallable(event, context):
    return {1, 2}


@app.function(isolation="process", environments=one)
def nan(event, context):
    return [0.5, float("nan")]


@app.function(isolation="process", environments=one)
def big(event, context):
    return "x" * event


@app.function(isolation="process", environments=one)
def prints(event, context):
    sys.stdout.write("to standard output\n")
    sys.stderr.write("to standard error\n")
    sys.stdout.write("paid\rforged - line\x1b[2K\n")
    sys.stdout.write("without an end")


@app.function(isolation="process", environments=forebay.Environments(maximum=1, recycle_invocations=3))
def recycled(event, context):
    return os.getpid()


@app.function(isolation="process", timeout=10, environments=forebay.Environments(maximum=3))
def slow(event, context):
    time.sleep(event)
    return os.getpid()


@app.function(isolation="process", environments=one)
def starts_a_child(event, context):
    return subprocess.Popen(["sleep", "600"]).pid
