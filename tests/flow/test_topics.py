"""Topics: what is published goes to every queue and function that is subscribed, as SNS would hand it over."""

import base64
import json

import pytest

from forebay import InvalidParameterValue, RequestTooLarge, ResourceConflict, ResourceNotFound


@pytest.fixture
def topic(app):
    return app.topic("alerts")


@pytest.fixture
def queue(app):
    return app.queue("inbox")


async def bodies(queue):
    return [json.loads(message.body) for message in await queue.receive()]


def collecting(app, name):
    events = []

    @app.function(name)
    async def handler(event, context):
        events.append(event)

    return handler, events


async def test_a_queue_is_given_snss_json_around_the_message(app, clock, topic, queue):
    topic.subscribe(queue)
    async with app:
        message_id = await topic.publish(
            {"n": 1},
            subject="New",
            attributes={"kind": "order", "price": 7.5, "raw": b"\x00\xff", "tags": ["a", 1, None]},
        )
        bare = await topic.publish("bare")
        [first, second] = await bodies(queue)
    assert first == {
        "Type": "Notification",
        "MessageId": message_id,
        "TopicArn": "arn:aws:sns:local:000000000000:alerts",
        "Subject": "New",
        "Message": '{"n":1}',
        "Timestamp": "2020-01-01T00:00:00.000Z",
        "MessageAttributes": {
            "kind": {"Type": "String", "Value": "order"},
            "price": {"Type": "Number", "Value": "7.5"},
            "raw": {"Type": "Binary", "Value": base64.b64encode(b"\x00\xff").decode()},
            "tags": {"Type": "String.Array", "Value": '["a",1,null]'},
        },
    }
    assert list(second) == ["Type", "MessageId", "TopicArn", "Message", "Timestamp"]
    assert second["MessageId"] == bare


async def test_a_function_is_given_lambdas_event_for_sns(app, clock, topic):
    handler, events = collecting(app, "handler")
    topic.subscribe(handler)
    async with app:
        message_id = await topic.publish("hello", attributes={"kind": "new"})
        await topic.publish("with a subject", subject="S")
        await clock.settle()
    first, second = events
    [record] = first["Records"]
    assert (record["EventSource"], record["EventVersion"]) == ("aws:sns", "1.0")
    assert record["EventSubscriptionArn"].startswith("arn:aws:sns:local:000000000000:alerts:")
    assert record["Sns"] == {
        "Type": "Notification",
        "MessageId": message_id,
        "TopicArn": "arn:aws:sns:local:000000000000:alerts",
        "Subject": None,
        "Message": "hello",
        "Timestamp": "2020-01-01T00:00:00.000Z",
        "MessageAttributes": {"kind": {"Type": "String", "Value": "new"}},
    }
    assert second["Records"][0]["Sns"]["Subject"] == "S"
    assert second["Records"][0]["Sns"]["MessageAttributes"] == {}


async def test_raw_delivery_gives_the_text_and_the_attributes_themselves(app, topic, queue):
    topic.subscribe(queue, raw_message_delivery=True)
    async with app:
        await topic.publish("as it is", subject="lost, as on SNS", attributes={"kind": "new", "n": 1})
        [message] = await queue.receive()
    assert (message.body, message.attributes) == ("as it is", {"kind": "new", "n": 1})


async def test_everything_subscribed_has_it_and_policies_decide(app, clock, topic, queue):
    orders, large = app.queue("orders"), app.queue("large")
    handler, events = collecting(app, "handler")
    topic.subscribe(queue)
    topic.subscribe(orders, filter_policy={"kind": ["order"]})
    topic.subscribe(large, filter_policy='{"total":[{"numeric":[">=",100]}]}', filter_policy_scope="MessageBody")
    topic.subscribe(handler, filter_policy={"kind": [{"anything-but": "order"}]})
    async with app:
        await topic.publish({"total": 100}, attributes={"kind": "order"})
        await topic.publish({"total": 99}, attributes={"kind": "refund"})
        await topic.publish({"total": 500})
        await clock.settle()
        totals = [
            [json.loads(body["Message"])["total"] for body in await bodies(one)] for one in (queue, orders, large)
        ]
        of = app.metrics.statistic
        assert of("NumberOfMessagesPublished", "Sum", topic="alerts", period=60) == 3
        assert of("NumberOfNotificationsDelivered", "Sum", topic="alerts", period=60) == 7
        assert of("NumberOfNotificationsFilteredOut", "Sum", topic="alerts", period=60) == 5
    assert totals == [[100, 99, 500], [100], [100, 500]]
    assert [json.loads(event["Records"][0]["Sns"]["Message"])["total"] for event in events] == [99]


async def test_a_handler_off_the_loop_publishes_and_waits(app, clock, topic, queue):
    topic.subscribe(queue)

    @app.function(isolation="thread")
    def handler(event, context):
        assert len(topic.publish_sync("from a thread")) == 36

    async with app:
        await handler.invoke_async(1)
        await clock.settle()
        [body] = await bodies(queue)
    assert body["Message"] == "from a thread"


async def test_a_subscription_is_taken_back(app, topic, queue):
    topic.subscribe(queue)
    async with app:
        await topic.unsubscribe(queue)
        await topic.publish("nobody")
        assert queue.depth().visible == 0
        with pytest.raises(ResourceNotFound, match="is not subscribed"):
            await topic.unsubscribe(queue)


async def test_topics_and_subscriptions_may_be_declared_while_the_app_runs(app, clock):
    async with app:
        topic, queue = app.topic("late"), app.queue("late")
        handler, events = collecting(app, "handler")
        topic.subscribe(queue)
        topic.subscribe(handler)
        await topic.publish("now")
        await clock.settle()
        assert len(await bodies(queue)) == len(events) == 1


async def test_a_subscription_outlives_the_code_that_made_it_and_changed_settings_apply(durable_app, clock):
    def make(**options):
        app = durable_app()
        topic, queue = app.topic("alerts"), app.queue("inbox")
        if options:
            topic.subscribe(queue, **options)
        return app, topic, queue

    app, topic, queue = make(raw_message_delivery=True)
    async with app:
        await topic.publish("1")
    app, topic, queue = make()
    async with app:
        await topic.publish("2")
    app, topic, queue = make(filter_policy={"kind": ["new"]})
    async with app:
        await topic.publish("3")
        await topic.publish("4", attributes={"kind": "new"})
        received = [message.body for message in await queue.receive()]
    assert received[:2] == ["1", "2"]
    assert [json.loads(body)["Message"] for body in received[2:]] == ["4"]


# --- destinations


async def test_a_topic_is_told_what_became_of_an_event(app, clock, topic, queue):
    handler, events = collecting(app, "listener")
    topic.subscribe(queue, raw_message_delivery=True)
    topic.subscribe(handler)

    @app.function(on_success=topic)
    async def work(event, context):
        return {"done": event}

    async with app:
        request = await work.invoke_async(1)
        await clock.advance(1)
        assert await work.failed() == []
        [message] = await queue.receive()
    record = message.json()
    assert (record["requestContext"]["requestId"], record["responsePayload"]) == (request, {"done": 1})
    assert json.loads(events[0]["Records"][0]["Sns"]["Message"]) == record


async def test_a_dead_letter_topic_gets_the_event_and_lambdas_three_attributes(app, clock, topic, queue):
    topic.subscribe(queue, filter_policy={"ErrorMessage": [{"prefix": "no"}]})

    @app.function(dead_letter_queue=topic, maximum_retry_attempts=0)
    async def work(event, context):
        raise ValueError("no such order")

    async with app:
        request = await work.invoke_async({"n": 1})
        await clock.advance(1)
        [body] = await bodies(queue)
    assert json.loads(body["Message"]) == {"n": 1}
    assert body["MessageAttributes"] == {
        "RequestID": {"Type": "String", "Value": request},
        "ErrorCode": {"Type": "Number", "Value": "200"},
        "ErrorMessage": {"Type": "String", "Value": "no such order"},
    }


async def test_a_batch_that_was_given_up_is_told_to_a_topic(app, clock, topic, queue):
    topic.subscribe(queue)
    stream = app.stream("numbers", shards=1)

    @app.on_stream("numbers", batch_size=1, maximum_retry_attempts=0, on_failure=topic)
    async def handler(event, context):
        raise ValueError("no")

    async with app:
        await stream.put(1, "k")
        await clock.advance(1)
        assert await handler.failed() == []
        [body] = await bodies(queue)
    assert json.loads(body["Message"])["KinesisBatchInfo"]["streamArn"] == stream.arn


@pytest.mark.parametrize(
    ("response", "why"),
    [("x" * 262_144, "Invalid parameter: Message too long"), ("small", "has no subscription that this may go to")],
)
async def test_what_a_topic_cannot_take_is_listed_and_says_why(app, clock, topic, response, why):
    if "too long" in why:
        topic.subscribe(app.queue("inbox"))

    @app.function(on_success=topic)
    async def handler(event, context):
        return response

    async with app:
        await handler.invoke_async(1)
        await clock.advance(1)
        [failure] = await handler.failed()
    assert failure["undelivered_to"] == "topic:alerts"
    assert why in failure["last_error"]


@pytest.mark.parametrize("mapped", [False, True])
async def test_what_no_filter_policy_lets_through_is_listed_and_says_why(app, clock, topic, queue, mapped):
    # Records of destinations have no attributes, so no policy on attributes lets them through.
    topic.subscribe(queue, filter_policy={"severity": ["high"]})
    if mapped:
        stream = app.stream("numbers", shards=1)

        @app.on_stream("numbers", batch_size=1, maximum_retry_attempts=0, on_failure=topic)
        async def handler(event, context):
            raise ValueError("no")
    else:

        @app.function(on_failure=topic, maximum_retry_attempts=0)
        async def handler(event, context):
            raise ValueError("no")

    async with app:
        await (stream.put(1, "k") if mapped else handler.invoke_async(1))
        await clock.advance(1)
        [failure] = await handler.failed()
        assert await queue.receive() == []
    assert failure["undelivered_to"] == "topic:alerts"
    assert "let this through to no subscription" in failure["last_error"]


async def test_events_for_a_subscribed_function_that_has_gone_from_the_code_end_at_their_age(durable_app, clock):
    def make(*, with_function):
        app = durable_app()
        topic = app.topic("alerts")
        if not with_function:
            return app, topic, None
        handler, events = collecting(app, "page_somebody")
        topic.subscribe(handler)
        return app, topic, (handler, events)

    app, topic, _ = make(with_function=True)
    async with app:
        pass
    app, topic, _ = make(with_function=False)
    async with app:
        await topic.publish("disk full")
        await clock.advance(6 * 3_600 + 1)
    app, topic, (handler, events) = make(with_function=True)
    async with app:
        await clock.advance(1)
        [failure] = await handler.failed()
    assert events == []
    assert failure["record"]["requestContext"]["condition"] == "EventAgeExceeded"


async def test_what_a_handler_publishes_is_counted_and_the_record_of_the_end_goes_to_no_function(
    app, clock, topic, queue
):
    topic.subscribe(queue, raw_message_delivery=True)
    hops = []

    @app.function(on_failure=topic)
    async def loop(event, context):
        hops.append(1)
        await topic.publish("on")

    topic.subscribe(loop)
    async with app:
        await topic.publish("on")
        await clock.advance(60)
        assert await loop.failed() == []
        given = []
        while messages := await queue.receive():
            given += [message.body for message in messages]
    assert (len(hops), given[:-1]) == (16, ["on"] * 17)
    assert json.loads(given[-1])["requestContext"]["condition"] == "RecursiveInvocation"


async def test_without_a_queue_on_the_topic_that_record_is_listed(app, clock, topic):
    @app.function(on_failure=topic)
    async def loop(event, context):
        await topic.publish("on")

    topic.subscribe(loop)
    async with app:
        await topic.publish("on")
        await clock.advance(60)
        [failure] = await loop.failed()
    assert failure["record"]["requestContext"]["condition"] == "RecursiveInvocation"
    assert failure["undelivered_to"] == "topic:alerts"


# --- what is refused


@pytest.mark.parametrize("name", ["", "a.b", "alerts.fifo", "x" * 257, None])
def test_a_topic_has_a_name(app, name):
    with pytest.raises(InvalidParameterValue, match="a topic's name has 1 to 256 letters"):
        app.topic(name)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"filter_policy": "{"}, "Invalid parameter: Attributes Reason: FilterPolicy: it is not JSON"),
        ({"filter_policy": {"a": "x"}}, "FilterPolicy: a: an array of conditions or an object is expected"),
        ({"filter_policy": {"a": {"b": ["x"]}}}, "scope MessageAttributes does not support nested filter policy"),
        ({"filter_policy": 7}, "filter_policy=7: allowed are a dict, its JSON text, and None"),
        ({"filter_policy_scope": "Body"}, r"FilterPolicyScope: Invalid value \[Body\]"),
        ({"raw_message_delivery": 1}, "raw_message_delivery=1: allowed are True and False"),
    ],
)
def test_a_subscription_that_cannot_be_is_refused(topic, queue, options, text):
    with pytest.raises(InvalidParameterValue, match=text):
        topic.subscribe(queue, **options)


def test_who_cannot_be_subscribed(app, topic, queue):
    with pytest.raises(InvalidParameterValue, match="FIFO SQS Queues can not be subscribed to standard SNS topics"):
        topic.subscribe(app.queue("orders.fifo"))
    handler, _ = collecting(app, "handler")
    with pytest.raises(InvalidParameterValue, match=r"Delivery protocol \[lambda\] does not support raw message"):
        topic.subscribe(handler, raw_message_delivery=True)
    with pytest.raises(InvalidParameterValue, match="allowed are a queue and a function"):
        topic.subscribe("inbox")
    topic.subscribe(queue)
    topic.subscribe(queue)
    with pytest.raises(ResourceConflict, match="Subscription already exists with different attributes"):
        topic.subscribe(queue, raw_message_delivery=True)


@pytest.mark.parametrize(
    ("message", "options", "text"),
    [
        ("", {}, "^Invalid parameter: Empty message$"),
        (b"bytes", {}, "allowed are text and any JSON value"),
        ("a\x00b", {}, "Invalid characters found"),
        ("m", {"subject": ""}, "^Invalid parameter: Subject"),
        ("m", {"subject": "two\nlines"}, "^Invalid parameter: Subject"),
        ("m", {"subject": "x" * 101}, "^Invalid parameter: Subject"),
        ("m", {"subject": 7}, "^subject of type int: allowed is text$"),
        ("m", {"attributes": {"a": ""}}, "must contain a non-empty message attribute value"),
        ("m", {"attributes": {7: "x"}}, "^attribute name of type int: allowed is text$"),
        ("m", {"attributes": {7: ["x"]}}, "^attribute name of type int: allowed is text$"),
        # Half a surrogate pair is not JSON, and was told as a UnicodeEncodeError.
        ("\ud800", {}, "^message of type str: allowed is text without lone surrogates$"),
        ("m", {"subject": "\ud800"}, "^subject of type str: allowed is text without lone surrogates$"),
        ("m", {"attributes": {"a": "\ud800"}}, r"^attributes\['a'\] of type str: .* without lone surrogates$"),
        ("m", {"attributes": {"\ud800": ["a"]}}, "^attribute name of type str: .* without lone surrogates$"),
        ("m", {"attributes": {"a": ["\ud800"]}}, r"^attributes\['a'\] of type list: .*surrogates not allowed$"),
        ("m", {"attributes": {"a": [b"x"]}}, "a list has texts, numbers, booleans and None"),
        ("m", {"attributes": dict.fromkeys("abcdefghijk", 1)}, r"\[11\] exceeds the allowed maximum \[10\]"),
    ],
)
async def test_what_cannot_be_published_is_refused(app, topic, message, options, text):
    queue = app.queue("inbox")
    topic.subscribe(queue)
    async with app:
        with pytest.raises(InvalidParameterValue, match=text):
            await topic.publish(message, **options)
        assert queue.depth().visible == 0


async def test_a_publication_has_256_kibibytes_at_most(app, topic, queue):
    topic.subscribe(queue)
    async with app:
        await topic.publish('"' * 262_144)
        with pytest.raises(RequestTooLarge, match=r"^Invalid parameter: Message too long"):
            await topic.publish("x" * 262_140, attributes={"a": "b"})
        assert queue.depth().visible == 1
