"""Queues over the wire as Terraform, producers of fair queues and impatient clients see them."""

import json
import socket
import threading
import time

import pytest
from botocore.exceptions import ClientError
from test_door import signed
from wire_app import REGION

ARN = f"arn:aws:sqs:{REGION}:123456789012:"


def attributes(sqs, queue, *names):
    return sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=list(names or ["All"]))["Attributes"]


def hang_up(wire, target, body, *, service="sqs"):
    """Send a request, and be gone before it is answered."""
    body = json.dumps(body).encode()
    headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": target}
    head = "".join(f"{name}: {value}\r\n" for name, value in signed(wire, headers, body, service=service).items())
    with socket.create_connection(("127.0.0.1", wire.port)) as client:
        request = f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{wire.port}\r\n{head}Content-Length: {len(body)}\r\n\r\n"
        client.sendall(request.encode() + body)


def test_a_fifo_queue_refuses_a_delete_by_a_handle_that_has_expired(sqs):
    """It was told that the message was deleted. It came again, and its consumer did not learn that it was done twice."""
    made = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    fifo = sqs.create_queue(QueueName="steps.fifo", Attributes=made)["QueueUrl"]
    sqs.send_message(QueueUrl=fifo, MessageBody="m", MessageGroupId="g")
    (message,) = sqs.receive_message(QueueUrl=fifo, VisibilityTimeout=0)["Messages"]
    handle = message["ReceiptHandle"]
    expired = f"Value {handle} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."
    for again in (False, True):
        if again:
            assert len(sqs.receive_message(QueueUrl=fifo, VisibilityTimeout=600)["Messages"]) == 1
        with pytest.raises(ClientError) as raised:
            sqs.delete_message(QueueUrl=fifo, ReceiptHandle=handle)
        error = raised.value.response["Error"]
        assert (error["Code"], error["Message"]) == ("InvalidParameterValue", expired)
        answer = sqs.delete_message_batch(QueueUrl=fifo, Entries=[{"Id": "a", "ReceiptHandle": handle}])
        (failed,) = answer["Failed"]
        assert (failed["Code"], failed["Message"], failed["SenderFault"]) == ("InvalidParameterValue", expired, True)
    standard = sqs.create_queue(QueueName="orders")["QueueUrl"]
    sqs.send_message(QueueUrl=standard, MessageBody="m")
    (message,) = sqs.receive_message(QueueUrl=standard, VisibilityTimeout=0)["Messages"]
    sqs.receive_message(QueueUrl=standard, VisibilityTimeout=600)
    sqs.delete_message(QueueUrl=standard, ReceiptHandle=message["ReceiptHandle"])


def test_a_queue_that_a_client_makes_and_leaves_is_whole_or_is_not_there(wire, sqs):
    """It was there without its attributes, tags and policy, and the same request was refused for ever."""
    for number in range(20):
        name = f"q{number}"
        asked = {"Attributes": {"ReceiveMessageWaitTimeSeconds": "20"}, "tags": {"team": "a"}}
        hang_up(wire, "AmazonSQS.CreateQueue", {"QueueName": name, **asked})
        queue = sqs.create_queue(QueueName=name, **asked)["QueueUrl"]
        assert attributes(sqs, queue)["ReceiveMessageWaitTimeSeconds"] == "20"
        assert sqs.list_queue_tags(QueueUrl=queue)["Tags"] == {"team": "a"}


@pytest.mark.parametrize(
    ("scope", "throughput"),
    [("messageGroup", "perQueue"), ("messageGroup", "perMessageGroupId"), ("queue", "perQueue")],
)
def test_a_throughput_limit_is_given_back_as_it_was_set(sqs, scope, throughput):
    """Terraform saw a change at every plan, and the same creation again was refused."""
    made = {"FifoQueue": "true", "DeduplicationScope": scope, "FifoThroughputLimit": throughput}
    queue = sqs.create_queue(QueueName="steps.fifo", Attributes=made)["QueueUrl"]
    assert attributes(sqs, queue, *made) == made
    assert sqs.create_queue(QueueName="steps.fifo", Attributes=made)["QueueUrl"] == queue


def test_a_limit_for_each_group_needs_deduplication_within_groups(sqs):
    wrong = {"FifoQueue": "true", "FifoThroughputLimit": "perMessageGroupId"}
    with pytest.raises(sqs.exceptions.InvalidAttributeValue):
        sqs.create_queue(QueueName="steps.fifo", Attributes=wrong)
    right = {**wrong, "DeduplicationScope": "messageGroup"}
    queue = sqs.create_queue(QueueName="steps.fifo", Attributes=right)["QueueUrl"]
    with pytest.raises(sqs.exceptions.InvalidAttributeValue):
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"DeduplicationScope": "queue"})
    assert attributes(sqs, queue, *right) == right


def test_a_message_of_a_standard_queue_may_have_a_group(sqs, queue, wire):
    """It was refused: frameworks that set one for fair queues could send nothing. A group orders nothing here."""
    for body in ("1", "2"):
        sqs.send_message(QueueUrl=queue, MessageBody=body, MessageGroupId="tenant")
    entries = [{"Id": "a", "MessageBody": "3", "MessageGroupId": "tenant"}, {"Id": "b", "MessageBody": "4"}]
    assert "Failed" not in sqs.send_message_batch(QueueUrl=queue, Entries=entries)
    wanted = {"MaxNumberOfMessages": 10, "MessageSystemAttributeNames": ["All"]}
    messages = sqs.receive_message(QueueUrl=queue, **wanted)["Messages"]
    groups = {message["Body"]: message["Attributes"].get("MessageGroupId") for message in messages}
    assert groups == {"1": "tenant", "2": "tenant", "3": "tenant", "4": None}
    assert all("SequenceNumber" not in message["Attributes"] for message in messages)
    with pytest.raises(ClientError, match="MessageGroupId can only include"):
        sqs.send_message(QueueUrl=queue, MessageBody="m", MessageGroupId="a b")
    with pytest.raises(ClientError, match="MessageDeduplicationId is invalid"):
        sqs.send_message(QueueUrl=queue, MessageBody="m", MessageDeduplicationId="d")
    sns = wire.client("sns")
    topic = sns.create_topic(Name="alerts")["TopicArn"]
    inbox = sqs.create_queue(QueueName="inbox")["QueueUrl"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=f"{ARN}inbox")
    sns.publish(TopicArn=topic, Message="m", MessageGroupId="tenant")
    (message,) = sqs.receive_message(QueueUrl=inbox, WaitTimeSeconds=5, **wanted)["Messages"]
    assert message["Attributes"]["MessageGroupId"] == "tenant"
    with pytest.raises(ClientError, match="MessageGroupId can only include"):
        sns.publish(TopicArn=topic, Message="m", MessageGroupId="a b")


def test_a_character_that_xml_cannot_have_is_taken_nowhere(sqs, queue, wire):
    """One made each answer that had it a page that no client of the query protocol could read: for Celery a poison message."""
    with pytest.raises(sqs.exceptions.InvalidMessageContents):
        value = {"DataType": "String", "StringValue": "a\x01b"}
        sqs.send_message(QueueUrl=queue, MessageBody="m", MessageAttributes={"a": value})
    with pytest.raises(ClientError, match="cannot have control characters"):
        sqs.tag_queue(QueueUrl=queue, Tags={"a": "b\x01"})
    sns = wire.client("sns")
    topic = sns.create_topic(Name="alerts")["TopicArn"]
    with pytest.raises(sns.exceptions.InvalidParameterException):
        sns.set_topic_attributes(TopicArn=topic, AttributeName="DisplayName", AttributeValue="a\x01b")
    with pytest.raises(sns.exceptions.InvalidParameterException):
        sns.create_topic(Name="other", Tags=[{"Key": "a", "Value": "\x0b"}])
    assert sns.get_topic_attributes(TopicArn=topic)["Attributes"]["DisplayName"] == ""


def test_a_binary_attribute_counts_its_own_bytes(sqs, queue):
    """It counted those of its base64: three quarters of a mebibyte were too long."""

    def send(count):
        value = {"DataType": "Binary", "BinaryValue": b"\xff" * count}
        return sqs.send_message(QueueUrl=queue, MessageBody="m", MessageAttributes={"a": value})

    most = 1_048_576 - len("m") - len("a") - len("Binary")
    for count in (800_000, most, most - 1):
        send(count)
    with pytest.raises(ClientError, match="Message must be shorter than 1048576 bytes"):
        send(most + 1)


def test_a_receive_that_waits_keeps_no_long_lists(sqs, queue):
    """Each of ten thousand that may wait could keep megabytes."""
    names = [f"n{number}" for number in range(101)]
    for member in ("MessageAttributeNames", "MessageSystemAttributeNames", "AttributeNames"):
        with pytest.raises(ClientError, match=f"{member} is invalid"):
            sqs.receive_message(QueueUrl=queue, **{member: names})
    with pytest.raises(ClientError, match="MessageAttributeNames is invalid"):
        sqs.receive_message(QueueUrl=queue, MessageAttributeNames=["n" * 8_193])
    with pytest.raises(ClientError, match="ReceiveRequestAttemptId is invalid"):
        sqs.receive_message(QueueUrl=queue, ReceiveRequestAttemptId="a" * 129)
    with pytest.raises(sqs.exceptions.QueueDoesNotExist):
        sqs.receive_message(QueueUrl="http://" + "a" * 2_048 + "/123456789012/orders")
    assert "Messages" not in sqs.receive_message(QueueUrl=queue, MessageAttributeNames=names[:100])


def test_a_queue_tells_when_it_was_changed_last(sqs, queue):
    created = attributes(sqs, queue)
    assert created["LastModifiedTimestamp"] == created["CreatedTimestamp"]
    ends = time.monotonic() + 100
    while attributes(sqs, queue)["LastModifiedTimestamp"] == created["CreatedTimestamp"]:
        assert time.monotonic() < ends
        time.sleep(0.3)
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"DelaySeconds": str(int(time.monotonic()) % 900)})
    assert attributes(sqs, queue)["CreatedTimestamp"] == created["CreatedTimestamp"]


def test_changes_of_a_queue_that_two_make_at_once_both_hold(wire, queue):
    """Each read the policy, and the one that wrote last took the other's statement away."""

    def add(label):
        client = wire.client("sqs")
        for number in range(15):
            actions, accounts = ["SendMessage"], ["111122223333"]
            client.add_permission(QueueUrl=queue, Label=f"{label}{number}", AWSAccountIds=accounts, Actions=actions)

    threads = [threading.Thread(target=add, args=(label,)) for label in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    policy = json.loads(attributes(wire.client("sqs"), queue, "Policy")["Policy"])
    assert len(policy["Statement"]) == 45
