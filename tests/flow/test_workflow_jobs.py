"""Calls of integrations that take long: jobs that are asked about, slow endpoints, and the threads that wait for them."""

import asyncio
import http.server
import socket
import threading
import time
import uuid

import pytest

from forebay import App, ExecutionFailed
from forebay.integrations import AwsSdk, Emr, Http, ServiceCall, StillRunning, Submitted, TaskError
from forebay.integrations import http as http_module
from forebay.integrations.threads import Threads
from forebay.testing import FakeCluster

STEP = {"Name": "s", "HadoopJarStep": {"Jar": "command-runner.jar"}}


def task(resource, parameters, **fields):
    return {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", "Parameters": parameters, **fields}


def one_step(**fields):
    """A machine that adds a step to a cluster and waits for its end."""
    add = task("elasticmapreduce:addStep.sync", {"ClusterId.$": "$.ClusterId", "Step": STEP}, End=True, **fields)
    create = task("elasticmapreduce:createCluster", {"Name": "c", "Instances": {}}, Next="Add")
    return {"StartAt": "Create", "States": {"Create": create, "Add": add}}


async def until(clock, is_it, steps=600):
    """Let time pass until something is so. Calls to services run in threads, which virtual time does not wait for."""
    for _ in range(steps):
        if is_it():
            return
        await clock.advance(1)
        await asyncio.sleep(0.01)
    raise AssertionError("it never came")


async def result_of(clock, execution):
    result = asyncio.ensure_future(execution.result())
    await until(clock, result.done)
    return await result


class Flaky(FakeCluster):
    """Answers some questions about steps with an error."""

    def __init__(self, *errors):
        super().__init__()
        self.errors = list(errors)
        self.asked = 0

    def describe_step(self, **given):
        self.asked += 1
        if self.errors:
            error = self.errors.pop(0)
            if error is not None:
                raise error
        return super().describe_step(**given)

    @property
    def cancelled(self):
        return [given for name, given in self.calls if name == "cancel_steps"]


async def test_a_question_that_is_not_answered_is_asked_again(app, clock, caplog):
    """One throttled question, or a broken connection, failed the task while its step ran on; `Retry` would have added another."""
    throttled = TaskError("ElasticMapReduce.ThrottlingException", "Rate exceeded")
    cluster = Flaky(None, throttled, ConnectionResetError("by peer"), TimeoutError("read"))
    app.integrate(Emr(cluster, poll_seconds=0.05))
    flow = app.workflow("emr", one_step())
    async with app:
        output = await result_of(clock, await flow.start())
    assert output["Step"]["Status"]["State"] == "COMPLETED"
    assert len(cluster.steps) == 1
    assert cluster.cancelled == []
    told = [record.getMessage() for record in caplog.records if record.name == "forebay.integrations"]
    assert [text.partition("asked again after ")[2].partition(" s:")[0] for text in told] == ["1.0", "2.0", "4.0"]
    assert "elasticmapreduce:addStep" in told[0]


async def test_questions_are_asked_for_as_long_as_the_task_may_take(app, clock):
    """The task's own TimeoutSeconds ends the questions, and stops the job, which nobody waits for any more."""
    cluster = Flaky(*[ConnectionResetError("by peer")] * 10_000)
    app.integrate(Emr(cluster, poll_seconds=0.05))
    flow = app.workflow("emr", one_step(TimeoutSeconds=100))
    async with app:
        with pytest.raises(ExecutionFailed, match=r"States\.Timeout"):
            await result_of(clock, await flow.start())
        await until(clock, lambda: cluster.cancelled)
    assert 5 <= cluster.asked <= 10  # pauses of 1, 2, 4, 8, 16, 32, 60 s


async def test_a_step_is_cancelled_whose_task_fails_while_it_runs(app, clock):
    """EMR refuses to tell of the step for good: the task fails, and nobody would have stopped the step."""
    denied = TaskError("ElasticMapReduce.AccessDeniedException", "not you")
    cluster = Flaky(None, denied)
    app.integrate(Emr(cluster, poll_seconds=0.05))
    flow = app.workflow("emr", one_step())
    async with app:
        with pytest.raises(ExecutionFailed, match=r"ElasticMapReduce\.AccessDeniedException"):
            await result_of(clock, await flow.start())
    assert len(cluster.cancelled) == 1


async def test_jobs_of_integrations_of_ones_own_are_asked_about_again(app, clock):
    """Only `TaskError` says that a job has failed. Whatever else a client raises leaves the question open."""
    asked = []

    class Oven:
        resources = ("oven:bake.sync",)

        async def call(self, _call):
            return Submitted({}, {"id": 1})

        async def poll(self, _call, _job):
            asked.append(1)
            match len(asked):
                case 1:
                    raise LookupError("of a client")
                case 2:
                    return StillRunning(1)
                case _:
                    raise TaskError("Oven.Burnt", "black")

        async def stop(self, _call, _job):
            raise AssertionError("it has ended")

    app.integrate(Oven())
    flow = app.workflow("oven", {"StartAt": "Bake", "States": {"Bake": task("oven:bake.sync", {}, End=True)}})
    async with app:
        with pytest.raises(ExecutionFailed, match=r"Oven\.Burnt"):
            await result_of(clock, await flow.start())
    assert len(asked) == 3


async def soon(is_it):
    """Wait in real time: the virtual clock waits for calls."""
    deadline = time.monotonic() + 20
    while not is_it():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("ends_by", ["stop", "timeout"])
async def test_a_job_is_stopped_that_begins_after_its_task_was_given_up(tmp_path, ends_by):
    """The call was cancelled while the service took it: nobody knew of the step that it had added, which ran on."""
    entered, gate = threading.Event(), threading.Event()

    class Slow(FakeCluster):
        def add_job_flow_steps(self, **given):
            entered.set()
            gate.wait(20)
            return super().add_job_flow_steps(**given)

    cluster, app = Slow(), App("t", store=tmp_path)
    app.integrate(Emr(cluster, poll_seconds=0.05))
    flow = app.workflow("emr", one_step(**({"TimeoutSeconds": 1} if ends_by == "timeout" else {})))
    async with app:
        execution = await flow.start()
        await soon(entered.is_set)
        if ends_by == "stop":
            await execution.stop()
        else:
            with pytest.raises(ExecutionFailed, match=r"States\.Timeout"):
                await execution.result()
        await asyncio.sleep(0.2)
        assert cluster.steps == {}
        gate.set()
        await soon(lambda: any(name == "cancel_steps" for name, _ in cluster.calls))
    assert [step["Status"]["State"] for step in cluster.steps.values()] == ["CANCELLED"]


async def test_a_job_that_begins_while_the_app_stops_runs_on(tmp_path):
    """The call is made again at the next start, and may find the job by its id: it would find one that was stopped."""
    entered, told = asyncio.Event(), []

    class Oven:
        resources = ("oven:bake.sync",)

        async def call(self, _call):
            entered.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                told.append("cancelled")
                raise
            return Submitted({}, 1)

        async def poll(self, _call, _job):
            raise AssertionError("it has not begun")

        async def stop(self, _call, _job):
            told.append("stopped")

    app = App("t", store=tmp_path)
    app.integrate(Oven())
    flow = app.workflow("oven", {"StartAt": "Bake", "States": {"Bake": task("oven:bake.sync", {}, End=True)}})
    await app.start()
    await flow.start()
    await soon(entered.is_set)
    await app.stop(grace=0)
    assert told == ["cancelled"]


async def test_boto3_tells_what_passes():
    """Throttling, errors of the service and connections that break are no answer; a refusal is one."""
    boto3 = pytest.importorskip("boto3")
    from botocore.exceptions import ReadTimeoutError
    from botocore.stub import Stubber

    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    client = boto3.client("emr", region_name="us-east-1", **keys)
    stubber = Stubber(client)
    for code, status in [("ThrottlingException", 400), ("InternalServerException", 500), ("AccessDenied", 403)]:
        stubber.add_client_error("describe_step", code, "no", status)
    stubber.activate()
    emr = Emr(client)
    call = ServiceCall(service="elasticmapreduce", action="addStep", pattern="sync", parameters={}, id="x")
    told = []
    for _ in range(3):
        with pytest.raises(TaskError) as failed:
            await emr.poll(call, {"ClusterId": "j", "StepId": "s"})
        told.append((type(failed.value).__name__, failed.value.error.partition(".")[2]))
    client.describe_step = lambda **_: (_ for _ in ()).throw(ReadTimeoutError(endpoint_url="https://example.com"))
    with pytest.raises(TaskError) as failed:
        await emr.poll(call, {"ClusterId": "j", "StepId": "s"})
    told.append((type(failed.value).__name__, failed.value.error.partition(".")[2]))
    assert told == [
        ("NotAnswered", "ThrottlingException"),
        ("NotAnswered", "InternalServerException"),
        ("TaskError", "AccessDeniedException"),
        ("NotAnswered", "SdkClientException"),
    ]


async def test_a_call_that_is_made_again_has_the_same_token():
    """boto3 drew a new token for each call: ECS ran two tasks when a call was made again after a crash."""
    boto3 = pytest.importorskip("boto3")
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    client = boto3.client("ecs", region_name="us-east-1", **keys)
    sent = []

    class Stop(Exception):
        pass

    def before(params, **_):
        sent.append(params.get("clientToken"))
        raise Stop

    client.meta.events.register("provide-client-params.ecs.RunTask", before)
    sdk = AwsSdk(lambda _service: client)
    given = {"TaskDefinition": "t"}
    for name, parameters in [("e/1", given), ("e/1", given), ("e/2", given), ("e/1", {**given, "ClientToken": "mine"})]:
        call = ServiceCall(service="aws-sdk:ecs", action="runTask", pattern="request", parameters=parameters, id=name)
        with pytest.raises(Stop):
            await sdk.call(call)
    assert sent[0] == sent[1] != sent[2]
    assert str(uuid.UUID(sent[0])) == sent[0]
    assert sent[3] == "mine"


@pytest.fixture
def endpoint():
    """An endpoint that is slow under /slow, and sends a byte now and then under /drip."""
    over = threading.Event()

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/slow":
                over.wait(20)
            self.send_response(200)
            self.send_header("Content-Length", "2" if self.path != "/drip" else "1000")
            self.end_headers()
            try:
                while self.path == "/drip" and not over.wait(0.05):
                    self.wfile.write(b" ")
                self.wfile.write(b"{}")
            except OSError:
                pass  # nobody reads it any more

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    over.set()
    server.shutdown()
    server.server_close()


def invoke(endpoint, path):
    parameters = {"ApiEndpoint": endpoint + path, "Method": "GET"}
    return ServiceCall(service="http", action="invoke", pattern="request", parameters=parameters, id="x")


async def test_slow_endpoints_hold_up_no_other_call_and_none_of_the_app(endpoint):
    """All integrations shared the loop's executor, which has six threads: a fast call stood behind 60 slow ones for 20 s."""
    integration = Http()
    slow = [asyncio.ensure_future(integration.call(invoke(endpoint, "/slow"))) for _ in range(60)]
    await asyncio.sleep(0.2)
    began = time.monotonic()
    assert (await integration.call(invoke(endpoint, "/")))["StatusCode"] == 200
    await asyncio.to_thread(time.monotonic)
    assert time.monotonic() - began < 5
    for one in slow:
        one.cancel()
    assert {type(one) for one in await asyncio.gather(*slow, return_exceptions=True)} == {asyncio.CancelledError}
    # Nothing waits for their answers: the threads end with their tasks.
    deadline = time.monotonic() + 10
    while any(thread.name == "forebay-integration" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("path", ["/drip", "/slow"])
async def test_a_call_has_one_deadline(endpoint, monkeypatch, path):
    """Each read had 60 s of its own: an endpoint that sends a byte now and then held a thread without an end."""
    monkeypatch.setattr(http_module, "_SECONDS", 0.5)
    with pytest.raises(TaskError, match=r"States\.Http\.Socket: 127\.0\.0\.1 has not answered within 0\.5 s"):
        await asyncio.wait_for(Http().call(invoke(endpoint, path)), 10)


async def test_threads_are_bounded_and_end():
    """What waits for a thread has its turn; what nobody waits for any more is not begun."""
    threads, running, most, lock = Threads(3), 0, 0, threading.Lock()
    gate = threading.Event()

    def work(n):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        gate.wait(10)
        with lock:
            running -= 1
        if n == 5:
            raise socket.gaierror("no")
        return n

    calls = [asyncio.ensure_future(threads.run(work, n)) for n in range(10)]
    await asyncio.sleep(0.1)
    calls[9].cancel()
    gate.set()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert ended[:5] + ended[6:9] == [0, 1, 2, 3, 4, 6, 7, 8]
    assert isinstance(ended[5], socket.gaierror)
    assert most == 3


async def test_a_thread_that_cannot_begin_takes_no_place(monkeypatch):
    """The error is the call's, and later calls find the place free."""
    threads = Threads(1)

    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="can't start new thread"):
        patched.setattr(threading.Thread, "start", refuse)
        await threads.run(int)
    assert await asyncio.wait_for(threads.run(int), 10) == 0
