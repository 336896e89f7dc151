"""Numbers arrive as they were given: whole ones with all their digits, and NaN and Infinity not at all.

Whole numbers beyond 64 bits became floats on every way, and NaN was stored as null without a word: the id or the sum was wrong,
and nothing said so.
"""

import asyncio
import json
import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from forebay import App, Batch, FunctionError, InvalidParameterValue
from forebay.testing import VirtualClock

WAYS = (
    *("record", "state", "message", "publication", "event", "response"),
    *("destination", "destination's response", "dead letter"),
)
BIG = {"id": 2**64 + 1, "below": [-(2**63) - 1, None], "long": 10**400 + 7, "plain": 2**64 - 1, "float": 0.1}
NONE_SUCH = [math.nan, {"a": [1, 2, None, math.inf]}, [2**70, -math.inf], {math.nan: 1}]


class Ways:
    """An app that a value goes through on every way in and out of a handler."""

    def __init__(self):
        self.loop, self.clock, self.seen = asyncio.new_event_loop(), VirtualClock(), {}
        self.app = app = App("numbers", store=":memory:", clock=self.clock)
        self.stream, self.queue, self.dead = app.stream("s"), app.queue("q"), app.queue("dead")
        self.topic, copies = app.topic("t"), app.queue("copies")
        self.topic.subscribe(copies, raw_message_delivery=True)

        @app.on_stream("s")
        async def records(batch: Batch, context):
            self.seen["record"] = batch[0].json()

        @app.on_stream("s", tumbling_window=1)
        async def window(event, context):
            if event["isFinalInvokeForWindow"]:
                self.seen["state"] = event["state"]["kept"]
            [data] = [record["kinesis"]["data"] for record in event["Records"]] or [None]
            return {"state": {"kept": self.value} if data else event["state"]}

        @app.on_queue("q")
        async def messages(batch: Batch, context):
            self.seen["message"] = batch[0].json()

        @app.on_queue("copies")
        def published(batch: Batch, context):
            self.seen["publication"] = batch[0].json()

        @app.function(on_success=self)
        async def echo(event, context):
            self.seen["event"] = event
            return event

        @app.function(maximum_retry_attempts=0, dead_letter_queue=self.dead)
        async def fails(event, context):
            raise ValueError("no")

        self.echo, self.fails = echo, fails
        self.loop.run_until_complete(app.start())

    async def deliver(self, record):
        self.seen["destination"] = record["requestPayload"]
        self.seen["destination's response"] = record["responsePayload"]

    async def go(self, value):
        self.seen.clear()
        self.value = value
        await self.stream.put(json.dumps(value).encode(), partition_key="k")
        await self.queue.send(json.dumps(value))
        await self.topic.publish(json.dumps(value))
        await self.echo.invoke_async(value)
        await self.fails.invoke_async(value)
        await self.clock.advance(10)
        [letter] = await self.dead.receive()
        await self.dead.delete(letter)
        self.seen["dead letter"] = letter.json()
        self.seen["response"] = await self.echo.invoke(value)
        return self.seen

    def close(self):
        self.loop.run_until_complete(self.app.stop())
        self.loop.close()


@pytest.fixture
def ways():
    ways = Ways()
    yield ways
    ways.close()


def exactly(value):
    """Tell 1 from 1.0 and from True, and -0.0 from 0.0."""
    if isinstance(value, dict):
        return {name: exactly(one) for name, one in value.items()}
    return [exactly(one) for one in value] if isinstance(value, list) else repr(value)


WHOLE = st.integers() | st.integers(2**63 - 2, 2**64 + 2) | st.integers(-(10**60), 10**60)
VALUES = st.recursive(
    st.none() | st.text(max_size=5) | st.floats(allow_nan=False, allow_infinity=False) | WHOLE,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=10,
)


def test_a_value_is_the_same_on_every_way_in_and_out(ways):
    @settings(max_examples=50, deadline=None)
    @example(BIG)
    @given(VALUES)
    def go(value):
        seen = ways.loop.run_until_complete(ways.go(value))
        assert {name: exactly(one) for name, one in seen.items()} == dict.fromkeys(WAYS, exactly(value))

    go()


async def test_what_was_given_up_is_listed_with_all_digits(app, clock):
    @app.function(maximum_retry_attempts=0)
    async def fails(event, context):
        raise ValueError("no")

    async with app:
        request = await fails.invoke_async(BIG)
        await clock.advance(10)
        [failure] = await fails.failed()
        shown, life = await app._caller.ask("failed.get", id=failure["id"]), {"cursor": None, "kept": []}
        while not life["kept"]:
            life = await app._caller.ask("why", id=request, cursor=life["cursor"])
    assert failure["record"]["requestPayload"] == shown["record"]["requestPayload"] == BIG
    assert [row["record"]["requestPayload"] for row in life["kept"]] == [BIG]
    assert json.loads(shown["payload"]) == BIG


@pytest.mark.parametrize("value", NONE_SUCH, ids=repr)
async def test_nan_and_infinity_are_refused_where_they_come_in(app, value):
    stream, queue, topic = app.stream("s"), app.queue("q"), app.topic("t")

    @app.function()
    async def never(event, context): ...

    refused = pytest.raises(InvalidParameterValue, match=r"(NaN|Infinity) at \$.*: JSON has neither NaN nor Infinity")
    async with app:
        for refusal in (
            lambda: stream.put(value, partition_key="k"),
            lambda: stream.put_many([({}, "k"), (value, "k")]),
            lambda: queue.send(value),
            lambda: topic.publish(value),
            lambda: never.invoke(value),
            lambda: never.invoke_async(value),
        ):
            with refused:
                await refusal()
        assert queue.depth().visible == 0


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
async def test_an_attribute_is_no_nan(app, number):
    queue = app.queue("q")
    async with app:
        with pytest.raises(InvalidParameterValue, match="NaN and Infinity are not numbers"):
            await queue.send("body", attributes={"score": number})


async def test_an_attribute_keeps_its_digits(app):
    queue = app.queue("q")
    numbers = {"great": 10**30 + 1, "below": -(2**63) - 1, "small": 7, "float": 0.1}
    async with app:
        await queue.send("body", attributes={**numbers, "endless": 10**4_300 - 1})
        [message] = await queue.receive()
    assert message.attributes == {**numbers, "endless": 10**4_300 - 1}
    assert [type(message.attributes[name]) for name in numbers] == [int, int, int, float]


async def test_nan_is_refused_where_it_comes_out_and_says_where_it_lies(app):
    @app.function()
    async def handler(event, context):
        return {"scores": [0.5, None, math.nan]}

    async with app:
        with pytest.raises(FunctionError) as caught:
            await handler.invoke()
    assert caught.value.payload["errorType"] == "Runtime.MarshalError"
    assert caught.value.payload["errorMessage"] == (
        "Unable to marshal response: NaN at $.scores[2]: JSON has neither NaN nor Infinity; give None or a text instead"
    )


async def test_a_text_with_nan_is_no_json_for_who_reads_it(app, clock):
    stream, errors = app.stream("s"), []

    @app.on_stream("s")
    async def handler(batch: Batch, context):
        for record in batch:
            with pytest.raises(json.JSONDecodeError) as caught:
                record.json()
            errors.append(caught.value)

    async with app:
        for text in ("NaN", "[-Infinity]", '{"a": 1e400}', "9" * 4_301):
            await stream.put(text, partition_key="k")
        await clock.advance(1)
    assert len(errors) == 4


@pytest.mark.parametrize("policy", [{"n": [math.nan]}, {"n": [{"numeric": [">", math.inf]}]}])
async def test_a_policy_has_no_nan(app, policy):
    with pytest.raises(InvalidParameterValue, match="Out of range float"):
        app.topic("t").subscribe(app.queue("q"), filter_policy=policy)


async def test_a_policy_keeps_the_digits_of_its_numbers(app, clock):
    topic, queue = app.topic("t"), app.queue("q")
    topic.subscribe(queue, filter_policy={"n": [2**70]}, filter_policy_scope="MessageBody")
    async with app:
        await topic.publish(json.dumps({"n": 2**70}))
        await clock.advance(1)
        assert queue.depth().visible == 1
