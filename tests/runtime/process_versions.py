"""An app whose versions run in processes; each process imports this file. Never imported by name: see `conftest.py`."""

import os
import time

import forebay

app = forebay.App("versions", store=":memory:")


def shown(name, context):
    given = {key: value for key, value in os.environ.items() if key.startswith("AWS_LAMBDA_")}
    return {
        "handler": name,
        "pid": os.getpid(),
        "version": context.function_version,
        "arn": context.invoked_function_arn,
        "memory": context.memory_limit_in_mb,
        "log_stream": context.log_stream_name,
        "variables": given,
    }


@app.function(isolation="process", timeout=10)
def price(event, context):
    return shown("latest", context)


def old_price(event, context):
    return shown("old", context)


def slow_price(event, context):
    time.sleep(60)


old = price.publish_version(old_price, memory=64, provisioned_concurrency=1)
slow = price.publish_version(slow_price, timeout=0.5)
live = app.alias("live", price, old)
