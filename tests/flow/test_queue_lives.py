"""What becomes of queues and messages in the long run: deleted queues, redrives over restarts, the life of one message."""

import asyncio

import pytest

from forebay import Backoff, InvalidParameterValue, ResourceConflict, ResourceNotFound


async def ask(app, verb, **fields):
    return await app._caller.ask(verb, **fields)


async def life_of(app, identity):
    life = await ask(app, "why", id=identity)
    cursor = life["cursor"]
    while cursor is not None:
        more = await ask(app, "why", id=identity, cursor=cursor)
        life["kept"] += more["kept"]
        life["facts"] += more["facts"]
        cursor = more["cursor"]
    return life


def told(life):
    return [fact["what"] for fact in life["facts"]]


async def test_a_deleted_queue_is_gone_with_its_messages_and_can_be_made_anew(durable_app, clock):
    async with durable_app() as app:
        queue = app.queue("old")
        await queue.send("a")
        assert await queue.delete_queue() == 1
        with pytest.raises(ResourceNotFound, match=r"The specified queue does not exist\. \(queue .old."):
            await queue.send("b")
    async with durable_app() as app:
        queue = app.queue("old")
        await queue.send("c")
        assert [message.body for message in await queue.receive()] == ["c"]


async def test_a_running_app_is_refused_what_it_asks_of_a_deleted_queue_and_can_make_it_anew(app, clock):
    old = app.queue("q", visibility_timeout=5)

    @app.on_queue("q")
    async def handle(event, context): ...

    async with app:
        await app.mappings[0].pause()
        await old.send("a")
        [held] = await old.receive()
        await app.mappings[0].delete()
        await old.delete_queue()
        asked = [
            old.send("b"), old.send_many(["b"]), old.receive(), old.delete(held), old.change_visibility(held, 5), old.purge(),
            old.redrive(), old.cancel_redrive(), old.delete_queue(),
        ]  # fmt: skip
        for one in asked:
            with pytest.raises(ResourceNotFound, match=r"NonExistentQueue: The specified queue does not exist\."):
                await one
        with pytest.raises(ResourceNotFound, match=r"NonExistentQueue: The specified queue does not exist\."):
            old.depth()
        assert app.mappings == ()
        new = app.queue("q", visibility_timeout=9)
        assert new is not old and app.queue("q") is new
        await new.send("c")
        with pytest.raises(InvalidParameterValue, match="is not a valid receipt handle"):
            await new.delete(held)
        assert [message.body for message in await new.receive()] == ["c"]


async def test_a_receive_that_waits_for_a_queue_hears_that_it_is_deleted(app, clock):
    queue = app.queue("q")
    async with app:
        waits = asyncio.ensure_future(queue.receive(wait=20))
        await clock.advance(1)
        await queue.delete_queue()
        with pytest.raises(ResourceNotFound, match="was just deleted"):
            await waits


async def test_a_queue_that_something_depends_on_is_not_deleted(app, clock):
    dead = app.queue("dead")
    read = app.queue("read", dead_letter_queue=dead)
    told_queue = app.queue("told")

    @app.on_queue("read")
    async def handle(event, context): ...

    @app.function(on_failure=told_queue)
    async def work(event, context): ...

    async with app:
        with pytest.raises(ResourceConflict, match="is the dead-letter queue of"):
            await dead.delete_queue()
        with pytest.raises(ResourceConflict, match="is read by function"):
            await read.delete_queue()
        with pytest.raises(ResourceConflict, match="is a destination of function"):
            await told_queue.delete_queue()


async def test_a_redrive_is_remembered_over_a_restart_and_can_be_cancelled(durable_app, clock):
    async with durable_app() as app:
        dead, queue = app.queue("dead"), app.queue("q")
        for _ in range(3):
            await dead.send_many(["a"] * 10)
        assert await dead.redrive(to=queue, rate=1) == 30
        await clock.advance(4.5)
        moved = queue.depth().visible
        assert 4 <= moved <= 6
    async with durable_app() as app:
        dead, queue = app.queue("dead"), app.queue("q")
        await clock.advance(5)
        assert moved + 4 <= queue.depth().visible <= moved + 6
        with pytest.raises(ResourceConflict, match="Only one active task"):
            await dead.redrive(to=queue)
        redrive = (await ask(app, "queue.describe", name="dead"))["redrive"]
        assert (redrive["status"], redrive["rate"], redrive["messages"]) == ("RUNNING", 1, 30)
        stopped = await dead.cancel_redrive()
        with pytest.raises(ResourceNotFound, match="is not being redriven"):
            await dead.cancel_redrive()
    async with durable_app() as app:
        dead, queue = app.queue("dead"), app.queue("q")
        await clock.advance(10)
        assert queue.depth().visible in (stopped, stopped + 1)
        assert (await ask(app, "queue.describe", name="dead"))["redrive"]["status"] == "CANCELLED"


async def test_the_life_of_a_message_is_told_from_its_sending_to_its_dead_letter_queue(app, clock):
    queue = app.queue("q.fifo", dead_letter_queue=app.queue("dead.fifo"), maximum_receive_count=2)

    @app.on_queue("q.fifo", report_batch_item_failures=True, retry_delay=Backoff(base=1, cap=1, jitter=0))
    async def handle(event, context):
        bad = [one["messageId"] for one in event["Records"] if one["body"] == "bad"]
        return {"batchItemFailures": [{"itemIdentifier": one} for one in bad]}

    async with app:
        good = await queue.send("good", group_id="a", deduplication_id="1")
        bad = await queue.send("bad", group_id="b", deduplication_id="2")
        await clock.advance(0)
        life = await life_of(app, bad)
        assert told(life) == ["sent", "failed"]
        assert [(row["where"], row["queue"], row["state"]) for row in life["kept"]] == [
            ("message", "q.fifo", "delayed")
        ]
        await clock.advance(60)
        life = await life_of(app, bad)
        assert told(life) == ["sent", "failed", "failed", "became a dead letter"]
        assert [(fact["function"], fact["attempt"]) for fact in life["facts"][1:3]] == [("handle", 1), ("handle", 2)]
        [row] = life["kept"]
        assert (row["queue"], row["state"], row["attributes"]["MessageGroupId"]) == ("dead.fifo", "visible", "b")
        assert "receiptHandle" not in row
        numbered = await life_of(app, row["attributes"]["SequenceNumber"])
        assert "became a dead letter" in told(numbered)
        assert [one["messageId"] for one in numbered["kept"]] == [bad], (
            "of the queues that have such a number, one keeps it"
        )
        assert told(await life_of(app, good)) == ["handled"]


async def test_each_mapping_counts_what_lambdas_event_source_mappings_count(app, clock):
    queue, stream = app.queue("q.fifo"), app.stream("s", shards=1)

    class Told:
        async def deliver(self, record):
            pass

    @app.on_queue("q.fifo", filters=[{"body": {"kind": ["wanted"]}}], report_batch_item_failures=True)
    async def take(event, context):
        first = event["Records"][0]
        bad = first["attributes"]["ApproximateReceiveCount"] == "1"
        return {"batchItemFailures": [{"itemIdentifier": first["messageId"]}] if bad else []}

    @app.on_stream("s", maximum_retry_attempts=0, on_failure=Told())
    async def read(event, context):
        raise ValueError("no")

    async with app:
        for number, kind in enumerate(["wanted", "wanted", "other"]):
            await queue.send({"kind": kind}, group_id="g", deduplication_id=str(number))
        await stream.put_many([(str(n), "k") for n in range(3)])
        await clock.advance(60)
        text = (await ask(app, "metrics.text"))["text"]
    counts = {}
    for line in text.splitlines():
        if "mapping=" in line and not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            counts[name] = float(value)
    q, s = '{mapping="q.fifo/take"}', '{mapping="s/read"}'
    assert counts[f"forebay_records_filtered_total{q}"] == 1
    assert counts[f"forebay_records_failed_total{q}"] >= 1
    assert counts[f"forebay_mapping_messages_deleted_total{q}"] == 2
    assert counts[f"forebay_records_failed_total{s}"] == 3
    assert counts[f"forebay_records_delivered_on_failure_total{s}"] == 3


@pytest.mark.parametrize("name", ["dead", "q-dead"])
async def test_a_dead_letter_is_found_by_its_id_after_a_restart(durable_app, clock, name):
    # After a restart queues stand in the order of their names, and only a name before the queue's own was looked through.
    async with durable_app() as app:
        queue = app.queue("q", dead_letter_queue=app.queue(name), maximum_receive_count=1)
        identity = await queue.send("x")
        await queue.receive(visibility_timeout=0)
        await clock.advance(1)
        assert await queue.receive() == []
        await clock.advance(1)
        assert app.queue(name).depth().visible == 1
    async with durable_app() as app:
        [row] = (await life_of(app, identity))["kept"]
        assert (row["where"], row["queue"], row["body"]) == ("message", name, "x")


async def test_the_life_of_a_record_is_told_with_lane_attempts_error_and_destination(app, clock):
    stream = app.stream("s", shards=1)

    class Told:
        async def deliver(self, record):
            pass

    @app.on_stream("s", parallelization_factor=4, batch_size=1, maximum_retry_attempts=1, on_failure=Told())
    async def handle(event, context):
        raise ValueError("no such article")

    async with app:
        number = await stream.put("x", partition_key="k")
        await clock.advance(120)
        life = await life_of(app, number)
        assert told(life) == ["put", "failed", "failed", "given up", "delivered"]
        assert life["facts"][1]["error"]["errorMessage"] == "no such article"
        assert life["facts"][3]["condition"] == "RetryAttemptsExhausted"
        [row] = life["kept"]
        assert (row["where"], row["function"], row["state"], row["shard_id"]) == (
            "record",
            "handle",
            "given up",
            "shardId-000000000000",
        )


async def test_what_is_in_a_queue_is_looked_at_without_receiving_it(app, clock):
    queue = app.queue("q")
    async with app:
        for number in range(5):
            await queue.send(str(number))
        page = await ask(app, "queue.peek", name="q", limit=3)
        assert [message["body"] for message in page["messages"]] == ["0", "1", "2"]
        page = await ask(app, "queue.peek", name="q", limit=3, after=page["next"])
        assert [message["body"] for message in page["messages"]] == ["3", "4"]
        assert page["next"] is None
        [message] = await queue.receive(maximum=1)
        assert message.receive_count == 1
