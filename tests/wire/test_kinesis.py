"""A day's work with Kinesis by boto3."""

from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError


@pytest.fixture
def kinesis(wire):
    return wire.client("kinesis")


@pytest.fixture
def stream(kinesis):
    kinesis.create_stream(StreamName="clicks", ShardCount=2)
    kinesis.get_waiter("stream_exists").wait(StreamName="clicks")
    return "clicks"


def read(kinesis, stream, shard, kind="TRIM_HORIZON", **where):
    """Read a shard to its end."""
    iterator = kinesis.get_shard_iterator(StreamName=stream, ShardId=shard, ShardIteratorType=kind, **where)[
        "ShardIterator"
    ]
    records = []
    while iterator:
        answer = kinesis.get_records(ShardIterator=iterator, Limit=3)
        records += answer["Records"]
        if not answer["Records"] and answer["MillisBehindLatest"] == 0:
            break
        iterator = answer.get("NextShardIterator")
    return records


def shards(kinesis, stream):
    return [shard["ShardId"] for shard in kinesis.list_shards(StreamName=stream)["Shards"]]


def test_records_are_put_and_read_in_order(kinesis, stream):
    one = kinesis.put_record(StreamName=stream, Data=b"\x00first", PartitionKey="k")
    entries = [{"Data": b"%d" % number, "PartitionKey": "k"} for number in range(10)]
    many = kinesis.put_records(StreamName=stream, Records=entries)
    assert many["FailedRecordCount"] == 0
    assert {entry["ShardId"] for entry in many["Records"]} == {one["ShardId"]}
    records = read(kinesis, stream, one["ShardId"])
    assert [record["Data"] for record in records] == [b"\x00first", *(b"%d" % number for number in range(10))]
    assert [record["SequenceNumber"] for record in records[1:]] == [
        entry["SequenceNumber"] for entry in many["Records"]
    ]
    assert abs(records[0]["ApproximateArrivalTimestamp"] - datetime.now(UTC)) < timedelta(minutes=1)
    third = many["Records"][2]["SequenceNumber"]
    at = read(kinesis, stream, one["ShardId"], "AT_SEQUENCE_NUMBER", StartingSequenceNumber=third)
    after = read(kinesis, stream, one["ShardId"], "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=third)
    assert [record["Data"] for record in at] == [b"%d" % number for number in range(2, 10)]
    assert after == at[1:]
    assert read(kinesis, stream, one["ShardId"], "LATEST") == []
    earlier = datetime.now(UTC) - timedelta(minutes=5)
    assert len(read(kinesis, stream, one["ShardId"], "AT_TIMESTAMP", Timestamp=earlier)) == 11


def test_a_name_and_an_arn_name_one_stream(kinesis, stream):
    """The name won, and records went into a stream that the ARN did not name."""
    arn = kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamARN"]
    kinesis.put_record(StreamName=stream, StreamARN=arn, PartitionKey="k", Data=b"d")
    with pytest.raises(kinesis.exceptions.InvalidArgumentException, match=f"names the stream {stream}, and StreamName"):
        kinesis.put_record(StreamName="other", StreamARN=arn, PartitionKey="k", Data=b"d")


def test_a_stream_is_described_as_aws_does(kinesis, stream):
    described = kinesis.describe_stream(StreamName=stream)["StreamDescription"]
    assert described["StreamARN"] == "arn:aws:kinesis:eu-central-1:123456789012:stream/clicks"
    assert (described["StreamStatus"], described["RetentionPeriodHours"], described["HasMoreShards"]) == (
        "ACTIVE",
        24,
        False,
    )
    ranges = [shard["HashKeyRange"] for shard in described["Shards"]]
    assert ranges[0]["StartingHashKey"] == "0"
    assert int(ranges[0]["EndingHashKey"]) + 1 == int(ranges[1]["StartingHashKey"])
    assert int(ranges[1]["EndingHashKey"]) == 2**128 - 1
    summary = kinesis.describe_stream_summary(StreamARN=described["StreamARN"])["StreamDescriptionSummary"]
    assert summary["OpenShardCount"] == 2


def test_a_stream_that_is_resharded_tells_children_and_parents(kinesis, stream):
    kinesis.put_records(StreamName=stream, Records=[{"Data": b"x", "PartitionKey": str(n)} for n in range(20)])
    before = shards(kinesis, stream)
    answer = kinesis.update_shard_count(StreamName=stream, TargetShardCount=3, ScalingType="UNIFORM_SCALING")
    assert (answer["CurrentShardCount"], answer["TargetShardCount"]) == (2, 3)
    assert len(shards(kinesis, stream)) == 5
    latest = kinesis.list_shards(StreamName=stream, ShardFilter={"Type": "AT_LATEST"})["Shards"]
    assert len(latest) == 3 and all(shard["ParentShardId"] in before for shard in latest)
    iterator = kinesis.get_shard_iterator(StreamName=stream, ShardId=before[0], ShardIteratorType="TRIM_HORIZON")
    answer = kinesis.get_records(ShardIterator=iterator["ShardIterator"])
    assert "NextShardIterator" not in answer
    assert answer["ChildShards"] and all(before[0] in child["ParentShards"] for child in answer["ChildShards"])


def test_lists_come_page_by_page(kinesis):
    for number in range(5):
        kinesis.create_stream(StreamName=f"s{number}", ShardCount=3)
    pages = kinesis.get_paginator("list_streams").paginate(PaginationConfig={"PageSize": 2})
    assert [page["StreamNames"] for page in pages] == [["s0", "s1"], ["s2", "s3"], ["s4"]]
    first = kinesis.list_shards(StreamName="s0", MaxResults=2)
    # As on AWS, the token names the stream, and the stream is not named beside it.
    second = kinesis.list_shards(NextToken=first["NextToken"], MaxResults=2)
    assert [len(page["Shards"]) for page in (first, second)] == [2, 1]
    assert "NextToken" not in second
    arn = "arn:aws:kinesis:eu-central-1:123456789012:stream/{}".format
    assert kinesis.list_shards(NextToken=first["NextToken"], StreamARN=arn("s0"))["Shards"] == second["Shards"]
    with pytest.raises(kinesis.exceptions.ExpiredNextTokenException):
        kinesis.list_shards(NextToken=first["NextToken"], StreamARN=arn("s1"))


def test_retention_and_tags_are_changed(kinesis, stream):
    kinesis.increase_stream_retention_period(StreamName=stream, RetentionPeriodHours=48)
    assert kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["RetentionPeriodHours"] == 48
    with pytest.raises(kinesis.exceptions.InvalidArgumentException):
        kinesis.decrease_stream_retention_period(StreamName=stream, RetentionPeriodHours=72)
    kinesis.add_tags_to_stream(StreamName=stream, Tags={"a": "1", "b": "2"})
    kinesis.remove_tags_from_stream(StreamName=stream, TagKeys=["a"])
    assert kinesis.list_tags_for_stream(StreamName=stream)["Tags"] == [{"Key": "b", "Value": "2"}]


def test_errors_are_those_of_aws(kinesis, stream):
    with pytest.raises(
        kinesis.exceptions.ResourceNotFoundException, match="Stream none under account 123456789012 not found"
    ):
        kinesis.put_record(StreamName="none", Data=b"x", PartitionKey="k")
    with pytest.raises(kinesis.exceptions.ResourceInUseException):
        kinesis.create_stream(StreamName=stream, ShardCount=1)
    with pytest.raises(kinesis.exceptions.LimitExceededException):
        kinesis.create_stream(StreamName="huge", ShardCount=100_000)
    with pytest.raises(ClientError, match="1 validation error detected: Value 'a b' at 'streamName' failed to satisfy"):
        kinesis.put_record(StreamName="a b", Data=b"x", PartitionKey="k")
    with pytest.raises(kinesis.exceptions.InvalidArgumentException, match="Invalid ShardIterator"):
        kinesis.get_records(ShardIterator="AAAAAAAA")
    with pytest.raises(ClientError) as raised:
        kinesis.start_stream_encryption(StreamName=stream, EncryptionType="KMS", KeyId="k")
    assert raised.value.response["Error"]["Code"] == "NotImplemented"
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    kinesis.delete_stream(StreamName=stream)
    with pytest.raises(kinesis.exceptions.ResourceNotFoundException):
        kinesis.list_shards(StreamName=stream)


def mode(kinesis, stream):
    """Give a stream's mode, which all who tell it agree on."""
    summary = kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
    described = kinesis.describe_stream(StreamName=stream)["StreamDescription"]
    (listed,) = [one for one in kinesis.list_streams()["StreamSummaries"] if one["StreamName"] == stream]
    (told,) = {one["StreamModeDetails"]["StreamMode"] for one in (summary, described, listed)}
    return told


def test_a_stream_has_the_mode_that_it_is_given(kinesis, stream):
    assert mode(kinesis, stream) == "PROVISIONED"
    details = {"StreamMode": "ON_DEMAND"}
    kinesis.create_stream(StreamName="eager", StreamModeDetails=details, Tags={"team": "shop"})
    summary = kinesis.describe_stream_summary(StreamName="eager")["StreamDescriptionSummary"]
    assert (mode(kinesis, "eager"), summary["OpenShardCount"]) == ("ON_DEMAND", 4)
    assert kinesis.list_tags_for_stream(StreamName="eager")["Tags"] == [{"Key": "team", "Value": "shop"}]
    limits = kinesis.describe_limits()
    assert (limits["OnDemandStreamCount"], limits["OpenShardCount"]) == (1, 6)
    reshard = {"StreamName": "eager", "TargetShardCount": 2, "ScalingType": "UNIFORM_SCALING"}
    shard = {"StreamName": "eager", "ShardToSplit": "shardId-000000000000", "NewStartingHashKey": "9"}
    merge = {"StreamName": "eager", "ShardToMerge": "shardId-000000000000"}
    for refused in (
        lambda: kinesis.update_shard_count(**reshard),
        lambda: kinesis.split_shard(**shard),
        lambda: kinesis.merge_shards(**merge, AdjacentShardToMerge="shardId-000000000001"),
    ):
        with pytest.raises(
            kinesis.exceptions.ValidationException, match=r"Stream eager under account \d+ is ON_DEMAND"
        ):
            refused()
    kinesis.update_stream_mode(StreamARN=summary["StreamARN"], StreamModeDetails={"StreamMode": "PROVISIONED"})
    assert (mode(kinesis, "eager"), kinesis.describe_limits()["OnDemandStreamCount"]) == ("PROVISIONED", 0)
    assert kinesis.update_shard_count(**reshard)["CurrentShardCount"] == 4
    kinesis.update_stream_mode(StreamARN=summary["StreamARN"], StreamModeDetails=details)
    assert mode(kinesis, "eager") == "ON_DEMAND"
    told = kinesis.describe_account_settings()
    assert told["MinimumThroughputBillingCommitment"]["Status"] == "DISABLED"
