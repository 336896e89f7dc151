"""Queues as whoever sends and receives by hand sees them, on the virtual clock. The rules themselves: tests/cases/queue.json."""

import asyncio
import hashlib
import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

import forebay
from forebay import (
    Depth,
    InvalidParameterValue,
    RequestTooLarge,
    ResourceConflict,
    ResourceNotFound,
    TooManyRequests,
)


def bodies(messages):
    return [message.body for message in messages]


async def test_a_message_has_everything_its_sender_gave_it(app, clock):
    queue = app.queue("orders.fifo")
    async with app:
        sent = await queue.send(
            {"id": 7},
            group_id="customer-1",
            deduplication_id="order-7",
            attributes={"kind": "new", "count": 3, "share": 0.5, "raw": b"\x00\xff"},
        )
        [message] = await queue.receive()
        assert message.message_id == sent
        assert message.json() == {"id": 7}
        assert message.body == '{"id":7}'
        assert (message.group_id, message.deduplication_id) == ("customer-1", "order-7")
        assert message.attributes == {"kind": "new", "count": 3, "share": 0.5, "raw": b"\x00\xff"}
        assert message.receive_count == 1
        assert message.sent_timestamp == clock.time()
        assert (len(message.sequence_number), message.dead_letter_source) == (20, None)


async def test_a_standard_message_has_no_group_and_no_number(app):
    queue = app.queue("plain")
    async with app:
        await queue.send("text")
        [message] = await queue.receive()
    assert (message.group_id, message.deduplication_id, message.sequence_number, message.attributes) == (
        None,
        None,
        None,
        {},
    )


async def test_sequence_numbers_grow_and_compare_as_text(app):
    queue = app.queue("q.fifo", content_based_deduplication=True)
    async with app:
        await queue.send_many([{"body": str(n), "group_id": "g"} for n in range(10)])
        numbers = [message.sequence_number for message in await queue.receive()]
    assert numbers == sorted(set(numbers))


async def test_what_was_received_is_hidden_until_its_timeout_is_over(app, clock):
    queue = app.queue("q", visibility_timeout=timedelta(minutes=1))
    async with app:
        await queue.send("a")
        [first] = await queue.receive()
        assert queue.depth() == Depth(visible=0, in_flight=1, delayed=0)
        await clock.advance(59)
        assert await queue.receive() == []
        await clock.advance(1)
        [second] = await queue.receive(visibility_timeout=10)
        assert second.receive_count == 2
        with pytest.raises(InvalidParameterValue, match="The receipt handle has expired"):
            await queue.delete(first)
        await clock.advance(10)
        assert queue.depth().visible == 1


async def test_a_change_of_visibility_holds_longer_or_gives_back(app, clock):
    queue = app.queue("q")
    async with app:
        await queue.send("a")
        [message] = await queue.receive()
        await queue.change_visibility(message, 100)
        await clock.advance(99)
        assert await queue.receive() == []
        await queue.change_visibility(message.receipt_handle, 0)
        assert bodies(await queue.receive()) == ["a"]


async def test_a_long_poll_gets_the_message_that_comes_and_ends_when_none_does(app, clock):
    queue = app.queue("q")
    async with app:
        polls = [asyncio.ensure_future(queue.receive(wait=20)) for _ in range(2)]
        await clock.advance(5)
        assert not any(poll.done() for poll in polls)
        await queue.send("a")
        await clock.advance(1)
        assert [poll.done() for poll in polls] == [True, False]
        assert bodies(await polls[0]) == ["a"]
        await clock.advance(13.9)
        assert not polls[1].done()
        await clock.advance(0.2)
        assert await polls[1] == []


async def test_a_delay_holds_a_message_back_the_queues_or_its_own(app, clock):
    queue = app.queue("q", delay=10)
    async with app:
        await queue.send("queue's")
        await queue.send("own", delay=3)
        await queue.send("none", delay=0)
        assert queue.depth() == Depth(visible=1, in_flight=0, delayed=2)
        assert bodies(await queue.receive()) == ["none"]
        await clock.advance(3)
        assert bodies(await queue.receive()) == ["own"]
        await clock.advance(7)
        assert bodies(await queue.receive()) == ["queue's"]


async def test_retention_removes_what_nobody_deletes(app, clock):
    queue = app.queue("q", retention=60)
    async with app:
        await queue.send("a")
        await clock.advance(59)
        assert queue.depth().visible == 1
        await clock.advance(3)
        assert queue.depth().visible == 0


async def test_a_duplicate_gets_the_first_ones_id_and_is_not_delivered(app, clock):
    queue = app.queue("q.fifo")
    async with app:
        first = await queue.send("a", group_id="g", deduplication_id="d")
        assert await queue.send("other", group_id="h", deduplication_id="d") == first
        [message] = await queue.receive()
        await queue.delete(message)
        await clock.advance(299)
        assert await queue.send("a", group_id="g", deduplication_id="d") == first
        assert queue.depth().visible == 0
        await clock.advance(1)
        assert await queue.send("a", group_id="g", deduplication_id="d") != first
        assert queue.depth().visible == 1


async def test_a_body_stands_for_its_id_and_a_scope_may_be_the_group(app):
    queue = app.queue("q.fifo", content_based_deduplication=True, deduplication_scope="messageGroup")
    async with app:
        first = await queue.send("a", group_id="g", attributes={"not": "part of it"})
        assert await queue.send("a", group_id="g") == first
        assert await queue.send("a", group_id="h") != first
        received = await queue.receive()
    assert {message.deduplication_id for message in received} == {hashlib.sha256(b"a").hexdigest()}


async def test_a_group_waits_for_its_message_in_flight_and_others_do_not(app):
    queue = app.queue("q.fifo", content_based_deduplication=True)
    async with app:
        for body, group in [("a1", "a"), ("b1", "b"), ("a2", "a"), ("a3", "a")]:
            await queue.send(body, group_id=group)
        first = await queue.receive(2)
        assert bodies(first) == ["a1", "a2"]
        assert bodies(await queue.receive()) == ["b1"]
        await queue.delete(first[0])
        assert await queue.receive() == []
        await queue.delete(first[1])
        assert bodies(await queue.receive()) == ["a3"]


async def test_a_receive_whose_answer_was_lost_is_repeated_by_its_id(app, clock):
    queue = app.queue("q.fifo", content_based_deduplication=True)
    async with app:
        await queue.send("a", group_id="g")
        first = await queue.receive(attempt_id="once")
        again = await queue.receive(attempt_id="once")
        assert bodies(first) == bodies(again) == ["a"]
        assert again[0].receive_count == 1
        await queue.delete(again[0])
        await clock.settle()
        assert await queue.receive(attempt_id="another") == []


async def test_a_message_received_too_often_is_a_dead_letter_and_its_redrive_brings_it_back(app, clock):
    dead = app.queue("dead")
    queue = app.queue("q", visibility_timeout=10, dead_letter_queue=dead, maximum_receive_count=2)
    async with app:
        sent = await queue.send("poison", attributes={"k": "v"})
        for _ in range(2):
            assert bodies(await queue.receive()) == ["poison"]
            await clock.advance(10)
        await clock.advance(1)
        assert (queue.depth().visible, dead.depth().visible) == (0, 1)
        [letter] = await dead.receive(visibility_timeout=0)
        assert (letter.message_id, letter.dead_letter_source, letter.attributes) == (sent, "q", {"k": "v"})
        assert await dead.redrive() == 1
        await clock.advance(1)
        assert (queue.depth().visible, dead.depth().visible) == (1, 0)
        [message] = await queue.receive()
        assert (message.message_id, message.receive_count, message.dead_letter_source) == (sent, 1, None)


async def test_a_standard_dead_letter_keeps_the_time_it_was_sent_and_a_fifo_one_begins_anew(app, clock):
    for name, kept in [("plain", True), ("ordered.fifo", False)]:
        suffix = "" if kept else ".fifo"
        dead = app.queue(f"dead{suffix}")
        app.queue(name, visibility_timeout=10, dead_letter_queue=dead, maximum_receive_count=1)
    async with app:
        begin = clock.time()
        await app.queue("plain").send("a")
        await app.queue("ordered.fifo").send("a", group_id="g", deduplication_id="1")
        for name in ("plain", "ordered.fifo"):
            await app.queue(name).receive()
        await clock.advance(11)
        [plain], [ordered] = await app.queue("dead").receive(), await app.queue("dead.fifo").receive()
        assert plain.sent_timestamp == begin
        assert begin < ordered.sent_timestamp <= clock.time()
        assert ordered.group_id == "g"


async def test_a_redrive_keeps_its_rate_and_may_go_elsewhere(app, clock):
    source, other = app.queue("source"), app.queue("other")
    async with app:
        for _ in range(5):
            await source.send_many(["x"] * 2)
        for rate in (0, 1e-12, 1e7, float("inf"), float("nan"), True):
            with pytest.raises(InvalidParameterValue, match=r"rate.*allowed is 0\.001 to 1,000,000"):
                await source.redrive(to=other, rate=rate)
        assert await source.redrive(to=other, rate=2) == 10
        with pytest.raises(ResourceConflict, match="Only one active task is allowed"):
            await source.redrive(to=other)
        await clock.advance(1.99)
        assert other.depth().visible in {3, 4}
        await clock.advance(4)
        assert other.depth().visible == 10
        with pytest.raises(InvalidParameterValue, match="not a queue's dead-letter queue"):
            await other.redrive()


async def test_a_purge_removes_everything_also_what_is_in_flight(app, clock):
    queue = app.queue("q.fifo", content_based_deduplication=True)
    async with app:
        await queue.send_many([{"body": str(n), "group_id": str(n % 2)} for n in range(6)])
        [held] = await queue.receive(1)
        await queue.purge()
        assert queue.depth() == Depth(visible=0, in_flight=0, delayed=0)
        await queue.delete(held)
        await clock.advance(60)
        await queue.send("new", group_id="0")
        assert bodies(await queue.receive()) == ["new"]


async def test_the_twins_do_the_same_from_a_thread(app):
    queue, other = app.queue("q"), app.queue("other")

    def work():
        assert len(queue.send_many_sync(["a", {"body": "b"}])) == 2
        queue.send_sync("c")
        first, second, third = queue.receive_sync(wait=0)
        queue.delete_sync(first)
        queue.change_visibility_sync(second, 0)
        queue.change_visibility_sync(third, 0)
        assert queue.depth() == Depth(visible=2, in_flight=0, delayed=0)
        assert queue.redrive_sync(to=other) == 2
        other.purge_sync()

    async with app:
        await asyncio.to_thread(work)


async def test_a_queue_may_be_declared_while_the_app_runs(app):
    async with app:
        queue = app.queue("late.fifo")
        await queue.send("a", group_id="g", deduplication_id="d")
        assert bodies(await queue.receive()) == ["a"]
        assert app.queue("late.fifo") is queue


REFUSED_SENDS = [
    ("q.fifo", {"body": "a"}, "The request must contain the parameter MessageGroupId."),
    ("q.fifo", {"body": "a", "group_id": "g"}, "The queue should either have ContentBasedDeduplication enabled"),
    (
        "q.fifo",
        {"body": "a", "group_id": "g", "deduplication_id": "d", "delay": 5},
        "Value 5 for parameter DelaySeconds",
    ),
    ("q.fifo", {"body": "a", "group_id": "g" * 129, "deduplication_id": "d"}, "1 to 128 in length"),
    ("q.fifo", {"body": "a", "group_id": "g", "deduplication_id": "d" * 129}, "1 to 128 in length"),
    ("q.fifo", {"body": "a", "group_id": "g h", "deduplication_id": "d"}, "alphanumeric and punctuation"),
    ("q", {"body": "a", "group_id": "g h"}, "alphanumeric and punctuation"),
    ("q", {"body": "a", "deduplication_id": "g"}, "not valid for this queue type"),
    ("q", {"body": "a", "delay": 901}, "allowed are 0 to 900 seconds"),
    ("q", {"body": ""}, "The request must contain the parameter MessageBody."),
    ("q", {"body": b"bytes"}, "allowed are text and any JSON value"),
    ("q", {"body": {1, 2}}, "allowed are text and any JSON value"),
    ("q", {"body": "a\x00"}, "Invalid characters found"),
    ("q", {"body": "é\uffff"}, "Invalid characters found"),
    ("q", {"body": "\ud800"}, "lone surrogate"),
    ("q", {"body": "a", "attributes": {str(n): "v" for n in range(11)}}, r"Number of message attributes \[11\]"),
    ("q", {"body": "a", "attributes": {"aws.x": "v"}}, "not allowed"),
    ("q", {"body": "a", "attributes": {"x": ""}}, "must contain a non-empty message attribute value"),
    ("q", {"body": "a", "attributes": {"x": True}}, "allowed are text, numbers and bytes"),
    ("q", {"body": "a", "group_id": 7}, "group_id of type int: allowed is text"),
    ("q", {"body": "a", "attributes": {7: "v"}}, "attribute name of type int: allowed is text"),
]


@pytest.mark.parametrize(("name", "message", "text"), REFUSED_SENDS)
async def test_a_message_that_the_queue_does_not_take_is_refused_at_the_call(app, name, message, text):
    queue = app.queue(name)
    async with app:
        with pytest.raises(InvalidParameterValue, match=text):
            await queue.send(**message)
        fine = {"body": "fine", "group_id": "g", "deduplication_id": "1"} if name == "q.fifo" else "fine"
        with pytest.raises(InvalidParameterValue, match=text):
            await queue.send_many([fine, message])
        assert queue.depth().visible == 0


REFUSALS = json.loads((Path(__file__).parents[1] / "cases" / "queue_refusals.json").read_text())


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case["name"])
async def test_what_is_refused_is_refused_in_awss_words(app, case):
    app.queue("q")
    app.queue("q.fifo")
    messages = [
        {**message, "body": "x" * message.pop("body_of") if "body_of" in message else message["body"]}
        for message in map(dict, case["messages"])
    ]
    async with app:
        with pytest.raises(getattr(forebay, case["error"]), match=f"^{re.escape(case['text'])}$") as refused:
            await app._caller.ask("queue.send", name=case["queue"], messages=messages)
        assert type(refused.value) is getattr(forebay, case["error"])


async def test_eleven_entries_and_more_than_a_mebibyte_are_refused(app):
    queue = app.queue("q")
    async with app:
        with pytest.raises(
            InvalidParameterValue, match=r"Maximum number of entries per request are 10\. You have sent 11."
        ):
            await queue.send_many(["x"] * 11)
        with pytest.raises(RequestTooLarge, match="Message must be shorter than 1048576 bytes"):
            await queue.send("x" * 1_048_577)
        with pytest.raises(RequestTooLarge, match="Batch requests cannot be longer than 1048576 bytes"):
            await queue.send_many(["x" * 600_000] * 2)
        await queue.send("x" * 1_048_576)
        for entries in ("text", {"body": "x"}):
            with pytest.raises(InvalidParameterValue, match="a list of messages"):
                await queue.send_many(entries)
        with pytest.raises(InvalidParameterValue, match=r"messages\[0\]"):
            await queue.send_many([{"text": "x"}])


async def test_more_receives_than_may_wait_for_a_queue_are_refused(app, clock):
    queue = app.queue("q")
    async with app:
        waiting = [asyncio.create_task(queue.receive(wait=20)) for _ in range(10_240)]
        await clock.settle()
        with pytest.raises(TooManyRequests, match='10240 receives wait for queue "q" already') as refused:
            await queue.receive(wait=1)
        assert (refused.value.reason, refused.value.retry_after) == ("WaitingReceives", 1.0)
        await clock.advance(20)
        assert await asyncio.gather(*waiting) == [[]] * 10_240


async def test_receives_out_of_range_are_refused(app):
    queue = app.queue("q")
    async with app:
        for arguments in [{"maximum": 0}, {"maximum": 11}, {"wait": 21}, {"visibility_timeout": 43_201}]:
            with pytest.raises(InvalidParameterValue, match=next(iter(arguments))):
                await queue.receive(**arguments)
        with pytest.raises(InvalidParameterValue, match="only a FIFO queue has receive request attempt ids"):
            await queue.receive(attempt_id="a")
        with pytest.raises(InvalidParameterValue, match="is not a valid receipt handle"):
            await queue.delete("AQEB")
        with pytest.raises(InvalidParameterValue, match="a message as receive gave it"):
            await queue.delete(7)
        # Half a surrogate pair is not JSON, and was told as a UnicodeEncodeError.
        for refused in (queue.receive(attempt_id="\ud800"), queue.delete("\ud800")):
            with pytest.raises(InvalidParameterValue, match=r"of type str: allowed is text without lone surrogates$"):
                await refused


async def test_a_receipt_of_another_queue_is_refused(app):
    queue, other = app.queue("q"), app.queue("other")
    async with app:
        await queue.send("a")
        [message] = await queue.receive()
        with pytest.raises(InvalidParameterValue, match="is not a valid receipt handle"):
            await other.delete(message)


REFUSED_QUEUES = [
    ({"name": "a b"}, "1 to 80 letters"),
    ({"name": "x" * 81}, "1 to 80 letters"),
    ({"name": ".fifo"}, "1 to 80 letters"),
    ({"name": "q", "visibility_timeout": 43_201}, "visibility_timeout"),
    ({"name": "q", "delay": 901}, "delay"),
    ({"name": "q", "retention": 59}, "retention"),
    ({"name": "q", "maximum_receive_count": 0}, "maximum_receive_count"),
    # Accepted, and no message ever left the queue.
    ({"name": "q", "maximum_receive_count": 3}, "maximum_receive_count=3: .* give dead_letter_queue, too"),
    ({"name": "q", "content_based_deduplication": True}, "only a FIFO queue has it"),
    ({"name": "q", "deduplication_scope": "messageGroup"}, "only a FIFO queue has it"),
    ({"name": "q.fifo", "deduplication_scope": "group"}, "deduplication_scope"),
    ({"name": "q", "dead_letter_queue": "q"}, "cannot be its own dead-letter queue"),
    ({"name": "q", "dead_letter_queue": "q.fifo"}, "the dead-letter queue of a standard queue is a standard queue"),
    ({"name": "q.fifo", "dead_letter_queue": "q"}, "the dead-letter queue of a FIFO queue is a FIFO queue"),
]


@pytest.mark.parametrize(("options", "text"), REFUSED_QUEUES)
def test_a_queue_that_cannot_be_is_refused_where_it_is_declared(app, options, text):
    with pytest.raises(InvalidParameterValue, match=text):
        app.queue(**options)


async def test_an_unknown_queue_is_not_found(app):
    app.queue("q", dead_letter_queue="nowhere")
    with pytest.raises(ResourceNotFound, match=r"The specified queue does not exist\. \(queue .nowhere."):
        await app.start()


def test_a_declared_queue_is_given_again_and_other_settings_are_refused(app):
    queue = app.queue("q", delay=5)
    assert app.queue("q") is queue
    assert app.queue("q", delay=timedelta(seconds=5)) is queue
    with pytest.raises(ResourceConflict, match="already declared with delay=5, not 6"):
        app.queue("q", delay=6)
    with pytest.raises(InvalidParameterValue, match="give dead_letter_queue, too"):
        app.queue("q", maximum_receive_count=3)
    other = app.queue("other", dead_letter_queue=queue, maximum_receive_count=3)
    assert app.queue("other", maximum_receive_count=3) is other
