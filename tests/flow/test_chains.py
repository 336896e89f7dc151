"""A chain of functions is stopped at the sixteenth, through whatever it goes; what is left of it goes to no function."""

import pytest

from forebay import Batch


@pytest.fixture
def queue(app):
    return app.queue("loop", dead_letter_queue=app.queue("dead"), maximum_receive_count=2)


def waiting(queue):
    depth = queue.depth()
    return depth.visible + depth.delayed + depth.in_flight


async def test_messages_sent_by_handlers_are_counted_and_the_last_one_becomes_a_dead_letter(app, clock, queue):
    hops = []

    @app.on_queue("loop", batch_size=1)
    async def loop(batch: Batch, context):
        [message] = batch
        hops.append(message.json())
        await queue.send(message.json() + 1)

    @app.on_queue("dead")
    async def undertaker(batch: Batch, context):
        hops.append("no dead letter of a chain goes to a function")

    async with app:
        await queue.send(0)
        await clock.advance(120)
        assert (waiting(queue), waiting(app.queue("dead"))) == (0, 1)
        of = app.metrics.statistic
        assert of("RecursiveInvocationsDropped", "Sum", function="loop", period=300) == 2
    assert hops == list(range(16))


async def test_a_handler_in_a_thread_is_counted_as_well(app, clock, queue):
    hops = []

    @app.on_queue("loop")
    @app.function(isolation="thread")
    def loop(event, context):
        [record] = event["Records"]
        hops.append(record["body"])
        queue.send_sync("on")

    async with app:
        await queue.send("on")
        await clock.advance(120)
    assert len(hops) == 16


async def test_destinations_and_queues_count_as_one_chain(app, clock, queue):
    hops = []

    @app.on_queue("loop")
    async def from_queue(batch: Batch, context):
        hops.append("queue")
        await told.invoke_async("again")

    @app.function(on_success=queue)
    async def told(event, context):
        hops.append("event")

    async with app:
        await told.invoke_async("begin")
        await clock.advance(120)
        [failure] = await told.failed()
    assert hops == ["event", "queue"] * 8
    assert failure["record"]["requestContext"]["condition"] == "RecursiveInvocation"


async def test_the_count_is_in_the_message_and_outlives_a_restart(durable_app, clock):
    hops = []

    def make(*, enabled):
        app = durable_app()
        queue = app.queue("loop")

        @app.on_queue("loop", batch_size=1, enabled=enabled)
        async def loop(batch: Batch, context):
            hops.append(len(hops))
            if len(hops) == 10:
                await app.mappings[0].pause()
            await queue.send("on")

        return app, queue

    app, queue = make(enabled=True)
    async with app:
        await queue.send("on")
        await clock.advance(60)
    assert len(hops) == 10
    app, queue = make(enabled=False)
    async with app:
        await app.mappings[0].resume()
        await clock.advance(60)
        assert waiting(queue) == 1
    assert len(hops) == 16


async def test_a_message_redriven_by_an_operator_begins_a_new_chain(app, clock, queue):
    hops = []

    @app.on_queue("loop")
    async def loop(batch: Batch, context):
        hops.append(1)
        await queue.send("on")

    async with app:
        await queue.send("on")
        await clock.advance(120)
        assert len(hops) == 16
        assert await app.queue("dead").redrive() == 1
        await clock.advance(120)
    assert len(hops) == 32


async def test_in_a_fifo_queue_what_stands_behind_a_stopped_message_waits_and_comes_in_order(app, clock):
    queue = app.queue("loop.fifo", dead_letter_queue=app.queue("dead.fifo"), maximum_receive_count=2)
    order, ended = [], []

    @app.on_queue("loop.fifo", batch_size=10)
    async def loop(batch: Batch, context):
        order.extend(message.body for message in batch)
        first, chain = batch[0].body, len(order)
        if first.startswith("hop") and not ended:
            await queue.send(f"hop {chain}", group_id="g", deduplication_id=f"d{chain}")
            if chain == 16:
                ended.append(True)
                # From outside of the chain: behind the message that will be stopped.
                await clock.sleep(0.1)

    async with app:
        await queue.send("hop 0", group_id="g", deduplication_id="d0")
        await clock.settle()
        await queue.send("after", group_id="g", deduplication_id="after")
        await clock.advance(120)
        assert app.queue("dead.fifo").depth().visible == 1
    assert len(order) == 17
    assert order[-1] == "after"


async def test_a_stopped_message_without_visibility_timeout_or_dead_letter_queue_is_looked_at_once_a_second(app, clock):
    queue = app.queue("loop", visibility_timeout=0)

    @app.on_queue("loop", batch_size=1)
    async def loop(batch: Batch, context):
        await queue.send("on")

    async with app:
        await queue.send("on")
        for _ in range(60):
            await clock.advance(0.5)
        assert waiting(queue) == 1
        of = app.metrics.statistic
        assert 2 <= of("RecursiveInvocationsDropped", "Sum", function="loop", period=300) <= 62
