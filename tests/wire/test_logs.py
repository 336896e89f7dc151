"""CloudWatch Logs by boto3."""

import dataclasses
import logging
import time

import pytest
from botocore.exceptions import ClientError
from ports import free_port
from wire_app import served

from forebay.logs import FunctionLogs

GROUP, STREAM = "/aws/lambda/pack", "2026/11/28/one"


@pytest.fixture
def logs(wire):
    return wire.client("logs")


@pytest.fixture
def group(logs):
    logs.create_log_group(logGroupName=GROUP)
    logs.create_log_stream(logGroupName=GROUP, logStreamName=STREAM)
    return GROUP


def now_ms():
    return int(time.time() * 1000)


def put(logs, messages, stream=STREAM, at=None):
    begun = at or now_ms()
    events = [{"timestamp": begun + number, "message": message} for number, message in enumerate(messages)]
    return logs.put_log_events(logGroupName=GROUP, logStreamName=stream, logEvents=events)


def test_groups_and_streams_are_made_listed_and_gone(logs, group, wire):
    with pytest.raises(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_group(logGroupName=GROUP)
    logs.create_log_group(logGroupName="other")
    listed = logs.describe_log_groups()["logGroups"]
    assert [one["logGroupName"] for one in listed] == [GROUP, "other"]
    assert listed[0]["arn"] == f"arn:aws:logs:eu-central-1:123456789012:log-group:{GROUP}:*"
    assert listed[0]["retentionInDays"] == 7
    logs.put_retention_policy(logGroupName=GROUP, retentionInDays=30)
    (found,) = logs.describe_log_groups(logGroupNamePrefix="/aws/")["logGroups"]
    assert found["retentionInDays"] == 30
    logs.create_log_stream(logGroupName=GROUP, logStreamName="two")
    names = [one["logStreamName"] for one in logs.describe_log_streams(logGroupName=GROUP)["logStreams"]]
    assert names == [STREAM, "two"]
    logs.delete_log_stream(logGroupName=GROUP, logStreamName="two")
    pages = logs.get_paginator("describe_log_streams").paginate(
        logGroupName=GROUP, orderBy="LastEventTime", descending=True
    )
    assert [one["logStreamName"] for page in pages for one in page["logStreams"]] == [STREAM]
    assert wire.client("kinesis").list_streams()["StreamNames"] == [], "a group is not a stream for users"
    logs.delete_log_group(logGroupName=GROUP)
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.describe_log_streams(logGroupName=GROUP)


def test_events_are_read_forward_and_backward_page_by_page(logs, group):
    put(logs, [f"line {number}" for number in range(25)])
    asked = {"logGroupName": GROUP, "logStreamName": STREAM, "limit": 10}

    def read(**more):
        answer = logs.get_log_events(**asked, **more)
        return [int(event["message"].split()[1]) for event in answer["events"]], answer

    numbers, answer = read(startFromHead=True)
    assert numbers == list(range(10))
    seen = list(numbers)
    while numbers:
        numbers, answer = read(startFromHead=True, nextToken=answer["nextForwardToken"])
        seen += numbers
    assert seen == list(range(25))
    assert read(nextToken=answer["nextForwardToken"])[1]["nextForwardToken"] == answer["nextForwardToken"]
    numbers, answer = read()
    assert numbers == list(range(15, 25)), "without startFromHead the latest come"
    assert read(nextToken=answer["nextBackwardToken"])[0] == list(range(5, 15))


def test_events_are_found_by_words_times_and_streams(logs, group):
    logs.create_log_stream(logGroupName=GROUP, logStreamName="two")
    begun = now_ms() - 60_000
    put(logs, ["START", "ERROR no disk", "ERROR no room", "END"], at=begun)
    put(logs, ["ERROR elsewhere"], stream="two", at=begun + 10)

    def found(**more):
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=GROUP, **more)
        return [event["message"] for page in pages for event in page["events"]]

    assert found() == ["START", "ERROR no disk", "ERROR no room", "END", "ERROR elsewhere"]
    assert found(filterPattern="ERROR -room") == ["ERROR no disk", "ERROR elsewhere"]
    assert found(filterPattern='"no room"') == ["ERROR no room"]
    assert found(logStreamNames=["two"]) == ["ERROR elsewhere"]
    assert found(startTime=begun + 2, endTime=begun + 3) == ["ERROR no room", "END"]
    assert found(filterPattern="ERROR", PaginationConfig={"PageSize": 1}) == [
        "ERROR no disk",
        "ERROR no room",
        "ERROR elsewhere",
    ]
    with pytest.raises(ClientError, match="words and phrases"):
        found(filterPattern="{ $.level = ERROR }")


def test_events_out_of_time_are_rejected_by_their_places(logs, group):
    day = 86_400_000
    events = [
        {"timestamp": now_ms() - 15 * day, "message": "old"},
        {"timestamp": now_ms(), "message": "now"},
        {"timestamp": now_ms() + 3 * 3_600_000, "message": "new"},
    ]
    answer = logs.put_log_events(logGroupName=GROUP, logStreamName=STREAM, logEvents=events)
    assert answer["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1, "tooNewLogEventStartIndex": 2}
    events = logs.get_log_events(logGroupName=GROUP, logStreamName=STREAM)["events"]
    assert [event["message"] for event in events] == ["now"]
    with pytest.raises(ClientError, match="chronological"):
        logs.put_log_events(
            logGroupName=GROUP,
            logStreamName=STREAM,
            logEvents=[{"timestamp": now_ms(), "message": "b"}, {"timestamp": now_ms() - 10, "message": "a"}],
        )
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        put(logs, ["x"], stream="none")


def described(logs, **how):
    return logs.describe_log_streams(logGroupName=GROUP, **how)["logStreams"]


def test_a_stream_tells_when_its_first_and_last_events_were(logs, group):
    (empty,) = described(logs)
    assert not empty.keys() & {"firstEventTimestamp", "lastEventTimestamp", "lastIngestionTime"}
    begun = now_ms()
    logs.create_log_stream(logGroupName=GROUP, logStreamName="two")
    put(logs, ["a", "b"], at=begun - 5_000)
    put(logs, ["c"], "two", at=begun - 9_000)
    put(logs, ["d"], at=begun - 3_000)
    one, two = described(logs)
    assert (one["firstEventTimestamp"], one["lastEventTimestamp"]) == (begun - 5_000, begun - 3_000)
    assert (two["firstEventTimestamp"], two["lastEventTimestamp"]) == (begun - 9_000, begun - 9_000)
    assert all(begun <= stream["lastIngestionTime"] <= now_ms() for stream in (one, two))
    latest = described(logs, orderBy="LastEventTime", descending=True)
    assert [stream["logStreamName"] for stream in latest] == [STREAM, "two"]


def test_a_stream_that_gets_an_event_between_two_pages_is_passed_over_by_neither(logs, group):
    begun = now_ms() - 60_000
    names = ["a", "b", "c", "d", "e"]
    logs.delete_log_stream(logGroupName=GROUP, logStreamName=STREAM)
    for place, name in enumerate(names):
        logs.create_log_stream(logGroupName=GROUP, logStreamName=name)
        put(logs, ["x"], name, at=begun + place)
    for descending, moved in ((True, "a"), (False, "e")):
        how = {"orderBy": "LastEventTime", "descending": descending, "limit": 2}
        before = [one["logStreamName"] for one in described(logs, orderBy="LastEventTime", descending=descending)]
        page = logs.describe_log_streams(logGroupName=GROUP, **how)
        seen = [one["logStreamName"] for one in page["logStreams"]]
        later = begun + 1_000 if descending else begun + 2_000
        for name in (moved, seen[0]):
            put(logs, ["y"], name, at=later)
        while "nextToken" in page:
            page = logs.describe_log_streams(logGroupName=GROUP, nextToken=page["nextToken"], **how)
            seen += [one["logStreamName"] for one in page["logStreams"]]
        assert seen == before
    with pytest.raises(logs.exceptions.InvalidParameterException, match="nextToken"):
        logs.describe_log_streams(logGroupName=GROUP, orderBy="LastEventTime", nextToken="x")


def test_of_a_large_group_the_events_at_both_ends_are_known(logs, group):
    begun = now_ms() - 60_000
    for name in ("early", "middle", "late"):
        logs.create_log_stream(logGroupName=GROUP, logStreamName=name)
    put(logs, ["first"], "early", at=begun)
    put(logs, ["filling"] * 2_500, at=begun + 1)
    put(logs, ["between"], "middle", at=begun + 5_000)
    put(logs, ["filling"] * 2_500, at=begun + 5_001)
    put(logs, ["last"], "late", at=begun + 9_000)
    known = {stream["logStreamName"]: stream for stream in described(logs)}
    times = {
        name: (stream.get("firstEventTimestamp"), stream.get("lastEventTimestamp")) for name, stream in known.items()
    }
    assert times == {
        "early": (begun, None),
        "middle": (None, None),
        "late": (None, begun + 9_000),
        STREAM: (begun + 1, begun + 7_500),
    }


def test_a_target_of_a_rule_that_fails_has_no_log_group_of_a_function(make_app, caplog):
    app = make_app()
    app.attach(FunctionLogs(app))
    crm = app.api_destination("crm", f"http://127.0.0.1:{free_port()}/")
    app.bus("orders").rule("to-crm", {"source": ["shop"]}, crm, maximum_retry_attempts=0)

    @app.function()
    async def pack(event, context):
        logging.getLogger("shop").warning("packed")

    def wait_for(condition):
        ends = time.monotonic() + 100
        while not condition():
            assert time.monotonic() < ends
            time.sleep(0.02)

    def groups():
        return [one["logGroupName"] for one in wire.client("logs").describe_log_groups()["logGroups"]]

    with served(app) as wire:
        entry = {"EventBusName": "orders", "Source": "shop", "DetailType": "d", "Detail": "{}"}
        wire.client("events").put_events(Entries=[entry])
        wait_for(lambda: any("rule orders/to-crm: its target" in record.getMessage() for record in caplog.records))
        wire.client("lambda").invoke(FunctionName="pack")
        wait_for(groups)
        assert groups() == ["/aws/lambda/pack"]


def test_what_functions_log_is_kept_in_processes_as_well(tmp_path):
    import logs_app

    logs_app.app.settings = dataclasses.replace(logs_app.app.settings, store=str(tmp_path))
    with served(logs_app.app) as wire:
        for function, said in (("pack", "packed a book"), ("wrap", "wrapped a book")):
            wire.client("lambda").invoke(FunctionName=function, Payload=b'"a book"')
            logs, group = wire.client("logs"), f"/aws/lambda/{function}"
            ends = time.monotonic() + 100
            while True:
                groups = [one["logGroupName"] for one in logs.describe_log_groups()["logGroups"]]
                events = logs.filter_log_events(logGroupName=group)["events"] if group in groups else []
                if events:
                    break
                assert time.monotonic() < ends, function
                time.sleep(0.05)
            (event,) = events
            level, _, request, message = event["message"].split("\t")
            assert (level, message, len(request)) == ("[WARNING]", said, 36)
            (stream,) = logs.describe_log_streams(logGroupName=group)["logStreams"]
            assert stream["logStreamName"] == event["logStreamName"]
            assert abs(event["timestamp"] - now_ms()) < 60_000


def test_events_are_told_by_when_they_happened(logs, group):
    """They came in the order in which they were put."""
    put(logs, ["late"])
    put(logs, ["early"], at=now_ms() - 60_000)
    place = {"logGroupName": GROUP, "logStreamName": STREAM}
    for answer in (
        logs.get_log_events(**place, startFromHead=True),
        logs.get_log_events(**place),
        logs.filter_log_events(logGroupName=GROUP, logStreamNames=[STREAM]),
    ):
        assert [event["message"] for event in answer["events"]] == ["early", "late"]


def test_a_stream_that_is_not_there_has_no_events_to_filter(logs, group):
    """A name with a slip in it found nothing."""
    with pytest.raises(logs.exceptions.ResourceNotFoundException, match="The specified log stream does not exist"):
        logs.filter_log_events(logGroupName=GROUP, logStreamNames=[STREAM, "typo"])


def test_a_search_with_many_terms_gives_a_page_and_goes_on(logs, group):
    """All other clients waited for seconds while one search looked through a whole group."""
    for _ in range(4):
        put(logs, ["x" * 100_000] * 5)
    put(logs, ["here: zq"])

    def search(terms):
        asked, pages, found = {"logGroupName": GROUP, "filterPattern": " ".join(f"?{term}" for term in terms)}, 0, []
        while True:
            answer = logs.filter_log_events(**asked)
            pages += 1
            found += [event["message"] for event in answer["events"]]
            if "nextToken" not in answer:
                return pages, found
            asked["nextToken"] = answer["nextToken"]

    assert search(["zq"]) == (1, ["here: zq"])
    pages, found = search([first + second for first in "zyxwvuts" for second in "abcdefghijklmnopqrstuvw"])
    assert found == ["here: zq"] and pages > 3


def test_tokens_of_events_are_none_that_a_client_can_write(logs, group):
    put(logs, ["one", "two"])
    answer = logs.filter_log_events(logGroupName=GROUP, limit=1)
    for wrong in ("f/1", answer["nextToken"][1:], answer["nextToken"] + "A"):
        with pytest.raises(logs.exceptions.InvalidParameterException, match="nextToken"):
            logs.filter_log_events(logGroupName=GROUP, limit=1, nextToken=wrong)
        with pytest.raises(logs.exceptions.InvalidParameterException, match="nextToken"):
            logs.get_log_events(logGroupName=GROUP, logStreamName=STREAM, nextToken=wrong)
