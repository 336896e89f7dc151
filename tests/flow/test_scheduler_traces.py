"""Recorded scenarios of EventBridge Scheduler, carried out through the app: it takes and refuses what AWS took and refused."""

import json
from pathlib import Path

import pytest

from forebay import App
from forebay.errors import InvalidParameterValue

TRACES = Path(__file__).parents[3] / "shared" / "cases" / "scheduler" / "traces.jsonl"
BESIDE = {"create_role", "attach_role_policy", "delete_role", "detach_role_policy"}
"""Calls to other services, which an app does not need."""
MISSED = {
    "tag_resource": "an app has no groups of schedules, whose tags these are",
    "untag_resource": "an app has no groups of schedules, whose tags these are",
    "create_schedule_group": "an app has no groups of schedules",
}
SHARE = 0.9


def traces():
    return [json.loads(line) for line in TRACES.read_text().splitlines()] if TRACES.exists() else []


def create(app, params):
    """Create a schedule; AWS's text if it is refused."""
    window = params["FlexibleTimeWindow"]
    flexible = window["MaximumWindowInMinutes"] if window["Mode"] == "FLEXIBLE" else 0
    try:
        app.schedule(
            params["ScheduleExpression"],
            name=params["Name"],
            target=app.queue("dummy"),
            timezone=params.get("ScheduleExpressionTimezone", "UTC"),
            flexible=flexible,
        )
    except InvalidParameterValue as refused:
        return str(refused)
    return None


@pytest.mark.skipif(not TRACES.exists(), reason="the recorded cases are not beside the repository")
async def test_scenarios_are_answered_as_aws_answered_them(tmp_path):
    ran, missed = 0, []
    for number, trace in enumerate(traces()):
        app = App("traces", store=tmp_path / str(number))
        steps = [step for step in trace["steps"] if step["operation"] not in BESIDE]
        if any(step["operation"] in MISSED for step in steps):
            missed.append(trace["id"])
            continue
        for step in steps:
            if step["operation"] == "create_schedule":
                refused, wanted = create(app, step["params"]), step.get("error")
                if wanted is None:
                    assert refused is None, trace["id"]
                else:
                    assert refused is not None, trace["id"]
                    assert refused.startswith(wanted["Error"]["Message"]), (trace["id"], refused)
        async with app:
            ran += 1
    assert ran >= SHARE * (ran + len(missed)), missed
