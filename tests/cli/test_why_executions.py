"""`forebay why` of an execution: what it waits for, and until when."""

import asyncio
import json
import re
import threading

import pytest
from cli_commands import forebay

from forebay import App, ExecutionFailed
from forebay.cli.why_execution import tell_execution

CALLBACK = "arn:aws:states:::sqs:sendMessage.waitForTaskToken"


def of(state):
    return {"StartAt": "A", "States": {"A": {**state, "End": True}}}


@pytest.fixture
def told(tmp_path):
    """Start executions of the app that a test declares, wait until they stand, and tell what `why` says of one of them."""

    def tell(declare, *, until, name="one", **commands):
        async def make():
            app = App("shop", store=tmp_path / "data")
            flow = declare(app)
            async with app:
                execution = await flow.start([1, 2] if commands.get("items") else {}, name="one")
                for _ in range(1_000):
                    if until in [event["type"] async for event in execution.history()]:
                        break
                    await asyncio.sleep(0.01)
                for take in commands.get("then", ()):
                    await take(app)

        asyncio.run(make())
        return forebay(tmp_path, "why", name).stdout

    return tell


def test_a_task_that_waits_for_its_token_says_so(told):
    """It "waits for its end of sqs:sendMessage.waitForTaskToken"."""

    def declare(app):
        app.queue("q")
        token = {"QueueUrl": "q", "MessageBody.$": "$$.Task.Token"}
        return app.workflow("w", of({"Type": "Task", "Resource": CALLBACK, "Parameters": token}))

    text = told(declare, until="TaskSubmitted")
    assert "state A waits for its token (sqs:sendMessage.waitForTaskToken), since " in text
    assert "no app runs: nothing goes on until one does" in text


def test_the_worker_of_an_activity_is_named(told):
    """Nothing said whether a worker had taken the task, although the history has its name."""

    async def take(app):
        await app.activity("paint").get_task("ann", wait=5)

    def declare(app):
        return app.workflow("w", of({"Type": "Task", "Resource": app.activity("paint").arn}))

    assert "of activity paint: no worker has taken it, since" in told(declare, until="ActivityScheduled")


def test_the_worker_that_has_taken_a_task_is_named(told):
    async def take(app):
        await app.activity("paint").get_task("ann", wait=5)

    def declare(app):
        return app.workflow("w", of({"Type": "Task", "Resource": app.activity("paint").arn}))

    text = told(declare, until="ActivityScheduled", then=[take])
    assert "state A waits for an answer of activity paint: worker ann has taken it, since" in text


def test_a_retry_and_a_long_cause_are_told(told):
    """The state was told alone, and the cause was cut in the middle of a word."""

    def declare(app):
        @app.function()
        async def fail(event, context):
            raise ValueError("no" * 200)

        retry = [{"ErrorEquals": ["ValueError"], "IntervalSeconds": 600}]
        return app.workflow("w", of({"Type": "Task", "Resource": "${fail}", "Retry": retry}))

    text = told(declare, until="LambdaFunctionFailed")
    assert "now: state A waits for its retry 1" in text
    assert "nonono…" in text


TIMES = {"beat": {"HeartbeatSeconds": 1, "TimeoutSeconds": 60}, "whole": {"TimeoutSeconds": 1}}


async def all_fail(flows):
    for flow in flows:
        with pytest.raises(ExecutionFailed):
            await flow.execution(flow.name).result()


def told_by_times(tmp_path):
    """Look at what is told of the executions of `TIMES`."""
    assert "no heartbeat came for 1 s" in forebay(tmp_path, "why", "beat").stdout
    assert "it took longer than its 1 s" in forebay(tmp_path, "why", "whole").stdout


def test_a_task_that_was_late_says_for_which_of_its_times(tmp_path):
    """A heartbeat that did not come was "no cause", as a timeout was. Both begin when a worker takes the task."""

    async def make():
        app = App("shop", store=tmp_path / "data")
        paint = app.activity("paint")
        flows = [
            app.workflow(name, of({"Type": "Task", "Resource": paint.arn, **of_it})) for name, of_it in TIMES.items()
        ]
        async with app:
            for flow in flows:
                await flow.start(name=flow.name)
            await asyncio.sleep(3)
            for flow in flows:
                assert (await flow.execution(flow.name).describe()).status == "RUNNING"
                assert await paint.get_task("ann", wait=5) is not None
            await all_fail(flows)

    asyncio.run(make())
    told_by_times(tmp_path)


def test_an_express_execution_without_events_says_why(tmp_path):
    """`history` said "(none)", as if nothing had happened."""

    async def make():
        app = App("shop", store=tmp_path / "data")
        flow = app.workflow("w", of({"Type": "Wait", "Seconds": 60}), type="EXPRESS")
        async with app:
            await flow.start(name="one")
            history, described = ["history", "w", "one"], ["describe", "w"]
            return [
                (await asyncio.to_thread(forebay, tmp_path, "workflow", *asked)).stdout
                for asked in (history, described)
            ]

    history, described = asyncio.run(make())
    assert 'workflow w has log_level=OFF, which keeps no events: "ALL" keeps all' in history
    assert "type: EXPRESS" in described


def test_a_wait_says_until_when(told):
    text = told(lambda app: app.workflow("w", of({"Type": "Wait", "Seconds": 3600})), until="WaitStateEntered")
    assert "now: state A waits, until 20" in text


@pytest.mark.parametrize("field", ["TimeoutSeconds", "HeartbeatSeconds"])
def test_a_task_that_may_time_out_says_when(told, field):
    """Only a wait and a retry said until when."""

    def declare(app):
        app.queue("q")
        token = {"QueueUrl": "q", "MessageBody.$": "$$.Task.Token"}
        return app.workflow("w", of({"Type": "Task", "Resource": CALLBACK, "Parameters": token, field: 300}))

    text = told(declare, until="TaskSubmitted")
    assert re.search(r"state A waits for its token \(\S+\), until 20\S+ \S+, since", text), text


def test_states_that_follow_each_other_are_one_line(told):
    """Each iteration of a Map had one."""
    text = told(
        lambda app: app.workflow("w", of({"Type": "Map", "ItemProcessor": WAIT})), until="WaitStateEntered", items=True
    )
    assert text.count(" state W (2 times)") == 1


def test_a_workflow_that_took_too_long_says_which_limit_it_was(tmp_path):
    """The exception said "None", and `why` ended with "ExecutionTimedOut"."""

    async def make():
        app = App("shop", store=tmp_path / "data")
        flow = app.workflow("w", {**WAIT, "TimeoutSeconds": 1})
        async with app:
            with pytest.raises(ExecutionFailed) as failed:
                await (await flow.start(name="one")).result()
            return failed.value

    failed = asyncio.run(make())
    assert (failed.status, failed.error) == ("TIMED_OUT", "States.Timeout")
    assert failed.cause.startswith("it took longer than the TimeoutSeconds of its workflow")
    told = forebay(tmp_path, "why", "one").stdout
    assert "ExecutionTimedOut: it took longer than the TimeoutSeconds of its workflow" in told


def test_the_children_that_failed_are_told_with_their_arns(tmp_path):
    """Of a distributed Map it told that the threshold was exceeded, and a child's ARN named no workflow."""

    async def make():
        app = App("shop", store=tmp_path / "data")
        each = {"StartAt": "No", "States": {"No": {"Type": "Fail", "Error": "Odd", "Cause": "it is"}}}
        each["ProcessorConfig"] = {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
        flow = app.workflow("w", of({"Type": "Map", "ItemProcessor": each}))
        async with app:
            execution = await flow.start([1], name="one")
            with pytest.raises(ExecutionFailed):
                await execution.result()

    asyncio.run(make())
    text = forebay(tmp_path, "why", "one").stdout
    [child] = re.findall(r"child (arn:\S+:0) failed: Odd: it is", text)
    assert ": FAILED" in forebay(tmp_path, "why", child).stdout
    run = child.partition(":execution:")[2].rpartition(":")[0]
    assert "FAILED" in forebay(tmp_path, "workflow", "list", run, "--status", "FAILED").stdout
    assert f"arn: {child}" in forebay(tmp_path, "workflow", "describe", run, child).stdout
    assert "ExecutionFailed" in forebay(tmp_path, "workflow", "history", run, "0").stdout


def test_events_that_are_not_there_are_told():
    """The story of an Express execution broke off without a word."""
    marker = {
        "id": 2,
        "previousEventId": 1,
        "timestamp": 1.0,
        "type": "EventsLeftOut",
        "eventsLeftOutEventDetails": {"count": 7, "cause": "no room"},
    }

    class History:
        def ask(self, what, **_):
            assert what == "execution.history"
            return {"events": [marker], "next": None}

    about = {"workflow": "w", "name": "n", "status": "SUCCEEDED", "started_ms": 0, "stopped_ms": 1, "redrive_count": 0}
    _, lines = tell_execution(History(), about)
    assert lines[2].endswith("7 events left out: no room")


WAIT = {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 3600, "End": True}}}


@pytest.mark.parametrize("kind", ["Parallel", "Map"])
def test_a_wait_inside_another_state_says_until_when(told, kind):
    """Only one at the top did."""
    other = {"StartAt": "V", "States": {"V": WAIT["States"]["W"]}}
    inner = {"Branches": [WAIT, other]} if kind == "Parallel" else {"ItemProcessor": WAIT}

    def declare(app):
        return app.workflow("w", of({"Type": kind, **inner}))

    text = told(declare, until="WaitStateEntered", items=kind == "Map")
    assert len(re.findall(r"now: state [VW] waits, until 20", text)) == 2


def test_a_distributed_map_that_runs_is_named_with_its_children(told, tmp_path):
    """It said "state A, since" and nothing else: the run's name was in the JSON of the history alone."""

    def declare(app):
        return app.workflow(
            "w",
            of(
                {
                    "Type": "Map",
                    "MaxConcurrency": 1,
                    "ItemProcessor": {**WAIT, "ProcessorConfig": {"Mode": "DISTRIBUTED"}},
                }
            ),
        )

    text = told(declare, until="MapRunStarted", items=True)
    [run] = re.findall(r"now: state A runs (\S+) \(children: 1 running, 1 pending\), since 20", text)
    assert "RUNNING" in forebay(tmp_path, "workflow", "list", run).stdout


def test_the_execution_that_a_task_waits_for_is_named(told):
    """It waited for the end of states:startExecution.sync:2, and nothing said which one."""

    def declare(app):
        app.workflow("child", WAIT)
        resource = "arn:aws:states:::states:startExecution.sync:2"
        return app.workflow(
            "w", of({"Type": "Task", "Resource": resource, "Parameters": {"StateMachineArn": "child", "Name": "kid"}})
        )

    text = told(declare, until="TaskSubmitted")
    assert re.search(r"state A waits for the end of arn:\S+:execution:child:kid, since", text)


async def stop_in_call(app, flow):
    """Stop an app while its execution "one" calls the function slow."""
    began = asyncio.Event()

    @app.function(timeout=60)
    async def slow(event, context):
        began.set()
        await asyncio.sleep(60)

    async with asyncio.timeout(50):
        await app.start()
        await flow.start(name="one")
        await began.wait()
        await app.stop(grace=0)


def test_a_call_of_a_function_that_is_declared_no_more_says_so(tmp_path):
    """It "waits for an answer of slow", as if the function ran."""

    def made():
        app = App("shop", store=tmp_path / "data")
        return app, app.workflow("w", of({"Type": "Task", "Resource": "${slow}"}))

    async def begin():
        await stop_in_call(*made())

    async def ask():
        app, _ = made()
        async with app:
            return (await asyncio.to_thread(forebay, tmp_path, "why", "one")).stdout

    asyncio.run(begin())
    text = asyncio.run(ask())
    assert "waits for an answer of slow" in text
    assert "the app does not declare function slow, and the task waits until it does" in text


def test_no_app_runs_while_a_worker_holds_the_store(tmp_path):
    """Of the worker's engine it said that "the app does not declare function slow", and nothing of an app that does not run."""

    def made(**options):
        app = App("shop", store=tmp_path / "data", **options)
        return app, app.activity("paint")

    async def begin():
        app, _ = made()
        await stop_in_call(app, app.workflow("w", of({"Type": "Task", "Resource": "${slow}"})))

    async def ask():
        worker, paint = made(serve=False)
        async with worker:
            poll = asyncio.create_task(paint.get_task("ann", wait=50))
            async with asyncio.timeout(40):
                while True:
                    await asyncio.sleep(0.01)
                    engine = worker._running.runner.engine
                    if engine is not None and engine.role == "owner":
                        break
                task = {"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "${slow}", "End": True}}}
                (tmp_path / "slow.json").write_text(json.dumps(task))
                told = await asyncio.to_thread(forebay, tmp_path, "why", "one")
                checked = await asyncio.to_thread(forebay, tmp_path, "workflow", "validate", "slow.json")
            assert not poll.done()
            poll.cancel()
            return told.stdout, checked

    asyncio.run(begin())
    text, checked = asyncio.run(ask())
    assert "waits for an answer of slow" in text
    assert "no app runs: nothing goes on until one does" in text
    assert "does not declare" not in text
    assert checked.stdout == "nothing is wrong\n"
    assert "no app runs: the functions" in checked.stderr


def test_a_durable_function_that_waits_says_until_when(told):
    """It said "wait is started"."""
    sdk = pytest.importorskip("aws_durable_execution_sdk_python")
    from aws_durable_execution_sdk_python.config import Duration

    def declare(app):
        @app.durable_function()
        @sdk.durable_execution
        def rest(event, context):
            context.wait(Duration.from_days(30))

        return rest

    async def stand(app):
        await asyncio.sleep(0.5)

    assert "now: waits, until 20" in told(declare, until="TaskScheduled", then=[stand])


def test_a_durable_function_whose_step_hangs_says_that_it_is_late(tmp_path):
    """It said "step slow is started" alone, long after the timeout of its function."""
    sdk = pytest.importorskip("aws_durable_execution_sdk_python")
    ends = threading.Event()

    async def make():
        app = App("shop", store=tmp_path / "data")

        @app.durable_function(timeout=1)
        @sdk.durable_execution
        def hang(event, context):
            context.step(lambda _: ends.wait(30) and None, name="slow")

        async with app:
            await hang.start(name="one")
            try:
                for _ in range(100):
                    text = (await asyncio.to_thread(forebay, tmp_path, "why", "one")).stdout
                    if "is past its timeout" in text:
                        return text
            finally:
                ends.set()
        return text

    text = asyncio.run(make())
    assert "now: step slow runs\n" in text
    told = "its handler is past its timeout of 1 s; its thread goes on, and it is not run again before that has ended"
    assert f"now: {told}, since" in text


def test_a_durable_function_that_has_ended_says_what_it_did_last(tmp_path):
    """It named no step, so that nobody knew which one had failed."""
    sdk = pytest.importorskip("aws_durable_execution_sdk_python")
    from aws_durable_execution_sdk_python.config import StepConfig
    from aws_durable_execution_sdk_python.retries import RetryStrategyConfig, create_retry_strategy

    once = StepConfig(retry_strategy=create_retry_strategy(RetryStrategyConfig(max_attempts=1)))
    ends = threading.Event()

    async def make():
        app = App("shop", store=tmp_path / "data")

        @app.durable_function(execution_timeout=1)
        @sdk.durable_execution
        def order(event, context):
            context.step(lambda _: "reserved", name="reserve")
            if event == "hangs":
                context.step(lambda _: ends.wait(30) and None, name="charge")
            elif event == "fails":
                group = lambda inner: inner.step(lambda _: int("no"), name="charge", config=once)  # noqa: E731
                context.run_in_child_context(group, name="payment")
            return 1

        async with app:
            assert await (await order.start("works", name="works")).result() == 1
            for name in ("fails", "hangs"):
                with pytest.raises(ExecutionFailed):
                    await (await order.start(name, name=name)).result()
            ends.set()

    asyncio.run(make())
    last = {"works": "reserve succeeded", "fails": "charge failed", "hangs": "charge had not ended"}
    for name, what in last.items():
        assert f"  its handler's last operation: step {what}\n" in forebay(tmp_path, "why", name).stdout


def test_a_task_that_was_late_with_its_token_says_for_which_of_its_times(tmp_path):
    """Only the tasks of activities did."""

    async def make():
        app = App("shop", store=tmp_path / "data")
        app.queue("q")
        token = {"QueueUrl": "q", "MessageBody.$": "$$.Task.Token"}
        flows = [
            app.workflow(name, of({"Type": "Task", "Resource": CALLBACK, "Parameters": token, **of_it}))
            for name, of_it in TIMES.items()
        ]
        async with app:
            for flow in flows:
                await flow.start(name=flow.name)
            await all_fail(flows)

    asyncio.run(make())
    told_by_times(tmp_path)


def test_the_request_of_a_function_leads_to_its_execution(tmp_path):
    """Nothing was known of it, although the cause of the failure and the log have it."""

    async def make():
        app = App("shop", store=tmp_path / "data")
        requests = []

        @app.function()
        async def fail(event, context):
            requests.append(context.aws_request_id)
            raise ValueError("no")

        flow = app.workflow("w", of({"Type": "Task", "Resource": "${fail}"}))
        async with app:
            execution = await flow.start(name="one")
            with pytest.raises(ExecutionFailed):
                await execution.result()
            return execution.arn, (await asyncio.to_thread(forebay, tmp_path, "why", requests[0])).stdout

    arn, text = asyncio.run(make())
    assert f"failed for a task function=fail execution={arn} error=ValueError" in text


def test_an_express_execution_that_is_not_there_says_where_they_are(tmp_path):
    """It said "Execution Does Not Exist", also while the app did not run."""

    async def make():
        app = App("shop", store=tmp_path / "data")
        flow = app.workflow("w", of({"Type": "Pass"}), type="EXPRESS")
        async with app:
            await (await flow.start(name="one")).result()

    asyncio.run(make())
    where = "Express executions that run, and the last 1,000 that ended, are in the memory of the running app only"
    for command in (["workflow", "describe", "w", "one"], ["why", "one"]):
        assert where in forebay(tmp_path, *command, status=1).stderr
