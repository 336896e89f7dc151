"""A day's work with SQS by boto3, which speaks JSON, and what other clients say in the query protocol."""

import hashlib
import json
import shutil
import socket
import struct
import threading
import time
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from wire_app import served

from forebay import App

GOLDEN = Path(__file__).parents[1] / "golden"


def code(call, **arguments):
    """Give the code and the shape of the error that a call raises."""
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    return raised.value.response["Error"]["Code"], raised.value.response["Error"].get("QueryErrorCode")


def test_a_message_is_sent_received_and_deleted(sqs, queue, wire):
    assert queue == f"{wire.url}/123456789012/orders"
    attributes = {
        "kind": {"DataType": "String", "StringValue": "book"},
        "cover": {"DataType": "Binary.png", "BinaryValue": b"\x00\xff"},
    }
    sent = sqs.send_message(QueueUrl=queue, MessageBody="hello", MessageAttributes=attributes)
    wanted = {"MessageAttributeNames": ["All"], "MessageSystemAttributeNames": ["All"]}
    (message,) = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, **wanted)["Messages"]
    assert (message["MessageId"], message["Body"]) == (sent["MessageId"], "hello")
    # boto3 checks the sums of the body itself.
    assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert message["MessageAttributes"] == attributes
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    assert "Messages" not in sqs.receive_message(QueueUrl=queue)
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    depth = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    assert (depth["ApproximateNumberOfMessages"], depth["ApproximateNumberOfMessagesNotVisible"]) == ("0", "0")


def test_a_batch_is_sent_and_each_entry_that_cannot_be_is_told_why(sqs, queue):
    entries = [{"Id": str(n), "MessageBody": f"m{n}"} for n in range(9)]
    entries.insert(4, {"Id": "wrong", "MessageBody": "\x0b"})
    answer = sqs.send_message_batch(QueueUrl=queue, Entries=entries)
    assert [entry["Id"] for entry in answer["Successful"]] == [str(n) for n in range(9)]
    assert [(entry["Id"], entry["Code"], entry["SenderFault"]) for entry in answer["Failed"]] == [
        ("wrong", "InvalidMessageContents", True)
    ]
    messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    assert sorted(message["Body"] for message in messages) == [f"m{n}" for n in range(9)]
    done = [{"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]} for n, message in enumerate(messages)]
    answer = sqs.delete_message_batch(QueueUrl=queue, Entries=[*done, {"Id": "x", "ReceiptHandle": "none"}])
    assert len(answer["Successful"]) == 9
    assert [(entry["Id"], entry["Code"]) for entry in answer["Failed"]] == [("x", "ReceiptHandleIsInvalid")]


def sum_of_attributes(*attributes):
    """Give the sum that AWS's documentation describes for attributes that are text."""
    texts = [
        b"".join(struct.pack(">I", len(text)) + text.encode() for text in (name, kind))
        + b"\x01"
        + struct.pack(">I", len(value))
        + value.encode()
        for name, kind, value in sorted(attributes)
    ]
    return hashlib.md5(b"".join(texts), usedforsecurity=False).hexdigest()


def test_each_entry_of_a_batch_has_its_own_trace(sqs, queue):
    traces = {
        "a": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
        "b": "Root=1-5759e988-aaaaaaaaaaaaaaaaaaaaaaaa;Parent=bbbbbbbbbbbbbbbb;Sampled=0",
    }

    def system(text, name="AWSTraceHeader"):
        return {"MessageSystemAttributes": {name: {"DataType": "String", "StringValue": text}}}

    entries = [{"Id": name, "MessageBody": name, **system(text)} for name, text in traces.items()]
    entries += [{"Id": "c", "MessageBody": "c"}, {"Id": "d", "MessageBody": "d", **system("x", "Colour")}]
    kind = {"kind": {"DataType": "String.one", "StringValue": "book"}}
    entries[0]["MessageAttributes"] = kind
    answer = sqs.send_message_batch(QueueUrl=queue, Entries=entries)
    assert [entry["Id"] for entry in answer["Successful"]] == ["a", "b", "c"]
    assert [(entry["Id"], entry["Code"]) for entry in answer["Failed"]] == [("d", "InvalidParameterValue")]
    sums = [entry.get("MD5OfMessageSystemAttributes") for entry in answer["Successful"]]
    assert sums == [*(sum_of_attributes(("AWSTraceHeader", "String", text)) for text in traces.values()), None]
    assert answer["Successful"][0]["MD5OfMessageAttributes"] == sum_of_attributes(("kind", "String.one", "book"))
    wanted = {"MaxNumberOfMessages": 10, "MessageSystemAttributeNames": ["AWSTraceHeader"]}
    messages = sqs.receive_message(QueueUrl=queue, **wanted)["Messages"]
    assert {one["Body"]: one.get("Attributes", {}).get("AWSTraceHeader") for one in messages} == {**traces, "c": None}
    sent = sqs.send_message(QueueUrl=queue, MessageBody="e", **system(traces["a"]))
    assert sent["MD5OfMessageSystemAttributes"] == sums[0]


def test_a_batch_that_is_none_is_refused_as_aws_does(sqs, queue):
    def send(entries):
        return code(sqs.send_message_batch, QueueUrl=queue, Entries=entries)

    entry = {"Id": "a", "MessageBody": "m"}
    assert send([]) == ("AWS.SimpleQueueService.EmptyBatchRequest", "EmptyBatchRequest")
    assert send([entry, entry]) == ("AWS.SimpleQueueService.BatchEntryIdsNotDistinct", "BatchEntryIdsNotDistinct")
    assert send([{**entry, "Id": "a b"}]) == ("AWS.SimpleQueueService.InvalidBatchEntryId", "InvalidBatchEntryId")
    many = [{"Id": str(n), "MessageBody": "m"} for n in range(11)]
    assert send(many)[1] == "TooManyEntriesInBatchRequest"


def test_a_long_poll_gets_what_is_sent_meanwhile(wire, sqs, queue):
    got, other = [], wire.client("sqs")
    waiting = threading.Thread(target=lambda: got.append(other.receive_message(QueueUrl=queue, WaitTimeSeconds=20)))
    waiting.start()
    time.sleep(0.3)
    began = time.monotonic()
    sqs.send_message(QueueUrl=queue, MessageBody="late")
    waiting.join(100)
    assert time.monotonic() - began < 15, "the poll would end after 20 s"
    assert [message["Body"] for message in got[0]["Messages"]] == ["late"]


def test_a_message_comes_back_when_its_visibility_is_ended(sqs, queue):
    sqs.send_message(QueueUrl=queue, MessageBody="again")
    (message,) = sqs.receive_message(QueueUrl=queue)["Messages"]
    sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    (again,) = sqs.receive_message(QueueUrl=queue, AttributeNames=["ApproximateReceiveCount"])["Messages"]
    assert again["Attributes"] == {"ApproximateReceiveCount": "2"}


def test_attributes_are_set_kept_and_compared(sqs, queue):
    settings = {
        "VisibilityTimeout": "60",
        "DelaySeconds": "0",
        "ReceiveMessageWaitTimeSeconds": "3",
        "Policy": '{"Version": "1"}',
    }
    sqs.set_queue_attributes(QueueUrl=queue, Attributes=settings)
    given = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    assert {name: given[name] for name in settings} == settings
    assert given["QueueArn"] == "arn:aws:sqs:eu-central-1:123456789012:orders"
    assert sqs.create_queue(QueueName="orders", Attributes={"VisibilityTimeout": "60"})["QueueUrl"] == queue
    refused = code(sqs.create_queue, QueueName="orders", Attributes={"VisibilityTimeout": "61"})
    assert refused == ("QueueAlreadyExists", "QueueNameExists")
    assert (
        code(sqs.set_queue_attributes, QueueUrl=queue, Attributes={"VisibilityTimeout": "-1"})[0]
        == "InvalidAttributeValue"
    )
    assert code(sqs.set_queue_attributes, QueueUrl=queue, Attributes={"Colour": "red"})[0] == "InvalidAttributeName"
    # What forebay would not do is refused, not accepted and forgotten.
    assert (
        code(sqs.set_queue_attributes, QueueUrl=queue, Attributes={"KmsMasterKeyId": "k"})[0] == "InvalidAttributeValue"
    )


def test_tags_are_kept_and_listed(sqs, queue):
    sqs.tag_queue(QueueUrl=queue, Tags={"team": "books", "cost": "1"})
    sqs.untag_queue(QueueUrl=queue, TagKeys=["cost"])
    assert sqs.list_queue_tags(QueueUrl=queue)["Tags"] == {"team": "books"}


def test_queues_are_listed_page_by_page(sqs):
    for number in range(5):
        sqs.create_queue(QueueName=f"q{number}")
    sqs.create_queue(QueueName="other")
    pages = sqs.get_paginator("list_queues").paginate(QueueNamePrefix="q", PaginationConfig={"PageSize": 2})
    urls = [page["QueueUrls"] for page in pages]
    assert [len(page) for page in urls] == [2, 2, 1]
    assert [url.rsplit("/")[-1] for page in urls for url in page] == [f"q{n}" for n in range(5)]
    assert code(sqs.list_queues, MaxResults=2, NextToken="AAAA")[0] == "InvalidParameterValue"


def test_what_is_not_there_is_told_as_aws_does(sqs, queue, wire):
    missing = f"{wire.url}/123456789012/none"
    wanted = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
    assert code(sqs.get_queue_url, QueueName="none") == wanted
    assert code(sqs.send_message, QueueUrl=missing, MessageBody="m") == wanted
    assert code(sqs.send_message, QueueUrl=queue.replace("123456789012", "210987654321"), MessageBody="m") == wanted
    with pytest.raises(sqs.exceptions.QueueDoesNotExist):
        sqs.purge_queue(QueueUrl=missing)
    sqs.delete_queue(QueueUrl=queue)
    assert code(sqs.receive_message, QueueUrl=queue) == wanted


def test_fifo_queues_keep_order_and_drop_what_is_sent_twice(sqs):
    attributes = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    queue = sqs.create_queue(QueueName="steps.fifo", Attributes=attributes)["QueueUrl"]
    for body in ["1", "2", "2", "3"]:
        sqs.send_message(QueueUrl=queue, MessageBody=body, MessageGroupId="g")
    messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    assert [message["Body"] for message in messages] == ["1", "2", "3"]
    assert code(sqs.send_message, QueueUrl=queue, MessageBody="m")[0] == "MissingParameter"
    assert code(sqs.create_queue, QueueName="steps2.fifo")[0] == "InvalidParameterValue"


def test_dead_letters_move_and_are_moved_back(sqs):
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    arn = "arn:aws:sqs:eu-central-1:123456789012:dead"
    policy = f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": 1}}'
    queue = sqs.create_queue(QueueName="live", Attributes={"RedrivePolicy": policy, "VisibilityTimeout": "0"})[
        "QueueUrl"
    ]
    assert sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == [queue]
    sqs.send_message(QueueUrl=queue, MessageBody="poison")
    assert len(sqs.receive_message(QueueUrl=queue)["Messages"]) == 1
    assert "Messages" not in sqs.receive_message(QueueUrl=queue)
    assert len(sqs.receive_message(QueueUrl=dead, WaitTimeSeconds=5, VisibilityTimeout=0)["Messages"]) == 1
    for rate in (0, 501):
        with pytest.raises(ClientError, match="MaxNumberOfMessagesPerSecond must be an integer between 1 and 500"):
            sqs.start_message_move_task(SourceArn=arn, MaxNumberOfMessagesPerSecond=rate)
    with pytest.raises(ClientError, match="MaxResults must be an integer between 1 and 10"):
        sqs.list_message_move_tasks(SourceArn=arn, MaxResults=11)
    sqs.start_message_move_task(SourceArn=arn)
    (message,) = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=10)["Messages"]
    assert message["Body"] == "poison"
    ends = time.monotonic() + 100
    while (task := sqs.list_message_move_tasks(SourceArn=arn)["Results"][0])["Status"] == "RUNNING":
        assert time.monotonic() < ends
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 1)


def test_the_handle_of_a_task_that_has_ended_stops_no_other_one(sqs):
    """Each task of a queue had the same handle: who cancelled one late stopped the next."""
    sqs.create_queue(QueueName="dead")
    arn = "arn:aws:sqs:eu-central-1:123456789012:dead"
    policy = f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": 1}}'
    sqs.create_queue(QueueName="live", Attributes={"RedrivePolicy": policy})
    url = sqs.get_queue_url(QueueName="dead")["QueueUrl"]
    for _ in range(3):
        sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": str(number), "MessageBody": "m"} for number in range(10)])
    first = sqs.start_message_move_task(SourceArn=arn, MaxNumberOfMessagesPerSecond=1)["TaskHandle"]
    sqs.cancel_message_move_task(TaskHandle=first)
    time.sleep(0.01)
    second = sqs.start_message_move_task(SourceArn=arn, MaxNumberOfMessagesPerSecond=1)["TaskHandle"]
    assert first != second
    assert code(sqs.cancel_message_move_task, TaskHandle=first)[0] == "ResourceNotFoundException"
    (task,) = sqs.list_message_move_tasks(SourceArn=arn, MaxResults=10)["Results"]
    assert (task["Status"], task["TaskHandle"]) == ("RUNNING", second)
    sqs.cancel_message_move_task(TaskHandle=second)


def test_a_fifo_queue_tells_who_sends_the_number_of_the_message(sqs):
    """The number was only told to who receives: producers that log it failed."""
    queue = sqs.create_queue(QueueName="steps.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]

    def entry(number, **more):
        return {"MessageBody": "m", "MessageGroupId": "g", "MessageDeduplicationId": str(number), **more}

    first = sqs.send_message(QueueUrl=queue, **entry(1))["SequenceNumber"]
    assert sqs.send_message(QueueUrl=queue, **entry(1))["SequenceNumber"] == first, "it is that message"
    entries = [entry(number, Id=str(number)) for number in (2, 1, 3, 2)]
    entries[3]["Id"] = "again"
    batch = sqs.send_message_batch(QueueUrl=queue, Entries=entries)["Successful"]
    told = {one["Id"]: one["SequenceNumber"] for one in batch}
    assert (told["1"], told["again"]) == (first, told["2"])
    answer = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"])
    received = [message["Attributes"]["SequenceNumber"] for message in answer["Messages"]]
    assert received == [first, told["2"], told["3"]]


def test_limits_are_told_in_aws_s_words(sqs, queue):
    with pytest.raises(
        ClientError, match=r"Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10"
    ):
        sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=11)
    with pytest.raises(ClientError, match="Message must be shorter than 1048576 bytes"):
        sqs.send_message(QueueUrl=queue, MessageBody="x" * 1_048_577)


def test_permissions_are_statements_of_the_policy(sqs, queue):
    sqs.add_permission(QueueUrl=queue, Label="send", AWSAccountIds=["111122223333"], Actions=["SendMessage"])
    assert code(
        sqs.add_permission, QueueUrl=queue, Label="send", AWSAccountIds=["111122223333"], Actions=["SendMessage"]
    ) == ("InvalidParameterValue", "InvalidParameterValueException")
    policy = json.loads(sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["Policy"])["Attributes"]["Policy"])
    (statement,) = policy["Statement"]
    assert (statement["Sid"], statement["Action"], statement["Principal"]) == (
        "send",
        ["SQS:SendMessage"],
        {"AWS": ["arn:aws:iam::111122223333:root"]},
    )
    sqs.remove_permission(QueueUrl=queue, Label="send")
    assert code(sqs.remove_permission, QueueUrl=queue, Label="send")[0] == "InvalidParameterValue"
    assert "Attributes" not in sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["Policy"])


def test_who_leaves_a_long_poll_takes_no_message_with_him(sqs, queue, wire):
    """A message went to a client that had hung up, and came back only when its visibility timeout was over."""
    from test_door import signed

    body = b'{"QueueUrl": "%s", "WaitTimeSeconds": 20, "VisibilityTimeout": 600}' % queue.encode()
    headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS.ReceiveMessage"}
    head = "".join(f"{name}: {value}\r\n" for name, value in signed(wire, headers, body).items())
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", wire.port)) as client:
            request = f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{wire.port}\r\n{head}Content-Length: {len(body)}\r\n\r\n"
            client.sendall(request.encode() + body)
            time.sleep(0.05)
    time.sleep(0.5)
    sqs.send_message(QueueUrl=queue, MessageBody="whole")
    (message,) = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=2)["Messages"]
    assert message["Body"] == "whole"


def test_tags_and_policies_of_a_store_go_on(tmp_path):
    """The golden file is what app "shop" left whose queue, stream and topic had notes: tags, a policy, a consumer."""
    shutil.copy(GOLDEN / "app-v4-notes.db", tmp_path / "forebay.db")
    app = App("shop", store=str(tmp_path), region="eu-central-1", account="123456789012")
    with served(app) as wire:
        sqs, kinesis, sns = wire.client("sqs"), wire.client("kinesis"), wire.client("sns")
        url = sqs.get_queue_url(QueueName="orders")["QueueUrl"]
        assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"team": "a"}
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        assert attributes["ReceiveMessageWaitTimeSeconds"] == "7"
        assert "111122223333" in attributes["Policy"]
        assert kinesis.list_tags_for_stream(StreamName="clicks")["Tags"] == [{"Key": "team", "Value": "b"}]
        arn = "arn:aws:kinesis:eu-central-1:123456789012:stream/clicks"
        assert [one["ConsumerName"] for one in kinesis.list_stream_consumers(StreamARN=arn)["Consumers"]] == ["one"]
        (topic,) = sns.list_topics()["Topics"]
        assert sns.list_tags_for_resource(ResourceArn=topic["TopicArn"])["Tags"] == [{"Key": "team", "Value": "c"}]
        sqs.tag_queue(QueueUrl=url, Tags={"more": "x"})
        assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"team": "a", "more": "x"}


def test_a_store_from_before_there_were_tags_takes_them(tmp_path):
    """The golden file is what app "shop" left before there were notes."""
    shutil.copy(GOLDEN / "app-v4-buses.db", tmp_path / "forebay.db")
    app = App("shop", store=str(tmp_path), region="eu-central-1", account="123456789012")
    with served(app) as wire:
        sqs = wire.client("sqs")
        url = sqs.get_queue_url(QueueName="inbox")["QueueUrl"]
        assert "Tags" not in sqs.list_queue_tags(QueueUrl=url)
        sqs.tag_queue(QueueUrl=url, Tags={"team": "a"})
        assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"team": "a"}
