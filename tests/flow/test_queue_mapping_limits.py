"""Mappings on queues: what AWS does differently, by `strict_lambda`, and what is refused."""

import pytest

from forebay import Backoff, Batch, Depth, InvalidParameterValue, ResourceConflict, ResourceNotFound

QUICK = Backoff(base=1, cap=30, jitter=0)


async def test_strictly_a_failed_message_waits_out_its_visibility_timeout(app, clock, fill):
    queue, times = app.queue("q", visibility_timeout=30), []

    @app.on_queue("q", strict_lambda=True)
    async def handler(event, context):
        times.append(round(clock.monotonic()))
        if len(times) == 1:
            raise ValueError("once")

    async with app:
        await fill(queue, 1)
        await clock.advance(40)
        assert queue.depth() == Depth(0, 0, 0)
    assert times == [0, 30]


async def test_strictly_the_rest_of_a_group_is_the_handlers_business(app, clock, given, fill):
    queue = app.queue("q.fifo", visibility_timeout=30)

    @app.on_queue("q.fifo", strict_lambda=True, report_batch_item_failures=True)
    async def handler(batch: Batch, context):
        given.calls.append([message.body for message in batch])
        if len(given.calls) == 1:
            batch.fail(batch[0])

    async with app:
        await fill(queue, 1, 2, 3)
        await clock.advance(40)
    assert given.calls == [["1", "2", "3"], ["1"]]


async def test_strictly_the_visibility_timeout_must_not_be_below_the_functions(app, clock):
    app.queue("q", visibility_timeout=60)

    @app.on_queue("q", strict_lambda=True)
    @app.function(timeout=180)
    async def handler(event, context): ...

    text = "Queue visibility timeout: 60 seconds is less than Function timeout: 180 seconds"
    with pytest.raises(InvalidParameterValue, match=text):
        await app.start()


REFUSED = [
    ("q", {"batch_size": 0}, "batch_size"),
    ("q", {"batch_size": 10_001, "maximum_batching_window": 1}, "batch_size"),
    ("q.fifo", {"batch_size": 11}, "batch_size"),
    (
        "q",
        {"batch_size": 11},
        "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10",
    ),
    ("q.fifo", {"maximum_batching_window": 1}, "a mapping on a FIFO queue has none"),
    ("q", {"maximum_batching_window": 301}, "maximum_batching_window"),
    ("q", {"maximum_concurrency": 0}, "maximum_concurrency"),
    ("q", {"maximum_concurrency": 1, "strict_lambda": True}, "maximum_concurrency"),
    ("q", {"maximum_concurrency": 1001}, "maximum_concurrency"),
    ("q", {"retry_delay": 5}, "retry_delay"),
    ("q", {"retry_delay": QUICK, "strict_lambda": True}, "waits for its visibility timeout"),
    ("q", {"filters": [{"data": {"k": ["v"]}}]}, "Invalid filter pattern definition"),
    ("q", {"enabled": 1}, "enabled"),
    ("no queue", {}, "1 to 80 letters"),
]


@pytest.mark.parametrize(("queue", "options", "text"), REFUSED)
def test_an_option_out_of_its_range_is_refused_where_it_is_given(app, queue, options, text):
    with pytest.raises(InvalidParameterValue, match=text):
        app.on_queue(queue, **options)


async def test_a_queue_that_nobody_declared_is_refused_in_awss_words(app):
    @app.on_queue("nowhere")
    async def handler(event, context): ...

    with pytest.raises(ResourceNotFound, match=r"AWS\.SimpleQueueService\.NonExistentQueue"):
        await app.start()


def test_a_second_mapping_with_other_settings_is_refused_in_awss_words(app):
    @app.on_queue("q")
    async def handler(event, context): ...

    with pytest.raises(ResourceConflict, match="An event source mapping with SQS arn"):
        app.on_queue("q", batch_size=5)(handler)
    assert app.on_queue("q")(handler) is handler


async def test_a_mapping_on_a_queue_has_no_place_to_seek(app):
    @app.on_queue("q")
    async def handler(event, context): ...

    [mapping] = app.mappings
    for refused in (mapping.seek("LATEST"), mapping.skip("a:b")):
        with pytest.raises(InvalidParameterValue, match="has no place in a stream"):
            await refused
