"""Mappings are held, moved, changed and skipped while they run."""

import asyncio

import pytest

from forebay import Backoff, Batch, InvalidParameterValue, ResourceNotFound

QUICK = Backoff(base=1, cap=1, jitter=0)


@pytest.fixture
def mapping(app, clock, stream, seen):
    bad = set()

    @app.on_stream("numbers", batch_size=1, retry_backoff=QUICK)
    async def handler(batch: Batch, context):
        seen.take(batch)
        if any(record.json() in bad for record in batch):
            raise ValueError("bad")

    seen.bad = bad
    return app.mappings[0]


async def test_a_paused_mapping_goes_on_where_it_stopped(app, clock, stream, seen, mapping):
    async with app:
        await stream.put(1, "k")
        await clock.settle()
        await mapping.pause()
        assert (await mapping.describe())["state"] == "Disabled"
        await stream.put(2, "k")
        await clock.advance(60)
        assert seen.data == [[1]]
        await mapping.resume()
        await clock.settle()
        assert seen.data == [[1], [2]]


async def test_seeking_the_horizon_runs_everything_again(app, clock, stream, seen, mapping):
    async with app:
        await stream.put_many([("1", "k"), ("2", "k")])
        await clock.settle()
        await mapping.seek("TRIM_HORIZON")
        await clock.settle()
    assert seen.data == [[1], [2], [1], [2]]


async def test_seeking_a_sequence_number_begins_with_that_record(app, clock, stream, seen, mapping):
    async with app:
        numbers = await stream.put_many([(str(number), "k") for number in range(4)])
        await clock.settle()
        await mapping.seek(sequence_number=numbers[2])
        await clock.settle()
    assert seen.data[4:] == [[2], [3]]


async def test_seeking_a_moment_begins_with_what_arrived_then(app, clock, stream, seen, mapping):
    async with app:
        for number in range(4):
            await stream.put(number, "k")
            await clock.advance(60)
        await mapping.seek(timestamp=1_577_836_800 + 120)
        await clock.settle()
    assert seen.data[4:] == [[2], [3]]


@pytest.mark.parametrize(
    "place",
    [
        {},
        {"position": "LATEST", "timestamp": 1},
        {"position": "AT_TIMESTAMP"},
        {"sequence_number": "x"},
        {"timestamp": -1},
    ],
)
async def test_a_place_that_is_none_is_refused(app, mapping, place):
    async with app:
        with pytest.raises(InvalidParameterValue):
            await mapping.seek(**place)


async def test_a_skipped_batch_is_listed_as_failed_and_its_lane_goes_on(app, clock, stream, seen, mapping):
    seen.bad.add(1)
    async with app:
        await stream.put_many([("1", "k"), ("2", "k")])
        await clock.settle()
        described = await mapping.describe()
        [lane] = described["shards"][0]["lanes"]
        assert (lane["state"], lane["records"]) == ("waiting", 2)
        await mapping.skip(lane["batch"])
        await clock.settle()
        [failure] = await mapping.function.failed()
    assert seen.data == [[1], [2]]
    assert failure["record"]["requestContext"]["condition"] == "Skipped"


async def test_a_batch_that_nobody_holds_cannot_be_skipped(app, mapping):
    async with app:
        with pytest.raises(ResourceNotFound):
            await mapping.skip("shardId-000000000000:10000000000000000000")
        with pytest.raises(InvalidParameterValue, match="as describe names it"):
            await mapping.skip("the first one")


async def test_an_updated_setting_applies_to_what_comes(app, clock, stream, seen, mapping):
    async with app:
        await mapping.update(batch_size=10, maximum_batching_window=5)
        await stream.put(1, "k")
        await stream.put(2, "k")
        await clock.advance(10)
        assert (await mapping.describe())["batch_size"] == 10
    assert seen.data == [[1, 2]]
    assert mapping.settings.batch_size == 10


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"starting_position": "LATEST"}, "seek"),
        ({"colour": "red"}, "no such setting"),
        ({"parallelization_factor": 2, "tumbling_window": 60}, "tumbling_window"),
    ],
)
async def test_a_wrong_update_changes_nothing(app, mapping, change, text):
    before = mapping.settings
    async with app:
        with pytest.raises(InvalidParameterValue, match=text):
            await mapping.update(**change)
        assert mapping.settings is before


async def test_reports_are_read_as_soon_as_an_update_says_so(app, clock, stream):
    calls = []

    @app.on_stream("numbers", retry_backoff=QUICK)
    async def handler(event, context):
        numbers = [record["kinesis"]["sequenceNumber"] for record in event["Records"]]
        calls.append(len(numbers))
        return {"batchItemFailures": [{"itemIdentifier": numbers[-1]}]} if len(calls) == 1 else None

    async with app:
        await app.mappings[0].update(report_batch_item_failures=True)
        await stream.put_many([("1", "k"), ("2", "k")])
        await clock.advance(5)
    assert calls == [2, 1]


async def test_a_deleted_mapping_begins_anew(app, clock, stream, seen, mapping):
    async with app:
        await stream.put(1, "k")
        await clock.settle()
        await mapping.delete()
        await stream.put(2, "k")
        await clock.advance(5)
        assert seen.data == [[1]]
        with pytest.raises(ResourceNotFound):
            await mapping.describe()


async def test_the_twins_do_the_same_from_a_thread(app, clock, stream, seen, mapping):
    async with app:
        await stream.put_many([("1", "k"), ("2", "k")])
        await clock.settle()

        def work():
            mapping.pause_sync()
            mapping.update_sync(batch_size=2)
            with pytest.raises(InvalidParameterValue, match="batch_size=0"):
                mapping.update_sync(batch_size=0)
            with pytest.raises(ResourceNotFound):
                mapping.skip_sync("shardId-000000000000:10000000000000000000")
            mapping.seek_sync("TRIM_HORIZON")
            return mapping.describe_sync()

        described = await asyncio.to_thread(work)
        assert (described["state"], described["batch_size"], mapping.settings.batch_size) == ("Disabled", 2, 2)
        await asyncio.to_thread(mapping.resume_sync)
        await clock.settle()
        assert seen.data == [[1], [2], [1, 2]]
        await asyncio.to_thread(mapping.delete_sync)
        with pytest.raises(ResourceNotFound):
            await mapping.describe()


async def test_order_holds_over_a_reshard(app, clock):
    stream, seen = app.stream("split", shards=2), {}

    @app.on_stream("split", batch_size=7, parallelization_factor=3)
    async def handler(batch: Batch, context):
        for record in batch:
            seen.setdefault(record.partition_key, []).append(record.json())
        await clock.sleep(1)

    async with app:
        for number in range(40):
            await stream.put_many([(str(number), f"k{key}") for key in range(10)])
            if number in {10, 25}:
                await stream.reshard({10: 5, 25: 1}[number])
        await clock.advance(600)
    assert seen == {f"k{key}": list(range(40)) for key in range(10)}


async def test_failures_are_redriven(app, clock, stream, seen, mapping):
    seen.bad.add(1)
    async with app:
        await mapping.update(maximum_retry_attempts=0)
        await stream.put(1, "k")
        await clock.settle()
        handler = mapping.function
        [failure] = await handler.failed()
        seen.bad.clear()
        assert await handler.redrive([failure["id"]]) == 1
        await clock.advance(5)
        assert await handler.failed() == []
    assert seen.data == [[1], [1]]
