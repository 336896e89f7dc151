"""Durable functions that invoke other durable functions, with AWS's own SDK as it is."""

import asyncio
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from forebay import App, ExecutionFailed
from forebay.testing import VirtualClock

sdk = pytest.importorskip("aws_durable_execution_sdk_python")

from aws_durable_execution_sdk_python import DurableContext, InvokeError, durable_execution  # noqa: E402
from aws_durable_execution_sdk_python.config import CompletionConfig, Duration, ParallelConfig  # noqa: E402

GOLDEN = Path(__file__).parents[1] / "golden"


async def result_of(clock, execution, seconds=0):
    """Let time pass, and give the result."""
    result = asyncio.ensure_future(execution.result())
    await clock.advance(seconds)
    return await result


async def executions(app, name):
    """Give the executions of a durable function, the oldest first."""
    page = await app._caller.ask("execution.list", workflow=name, limit=100)
    return page["executions"][::-1]


def outer_of(app):
    """Declare a function that invokes another one, and gives its result or its error."""

    @app.durable_function("outer")
    @durable_execution
    def outer(event: dict, context: DurableContext):
        try:
            return context.invoke("inner", event, name="ask")
        except InvokeError as error:
            return [error.error_type, error.message]

    return outer


async def test_one_waits_for_another_that_begins_once(app, clock):
    runs = []

    @app.durable_function("inner")
    @durable_execution
    def inner(event: dict, context: DurableContext) -> dict:
        rate = context.step(lambda _: runs.append("rate") or 2, name="rate")
        context.wait(Duration.from_hours(2))
        return {"total": rate * event["n"]}

    @app.durable_function("outer")
    @durable_execution
    def outer(event: dict, context: DurableContext) -> list:
        runs.append("outer")
        first = context.invoke("inner", {"n": 4}, name="first")
        second = context.invoke("inner:$LATEST", first | {"n": 5}, name="second")
        return [first, second]

    async with app:
        execution = await outer.start(name="one")
        await clock.advance(3_600)
        kinds = [(one["Type"], one["Name"], one["Status"]) for one in await execution.operations()]
        assert kinds == [("CHAINED_INVOKE", "first", "STARTED")]
        [waits] = await executions(app, "inner")
        assert waits["status"] == "RUNNING"
        assert await result_of(clock, execution, 3 * 3_600) == [{"total": 8}, {"total": 10}]
        ended = await executions(app, "inner")
        assert [one["status"] for one in ended] == ["SUCCEEDED", "SUCCEEDED"]
        assert [one["stopped_ms"] - one["started_ms"] for one in ended] == [7_200_000, 7_200_000]
    assert runs == ["outer", "rate", "outer", "rate", "outer"]


async def test_its_error_is_the_one_that_the_other_raised_also_when_it_is_replayed(app, clock):
    seen = []

    @app.durable_function("inner")
    @durable_execution
    def inner(event: dict, context: DurableContext) -> None:
        raise LookupError("the shelf is empty")

    @app.durable_function("outer")
    @durable_execution
    def outer(event: dict, context: DurableContext) -> str:
        try:
            context.invoke("inner", {})
        except InvokeError as error:
            seen.append((error.error_type, error.message, bool(error.stack_trace)))
        context.wait(Duration.from_seconds(5))
        return context.invoke("inner", {})

    async with app:
        with pytest.raises(ExecutionFailed, match="the shelf is empty") as failed:
            await result_of(clock, await outer.start(), 5)
    assert failed.value.error.endswith("InvokeError")
    assert len(set(seen)) == 1
    assert seen[0] == ("LookupError", "the shelf is empty", seen[0][2])


async def test_one_that_takes_too_long_has_aws_s_error(app, clock):
    @app.durable_function("inner", execution_timeout=600)
    @durable_execution
    def inner(event: dict, context: DurableContext) -> None:
        context.wait(Duration.from_hours(1))

    outer = outer_of(app)
    async with app:
        execution = await outer.start()
        told = await result_of(clock, execution, 600)
        assert told == ["ChainedInvoke.Timeout", "CHAINED_INVOKE timed out after 600 seconds."]


@pytest.mark.parametrize(
    ("why", "told"),
    [
        (("Enough", "by ann"), ["Enough", "by ann"]),
        # The type is the SDK's.
        ((), ["aws_durable_execution_sdk_python.exceptions.InvokeError", "Execution stopped by user request"]),
    ],
)
async def test_one_that_is_stopped_tells_why(app, clock, why, told):
    @app.durable_function("inner")
    @durable_execution
    def inner(event: dict, context: DurableContext) -> None:
        context.wait(Duration.from_hours(1))

    @app.durable_function("outer")
    @durable_execution
    def outer(event: dict, context: DurableContext):
        try:
            context.invoke("inner", event)
        except InvokeError as error:
            context.wait(Duration.from_hours(1))
            return [error.error_type, error.message]

    async with app:
        execution = await outer.start()
        await clock.settle()
        [waits] = await executions(app, "inner")
        await inner.execution(waits["name"]).stop(*why)
        await clock.settle()
        [invoked, _] = await execution.operations()
        assert invoked["Status"] == "STOPPED"
        assert await result_of(clock, execution, 3_600) == told


async def test_who_is_stopped_or_too_late_stops_what_it_invoked_down_to_the_last(app, clock):
    @app.durable_function("last")
    @durable_execution
    def last(event: dict, context: DurableContext) -> None:
        context.wait(Duration.from_hours(10))

    @app.durable_function("inner")
    @durable_execution
    def inner(event: dict, context: DurableContext) -> None:
        context.invoke("last", {})

    @app.durable_function("outer", execution_timeout=600)
    @durable_execution
    def outer(event: dict, context: DurableContext) -> None:
        context.invoke("inner", {})

    async with app:
        stopped = await outer.start()
        await clock.settle()
        await stopped.stop()
        late = await outer.start()
        await clock.advance(600)
        assert (await late.describe()).status == "TIMED_OUT"
        for name in ("inner", "last"):
            assert [one["status"] for one in await executions(app, name)] == ["ABORTED", "ABORTED"]


async def test_who_ends_by_itself_leaves_what_it_invoked(app, clock):
    @app.durable_function("inner")
    @durable_execution
    def inner(event: dict, context: DurableContext) -> str:
        context.wait(Duration.from_hours(1))
        return "done"

    @app.durable_function("outer")
    @durable_execution
    def outer(event: dict, context: DurableContext) -> list:
        config = ParallelConfig(completion_config=CompletionConfig.first_successful())
        branches = [lambda c: c.invoke("inner", {}), lambda c: c.step(lambda _: "quick", name="quick")]
        return context.parallel(branches, config=config).get_results()

    async with app:
        assert await result_of(clock, await outer.start(), 1) == ["quick"]
        [goes_on] = await executions(app, "inner")
        assert goes_on["status"] == "RUNNING"
        assert await result_of(clock, inner.execution(goes_on["name"]), 3_600) == "done"


async def test_what_cannot_be_invoked_fails_in_the_handler_s_own_run(app, clock):
    runs = []

    @app.durable_function("inner")
    @durable_execution
    def inner(event: dict, context: DurableContext) -> None: ...

    @app.durable_function("outer")
    @durable_execution
    def outer(event: dict, context: DurableContext) -> list:
        runs.append(event)
        told = []
        for name, given in (("inner:7", {}), ("inner", "x" * 300_000), ("nobody", {})):
            try:
                told.append(context.invoke(name, given))
            except InvokeError as error:
                told.append([error.error_type, error.message])
        return told

    async with app:
        [no_version, too_large, nobody] = await result_of(clock, await outer.start(), 1)
        assert no_version[0] == "ResourceNotFoundException"
        assert no_version[1].startswith("Function not found: arn:aws:lambda:")
        assert no_version[1].endswith(":function:inner:7")
        text = "CHAINED_INVOKE input payload size must be less than or equal to 262144 bytes."
        assert too_large == ["InvalidParameterValueException", text]
        assert nobody == ["ResourceNotFoundException", 'there is no function "nobody": declared are inner, outer']
        assert await executions(app, "inner") == []
    assert len(runs) == 1, "nothing is waited for"


async def test_a_function_that_invokes_itself_comes_to_an_end(app, clock):
    @app.durable_function("again")
    @durable_execution
    def again(event: dict, context: DurableContext):
        try:
            return context.invoke("again", {"depth": event["depth"] + 1})
        except InvokeError as error:
            return [event["depth"], error.error_type]

    async with app:
        told = await result_of(clock, await again.start({"depth": 0}), 1)
        assert told == [16, "RecursiveInvocationException"]


async def test_a_function_that_was_durable_in_the_release_before_is_called_as_a_plain_one(tmp_path):
    clock = VirtualClock()
    app = App("t", store=tmp_path / "store", clock=clock)
    outer_of(app)

    @app.durable_function("inner")
    @durable_execution
    def inner(event: dict, context: DurableContext) -> dict:
        return {"durable": event}

    async with app:
        assert await result_of(clock, await app._declared.workflows["outer"].start(1), 1) == {"durable": 1}
    app = App("t", store=tmp_path / "store", clock=clock)
    outer = outer_of(app)

    @app.function("inner")
    async def plain(event, context):
        return {"plain": event}

    async with app:
        assert await result_of(clock, await outer.start(2), 1) == {"plain": 2}


PROGRAM = """
    import asyncio, os, signal, sys
    from pathlib import Path

    import forebay
    from aws_durable_execution_sdk_python import DurableContext, durable_execution
    from aws_durable_execution_sdk_python.config import Duration

    store, notes = sys.argv[1:]
    app = forebay.App("t", store=store)


    def die_once(where):
        \"\"\"Kill the process, the first time that it comes here.\"\"\"
        with open(notes, "a") as file:
            file.write(where + "\\n")
        if Path(notes).read_text().split().count(where) == 1:
            os.kill(os.getpid(), signal.SIGKILL)


    @app.durable_function()
    @durable_execution
    def inner(event: dict, context: DurableContext) -> int:
        die_once("inner-begins")
        rate = context.step(lambda _: die_once("inner-step") or 7, name="rate")
        context.wait(Duration.from_seconds(1))
        die_once("inner-ends")
        return rate * event["n"]


    @app.durable_function()
    @durable_execution
    def outer(event: dict, context: DurableContext) -> int:
        result = context.invoke("inner", {"n": 6}, name="ask")
        die_once("outer-was-told")
        return result


    async def main():
        async with app:
            execution = await outer.start({}, name="one")
            print(await execution.result())
            page = await app._caller.ask("execution.list", workflow="inner", limit=10)
            print(*(one["status"] for one in page["executions"]))


    asyncio.run(main())
"""


def test_a_process_that_is_killed_again_and_again_ends_both_once(tmp_path):
    program, notes = tmp_path / "program.py", tmp_path / "notes"
    program.write_text(textwrap.dedent(PROGRAM))
    ends = []
    for _ in range(5):
        ran = subprocess.run(
            [sys.executable, str(program), str(tmp_path / "store"), str(notes)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        ends.append(ran.returncode)
    assert ends == 4 * [-signal.SIGKILL] + [0], ran.stderr
    assert ran.stdout.split() == ["42", "SUCCEEDED"]


# --- over releases


def left(tmp_path, name):
    """Give the app that a golden file is of, and its clock."""
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(GOLDEN / name, data / "forebay.db")
    clock = VirtualClock(start=1_796_400_000)
    return App("shop", store=data, clock=clock), clock


async def test_what_a_function_of_the_release_before_waited_for_goes_on(tmp_path):
    """The golden file is what app "shop" left when it was killed, before durable functions could be invoked.

    One had done a step, and waited for another function, a callback and an hour.
    """
    app, clock = left(tmp_path, "app-v4-durable.db")

    @app.function(timeout=900)
    async def charge(event, context):
        return event["total"] + 1

    @app.durable_function()
    @durable_execution
    def order(event: dict, context: DurableContext) -> list:
        total = context.step(lambda _: "it is done again", name="total")
        branches = [
            lambda c: c.invoke("charge", {"total": total}, name="charge"),
            lambda c: c.create_callback("approval").result(),
            lambda c: (c.wait(Duration.from_hours(1), name="rest"), "rested")[1],
        ]
        return [event["id"], total, *context.parallel(branches, name="all").get_results()]

    async with app:
        await clock.settle()
        one = order.execution("one")
        [callback] = [op for op in await one.operations() if op["Type"] == "CALLBACK"]
        await app.durable_callback_success(callback["CallbackDetails"]["CallbackId"], "ann")
        assert await result_of(clock, one, 3_600) == [7, 80, 81, "ann", "rested"]


async def test_a_function_that_waits_for_another_goes_on_in_the_releases_after_this_one(tmp_path):
    """The golden file is what app "shop" left when it was killed, when durable functions could first be invoked."""
    app, clock = left(tmp_path, "app-v4-nested.db")

    @app.durable_function()
    @durable_execution
    def inner(event: dict, context: DurableContext) -> int:
        rate = context.step(lambda _: "it is done again", name="rate")
        context.wait(Duration.from_hours(1), name="rest")
        return rate * event["n"]

    @app.durable_function()
    @durable_execution
    def outer(event: dict, context: DurableContext) -> int:
        return context.invoke("inner", {"n": 6}, name="ask")

    async with app:
        assert await result_of(clock, outer.execution("one"), 3_600) == 42
        [only] = await executions(app, "inner")
        assert only["status"] == "SUCCEEDED"
