"""A day's work with EventBridge and its Scheduler by boto3."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError


@pytest.fixture
def events(wire):
    return wire.client("events")


@pytest.fixture
def inbox(wire):
    sqs = wire.client("sqs")
    url = sqs.create_queue(QueueName="inbox")["QueueUrl"]
    return sqs, url, "arn:aws:sqs:eu-central-1:123456789012:inbox"


def received(inbox, wait=5):
    sqs, url, _ = inbox
    messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=wait).get("Messages", [])
    return [json.loads(message["Body"]) for message in messages]


def test_an_event_reaches_the_targets_of_its_rules(events, inbox):
    bus = events.create_event_bus(Name="shop")["EventBusArn"]
    assert bus == "arn:aws:events:eu-central-1:123456789012:event-bus/shop"
    with pytest.raises(events.exceptions.ResourceAlreadyExistsException):
        events.create_event_bus(Name="shop")
    rule = events.put_rule(Name="paid", EventBusName="shop", EventPattern='{"source": ["shop"]}', Description="d")
    assert rule["RuleArn"].endswith(":rule/shop/paid")
    targets = [
        {"Id": "whole", "Arn": inbox[2]},
        {
            "Id": "part",
            "Arn": inbox[2],
            "InputTransformer": {"InputPathsMap": {"n": "$.detail.n"}, "InputTemplate": '{"number": <n>}'},
        },
    ]
    assert events.put_targets(Rule="paid", EventBusName=bus, Targets=targets)["FailedEntryCount"] == 0
    listed = events.list_targets_by_rule(Rule="paid", EventBusName="shop")["Targets"]
    assert listed == sorted(targets, key=lambda one: one["Id"])
    entry = {"Source": "shop", "DetailType": "Paid", "EventBusName": "shop"}
    answer = events.put_events(
        Entries=[
            {**entry, "Detail": '{"n": 7}'},
            {**entry, "Detail": "no"},
            {**entry, "Source": "other", "Detail": "{}"},
        ]
    )
    assert answer["FailedEntryCount"] == 1
    assert [one.get("ErrorCode") for one in answer["Entries"]] == [None, "MalformedDetail", None]
    got = [*received(inbox), *received(inbox, 1)]
    assert {"number": 7} in got
    assert answer["Entries"][0]["EventId"] in [one.get("id") for one in got]
    assert len(got) == 2
    events.disable_rule(Name="paid", EventBusName="shop")
    described = events.describe_rule(Name="paid", EventBusName="shop")
    assert (described["State"], described["Description"]) == ("DISABLED", "d")
    assert events.list_rule_names_by_target(TargetArn=inbox[2], EventBusName="shop")["RuleNames"] == ["paid"]
    with pytest.raises(ClientError, match="Rule can't be deleted since it has targets"):
        events.delete_rule(Name="paid", EventBusName="shop")
    events.remove_targets(Rule="paid", EventBusName="shop", Ids=["whole", "part"])
    events.delete_rule(Name="paid", EventBusName="shop")
    events.delete_event_bus(Name="shop")
    with pytest.raises(events.exceptions.ResourceNotFoundException):
        events.describe_event_bus(Name="shop")


def test_rules_are_listed_page_by_page_and_patterns_are_tested(events):
    for number in range(5):
        events.put_rule(Name=f"r{number}", EventPattern='{"source": ["x"]}')
    first = events.list_rules(Limit=3)
    second = events.list_rules(Limit=3, NextToken=first["NextToken"])
    assert [rule["Name"] for rule in first["Rules"] + second["Rules"]] == [f"r{n}" for n in range(5)]
    event = {"id": "1", "account": "1", "source": "x", "time": "2026-01-01T00:00:00Z", "region": "r", "resources": []}
    text = json.dumps({**event, "detail-type": "t", "detail": {"a": 1}})
    assert events.test_event_pattern(EventPattern='{"detail": {"a": [1]}}', Event=text)["Result"] is True
    assert events.test_event_pattern(EventPattern='{"detail": {"a": [2]}}', Event=text)["Result"] is False
    with pytest.raises(events.exceptions.InvalidEventPatternException):
        events.put_rule(Name="bad", EventPattern='{"source": "x"}')


def test_an_event_that_is_tested_has_what_aws_gives_each(events):
    """It was held against the pattern: a test passed here that AWS refuses."""
    whole = dict.fromkeys(("id", "account", "source", "time", "region", "detail-type"), "x")
    pattern = '{"source": ["x"]}'
    assert events.test_event_pattern(EventPattern=pattern, Event=json.dumps(whole))["Result"] is True
    for name in whole:
        lacking = json.dumps({key: value for key, value in whole.items() if key != name})
        with pytest.raises(ClientError, match="Parameter Event is not valid") as refused:
            events.test_event_pattern(EventPattern=pattern, Event=lacking)
        assert refused.value.response["Error"]["Code"] == "ValidationException"
    for event in ("[]", "nothing"):
        with pytest.raises(ClientError, match="Parameter Event is not valid"):
            events.test_event_pattern(EventPattern=pattern, Event=event)


def test_an_archive_is_replayed(events, inbox):
    source = "arn:aws:events:eu-central-1:123456789012:event-bus/default"
    archive = events.create_archive(ArchiveName="all", EventSourceArn=source, RetentionDays=1)["ArchiveArn"]
    events.put_events(Entries=[{"Source": "shop", "DetailType": "Paid", "Detail": "{}"}])
    assert events.describe_archive(ArchiveName="all")["RetentionDays"] == 1
    events.put_rule(Name="late", EventPattern='{"source": ["shop"]}')
    events.put_targets(Rule="late", Targets=[{"Id": "q", "Arn": inbox[2]}])
    now = datetime.now(UTC)
    events.start_replay(
        ReplayName="again",
        EventSourceArn=archive,
        EventStartTime=now - timedelta(minutes=5),
        EventEndTime=now + timedelta(minutes=5),
        Destination={"Arn": source},
    )
    (got,) = received(inbox, 20)
    assert got["replay-name"] == "again"
    replay = events.describe_replay(ReplayName="again")
    assert replay["EventSourceArn"] == archive and replay["Destination"] == {"Arn": source}
    assert [one["ReplayName"] for one in events.list_replays()["Replays"]] == ["again"]


def test_a_schedule_is_made_changed_and_deleted(wire, inbox):
    scheduler = wire.client("scheduler")
    settings = {
        "Name": "tick",
        "ScheduleExpression": "rate(5 minutes)",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {"Arn": inbox[2], "RoleArn": "arn:aws:iam::123456789012:role/r", "Input": '{"a": 1}'},
    }
    arn = scheduler.create_schedule(**settings)["ScheduleArn"]
    with pytest.raises(scheduler.exceptions.ConflictException):
        scheduler.create_schedule(**settings)
    # What is wrong in any case was not said of a name that is taken.
    for wrong in ({"ScheduleExpression": "now and then"}, {"ScheduleExpressionTimezone": "Mars/Base"}):
        with pytest.raises(scheduler.exceptions.ValidationException):
            scheduler.create_schedule(**settings | wrong)
    given = scheduler.get_schedule(Name="tick")
    assert (given["Arn"], given["State"], given["Target"]["Arn"]) == (arn, "ENABLED", inbox[2])
    scheduler.update_schedule(**{**settings, "State": "DISABLED", "ScheduleExpression": "rate(1 hour)"})
    assert scheduler.get_schedule(Name="tick")["ScheduleExpression"] == "rate(1 hour)"
    (one,) = scheduler.list_schedules(NamePrefix="t", State="DISABLED")["Schedules"]
    assert one["Name"] == "tick"
    scheduler.delete_schedule(Name="tick")
    with pytest.raises(scheduler.exceptions.ResourceNotFoundException):
        scheduler.get_schedule(Name="tick")


def test_roles_of_rules_and_targets_are_given_back(events, inbox):
    """They were taken and forgotten: Terraform and the CDK saw a change at every plan."""
    rule, target = (f"arn:aws:iam::123456789012:role/{name}" for name in ("rule", "target"))
    events.put_rule(Name="r", EventPattern='{"source": ["x"]}', RoleArn=rule)
    events.put_targets(
        Rule="r", Targets=[{"Id": "1", "Arn": inbox[2], "RoleArn": target}, {"Id": "2", "Arn": inbox[2]}]
    )
    events.disable_rule(Name="r")
    assert events.describe_rule(Name="r")["RoleArn"] == rule
    assert events.list_rules()["Rules"][0]["RoleArn"] == rule
    roles = [one.get("RoleArn") for one in events.list_targets_by_rule(Rule="r")["Targets"]]
    assert roles == [target, None]


def test_what_a_client_makes_and_leaves_has_its_tags_or_is_not_there(wire, events):
    """Tags came in a commit of their own. Who made a bus again was told that it exists, and it never had them."""
    from test_sqs_settings import hang_up

    tags, arn = [{"Key": "team", "Value": "a"}], "arn:aws:events:eu-central-1:123456789012"
    for number in range(10):
        bus, rule = f"b{number}", f"r{number}"
        hang_up(wire, "AWSEvents.CreateEventBus", {"Name": bus, "Tags": tags}, service="events")
        pattern = '{"source": ["x"]}'
        hang_up(wire, "AWSEvents.PutRule", {"Name": rule, "EventPattern": pattern, "Tags": tags}, service="events")
        # The last one was read before this one is answered, or never is.
        for made in (f"{arn}:event-bus/{bus}", f"{arn}:rule/{rule}"):
            try:
                found = events.list_tags_for_resource(ResourceARN=made)["Tags"]
            except events.exceptions.ResourceNotFoundException:
                continue
            assert found == tags, made


def test_an_event_that_is_tested_is_no_larger_than_one_that_is_put(events):
    """One of 15 MB held up all clients of the door for 21 seconds."""
    event = {"id": "1", "account": "1", "source": "x", "time": "2026-01-01T00:00:00Z", "region": "r", "resources": []}

    def tested(characters):
        text = json.dumps({**event, "detail-type": "t", "detail": {"a": "x" * characters}})
        pattern = '{"detail": {"a": [{"prefix": "x"}]}}'
        return events.test_event_pattern(EventPattern=pattern, Event=text)["Result"]

    assert tested(1_000_000)
    with pytest.raises(ClientError, match="Event size exceeded"):
        tested(1_048_576)
