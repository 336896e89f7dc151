"""Stops of jobs whose tasks were given up: they are tried until the service has answered."""

import asyncio

import pytest

from forebay.integrations import Emr, ServiceCall, StillRunning, Submitted, TaskError
from forebay.integrations.port import NotAnswered
from forebay.testing import FakeCluster

BAKE = {"Type": "Task", "Resource": "arn:aws:states:::oven:bake.sync", "Parameters": {}, "End": True}
STEP = {"ClusterId": "j-1", "StepId": "s-1"}
ADDED = ServiceCall(service="elasticmapreduce", action="addStep", pattern="sync", parameters={}, id="x")


class Oven:
    """Bakes without an end. A stop raises what is given, one after the other."""

    resources = ("oven:bake.sync",)

    def __init__(self, *errors):
        self.errors = list(errors)
        self.stops = []
        self.entered = asyncio.Event()
        self.gate = asyncio.Event()

    async def call(self, _call):
        self.entered.set()
        await self.gate.wait()
        return Submitted({}, "job-1")

    async def poll(self, _call, _job):
        return StillRunning(1)

    async def stop(self, _call, job):
        self.stops.append(job)
        if self.errors:
            raise self.errors.pop(0)


def baking(app, oven):
    app.integrate(oven)
    return app.workflow("oven", {"StartAt": "Bake", "States": {"Bake": BAKE}})


def told(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "forebay.integrations"]


@pytest.mark.parametrize("error", [NotAnswered("Oven.Throttling", "Rate exceeded"), OSError("reset by peer")])
async def test_a_stop_that_is_not_answered_is_made_again(app, clock, error):
    """A throttled stop counted as made: the job ran on, and nothing told of it. A connection that broke was repeated."""
    oven = Oven(error, error)
    oven.gate.set()
    flow = baking(app, oven)
    async with app:
        execution = await flow.start()
        await clock.advance(1)
        await execution.stop()
        await clock.advance(1)
        assert oven.stops == ["job-1"]
        await clock.advance(600)
    assert oven.stops == ["job-1"] * 3


async def test_a_stop_that_is_refused_for_good_is_logged(app, clock, caplog):
    """Nobody learned that the job runs on."""
    oven = Oven(TaskError("Oven.AccessDenied", "not you"))
    oven.gate.set()
    flow = baking(app, oven)
    async with app:
        execution = await flow.start()
        await clock.advance(1)
        await execution.stop()
        await clock.advance(600)
    assert oven.stops == ["job-1"]
    [line] = told(caplog)
    assert line.startswith("the job 'job-1' of arn:aws:states:")
    assert line.endswith("(oven:bake) was not stopped, and may run on: Oven.AccessDenied: not you")


async def test_a_late_job_is_stopped_until_the_service_answers(app, clock):
    """The call stopped a job that began after its task was given up, once: if that was throttled, the job ran on."""
    oven = Oven(NotAnswered("Oven.Throttling", "Rate exceeded"))
    flow = baking(app, oven)
    async with app:
        execution = await flow.start()
        passing = asyncio.ensure_future(clock.advance(1))  # it waits for the call
        await oven.entered.wait()
        await execution.stop()
        assert oven.stops == []
        oven.gate.set()
        await passing
        await clock.advance(600)
    assert oven.stops == ["job-1"] * 2


class Throttled(FakeCluster):
    def cancel_steps(self, **_):
        raise TaskError("ElasticMapReduce.ThrottlingException", "Rate exceeded")

    def describe_step(self, **_):
        raise TaskError("ElasticMapReduce.AccessDeniedException", "not you")


async def test_emr_says_that_a_stop_is_throttled():
    """CancelSteps is throttled when many executions are stopped at once."""
    with pytest.raises(NotAnswered):
        await Emr(Throttled()).stop(ADDED, STEP)


async def test_a_step_that_a_failed_task_leaves_is_logged(caplog):
    """The error of the cancelling was hidden."""
    with pytest.raises(TaskError, match="AccessDeniedException"):
        await Emr(Throttled()).poll(ADDED, STEP)
    [line] = told(caplog)
    assert line.startswith(f"the job {STEP} of x was not stopped, and may run on: ElasticMapReduce.ThrottlingException")


async def test_credentials_that_are_not_there_now_are_no_answer():
    """An assumed role that was not given once failed the task, while its step ran on."""
    pytest.importorskip("boto3")
    from botocore import exceptions

    passing = [
        exceptions.CredentialRetrievalError(provider="assume-role", error_msg="throttled"),
        exceptions.MetadataRetrievalError(error_msg="no route"),
        exceptions.TokenRetrievalError(provider="sso", error_msg="expired"),
        exceptions.UnauthorizedSSOTokenError(),
    ]
    final = [exceptions.NoCredentialsError(), exceptions.NoRegionError()]

    class Client:
        meta = None

        def __init__(self, error):
            self.error = error

        def describe_step(self, **_):
            raise self.error

        def cancel_steps(self, **_):
            raise self.error

    for error in passing + final:
        with pytest.raises(TaskError) as failed:
            await Emr(Client(error)).poll(ADDED, STEP)
        assert isinstance(failed.value, NotAnswered) == (error in passing), error
        assert failed.value.error == "ElasticMapReduce.SdkClientException"
