"""Refusals by which clients tell one mistake from another: AWS's codes and texts."""

import json
import logging

import pytest
from botocore.exceptions import ClientError
from wire_app import served

from forebay import App


def refused(call, **fields):
    with pytest.raises(ClientError) as told:
        call(**fields)
    return told.value.response["Error"]["Code"], told.value.response["Error"]["Message"]


def test_an_app_without_a_region_of_aws_takes_its_own_arns():
    """Lambda's models know regions such as eu-west-1 alone: no mapping could be made in an app's own region, which is `local`."""
    app = App("local", store=":memory:")

    @app.function()
    async def hello(event, context):
        return context.invoked_function_arn

    with served(app) as running:
        queues, functions = running.client("sqs", region="local"), running.client("lambda", region="local")
        url = queues.create_queue(QueueName="orders")["QueueUrl"]
        arn = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        assert arn == "arn:aws:sqs:local:000000000000:orders"
        made = functions.create_event_source_mapping(EventSourceArn=arn, FunctionName="hello")
        listed = functions.list_event_source_mappings(EventSourceArn=arn)["EventSourceMappings"]
        assert [one["UUID"] for one in listed] == [made["UUID"]]
        functions.put_function_event_invoke_config(
            FunctionName="hello", DestinationConfig={"OnFailure": {"Destination": arn}}
        )
        own = "arn:aws:lambda:local:000000000000:function:hello"
        assert functions.get_function(FunctionName=own)["Configuration"]["FunctionArn"] == own
        # Who asks without a qualifier is told of none.
        assert json.load(functions.invoke(FunctionName=own)["Payload"]) == own
        elsewhere = own.replace("local", "us-east-1")
        assert refused(functions.get_function, FunctionName=elsewhere) == (
            "ResourceNotFoundException",
            "Functions from 'us-east-1' are not reachable in this region ('local')",
        )


def test_what_an_alias_lacks_is_named(make_app):
    app = make_app()

    @app.function()
    async def price(event, context):
        return event

    price.publish_version()
    with served(app) as running:
        functions = running.client("lambda")
        functions.create_alias(FunctionName="price", Name="live", FunctionVersion="1")
        arn = "arn:aws:lambda:eu-central-1:123456789012:function:price"
        told = refused(functions.update_alias, FunctionName="price", Name="live", FunctionVersion="9")
        assert told == ("ResourceNotFoundException", f"Function not found: {arn}:9")
        told = refused(functions.update_alias, FunctionName="price", Name="dead", FunctionVersion="1")
        assert told == ("ResourceNotFoundException", f"Alias not found: {arn}:dead")
        told = refused(functions.create_alias, FunctionName="price", Name="next", FunctionVersion="9")
        assert told == ("ResourceNotFoundException", f"Function not found: {arn}:9")
        other = arn.replace("123456789012", "999999999999")
        told = refused(functions.invoke, FunctionName=other)
        assert told == ("ResourceNotFoundException", f"Function not found: {other}")
        # A deployer that names the revision it knows moved the alias under another one's hands.
        told = refused(functions.update_alias, FunctionName="price", Name="live", FunctionVersion="1", RevisionId="r")
        assert told[1] == "RevisionId: aliases of forebay have none; leave it out"


def test_mistakes_about_queues(wire):
    queues = wire.client("sqs")
    plain = queues.create_queue(QueueName="plain")["QueueUrl"]
    queues.create_queue(QueueName="dead.fifo", Attributes={"FifoQueue": "true"})

    def policy(name):
        target = f"arn:aws:sqs:eu-central-1:123456789012:{name}"
        return json.dumps({"deadLetterTargetArn": target, "maxReceiveCount": 3})

    for name, reason in {
        "nowhere": "Dead letter target does not exist.",
        "dead.fifo": "Dead-letter queue must be same type of queue as the source.",
    }.items():
        text = f"Value {policy(name)} for parameter RedrivePolicy is invalid. Reason: {reason}"
        attributes = {"RedrivePolicy": policy(name)}
        assert refused(queues.set_queue_attributes, QueueUrl=plain, Attributes=attributes)[1] == text
        code, told = refused(queues.create_queue, QueueName="other", Attributes=attributes)
        assert (code, told) == ("InvalidParameterValue", text)
    arn = "arn:aws:sqs:eu-central-1:123456789012:plain"
    told = refused(queues.start_message_move_task, SourceArn=arn)
    assert told == ("InvalidParameterValue", "Source queue must be configured as a Dead Letter Queue.")
    # The text named each queue that there is, to any key.
    told = refused(queues.start_message_move_task, SourceArn=arn.replace("plain", "nowhere"))
    assert told == ("ResourceNotFoundException", "One or more specified resources don't exist.")
    told = refused(queues.receive_message, QueueUrl=plain, MessageSystemAttributeNames=["Bogus"])
    assert told == ("InvalidAttributeName", "Unknown Attribute Bogus.")
    assert "Messages" not in queues.receive_message(QueueUrl=plain, AttributeNames=["VisibilityTimeout", "SenderId"])
    # The text had names that stand in the app's code alone.
    attribute = {"AWS.x": {"DataType": "String", "StringValue": "v"}}
    told = refused(queues.send_message, QueueUrl=plain, MessageBody="m", MessageAttributes=attribute)
    assert told[0] == "InvalidParameterValue" and told[1].startswith(
        'MessageAttributes: the name "AWS.x" is not allowed'
    )
    topics = wire.client("sns")
    topic = topics.create_topic(Name="news")["TopicArn"]
    told = refused(topics.publish, TopicArn=topic, Message="m", MessageAttributes=attribute)[1]
    assert told.startswith('Invalid parameter: MessageAttributes: the name "AWS.x" is not allowed')
    fifo = {"Arn": "arn:aws:sqs:eu-central-1:123456789012:dead.fifo"}
    events, needed = wire.client("events"), "Parameter(s) SqsParameters must be specified"
    events.put_rule(Name="r", EventPattern='{"source": ["x"]}')
    told = refused(events.put_targets, Rule="r", Targets=[fifo | {"Id": "one"}])
    assert told == ("ValidationException", f"{needed} for target: one.")
    schedule = {"Name": "s", "ScheduleExpression": "rate(1 day)", "FlexibleTimeWindow": {"Mode": "OFF"}}
    target = fifo | {"RoleArn": "arn:aws:iam::123456789012:role/r"}
    told = refused(wire.client("scheduler").create_schedule, **schedule, Target=target)
    assert told == ("ValidationException", f"{needed}.")
    assert "between 1 and 1000" in refused(queues.list_queues, MaxResults=1001)[1]
    assert "aws:" in refused(queues.tag_queue, QueueUrl=plain, Tags={"aws:made": "x"})[1]


def test_what_is_there_is_not_changed_by_making_it_again(wire):
    """A second CreateTopic or Subscribe with other attributes changed what the first had made."""
    topics, queues = wire.client("sns"), wire.client("sqs")
    arn = topics.create_topic(Name="news", Tags=[{"Key": "team", "Value": "a"}])["TopicArn"]
    assert topics.create_topic(Name="news")["TopicArn"] == arn
    told = refused(topics.create_topic, Name="news", Tags=[{"Key": "team", "Value": "b"}])
    assert told == ("InvalidParameter", "Invalid parameter: Tags Reason: Topic already exists with different tags")
    # What is not there yet is added: a client may have been ended between the topic and its attributes.
    topics.create_topic(Name="news", Attributes={"DisplayName": "News"})
    told = refused(topics.create_topic, Name="news", Attributes={"DisplayName": "Old"})[1]
    assert told == "Invalid parameter: Attributes Reason: Topic already exists with different attributes"
    queues.create_queue(QueueName="inbox")
    at = {"TopicArn": arn, "Protocol": "sqs", "Endpoint": "arn:aws:sqs:eu-central-1:123456789012:inbox"}
    first = topics.subscribe(**at, Attributes={"RawMessageDelivery": "true"})["SubscriptionArn"]
    assert topics.subscribe(**at)["SubscriptionArn"] == first
    assert topics.subscribe(**at, Attributes={"RawMessageDelivery": "true"})["SubscriptionArn"] == first
    nowhere = at["Endpoint"].replace("inbox", "nowhere")
    told = refused(topics.subscribe, **at | {"Endpoint": nowhere})
    assert told == ("InvalidParameter", f"Invalid parameter: Endpoint Reason: {nowhere} does not exist")
    told = refused(topics.subscribe, **at, Attributes={"RawMessageDelivery": "false"})[1]
    assert told == "Invalid parameter: Attributes Reason: Subscription already exists with different attributes"
    assert topics.publish(TargetArn=arn, Message="by its other name")["MessageId"]
    entries = [{"Id": "1 x", "Message": "m"}]
    assert refused(topics.publish_batch, TopicArn=arn, PublishBatchRequestEntries=entries)[0] == "InvalidBatchEntryId"
    entries = [{"Id": str(number), "Message": "m" * 150_000} for number in range(2)]
    assert refused(topics.publish_batch, TopicArn=arn, PublishBatchRequestEntries=entries)[0] == "BatchRequestTooLong"


def test_what_is_in_use_is_not_deleted(wire):
    streams, buses = wire.client("kinesis"), wire.client("events")
    streams.create_stream(StreamName="clicks", ShardCount=1)
    arn = streams.describe_stream_summary(StreamName="clicks")["StreamDescriptionSummary"]["StreamARN"]
    streams.register_stream_consumer(StreamARN=arn, ConsumerName="fan")
    assert refused(streams.delete_stream, StreamName="clicks")[0] == "ResourceInUseException"
    streams.delete_stream(StreamName="clicks", EnforceConsumerDeletion=True)
    assert streams.list_streams()["StreamNames"] == []
    buses.create_event_bus(Name="shop")
    buses.put_rule(Name="all", EventBusName="shop", EventPattern='{"source": ["shop"]}')
    told = refused(buses.delete_event_bus, Name="shop")
    assert told == ("ValidationException", "Cannot delete event bus shop since it has rules.")


def test_what_the_code_reads_is_deleted_with_a_word_in_the_log(make_app, caplog):
    """Messages were accepted that nobody handled any more, and the log had no line about it."""
    app = make_app()
    app.queue("orders")
    app.stream("clicks")

    @app.on_queue("orders")
    async def pack(event, context): ...

    with caplog.at_level(logging.INFO, "forebay"), served(app) as running:
        functions, queues = running.client("lambda", key="FBKOPS"), running.client("sqs")
        [mapping] = functions.list_event_source_mappings()["EventSourceMappings"]
        url = queues.get_queue_url(QueueName="orders")["QueueUrl"]
        assert "is read by function 'pack'" in refused(queues.delete_queue, QueueUrl=url)[1].replace('"', "'")
        functions.delete_event_source_mapping(UUID=mapping["UUID"])
        running.client("kinesis", key="FBKOPS").delete_stream(StreamName="clicks")
    begin = "a client of AWS's API (key FBKOPS) has deleted "
    assert f'{begin}the mapping of queue "orders" to function "pack"' in caplog.text
    assert f'{begin}stream "clicks"' in caplog.text


def test_a_redrive_of_an_empty_queue_is_listed(wire):
    """A script that waited for its task to be COMPLETED waited for ever."""
    queues = wire.client("sqs")
    dead = "arn:aws:sqs:eu-central-1:123456789012:dead"
    queues.create_queue(QueueName="dead")
    policy = json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": 1})
    queues.create_queue(QueueName="orders", Attributes={"RedrivePolicy": policy})
    assert queues.start_message_move_task(SourceArn=dead)["TaskHandle"]
    [task] = queues.list_message_move_tasks(SourceArn=dead)["Results"]
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 0)


def test_what_would_have_no_effect_is_refused(make_app):
    app = make_app()

    @app.function()
    async def hello(event, context):
        return event

    with served(app) as running:
        target = {
            "Arn": "arn:aws:lambda:eu-central-1:123456789012:function:hello",
            "RoleArn": "arn:aws:iam::123456789012:role/x",
        }
        window = {"FlexibleTimeWindow": {"Mode": "FLEXIBLE"}}
        schedule = {"Name": "s", "ScheduleExpression": "rate(1 hour)", "Target": target}
        assert "MaximumWindowInMinutes" in refused(running.client("scheduler").create_schedule, **schedule, **window)[1]
        machine = {"name": "m", "definition": '{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}', "roleArn": "x"}
        told = refused(running.client("stepfunctions").create_state_machine, **machine)
        assert told == ("InvalidArn", "Invalid Role Arn: 'x'")


def test_an_option_that_did_nothing_is_refused(wire):
    """Each was taken, and nothing came of it."""
    functions, streams, metrics = (wire.client(name) for name in ("lambda", "kinesis", "cloudwatch"))

    def message(call, **fields):
        return refused(call, **fields)[1]

    assert "leave it out" in message(streams.create_stream, StreamName="s", ShardCount=1, MaxRecordSizeInKiB=2048)
    mode = {"StreamMode": "ON_DEMAND"}
    told = message(streams.create_stream, StreamName="s", StreamModeDetails=mode, WarmThroughputMiBps=50)
    assert told == "WarmThroughputMiBps: a shard has no limit of bytes a second here; leave it out"
    streams.create_stream(StreamName="s", ShardCount=1, MaxRecordSizeInKiB=1024)
    bus = "arn:aws:events:eu-central-1:123456789012:event-bus/default"
    events = wire.client("events")
    told = message(events.create_archive, ArchiveName="a", EventSourceArn=bus, KmsKeyIdentifier="x")
    assert "KmsKeyIdentifier" in told
    assert "ListVersionsByFunction" in message(functions.list_functions, FunctionVersion="ALL")
    stat = {"Metric": {"Namespace": "App", "MetricName": "m"}, "Period": 60, "Stat": "Sum"}
    times = {"StartTime": 1_700_000_000, "EndTime": 1_700_000_600}

    def data(*ids, **more):
        queries = [{"Id": id_, "MetricStat": stat} for id_ in ids]
        return message(metrics.get_metric_data, MetricDataQueries=queries, **times, **more)

    assert data("a", MaxDatapoints=1) == "MaxDatapoints: an answer has all points; leave it out, or make Period longer"
    assert data("a", "a") == "The MetricDataQueries have the id a twice: each has its own."
    assert "The value A for parameter" in data("A")
    told = message(
        streams.get_shard_iterator,
        StreamName="s",
        ShardId="shardId-000000000000",
        ShardIteratorType="AT_SEQUENCE_NUMBER",
    )
    assert told == "Must specify StartingSequenceNumber for an iterator of type AT_SEQUENCE_NUMBER."
    topics = wire.client("sns")
    assert "encrypts no topic" in message(topics.create_topic, Name="t", Attributes={"KmsMasterKeyId": "x"})
    assert refused(topics.unsubscribe, SubscriptionArn="x")[0] == "InvalidParameter"
    topics.unsubscribe(SubscriptionArn="arn:aws:sns:eu-central-1:123456789012:none:1")


def test_a_target_that_there_is_only_on_aws_is_named(wire):
    """A correct ARN was said not to be in the correct format."""
    scheduler = wire.client("scheduler")
    settings = {"Name": "s", "ScheduleExpression": "rate(1 hour)", "FlexibleTimeWindow": {"Mode": "OFF"}}

    def told(arn):
        target = {"Arn": arn, "RoleArn": "arn:aws:iam::123456789012:role/r"}
        return refused(scheduler.create_schedule, **settings, Target=target)[1]

    assert "forebay has no such targets" in told("arn:aws:scheduler:::aws-sdk:sqs:sendMessage")
    assert "forebay has no such targets" in told("arn:aws:ecs:eu-central-1:123456789012:cluster/c")
    assert "not in correct format" in told("arn:aws:sqs:eu-central-1:999999999999:q")


def test_a_setting_that_aws_does_not_have_is_named(wire):
    logs, topics = wire.client("logs"), wire.client("sns")
    logs.create_log_group(logGroupName="/app")
    told = refused(logs.put_retention_policy, logGroupName="/app", retentionInDays=4)
    assert told[0] == "InvalidParameterException"
    assert "allowed are [1, 3, 5, 7, 14," in told[1]
    topic = topics.create_topic(Name="news")["TopicArn"]
    url = wire.client("sqs").create_queue(QueueName="q")["QueueUrl"]
    assert url
    arn = topics.subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint="arn:aws:sqs:eu-central-1:123456789012:q", ReturnSubscriptionArn=True
    )["SubscriptionArn"]
    change = {"SubscriptionArn": arn, "AttributeName": "RedrivePolicy", "AttributeValue": "{}"}
    told = refused(topics.set_subscription_attributes, **change)
    assert told[1].startswith("Invalid parameter: RedrivePolicy: subscriptions have none here")
