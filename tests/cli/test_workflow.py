"""`forebay workflow`, as a user types it: on a store that no app runs on."""

import asyncio
import json

import pytest
from cli_commands import asked, forebay, refused

from forebay import App
from forebay.integrations import AwsSdk

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


def test_a_definition_is_checked_before_there_is_a_store(tmp_path):
    """As in a check before a commit: it needed a store, and took `${Name}` for a wrong ARN."""
    services = ["arn:aws:states:::http:invoke", "arn:aws:states:::aws-sdk:s3:listBuckets", "${charge}"]
    good = {
        "StartAt": "0",
        "States": {
            str(number): {"Type": "Task", "Resource": service, "Next": str(number + 1)}
            for number, service in enumerate(services)
        },
    }
    good["States"]["3"] = {"Type": "Succeed"}
    (tmp_path / "good.json").write_text(json.dumps(good))
    found = forebay(tmp_path, "workflow", "validate", "good.json")
    assert found.stdout == "nothing is wrong\n"
    assert f"there is no store in {tmp_path / 'data'}" in found.stderr
    good["States"]["2"]["HeartbeatSeconds"] = -1
    (tmp_path / "wrong.json").write_text(json.dumps(good))
    assert forebay(tmp_path, "workflow", "validate", "wrong.json", status=1).stdout.startswith(
        "/States/2/HeartbeatSeconds: "
    )
    assert not (tmp_path / "data").exists()


def test_a_file_that_is_not_json_and_a_call_that_there_is_not_are_told(tmp_path):
    """Of YAML it said that JSON was expected in line 1, without the file. A misspelt operation was found when it was called."""
    pytest.importorskip("boto3")
    (tmp_path / "flow.yaml").write_text("StartAt: A\n")
    told = forebay(tmp_path, "workflow", "validate", "flow.yaml", status=1).stdout
    assert told.startswith("/: INVALID_JSON_DESCRIPTION: flow.yaml: it is not JSON, and YAML is not read: ")
    task = {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:s3:getObjectt", "End": True}
    (tmp_path / "get.json").write_text(json.dumps({"StartAt": "A", "States": {"A": task}}))
    told = forebay(tmp_path, "workflow", "validate", "get.json", status=1).stdout
    assert told == "/States/A/Resource: NOT_SUPPORTED: aws-sdk:s3 has no operation 'getObjectt'\n"


def test_an_operation_that_the_app_may_know_is_not_wrong(tmp_path):
    """The app's own client knew it, and the check of its definition ended with status 1."""
    pytest.importorskip("boto3")
    task = {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:s3:newerThanBoto", "End": True}
    (tmp_path / "new.json").write_text(json.dumps({"StartAt": "A", "States": {"A": task}}))

    async def make():
        app = App("shop", store=tmp_path / "data")
        app.integrate(AwsSdk(lambda _: None))
        app.workflow("new", tmp_path / "new.json")
        async with app:
            return (await asyncio.to_thread(forebay, tmp_path, "workflow", "validate", "new.json")).stdout

    assert asyncio.run(make()) == "/States/A/Resource: NOT_FOUND: aws-sdk:s3 has no operation 'newerThanBoto'\n"


def test_functions_are_not_looked_for_while_no_app_runs(place):
    """Each was told as NOT_FOUND, since only an app that runs knows its functions."""
    task = {"Type": "Task", "Resource": "${charge}", "End": True}
    (place / "charge.json").write_text(json.dumps({"StartAt": "Charge", "States": {"Charge": task}}))
    found = forebay(place, "workflow", "validate", "charge.json")
    assert found.stdout == "nothing is wrong\n"
    assert found.stderr == "no app runs: the functions that the definition names were not looked for\n"


def test_a_package_that_cannot_be_imported_is_named(place, monkeypatch):
    """It was a traceback."""
    offers = place / "broken_offer-1.dist-info"
    offers.mkdir()
    (offers / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-offer\nVersion: 1\n")
    (offers / "entry_points.txt").write_text("[forebay.workflow.integrations]\nglue = broken_offer:make\n")
    monkeypatch.setenv("PYTHONPATH", str(place))
    task = {"Type": "Task", "Resource": "arn:aws:states:::glue:startJobRun", "End": True}
    (place / "glue.json").write_text(json.dumps({"StartAt": "A", "States": {"A": task}}))
    assert refused(place, "workflow", "validate", "glue.json") == (
        "Error: package broken-offer offers to call glue, and cannot be imported: No module named 'broken_offer'\n"
    )


def test_what_stands_for_a_name_is_put_in(place):
    send = {"Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage", "End": True}
    send["Parameters"] = {"QueueUrl": "${Queue}", "MessageBody": "x"}
    (place / "send.json").write_text(json.dumps({"StartAt": "Send", "States": {"Send": send}}))
    found = forebay(place, "workflow", "validate", "send.json", "--substitute", "Queue=orders").stdout
    assert found == '/States/Send/Parameters: NOT_FOUND: queue "orders" is not there\n'
    assert (
        "no such ${Name}"
        in forebay(place, "workflow", "validate", "send.json", "--substitute", "Q=orders", status=2).stderr
    )
    assert "NAME=VALUE" in forebay(place, "workflow", "validate", "send.json", "--substitute", "Q", status=2).stderr


def test_an_execution_is_redriven_and_a_workflow_deleted(place):
    asked(place, "workflow", "start", "rest", "--name", "one")
    assert "1 executions that run" in refused(place, "workflow", "delete", "rest", "--yes")
    asked(place, "workflow", "stop", "rest", "one")
    told = asked(place, "workflow", "redrive", "rest", "one")
    assert (told["status"], told["redrive_count"]) == ("RUNNING", 1)
    assert "redriven 1 time, the last time " in forebay(place, "why", "one").stdout
    asked(place, "workflow", "stop", "rest", "one")
    assert asked(place, "workflow", "delete", "rest", "--yes") == {"deleted": "rest"}
    assert asked(place, "workflow", "list") == []


def test_versions_and_aliases_are_named_by_each_command(tmp_path):
    """`describe rest:live` said that there is no version live, and `list` took neither."""
    later = {"StartAt": "Later", "States": {"Later": {"Type": "Wait", "Seconds": 60, "End": True}}}

    async def make():
        for definition in (REST, later):
            app = App("shop", store=tmp_path / "data")
            flow = app.workflow("rest", definition)
            async with app:
                version = await flow.publish_version()
                await flow.set_alias("live", 1)
                await flow.set_alias("next", {1: 90, 2: 10} if version == 2 else 1)

    asyncio.run(make())
    for number, asked_by in enumerate(("rest", "rest:2", "rest:live")):
        forebay(tmp_path, "workflow", "start", asked_by, "--name", f"n{number}")

    def started_by(name):
        return [one["name"] for one in asked(tmp_path, "workflow", "list", name)]

    assert (started_by("rest:2"), started_by("rest:live"), started_by("rest:next")) == (["n1"], ["n2"], [])
    assert sorted(started_by("rest")) == ["n0", "n1", "n2"]
    text = forebay(tmp_path, "workflow", "describe", "rest").stdout
    assert "versions: 2, 1\nalias live: version 1 (100%)\nalias next: version 1 (90%), version 2 (10%)\n" in text
    text = forebay(tmp_path, "workflow", "describe", "rest:live").stdout
    assert text.startswith(
        "arn: arn:aws:states:local:000000000000:stateMachine:rest:live\nleads to: version 1 (100%)\n"
    )
    assert json.loads(text.partition("version 1:\n")[2]) == REST
    told = asked(tmp_path, "workflow", "describe", told_arn(text))
    assert (told["name"], [one["version"] for one in told["versions"]]) == ("live", [1])
    assert json.loads(asked(tmp_path, "workflow", "describe", "rest:2")["definition"]) == later
    assert "alias: live" in forebay(tmp_path, "workflow", "describe", "rest:live", "n2").stdout
    assert "Rest" in forebay(tmp_path, "workflow", "graph", "rest:live").stdout
    assert "name one of them, rest:1 or rest:2" in refused(tmp_path, "workflow", "graph", "rest:next")
    for command in ("describe", "list"):
        assert refused(tmp_path, "workflow", command, "rest:lvie") == (
            "Error: workflow rest has no version and no alias 'lvie': there are 2, 1, live, next\n"
        )


def told_arn(text):
    return text.partition("\n")[0].removeprefix("arn: ")


def test_a_workflow_is_drawn(place):
    choice = {"Variable": "$.n", "NumericEquals": 1, "Next": 'The "end"'}
    machine = {
        "StartAt": "Which",
        "States": {
            "Which": {"Type": "Choice", "Choices": [choice], "Default": "Both"},
            "Both": {"Type": "Parallel", "Branches": [REST], "Next": 'The "end"'},
            'The "end"': {"Type": "Succeed"},
        },
    }
    (place / "machine.json").write_text(json.dumps(machine))
    drawn = forebay(place, "workflow", "graph", "machine.json").stdout.splitlines()
    assert [line.strip() for line in drawn] == [
        "flowchart TD",
        "start((start))",
        's1{"Which"}',
        's1 -->|"rule 1"| s2',
        's1 -->|"default"| s3',
        'subgraph s3["Both"]',
        's4["Rest"]',
        "end",
        "s3 --> s2",
        's2["The #quot;end#quot;"]',
        "start --> s1",
    ]
    (place / "half.json").write_text(json.dumps({"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}}}))
    assert 's2["B is missing"]' in forebay(place, "workflow", "graph", "half.json").stdout
    assert refused(place, "workflow", "graph", "./none.json") == "Error: there is no file ./none.json\n"
    dot = forebay(place, "workflow", "graph", "rest", "--format", "dot").stdout
    assert '"Rest" [shape=box];' in dot
    assert 'start -> "Rest";' in dot


def test_any_name_of_a_state_is_drawn(place):
    """In dot a state `start` was the entry, too; Mermaid read `#` and a new line as something else."""
    states = {"start": {"Type": "Pass", "Next": "start_"}, "start_": {"Type": "Pass", "Next": "#quot; <b>\n&"}}
    states["#quot; <b>\n&"] = {"Type": "Succeed"}
    (place / "names.json").write_text(json.dumps({"StartAt": "start", "States": states}))
    dot = forebay(place, "workflow", "graph", "names.json", "--format", "dot").stdout
    assert "start__ [shape=circle, label=start];" in dot
    assert 'start__ -> "start";' in dot
    assert '["#35;quot; #lt;b#gt;<br/>#amp;"]' in forebay(place, "workflow", "graph", "names.json").stdout
