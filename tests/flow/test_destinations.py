"""What was given up reaches its destination, is confirmed there, and is sent again until it is."""

import asyncio
import json

import pytest

from forebay import App, Batch, InvalidParameterValue, JSONLines

ONCE = {"maximum_retry_attempts": 0}


def failing(app, **options):
    @app.on_stream("numbers", batch_size=1, **ONCE, **options)
    async def handler(batch: Batch, context):
        raise ValueError("no")

    return handler


class Collector:
    """A destination that refuses its first deliveries."""

    def __init__(self, refusals=0):
        self.refusals = refusals
        self.records = []
        self.tries = 0

    async def deliver(self, record):
        self.tries += 1
        if self.tries <= self.refusals:
            raise ConnectionError("not now")
        self.records.append(record)


async def test_an_object_gets_the_record_once_it_takes_it(app, clock, stream):
    collector = Collector(refusals=3)
    handler = failing(app, on_failure=collector)
    async with app:
        await stream.put(1, "k")
        await clock.settle()
        assert collector.records == []
        await clock.advance(3600)
        assert await handler.failed() == []
    [record] = collector.records
    assert record["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert record["requestContext"]["functionArn"] == handler.arn
    assert record["KinesisBatchInfo"]["streamArn"] == stream.arn
    assert collector.tries == 4


async def test_every_record_carries_a_delivery_id_of_its_own(app, clock, stream):
    collector = Collector()
    failing(app, on_failure=collector)
    async with app:
        await stream.put_many([(str(number), "k") for number in range(5)])
        await clock.advance(60)
    ids = [record["metadata"]["deliveryId"] for record in collector.records]
    assert len(set(ids)) == 5


async def test_a_function_is_a_destination(app, clock, stream):
    records = []

    @app.function()
    async def alarm(record, context):
        records.append(record)

    failing(app, on_failure=alarm)
    async with app:
        await stream.put(1, "k")
        await clock.advance(60)
    assert [record["KinesisBatchInfo"]["batchSize"] for record in records] == [1]


async def test_a_function_has_the_record_as_an_event_of_its_own(app, clock, stream):
    """It was awaited: as long as it failed it was run again, for a day, and the record stayed listed as nobody's."""
    tries = []

    @app.function()
    async def alarm(record, context):
        tries.append(clock.monotonic())
        raise ValueError("no bell")

    handler = failing(app, on_failure=alarm)
    async with app:
        await stream.put(1, "k")
        await clock.advance(1)
        assert (len(tries), await handler.failed()) == (1, [])
        await clock.advance(24 * 3600)
        [failure] = await alarm.failed()
    assert [when - tries[0] for when in tries] == [0, 60, 180]
    assert failure["record"]["requestPayload"]["KinesisBatchInfo"]["batchSize"] == 1


async def test_a_function_of_another_app_has_it_as_an_event_too(store, tmp_path):
    shop, audit = App("shop", store=store), App("audit", store=tmp_path / "audit")
    told = asyncio.Event()

    @audit.function(maximum_retry_attempts=0)
    async def alarm(record, context):
        told.set()
        raise ValueError("no bell")

    shop.stream("numbers")
    handler = failing(shop, on_failure=alarm)
    async with asyncio.timeout(100), audit, shop:
        await shop.stream("numbers").put(1, "k")
        await told.wait()
        while not (listed := await alarm.failed()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert listed[0]["record"]["requestContext"]["condition"] == "RetriesExhausted"
        while await handler.failed():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_file_gets_one_line_for_each_record(app, clock, stream, tmp_path):
    path = tmp_path / "failed.jsonl"
    failing(app, on_failure=JSONLines(path), include_payload=True)
    async with app:
        await stream.put_many([(str(number), "k") for number in range(20)])
        await clock.advance(60)
    lines = path.read_text().splitlines()
    assert len([json.loads(line) for line in lines]) == 20


async def test_a_file_that_cannot_be_written_is_tried_again(app, clock, stream, tmp_path):
    folder = tmp_path / "gone for a while"
    folder.mkdir()
    handler = failing(app, on_failure=JSONLines(folder / "failed.jsonl"))
    folder.rmdir()
    async with app:
        await stream.put(1, "k")
        await clock.advance(1)
        [failure] = await handler.failed()
        assert "No such file" in failure["last_error"]
        folder.mkdir()
        await clock.advance(3600)
        assert await handler.failed() == []
    assert len((folder / "failed.jsonl").read_text().splitlines()) == 1


async def test_without_a_destination_the_failure_stays_listed(app, clock, stream):
    handler = failing(app)
    async with app:
        await stream.put(1, "k")
        await clock.advance(3600)
        [failure] = await handler.failed()
        assert await handler.failed(limit=1) == [failure]
    assert (failure["function"], failure["stream"], failure["destination"]) == ("handler", "numbers", None)


class Silent:
    def deliver(self, record):
        return None


@pytest.mark.parametrize("target", ["a queue", 1, Silent(), object()])
async def test_what_takes_no_records_is_refused(app, target):
    with pytest.raises(InvalidParameterValue, match="on_failure"):
        failing(app, on_failure=target)


async def test_a_function_is_no_destination_for_itself(app, stream):
    @app.function()
    async def handler(event, context):
        return None

    with pytest.raises(InvalidParameterValue, match="You can't specify the function as a destination for itself"):
        app.on_stream("numbers", on_failure=handler)(handler)


@pytest.mark.parametrize("limit", [0, 10_001, 1.5])
async def test_the_list_of_failures_has_its_bounds(app, stream, limit):
    handler = failing(app)
    async with app:
        with pytest.raises(InvalidParameterValue, match="limit"):
            await handler.failed(limit)
