"""Every option of a mapping does what it says."""

import json
from datetime import UTC, datetime

import pytest

from forebay import Backoff, Batch, InvalidParameterValue

QUICK = Backoff(base=1, cap=30, jitter=0)


def key_of_lane(lanes):
    """Give, for each lane, a key that falls into it, found by what the engine itself does with keys."""
    import hashlib

    found = {}
    for number in range(1000):
        key = f"k{number}"
        digest = hashlib.md5(key.encode(), usedforsecurity=False).digest()
        found.setdefault(int.from_bytes(digest[12:]) % lanes, key)
        if len(found) == lanes:
            return [found[lane] for lane in range(lanes)]
    raise AssertionError


async def put(stream, *numbers, key="k"):
    await stream.put_many([(json.dumps(number), key) for number in numbers])


async def test_batch_size_cuts_batches(app, clock, stream, seen):
    @app.on_stream("numbers", batch_size=3)
    async def handler(batch: Batch, context):
        seen.take(batch)

    async with app:
        await put(stream, *range(7))
        await clock.settle()
    assert seen.data == [[0, 1, 2], [3, 4, 5], [6]]


async def test_a_batching_window_gathers_records_until_it_ends(app, clock, stream, seen):
    @app.on_stream("numbers", batch_size=100, maximum_batching_window=10)
    async def handler(batch: Batch, context):
        seen.take(batch)

    async with app:
        await put(stream, 1)
        await clock.advance(4)
        await put(stream, 2)
        await clock.advance(5.9)
        assert seen.calls == []
        await clock.advance(0.2)
    assert seen.calls == [(10.0, [1, 2])]


async def test_a_batching_window_ends_early_when_the_batch_is_full(app, clock, stream, seen):
    @app.on_stream("numbers", batch_size=2, maximum_batching_window=300)
    async def handler(batch: Batch, context):
        seen.take(batch)

    async with app:
        await put(stream, 1, 2)
        await clock.settle()
        assert seen.calls == [(0.0, [1, 2])]


@pytest.mark.parametrize("expected", [{"TRIM_HORIZON": [1, 2]}, {"LATEST": [2]}])
async def test_the_starting_position_is_fixed_when_the_mapping_is_first_seen(app, clock, stream, seen, expected):
    [(position, numbers)] = expected.items()
    async with app:
        await put(stream, 1)

        @app.on_stream("numbers", starting_position=position)
        async def handler(batch: Batch, context):
            seen.take(batch)

        await put(stream, 2)
        await clock.settle()
    assert [number for data in seen.data for number in data] == numbers


async def test_a_timestamp_starts_with_the_first_record_that_arrived_then_or_later(app, clock, stream, seen):
    async with app:
        for number in range(5):
            await put(stream, number)
            await clock.advance(60)
        begin = datetime(2020, 1, 1, 0, 2, 30, tzinfo=UTC)

        @app.on_stream("numbers", starting_position="AT_TIMESTAMP", starting_position_timestamp=begin)
        async def handler(batch: Batch, context):
            seen.take(batch)

        await clock.settle()
    assert seen.data == [[3, 4]]


async def test_the_parallelization_factor_runs_lanes_side_by_side_and_keeps_order_within_a_key(app, clock, stream):
    events = []
    first, second = key_of_lane(2)

    @app.on_stream("numbers", batch_size=1, parallelization_factor=2)
    async def handler(batch: Batch, context):
        [record] = batch
        events.append((clock.monotonic(), record.partition_key, record.json()))
        await clock.sleep(1)

    async with app:
        for number in range(3):
            await put(stream, number, key=first)
            await put(stream, number, key=second)
        await clock.advance(10)
    assert sorted(events) == sorted((float(n), key, n) for n in range(3) for key in (first, second))


async def test_a_failing_lane_stops_only_itself(app, clock, stream):
    done = []
    bad, good = key_of_lane(2)

    @app.on_stream("numbers", batch_size=1, parallelization_factor=2, retry_backoff=QUICK)
    async def handler(batch: Batch, context):
        [record] = batch
        if record.partition_key == bad:
            raise ValueError("bad")
        done.append(record.json())

    async with app:
        await put(stream, 0, key=bad)
        await put(stream, *range(5), key=good)
        await clock.advance(3)
    assert done == [0, 1, 2, 3, 4]


async def test_one_batch_is_tried_once_more_than_the_retries_and_then_listed(app, clock, stream, seen):
    @app.on_stream("numbers", maximum_retry_attempts=2, retry_backoff=QUICK)
    async def handler(batch: Batch, context):
        seen.take(batch)
        raise ValueError("no")

    async with app:
        await put(stream, 1, 2)
        await clock.advance(100)
        [failure] = await handler.failed()
    assert seen.calls == [(0.0, [1, 2]), (1.0, [1, 2]), (3.0, [1, 2])]
    record = failure["record"]
    assert record["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert record["KinesisBatchInfo"]["batchSize"] == 2
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}


async def test_no_retry_at_all_is_possible(app, clock, stream, seen):
    @app.on_stream("numbers", maximum_retry_attempts=0)
    async def handler(batch: Batch, context):
        seen.take(batch)
        raise ValueError("no")

    async with app:
        await put(stream, 1)
        await clock.advance(1000)
        assert len(await handler.failed()) == 1
    assert len(seen.calls) == 1


async def test_retries_for_ever_end_when_the_record_is_too_old(app, clock, stream, seen):
    backoff = Backoff(base=10, cap=10, jitter=0)

    @app.on_stream("numbers", maximum_retry_attempts=-1, maximum_record_age=60, retry_backoff=backoff)
    async def handler(batch: Batch, context):
        seen.take(batch)
        raise ValueError("no")

    async with app:
        await put(stream, 1)
        await clock.advance(600)
        [failure] = await handler.failed()
    assert failure["record"]["requestContext"]["condition"] == "RecordAgeExceeded"
    assert "responseContext" not in failure["record"]
    assert max(seen.times) <= 60


async def test_a_bisected_batch_leaves_its_one_bad_record_alone(app, clock, stream):
    done = []

    @app.on_stream("numbers", bisect_batch_on_function_error=True, maximum_retry_attempts=1, retry_backoff=QUICK)
    async def handler(batch: Batch, context):
        numbers = [record.json() for record in batch]
        if 5 in numbers:
            raise ValueError("five")
        done.extend(numbers)

    async with app:
        await put(stream, *range(8))
        await clock.advance(600)
        [failure] = await handler.failed()
    assert done == [0, 1, 2, 3, 4, 6, 7]
    assert failure["record"]["KinesisBatchInfo"]["batchSize"] == 1


async def test_a_reported_failure_is_retried_from_there_on(app, clock, stream, seen):
    @app.on_stream("numbers", report_batch_item_failures=True, retry_backoff=QUICK)
    async def handler(batch: Batch, context):
        seen.take(batch)
        for record in batch:
            if record.json() == 2 and clock.monotonic() == 0:
                batch.fail(record)

    async with app:
        await put(stream, 0, 1, 2, 3)
        await clock.advance(10)
    assert seen.data == [[0, 1, 2, 3], [2, 3]]


async def test_an_event_handler_reports_by_its_response(app, clock, stream):
    calls = []

    @app.on_stream("numbers", report_batch_item_failures=True, retry_backoff=QUICK)
    async def handler(event, context):
        numbers = [record["kinesis"]["sequenceNumber"] for record in event["Records"]]
        calls.append(len(numbers))
        return {"batchItemFailures": [{"itemIdentifier": numbers[1]}]} if len(calls) == 1 else None

    async with app:
        await put(stream, 0, 1, 2)
        await clock.advance(10)
    assert calls == [3, 2]


async def test_failing_an_item_of_a_mapping_that_reads_no_reports_fails_the_batch(app, clock, stream, seen):
    @app.on_stream("numbers", maximum_retry_attempts=0)
    async def handler(batch: Batch, context):
        seen.take(batch)
        batch.fail(batch[0])

    async with app:
        await put(stream, 0)
        await clock.settle()
        [failure] = await handler.failed()
    assert "report_batch_item_failures" in failure["last_error"]


async def test_filters_let_matching_records_through_and_pass_over_the_rest(app, clock, stream, seen):
    patterns = [{"data": {"kind": ["a"]}}, '{"data": {"kind": [{"wildcard": "b*z"}]}}']

    @app.on_stream("numbers", filters=patterns)
    async def handler(batch: Batch, context):
        seen.take(batch)

    async with app:
        await put(stream, *({"kind": kind} for kind in ("a", "b", "buzz", "c")), "no object")
        await clock.settle()
        assert (await app.mappings[0].describe())["shards"][0]["records"] == 0
    assert seen.data == [[{"kind": "a"}, {"kind": "buzz"}]]


async def test_tumbling_windows_carry_their_state(app, clock, stream):
    sums = []

    @app.on_stream("numbers", tumbling_window=60)
    async def handler(event, context):
        total = event["state"].get("total", 0) + len(event["Records"])
        if event["isFinalInvokeForWindow"]:
            sums.append(event["state"].get("total", 0) + len(event["Records"]))
        return {"state": {"total": total}}

    async with app:
        for _ in range(4):
            await put(stream, 1, 2)
            await clock.advance(30)
        await clock.advance(300)
    assert sums == [4, 4]


async def test_a_batch_has_its_window_and_its_state_too(app, clock, stream):
    windows = []

    @app.on_stream("numbers", tumbling_window=60)
    async def handler(batch: Batch, context):
        windows.append((batch.window["end"] - batch.window["start"], batch.window["is_final"], len(batch), batch.state))
        assert not batch.window["is_terminated_early"]
        return {"state": {"total": batch.state.get("total", 0) + len(batch)}}

    async with app:
        await put(stream, 1, 2)
        await clock.advance(300)
    assert windows == [(60, False, 2, {}), (60, True, 0, {"total": 2})]


async def test_a_batch_is_told_in_a_line_and_takes_only_what_is_in_it(app, clock, stream):
    batches = []

    @app.on_stream("numbers", batch_size=2)
    async def handler(batch: Batch, context):
        batches.append(batch)

    async with app:
        await put(stream, 1, 2, 3)
        await clock.settle()
    first, second = batches
    assert (first.window, first.state, first.queue) == (None, None, None)
    assert repr(first) == "<Batch of 2 records of numbers shardId-000000000000>"
    assert repr(first[-1]) == f'<Record {first[1].sequence_number} key="k" 1 bytes>'
    assert first[0].approximate_arrival_timestamp == pytest.approx(clock.time(), abs=0.01)
    with pytest.raises(IndexError, match="a batch of 2 has no item 2"):
        first[2]
    with pytest.raises(ValueError, match=f"{second[0].sequence_number} is not in this batch"):
        first.fail(second[0])
    assert first.failures == []


async def test_a_disabled_mapping_begins_when_it_is_resumed(app, clock, stream, seen):
    @app.on_stream("numbers", enabled=False)
    async def handler(batch: Batch, context):
        seen.take(batch)

    async with app:
        await put(stream, 1)
        await clock.advance(60)
        assert seen.calls == []
        await app.mappings[0].resume()
        await clock.settle()
    assert seen.data == [[1]]


async def test_the_payload_is_in_the_failure_record_where_it_is_asked_for(app, clock, stream):
    @app.on_stream("numbers", maximum_retry_attempts=0, include_payload=True)
    async def handler(event, context):
        raise ValueError("no")

    async with app:
        await put(stream, 41)
        await clock.settle()
        [failure] = await handler.failed()
    payload = failure["record"]["payload"]
    event = json.loads(payload) if isinstance(payload, str) else payload
    assert event["Records"][0]["kinesis"]["partitionKey"] == "k"


async def test_the_same_seed_gives_the_same_jitter(app, clock, stream, seen):
    @app.on_stream("numbers", maximum_retry_attempts=5, retry_backoff=Backoff(base=1, cap=30, jitter=0.5))
    async def handler(batch: Batch, context):
        seen.take(batch)
        raise ValueError("no")

    async with app:
        await put(stream, 1)
        await clock.advance(600)
    waits = [after - before for before, after in zip(seen.times, seen.times[1:], strict=False)]
    assert all(0.5 * 2**n <= wait <= 1.5 * 2**n for n, wait in enumerate(waits))
    assert waits != [2.0**n for n in range(5)]


async def test_a_tumbling_window_refuses_more_than_one_lane(app):
    with pytest.raises(InvalidParameterValue, match="parallelization_factor=2"):
        app.on_stream("numbers", tumbling_window=60, parallelization_factor=2)
