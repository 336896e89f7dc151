"""AWS's durable functions, with its own SDK as it is: waits take no time here, and what was done is not done again."""

import asyncio
import importlib.metadata
import importlib.util
import re

import pytest

from forebay import App, ExecutionFailed, InvalidParameterValue, ResourceNotFound
from forebay.testing import VirtualClock

sdk = pytest.importorskip("aws_durable_execution_sdk_python")

from aws_durable_execution_sdk_python import DurableContext, StepContext, durable_execution, durable_step  # noqa: E402
from aws_durable_execution_sdk_python.config import CallbackConfig, Duration, StepConfig  # noqa: E402
from aws_durable_execution_sdk_python.retries import RetryStrategyConfig, create_retry_strategy  # noqa: E402


class Busy(Exception):
    pass


async def result_of(clock, execution, seconds=0):
    """Let time pass, and give the result."""
    result = asyncio.ensure_future(execution.result())
    await clock.advance(seconds)
    return await result


async def test_what_was_done_is_not_done_again_after_a_wait(app, clock):
    done = []

    @durable_step
    def charge(context: StepContext, total: int) -> str:
        done.append(("charge", clock.monotonic()))
        return f"paid {total}"

    @app.durable_function()
    @durable_execution
    def order(event: dict, context: DurableContext) -> dict:
        paid = context.step(charge(event["total"]))
        context.wait(Duration.from_hours(2), name="rest")
        shipped = context.step(lambda _: done.append(("ship", clock.monotonic())) or "shipped", name="ship")
        return {"paid": paid, "shipped": shipped}

    async with app:
        execution = await order.start({"total": 80}, name="one")
        await clock.settle()
        assert (await execution.describe()).status == "RUNNING"
        kinds = [(one["Type"], one["Status"]) for one in await execution.operations()]
        assert kinds == [("STEP", "SUCCEEDED"), ("WAIT", "STARTED")]
        assert await result_of(clock, execution, 7_200) == {"paid": "paid 80", "shipped": "shipped"}
    assert [name for name, _ in done] == ["charge", "ship"]
    assert round(done[1][1] - done[0][1]) == 7_200


async def test_a_step_that_fails_is_tried_again_and_its_last_error_ends_the_execution(app, clock):
    tries = []
    retry = create_retry_strategy(RetryStrategyConfig(max_attempts=3, initial_delay=Duration.from_seconds(10)))

    @app.durable_function()
    @durable_execution
    def order(event: dict, context: DurableContext) -> str:
        def charge(_: StepContext) -> str:
            tries.append(clock.monotonic())
            if len(tries) < event["works_at"]:
                raise Busy("later")
            return "paid"

        return context.step(charge, name="charge", config=StepConfig(retry_strategy=retry))

    async with app:
        assert await result_of(clock, await order.start({"works_at": 3}), 120) == "paid"
        assert len(tries) == 3
        tries.clear()
        execution = await order.start({"works_at": 9})
        with pytest.raises(ExecutionFailed, match="later"):
            await result_of(clock, execution, 120)
        assert len(tries) == 3


async def test_a_callback_is_told_fails_or_comes_too_late(app, clock):
    ids = []

    @app.durable_function()
    @durable_execution
    def approval(event: dict, context: DurableContext) -> str:
        config = CallbackConfig(timeout=Duration.from_hours(1))
        callback = context.create_callback("approval", config)
        context.step(lambda _: ids.append(callback.callback_id), name="send")
        return callback.result()

    async with app:
        told = await approval.start()
        await clock.settle()
        await app.durable_callback_heartbeat(ids[0])
        await app.durable_callback_success(ids[0], {"ok": True})
        assert await result_of(clock, told) == '{"ok":true}'
        with pytest.raises(ResourceNotFound):
            await app.durable_callback_success(ids[0], "again")
        with pytest.raises(InvalidParameterValue):
            await app.durable_callback_success("nothing", "x")
        refused = await approval.start()
        await clock.settle()
        await app.durable_callback_failure(ids[1], "Refused", "by ann")
        with pytest.raises(ExecutionFailed, match="by ann"):
            await result_of(clock, refused)
        late = await approval.start()
        with pytest.raises(ExecutionFailed):
            await result_of(clock, late, 3_601)
        assert len(ids) == 3


async def test_branches_items_and_other_functions(app, clock):
    @app.function()
    async def double(event, context):
        if event["n"] == 13:
            raise Busy("thirteen")
        return {"n": event["n"] * 2}

    @app.durable_function()
    @durable_execution
    def work(event: dict, context: DurableContext) -> dict:
        doubled = context.invoke("double", {"n": event["n"]}, name="double")
        both = context.parallel(
            [
                lambda c: c.step(lambda _: "left", name="left"),
                lambda c: (c.wait(Duration.from_seconds(60)), "right")[1],
            ]
        )
        squares = context.map(
            [1, 2, 3], lambda c, item, index, items: c.step(lambda _: item * item, name=f"square-{index}")
        )
        return {"doubled": doubled, "both": both.get_results(), "squares": squares.get_results()}

    async with app:
        output = await result_of(clock, await work.start({"n": 4}), 120)
        assert output == {"doubled": {"n": 8}, "both": ["left", "right"], "squares": [1, 4, 9]}
        with pytest.raises(ExecutionFailed, match="thirteen"):
            await result_of(clock, await work.start({"n": 13}), 120)


async def test_an_execution_goes_on_in_the_next_process(tmp_path):
    clock, done = VirtualClock(), []

    def made():
        app = App("t", store=tmp_path / "store", clock=clock)

        @app.durable_function()
        @durable_execution
        def order(event: dict, context: DurableContext) -> list:
            first = context.step(lambda _: done.append("first") or len(done), name="first")
            context.wait(Duration.from_hours(1))
            return [first, context.step(lambda _: done.append("second") or len(done), name="second")]

        return app, order

    app, order = made()
    async with app:
        await order.start({}, name="one")
        await clock.settle()
    app, order = made()
    async with app:
        assert await result_of(clock, order.execution("one"), 3_600) == [1, 2]
    assert done == ["first", "second"]


async def test_code_that_has_changed_ends_the_execution_with_a_clear_error(tmp_path):
    clock = VirtualClock()

    def made(kind):
        app = App("t", store=tmp_path / "store", clock=clock)

        @app.durable_function()
        @durable_execution
        def order(event: dict, context: DurableContext) -> str:
            if kind == "wait first":
                context.wait(Duration.from_hours(1), name="rest")
            return context.step(lambda _: "done", name="finish")

        return app, order

    app, order = made("wait first")
    async with app:
        await order.start({}, name="one")
        await clock.settle()
    app, order = made("no wait any more")
    async with app:
        with pytest.raises(ExecutionFailed, match=r"WAIT.*STEP") as failed:
            await result_of(clock, order.execution("one"), 3_600)
    assert failed.value.error == "NonDeterministic"


async def test_an_error_that_the_handler_raises_ends_the_execution_at_once(app, clock):
    runs = []

    @app.durable_function()
    @durable_execution
    def order(event: dict, context: DurableContext) -> None:
        runs.append(event)
        raise LookupError("the shelf is empty")

    async with app:
        with pytest.raises(ExecutionFailed, match="the shelf is empty") as failed:
            await result_of(clock, await order.start())
    assert (failed.value.error, len(runs)) == ("LookupError", 1)


async def test_it_stops_and_takes_too_long(app, clock):
    @app.durable_function(execution_timeout=600)
    @durable_execution
    def order(event: dict, context: DurableContext) -> None:
        context.wait(Duration.from_hours(1))

    async with app:
        stopped = await order.start()
        await clock.settle()
        await stopped.stop("Enough")
        with pytest.raises(ExecutionFailed, match="Enough"):
            await result_of(clock, stopped)
        with pytest.raises(ExecutionFailed, match=r"States\.Timeout"):
            await result_of(clock, await order.start(), 601)


async def test_the_example_that_aws_ships_with_its_sdk_runs_as_it_is(app, clock, tmp_path):
    """The package's description has it."""
    description = importlib.metadata.metadata("aws-durable-execution-sdk-python").get_payload()
    blocks = re.findall(r"^```python\n(.*?)^```", description, re.DOTALL | re.MULTILINE)
    [example] = [block for block in blocks if "@durable_execution" in block]
    (tmp_path / "example.py").write_text(example)
    spec = importlib.util.spec_from_file_location("example", tmp_path / "example.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    flow = app.durable_function()(module.handler)
    async with app:
        execution = await flow.start({"order_id": "o-7"})
        await clock.settle()
        assert (await execution.describe()).status == "RUNNING", "it waits for five seconds"
        assert await result_of(clock, execution, 5) == {"status": "approved", "order_id": "o-7"}
