"""What `App.durable_function` takes as a handler: it refuses what AWS's SDK could not run."""

import functools
import time

import pytest

from forebay import App, ExecutionFailed, InvalidParameterValue

pytest.importorskip("aws_durable_execution_sdk_python")

from aws_durable_execution_sdk_python import durable_execution


@durable_execution
def named(event, context):
    return 1


async def coroutine(event, context):
    return 1


def undecorated(event, context):
    return {"answer": str(context)}


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (undecorated, "it is not under @durable_execution"),
        (lambda event, context: 1, "it is not under @durable_execution"),
        (coroutine, "AWS's SDK runs no async def"),
        (durable_execution(coroutine), "AWS's SDK runs no async def"),
        (5, "above a plain def"),
    ],
)
def test_what_the_sdk_cannot_run_is_refused(app, handler, reason):
    """It was accepted, and each execution failed after three runs of the handler, with all that it does."""
    with pytest.raises(InvalidParameterValue, match=reason):
        app.durable_function("work")(handler)
    assert app.durable_function("work")(named).name == "work"


def test_parentheses_are_asked_for(app):
    """The handler was taken as a name, and nothing was declared."""
    with pytest.raises(InvalidParameterValue, match="with its parentheses"):
        app.durable_function(named)


def test_the_decorators_are_in_their_order(app):
    with pytest.raises(InvalidParameterValue, match="above @durable_execution"):

        @durable_execution
        @app.durable_function()
        def work(event, context):
            return 1


def plain(handler):
    def call(event, context):
        return handler(event, context)

    return call


def wrapping(handler):
    @functools.wraps(handler)
    def call(*given):
        return handler(*given)

    return call


class Called:
    def __call__(self, event, context):
        return named(event, context)


@pytest.mark.parametrize(
    "handler",
    [
        named,
        plain(named),
        wrapping(named),
        durable_execution(plain(undecorated)),
        durable_execution()(undecorated),
        functools.partial(named),
        lambda event, context: named({**event}, context),
        plain(Called()),
    ],
)
def test_other_decorators_may_be_between(app, handler):
    assert app.durable_function("work")(handler).name == "work"


async def test_one_that_times_out_again_and_again_is_told_which_option_to_change(caplog):
    """It was told of `@app.function(timeout=…)`, which does not declare it."""
    app = App("t", store=":memory:")

    @app.durable_function(timeout=0.05)
    @durable_execution
    def slow(event, context):
        time.sleep(0.2)

    async with app:
        execution = await slow.start()
        with pytest.raises(ExecutionFailed):
            await execution.result()
    told = [record.getMessage() for record in caplog.records if "timed out after" in record.getMessage()]
    assert "give it @app.durable_function(timeout=…), in seconds" in told[-1]
