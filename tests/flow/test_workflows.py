"""Workflows: durable executions of state machines whose tasks are the app's functions."""

import asyncio
import json
import time

import pytest

from forebay import (
    App,
    ExecutionAlreadyExists,
    ExecutionFailed,
    InvalidParameterValue,
    ResourceConflict,
    ResourceNotFound,
    TooManyRequests,
    WorkflowLimits,
)

RETRY = [{"ErrorEquals": ["Busy"], "IntervalSeconds": 10, "MaxAttempts": 2, "BackoffRate": 2}]


class Busy(Exception):
    pass


def task(resource, **fields):
    return {"Type": "Task", "Resource": resource, **fields}


def machine(**states):
    return {"StartAt": next(iter(states)), "States": states}


async def test_functions_are_the_tasks_of_a_workflow(app, clock):
    @app.function()
    async def double(event, context):
        return {"n": event["n"] * 2}

    definition = machine(
        First=task("${double}", Next="Second"),
        Second=task(
            "arn:aws:states:::lambda:invoke",
            Parameters={"FunctionName": "double", "Payload.$": "$"},
            OutputPath="$.Payload",
            End=True,
        ),
    )
    flow = app.workflow("twice", definition, substitutions={"double": double})
    async with app:
        execution = await flow.start({"n": 3})
        await clock.settle()
        assert await execution.result() == {"n": 12}
        described = await execution.describe()
        kinds = [event["type"] async for event in execution.history()]
    assert (described.status, described.input, described.output) == ("SUCCEEDED", {"n": 3}, {"n": 12})
    assert execution.arn == f"arn:aws:states:local:000000000000:execution:twice:{execution.name}"
    assert kinds == [
        "ExecutionStarted",
        "TaskStateEntered",
        "LambdaFunctionScheduled",
        "LambdaFunctionStarted",
        "LambdaFunctionSucceeded",
        "TaskStateExited",
        "TaskStateEntered",
        "TaskScheduled",
        "TaskStarted",
        "TaskSucceeded",
        "TaskStateExited",
        "ExecutionSucceeded",
    ]


async def test_a_month_passes_in_a_test_and_the_result_is_waited_for(app, clock):
    flow = app.workflow("monthly", machine(Rest={"Type": "Wait", "Seconds": 2_592_000, "End": True}))
    async with app:
        execution = await flow.start({"since": 1})
        result = asyncio.ensure_future(execution.result())
        await clock.advance(2_591_999)
        assert (await execution.describe()).status == "RUNNING"
        await clock.advance(1)
        assert await result == {"since": 1}


async def test_retry_waits_catch_compensates_and_what_is_left_is_raised(app, clock):
    tries = []

    @app.function()
    async def charge(event, context):
        tries.append(clock.monotonic())
        raise Busy("later")

    caught = machine(
        Charge=task("${charge}", Retry=RETRY, Catch=[{"ErrorEquals": ["Busy"], "Next": "Undo"}], End=True),
        Undo={"Type": "Pass", "End": True},
    )
    flow = app.workflow("saga", caught)
    failing = app.workflow("failing", machine(Charge=task("${charge}", End=True)))
    async with app:
        execution = await flow.start()
        await clock.advance(60)
        output = await execution.result()
        assert [round(at - tries[0]) for at in tries] == [0, 10, 30]
        assert output["Error"] == "Busy"
        assert json.loads(output["Cause"])["errorMessage"] == "later"
        execution = await failing.start()
        await clock.settle()
        with pytest.raises(ExecutionFailed, match="FAILED with Busy") as failed:
            await execution.result()
    assert (failed.value.status, failed.value.error) == ("FAILED", "Busy")


async def test_versions_are_kept_and_aliases_lead_to_them(clock, tmp_path):
    def made(result):
        app = App("t", store=tmp_path / "store", clock=clock)
        return app, app.workflow("w", machine(Done={"Type": "Pass", "Result": result, "End": True}))

    app, flow = made("first")
    async with app:
        assert await flow.publish_version("the first") == 1
        assert await flow.publish_version("again") == 1, "the same definition is the same version"
        await flow.set_alias("live", 1)
    app, flow = made("second")
    async with app:
        assert await (await flow.start()).result() == "second"
        execution = await flow.start(qualifier="live")
        assert (await execution.result(), (await execution.describe()).alias) == ("first", "live")
        assert await flow.publish_version() == 2
        assert await flow.versions() == {2: "", 1: "the first"}
        await flow.set_alias("live", {1: 50, 2: 50})
        assert await flow.aliases() == {"live": {1: 50, 2: 50}}
        executions = [await flow.start(qualifier="live") for _ in range(60)]
        results = [await one.result() for one in executions]
        assert 10 < results.count("first") < 50
        with pytest.raises(ResourceConflict, match="must not be referenced by an alias"):
            await flow.delete_version(1)
        with pytest.raises(InvalidParameterValue, match="add up to 100"):
            await flow.set_alias("live", {1: 50, 2: 40})
        await flow.delete_alias("live")
        await flow.delete_version(1)
        with pytest.raises(ResourceNotFound, match="State Machine Does Not Exist"):
            await flow.start(qualifier="1")
        assert await (await flow.start(qualifier="2")).result() == "second"


async def test_starts_beyond_the_bucket_are_refused_and_transitions_wait(make, clock):
    limits = WorkflowLimits(standard_starts=(3, 1), express_starts=(1, 1), transitions=(4, 2))
    app = make(workflow_limits=limits)
    flow = app.workflow("w", machine(A={"Type": "Pass", "Next": "B"}, B={"Type": "Pass", "End": True}))
    quick = app.workflow("x", machine(A={"Type": "Pass", "End": True}), "EXPRESS")
    async with app:
        executions = [await flow.start() for _ in range(3)]
        with pytest.raises(TooManyRequests, match="Rate exceeded"):
            await flow.start()
        await quick.start_sync_execution()
        with pytest.raises(TooManyRequests, match="Rate exceeded"):
            await quick.start_sync_execution()
        await clock.settle()
        statuses = [(await one.describe()).status for one in executions]
        assert statuses == ["SUCCEEDED", "SUCCEEDED", "RUNNING"], "two states each: four tokens"
        await clock.advance(2)
        assert await executions[2].result() == {}
        await flow.start()
        await app.update(workflow_limits=None)
        for _ in range(10):
            await flow.start()
        name = 'forebay_workflow_execution_throttled_total{workflow="w"}'
        [line] = [line for line in app.metrics.page().splitlines() if line.startswith(name)]
        assert float(line.split()[-1]) >= 1
    with pytest.raises(InvalidParameterValue, match="workflow_limits"):
        make(workflow_limits="aws-1999")


async def test_a_task_waits_for_its_token(app, clock):
    asked = []

    @app.function()
    async def ask(event, context):
        asked.append(event["token"])

    definition = machine(
        Ask=task(
            "arn:aws:states:::lambda:invoke.waitForTaskToken",
            Parameters={"FunctionName": "ask", "Payload": {"token.$": "$$.Task.Token"}},
            End=True,
        )
    )
    flow = app.workflow("approval", definition)
    async with app:
        execution, refused = await flow.start(name="yes"), await flow.start(name="no")
        await clock.settle()
        token = next(token for token in asked)
        await app.task_heartbeat(token)
        for one in asked:
            await app.task_success(one, {"approved": True}) if one == token else await app.task_failure(
                one, "No", "why"
            )
        await clock.settle()
        results = await asyncio.gather(execution.result(), refused.result(), return_exceptions=True)
        with pytest.raises(ResourceNotFound, match="Task Timed Out"):
            await app.task_success(token)
    assert {"approved": True} in results
    assert [one.error for one in results if isinstance(one, ExecutionFailed)] == ["No"]


async def test_services_of_the_store_are_called_in_the_commit_of_the_step(app, clock):
    queue, topic, copies, bus = app.queue("q"), app.topic("t"), app.queue("copies"), app.bus("b")
    topic.subscribe(copies, raw_message_delivery=True)
    events = []

    @app.on_event(bus, pattern={"source": ["shop"]})
    async def listener(event, context):
        events.append(event["detail"])

    parameters = {
        "Send": ("sqs:sendMessage", {"QueueUrl": "${q}", "MessageBody.$": "$"}),
        "Publish": ("sns:publish", {"TopicArn": "${t}", "Message": "news"}),
        "Put": (
            "events:putEvents",
            {"Entries": [{"Source": "shop", "DetailType": "d", "Detail": {"n.$": "$.n"}, "EventBusName": "b"}]},
        ),
    }
    branches = [
        machine(**{name: task(f"arn:aws:states:::{action}", Parameters=given, End=True)})
        for name, (action, given) in parameters.items()
    ]
    definition = machine(All={"Type": "Parallel", "Branches": branches, "End": True})
    flow = app.workflow("tell", definition, substitutions={"q": queue, "t": topic})
    async with app:
        execution = await flow.start({"n": 1})
        await clock.settle()
        sent, published, put = await execution.result()
        [message] = await queue.receive()
        [copy] = await copies.receive()
    assert message.body == '{"n":1}'
    assert (message.message_id, copy.body, events) == (sent["MessageId"], "news", [{"n": 1}])
    assert published["MessageId"]
    assert put["FailedEntryCount"] == 0


async def test_an_app_that_stops_leaves_its_executions_to_the_next(durable_app, clock):
    definition = machine(Rest={"Type": "Wait", "Seconds": 60, "Next": "Work"}, Work=task("${work}", End=True))

    def make():
        app = durable_app()

        @app.function()
        async def work(event, context):
            return "done"

        return app, app.workflow("w", definition)

    app, flow = make()
    async with app:
        await flow.start(name="one")
    app, flow = make()
    async with app:
        result = asyncio.ensure_future(flow.execution("one").result())
        await clock.advance(61)
        assert await result == "done"


async def test_a_wait_of_a_year_takes_a_moment(app, clock):
    """It took half a minute of processor time: a turn for each half minute, to look for what had expired."""
    app.queue("q")

    @app.function()
    async def work(event, context):
        return "done"

    flow = app.workflow(
        "w", machine(Rest={"Type": "Wait", "Seconds": 31_536_000, "Next": "Work"}, Work=task("${work}", End=True))
    )
    async with app:
        execution = await flow.start()
        began = time.process_time()
        await clock.advance(31_535_999)
        assert (await execution.describe()).status == "RUNNING"
        await clock.advance(1)
        assert await execution.result() == "done"
        assert time.process_time() - began < 4


async def test_names_and_what_is_wrong_are_refused_with_texts_of_aws(app, clock, tmp_path):
    file = tmp_path / "machine.json"
    file.write_text(json.dumps(machine(Rest={"Type": "Wait", "Seconds": 10, "End": True})))
    flow = app.workflow("w", file)
    assert app.workflow("w", str(file)) is flow
    with pytest.raises(ResourceConflict, match="already declared"):
        app.workflow("w", machine(Done={"Type": "Succeed"}))
    with pytest.raises(InvalidParameterValue, match='allowed are "STANDARD" and "EXPRESS"'):
        app.workflow("fast", machine(Done={"Type": "Succeed"}), type="FAST")
    with pytest.raises(InvalidParameterValue, match='only an "EXPRESS" workflow has it'):
        app.workflow("logged", machine(Done={"Type": "Succeed"}), log_level="ALL")
    with pytest.raises(InvalidParameterValue, match="a workflow's name has 1 to 80 characters"):
        app.workflow("a b", machine(Done={"Type": "Succeed"}))
    with pytest.raises(InvalidParameterValue, match="no such"):
        app.workflow("x", machine(Done={"Type": "Succeed"}), substitutions={"nothing": "1"})
    async with app:
        first = await flow.start({"n": 1}, name="one")
        assert (await flow.start({"n": 1}, name="one")).arn == first.arn
        with pytest.raises(ExecutionAlreadyExists, match="Execution Already Exists: 'arn:"):
            await flow.start({"n": 2}, name="one")
        await first.stop("Enough", "today")
        with pytest.raises(ExecutionFailed, match="ABORTED with Enough: today"):
            await first.result()
        with pytest.raises(ResourceNotFound, match="Execution Does Not Exist"):
            await flow.execution("none").describe()


async def test_a_wrong_definition_stops_the_start_of_the_app(app):
    app.workflow("good", machine(Work={"Type": "Succeed"}))
    app.workflow("w", machine(Work={"Type": "Pass"}))
    with pytest.raises(InvalidParameterValue, match=r"^workflow 'w': Invalid State Machine Definition"):
        await app.start()


async def test_an_express_workflow_runs_at_once_or_starts_by_the_hundred(app, clock):
    @app.function()
    async def double(event, context):
        if event["n"] < 0:
            raise Busy("negative")
        return {"n": event["n"] * 2}

    flow = app.workflow("quick", machine(Double=task("${double}", End=True)), "EXPRESS", log_level="ALL")
    async with app:
        first = asyncio.ensure_future(flow.start_sync_execution({"n": 3}))
        failing = asyncio.ensure_future(flow.start_sync_execution({"n": -1}))
        await clock.settle()
        assert await first == {"n": 6}
        with pytest.raises(ExecutionFailed, match="FAILED with Busy"):
            await failing
        started = await flow.start_many({"n": n} for n in range(100))
        named = await flow.start({"n": 7}, name="seven")
        again = await flow.start({"n": 7}, name="seven")
        await clock.settle()
        assert [(await one.result())["n"] for one in started] == [2 * n for n in range(100)]
        assert ((await named.describe()).status, named.arn != again.arn) == ("SUCCEEDED", True)
        kinds = [event["type"] async for event in started[0].history()]
        assert (kinds[0], kinds[-1]) == ("ExecutionStarted", "ExecutionSucceeded")
        standard = app.workflow("slow", machine(Done={"Type": "Succeed"}))
        with pytest.raises(InvalidParameterValue, match="State Machine Type Not Supported"):
            await standard.start_sync_execution()


async def test_workers_take_the_tasks_of_an_activity(app, clock):
    paint = app.activity("paint")
    flow = app.workflow("house", machine(Paint=task(paint.arn, End=True)))
    done = []

    async def work():
        async for item in paint.tasks(worker="ann"):
            done.append(item.input)
            await item.heartbeat()
            if item.input == "black":
                await item.failure("Ugly", "no")
            else:
                await item.success(f"{item.input}!")

    async with app:
        worker = asyncio.ensure_future(work())
        good, bad = await flow.start("white"), await flow.start("black")
        await clock.settle()
        assert await good.result() == "white!"
        with pytest.raises(ExecutionFailed, match="FAILED with Ugly: no"):
            await bad.result()
        assert done == ["white", "black"]
        worker.cancel()
        assert await paint.get_task(wait=0) is None


async def test_a_failed_execution_is_redriven_and_a_workflow_deleted(app, clock):
    tries = []

    @app.function()
    async def charge(event, context):
        tries.append(event)
        if len(tries) == 1:
            raise Busy("later")
        return "paid"

    flow = app.workflow("pay", machine(Charge=task("${charge}", End=True)))
    async with app:
        execution = await flow.start({"n": 1})
        await clock.settle()
        with pytest.raises(ExecutionFailed):
            await execution.result()
        await execution.redrive()
        with pytest.raises(ResourceConflict, match="is running"):
            await execution.redrive()
        await clock.settle()
        assert (await execution.result(), (await execution.describe()).redrive_count) == ("paid", 1)
        await flow.delete_state_machine()
        with pytest.raises(ResourceNotFound, match="State Machine Does Not Exist"):
            await flow.start()


async def test_a_stopped_execution_stops_its_function(app, clock):
    stopped = []

    @app.function()
    async def sleep(event, context):
        try:
            await clock.sleep(2)
        except asyncio.CancelledError:
            stopped.append(event)
            raise

    flow = app.workflow("long", machine(Sleep=task("${sleep}", End=True)))
    async with app:
        execution = await flow.start({"n": 1})
        await clock.settle()
        await execution.stop()
        await clock.settle()
        assert stopped == [{"n": 1}]


async def test_a_number_that_no_text_has_ends_its_execution_and_nothing_else(tmp_path):
    """`$substring` of 1e30 characters panicked in the engine's thread: nothing went on, and no restart got through its start."""
    expressions = {
        "substring": "$substring($states.input.code, 1, $states.input.n)",
        "parsed": "$parseInteger($states.input.long, 'A')",
        "moment": "$fromMillis($states.input.n, '[Y]', '+0100')",
    }

    def made():
        app = App("t", store=tmp_path / "store")
        wait = {"Type": "Wait", "Seconds": 1, "Next": "Last"}
        flows = [app.workflow("other", machine(Done={"Type": "Pass", "End": True}))]
        for name, text in expressions.items():
            definition = machine(Wait=wait, Last={"Type": "Pass", "Output": f"{{% {text} %}}", "End": True})
            flows.append(app.workflow(name, definition | {"QueryLanguage": "JSONata"}))
        return app, flows

    app, (other, *flows) = made()
    async with app:
        asked = {"code": "ABC", "n": 1e30, "long": "ABCDEFGHIJKLMNOPQRST"}
        executions = [await flow.start(asked, name="e") for flow in flows]
        for execution in executions:
            with pytest.raises(ExecutionFailed, match=r"FAILED with States\.QueryEvaluationError"):
                await asyncio.wait_for(execution.result(), 20)
        assert await asyncio.wait_for((await other.start(1)).result(), 20) == 1
        executions = [await flow.start(asked, name="open") for flow in flows]
    app, (other, *flows) = made()
    async with app:
        executions = [flow.execution("open") for flow in flows]
        ended = await asyncio.wait_for(
            asyncio.gather(*(one.result() for one in executions), return_exceptions=True), 20
        )
        assert [type(end) for end in ended] == [ExecutionFailed] * 3
        assert await asyncio.wait_for((await other.start(1)).result(), 20) == 1
