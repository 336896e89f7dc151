"""A process that serves the wire API is killed under load: what was answered with 200 is there."""

import base64
import http.client
import itertools
import json
import os
import random
import subprocess
import sys
import threading
import time

import pytest
from ports import free_port
from test_door import signed

KILLS = int(os.environ.get("FOREBAY_COUNT", "6"))
SEED = int(os.environ.get("FOREBAY_SEED", "20261128"))
SENDERS = 4
PROGRAM = """
import forebay
app = forebay.App("victim", store={store!r}, region="eu-central-1", account="123456789012")
app.queue("q")
app.stream("s", shards=2)
"""


class Wire:
    """Where the app is, for `signed`."""

    def __init__(self, port):
        self.port, self.url = port, f"http://127.0.0.1:{port}"


def ask(connection, wire, target, body, service):
    """Ask once; None: there was no answer."""
    data = json.dumps(body).encode()
    kind = "1.1" if service == "kinesis" else "1.0"
    headers = signed(
        wire, {"Content-Type": f"application/x-amz-json-{kind}", "X-Amz-Target": target}, data, service=service
    )
    try:
        connection.request("POST", "/", data, headers)
        answer = connection.getresponse()
        told = answer.read()
        return json.loads(told) if answer.status == 200 else None
    except (OSError, http.client.HTTPException):
        connection.close()
        return None


def started(folder, port):
    command = [sys.executable, "-m", "forebay.cli", "run", "--aws-port", str(port), "--metrics-port", "0", "victim:app"]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)
    ends = time.monotonic() + 100
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=100)
        if ask(connection, Wire(port), "AmazonSQS.ListQueues", {}, "sqs") is not None:
            connection.close()
            return process
        connection.close()
        assert process.poll() is None and time.monotonic() < ends
        time.sleep(0.05)


def send(wire, numbers, acknowledged, ends):
    """Send and put until the app is gone; note what was answered."""
    url = f"{wire.url}/123456789012/q"
    connection = http.client.HTTPConnection("127.0.0.1", wire.port, timeout=100)
    while not ends.is_set():
        number = next(numbers)
        told = ask(connection, wire, "AmazonSQS.SendMessage", {"QueueUrl": url, "MessageBody": str(number)}, "sqs")
        if told is not None:
            acknowledged["q"].append(number)
        data = base64.b64encode(str(number).encode()).decode()
        put = {"StreamName": "s", "PartitionKey": str(number % 7), "Data": data}
        if ask(connection, wire, "Kinesis_20131202.PutRecord", put, "kinesis") is not None:
            acknowledged["s"].append(number)
    connection.close()


@pytest.mark.timeout(240 + 20 * KILLS)
def test_what_was_answered_with_200_outlasts_kills(tmp_path):
    (tmp_path / "victim.py").write_text(PROGRAM.format(store=str(tmp_path / "store")))
    chance, numbers, port = random.Random(SEED), itertools.count(), free_port()
    acknowledged, wire = {"q": [], "s": []}, Wire(port)
    for _ in range(KILLS):
        process, ends = started(tmp_path, port), threading.Event()
        senders = [threading.Thread(target=send, args=(wire, numbers, acknowledged, ends)) for _ in range(SENDERS)]
        for sender in senders:
            sender.start()
        time.sleep(0.2 + chance.random())
        process.kill()
        process.wait(100)
        ends.set()
        for sender in senders:
            sender.join(100)
    process = started(tmp_path, port)
    try:
        got = everything(wire)
    finally:
        process.terminate()
        process.wait(100)
    for name, sent in acknowledged.items():
        assert len(sent) > 10 * KILLS, "the load was a load"
        assert set(sent) <= set(got[name]), f"lost: {sorted(set(sent) - set(got[name]))[:10]}"
        assert len(got[name]) == len(set(got[name])), "nothing is there twice"
    print("figures " + json.dumps({"kills": KILLS, "acknowledged": sum(map(len, acknowledged.values()))}))


def everything(wire):
    """Read the queue and the stream to their ends."""
    connection = http.client.HTTPConnection("127.0.0.1", wire.port, timeout=100)
    url, messages, records = f"{wire.url}/123456789012/q", [], []
    while True:
        asked = {"QueueUrl": url, "MaxNumberOfMessages": 10, "VisibilityTimeout": 600}
        found = ask(connection, wire, "AmazonSQS.ReceiveMessage", asked, "sqs").get("Messages", [])
        if not found:
            break
        messages += [int(message["Body"]) for message in found]
    for shard in ask(connection, wire, "Kinesis_20131202.ListShards", {"StreamName": "s"}, "kinesis")["Shards"]:
        where = {"StreamName": "s", "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        iterator = ask(connection, wire, "Kinesis_20131202.GetShardIterator", where, "kinesis")["ShardIterator"]
        while True:
            answer = ask(connection, wire, "Kinesis_20131202.GetRecords", {"ShardIterator": iterator}, "kinesis")
            if not answer["Records"]:
                break
            records += [int(base64.b64decode(record["Data"])) for record in answer["Records"]]
            iterator = answer["NextShardIterator"]
    connection.close()
    return {"q": messages, "s": records}
