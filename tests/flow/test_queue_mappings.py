"""A function on a queue, on the virtual clock: every option of the mapping does what it says."""

import hashlib

import pytest

from forebay import Backoff, Batch, Depth, ResourceNotFound

QUICK = Backoff(base=1, cap=30, jitter=0)


async def test_the_event_is_lambdas(app, clock):
    queue, events = app.queue("orders.fifo"), []

    @app.on_queue("orders.fifo")
    async def handler(event, context):
        events.append(event)

    async with app:
        sent = await queue.send(
            "Test message.", group_id="1", deduplication_id="2", attributes={"k": "v", "b": b"\x01"}
        )
        await clock.advance(1)
    [record] = events[0]["Records"]
    now = "1577836800000"
    assert record.pop("receiptHandle")
    number = record["attributes"].pop("SequenceNumber")
    assert (len(number), number.isdecimal()) == (20, True)
    plain = {"stringListValues": [], "binaryListValues": []}
    sums = (
        b"".join(len(text).to_bytes(4) + text for text in (b"b", b"Binary"))
        + b"\x02\x00\x00\x00\x01\x01"
        + b"".join(len(text).to_bytes(4) + text for text in (b"k", b"String"))
        + b"\x01\x00\x00\x00\x01v"
    )
    assert record == {
        "messageId": sent,
        "body": "Test message.",
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": now,
            "MessageGroupId": "1",
            "SenderId": "000000000000",
            "MessageDeduplicationId": "2",
            "ApproximateFirstReceiveTimestamp": now,
        },
        "messageAttributes": {
            "k": {"stringValue": "v", "dataType": "String", **plain},
            "b": {"binaryValue": "AQ==", "dataType": "Binary", **plain},
        },
        "md5OfMessageAttributes": hashlib.md5(sums, usedforsecurity=False).hexdigest(),
        "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:local:000000000000:orders.fifo",
        "awsRegion": "local",
    }


async def test_a_batch_gives_the_same_messages_undecoded(app, clock, fill):
    queue, seen = app.queue("q"), []

    @app.on_queue("q")
    async def handler(batch: Batch, context):
        assert (batch.queue, batch.stream, batch.shard_id) == ("q", None, None)
        assert batch[-1].body == "2"
        seen.extend((message.body, message.receive_count) for message in batch)

    async with app:
        await fill(queue, 0, 1, 2)
        await clock.advance(1)
        assert queue.depth() == Depth(0, 0, 0)
    assert sorted(seen) == [("0", 1), ("1", 1), ("2", 1)]


async def test_a_batch_is_as_large_as_it_may_be_and_no_larger(app, clock, given, fill):
    queue = app.queue("q.fifo")

    @app.on_queue("q.fifo", batch_size=4)
    async def handler(event, context):
        given.take(event)

    await app.start()
    await fill(queue, *range(6))
    await fill(queue, "x", group="other")
    await clock.advance(1)
    await app.stop()
    assert given.calls == [["0", "1", "2", "3"], ["x"], ["4", "5"]]


async def test_a_window_gathers_messages_until_it_ends_or_the_batch_is_full(app, clock, given, fill):
    queue = app.queue("q")

    @app.on_queue("q", batch_size=20, maximum_batching_window=10)
    async def handler(event, context):
        given.take(event)

    async with app:
        await fill(queue, 1)
        await clock.advance(5)
        await fill(queue, 2)
        await clock.advance(4.9)
        assert given.calls == []
        assert queue.depth().in_flight == 0, "what is gathered is not received yet"
        await clock.advance(0.2)
        assert given.calls == [["1", "2"]]
        await fill(queue, *range(20))
        await clock.advance(0.1)
        assert len(given.calls[1]) == 20


async def test_one_batch_runs_at_a_time_when_the_mapping_says_so_and_the_others_are_not_received(
    app, clock, given, fill
):
    queue, peak = app.queue("q"), []

    @app.on_queue("q", batch_size=1, maximum_concurrency=1)
    async def handler(event, context):
        peak.append(queue.depth().in_flight)
        await clock.sleep(2)
        given.take(event)

    async with app:
        await fill(queue, *range(5))
        await clock.advance(3)
        assert given.calls == [["0"]]
        assert queue.depth() == Depth(visible=3, in_flight=1, delayed=0)
        await clock.advance(10)
    assert (given.all, set(peak)) == (["0", "1", "2", "3", "4"], {1})


async def test_waiting_for_a_free_slot_never_counts_as_a_receive(clock, no_task_is_left, fill):
    from forebay import App

    app = App("t", store=":memory:", clock=clock, concurrency=2)
    queue, counts = app.queue("q", visibility_timeout=1), []

    @app.on_queue("q", batch_size=1)
    async def handler(batch: Batch, context):
        await clock.sleep(2.5)
        counts.extend(message.receive_count for message in batch)

    async with app:
        await fill(queue, *range(10))
        await clock.advance(60)
    assert counts == [1] * 10


async def test_a_slow_handler_is_never_run_twice(app, clock, given, fill):
    queue = app.queue("q", visibility_timeout=1)

    @app.on_queue("q")
    @app.function(timeout=900)
    async def handler(event, context):
        given.take(event)
        await clock.sleep(600)

    async with app:
        await fill(queue, 1)
        await clock.advance(700)
        assert queue.depth() == Depth(0, 0, 0)
    assert given.calls == [["1"]]


async def test_a_failed_batch_waits_by_the_retry_delay_and_no_longer(app, clock, given, fill):
    queue, times = app.queue("q"), []

    @app.on_queue("q", retry_delay=QUICK)
    async def handler(event, context):
        times.append(round(clock.monotonic(), 3))
        if len(times) < 4:
            raise ValueError("not yet")

    async with app:
        await fill(queue, 1)
        await clock.advance(20)
        assert queue.depth() == Depth(0, 0, 0)
    assert times == [0, 1, 3, 7]


async def test_a_handler_may_say_itself_when_a_message_comes_back(app, clock, fill):
    queue, times = app.queue("q"), []

    @app.on_queue("q", retry_delay=QUICK)
    async def handler(batch: Batch, context):
        times.append(clock.monotonic())
        if len(times) == 1:
            await queue.change_visibility(batch[0], 100)
            raise ValueError("later")

    async with app:
        await fill(queue, 1)
        await clock.advance(200)
    assert times == [0, 100]


async def test_after_a_failed_message_of_a_group_the_rest_comes_back_and_other_groups_are_done(app, clock, given):
    queue = app.queue("q.fifo")

    @app.on_queue("q.fifo", report_batch_item_failures=True, retry_delay=QUICK)
    async def handler(batch: Batch, context):
        given.calls.append([(message.body, message.receive_count) for message in batch])
        if len(given.calls) == 1:
            batch.fail(batch[1])  # says nothing of those behind it

    async with app:
        messages = [("1", "a"), ("4", "b"), ("2", "a"), ("5", "b"), ("3", "a")]
        await queue.send_many([{"body": body, "group_id": group, "deduplication_id": body} for body, group in messages])
        await clock.advance(10)
    assert given.calls[0] == [("1", 1), ("2", 1), ("3", 1), ("4", 1), ("5", 1)]
    assert given.calls[1:] == [[("2", 2), ("3", 1)]]


REPORTS = [
    ("nothing", lambda ids: None, []),
    ("an empty list", lambda ids: {"batchItemFailures": []}, []),
    ("no list", lambda ids: {"batchItemFailures": None}, []),
    ("an empty object", lambda ids: {}, []),
    ("one of them", lambda ids: {"batchItemFailures": [{"itemIdentifier": ids[1]}]}, ["1"]),
    ("an empty id", lambda ids: {"batchItemFailures": [{"itemIdentifier": ""}]}, ["0", "1", "2"]),
    ("no id", lambda ids: {"batchItemFailures": [{"itemIdentifier": None}]}, ["0", "1", "2"]),
    ("another key", lambda ids: {"batchItemFailures": [{"id": ids[0]}]}, ["0", "1", "2"]),
    ("an unknown id", lambda ids: {"batchItemFailures": [{"itemIdentifier": "123"}]}, ["0", "1", "2"]),
    ("a number for a list", lambda ids: {"batchItemFailures": 7}, ["0", "1", "2"]),
]


@pytest.mark.parametrize(("answer", "failed"), [row[1:] for row in REPORTS], ids=[row[0] for row in REPORTS])
async def test_a_partial_response_says_which_messages_failed(app, given, answer, failed, fill):
    queue = app.queue("q")

    @app.on_queue("q", report_batch_item_failures=True, retry_delay=QUICK)
    async def handler(event, context):
        given.take(event)
        return answer([record["messageId"] for record in event["Records"]]) if len(given.calls) == 1 else None

    async with app:
        await fill(queue, 0, 1, 2)
        await given.clock.advance(5)
        assert queue.depth() == Depth(0, 0, 0)
    assert sorted(given.all[3:]) == failed


async def test_without_the_option_a_response_means_nothing(app, clock, given, fill):
    queue = app.queue("q")

    @app.on_queue("q", retry_delay=QUICK)
    async def handler(event, context):
        given.take(event)
        return {"batchItemFailures": [{"itemIdentifier": event["Records"][0]["messageId"]}]}

    async with app:
        await fill(queue, 0)
        await clock.advance(5)
    assert given.calls == [["0"]]


async def test_what_no_filter_lets_through_is_deleted_and_counted_by_its_reason(app, clock, given):
    queue = app.queue("q")

    @app.on_queue(
        "q",
        batch_size=2,
        filters=[{"body": {"kind": ["a"]}}, {"messageAttributes": {"force": {"stringValue": ["yes"]}}}],
    )
    async def handler(event, context):
        given.take(event)

    async with app:
        await queue.send_many(['{"kind":"b"}', '{"kind":"a","n":1}', "no json", '{"kind":"c"}', '{"kind":"a","n":2}'])
        await queue.send("forced", attributes={"force": "yes"})
        await clock.advance(5)
        assert queue.depth() == Depth(0, 0, 0)
        text = await app._caller.ask("metrics.text")
    assert sorted(given.all) == ["forced", '{"kind":"a","n":1}', '{"kind":"a","n":2}']
    assert 'forebay_messages_filtered_total{mapping="q/handler",reason="no_match"} 2' in text["text"]
    assert 'forebay_messages_filtered_total{mapping="q/handler",reason="not_json"} 1' in text["text"]


async def test_a_poison_message_becomes_a_dead_letter_and_its_group_goes_on(app, clock, given, fill):
    dead = app.queue("dead.fifo")
    queue = app.queue("q.fifo", dead_letter_queue=dead, maximum_receive_count=3)

    @app.on_queue("q.fifo", batch_size=1, retry_delay=QUICK)
    async def handler(event, context):
        given.take(event)
        if event["Records"][0]["body"] == "poison":
            raise ValueError("poison")

    async with app:
        await fill(queue, "poison", "after")
        await clock.advance(60)
        assert given.all == ["poison"] * 3 + ["after"]
        assert (queue.depth(), dead.depth().visible) == (Depth(0, 0, 0), 1)


async def test_a_timeout_fails_the_batch_and_its_message_comes_back_when_the_handler_has_ended(app, clock, given, fill):
    queue = app.queue("q.fifo")

    @app.on_queue("q.fifo", retry_delay=QUICK)
    @app.function(timeout=2)
    async def handler(event, context):
        given.take(event)
        if len(given.calls) == 1:
            await clock.sleep(10)

    async with app:
        await fill(queue, 1)
        await clock.advance(20)
        assert queue.depth() == Depth(0, 0, 0)
    assert given.calls == [["1"], ["1"]]


async def test_a_mapping_is_paused_changed_resumed_and_deleted(app, clock, given, fill):
    queue = app.queue("q")

    @app.on_queue("q", batch_size=1)
    async def handler(event, context):
        given.take(event)

    [mapping] = app.mappings
    assert (mapping.queue, mapping.stream, mapping.kind) == ("q", None, "queue")
    async with app:
        await mapping.pause()
        await fill(queue, 1, 2)
        await clock.advance(5)
        assert given.calls == []
        assert queue.depth() == Depth(visible=2, in_flight=0, delayed=0)
        await mapping.update(batch_size=2)
        described = await mapping.describe()
        assert (described["state"], described["batch_size"], described["visible"]) == ("Disabled", 2, 2)
        await mapping.resume()
        await clock.advance(1)
        assert [sorted(call) for call in given.calls] == [["1", "2"]]
        await mapping.delete()
        await fill(queue, 3)
        await clock.advance(5)
        assert queue.depth().visible == 1
        with pytest.raises(ResourceNotFound, match="no mapping of queue"):
            await mapping.describe()


async def test_two_functions_share_a_queue_message_by_message(app, clock, fill):
    queue, first, second = app.queue("q"), [], []

    @app.on_queue("q", batch_size=1)
    async def one(event, context):
        first.append(event["Records"][0]["body"])

    @app.on_queue("q", batch_size=1)
    async def two(event, context):
        second.append(event["Records"][0]["body"])

    async with app:
        await fill(queue, *range(10))
        await clock.advance(1)
    assert sorted(first + second) == [str(n) for n in range(10)]
    assert first and second


async def test_a_backlog_of_small_and_large_messages_is_read_to_its_end_after_a_restart(durable_app, clock):
    # How much a read brings is guessed from the one before it: a wrong guess must leave nobody waiting.
    sizes = [10] * 300 + [200_000] * 20 + [10] * 300 + [200_000] * 5
    app = durable_app()
    queue = app.queue("sizes")
    async with app:
        for at in range(0, len(sizes), 5):
            await queue.send_many([f"{n} ".ljust(sizes[n], "x") for n in range(at, at + 5)])
    app, seen = durable_app(), []
    app.queue("sizes")

    @app.on_queue("sizes", batch_size=1)
    async def handler(batch: Batch, context):
        seen.extend(int(message.body.split()[0]) for message in batch)

    async with app:
        await clock.advance(1)
    assert sorted(seen) == list(range(len(sizes)))
