"""A Lambda that was moved over unchanged: what an invocation works on stands at the top of the module, as Powertools has it."""

import logging
import os
import time

import forebay

app = forebay.App("moved", store=os.environ["FOREBAY_TEST_STORE"], region="eu-central-1")
batch = {}


def process(event, context):
    """Do as a batch processor that is made once: begin a batch, take some time, give what failed in it."""
    batch["request"] = context.aws_request_id
    time.sleep(0.01)
    return {"mine": batch["request"] == context.aws_request_id, "pid": os.getpid()}


@app.function(timeout=30)
def moved(event, context):
    return process(event, context)


@app.function(timeout=30, isolation="thread")
def in_threads(event, context):
    return process(event, context)


@app.function()
def variables(event, context):
    return dict(os.environ)


@app.function()
async def variables_of_a_task(event, context):
    return dict(os.environ)


@app.function()
def logs(event, context):
    root = logging.getLogger()
    return {"root": root.level, "deep": logging.getLogger("shop.deep").level, "handlers": len(root.handlers)}
