"""An app with a handler in a process; the process imports this file."""

import os

import forebay

app = forebay.App("measured", store=os.environ["FOREBAY_TEST_STORE"])


@app.function(isolation="process", timeout=30, environments=forebay.Environments(maximum=1))
def work(event, context):
    if event == "bad":
        raise ValueError("a bad one")
    return event
