"""A deploy that is killed at any of its steps: the next command carries it on, and ends in the old stack or in the new one."""

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from deploying import ENVIRONMENT, Killed, asked, deploy, deployer, forebay, serving, until

QUEUES, TOPICS = 30, 20
EVERY = 1 if os.environ.get("FOREBAY_STEPS") == "all" else 37
# Commands are programs, and each deploy starts several. A mark stands before the command line, and each step takes its time.
pytestmark = pytest.mark.timeout(300 if EVERY > 1 else 7200)


def template(seconds, *, queues, fifo=False, broken=False):
    """Give a template of up to 50 resources and more."""
    lines = ["Resources:"]
    for number in range(queues):
        lines.append(
            f"  Q{number}: {{Type: AWS::SQS::Queue, Properties: {{VisibilityTimeout: {seconds}, FifoQueue: {str(fifo and number == 0).lower()}}}}}"
        )
    lines += [f"  T{number}: {{Type: AWS::SNS::Topic}}" for number in range(TOPICS)]
    if broken:
        last = ", ".join(f"Q{number}" for number in range(queues))
        lines.append(f"  Taken: {{Type: AWS::SQS::Queue, DependsOn: [{last}], Properties: {{QueueName: taken}}}}")
    return "\n".join(lines)


def what_is_there(connection):
    queues = {
        one["name"]: one["visibility_timeout_ms"] for one in connection.ask("queue.list") if one["name"] != "taken"
    }
    return queues, {one["name"] for one in connection.ask("topic.list")}


def expected(service):
    resources = service.store.resources("shop").values()
    queues = {
        one.physical: int(one.properties["VisibilityTimeout"]) * 1000
        for one in resources
        if one.type == "AWS::SQS::Queue"
    }
    return queues, {one.physical for one in resources if one.type == "AWS::SNS::Topic"}


BEFORE, AFTER = template(30, queues=QUEUES), template(60, queues=25, fifo=True)
# What is there, what is deployed (None: it is deleted), how it ends, and how many queues there are then.
OPERATIONS = {
    "creation": (None, BEFORE, "CREATE_COMPLETE", QUEUES),
    "creation that fails": (None, template(60, queues=QUEUES, broken=True), "ROLLBACK_COMPLETE", 0),
    "update": (BEFORE, AFTER, "UPDATE_COMPLETE", 25),
    "update that fails": (BEFORE, template(60, queues=25, broken=True), "UPDATE_ROLLBACK_COMPLETE", QUEUES),
    "deletion": (BEFORE, None, "DELETE_COMPLETE", 0),
}


def operate(store, after, passed):
    """Deploy a template, or delete the stack."""
    with deployer(store, passed) as (service, target, _):
        if after is None:
            service.begin_deletion("shop")
        else:
            service.begin(asked(after, store))
        asyncio.run(service.run("shop", target))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_killed_at_each_step_ends_in_the_old_or_in_the_new_stack(tmp_path, operation):
    """Each 37th step in the ordinary run; `make deep ARGS=stacks` kills at each."""
    before, after, ends, queues = OPERATIONS[operation]
    whole = tmp_path / "whole"
    if before is not None:
        deploy(before, whole)
    prepare(whole)
    shutil.copytree(whole, tmp_path / "counted")
    points = []
    operate(tmp_path / "counted", after, points.append)
    assert len(points) > 50
    kills = range(0, len(points), EVERY)
    for point in kills:
        store = tmp_path / f"store{point}"
        shutil.copytree(whole, store)
        left = itertools.count()

        def passed(_name, left=left, point=point):
            if next(left) == point:
                raise Killed

        with pytest.raises(Killed):
            operate(store, after, passed)
        with deployer(store) as (service, target, connection):
            asyncio.run(service.resume(target))
            stack = service.store.find("shop")
            assert (stack.status if stack is not None else "DELETE_COMPLETE") == ends, f"killed at {points[point]}"
            assert service.store.operations() == []
            assert what_is_there(connection) == expected(service), f"killed at {points[point]}"
            assert len(what_is_there(connection)[0]) == queues
            assert "taken" in {one["name"] for one in connection.ask("queue.list")}
        shutil.rmtree(store)
    print(f"figures {json.dumps({'operations': 1, 'kills': len(kills)})}")  # noqa: T201  `make deep` reads it


def prepare(store):
    """Make a queue that is not a stack's."""
    with deployer(store) as (_, _, connection):
        fields = {
            "visibility_timeout_ms": 30_000,
            "delay_ms": 0,
            "retention_ms": 345_600_000,
            "maximum_receive_count": 10,
        }
        more = {"content_based_deduplication": False, "deduplication_scope": "queue", "dead_letter_queue": None}
        connection.ask("queue.declare", name="taken", **fields, **more)


@pytest.mark.parametrize("after", [0.0, 0.05, 0.2])
def test_an_app_that_is_killed_while_it_deploys_goes_on_at_its_next_start(tmp_path, after):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "app.py").write_text("def handler(event, context):\n    return 'served'\n")
    lines = ["Resources:"]
    lines += [f"  Q{number}: {{Type: AWS::SQS::Queue}}" for number in range(40)]
    lines += [
        f"  F{number}: {{Type: AWS::Lambda::Function, Properties: {{FunctionName: f{number}, Runtime: python3.11, Handler: app.handler, Role: x, Code: src}}}}"
        for number in range(3)
    ]
    (tmp_path / "template.yaml").write_text("\n".join(lines))
    store = tmp_path / "data"
    store.mkdir()
    with serving(store, cwd=tmp_path):
        command = [sys.executable, "-m", "forebay.cli", "deploy", "--stack-name", "shop"]
        deploying = subprocess.Popen(
            command, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(lambda: begun(store))
        time.sleep(after)
        os.kill(int((store / "lock").read_text()), signal.SIGKILL)
        deploying.wait(100)
    with serving(store, cwd=tmp_path):
        until(lambda: "CREATE_COMPLETE" in forebay("stack", "list", cwd=tmp_path).stdout, 60)
        assert len(json.loads(forebay("queue", "list", "--output", "json", cwd=tmp_path).stdout)) == 40
        for number in range(3):
            assert (
                json.loads(forebay("invoke", f"f{number}", "{}", "--output", "json", cwd=tmp_path).stdout) == "served"
            )


def begun(store):
    """Whether an operation is under way."""
    if not (store / "stacks.db").exists():
        return False
    with contextlib.closing(sqlite3.connect(store / "stacks.db")) as database:
        return database.execute("SELECT count(*) FROM operations WHERE position > 1").fetchone()[0] > 0
