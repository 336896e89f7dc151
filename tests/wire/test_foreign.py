"""What another account owns is not there: each operation that names a thing by its ARN or its URL is asked for a foreign one."""

import json
import re

from botocore import xform_name
from botocore.exceptions import ClientError
from operations import MODELS
from wire_app import REGION, served

FOREIGN = "999999999999"


def arn(service, name):
    return f"arn:aws:{service}:{REGION}:{FOREIGN}:{name}"


NAMES = {
    "sqs": {"QueueUrl": f"http://127.0.0.1/{FOREIGN}/q", "SourceArn": arn("sqs", "q")},
    "kinesis": {
        "StreamARN": arn("kinesis", "stream/s"),
        "ConsumerARN": arn("kinesis", "stream/s/consumer/c:1700000000"),
        "ResourceARN": arn("kinesis", "stream/s"),
    },
    "sns": {
        "TopicArn": arn("sns", "t"),
        "TargetArn": arn("sns", "t"),
        "SubscriptionArn": arn("sns", "t:11111111-2222-3333-4444-555555555555"),
        "ResourceArn": arn("sns", "t"),
    },
    "lambda": {
        "FunctionName": arn("lambda", "function:f"),
        "Resource": arn("lambda", "function:f"),
        "EventSourceArn": arn("sqs", "q"),
    },
    "events": {
        "EventBusName": arn("events", "event-bus/shop"),
        "ResourceARN": arn("events", "rule/r"),
        "EventSourceArn": arn("events", "event-bus/shop"),
        "TargetArn": arn("sqs", "q"),
        "ConnectionArn": arn("events", "connection/c/11111111-2222-3333-4444-555555555555"),
    },
    "scheduler": {"ResourceArn": arn("scheduler", "schedule-group/g")},
    "schemas": {"SourceArn": arn("events", "event-bus/shop")},
    "logs": {"logGroupIdentifier": arn("logs", "log-group:/g")},
    "rds": {"ResourceName": arn("rds", "db-proxy:p")},
    "secretsmanager": {"SecretId": arn("secretsmanager", "secret:s-AbCdEf")},
    "stepfunctions": {
        "stateMachineArn": arn("states", "stateMachine:m"),
        "stateMachineVersionArn": arn("states", "stateMachine:m:1"),
        "stateMachineAliasArn": arn("states", "stateMachine:m:a"),
        "executionArn": arn("states", "execution:m:e"),
        "mapRunArn": arn("states", "mapRun:m/n:11111111-2222-3333-4444-555555555555"),
        "activityArn": arn("states", "activity:a"),
        "resourceArn": arn("states", "stateMachine:m"),
    },
}
"""Members of inputs that name a thing, and one of another account."""

ABSENT = re.compile("NotFound|NonExistent|DoesNotExist")

GONE = {
    ("events", "DeleteRule"),
    ("events", "ListReplays"),
    ("events", "ListRuleNamesByTarget"),
    ("lambda", "ListEventSourceMappings"),
    ("events", "ListApiDestinations"),
    ("sns", "Unsubscribe"),
}
"""What is done as for a thing that is gone, which can be deleted again, and is in no list."""

MORE = {
    ("lambda", "CreateFunctionUrlConfig"): None,
    ("lambda", "DeleteFunctionUrlConfig"): None,
    ("lambda", "GetFunctionUrlConfig"): None,
    ("lambda", "ListFunctionUrlConfigs"): None,
    ("lambda", "UpdateFunctionUrlConfig"): None,
    ("kinesis", "GetRecords"): None,
    ("kinesis", "DeregisterStreamConsumer"): {"ConsumerName": "c"},
    ("kinesis", "DescribeStreamConsumer"): {"ConsumerName": "c"},
    ("sns", "SetTopicAttributes"): {"AttributeName": "DisplayName"},
    ("stepfunctions", "UpdateStateMachineAlias"): {"description": "d"},
}
"""What an operation needs besides what its model says; None: it is not asked, since an
iterator names its stream itself, and URLs are kept by the names of functions, whatever account stands before them."""


def guessed(model, shape_name, member=""):
    """Give a value that a shape allows."""
    shape = model["shapes"][shape_name]
    kind = shape["type"]
    if kind == "structure":
        return {name: guessed(model, shape["members"][name]["shape"], name) for name in shape.get("required", [])}
    if kind in {"list", "map"}:
        held = guessed(model, shape["member" if kind == "list" else "value"]["shape"])
        return [held] if kind == "list" else {"k": held}
    least = max(int(shape.get("min", 1)), 1)
    is_document = re.search("[Dd]efinition|input|Policy", member)
    text = shape["enum"][0] if "enum" in shape else "{}" if is_document else "1" * least
    return {"string": text, "blob": b"{}", "timestamp": 1_700_000_000}.get(kind, least)


def asked():
    """Give every operation with each of its members that names a thing."""
    for path in sorted(MODELS.glob("*.json")):
        model, service = json.loads(path.read_text()), path.stem
        for name, operation in model["operations"].items():
            more = MORE.get((service, name), {})
            if "input" not in operation or more is None:
                continue
            members = model["shapes"][operation["input"]["shape"]]["members"]
            for member in members.keys() & NAMES.get(service, {}).keys():
                of_consumer = {} if member == "ConsumerARN" else more
                needed = guessed(model, operation["input"]["shape"])
                yield service, name, {**needed, **of_consumer, member: NAMES[service][member]}


ASKED = list(asked())


def test_nothing_of_another_account_is_there(make_app, tmp_path):
    app = make_app(str(tmp_path))
    app.queue("q"), app.stream("s"), app.topic("t"), app.bus("shop")

    @app.function()
    async def f(event, context):
        return event

    assert len(ASKED) > 130
    with served(app) as wire:
        clients = {
            service: wire.client(service, parameter_validation=False, inject_host_prefix=False) for service in NAMES
        }
        before = things(clients)
        absent = 0
        for service, name, arguments in ASKED:
            code = code_of(clients[service], name, arguments)
            if (service, name) not in GONE:
                assert code, f"{service}:{name} {arguments} was done"
                assert code not in {"InternalFailure", "InternalError"}, f"{service}:{name} {arguments}"
            absent += ABSENT.search(code) is not None
        # The others say that the ARN itself is wrong.
        assert absent > 110
        assert things(clients) == before


def code_of(client, name, arguments):
    """Give the code of the error that an operation is answered with; empty where there is none."""
    try:
        getattr(client, xform_name(name))(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return ""


def things(clients):
    """Give what there is."""
    return (
        clients["sqs"].list_queues().get("QueueUrls"),
        clients["kinesis"].list_streams()["StreamNames"],
        clients["sns"].list_topics()["Topics"],
        [one["FunctionName"] for one in clients["lambda"].list_functions()["Functions"]],
        clients["lambda"].list_function_url_configs(FunctionName="f")["FunctionUrlConfigs"],
        [one["Name"] for one in clients["events"].list_event_buses()["EventBuses"]],
    )
