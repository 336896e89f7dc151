"""Long polls: a send wakes the one that waits, and a client that leaves takes no message with it."""

import http.client
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from wire_app import ACCOUNT, REGION

WAITING = 200


def poll(wire, seconds, queue="q"):
    """Give the bytes of a receive that waits."""
    body = json.dumps({"QueueUrl": f"{wire.url}/{ACCOUNT}/{queue}", "WaitTimeSeconds": seconds}).encode()
    headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS.ReceiveMessage"}
    request = AWSRequest("POST", wire.url + "/", headers=headers, data=body)
    SigV4Auth(Credentials("forebay", "forebay"), "sqs", REGION).add_auth(request)
    lines = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    head = f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{wire.port}\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def connected(wire):
    """Connect to the door."""
    return socket.create_connection(("127.0.0.1", wire.port), timeout=100)


def answered(connection):
    """Give the messages of the answer that comes."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    assert answer.status == 200
    return json.loads(answer.read()).get("Messages", [])


def test_a_send_wakes_a_receive_that_waits(wire):
    sqs = wire.client("sqs")
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    with connected(wire) as connection:
        for number in range(10):
            connection.sendall(poll(wire, 20))
            time.sleep(0.05)
            began = time.monotonic()
            sqs.send_message(QueueUrl=url, MessageBody=str(number))
            assert [one["Body"] for one in answered(connection)] == [str(number)]
            assert time.monotonic() - began < 15, "the poll would end after 20 s"


def test_a_client_that_leaves_a_long_poll_takes_no_message_with_it(wire):
    """The receives of clients that have gone are ended before anything is handed out: a message needs no visibility timeout."""
    sqs = wire.client("sqs")
    url = sqs.create_queue(QueueName="q", Attributes={"VisibilityTimeout": "600"})["QueueUrl"]
    gone = [connected(wire) for _ in range(WAITING)]
    for connection in gone:
        connection.sendall(poll(wire, 20))
    time.sleep(0.5)
    for connection in gone:
        connection.close()
    time.sleep(2)  # the door must have heard of all of them, on a busy machine as well
    sqs.send_message(QueueUrl=url, MessageBody="a book")
    (message,) = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5, MessageSystemAttributeNames=["All"])["Messages"]
    assert message["Body"] == "a book"
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"


def test_polls_that_wait_cost_no_thread_and_are_answered_one_message_each(wire):
    sqs = wire.client("sqs")
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    threads = len(list_of_threads())
    waiting = [connected(wire) for _ in range(WAITING)]
    try:
        for connection in waiting:
            connection.sendall(poll(wire, 20))
        time.sleep(0.5)
        assert len(list_of_threads()) < threads + WAITING // 10
        for number in range(0, WAITING, 10):
            entries = [{"Id": str(one), "MessageBody": str(one)} for one in range(number, number + 10)]
            sqs.send_message_batch(QueueUrl=url, Entries=entries)
        with ThreadPoolExecutor(20) as pool:
            got = [one["Body"] for messages in pool.map(answered, waiting) for one in messages]
        assert sorted(got, key=int) == [str(number) for number in range(WAITING)]
    finally:
        for connection in waiting:
            connection.close()


def list_of_threads():
    """Give this process's threads, those of the engine included."""
    return list(Path("/proc/self/task").iterdir())
