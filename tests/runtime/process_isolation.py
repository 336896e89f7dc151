"""A Lambda that was moved over unchanged: what an invocation works on stands at the top of the module, as Powertools has it."""

import asyncio
import functools
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


class Bridge:
    """As Mangum: an object at the top of a module."""

    def __init__(self, argument=None):
        self.argument = argument

    def __call__(self, event, context):
        return {"pid": os.getpid(), "handler": os.environ["_HANDLER"], "argument": self.argument}


def with_an_argument(argument, event, context):
    return {"argument": argument}


bridged = app.function("bridged", timeout=30)(Bridge())
partial = app.function("partial", timeout=30)(functools.partial(with_an_argument, 7))


def nameless():
    exec("app.function('nameless')(Bridge())", globals())  # noqa: S102  as at the top of this module


@app.function(timeout=30)
def stops(event, context):
    try:
        asyncio.get_event_loop().run_until_complete(app.stop())
    except forebay.ForebayError as error:
        return str(error)


@app.function(timeout=30, isolation="process")
async def stops_in_a_task(event, context):
    try:
        await app.stop()
    except forebay.ForebayError as error:
        return str(error)


@app.function(timeout=30)
def warns(event, context):
    logging.getLogger("shop").warning("what is the time")
    return {"time": time.time(), "hour": time.localtime().tm_hour}
