"""An app with a function whose reservation is all provisioned, in processes. Never imported by name: see `conftest.py`."""

import forebay
from forebay.testing import VirtualClock

app = forebay.App("provisioned", store=":memory:", clock=VirtualClock(stall=3))


@app.function(
    isolation="process",
    reserved_concurrency=3,
    provisioned_concurrency=2,
    environments=forebay.Environments(maximum=2),
)
def kept(event, context):
    return event


@app.function(isolation="process", reserved_concurrency=1, provisioned_concurrency=1)
def all_kept(event, context):
    return event
