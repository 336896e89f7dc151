"""Commands take ARNs where they take names, and do not mistake the ARN of one thing for that of another."""

import asyncio

import pytest
from click.testing import CliRunner

from forebay import App
from forebay.cli.root import main

PLACE = "us-east-1:000000000000"
REST = {"StartAt": "Rest", "States": {"Rest": {"Type": "Wait", "Seconds": 3600, "End": True}}}


@pytest.fixture
def run(tmp_path, monkeypatch):
    async def make():
        app = App("shop", store=tmp_path / "data")
        for name in ("order", "other"):
            app.workflow(name, REST)
        app.workflow("quick", REST, type="EXPRESS")
        dead = app.queue("dead")
        queue = app.queue("orders", dead_letter_queue=dead)
        app.stream("moves")
        app.topic("alerts").subscribe(queue)

        @app.on_queue("orders")
        async def ship(event, context):
            return None

        @app.on_stream("moves")
        async def move(event, context):
            return None

        async with app:
            pass

    asyncio.run(make())
    monkeypatch.chdir(tmp_path)

    def run(*words, status=0):
        done = CliRunner().invoke(main, words, catch_exceptions=False)
        assert done.exit_code == status, done.output
        return " ".join(done.output.split())

    return run


def test_an_execution_is_not_looked_for_in_another_workflow(run):
    for name in ("order", "other"):
        run("workflow", "start", name, "--name", "x")
    arn = f"arn:aws:states:{PLACE}:execution:other:x"
    for command in ("describe", "history", "stop", "redrive"):
        told = run("workflow", command, "order", arn, status=2)
        assert f"{arn} is an execution of workflow other, not of order" in told
    assert "RUNNING" in run("workflow", "describe", "order", "x")
    assert "ABORTED" in run("workflow", "stop", f"arn:aws:states:{PLACE}:stateMachine:other", arn)


def test_an_express_execution_is_found_by_the_arn_that_its_start_prints(run, tmp_path):
    async def told():
        app = App("shop", store=tmp_path / "data")
        app.workflow("quick", REST, type="EXPRESS")
        async with app:
            started = await asyncio.to_thread(run, "workflow", "start", "quick", "--name", "x")
            arn = started.removeprefix("started ")
            assert ":express:quick:x:" in arn
            for words in (("workflow", "describe", "quick"), ("why",)):
                assert "RUNNING" in await asyncio.to_thread(run, *words, arn)

    asyncio.run(told())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["workflow", "stop", "order", f"arn:aws:states:{PLACE}:stateMachine:order"],
            "is not the ARN of an execution: arn:aws:states:REGION:ACCOUNT:execution:WORKFLOW:NAME",
        ),
        (
            ["workflow", "delete", f"arn:aws:states:{PLACE}:stateMachine:order:3", "--yes"],
            "is the ARN of a version or an alias: give the workflow's, without :3",
        ),
        (["queue", "describe", "http://127.0.0.1:4566/"], "is not the URL of a queue: it ends in /ACCOUNT/NAME"),
        (["queue", "describe", f"arn:aws:sqs:{PLACE}:"], "is not the ARN of a queue: "),
        (["lag", "--queue", f"arn:aws:sns:{PLACE}:alerts"], "is not the ARN of a queue: "),
        (["mapping", "pause", f"arn:aws:sns:{PLACE}:alerts", "ship"], "is not the ARN of a stream: "),
        (["mapping", "pause", "--queue", f"arn:aws:kinesis:{PLACE}:stream/moves", "move"], "is not the ARN of a queue"),
        (["dlq", "redrive", "--function", f"arn:aws:sqs:{PLACE}:dead"], "is not the ARN of a function: "),
    ],
)
def test_the_arn_of_something_else_is_refused(run, words, told):
    assert told in run(*words, status=2)


def test_a_version_is_named_where_one_is_taken(run):
    arn = f"arn:aws:states:{PLACE}:stateMachine:order:3"
    assert "has no version 3" in run("workflow", "describe", arn, status=1)
    assert 'has no "3"' in run("workflow", "start", arn, status=1)


def test_mappings_subscriptions_and_dead_letters_are_named_by_arns(run):
    ship, move = (f"arn:aws:lambda:{PLACE}:function:{name}" for name in ("ship", "move"))
    assert "Disabled" in run("mapping", "pause", f"arn:aws:sqs:{PLACE}:orders", ship)
    assert "Enabled" in run("mapping", "resume", "http://127.0.0.1:4566/000000000000/orders/", ship)
    assert "Disabled" in run("mapping", "pause", f"arn:aws:kinesis:{PLACE}:stream/moves", move)
    run("queue", "send", "http://127.0.0.1:4566/000000000000/dead/", "a book")
    dead = ("--queue", f"arn:aws:sqs:{PLACE}:dead")
    assert "a book" in run("dlq", "show", *dead)
    assert "a book" in run("dlq", "redrive", *dead, "--to", f"arn:aws:sqs:{PLACE}:orders", "--dry-run")
    assert "1 message of dead" in run("dlq", "redrive", *dead, "--to", f"arn:aws:sqs:{PLACE}:orders")
    assert "0 subscriptions" in run("topic", "unsubscribe", "alerts", "--queue", f"arn:aws:sqs:{PLACE}:orders")
