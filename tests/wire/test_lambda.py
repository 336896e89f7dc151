"""A day's work with Lambda by boto3."""

import json
import time

import pytest
from botocore.exceptions import ClientError
from wire_app import served


@pytest.fixture
def wire(make_app):
    """Serve an app with functions."""
    app = make_app()
    app.seen = []

    @app.function(reserved_concurrency=5)
    async def echo(event, context):
        app.seen.append(event)
        if event == "fail":
            raise ValueError("no")
        return {"got": event}

    with served(app) as running:
        yield running


@pytest.fixture
def functions(wire):
    return wire.client("lambda")


def wait_for(condition):
    """Wait until a condition holds."""
    ends = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_a_function_is_invoked_and_its_error_is_a_response(functions, wire):
    answer = functions.invoke(FunctionName="echo", Payload=b'{"a": 1}')
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert json.loads(answer["Payload"].read()) == {"got": {"a": 1}}
    assert "FunctionError" not in answer
    by_arn = functions.invoke(FunctionName="arn:aws:lambda:eu-central-1:123456789012:function:echo")
    assert json.loads(by_arn["Payload"].read()) == {"got": {}}
    failed = functions.invoke(FunctionName="echo", Payload=b'"fail"')
    assert (failed["StatusCode"], failed["FunctionError"]) == (200, "Unhandled")
    error = json.loads(failed["Payload"].read())
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "no")
    assert functions.invoke(FunctionName="echo", InvocationType="DryRun")["StatusCode"] == 204
    accepted = functions.invoke(FunctionName="echo", InvocationType="Event", Payload=b'"later"')
    assert accepted["StatusCode"] == 202
    wait_for(lambda: "later" in wire.app.seen)


def test_what_cannot_be_invoked_is_told_as_aws_does(functions):
    with pytest.raises(functions.exceptions.ResourceNotFoundException, match="Function not found: arn:aws:lambda"):
        functions.invoke(FunctionName="none")
    with pytest.raises(
        functions.exceptions.InvalidRequestContentException, match="Could not parse request body into json"
    ):
        functions.invoke(FunctionName="echo", Payload=b"{")
    with pytest.raises(functions.exceptions.InvalidParameterValueException, match="LogType"):
        functions.invoke(FunctionName="echo", LogType="Tail")
    with pytest.raises(ClientError) as raised:
        functions.get_policy(FunctionName="echo")
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


def test_functions_are_described_listed_and_limited(functions):
    assert [one["FunctionName"] for one in functions.list_functions()["Functions"]] == ["echo"]
    assert functions.get_function(FunctionName="echo")["Concurrency"] == {"ReservedConcurrentExecutions": 5}
    functions.get_waiter("function_active_v2").wait(FunctionName="echo")
    put = functions.put_function_concurrency(FunctionName="echo", ReservedConcurrentExecutions=0)
    assert put["ReservedConcurrentExecutions"] == 0
    with pytest.raises(functions.exceptions.TooManyRequestsException) as raised:
        functions.invoke(FunctionName="echo")
    assert raised.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    functions.delete_function_concurrency(FunctionName="echo")
    assert "ReservedConcurrentExecutions" not in functions.get_function_concurrency(FunctionName="echo")
    assert functions.get_account_settings()["AccountLimit"]["ConcurrentExecutions"] == 1000
    assert [one["Version"] for one in functions.list_versions_by_function(FunctionName="echo")["Versions"]] == [
        "$LATEST"
    ]


def test_a_queue_is_mapped_to_a_function(functions, wire):
    sqs = wire.client("sqs")
    queue = sqs.create_queue(QueueName="work")["QueueUrl"]
    arn = "arn:aws:sqs:eu-central-1:123456789012:work"
    mapping = functions.create_event_source_mapping(EventSourceArn=arn, FunctionName="echo", BatchSize=1)
    assert (mapping["State"], mapping["BatchSize"]) == ("Creating", 1)
    with pytest.raises(functions.exceptions.ResourceConflictException, match=mapping["UUID"]):
        functions.create_event_source_mapping(EventSourceArn=arn, FunctionName="echo")
    sqs.send_message(QueueUrl=queue, MessageBody="mapped")
    wait_for(lambda: any("Records" in event for event in wire.app.seen if isinstance(event, dict)))
    updated = functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False, BatchSize=5)
    assert (updated["State"], updated["BatchSize"]) == ("Updating", 5)
    assert functions.get_event_source_mapping(UUID=mapping["UUID"])["State"] == "Disabled"
    listed = functions.list_event_source_mappings(EventSourceArn=arn)["EventSourceMappings"]
    assert [one["UUID"] for one in listed] == [mapping["UUID"]]
    with pytest.raises(functions.exceptions.InvalidParameterValueException, match="Unsupported ParallelizationFactor"):
        functions.update_event_source_mapping(UUID=mapping["UUID"], ParallelizationFactor=2)
    functions.delete_event_source_mapping(UUID=mapping["UUID"])
    with pytest.raises(functions.exceptions.ResourceNotFoundException):
        functions.get_event_source_mapping(UUID=mapping["UUID"])


def test_a_stream_is_mapped_to_a_function(functions, wire):
    wire.client("kinesis").create_stream(StreamName="clicks", ShardCount=1)
    arn = "arn:aws:kinesis:eu-central-1:123456789012:stream/clicks"
    mapping = functions.create_event_source_mapping(
        EventSourceArn=arn,
        FunctionName="echo",
        StartingPosition="TRIM_HORIZON",
        MaximumRecordAgeInSeconds=60,
        FilterCriteria={"Filters": [{"Pattern": '{"data": {"a": [1]}}'}]},
    )
    given = functions.get_event_source_mapping(UUID=mapping["UUID"])
    assert (given["StartingPosition"], given["MaximumRecordAgeInSeconds"], given["BatchSize"]) == (
        "TRIM_HORIZON",
        60,
        100,
    )
    assert given["FilterCriteria"] == {"Filters": [{"Pattern": '{"data": {"a": [1]}}'}]}
