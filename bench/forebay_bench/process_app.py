"""An app whose handlers run in processes. It imports nothing else, so that its cold start is an app's and not the bench's."""

from __future__ import annotations

from typing import Any

import forebay

# At the top of the module, since every process imports its handler by name. In memory: the disk is measured elsewhere.
app = forebay.App("bench-environments", store=":memory:")
two = forebay.Environments(maximum=2)
once = forebay.Environments(maximum=2, recycle_invocations=1)
thrice = forebay.Environments(maximum=2, recycle_invocations=3)
lanes = app.stream("lanes", shards=4)
turns = app.stream("turns", shards=4)


@app.on_stream("lanes", batch_size=1, parallelization_factor=4, enabled=False)
@app.function(isolation="process", provisioned_concurrency=2, environments=two)
def warm(batch: forebay.Batch, context: forebay.Context) -> None:
    """Look at one record and do nothing."""
    for record in batch:
        len(record.data)


@app.on_stream("turns", batch_size=1, parallelization_factor=4, enabled=False)
@app.function(isolation="process", provisioned_concurrency=2, environments=two)
def busy(batch: forebay.Batch, context: forebay.Context) -> None:
    """Keep a processor busy for about a millisecond."""
    spin()


@app.function(isolation="process", environments=once)
def cold(event: Any, context: forebay.Context) -> Any:
    """Give the event back, in a process that starts when it is needed."""
    return event


@app.function(isolation="process", provisioned_concurrency=1, environments=thrice)
def provisioned(event: Any, context: forebay.Context) -> Any:
    """Give the event back, in a process that was started before. Its third invocation makes way for a new process."""
    return event


@app.function(isolation="process", provisioned_concurrency=2, environments=two)
def in_a_process(event: Any, context: forebay.Context) -> Any:
    """Give the event back, as a handler that was moved over from Lambda."""
    return event


@app.function(isolation="thread")
def in_a_thread(event: Any, context: forebay.Context) -> Any:
    """Do the same in a thread."""
    return event


@app.function()
async def in_a_task(event: Any, context: forebay.Context) -> Any:
    """Do the same on the event loop."""
    return event


def spin(rounds: int = 20_000) -> int:
    """Count in pure Python: about a millisecond."""
    total = 0
    for number in range(rounds):
        total += number
    return total


def spin_for(count: int) -> None:
    """Do what `busy` does, without forebay."""
    for _ in range(count):
        spin()
