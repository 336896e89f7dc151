"""What `App.durable_function` takes as a handler: it refuses what AWS's SDK could not run."""

import asyncio
import functools
import json
import threading
import time
import types

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


def with_steps(event, context):
    return context.step(lambda _: len(event))


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (undecorated, "it is not under @durable_execution"),
        (lambda event, context: 1, "it is not under @durable_execution"),
        (with_steps, "it is not under @durable_execution"),
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


flows = types.SimpleNamespace(named=named)
table = {"named": named}


def by_module(event, context):
    return flows.named(event, context)


def by_import(event, context):
    from test_durable_handlers import named as imported

    return imported(event, context)


def helper(event, context):
    return named(event, context)


def by_two_levels(event, context):
    return helper(event, context)


def by_table(event, context):
    return table["named"](event, context)


def by_default(event, context, inner=named):
    return inner(event, context)


class Holder:
    @staticmethod
    def run(event, context):
        return named(event, context)


def chain(*handlers):
    def call(event, context):
        for handler in handlers:
            answer = handler(event, context)
        return answer

    return call


@pytest.mark.parametrize(
    "handler",
    [by_module, by_import, by_two_levels, by_table, by_default, Holder.run, chain(named)],
    ids=lambda one: one.__name__,
)
async def test_handlers_come_to_the_sdk_by_any_way(app, clock, handler):
    """They had run, and then were refused: only what a handler holds and names itself was looked at."""
    work = app.durable_function("work")(handler)
    async with app:
        assert await result_of(clock, await work.start({})) == 1


async def result_of(clock, execution, seconds=0):
    result = asyncio.ensure_future(execution.result())
    await clock.advance(seconds)
    return await result


runs = []
note = functools.partial(runs.append, "run")


def noting(event, context):
    note()
    return 1


def steps(event, context):
    note()
    return context.step(note)


def reading(event, context):
    note()
    return event["total"]


def unawaited(event, context):
    return coroutine(event, context)


def printing(event, context):
    note()
    return repr(event)


@pytest.mark.parametrize(
    ("handler", "cause"),
    [
        (noting, "above a plain def"),
        (printing, "above a plain def"),
        (steps, "'Context' object has no attribute 'step'"),
        (reading, "'DurableExecutionInput' object is not subscriptable"),
        (unawaited, "above a plain def"),
    ],
)
async def test_a_handler_that_does_not_come_to_the_sdk_runs_once(app, clock, handler, cause):
    """One that names something to call is declared. It ran three times, with all that it does."""
    work = app.durable_function("work")(handler)
    runs.clear()
    async with app:
        with pytest.raises(ExecutionFailed, match="under @durable_execution") as failed:
            await result_of(clock, await work.start({"total": 3}), 10)
        assert failed.value.error == "States.Runtime"
        assert cause in json.loads(failed.value.cause)["ErrorMessage"]
    assert len(runs) <= 1


class Hanging:
    """An app with a durable function whose first step takes as long as a test wants."""

    def __init__(self, store, **options):
        self.began, self.ends, self.after = threading.Event(), threading.Event(), []
        self.app = App("t", store=store)
        self.function = self.app.durable_function("hang", **options)(durable_execution(self._run))

    def _run(self, event, context):
        context.step(lambda _: self.began.set() or (self.ends.wait(30) and None), name="slow")
        context.step(lambda _: self.after.append(1), name="after")


async def test_a_run_that_goes_on_after_its_execution_is_one_line_of_the_log(tmp_path, caplog):
    """Its next checkpoint wrote sixty lines of tracebacks."""
    hanging = Hanging(tmp_path / "store", execution_timeout=1)
    async with hanging.app:
        with pytest.raises(ExecutionFailed) as failed:
            await (await hanging.function.start()).result()
        assert failed.value.status == "TIMED_OUT"
        assert hanging.began.is_set()
        hanging.ends.set()
    assert hanging.after == []
    assert [record for record in caplog.records if record.exc_info] == []
    assert len([record for record in caplog.records if record.name.startswith("aws_durable")]) <= 1


async def test_a_stop_waits_for_a_step_that_hangs_no_longer_than_its_grace(tmp_path, caplog):
    """What the step gave after that was sixty lines of tracebacks, too."""
    hanging = Hanging(tmp_path / "store")
    await hanging.app.start()
    await hanging.function.start()
    assert await asyncio.to_thread(hanging.began.wait, 30)
    begun = time.monotonic()
    await hanging.app.stop(grace=0.1)
    took = time.monotonic() - begun
    hanging.ends.set()
    assert took < 10, f"the step would have taken 30 s, and the stop took {took:.1f} s"
    for thread in threading.enumerate():
        if thread.name.startswith("dex-handler"):
            await asyncio.to_thread(thread.join, 30)
    assert hanging.after == []
    assert [record for record in caplog.records if record.exc_info] == []


async def test_what_fails_before_the_sdk_is_tried_again(app, clock):
    """What is around the handler may fail for a while, as on AWS."""
    tries = []

    def around(event, context):
        tries.append(clock.monotonic())
        if len(tries) < 3:
            raise ConnectionError("secrets")
        return named(event, context)

    work = app.durable_function("work")(around)
    async with app:
        assert await result_of(clock, await work.start({}), 10) == 1
    assert len(tries) == 3
