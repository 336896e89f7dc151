"""Recorded scenarios of EventBridge Scheduler, carried out through the app: it takes and refuses what AWS took and refused."""

import json
from pathlib import Path

import pytest
from event_calls import tag_notes

from forebay import App
from forebay.errors import InvalidParameterValue

TRACES = Path(__file__).parents[3] / "shared" / "cases" / "scheduler" / "traces.jsonl"
BESIDE = {"create_role", "attach_role_policy", "delete_role", "detach_role_policy"}
"""Calls to other services, which an app does not need."""


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


async def play_groups(app, steps):
    """Make groups of schedules, and change and list their tags, as the engine takes it."""
    answers = []
    for step in steps:
        params, answer = step["params"], None
        name = str(params.get("ResourceArn", ""))
        name = answers[int(name.rsplit("-", 1)[-1])] if name.startswith("answer-") else name
        if step["operation"] == "events_scheduler_create_schedule_group":
            answer = f"group-{params['args'][0]}"
            await app._caller.ask("schedule_group.create", name=answer)
            await app._caller.ask("schedule_group.annotate", name=answer, notes=tag_notes(params))
        elif step["operation"] in ("tag_resource", "untag_resource"):
            notes = {**tag_notes(params), **{f"tag:{key}": None for key in params.get("TagKeys", ())}}
            await app._caller.ask("schedule_group.annotate", name=name, notes=notes)
        elif step["operation"] == "list_tags_for_resource":
            described = await app._caller.ask("schedule_group.describe", name=name)
            tags = [{"Key": key.removeprefix("tag:"), "Value": text} for key, text in described["notes"].items()]
            assert tags == step["answer"]["Tags"]
        answers.append(answer)


@pytest.mark.skipif(not TRACES.exists(), reason="the recorded cases are not beside the repository")
async def test_scenarios_are_answered_as_aws_answered_them(tmp_path):
    ran = 0
    for number, trace in enumerate(traces()):
        app = App("traces", store=tmp_path / str(number))
        steps = [step for step in trace["steps"] if step["operation"] not in BESIDE]
        for step in steps:
            if step["operation"] == "create_schedule":
                refused, wanted = create(app, step["params"]), step.get("error")
                if wanted is None:
                    assert refused is None, trace["id"]
                else:
                    assert refused is not None, trace["id"]
                    assert refused.startswith(wanted["Error"]["Message"]), (trace["id"], refused)
        async with app:
            await play_groups(app, steps)
            ran += 1
    assert ran == len(traces()) == 16
