"""A day's work with Lambda by boto3."""

import json
import time
from datetime import UTC, datetime, timedelta

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
        facts = {"arn": context.invoked_function_arn, "id": context.aws_request_id}
        return facts[event] if isinstance(event, str) and event in facts else {"got": event}

    with served(app) as running:
        yield running


@pytest.fixture
def functions(wire):
    return wire.client("lambda")


def wait_for(condition):
    """Wait until a condition holds."""
    ends = time.monotonic() + 100
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


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"FunctionName": "echo"}, ""),
        ({"FunctionName": "arn:aws:lambda:eu-central-1:123456789012:function:echo"}, ""),
        ({"FunctionName": "echo", "Qualifier": "$LATEST"}, ":$LATEST"),
        ({"FunctionName": "echo:$LATEST"}, ":$LATEST"),
        ({"FunctionName": "echo:live"}, ":live"),
    ],
)
def test_a_function_is_told_the_name_by_which_it_was_invoked(functions, wire, asked, told):
    functions.create_alias(FunctionName="echo", Name="live", FunctionVersion="$LATEST")
    answer = functions.invoke(**asked, Payload=b'"arn"')
    assert json.loads(answer["Payload"].read()) == f"arn:aws:lambda:eu-central-1:123456789012:function:echo{told}"
    assert answer["ExecutedVersion"] == "$LATEST"
    assert functions.invoke(**asked, InvocationType="DryRun")["StatusCode"] == 204
    assert functions.invoke(**asked, InvocationType="Event", Payload=b'"later"')["StatusCode"] == 202
    wait_for(lambda: "later" in wire.app.seen)


def test_what_is_known_of_a_function_is_told_of_its_versions_and_aliases(make_app):
    app = make_app()

    function = app.command_function("work", command=["./work"], memory=256, timeout=7)
    app.alias("live", function, function.publish_version(memory=512, timeout=9))
    app.command_function("free", command=["./free"], timeout=2)
    begun = datetime.now(UTC) - timedelta(seconds=1)
    with served(app) as wire:
        functions = wire.client("lambda")
        for asked, memory, timeout in (
            ({}, 256, 7),
            ({"Qualifier": "1"}, 512, 9),
            ({"Qualifier": "live"}, 512, 9),
        ):
            told = functions.get_function_configuration(FunctionName="work", **asked)
            assert (told["MemorySize"], told["Timeout"]) == (memory, timeout), asked
            assert begun < datetime.fromisoformat(told["LastModified"]) < datetime.now(UTC)
            assert functions.get_function(FunctionName="work", **asked)["Configuration"] == {
                key: value for key, value in told.items() if key != "ResponseMetadata"
            }
        listed = functions.list_versions_by_function(FunctionName="work")["Versions"]
        assert [one["MemorySize"] for one in listed] == [256, 512]
        listed = {one["FunctionName"]: one for one in functions.list_functions()["Functions"]}
        assert listed["work"]["MemorySize"] == 256
        assert "MemorySize" not in listed["free"], "nothing limits its memory"
        assert listed["free"]["LastModified"].endswith("+0000")


def test_what_cannot_be_invoked_is_told_as_aws_does(functions):
    with pytest.raises(functions.exceptions.ResourceNotFoundException, match="Function not found: arn:aws:lambda"):
        functions.invoke(FunctionName="none")
    with pytest.raises(
        functions.exceptions.InvalidRequestContentException, match="Could not parse request body into json"
    ):
        functions.invoke(FunctionName="echo", Payload=b"{")
    with pytest.raises(ClientError) as raised:
        functions.update_function_code(FunctionName="echo", ZipFile=b"")
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    text = "forebay does not serve lambda: UpdateFunctionCode (PUT /2015-03-31/functions/echo/code)"
    assert raised.value.response["Error"]["Message"] == text


def test_the_version_that_the_program_published_is_published_again(make_app):
    async def old(event, context):
        return "old"

    app = make_app()

    @app.function(timeout=5)
    async def price(event, context):
        return "new"

    @app.function()
    async def bare(event, context):
        return None

    price.publish_version(old)
    price.publish_version(provisioned_concurrency=1)
    bare.publish_version(timeout=2)
    with served(app) as running:
        functions = running.client("lambda")
        published = functions.publish_version(FunctionName="price")
        assert published["ResponseMetadata"]["HTTPStatusCode"] == 201
        assert (published["Version"], published["Timeout"]) == ("2", 5)
        assert published["FunctionArn"].endswith(":function:price:2")
        functions.get_waiter("published_version_active").wait(FunctionName="price", Qualifier="2")
        functions.create_alias(FunctionName="price", Name="live", FunctionVersion=published["Version"])
        assert functions.invoke(FunctionName="price", Qualifier="live")["ExecutedVersion"] == "2"
        with pytest.raises(functions.exceptions.ResourceConflictException, match="has the handler and the settings of"):
            functions.publish_version(FunctionName="bare")
        with pytest.raises(
            functions.exceptions.InvalidParameterValueException, match="RevisionId: functions of forebay"
        ):
            functions.publish_version(FunctionName="price", RevisionId="1")
        with pytest.raises(functions.exceptions.ResourceNotFoundException, match="Function not found"):
            functions.publish_version(FunctionName="none")


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


@pytest.mark.parametrize("enabled", [True, False])
def test_a_queue_is_deleted_with_the_mapping_that_a_client_made(functions, wire, enabled):
    """It was refused, as if the app's own code read the queue: Terraform could not destroy both in any order."""
    sqs = wire.client("sqs")
    queue = sqs.create_queue(QueueName="work")["QueueUrl"]
    arn = "arn:aws:sqs:eu-central-1:123456789012:work"
    functions.create_event_source_mapping(EventSourceArn=arn, FunctionName="echo", Enabled=enabled)
    sqs.delete_queue(QueueUrl=queue)
    assert functions.list_event_source_mappings(FunctionName="echo")["EventSourceMappings"] == []
    # Of a function that is none the list was empty, too.
    with pytest.raises(functions.exceptions.ResourceNotFoundException, match="function:none"):
        functions.list_event_source_mappings(FunctionName="none")


def test_a_mapping_that_a_client_made_reads_after_a_restart(make_app, tmp_path):
    """It said that it was enabled, and read nothing."""
    for start in range(3):
        app, seen = make_app(tmp_path / "data"), []

        @app.function()
        async def read(event, context, seen=seen):
            seen.append(event["Records"][0]["body"])

        with served(app) as running:
            functions, sqs = running.client("lambda"), running.client("sqs")
            if start == 0:
                sqs.create_queue(QueueName="work")
                arn = "arn:aws:sqs:eu-central-1:123456789012:work"
                functions.create_event_source_mapping(EventSourceArn=arn, FunctionName="read")
            url = sqs.get_queue_url(QueueName="work")["QueueUrl"]
            sqs.send_message(QueueUrl=url, MessageBody=str(start))
            wait_for(lambda seen=seen: seen)
            assert seen == [str(start)]
            if start == 2:
                # It goes with its queue still.
                sqs.delete_queue(QueueUrl=url)
                assert functions.list_event_source_mappings()["EventSourceMappings"] == []


def test_what_a_mapping_and_a_version_could_not_honour_is_refused(functions, wire):
    """It was passed over without a word."""
    wire.client("sqs").create_queue(QueueName="work")
    wire.client("kinesis").create_stream(StreamName="clicks", ShardCount=1)
    source = "arn:aws:{}:eu-central-1:123456789012:{}".format
    queue = {"EventSourceArn": source("sqs", "work"), "FunctionName": "echo"}
    stream = {"EventSourceArn": source("kinesis", "stream/clicks"), "FunctionName": "echo"}
    refused = functions.exceptions.InvalidParameterValueException
    for given, text in [
        (queue | {"StartingPosition": "TRIM_HORIZON"}, "Unsupported StartingPosition parameter"),
        (queue | {"StartingPositionTimestamp": 0}, "Unsupported StartingPositionTimestamp parameter"),
        (queue | {"SelfManagedEventSource": {}}, "SelfManagedEventSource: forebay's mappings do not have it"),
        (queue | {"DocumentDBEventSourceConfig": {"DatabaseName": "d"}}, "DocumentDBEventSourceConfig: forebay"),
        (
            stream | {"StartingPosition": "LATEST", "StartingPositionTimestamp": 0},
            "StartingPositionTimestamp is taken with StartingPosition AT_TIMESTAMP alone",
        ),
        (queue | {"LoggingConfig": {"SystemLogLevel": "DEBUG"}}, "LoggingConfig: forebay's mappings do not have it"),
        (stream | {"StartingPosition": "AT_TIMESTAMP"}, "StartingPositionTimestamp is required"),
    ]:
        with pytest.raises(refused, match=text):
            functions.create_event_source_mapping(**given)
    with pytest.raises(refused, match="Description: functions of forebay have none"):
        functions.publish_version(FunctionName="echo", Description="first")
    assert functions.list_event_source_mappings()["EventSourceMappings"] == []


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


def test_asynchronous_invocation_is_configured_and_set_back(functions, wire):
    queue = wire.client("sqs").create_queue(QueueName="failed")["QueueUrl"]
    arn = "arn:aws:sqs:eu-central-1:123456789012:failed"
    missing = functions.exceptions.ResourceNotFoundException
    for operation in ("get", "delete", "update"):
        with pytest.raises(missing, match=r"function:echo:\$LATEST doesn't have an EventInvokeConfig"):
            getattr(functions, f"{operation}_function_event_invoke_config")(FunctionName="echo")
    listed = functions.list_function_event_invoke_configs(FunctionName="echo")
    assert listed["FunctionEventInvokeConfigs"] == []
    # What is set to AWS's own defaults is set.
    put = functions.put_function_event_invoke_config(FunctionName="echo", MaximumRetryAttempts=2)
    assert (put["MaximumRetryAttempts"], put["MaximumEventAgeInSeconds"]) == (2, 21_600)
    told = [functions.get_function_event_invoke_config(FunctionName="echo")["LastModified"] for _ in range(2)]
    assert told == [put["LastModified"]] * 2
    put = functions.put_function_event_invoke_config(
        FunctionName="echo", MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": arn}}
    )
    assert (put["MaximumRetryAttempts"], put["MaximumEventAgeInSeconds"]) == (0, 21_600)
    assert put["DestinationConfig"]["OnFailure"]["Destination"] == arn
    functions.invoke(FunctionName="echo", InvocationType="Event", Payload=b'"fail"')
    answer = wire.client("sqs").receive_message(QueueUrl=queue, WaitTimeSeconds=10)
    record = json.loads(answer["Messages"][0]["Body"])
    assert (record["requestContext"]["condition"], record["requestPayload"]) == ("RetriesExhausted", "fail")
    assert record["requestContext"]["approximateInvokeCount"] == 1
    updated = functions.update_function_event_invoke_config(FunctionName="echo", MaximumEventAgeInSeconds=60)
    assert (updated["MaximumRetryAttempts"], updated["MaximumEventAgeInSeconds"]) == (0, 60)
    (listed,) = functions.list_function_event_invoke_configs(FunctionName="echo")["FunctionEventInvokeConfigs"]
    assert listed["MaximumEventAgeInSeconds"] == 60
    functions.delete_function_event_invoke_config(FunctionName="echo")
    with pytest.raises(missing, match="doesn't have an EventInvokeConfig"):
        functions.get_function_event_invoke_config(FunctionName="echo")
    with pytest.raises(functions.exceptions.InvalidParameterValueException, match="destination ARN"):
        functions.put_function_event_invoke_config(
            FunctionName="echo", DestinationConfig={"OnFailure": {"Destination": arn + "-none"}}
        )
    with pytest.raises(functions.exceptions.ResourceNotFoundException):
        functions.get_function_event_invoke_config(FunctionName="none")


def test_provisioned_concurrency_is_of_whom_it_was_set_for(make_app):
    """It was listed for an alias and for its version, and each call told another moment at which it was set."""
    app = make_app()

    @app.function()
    async def price(event, context):
        return None

    async def old(event, context):
        return None

    price.publish_version(old, provisioned_concurrency=1)
    price.publish_version()
    with served(app) as running:
        functions = running.client("lambda")
        get = functions.get_provisioned_concurrency_config
        missing = functions.exceptions.ProvisionedConcurrencyConfigNotFoundException

        def listed():
            configs = functions.list_provisioned_concurrency_configs(FunctionName="price")
            return {
                one["FunctionArn"].rsplit(":", 1)[1]: one["LastModified"]
                for one in configs["ProvisionedConcurrencyConfigs"]
            }

        functions.create_alias(FunctionName="price", Name="live", FunctionVersion="2")
        live = {"FunctionName": "price", "Qualifier": "live"}
        put = functions.put_provisioned_concurrency_config(**live, ProvisionedConcurrentExecutions=2)
        of_code = functions.get_function_configuration(FunctionName="price", Qualifier="1")["LastModified"]
        time.sleep(0.01)
        for _ in range(2):
            assert listed() == {"1": of_code, "live": put["LastModified"]}
            assert get(**live)["LastModified"] == put["LastModified"]
        with pytest.raises(missing):
            get(FunctionName="price", Qualifier="2")
        again = functions.put_provisioned_concurrency_config(**live, ProvisionedConcurrentExecutions=2)
        assert again["LastModified"] > put["LastModified"]
        functions.delete_provisioned_concurrency_config(**live)
        with pytest.raises(missing):
            get(**live)
        assert listed() == {"1": of_code}


def test_what_is_the_same_of_every_function_is_told(functions):
    assert functions.get_function_recursion_config(FunctionName="echo")["RecursiveLoop"] == "Terminate"
    assert functions.get_runtime_management_config(FunctionName="echo")["UpdateRuntimeOn"] == "Auto"
    assert functions.get_function_code_signing_config(FunctionName="echo")["FunctionName"] == "echo"
    with pytest.raises(functions.exceptions.ResourceNotFoundException):
        functions.get_policy(FunctionName="echo")
    with pytest.raises(functions.exceptions.ProvisionedConcurrencyConfigNotFoundException):
        functions.get_provisioned_concurrency_config(FunctionName="echo", Qualifier="$LATEST")
    with pytest.raises(functions.exceptions.InvalidParameterValueException, match="unpublished"):
        functions.put_provisioned_concurrency_config(
            FunctionName="echo", Qualifier="$LATEST", ProvisionedConcurrentExecutions=1
        )


def test_a_streamed_response_is_one_piece_and_its_end(functions):
    answer = functions.invoke_with_response_stream(FunctionName="echo", Payload=b"1")
    assert answer["ExecutedVersion"] == "$LATEST"
    events = list(answer["EventStream"])
    assert json.loads(events[0]["PayloadChunk"]["Payload"]) == {"got": 1}
    assert events[1] == {"InvokeComplete": {}}
    (failed,) = functions.invoke_with_response_stream(FunctionName="echo", Payload=b'"fail"')["EventStream"]
    assert failed["InvokeComplete"]["ErrorCode"] == "Unhandled"


def test_why_knows_requests_by_the_ids_of_aws(functions, wire):
    accepted = functions.invoke(FunctionName="echo", InvocationType="Event", Payload=b'"by id"')
    wait_for(lambda: "by id" in wire.app.seen)
    queue = wire.client("sqs").create_queue(QueueName="told")["QueueUrl"]
    sent = wire.client("sqs").send_message(QueueUrl=queue, MessageBody="m")

    def life(id_):
        return wire.ask("why", id=id_)["facts"]

    facts = life(accepted["ResponseMetadata"]["RequestId"])
    assert {"accepted", "ended"} <= {fact["what"] for fact in facts}, "it is the event's own id"
    (fact,) = life(sent["ResponseMetadata"]["RequestId"])
    assert (fact["operation"], fact["made"], fact["key"]) == ("sqs:SendMessage", sent["MessageId"], "forebay")
    assert any(fact.get("operation") == "sqs:SendMessage" for fact in life(sent["MessageId"]))

    # The answer to a call that waits had another id than the handler read.
    ran = functions.invoke(FunctionName="echo", Payload=b'"id"')
    assert ran["ResponseMetadata"]["RequestId"] == json.loads(ran["Payload"].read())

    # Of a function that failed it said no more than that it did.
    failed = functions.invoke(FunctionName="echo", Payload=b'"fail"')
    (fact,) = (one for one in life(failed["ResponseMetadata"]["RequestId"]) if "operation" in one)
    assert (fact["function_error"], fact["error"], fact["text"]) == ("Unhandled", "ValueError", "no")

    kinesis, events = wire.client("kinesis"), wire.client("events")
    kinesis.create_stream(StreamName="told", ShardCount=1)
    put = kinesis.put_records(StreamName="told", Records=[{"Data": b"1", "PartitionKey": key} for key in "ab"])
    sent = events.put_events(Entries=[{"Source": "a", "DetailType": "b", "Detail": "{}"}])
    for answer, made in (
        (put, " ".join(one["SequenceNumber"] for one in put["Records"])),
        (sent, sent["Entries"][0]["EventId"]),
    ):
        (fact,) = (one for one in life(answer["ResponseMetadata"]["RequestId"]) if "operation" in one)
        assert fact["made"] == made


def test_an_alias_is_deleted(functions, wire):
    arn = functions.get_function_configuration(FunctionName="echo")["FunctionArn"]
    assert functions.list_tags(Resource=arn)["Tags"] == {}
    functions.create_alias(FunctionName="echo", Name="live", FunctionVersion="$LATEST")
    assert [one["Name"] for one in functions.list_aliases(FunctionName="echo")["Aliases"]] == ["live"]
    functions.delete_alias(FunctionName="echo", Name="live")
    assert functions.list_aliases(FunctionName="echo")["Aliases"] == []
    functions.delete_alias(FunctionName="echo", Name="live")  # it is gone already, as on AWS
    with pytest.raises(functions.exceptions.ResourceNotFoundException):
        functions.invoke(FunctionName="echo:live")
    with pytest.raises(functions.exceptions.ResourceNotFoundException):
        functions.delete_alias(FunctionName="none", Name="live")


def test_a_payload_that_is_waited_for_has_six_mebibytes(functions):
    with pytest.raises(functions.exceptions.RequestTooLargeException, match="smaller than 6291456 bytes") as refused:
        functions.invoke(FunctionName="echo", Payload=b'"' + b"x" * 6_291_455 + b'"')
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413
