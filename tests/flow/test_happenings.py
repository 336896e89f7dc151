"""What happens in forebay, as events on the default bus, and alerts of Prometheus beside them."""

import json

import pytest

from forebay import alerts
from forebay.errors import InvalidParameterValue

WATCHED = {"source": ["forebay", "lambda", "aws.cloudwatch"]}


@pytest.fixture
def seen(app):
    events = []

    @app.on_event(pattern=WATCHED, name="watch")
    async def watch(event, context):
        events.append(event)

    app.emit_events()
    return events


async def test_events_and_batches_that_were_given_up_are_told(app, clock, seen):
    stream = app.stream("orders")

    @app.function("fails", maximum_retry_attempts=0)
    async def fails(event, context):
        raise ValueError("no")

    @app.on_stream("orders", maximum_retry_attempts=0)
    async def reads(batch, context):
        raise ValueError("no batch")

    async with app:
        await fails.invoke_async({"a": 1})
        await stream.put(b"1", partition_key="k")
        await clock.advance(10)
    told = {event["detail-type"]: event for event in seen}
    failed, batch = told["Lambda Function Invocation Result - Failure"], told["Batch Given Up"]
    assert failed["source"] == "lambda"
    assert failed["detail"]["requestPayload"] == {"a": 1}
    assert failed["detail"]["responsePayload"]["errorMessage"] == "no"
    assert batch["detail"]["KinesisBatchInfo"]["batchSize"] == 1
    assert any(arn.endswith("stream/orders") for arn in batch["resources"])


async def test_a_dead_letter_and_a_delivery_given_up_are_told(app, clock, seen):
    dead = app.queue("dead")
    queue = app.queue("work", dead_letter_queue=dead, maximum_receive_count=1, visibility_timeout=1)
    async with app:
        await queue.send("x")
        await queue.receive()
        await clock.advance(5)
        await queue.receive()
        await clock.advance(5)
        await app._caller.ask("rule.put", bus="default", name="r", pattern='{"source": ["shop"]}', targets=GONE)
        await app.bus().put({}, source="shop", detail_type="x")
        await clock.advance(1)
    told = {event["detail-type"]: event["detail"] for event in seen}
    assert told["Message Dead-Lettered"]["queueArn"].endswith(":work")
    assert told["Message Dead-Lettered"]["deadLetterQueueArn"].endswith(":dead")
    assert told["Delivery Given Up"]["of"] == "default/r"


GONE = [{"id": "1", "function": "gone"}]


async def test_nothing_is_told_when_nobody_asked(app, clock, seen):
    app.emit_events(enabled=False)

    @app.function("fails", maximum_retry_attempts=0)
    async def fails(event, context):
        raise ValueError("no")

    async with app:
        await fails.invoke_async(1)
        await clock.advance(5)
        assert seen == []
        app.emit_events()
        await fails.invoke_async(1)
        await clock.advance(5)
    assert len(seen) == 1


async def test_an_alert_is_told_as_an_alarm(app, clock, seen):
    receive = alerts.receiver(app.bus())
    alert = {
        "status": "firing",
        "labels": {"alertname": "QueueGrows", "queue": "work"},
        "annotations": {"summary": "work grows", "description": "It grows."},
        "startsAt": "2026-01-31T09:00:00Z",
    }
    async with app:
        answer = await receive({"body": json.dumps({"version": "4", "alerts": [alert]})}, None)
        assert answer["statusCode"] == 200
        assert (await receive({"body": "{}"}, None))["statusCode"] == 400
        await clock.advance(1)
    [event] = seen
    assert (event["source"], event["detail-type"]) == ("aws.cloudwatch", "CloudWatch Alarm State Change")
    assert event["detail"]["state"] == {"value": "ALARM", "reason": "work grows", "timestamp": "2026-01-31T09:00:00Z"}
    assert event["resources"] == ["arn:aws:cloudwatch:local:000000000000:alarm:QueueGrows"]


def test_alerts_go_to_the_default_bus(app):
    with pytest.raises(InvalidParameterValue, match="default"):
        alerts.receiver(app.bus("other"))


class Proxy:
    """A resource that fails over, as `DBProxy` says it."""

    on_failover = None

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass


async def test_a_failover_is_told_as_rds_tells_it(app, clock, seen):
    proxy = Proxy()
    app.attach(proxy)
    app.bus().rule("db", {"source": ["aws.rds"]}, app.queue("db"), input_path="$.detail")
    async with app:
        proxy.on_failover("db-1:5432", "db-2:5432")
        await clock.advance(1)
        [message] = await app.queue("db").receive()
    detail = json.loads(message.body)
    assert (detail["EventID"], detail["EventCategories"]) == ("RDS-EVENT-0071", ["failover"])
    assert "failover to DB instance: db-2:5432" in detail["Message"]
