"""An app whose handlers run in processes that trace, too. Each process imports this file."""

import os

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

import forebay

if os.environ.get("FOREBAY_ENVIRONMENT"):
    trace.set_tracer_provider(TracerProvider())

app = forebay.App("traced-processes", store=os.environ["FOREBAY_TEST_STORE"])
orders = app.stream("orders", shards=1)
told = app.queue("told")
one = forebay.Environments(maximum=1)


@app.function(isolation="process", environments=one, timeout=30)
def ids(event, context):
    span = trace.get_current_span()
    return {"trace_id": f"{span.get_span_context().trace_id:032x}", "parent": f"{span.parent.span_id:016x}"}


@app.on_stream("orders")
@app.function(isolation="process", environments=one, timeout=30)
def ship(batch: forebay.Batch, context):
    [record] = batch
    parent = f"{trace.get_current_span().parent.span_id:016x}"
    told.send_sync({"record": record.trace_context["traceparent"].split("-")[2], "parent": parent})
