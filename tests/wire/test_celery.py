"""Celery on SQS: tasks, an ETA, retries, and kombu's fan-out by SNS, in processes of its own."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def environment(wire, tmp_path):
    return {
        **os.environ,
        "BROKER": f"sqs://forebay:forebay@127.0.0.1:{wire.port}//",
        "DONE": str(tmp_path / "done"),
        "AWS_DEFAULT_REGION": "eu-central-1",
        "PYTHONPATH": str(HERE),
        "PYTHONWARNINGS": "ignore",
    }


def python(environment, program):
    line = [sys.executable, "-c", program]
    return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=200, check=False)


def lines(environment):
    done = Path(environment["DONE"])
    return done.read_text().splitlines() if done.exists() else []


def test_celery_runs_tasks_with_an_eta_and_retries(environment, wire, tmp_path):
    log = (tmp_path / "worker.log").open("w")
    command = [sys.executable, "-m", "celery", "-A", "celery_tasks", "worker", "--pool", "solo", "--loglevel", "INFO"]
    worker = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=tmp_path)
    try:
        sent = python(
            environment,
            "import time; from celery_tasks import add, fragile\n"
            "[add.delay(number, 1) for number in range(5)]; fragile.delay()\n"
            "add.apply_async((100, 1), countdown=3); print(time.time())",
        )
        assert sent.returncode == 0, sent.stderr
        ends = time.monotonic() + 60
        while len(lines(environment)) < 7:
            assert time.monotonic() < ends, (tmp_path / "worker.log").read_text()
            assert worker.poll() is None, (tmp_path / "worker.log").read_text()
            time.sleep(0.05)
        told = dict(line.rsplit(" ", 1) for line in lines(environment))
        assert sorted(told) == ["add 1", "add 101", "add 2", "add 3", "add 4", "add 5", "fragile 2"]
        assert float(told["add 101"]) >= float(sent.stdout) + 2.9, "a task with an ETA waits for it"
    finally:
        worker.terminate()
        worker.wait(100)
        log.close()
    sqs = wire.client("sqs")
    (url,) = sqs.list_queues(QueueNamePrefix="tasks")["QueueUrls"]
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    left = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    assert set(left.values()) == {"0"}, "every task is acknowledged"


FANOUT = """
import os, socket
from kombu import Connection, Consumer, Exchange, Queue
options = {"region": "eu-central-1", "wait_time_seconds": 1, "is_secure": False, "supports_fanout": True}
news = Exchange("news", type="fanout")
queues = [Queue(name, news) for name in ("one", "two")]
got = []

def take(body, message):
    got.append((message.delivery_info["sqs_queue"].rsplit("/")[-1], body["said"]))
    message.ack()

with Connection(os.environ["BROKER"], transport_options=options) as connection:
    with connection.channel() as channel, Consumer(channel, queues, callbacks=[take], accept=["json"]):
        connection.Producer(channel).publish({"said": "hello"}, exchange=news, declare=[news])
        for _ in range(20):
            if len(got) == 2:
                break
            try:
                connection.drain_events(timeout=2)
            except socket.timeout:
                pass
print(sorted(got))
"""


def test_kombu_fans_a_message_out_by_sns(environment, wire):
    done = python(environment, FANOUT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[('one', 'hello'), ('two', 'hello')]"
    assert len(wire.client("sns").list_topics()["Topics"]) == 1
