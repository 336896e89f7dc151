"""AWS's durable functions, with its own SDK as it is: waits take no time here, and what was done is not done again."""

import asyncio
import importlib.metadata
import importlib.util
import json
import logging
import re
import time

import pytest

from forebay import App, ExecutionFailed, InvalidParameterValue, ResourceNotFound
from forebay.testing import VirtualClock

sdk = pytest.importorskip("aws_durable_execution_sdk_python")

from aws_durable_execution_sdk_python import (  # noqa: E402
    CallbackSubmitterError,
    CallbackTimeoutError,
    DurableContext,
    StepContext,
    StepError,
    WithRetryConfig,
    complete_batch,
    continue_batch,
    durable_execution,
    durable_step,
    with_retry,
)
from aws_durable_execution_sdk_python.config import (  # noqa: E402
    CallbackConfig,
    CompletionConfig,
    Duration,
    InvokeConfig,
    MapConfig,
    ParallelConfig,
    StepConfig,
    StepSemantics,
    WaitForCallbackConfig,
)
from aws_durable_execution_sdk_python.plugin import DurableInstrumentationPlugin  # noqa: E402
from aws_durable_execution_sdk_python.retries import (  # noqa: E402
    RetryPresets,
    RetryStrategyConfig,
    create_retry_strategy,
)
from aws_durable_execution_sdk_python.serdes import SerDes  # noqa: E402
from aws_durable_execution_sdk_python.waits import WaitForConditionConfig, WaitForConditionDecision  # noqa: E402

ONCE = StepConfig(retry_strategy=create_retry_strategy(RetryStrategyConfig(max_attempts=1)))


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


async def test_a_step_that_is_done_at_most_once_an_attempt_has_as_many_attempts(app, clock):
    attempts = []
    retry = create_retry_strategy(RetryStrategyConfig(max_attempts=3, initial_delay=Duration.from_seconds(10)))
    config = StepConfig(retry_strategy=retry, step_semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY)

    @app.durable_function()
    @durable_execution
    def order(event: dict, context: DurableContext) -> None:
        def charge(step: StepContext) -> None:
            attempts.append(step.attempt)
            raise Busy("later")

        context.step(charge, name="charge", config=config)

    async with app:
        with pytest.raises(ExecutionFailed, match="later"):
            await result_of(clock, await order.start(), 120)
    assert attempts == [1, 2, 3]


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
        nothing = await approval.start()
        await clock.settle()
        await app.durable_callback_success(ids[1])
        assert await result_of(clock, nothing) is None
        refused = await approval.start()
        await clock.settle()
        await app.durable_callback_failure(ids[2], "Refused", "by ann")
        with pytest.raises(ExecutionFailed, match="by ann"):
            await result_of(clock, refused)
        late = await approval.start()
        with pytest.raises(ExecutionFailed, match="Callback timed out"):
            await result_of(clock, late, 3_601)
        assert len(ids) == 4


async def test_a_callback_lives_from_heartbeat_to_heartbeat(app, clock):
    ids = []
    config = WaitForCallbackConfig(timeout=Duration.from_hours(1), heartbeat_timeout=Duration.from_seconds(10))

    @app.durable_function()
    @durable_execution
    def approval(event: dict, context: DurableContext) -> str:
        try:
            return context.wait_for_callback(lambda callback_id, _: ids.append(callback_id), "approval", config)
        except CallbackTimeoutError as error:
            return str(error)

    async with app:
        told = await approval.start()
        await clock.settle()
        for _ in range(3):
            await clock.advance(8)
            await app.durable_callback_heartbeat(ids[0])
        await app.durable_callback_success(ids[0], "ann")
        assert await result_of(clock, told) == "ann"
        silent = await approval.start()
        await clock.advance(9)
        assert (await silent.describe()).status == "RUNNING"
        assert await result_of(clock, silent, 1) == "Callback timed out on heartbeat"


async def test_what_asks_for_a_callback_is_tried_again_and_its_error_has_a_type_of_its_own(app, clock):
    tries = []

    def ask(callback_id, _):
        tries.append(callback_id)
        raise Busy("the mail server is away")

    retry = RetryPresets.fixed(Duration.from_seconds(30))

    @app.durable_function()
    @durable_execution
    def approval(event: dict, context: DurableContext) -> str:
        try:
            return context.wait_for_callback(ask, "approval", WaitForCallbackConfig(retry_strategy=retry))
        except CallbackSubmitterError as error:
            return str(error)

    async with app:
        assert await result_of(clock, await approval.start(), 4 * 30) == "the mail server is away"
    assert len(tries) == 5
    assert len(set(tries)) == 1, "it is the same callback"


async def test_a_block_is_tried_again_as_a_whole(app, clock):
    tries = []
    retry = create_retry_strategy(RetryStrategyConfig(max_attempts=3, initial_delay=Duration.from_seconds(60)))

    def block(context: DurableContext, attempt: int) -> list:
        room = context.step(lambda _: tries.append(attempt) or f"room {attempt}", name="room", config=ONCE)
        if attempt < 3:
            raise Busy("no key")
        return [room, tries]

    @app.durable_function()
    @durable_execution
    def visit(event: dict, context: DurableContext) -> list:
        return with_retry(context, block, WithRetryConfig(retry_strategy=retry), name="visit")

    async with app:
        assert await result_of(clock, await visit.start(), 600) == ["room 3", [1, 2, 3]]


async def test_an_error_that_was_caught_is_the_same_when_the_handler_runs_again(app, clock):
    seen = []

    def charge(_: StepContext) -> None:
        raise Busy("declined")

    @app.durable_function()
    @durable_execution
    def order(event: dict, context: DurableContext) -> str:
        try:
            context.step(charge, name="charge", config=ONCE)
        except StepError as error:
            seen.append((error.error_type, error.message))
        context.wait(Duration.from_seconds(5))
        return "refused"

    async with app:
        assert await result_of(clock, await order.start(), 5) == "refused"
    assert len(seen) == 2, "once before the wait, once after it"
    assert seen[0] == seen[1]
    assert seen[0][1] == "declined"


async def test_items_and_branches_end_as_their_completion_says(app, clock):
    def item(context: DurableContext, number: int, index: int, _) -> int:
        def work(_: StepContext) -> int:
            if number % 2:
                raise Busy("odd")
            return number

        return context.step(work, name=f"item-{index}", config=ONCE)

    def ends(context: DurableContext, name: str, completion: CompletionConfig) -> list:
        config = MapConfig(max_concurrency=1, completion_config=completion)
        done = context.map([1, 2, 3, 4, 5, 6], item, name=name, config=config)
        return [done.completion_reason.value, done.get_results(), done.failure_count]

    @app.durable_function()
    @durable_execution
    def work(event: dict, context: DurableContext) -> dict:
        custom = CompletionConfig(
            should_complete=lambda status: complete_batch() if status.completed_count >= 5 else continue_batch()
        )
        first = ParallelConfig(max_concurrency=1, completion_config=CompletionConfig.first_successful())
        branches = [lambda c, n=n: item(c, n, n, None) for n in (1, 2, 4)]
        return {
            "enough": ends(context, "enough", CompletionConfig(min_successful=2, tolerated_failure_count=6)),
            "too many": ends(context, "too many", CompletionConfig(tolerated_failure_count=1)),
            "all": ends(context, "all", CompletionConfig(tolerated_failure_count=3)),
            "custom": ends(context, "custom", custom),
            "first": context.parallel(branches, name="first", config=first).get_results(),
        }

    async with app:
        assert await result_of(clock, await work.start(), 60) == {
            "enough": ["MIN_SUCCESSFUL_REACHED", [2, 4], 2],
            "too many": ["FAILURE_TOLERANCE_EXCEEDED", [2], 2],
            "all": ["ALL_COMPLETED", [2, 4, 6], 3],
            "custom": ["CUSTOM_COMPLETION_SUCCEEDED", [2, 4], 3],
            "first": [2],
        }


async def test_a_condition_is_asked_for_until_it_holds(app, clock):
    asked = []

    def check(state: int, _) -> int:
        asked.append(clock.monotonic())
        return state + 1

    def later(state: int, attempt: int) -> WaitForConditionDecision:
        if state == 4:
            return WaitForConditionDecision.stop_polling()
        return WaitForConditionDecision.continue_waiting(Duration.from_minutes(attempt))

    @app.durable_function()
    @durable_execution
    def poll(event: dict, context: DurableContext) -> int:
        config = WaitForConditionConfig(wait_strategy=later, initial_state=0)
        return context.wait_for_condition(check, config, name="ready")

    async with app:
        assert await result_of(clock, await poll.start(), 3_600) == 4
    assert [round(at - asked[0]) for at in asked] == [0, 60, 180, 360]


async def test_a_result_is_written_and_read_as_its_serdes_says(app, clock):
    class Marked(SerDes):
        def serialize(self, value, _):
            return json.dumps(sorted(value))

        def deserialize(self, data, _):
            return [*json.loads(data), "read"]

    seen = []

    @app.durable_function()
    @durable_execution
    def order(event: dict, context: DurableContext) -> list:
        seen.append(context.step(lambda _: {"b", "a"}, name="tags", config=StepConfig(serdes=Marked())))
        context.wait(Duration.from_seconds(5))
        return seen

    async with app:
        assert await result_of(clock, await order.start(), 5) == 2 * [["a", "b", "read"]]


async def test_a_large_result_of_a_child_context_is_made_again_of_its_steps(app, clock):
    runs = []

    def pages(context: DurableContext) -> str:
        runs.append("pages")
        return "".join(
            context.step(lambda _, n=n: runs.append(n) or str(n) * 100_000, name=f"page-{n}") for n in range(4)
        )

    @app.durable_function()
    @durable_execution
    def book(event: dict, context: DurableContext) -> int:
        text = context.run_in_child_context(pages, name="pages")
        context.wait(Duration.from_seconds(5))
        return len(text)

    async with app:
        execution = await book.start()
        await clock.settle()
        [of_pages] = [one for one in await execution.operations() if one["Type"] == "CONTEXT"]
        assert of_pages["ContextDetails"]["ReplayChildren"], "over 256 KiB are not written twice"
        assert await result_of(clock, execution, 5) == 400_000
    assert runs == ["pages", 0, 1, 2, 3, "pages"]


async def test_a_line_is_logged_once_however_often_the_handler_runs(app, clock, caplog):
    def branch(name: str, seconds: int):
        def run(context: DurableContext) -> None:
            context.logger.info("%s before", name)
            context.wait(Duration.from_seconds(seconds))
            context.logger.info("%s after", name)

        return run

    @app.durable_function()
    @durable_execution
    def work(event: dict, context: DurableContext) -> None:
        context.logger.info("begun")
        context.parallel([branch("a", 3), branch("b", 6)])
        context.logger.info("done")

    with caplog.at_level(logging.INFO):
        async with app:
            await result_of(clock, await work.start(), 6)
    lines = [record.getMessage() for record in caplog.records]
    logged = [line for line in lines if line in {f"{n} {when}" for n in "ab" for when in ("before", "after")}]
    assert sorted(logged) == ["a after", "a before", "b after", "b before"]
    assert [line for line in lines if line in {"begun", "done"}] == ["begun", "done"]


async def test_a_plugin_is_told_of_a_wait_that_has_ended(app, clock):
    ended = []

    class Plugin(DurableInstrumentationPlugin):
        def on_operation_end(self, info) -> None:
            ended.append((info.name, info.status.value, info.is_replayed, info.end_time is not None))

    class Factory:
        def create_plugin(self, info) -> Plugin:
            return Plugin()

    @app.durable_function()
    @durable_execution(plugins=[Factory()])
    def rest(event: dict, context: DurableContext) -> None:
        context.wait(Duration.from_seconds(5), name="rest")

    async with app:
        await result_of(clock, await rest.start(), 5)
    assert ended == [("rest", "SUCCEEDED", False, True)]


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


async def test_what_ends_while_the_handler_still_runs_is_not_missed(store):
    """One branch waits for a function, which ends before the step of another branch does. In time that passes by itself."""
    app = App("t", store=store)

    @app.function()
    async def double(event, context):
        return 2 * event["n"]

    @app.durable_function()
    @durable_execution
    def work(event: dict, context: DurableContext) -> list:
        def watch(_: StepContext) -> str:
            while "SUCCEEDED" not in [one["Status"] for one in work.execution("one").operations_sync()]:
                time.sleep(0.001)
            return "seen"

        branches = [lambda c: c.invoke("double", {"n": 4}), lambda c: c.step(watch, name="watch")]
        return context.parallel(branches).get_results()

    async with app:
        execution = await work.start({}, name="one")
        assert await asyncio.wait_for(execution.result(), 60) == [8, "seen"]


async def test_a_durable_function_that_is_called_as_a_plain_one_says_how_it_is_started(app, clock):
    @app.durable_function("inner")
    @durable_execution
    def inner(event: dict, context: DurableContext) -> str:
        return "done"

    task = {"Type": "Task", "Resource": "${inner}", "End": True}
    plain = app.workflow("plain", {"StartAt": "Call", "States": {"Call": task}})
    async with app:
        with pytest.raises(ExecutionFailed, match=r"inner is a durable function.*start\(\)"):
            await result_of(clock, await plain.start(), 60)


async def test_a_tenant_is_refused(app, clock):
    @app.function()
    async def double(event, context):
        return 2 * event["n"]

    @app.durable_function()
    @durable_execution
    def work(event: dict, context: DurableContext) -> int:
        return context.invoke("double", {"n": 4}, config=InvokeConfig(tenant_id="acme"))

    async with app:
        with pytest.raises(ExecutionFailed, match=r"tenant_id: .*'double'"):
            await result_of(clock, await work.start(), 60)


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
    """One that took too long was FAILED, so that nobody found it who looked for TIMED_OUT."""

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
        with pytest.raises(ExecutionFailed) as late:
            await result_of(clock, await order.start(), 601)
        assert late.value.status == "TIMED_OUT"


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
