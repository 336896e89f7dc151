"""Of several clients that make one thing at the same time, one has made it."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError
from wire_app import ACCOUNT, REGION, served

AT_ONCE = 8
ROUNDS = 3
ROLE = f"arn:aws:iam::{ACCOUNT}:role/r"


def connection(client, name, number):
    basic = {"Username": "u", "Password": f"p{number}"}
    client.create_connection(Name=name, AuthorizationType="BASIC", AuthParameters={"BasicAuthParameters": basic})


def api_destination(client, name, number):
    client.create_api_destination(
        Name=name,
        ConnectionArn=f"arn:aws:events:{REGION}:{ACCOUNT}:connection/shared/x",
        InvocationEndpoint=f"https://example.com/{number}",
        HttpMethod="POST",
    )


def stream(client, name, number):
    client.create_stream(StreamName=name, ShardCount=number + 1)


def consumer(client, name, _):
    arn = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/shared"
    client.register_stream_consumer(StreamARN=arn, ConsumerName=name)


def log_group(client, name, _):
    client.create_log_group(logGroupName=name)


def state_machine(client, name, number):
    definition = {"StartAt": "A", "States": {"A": {"Type": "Pass", "Result": number, "End": True}}}
    client.create_state_machine(name=name, definition=json.dumps(definition), roleArn=ROLE)


def topic(client, name, number):
    client.create_topic(Name=name, Attributes={"DisplayName": str(number)})


def stream_mapping(client, name, number):
    arn = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/shared"
    client.create_event_source_mapping(
        EventSourceArn=arn, FunctionName=name, BatchSize=number + 1, StartingPosition="LATEST"
    )


def queue_mapping(client, name, number):
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:shared"
    client.create_event_source_mapping(EventSourceArn=arn, FunctionName=name, BatchSize=number + 1)


@pytest.fixture
def wire(make_app):
    """Serve an app with a function for each round."""
    app = make_app()
    for turn in range(ROUNDS):
        app.function(name=f"n{turn}", isolation="thread")(lambda _event, _context: None)
    with served(app) as running:
        yield running


@pytest.mark.parametrize(
    ("service", "make", "error"),
    [
        ("events", connection, "ResourceAlreadyExistsException"),
        ("events", api_destination, "ResourceAlreadyExistsException"),
        ("kinesis", stream, "ResourceInUseException"),
        ("kinesis", consumer, "ResourceInUseException"),
        ("logs", log_group, "ResourceAlreadyExistsException"),
        ("stepfunctions", state_machine, "StateMachineAlreadyExists"),
        ("sns", topic, "InvalidParameter"),
        ("lambda", stream_mapping, "ResourceConflictException"),
        ("lambda", queue_mapping, "ResourceConflictException"),
    ],
)
def test_of_those_who_make_one_thing_at_once_one_has_made_it(wire, service, make, error):
    """All were told that they had made it: what one of them had given it was gone, such as the secret of a connection."""
    if service == "events":
        connection(wire.client("events"), "shared", 0)
    if make is queue_mapping:
        wire.client("sqs").create_queue(QueueName="shared")
    if make in (consumer, stream_mapping):
        stream(wire.client("kinesis"), "shared", 0)
    clients = [wire.client(service) for _ in range(AT_ONCE)]
    ready = threading.Barrier(AT_ONCE)

    def made(name, number):
        ready.wait()
        try:
            make(clients[number], name, number)
        except ClientError as refused:
            return refused.response["Error"]["Code"]
        return "made"

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for turn in range(ROUNDS):
            told = sorted(pool.map(made, [f"n{turn}"] * AT_ONCE, range(AT_ONCE)))
            assert told == sorted(["made"] + [error] * (AT_ONCE - 1))
