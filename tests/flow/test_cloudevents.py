"""CloudEvents in their three HTTP forms, to events of a bus and back: nothing changes on the way, and what is wrong is told."""

import base64
import json

import pytest

import forebay
from forebay import cloudevents
from forebay._wire import cloudevents as wire
from forebay.errors import InvalidParameterValue

EVENT = {
    "specversion": "1.0",
    "id": "7",
    "source": "shop",
    "type": "OrderPlaced",
    "time": "2026-01-31T09:00:00Z",
    "subject": "order/7",
    "datacontenttype": "application/json",
    "partitionkey": "a",
    "data": {"total": 30},
}


def request(headers, body, *, is_base64=False):
    text = base64.b64encode(body).decode() if is_base64 else body.decode()
    return {"headers": headers, "body": text, "isBase64Encoded": is_base64}


def structured(event):
    return request({"Content-Type": "application/cloudevents+json; charset=utf-8"}, json.dumps(event).encode())


async def put(app, sent, **options):
    return await cloudevents.receiver(app.bus("orders"), **options)(sent, None)


@pytest.fixture
def taken(app):
    events = []

    @app.on_event("orders", pattern={"source": [{"exists": True}]})
    async def take(event, context):
        events.append(event)

    return events


BINARY = {
    "ce-specversion": "1.0",
    "ce-id": "7",
    "ce-source": "shop",
    "ce-type": "OrderPlaced",
    "ce-subject": "order/%C3%BC",
    "content-type": "application/json",
}


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (structured(EVENT), ({"total": 30}, ["order/7"])),
        (request(BINARY, b'{"total": 30}'), ({"total": 30}, ["order/ü"])),
        (request(BINARY, b'{"total": 30}', is_base64=True), ({"total": 30}, ["order/ü"])),
        (request({**BINARY, "content-type": "text/plain"}, b"hello"), ({"data": "hello"}, ["order/ü"])),
        (
            request({**BINARY, "content-type": "x/y"}, b"\xff", is_base64=True),
            ({"data_base64": "/w=="}, ["order/ü"]),
        ),
        (structured({**EVENT, "data": [1, None]}), ({"data": [1, None]}, ["order/7"])),
        (
            structured({**{k: v for k, v in EVENT.items() if k != "data"}, "data_base64": "eyJhIjoxfQ=="}),
            ({"a": 1}, ["order/7"]),
        ),
    ],
)
async def test_an_event_comes_as_it_was_sent(app, clock, taken, sent, expected):
    async with app:
        answer = await put(app, sent)
        await clock.settle()
    [event] = taken
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"]) == [{"id": "7", "event_id": event["id"]}]
    assert (event["source"], event["detail-type"]) == ("shop", "OrderPlaced")
    assert (event["detail"], event["resources"]) == expected


async def test_a_batch_is_put_whole_or_not_at_all(app, clock, taken):
    batch = {"Content-Type": "application/cloudevents-batch+json"}
    async with app:
        wrong = [EVENT, {**EVENT, "id": ""}]
        refused = await put(app, request(batch, json.dumps(wrong).encode()))
        await clock.settle()
        assert (refused["statusCode"], taken) == (400, [])
        assert "event 2 of 2: id is missing" in refused["body"]
        answer = await put(app, request(batch, json.dumps([EVENT, {**EVENT, "id": "8"}]).encode()))
        assert (await put(app, request(batch, b"[]")))["statusCode"] == 200
        await clock.settle()
    assert [one["id"] for one in json.loads(answer["body"])] == ["7", "8"]
    assert len(taken) == 2


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (request({}, b"{}"), "no CloudEvent"),
        (request({"content-type": "application/cloudevents+json"}, b"{"), "not JSON"),
        (request({"content-type": "application/cloudevents+json"}, b"[]"), "a JSON object"),
        (structured({**EVENT, "specversion": "0.3"}), "specversion"),
        (structured({**EVENT, "source": "aws.s3"}), "AWS's own"),
        (structured({**EVENT, "time": "yesterday"}), "RFC 3339"),
        (structured({**EVENT, "time": "2026-01-31T09:00:00"}), "RFC 3339"),
        (structured({**EVENT, "Bad-Name": 1}), "small letters"),
        (structured({**EVENT, "data_base64": "aa"}), "beside each other"),
        (structured({**{k: v for k, v in EVENT.items() if k != "data"}, "data_base64": "?"}), "not base64"),
    ],
)
async def test_what_is_no_cloud_event_is_told_why(app, sent, text):
    async with app:
        answer = await put(app, sent)
    assert answer["statusCode"] == 400
    assert text in json.loads(answer["body"])["message"]


async def test_attributes_that_are_kept_come_out_again(app, clock, taken):
    async with app:
        await put(app, structured(EVENT), keep_attributes=True)
        await clock.settle()
    [event] = taken
    assert event["detail"] == {
        "cloudevents": {"id": "7", "subject": "order/7", "partitionkey": "a"},
        "data": {"total": 30},
    }
    assert cloudevents.to_structured(event) == EVENT
    headers, body = cloudevents.to_binary(event)
    [back] = wire.read(headers["content-type"], headers, body)
    assert (back.id, back.subject, back.data, back.extensions) == ("7", "order/7", {"total": 30}, {"partitionkey": "a"})


def test_only_a_whole_event_becomes_one():
    with pytest.raises(InvalidParameterValue, match="whole event"):
        cloudevents.to_structured({"total": 30})
    assert forebay.cloudevents is cloudevents
