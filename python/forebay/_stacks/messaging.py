"""Queues, topics, subscriptions, streams, and the mappings that read them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from forebay._model import names
from forebay._model.mapping import MappingSettings
from forebay._model.queue import QueueMappingSettings, QueueSettings
from forebay._model.settings import StreamSettings
from forebay._model.topic import Subscription, TopicSettings
from forebay._stacks.kind import (
    Kind,
    Properties,
    Request,
    arn_name,
    deleted,
    described,
    flag,
    function_of,
    number,
    recipient,
    words,
)
from forebay._wire import mapping as wire_mapping
from forebay._wire import queue as wire_queue
from forebay._wire import topic as wire_topic
from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from forebay._sam.plan import Resource, World

NOT_ENCRYPTED: Final = "the store is not encrypted"
ROLE: Final = "roles are not taken on"
TAGS: Final = {"Tags": ""}
POLICY: Final = "policies are kept and not evaluated"


def _queue_settings(name: str, properties: Properties) -> QueueSettings:
    given: dict[str, Any] = {}
    numbers = (
        ("VisibilityTimeout", "visibility_timeout"),
        ("DelaySeconds", "delay"),
        ("MessageRetentionPeriod", "retention"),
    )
    for key, option in numbers:
        if key in properties:
            given[option] = number(properties, key)
    if "ContentBasedDeduplication" in properties:
        given["content_based_deduplication"] = flag(properties["ContentBasedDeduplication"])
    if "DeduplicationScope" in properties:
        given["deduplication_scope"] = properties["DeduplicationScope"]
    redrive = properties.get("RedrivePolicy")
    if redrive is not None:
        policy = json.loads(redrive) if isinstance(redrive, str) else redrive
        given["dead_letter_queue"] = arn_name(
            policy.get("deadLetterTargetArn"), "sqs", "RedrivePolicy.deadLetterTargetArn"
        )
        given["maximum_receive_count"] = number(policy, "maxReceiveCount", 10)
    return QueueSettings(name=name, **given)


def _queue_given(name: str, properties: Properties, world: World, _others: Mapping[str, Resource]) -> dict[str, Any]:
    if flag(properties.get("FifoQueue", False)) != names.is_fifo(name):
        raise InvalidParameterValue(
            f"QueueName: {name!r}: a FIFO queue's name ends in '.fifo', and no other one's does"
        )
    _queue_settings(name, properties)
    url = f"{world.aws}/{world.account}/{name}"
    return {"Ref": url, "Arn": names.queue_arn(world.region, world.account, name), "QueueName": name, "QueueUrl": url}


def _queue_put(resource: Resource, _before: Resource | None, _world: World) -> list[Request]:
    settings = _queue_settings(resource.physical, resource.properties)
    return [Request("queue.declare", wire_queue.settings(settings))]


QUEUE: Final = Kind(
    type="AWS::SQS::Queue",
    becomes="a queue",
    honoured=words(
        "QueueName FifoQueue VisibilityTimeout DelaySeconds MessageRetentionPeriod ContentBasedDeduplication "
        "DeduplicationScope RedrivePolicy"
    ),
    inert={
        **TAGS,
        "KmsMasterKeyId": NOT_ENCRYPTED,
        "KmsDataKeyReusePeriodSeconds": NOT_ENCRYPTED,
        "SqsManagedSseEnabled": NOT_ENCRYPTED,
        "RedriveAllowPolicy": POLICY,
        "MaximumMessageSize": "a message may have up to 1 MiB",
        "ReceiveMessageWaitTimeSeconds": "mappings are woken at once",
        "FifoThroughputLimit": "there is no limit of throughput",
    },
    fixed=words("QueueName FifoQueue"),
    name="QueueName",
    longest=80,
    end=lambda properties: names.FIFO if flag(properties.get("FifoQueue", False)) else "",
    describe=described("queue"),
    given=_queue_given,
    put=_queue_put,
    gone=deleted("queue"),
)


def _topic_given(name: str, _properties: Properties, world: World, _others: Mapping[str, Resource]) -> dict[str, Any]:
    TopicSettings(name=name)
    arn = names.topic_arn(world.region, world.account, name)
    return {"Ref": arn, "TopicArn": arn, "TopicName": name}


TOPIC: Final = Kind(
    type="AWS::SNS::Topic",
    becomes="a topic",
    honoured=words("TopicName Subscription"),
    inert={
        **TAGS,
        "KmsMasterKeyId": NOT_ENCRYPTED,
        "DisplayName": "only SMS and e-mail show it",
        "SignatureVersion": "messages are not signed",
        "TracingConfig": "traces go where the app sends them",
    },
    refused={
        "FifoTopic": "there are no FIFO topics",
        "DeliveryPolicy": "it is HTTP's, and topics send to queues and functions",
    },
    fixed=words("TopicName"),
    name="TopicName",
    longest=256,
    describe=described("topic"),
    given=_topic_given,
    put=lambda resource, _before, _world: [Request("topic.declare", {"name": resource.physical})],
    gone=deleted("topic"),
)


def subscription(topic: str, properties: Properties) -> Subscription:
    """Read a subscription."""
    protocol = str(properties.get("Protocol"))
    if protocol not in {"sqs", "lambda"}:
        raise InvalidParameterValue(f"Protocol: {protocol!r}: topics send to queues (sqs) and functions (lambda)")
    kind, endpoint = recipient(properties.get("Endpoint"))
    policy = properties.get("FilterPolicy")
    return Subscription(
        topic=topic,
        kind="queue" if kind == "queue" else "function",
        endpoint=endpoint,
        filter_policy=policy if policy is None or isinstance(policy, str) else json.dumps(policy),
        filter_policy_scope=properties.get("FilterPolicyScope", "MessageAttributes"),
        raw_message_delivery=flag(properties.get("RawMessageDelivery", False)),
    )


def _subscription_name(_stack: str, _logical: str, properties: Properties, world: World) -> str:
    return f"{arn_name(properties.get('TopicArn'), 'sns', 'TopicArn')}:{world.suffix()}"


def _subscription_given(
    physical: str, properties: Properties, world: World, _others: Mapping[str, Resource]
) -> dict[str, Any]:
    topic = arn_name(properties.get("TopicArn"), "sns", "TopicArn")
    subscription(topic, properties)
    arn = names.topic_arn(world.region, world.account, physical)
    return {"Ref": arn, "Arn": arn}


SUBSCRIPTION: Final = Kind(
    type="AWS::SNS::Subscription",
    becomes="a subscription of a queue or a function",
    honoured=words("TopicArn Protocol Endpoint FilterPolicy FilterPolicyScope RawMessageDelivery"),
    inert={"Region": "an app is one region"},
    refused={"RedrivePolicy": "what is published is kept until it is delivered"},
    fixed=words("TopicArn Protocol Endpoint"),
    naming=_subscription_name,
    given=_subscription_given,
)


def _stream_settings(name: str, properties: Properties) -> StreamSettings:
    hours = number(properties, "RetentionPeriodHours", 24)
    return StreamSettings(name=name, shards=number(properties, "ShardCount", _ON_DEMAND_SHARDS), retention=hours * 3600)


_ON_DEMAND: Final = "ON_DEMAND"
_NOTE_MODE: Final = "kinesis:mode"
"""What the wire API keeps beside a stream that is not `PROVISIONED`."""
_ON_DEMAND_SHARDS: Final = 4
"""Source: https://docs.aws.amazon.com/streams/latest/dev/how-do-i-size-a-stream.html"""


def _stream_given(name: str, properties: Properties, world: World, _others: Mapping[str, Resource]) -> dict[str, Any]:
    _stream_settings(name, properties)
    _stream_mode(properties)
    return {"Ref": name, "Arn": names.stream_arn(world.region, world.account, name), "StreamId": name}


def _stream_mode(properties: Properties) -> str:
    details = properties.get("StreamModeDetails") or {"StreamMode": "PROVISIONED"}
    mode = details.get("StreamMode") if isinstance(details, dict) else details
    if mode not in ("PROVISIONED", _ON_DEMAND):
        raise InvalidParameterValue(f"StreamModeDetails.StreamMode={mode!r}: allowed are PROVISIONED and ON_DEMAND")
    return str(mode)


def _stream_put(resource: Resource, before: Resource | None, _world: World) -> list[Request]:
    settings = _stream_settings(resource.physical, resource.properties)
    retention = wire_mapping.milliseconds(settings.retention)
    on_demand = _ON_DEMAND if _stream_mode(resource.properties) == _ON_DEMAND else None
    fields = {
        "name": settings.name,
        "shards": settings.shards,
        "retention_ms": retention,
        "retention_bytes": None,
        "notes": {_NOTE_MODE: on_demand},
    }
    requests = [Request("stream.declare", fields)]
    if before is not None and _stream_settings(before.physical, before.properties).shards != settings.shards:
        requests.append(Request("stream.reshard", {"name": settings.name, "shards": settings.shards}))
    return requests


STREAM: Final = Kind(
    type="AWS::Kinesis::Stream",
    becomes="a stream",
    honoured=words("Name ShardCount RetentionPeriodHours StreamModeDetails"),
    inert={
        **TAGS,
        "StreamEncryption": NOT_ENCRYPTED,
        "DesiredShardLevelMetrics": "shards have their metrics",
    },
    fixed=words("Name"),
    name="Name",
    longest=128,
    describe=described("stream"),
    given=_stream_given,
    put=_stream_put,
    gone=deleted("stream"),
)


def mapping(properties: Properties) -> dict[str, Any]:
    """Give a mapping as `mapping.declare` takes it.

    Raises:
        InvalidParameterValue: a value outside its range.

    """
    kind, source = recipient(properties.get("EventSourceArn"))
    function = function_of(properties.get("FunctionName"))
    given: dict[str, Any] = {"enabled": flag(properties.get("Enabled", True))}
    shared = (("BatchSize", "batch_size"), ("MaximumBatchingWindowInSeconds", "maximum_batching_window"))
    of_stream = (
        ("ParallelizationFactor", "parallelization_factor"),
        ("MaximumRetryAttempts", "maximum_retry_attempts"),
        ("MaximumRecordAgeInSeconds", "maximum_record_age"),
        ("TumblingWindowInSeconds", "tumbling_window"),
        ("StartingPositionTimestamp", "starting_position_timestamp"),
    )
    for key, option in (*shared, *(of_stream if kind == "stream" else ())):
        if key in properties:
            given[option] = number(properties, key)
    filters = (properties.get("FilterCriteria") or {}).get("Filters", [])
    given["filters"] = tuple(one["Pattern"] for one in filters if "Pattern" in one)
    given["report_batch_item_failures"] = "ReportBatchItemFailures" in properties.get("FunctionResponseTypes", [])
    if kind == "queue":
        scaling = properties.get("ScalingConfig") or {}
        if "MaximumConcurrency" in scaling:
            given["maximum_concurrency"] = number(scaling, "MaximumConcurrency")
        settings = QueueMappingSettings(**given)
        settings.fits(source)
        return {"queue": source, "function": function, **wire_mapping.settings(settings, None)}
    if kind != "stream":
        raise InvalidParameterValue("EventSourceArn: mappings read queues and streams")
    given["starting_position"] = properties.get("StartingPosition")
    given["bisect_batch_on_function_error"] = flag(properties.get("BisectBatchOnFunctionError", False))
    told = (properties.get("DestinationConfig") or {}).get("OnFailure", {}).get("Destination")
    on_failure = None if told is None else ":".join(recipient(told))
    return {"stream": source, "function": function, **wire_mapping.settings(MappingSettings(**given), on_failure)}


def _mapping_name(_stack: str, _logical: str, properties: Properties, _world: World) -> str:
    _, source = recipient(properties.get("EventSourceArn"))
    return f"{source}/{function_of(properties.get('FunctionName'))}"


def _mapping_given(
    physical: str, properties: Properties, _world: World, _others: Mapping[str, Resource]
) -> dict[str, Any]:
    mapping(properties)
    return {"Ref": physical, "Id": physical}


def _mapping_check(properties: Properties) -> Iterable[tuple[str, str]]:
    if "EventSourceArn" not in properties:
        yield "EventSourceArn", "a mapping reads a queue or a stream"


MAPPING: Final = Kind(
    type="AWS::Lambda::EventSourceMapping",
    becomes="a mapping on a queue or a stream",
    honoured=words(
        "EventSourceArn FunctionName BatchSize Enabled MaximumBatchingWindowInSeconds ParallelizationFactor StartingPosition "
        "StartingPositionTimestamp MaximumRetryAttempts MaximumRecordAgeInSeconds BisectBatchOnFunctionError "
        "TumblingWindowInSeconds FilterCriteria FunctionResponseTypes ScalingConfig DestinationConfig"
    ),
    inert={
        **TAGS,
        "MetricsConfig": "all metrics are counted",
        "KmsKeyArn": NOT_ENCRYPTED,
        "LoggingConfig": "mappings log where the app logs",
    },
    refused={
        "AmazonManagedKafkaEventSourceConfig": "there is no Kafka here",
        "SelfManagedEventSource": "there is no Kafka here",
        "Topics": "there is no Kafka here",
        "Queues": "there is no Amazon MQ here",
        "ProvisionedPollerConfig": "pollers are not provisioned",
    },
    fixed=words("EventSourceArn FunctionName StartingPosition StartingPositionTimestamp"),
    naming=_mapping_name,
    check=_mapping_check,
    given=_mapping_given,
)


def _wired(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name in {"queue", "stream", "function"}}


def mapping_gone(resource: Resource) -> Request:
    """Give the request that removes a mapping."""
    return Request("mapping.delete", _wired(mapping(resource.properties)))


def subscriptions(resource: Resource) -> list[Subscription]:
    """Give the subscriptions that a topic or a subscription declares."""
    if resource.type == TOPIC.type:
        inline = resource.properties.get("Subscription") or []
        return [subscription(resource.physical, one) for one in inline]
    topic = arn_name(resource.properties.get("TopicArn"), "sns", "TopicArn")
    return [subscription(topic, resource.properties)]


def subscribe(one: Subscription) -> Request:
    """Give the request that subscribes."""
    return Request("topic.subscribe", wire_topic.settings(one))


def unsubscribe(one: Subscription) -> Request:
    """Give the request that ends a subscription."""
    return Request("topic.unsubscribe", {"name": one.topic, one.kind: one.endpoint})


KINDS: Final = (QUEUE, TOPIC, SUBSCRIPTION, STREAM, MAPPING)
