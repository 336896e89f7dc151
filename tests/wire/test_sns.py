"""A day's work with SNS by boto3, which speaks the query protocol."""

import json
import threading

import pytest


@pytest.fixture
def sns(wire):
    return wire.client("sns")


@pytest.fixture
def topic(sns):
    return sns.create_topic(Name="alerts")["TopicArn"]


def queue(sqs, name):
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def received(sqs, url):
    messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", [])
    return [message["Body"] for message in messages]


def test_a_publication_reaches_the_queues_that_want_it(sns, sqs, topic):
    assert topic == "arn:aws:sns:eu-central-1:123456789012:alerts"
    (all_url, all_arn), (high_url, high_arn) = queue(sqs, "all"), queue(sqs, "high")
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=all_arn, Attributes={"RawMessageDelivery": "true"})
    filtered = sns.subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=high_arn, Attributes={"FilterPolicy": '{"severity": ["high"]}'}
    )["SubscriptionArn"]
    high = {"severity": {"DataType": "String", "StringValue": "high"}}
    sent = sns.publish(TopicArn=topic, Message="disk full", Subject="Disk", MessageAttributes=high)["MessageId"]
    sns.publish(TopicArn=topic, Message="disk fine")
    assert sorted(received(sqs, all_url)) == ["disk fine", "disk full"]
    (body,) = received(sqs, high_url)
    assert {name: json.loads(body)[name] for name in ("MessageId", "Message", "Subject", "TopicArn")} == {
        "MessageId": sent,
        "Message": "disk full",
        "Subject": "Disk",
        "TopicArn": topic,
    }
    attributes = sns.get_subscription_attributes(SubscriptionArn=filtered)["Attributes"]
    assert (attributes["FilterPolicy"], attributes["RawMessageDelivery"]) == ('{"severity": ["high"]}', "false")
    sns.set_subscription_attributes(SubscriptionArn=filtered, AttributeName="RawMessageDelivery", AttributeValue="true")
    sns.publish(TopicArn=topic, Message="again", MessageAttributes=high)
    assert received(sqs, high_url) == ["again"]
    sns.unsubscribe(SubscriptionArn=filtered)
    listed = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert [(one["Protocol"], one["Endpoint"]) for one in listed] == [("sqs", all_arn)]


def test_a_batch_is_published_and_each_entry_that_cannot_be_is_told_why(sns, sqs, topic):
    url, arn = queue(sqs, "q")
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    entries = [
        {"Id": "a", "Message": "one"},
        {"Id": "b", "Message": "{}", "MessageStructure": "json"},
        {"Id": "c", "Message": json.dumps({"default": "three"}), "MessageStructure": "json"},
        {"Id": "d", "Message": json.dumps({"default": "4", "sqs": "four", "lambda": "4!"}), "MessageStructure": "json"},
    ]
    answer = sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)
    assert [entry["Id"] for entry in answer["Successful"]] == ["a", "c", "d"]
    assert [(entry["Id"], entry["Code"]) for entry in answer["Failed"]] == [("b", "InvalidParameter")]
    assert sorted(received(sqs, url)) == ["four", "one", "three"]


def test_topics_are_listed_tagged_and_deleted(sns, topic):
    for number in range(101):
        sns.create_topic(Name=f"t{number:03}")
    pages = [page["Topics"] for page in sns.get_paginator("list_topics").paginate()]
    assert [len(page) for page in pages] == [100, 2]
    sns.set_topic_attributes(TopicArn=topic, AttributeName="DisplayName", AttributeValue="Alerts")
    assert sns.get_topic_attributes(TopicArn=topic)["Attributes"]["DisplayName"] == "Alerts"
    sns.tag_resource(ResourceArn=topic, Tags=[{"Key": "team", "Value": "ops"}])
    assert sns.list_tags_for_resource(ResourceArn=topic)["Tags"] == [{"Key": "team", "Value": "ops"}]
    sns.untag_resource(ResourceArn=topic, TagKeys=["team"])
    assert sns.list_tags_for_resource(ResourceArn=topic)["Tags"] == []
    sns.delete_topic(TopicArn=topic)
    with pytest.raises(sns.exceptions.NotFoundException, match="Topic does not exist"):
        sns.publish(TopicArn=topic, Message="m")


def test_what_forebay_does_not_do_is_refused(sns, topic):
    with pytest.raises(sns.exceptions.InvalidParameterException, match="Does not support this protocol string: email"):
        sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="a@b.example")
    with pytest.raises(sns.exceptions.InvalidParameterException):
        sns.create_topic(Name="f.fifo", Attributes={"FifoTopic": "true"})
    with pytest.raises(sns.exceptions.InvalidParameterException):
        sns.publish(PhoneNumber="+1", Message="m")


def test_whoever_asks_is_told_who_they_are(wire):
    identity = wire.client("sts").get_caller_identity()
    assert (identity["Account"], identity["UserId"]) == ("123456789012", "forebay")


def test_a_topic_has_fifty_tags_at_most(sns, topic):
    """It took any number."""
    tags = [{"Key": str(number), "Value": "v"} for number in range(51)]
    sns.tag_resource(ResourceArn=topic, Tags=tags[:50])
    sns.tag_resource(ResourceArn=topic, Tags=[{"Key": "0", "Value": "again"}])
    with pytest.raises(sns.exceptions.TagLimitExceededException):
        sns.tag_resource(ResourceArn=topic, Tags=tags[50:])
    with pytest.raises(sns.exceptions.TagLimitExceededException):
        sns.create_topic(Name="other", Tags=tags)
    assert len(sns.list_tags_for_resource(ResourceArn=topic)["Tags"]) == 50


def test_changes_of_a_subscription_that_two_make_at_once_both_hold(wire, sns, sqs, topic):
    """Each described the subscription, and the one that wrote last took the other's change back."""
    made = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue(sqs, "all")[1])["SubscriptionArn"]

    def change(name, values):
        client = wire.client("sns")
        for value in values:
            client.set_subscription_attributes(SubscriptionArn=made, AttributeName=name, AttributeValue=value)

    policies = [f'{{"n": ["{number}"]}}' for number in range(20)]
    threads = [
        threading.Thread(target=change, args=("RawMessageDelivery", ["true", "false"] * 10 + ["true"])),
        threading.Thread(target=change, args=("FilterPolicy", policies)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    given = sns.get_subscription_attributes(SubscriptionArn=made)["Attributes"]
    assert (given["RawMessageDelivery"], given["FilterPolicy"]) == ("true", policies[-1])
