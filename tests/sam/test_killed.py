"""A deploy that is killed at any of its steps: the next command carries it on, and ends in the old stack or in the new one."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from deploying import ENVIRONMENT, Killed, asked, deploy, deployer, forebay, serving, until

pytestmark = pytest.mark.timeout(300)  # commands are programs, and each deploy starts several

QUEUES, TOPICS = 30, 20


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


def points_of(store, text):
    """Tell how many points a deploy passes, by doing it once."""
    passed = []
    with deployer(store, passed.append) as (service, target, _):
        service.begin(asked(text, store))
        asyncio.run(service.run("shop", target))
    return len(passed)


@pytest.mark.parametrize(
    ("after", "ends"),
    [
        (template(60, queues=25, fifo=True), "UPDATE_COMPLETE"),
        (template(60, queues=25, broken=True), "UPDATE_ROLLBACK_COMPLETE"),
    ],
    ids=["that would succeed", "that would fail"],
)
def test_an_update_killed_at_each_step_ends_in_the_old_or_in_the_new_stack(tmp_path, after, ends):
    before = template(30, queues=QUEUES)
    whole = tmp_path / "whole"
    deploy(before, whole)
    prepare(whole)
    points = points_of(whole, after)
    assert points > 50
    for point in range(0, points, 7):
        store = tmp_path / f"store{point}"
        deploy(before, store)
        prepare(store)
        left = itertools.count()

        def passed(_name, left=left, point=point):
            if next(left) == point:
                raise Killed

        with deployer(store, passed) as (service, target, _):
            with pytest.raises(Killed):
                service.begin(asked(after, store))
                asyncio.run(service.run("shop", target))
        with deployer(store) as (service, target, connection):
            asyncio.run(service.resume(target))
            assert service.store.stack("shop").status == ends, f"killed at point {point}"
            assert service.store.operations() == []
            assert what_is_there(connection) == expected(service), f"killed at point {point}"
            assert len(what_is_there(connection)[0]) == (25 if ends == "UPDATE_COMPLETE" else QUEUES)
            assert "taken" in {one["name"] for one in connection.ask("queue.list")}


def prepare(store):
    """Make a queue that is no stack's."""
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
        deploying.wait(60)
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
