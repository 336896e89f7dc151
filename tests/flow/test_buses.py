"""Event buses and schedules: events go where rules say, and a target is given one whenever a schedule is due."""

import asyncio
import datetime as dt
import json

import pytest

import forebay
from forebay import InvalidParameterValue, ResourceConflict, ResourceNotFound


@pytest.fixture
def bus(app):
    return app.bus("orders")


def collecting(app, name, **options):
    events = []

    @app.function(name, **options)
    async def handler(event, context):
        events.append(event)

    return handler, events


async def test_a_function_is_given_the_events_that_match_its_pattern(app, clock, bus):
    events = []

    @app.on_event(bus, pattern={"detail-type": ["OrderPlaced"], "detail": {"total": [{"numeric": [">=", 100]}]}})
    async def large_orders(event, context):
        events.append(event)

    async with app:
        await bus.put({"total": 5}, source="shop", detail_type="OrderPlaced")
        event_id = await bus.put(
            {"total": 250, "id": 2**80},
            source="shop",
            detail_type="OrderPlaced",
            resources=["arn:aws:shop:1"],
            time=dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
        )
        await clock.settle()
    assert events == [
        {
            "version": "0",
            "id": event_id,
            "detail-type": "OrderPlaced",
            "source": "shop",
            "account": "000000000000",
            "time": "2020-01-01T00:00:00Z",
            "region": "local",
            "resources": ["arn:aws:shop:1"],
            "detail": {"total": 250, "id": 2**80},
        }
    ]


async def test_a_rule_gives_events_to_queues_topics_streams_and_buses(app, clock, bus):
    queue, fifo, topic = app.queue("inbox"), app.queue("line.fifo"), app.topic("news")
    stream, archive = app.stream("log", shards=1), app.bus("archive")
    topic.subscribe(queue, raw_message_delivery=True)
    everything = {"source": ["shop"]}
    bus.rule("to-queue", everything, queue, input_path="$.detail.n")
    bus.rule("to-fifo", everything, fifo, group_id="g", input_transformer=({"n": "$.detail.n"}, '"number <n>"'))
    bus.rule("to-topic", everything, topic, input={"fixed": True})
    bus.rule("to-stream", everything, stream, partition_key_path="$.detail.n")
    bus.rule("on", everything, archive)
    copies = []

    @app.on_event("archive", pattern={"detail": {"n": [{"exists": True}]}}, name="keep")
    async def archived(event, context):
        copies.append(event["detail"])

    records = []

    @app.on_stream("log")
    async def reader(batch: forebay.Batch[forebay.Record], context: forebay.Context) -> None:
        records.extend((record.partition_key, record.json()["detail"]) for record in batch)

    async with app:
        await bus.put({"n": "7"}, source="shop", detail_type="t")
        await clock.settle()
        bodies = sorted(message.body for message in await queue.receive())
        [line] = await fifo.receive()
    assert bodies == ['"7"', '{"fixed":true}']
    assert line.body == '"number 7"'
    assert copies == [{"n": "7"}]
    assert records == [("7", {"n": "7"})]


async def test_bad_events_fail_alone(app, clock, bus):
    queue = app.queue("inbox")
    bus.rule("all", {"source": ["shop"]}, queue)
    async with app:
        results = await bus.put_many(
            [
                forebay.Event({"n": 1}, "shop", "t"),
                forebay.Event("[1]", "shop", "t"),
                forebay.Event({"n": 2}, "aws.shop", "t"),
            ]
        )
        assert [type(result).__name__ for result in results] == [
            "str",
            "InvalidParameterValue",
            "InvalidParameterValue",
        ]
        assert str(results[1]) == "MalformedDetail: Detail is malformed."
        assert await bus.put_many([]) == []
        with pytest.raises(InvalidParameterValue, match="events of type Event: give a list of events"):
            await bus.put_many(forebay.Event({"n": 1}, "shop", "t"))
        with pytest.raises(InvalidParameterValue, match="MalformedDetail"):
            await bus.put("no object", source="shop", detail_type="t")
        with pytest.raises(InvalidParameterValue, match=r"NaN|JSON"):
            await bus.put({"n": float("nan")}, source="shop", detail_type="t")
        assert len(await queue.receive()) == 1


async def test_an_event_that_a_target_does_not_take_goes_to_the_dead_letter_queue(app, clock, bus):
    dead, inbox = app.queue("dead"), app.queue("small", visibility_timeout=30)
    bus.rule("all", {"source": ["shop"]}, inbox, input_path="$.detail.text", dead_letter_queue=dead)
    async with app:
        # A message has at most one mebibyte of characters that XML can have.
        await bus.put({"text": "\x01"}, source="shop", detail_type="t")
        await bus.put({"other": 1}, source="shop", detail_type="t")
        received = await inbox.receive()
        letters = await dead.receive()
    assert [message.body for message in received] == ['"\\u0001"', "null"]
    assert letters == []


async def test_rules_are_refused_where_they_are_declared(app, bus):
    queue = app.queue("line.fifo")
    with pytest.raises(InvalidParameterValue, match="group_id"):
        bus.rule("r", {"a": [1]}, queue)
    with pytest.raises(InvalidParameterValue, match="target"):
        bus.rule("r", {"a": [1]}, "queue")
    with pytest.raises(InvalidParameterValue, match="name"):
        bus.rule("no spaces", {"a": [1]}, app.queue("q"))
    bus.rule("r", {"a": [1]}, app.queue("q"))
    bus.rule("r", {"a": [1]}, app.queue("q"))
    with pytest.raises(ResourceConflict, match="already declared"):
        bus.rule("r", {"a": [2]}, app.queue("q"))


def test_a_pattern_that_cannot_be_is_refused_with_the_text_of_aws(app, bus):
    with pytest.raises(InvalidParameterValue, match="Event pattern is not valid"):
        bus.rule("r", {"a": 1}, app.queue("q"))


async def test_a_schedule_runs_a_function_whenever_it_is_due(app, clock):
    events = []

    @app.schedule("rate(5 minutes)")
    async def tidy(event, context):
        events.append((clock.time(), event["time"], event["source"]))

    async with app:
        start = clock.time()
        await clock.advance(600)
    assert [(at - start, source) for at, _, source in events] == [(300, "aws.scheduler"), (600, "aws.scheduler")]
    assert events[0][1] == "2020-01-01T00:05:00Z"


async def test_a_schedule_can_have_a_zone_an_input_and_another_target(app, clock):
    queue = app.queue("inbox")
    app.schedule("cron(30 9 ? * MON-FRI *)", name="morning", target=queue, timezone="Europe/Paris", input={"job": 1})
    app.schedule("at(2020-01-01T00:10:00)", name="once", target=queue, input="<aws.scheduler.scheduled-time>")
    async with app:
        await clock.advance(86_400)
        bodies = [message.body for message in await queue.receive()]
    assert bodies == ["2020-01-01T00:10:00Z", '{"job":1}']


@pytest.mark.parametrize(
    ("expression", "options", "text"),
    [
        ("rate(5 fortnights)", {}, "Invalid Schedule Expression"),
        ("cron(0 1 * * * *)", {}, "Invalid Schedule Expression"),
        ("rate(5 minutes)", {"timezone": "Europe/Nowhere"}, "Europe/Nowhere"),
        ("rate(5 minutes)", {"start": 2_000_000_000, "end": 1_900_000_000}, "end"),
        ("rate(5 minutes)", {"flexible": 1441}, "from 0 to 1,440"),
        ("rate(5 minutes)", {"flexible": True}, "from 0 to 1,440"),
        ("rate(5 minutes)", {"timezone": None}, "timezone=None: allowed is a text, such as 'Europe/Paris'"),
        (5, {}, "expression=5: allowed is a text"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(app, expression, options, text):
    with pytest.raises(InvalidParameterValue, match=text):
        app.schedule(expression, name="s", target=app.queue("q"), **options)


async def test_schedules_of_one_name_must_be_the_same(app):
    queue = app.queue("inbox")
    app.schedule("rate(5 minutes)", name="tick", target=queue)
    app.schedule("rate(5 minutes)", name="tick", target=queue)
    with pytest.raises(ResourceConflict, match="tick"):
        app.schedule("rate(6 minutes)", name="tick", target=queue)
    with pytest.raises(InvalidParameterValue, match="time zone"):
        app.schedule("rate(6 minutes)", name="t", target=queue, start=dt.datetime(2020, 1, 1))  # noqa: DTZ001
    with pytest.raises(InvalidParameterValue, match="catch_up"):
        app.schedule("rate(6 minutes)", name="t", target=queue, catch_up="some")


async def test_rules_and_schedules_may_be_declared_while_the_app_runs(app, clock):
    queue = app.queue("inbox")
    async with app:
        bus = app.bus("late")
        bus.rule("all", {"source": ["shop"]}, queue, input_path="$.detail")
        app.schedule("rate(1 minute)", name="tick", target=queue, input={"tick": 1})
        await bus.put({"n": 1}, source="shop", detail_type="t")
        await clock.advance(60)
        assert [json.loads(message.body) for message in await queue.receive()] == [{"n": 1}, {"tick": 1}]


async def test_a_bus_that_nobody_declared_is_not_found(app):
    async with app:
        with pytest.raises(ResourceNotFound, match="Event bus typo does not exist"):
            await app._caller.ask("bus.put", bus="typo", entries=[{}])


def test_an_event_is_put_from_a_thread(app, clock, bus):
    handler, events = collecting(app, "f")
    bus.rule("all", {"source": ["shop"]}, handler)

    async def main():
        async with app:
            await asyncio.to_thread(bus.put_sync, {"n": 1}, source="shop", detail_type="t")
            await clock.settle()

    asyncio.run(main())
    assert [event["detail"] for event in events] == [{"n": 1}]


def test_whatever_a_rule_cannot_be_is_refused_where_it_is_declared(app, bus):
    """They were refused when the app started, without the rule's name."""
    queue = app.queue("q")
    for options, text in [
        ({"target": [queue] * 6}, "exceeds the maximum number allowed"),
        ({"target": queue, "input_path": "nowhere"}, "InputPath"),
        ({"target": queue, "input": 1, "input_path": "$.a"}, "Only one of Input, InputPath, or InputTransformer"),
        ({"target": queue, "input_transformer": ({}, '"<x>"')}, "invalid placeholder x"),
        ({"target": app.topic("t"), "group_id": "g"}, "only a queue as target has message groups"),
        ({"target": lambda event, context: None}, "makes a function of the app"),
    ]:
        with pytest.raises(InvalidParameterValue, match=text):
            bus.rule("r", {"a": [1]}, **options)
    with pytest.raises(InvalidParameterValue, match="group_id"):
        app.schedule("rate(1 minute)", group_id="g")


async def test_an_event_that_is_no_json_fails_alone(app, bus):
    queue = app.queue("inbox")
    bus.rule("all", {"source": ["shop"]}, queue)
    async with app:
        events = [forebay.Event({"n": n}, "shop", "t") for n in (1, float("nan"), 3)]
        results = await bus.put_many(events)
        assert [isinstance(result, str) for result in results] == [True, False, True]
        assert len(await queue.receive(maximum=10)) == 2


async def test_an_event_whose_parts_are_no_texts_fails_alone_and_says_which(app, bus):
    bus.rule("all", {"source": ["shop"]}, app.queue("inbox"))
    wrong = [
        (forebay.Event({}, None, "t"), "source=None: a text is wanted"),
        (forebay.Event({}, "shop", 7), "detail_type=7: a text is wanted"),
        (forebay.Event({}, "shop", "t", "arn"), "resources='arn': a list of texts is wanted"),
        (("shop", "t"), "event of type tuple: an Event is wanted"),
        (forebay.Event([1], "shop", "t"), "detail of type list: allowed are a dict, and the text of a JSON object"),
    ]
    async with app:
        first, *others = await bus.put_many([forebay.Event({}, "shop", "t"), *(event for event, _ in wrong)])
    assert isinstance(first, str)
    assert [str(one) for one in others] == [text for _, text in wrong]


async def ended(clock, replay):
    while not (status := await replay.status()).is_over:
        await clock.advance(0.1)
    return status


async def test_archived_events_are_replayed_to_chosen_rules_and_marked(app, clock, bus):
    handler, given = collecting(app, "fixed")
    inbox = app.queue("inbox")
    bus.rule("to-queue", {"source": ["shop"]}, inbox)
    bus.rule("to-fixed", {"source": ["shop"]}, handler)
    archive = bus.archive("orders", {"detail-type": ["OrderPlaced"]}, retention=dt.timedelta(days=30))
    async with app:
        await bus.put({"n": 1}, source="shop", detail_type="OrderPlaced")
        await bus.put({"n": 2}, source="shop", detail_type="Other")
        await clock.settle()
        assert [("replay-name" in event, event["detail"]["n"]) for event in given] == [(False, 1), (False, 2)]
        given.clear()
        replay = await bus.replay(archive, 0, clock.time() + 1, rules=["to-fixed"], name="again")
        status = await ended(clock, replay)
        await clock.settle()
        assert len(await inbox.receive()) == 2, "the queue's rule was not named"
    assert status == ("COMPLETED", 1, status.last_event_time)
    [event] = given
    assert list(event) == [
        *("version", "id", "detail-type", "source", "account", "time", "region", "replay-name", "resources", "detail")
    ]
    assert (event["replay-name"], event["detail"]) == ("again", {"n": 1})


async def test_a_replay_gives_events_in_order_of_their_minutes_at_its_rate(app, clock, bus):
    queue = app.queue("inbox")
    bus.archive("all")
    async with app:
        times = [600, 0, 1200, 540]
        await bus.put_many([forebay.Event({"at": at}, "shop", "t", time=at) for at in times])
        bus.rule("late", {"source": ["shop"]}, queue, input_path="$.detail.at")
        replay = await bus.replay("all", 0, dt.datetime(1970, 1, 1, 0, 20, tzinfo=dt.UTC), rate=1)
        start = clock.time()
        status = await ended(clock, replay)
        assert clock.time() - start >= 2
        bodies = [message.body for message in await queue.receive()]
    assert bodies == ["0", "540", "600"]
    assert status == ("COMPLETED", 3, 600.0)


async def test_a_replay_can_be_cancelled(app, clock, bus):
    bus.archive("all")
    async with app:
        await bus.put_many([forebay.Event({"n": n}, "shop", "t") for n in range(100)])
        replay = await bus.replay("all", 0, clock.time() + 1, rate=1)
        await clock.advance(2)
        await replay.cancel()
        status = await ended(clock, replay)
        assert (status.state, await replay.wait()) == ("CANCELLED", status)
        assert 0 < status.events < 10
        with pytest.raises(InvalidParameterValue, match="not in a valid state"):
            await replay.cancel()


async def test_archives_and_replays_that_cannot_be_are_refused(app, clock, bus):
    archive = bus.archive("all")
    assert bus.archive("all") is archive
    for options in ({"retention": 60}, {"pattern": {"a": [1]}}):
        with pytest.raises(ResourceConflict, match="already declared"):
            bus.archive("all", **options)
    for name, options, text in (
        ("no spaces", {}, "name"),
        ("n" * 49, {}, "48"),
        ("x", {"retention": 0.5}, "retention"),
        ("x", {"pattern": {"a": 1}}, "Event pattern is not valid"),
    ):
        with pytest.raises(InvalidParameterValue, match=text):
            bus.archive(name, **options)
    other = app.bus("other")
    async with app:
        with pytest.raises(InvalidParameterValue, match="Cross event bus replay is not permitted"):
            await other.replay(archive, 0, 1)
        with pytest.raises(InvalidParameterValue, match="allowed are a list of the names of rules"):
            await bus.replay(archive, 0, 1, rules="all")
        with pytest.raises(ResourceNotFound, match="Archive typo does not exist"):
            await bus.replay("typo", 0, 1)
        with pytest.raises(ResourceNotFound, match="Rule typo does not exist on EventBus orders"):
            await bus.replay(archive, 0, 1, rules=["typo"])
        with pytest.raises(InvalidParameterValue, match="EventStartTime must be before EventEndTime"):
            await bus.replay(archive, 1, 1)
        with pytest.raises(InvalidParameterValue, match="rate"):
            await bus.replay(archive, 0, 1, rate=0)
        await bus.replay(archive, 0, 1, name="one")
        with pytest.raises(ResourceConflict, match="Replay one already exists"):
            await bus.replay(archive, 0, 1, name="one")
