"""Recorded scenarios of Step Functions, by boto3 and by the engine's own requests: what AWS answered is answered."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from states_internal import InternalStates
from states_player import ACCOUNT, REGION, Player
from wire_app import MAKING, SESSION, served

from forebay import App
from forebay.integrations.aws_sdk import AwsSdk

TRACES = Path(__file__).parents[3] / "shared" / "cases" / "stepfunctions" / "traces.jsonl"
SHARE = 0.95
LEFT_OUT = {"deploy_cfn_template": "the recording has not the template that its stack is of"}
OTHERWISE = {}
"""Scenarios that are answered otherwise, and why."""
INSIDE_OTHERWISE = {
    "test_delete_version_with_alias": "the engine names one alias that leads to the version, and the wire all of them",
}
"""The same, where the engine is asked itself."""
AT_ONCE = 6


def make_app(trace):
    """Make an app with the function that a scenario calls, whose calls of AWS's services come back to it."""
    app = App("traces", store=":memory:", region=REGION, account=ACCOUNT)
    served_at = {}

    def client(service):
        options = {"endpoint_url": served_at["url"], "region_name": REGION}
        with MAKING:
            return SESSION.client(service, aws_access_key_id="forebay", aws_secret_access_key="forebay", **options)

    @app.function(name="function-0", timeout=30)
    async def function(event, _context):
        if "delegate_timeout" in trace["id"]:
            await asyncio.sleep(6)
        if "retry" in trace["id"].lower():
            message = "Some exception was raised."
            raise Exception(message)  # noqa: TRY002 - as the recorded function did
        return event

    app.integrate(AwsSdk(client))
    return app, served_at


@pytest.fixture(autouse=True)
def variables(monkeypatch):
    """An app that ends takes Lambda's variables away. Others are making clients just then, which read all variables."""
    for name in ("AWS_EXECUTION_ENV", "LAMBDA_TASK_ROOT"):
        monkeypatch.setenv(name, "of the test")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, REGION)


def differs(trace):
    """Carry out a scenario in an app of its own; the first step that is answered otherwise."""
    app, served_at = make_app(trace)
    with served(app) as wire:
        served_at["url"] = wire.url
        return Player(wire, trace).differs()


def differs_inside(trace):
    """Carry out a scenario by the engine's requests; what differs first, and the steps that only the wire decides."""
    app, served_at = make_app(trace)
    with served(app) as wire:
        served_at["url"] = wire.url
        player = Player(wire, trace, InternalStates(wire.ask))
        return player.differs(), player.passed_over


def recorded():
    """Give the scenarios, and those that can be played."""
    traces = [json.loads(line) for line in TRACES.read_text().splitlines()]
    return traces, [trace for trace in traces if not any(step["operation"] in LEFT_OUT for step in trace["steps"])]


@pytest.mark.timeout(400)
@pytest.mark.skipif(not TRACES.exists(), reason="the recorded cases are not beside the repository")
def test_scenarios_are_answered_by_boto3_as_aws_answered_them():
    traces, played = recorded()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        told = dict(zip((trace["id"] for trace in played), pool.map(differs, played), strict=True))
    wrong = {id_: difference for id_, difference in told.items() if difference is not None}
    unexplained = {id_: of for id_, of in wrong.items() if not any(name in id_ for name in OTHERWISE)}
    assert not unexplained, "\n".join(f"{id_}: {of}" for id_, of in unexplained.items())
    assert len(played) >= 120
    assert len(wrong) <= (1 - SHARE) * len(traces)


@pytest.mark.timeout(400)
@pytest.mark.skipif(not TRACES.exists(), reason="the recorded cases are not beside the repository")
def test_scenarios_are_answered_by_the_engines_requests_as_aws_answered_them():
    _, played = recorded()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        told = dict(zip((trace["id"] for trace in played), pool.map(differs_inside, played), strict=True))
    wrong = {id_: difference for id_, (difference, _) in told.items() if difference is not None}
    unexplained = {id_: of for id_, of in wrong.items() if not any(name in id_ for name in INSIDE_OTHERWISE)}
    assert not unexplained, "\n".join(f"{id_}: {of}" for id_, of in unexplained.items())
    of_the_wire = [trace["id"] for trace in played if len(told[trace["id"]][1]) == len(trace["steps"])]
    assert len(of_the_wire) <= (1 - SHARE) * len(played)
    assert len(wrong) <= (1 - SHARE) * (len(played) - len(of_the_wire))
    steps = sum(len(trace["steps"]) for trace in played)
    assert sum(len(passed_over) for _, passed_over in told.values()) <= 0.1 * steps
