"""A partial response that nobody reads: AWS takes what it names as done without a word, forebay says so."""

import pytest

import forebay

WARNING = "returned batchItemFailures for a batch of"


@pytest.fixture
def warnings(caplog):
    return lambda: [record.getMessage() for record in caplog.records if WARNING in record.getMessage()]


def numbers(event):
    return [record.get("messageId") or record["kinesis"]["sequenceNumber"] for record in event["Records"]]


async def failing(event, context):
    return {"batchItemFailures": [{"itemIdentifier": number} for number in numbers(event)]}


def failing_in_thread(event, context):
    return {"batchItemFailures": [{"itemIdentifier": number} for number in numbers(event)]}


def taking_a_batch(batch: forebay.Batch, context):
    return {"batchItemFailures": [{"itemIdentifier": "some"}]}


@pytest.mark.parametrize("handler", [failing, failing_in_thread, taking_a_batch])
async def test_failures_that_a_mapping_does_not_read_are_told_once_for_each_mapping(app, clock, warnings, handler):
    """Every failed message was deleted, and every failed record passed, without a word."""
    queue, stream, read = app.queue("mail"), app.stream("orders", shards=1), app.queue("read")
    function = app.function(name="ship", isolation="task" if handler is failing else "thread")(handler)
    app.on_queue("mail")(function)
    app.on_stream("orders")(function)
    app.on_queue("read", report_batch_item_failures=True, enabled=handler is not taking_a_batch)(function)
    async with app:
        for number in range(3):
            await queue.send(str(number))
            await stream.put(number, partition_key="k")
            await read.send(str(number))
            await clock.advance(5)
        assert queue.depth().visible == 0
        assert read.depth().visible + read.depth().delayed + read.depth().in_flight == 3
    told = sorted(warnings())
    assert [line.partition(", and that")[0] for line in told] == [
        f"function ship: it {WARNING} arn:aws:kinesis:local:000000000000:stream/orders",
        f"function ship: it {WARNING} arn:aws:sqs:local:000000000000:mail",
    ]
    assert all(line.endswith("declare the mapping with report_batch_item_failures=True") for line in told)


@pytest.mark.parametrize(
    "response", [None, {}, {"batchItemFailures": []}, {"batchItemFailures": None}, ["batchItemFailures"]]
)
async def test_a_response_that_names_no_failure_is_no_reason_for_a_warning(app, clock, warnings, response):
    queue = app.queue("mail")

    @app.on_queue("mail")
    async def ship(event, context):
        return response

    async with app:
        await queue.send("x")
        await clock.advance(5)
        await ship.invoke({"batchItemFailures": ["an event of its own"]})
    assert not warnings()


async def test_a_handler_that_changed_its_event_is_told_all_the_same(app, clock, warnings):
    queue = app.queue("mail")

    @app.on_queue("mail")
    async def ship(event, context):
        event.clear()
        return {"batchItemFailures": [{"itemIdentifier": "some"}]}

    async with app:
        await queue.send("x")
        await clock.advance(5)
    assert len(warnings()) == 1


async def test_what_an_invocation_answers_is_its_own(app, warnings):
    @app.function()
    async def ship(event, context):
        return {"batchItemFailures": ["an answer of its own"]}

    async with app:
        await ship.invoke(None)
    assert not warnings()
