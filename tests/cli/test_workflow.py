"""`forebay workflow`, as a user types it: on a store that no app runs on."""

import asyncio
import json

import pytest
from cli_commands import asked, forebay, refused

from forebay import App

REST = {"StartAt": "Rest", "States": {"Rest": {"Type": "Wait", "Seconds": 3600, "End": True}}}


@pytest.fixture
def place(tmp_path):
    async def make():
        app = App("shop", store=tmp_path / "data")
        app.workflow("rest", REST)
        async with app:
            pass

    asyncio.run(make())
    return tmp_path


def test_executions_are_started_looked_at_and_stopped(place):
    assert [one["name"] for one in asked(place, "workflow", "list")] == ["rest"]
    assert asked(place, "workflow", "start", "rest", '{"n": 1}', "--name", "one")["name"] == "one"
    [listed] = asked(place, "workflow", "list", "rest", "--status", "RUNNING")
    assert (listed["name"], listed["status"]) == ("one", "RUNNING")
    assert "status: RUNNING" in forebay(place, "workflow", "describe", "rest", "one").stdout
    assert json.loads(asked(place, "workflow", "describe", "rest")["definition"]) == REST
    assert asked(place, "workflow", "stop", "rest", "one", "--error", "Enough")["status"] == "ABORTED"
    events = asked(place, "workflow", "history", "rest", "one")
    assert [event["type"] for event in events] == [
        "ExecutionStarted",
        "WaitStateEntered",
        "ExecutionAborted",
    ]
    assert refused(place, "workflow", "describe", "rest", "two").startswith("Error: Execution Does Not Exist: 'arn:")


def test_a_definition_is_checked(place):
    (place / "good.json").write_text(json.dumps(REST))
    assert forebay(place, "workflow", "validate", "good.json").stdout == "nothing is wrong\n"
    wrong = {
        "StartAt": "A",
        "States": {"A": {"Type": "Task", "Resource": "arn:aws:states:::glue:startJobRun", "End": True}},
    }
    (place / "wrong.json").write_text(json.dumps(wrong))
    text = forebay(place, "workflow", "validate", "wrong.json", status=1).stdout
    assert text.startswith("/States/A/Resource: NOT_SUPPORTED: ")
