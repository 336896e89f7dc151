"""Parameters of calls: what the page lists has an effect; anything else is refused at the start, or fails the task."""

import asyncio
import json
import re
from pathlib import Path

import botocore.session
import pytest

from forebay import ExecutionFailed, ForebayError
from forebay.cli.connect import connect
from forebay.integrations import Emr
from forebay.testing import FakeCluster

PAGE = Path(__file__).parents[2] / "docs" / "workflows.md"
ROW = re.compile(r"^\| `(lambda|sqs|sns|kinesis|events|states):(\w+)`[^|]*\| [^|]+ \| ([^|]+) \|$", re.MULTILINE)
AWS = {"states": "stepfunctions"}
"""Services that botocore names otherwise."""
NEEDED = {
    "invoke": {"FunctionName": "f"},
    "sendMessage": {"QueueUrl": "q", "MessageBody": "m"},
    "publish": {"TopicArn": "t", "Message": "m"},
    "putRecord": {"Data": "d", "PartitionKey": "k"},
    "putEvents": {"Entries": []},
    "startExecution": {"StateMachineArn": "w"},
}


def machine(service, given, field="Parameters"):
    language = {"QueryLanguage": "JSONata"} if field == "Arguments" else {}
    state = {"Type": "Task", "Resource": f"arn:aws:states:::{service}", field: given, "End": True}
    return {"StartAt": "Call", "States": {"Call": state}, **language}


def listed():
    """Give the calls of the page's table with their parameters."""
    rows = ROW.findall(PAGE.read_text(encoding="utf-8"))
    assert len(rows) >= 6, "the page's table has another form"
    return {(service, action): set(re.findall(r"`(\w+)`", cell)) for service, action, cell in rows}


def problems(service, given, field="Parameters"):
    """Give what `forebay workflow validate` finds without a store."""
    with connect(Path(":memory:")) as connection:
        definition = json.dumps(machine(service, given, field))
        found = connection.ask("workflow.validate", definition=definition, type="STANDARD")["problems"]
    return [(one["code"], one["location"], one["message"]) for one in found]


@pytest.mark.parametrize("call", listed(), ids=":".join)
def test_of_the_parameters_of_aws_those_of_the_page_are_taken(call):
    service, action = call
    session, known = botocore.session.get_session(), listed()[call]
    model = session.get_service_model(AWS.get(service, service))
    shape = model.operation_model(action[:1].upper() + action[1:]).input_shape
    taken = set()
    for name, of in shape.members.items():
        named = name[:1].upper() + name[1:]
        if not problems(f"{service}:{action}", {**NEEDED[action], named: "x"}):
            taken.add(named)
        inner = {"list": lambda of: of.member, "map": lambda of: of.value}.get(of.type_name, lambda _: None)(of)
        for member in getattr(inner, "members", ()):
            value = [{member: "x"}] if of.type_name == "list" else {"one": {member: "x"}}
            if named in taken and not problems(f"{service}:{action}", {**NEEDED[action], named: value}):
                taken.add(member)
    assert taken == known
    for name in NEEDED[action]:
        left = {key: value for key, value in NEEDED[action].items() if key != name}
        text = f'The field "{name}" is required but was missing'
        assert problems(f"{service}:{action}", left) == [
            ("SCHEMA_VALIDATION_FAILED", "/States/Call/Parameters", text)
        ], "as on AWS"
    assert len(known) > len(NEEDED[action])


def test_an_unknown_parameter_is_told_with_its_place_and_what_is_allowed():
    given = {"QueueUrl.$": "$.q", "MessageBody": "m", "MesageGroupId.$": "$.g"}
    allowed = "DelaySeconds, MessageAttributes, MessageBody, MessageDeduplicationId, MessageGroupId, QueueUrl"
    text = f'The field "MesageGroupId" is not supported by sqs:sendMessage: allowed are {allowed}'
    place = "/States/Call/Parameters/MesageGroupId.$"
    assert problems("sqs:sendMessage.waitForTaskToken", given) == [("NOT_SUPPORTED", place, text)]
    entries = {"Entries": [{"Source": "s"}, {"Sorce": "s"}]}
    [(_, place, _)] = problems("events:putEvents", entries, "Arguments")
    assert place == "/States/Call/Arguments/Entries[1]/Sorce"
    assert problems("sqs:sendMessage", "{% $states.input %}", "Arguments") == [], "it is known when the task runs"


@pytest.mark.parametrize(
    ("service", "given", "text"),
    [
        ("kinesis:putRecord", {"Data": "d", "PartitionKey": "k", "ExplicitHashKey": "1"}, "StreamARN, StreamName"),
        ("http:invoke", {"ApiEndpoint": "https://localhost", "Method": "GET", "Header": {}}, "Headers, Method"),
        # They were missed when the task ran, and the method went to the server.
        ("http:invoke", {"ApiEndpoint": "https://localhost"}, 'The field "Method" is required but was missing'),
        ("http:invoke", {"Method.$": "$.method"}, 'The field "ApiEndpoint" is required but was missing'),
        ("http:invoke", {"ApiEndpoint": "https://localhost", "Method": "BREW"}, '"BREW" is no method of http:invoke'),
        ("elasticmapreduce:cancelStep", {"ClusterId": "c", "Step": "s"}, "ClusterId, StepId"),
    ],
)
async def test_an_app_does_not_start_with_a_parameter_that_has_no_effect(app, service, given, text):
    app.integrate(Emr(FakeCluster()))
    app.workflow("w", machine(service, given))
    with pytest.raises(ForebayError, match=text):
        async with app:
            pass


async def test_what_only_the_task_knows_fails_it(app, clock):
    queue = app.queue("q")
    app.integrate(Emr(FakeCluster()))
    flow = app.workflow("w", machine("sqs:sendMessage", "{% $states.input %}", "Arguments"))
    emr = app.workflow("emr", machine("elasticmapreduce:cancelStep", "{% $states.input %}", "Arguments"))
    given = {"QueueUrl": "q", "MessageBody": "m"}
    wrong = [
        (
            flow,
            {**given, "Delay": 1},
            "States.Runtime",
            '/Delay: The field "Delay" is not supported by sqs:sendMessage',
        ),
        (flow, {**given, "DelaySeconds": "soon"}, "SQS.SdkClientException", "allowed is a whole number of 0 or more"),
        (flow, {"QueueUrl": "q"}, "States.Runtime|SQS.SdkClientException", "MessageBody"),
        (emr, {"ClusterId": "c", "Step": 1}, "States.Runtime", "allowed are ClusterId, StepId"),
    ]
    async with app:
        for workflow, one, error, cause in wrong:
            execution = await workflow.start(one)
            await clock.settle()
            with pytest.raises(ExecutionFailed) as failed:
                await execution.result()
            assert re.fullmatch(error, failed.value.error), failed.value
            assert cause in failed.value.cause
        execution = await flow.start({**given, "DelaySeconds": 5})
        await clock.settle()
        await execution.result()
        assert await queue.receive() == [], "it is to come in five seconds"
        await clock.advance(5)
        assert [message.body for message in await queue.receive()] == ["m"]


async def test_a_message_for_each_protocol_and_the_time_of_an_event_are_honoured(app, clock):
    topic, copies, seen = app.topic("t"), app.queue("copies"), []
    topic.subscribe(copies, raw_message_delivery=True)

    @app.on_event(pattern={"source": ["shop"]})
    async def listener(event, context):
        seen.append(event["time"])

    attributes = {"kind": {"DataType": "String", "StringValue": "news"}}
    texts = {"default": "short", "email": "long"}
    given = {"TopicArn": "t", "Message": texts, "MessageStructure": "json", "MessageAttributes": attributes}
    publish = app.workflow("publish", machine("sns:publish", given))
    entries = [{"Source": "shop", "DetailType": "d", "Detail": {}, "Time": time} for time in ("{% $states.input %}",)]
    put = app.workflow("put", machine("events:putEvents", {"Entries": entries}, "Arguments"))
    async with app:
        executions = [await publish.start(), *[await put.start(at) for at in ("2012-10-09T19:00:55Z", 1_349_809_255)]]
        wrong = await put.start("yesterday")
        await clock.settle()
        await asyncio.gather(*(execution.result() for execution in executions))
        with pytest.raises(ExecutionFailed, match="seconds since 1970, or a moment"):
            await wrong.result()
        [copy] = await copies.receive()
    assert (copy.body, seen) == ("short", ["2012-10-09T19:00:55Z"] * 2)
    assert copy.attributes["kind"] == "news"


async def test_an_event_of_a_task_is_about_its_execution_and_its_workflow_too(app, clock):
    """Step Functions appends both ARNs. A rule that matches on them never saw what a workflow put."""
    entries = [{"Source": "shop", "DetailType": "d", "Detail": {}, "Resources": ["arn:aws:s3:::orders"]}]
    put = app.workflow("put", machine("events:putEvents", {"Entries": [*entries, {**entries[0], "Resources": []}]}))
    seen = []

    @app.on_event(pattern={"resources": [put.arn]})
    async def listener(event, context):
        seen.append(event["resources"])

    async with app:
        execution = await put.start()
        await clock.settle()
        await execution.result()
        arn = (await execution.describe()).arn
    assert sorted(seen) == sorted([["arn:aws:s3:::orders", arn, put.arn], [arn, put.arn]])
