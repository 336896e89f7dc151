"""Kinesis by boto3: shards that are split and merged, and consumers that are pushed their records."""

import threading
import time

import pytest
from botocore.exceptions import ClientError

STREAM = "arn:aws:kinesis:eu-central-1:123456789012:stream/clicks"


@pytest.fixture
def kinesis(wire):
    return wire.client("kinesis")


@pytest.fixture
def stream(kinesis):
    kinesis.create_stream(StreamName="clicks", ShardCount=1)
    return "clicks"


def open_shards(kinesis):
    return kinesis.list_shards(StreamName="clicks", ShardFilter={"Type": "AT_LATEST"})["Shards"]


def test_a_shard_is_split_and_merged_again(kinesis, stream):
    (whole,) = open_shards(kinesis)
    half = (int(whole["HashKeyRange"]["EndingHashKey"]) + 1) // 2
    kinesis.split_shard(StreamName=stream, ShardToSplit=whole["ShardId"], NewStartingHashKey=str(half))
    low, high = open_shards(kinesis)
    assert int(low["HashKeyRange"]["EndingHashKey"]) + 1 == int(high["HashKeyRange"]["StartingHashKey"]) == half
    assert low["ParentShardId"] == high["ParentShardId"] == whole["ShardId"]
    with pytest.raises(kinesis.exceptions.InvalidArgumentException):
        kinesis.split_shard(StreamName=stream, ShardToSplit=low["ShardId"], NewStartingHashKey="0")
    with pytest.raises(kinesis.exceptions.ResourceNotFoundException):
        kinesis.split_shard(StreamName=stream, ShardToSplit="shardId-000000000099", NewStartingHashKey=str(half))
    with pytest.raises(kinesis.exceptions.InvalidArgumentException):
        kinesis.merge_shards(StreamName=stream, ShardToMerge=low["ShardId"], AdjacentShardToMerge=whole["ShardId"])
    kinesis.merge_shards(StreamName=stream, ShardToMerge=low["ShardId"], AdjacentShardToMerge=high["ShardId"])
    (merged,) = open_shards(kinesis)
    assert (merged["ParentShardId"], merged["AdjacentParentShardId"]) == (low["ShardId"], high["ShardId"])
    assert merged["HashKeyRange"] == whole["HashKeyRange"]
    assert kinesis.put_record(StreamName=stream, Data=b"x", PartitionKey="k")["ShardId"] == merged["ShardId"]


def test_consumers_are_registered_described_and_gone(kinesis, stream):
    made = kinesis.register_stream_consumer(StreamARN=STREAM, ConsumerName="one")["Consumer"]
    assert (made["ConsumerName"], made["ConsumerStatus"]) == ("one", "ACTIVE")
    with pytest.raises(kinesis.exceptions.ResourceInUseException):
        kinesis.register_stream_consumer(StreamARN=STREAM, ConsumerName="one")
    kinesis.register_stream_consumer(StreamARN=STREAM, ConsumerName="two")
    pages = kinesis.get_paginator("list_stream_consumers").paginate(StreamARN=STREAM, PaginationConfig={"PageSize": 1})
    assert [consumer["ConsumerName"] for page in pages for consumer in page["Consumers"]] == ["one", "two"]
    by_arn = kinesis.describe_stream_consumer(ConsumerARN=made["ConsumerARN"])["ConsumerDescription"]
    assert (by_arn["StreamARN"], by_arn["ConsumerARN"]) == (STREAM, made["ConsumerARN"])
    assert kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["ConsumerCount"] == 2
    kinesis.deregister_stream_consumer(ConsumerARN=made["ConsumerARN"])
    with pytest.raises(kinesis.exceptions.ResourceNotFoundException):
        kinesis.describe_stream_consumer(StreamARN=STREAM, ConsumerName="one")


def test_a_subscription_is_pushed_what_comes_and_ends_with_its_shard(kinesis, stream):
    consumer = kinesis.register_stream_consumer(StreamARN=STREAM, ConsumerName="pushed")["Consumer"]["ConsumerARN"]
    shard = open_shards(kinesis)[0]["ShardId"]
    kinesis.put_record(StreamName=stream, Data=b"before", PartitionKey="k")
    begin = {"Type": "TRIM_HORIZON"}
    events = kinesis.subscribe_to_shard(ConsumerARN=consumer, ShardId=shard, StartingPosition=begin)["EventStream"]
    with pytest.raises(kinesis.exceptions.ResourceInUseException):
        kinesis.subscribe_to_shard(ConsumerARN=consumer, ShardId=shard, StartingPosition=begin)
    seen, last = [], {}

    def read():
        for told in events:
            event = told["SubscribeToShardEvent"]
            seen.extend(record["Data"] for record in event["Records"])
            last.update(event)

    reader = threading.Thread(target=read)
    reader.start()
    ends = time.monotonic() + 100
    while seen != [b"before"]:
        assert time.monotonic() < ends
        time.sleep(0.01)
    # Each is put when the one before it has come: one that is found by asking waits for the whole interval, each time.
    took = []
    while not took or (took[-1] > 0.2 and len(took) < 20):
        put = time.monotonic()
        kinesis.put_record(StreamName=stream, Data=b"after", PartitionKey="k")
        while len(seen) < 2 + len(took):
            assert time.monotonic() < ends
            time.sleep(0.005)
        took.append(time.monotonic() - put)
    assert took[-1] <= 0.2, f"a record is pushed, and not found by asking: {took}"
    assert seen == [b"before", *([b"after"] * len(took))]
    continuation = last["ContinuationSequenceNumber"]
    kinesis.update_shard_count(StreamName=stream, TargetShardCount=2, ScalingType="UNIFORM_SCALING")
    reader.join(100)
    assert not reader.is_alive(), "a closed shard ends its subscription"
    assert len(last["ChildShards"]) == 2 and last["Records"] == []
    iterator = kinesis.get_shard_iterator(
        StreamName=stream,
        ShardId=shard,
        ShardIteratorType="AFTER_SEQUENCE_NUMBER",
        StartingSequenceNumber=continuation,
    )
    assert kinesis.get_records(ShardIterator=iterator["ShardIterator"])["Records"] == []


def test_a_subscription_that_has_seen_nothing_tells_where_it_is(kinesis, stream):
    consumer = kinesis.register_stream_consumer(StreamARN=STREAM, ConsumerName="idle")["Consumer"]["ConsumerARN"]
    shard = open_shards(kinesis)[0]["ShardId"]
    answer = kinesis.subscribe_to_shard(ConsumerARN=consumer, ShardId=shard, StartingPosition={"Type": "LATEST"})
    first = next(iter(answer["EventStream"]))["SubscribeToShardEvent"]
    assert (first["Records"], first["MillisBehindLatest"]) == ([], 0)
    kinesis.put_record(StreamName=stream, Data=b"x", PartitionKey="k")
    where = {
        "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
        "StartingSequenceNumber": first["ContinuationSequenceNumber"],
    }
    iterator = kinesis.get_shard_iterator(StreamName=stream, ShardId=shard, **where)["ShardIterator"]
    assert [record["Data"] for record in kinesis.get_records(ShardIterator=iterator)["Records"]] == [b"x"]
    answer["EventStream"].close()


def test_a_consumer_that_is_not_registered_gets_nothing(kinesis, stream):
    with pytest.raises(ClientError) as raised:
        kinesis.subscribe_to_shard(
            ConsumerARN=f"{STREAM}/consumer/none:1",
            ShardId="shardId-000000000000",
            StartingPosition={"Type": "LATEST"},
        )
    assert raised.value.response["Error"]["Code"] == "ResourceNotFoundException"
