"""An app whose processes send nonsense without end once the engine has hung up. Never imported by name: see `conftest.py`."""

import contextlib
import os
import select

import forebay

app = forebay.App("flooding", store=":memory:")


def has_hung_up(descriptor):
    poll = select.poll()
    poll.register(descriptor, select.POLLRDHUP)
    return any(events & select.POLLRDHUP for _, events in poll.poll(0))


class Floods(contextlib.AbstractAsyncContextManager):
    """Closes by writing to the engine what is not a frame."""

    async def __aexit__(self, *_):
        if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
            [engine, *_] = filter(has_hung_up, range(3, 64))
            while True:
                os.write(engine, b"\xff" * 65_536)


app.attach(Floods())


@app.function(isolation="process", timeout=5)
def floods(event, context):
    return event
