"""What waits for a place, or comes to a handler that is not here: its ages, its counts, its end."""

import asyncio

from forebay import AppClosed


async def test_records_that_wait_for_a_function_that_may_not_run_expire_at_their_age(app, clock):
    stream, done = app.stream("s", shards=1), []

    @app.on_stream("s", maximum_record_age=60)
    @app.function("f", reserved_concurrency=0)
    async def handler(event, context):
        done.append([record["kinesis"]["partitionKey"] for record in event["Records"]])

    async with app:
        await stream.put("old", "k1")
        await clock.advance(30)
        await stream.put("young", "k2")
        await clock.advance(29)
        assert await handler.failed() == []
        await clock.advance(2)
        [failure] = await handler.failed()
        assert failure["record"]["requestContext"]["condition"] == "RecordAgeExceeded"
        assert failure["record"]["KinesisBatchInfo"]["batchSize"] == 1
        await handler.update(reserved_concurrency=None)
        await clock.settle()
        assert done == [["k2"]]


async def test_work_that_finds_no_place_in_its_turn_counts_as_throttled(app, clock):
    began = []

    @app.function("f", reserved_concurrency=1)
    async def handler(event, context):
        began.append(clock.monotonic())
        await clock.sleep(1)

    async with app:
        for number in range(3):
            await handler.invoke_async(number)
        await clock.advance(10)
        assert began == [0, 1, 2]
        assert app.metrics.statistic("Throttles", "Sum", period=3600) == 2


async def test_work_for_a_handler_that_is_not_here_is_given_back_and_all_else_runs(app, clock):
    """The rest of the same exchange was never begun, and its places and lanes stayed held for ever."""

    @app.function("lost")
    async def lost(event, context):
        return "here all the same"

    @app.function("other")
    async def other(event, context):
        return event

    async with app:
        del app._running.runner._environments[0]
        refused, answer = await asyncio.gather(lost.invoke(), other.invoke(1), return_exceptions=True)
        assert isinstance(refused, AppClosed)
        assert answer == 1


async def test_what_is_left_of_a_batch_keeps_its_turn_when_its_old_records_have_expired(app, clock):
    stream, done = app.stream("s", shards=1), []

    @app.on_stream("s", maximum_record_age=60, parallelization_factor=10, maximum_batching_window=20)
    @app.function("f", reserved_concurrency=0)
    async def handler(event, context):
        done.append([record["kinesis"]["partitionKey"] for record in event["Records"]])
        await clock.sleep(1)

    async with app:
        await stream.put("old", "first")
        await clock.advance(5)
        await stream.put_many([("x", f"k{number}") for number in range(20)])
        await clock.advance(5)
        await stream.put("young", "first")
        await clock.advance(51)
        await handler.update(reserved_concurrency=1)
        await clock.settle()
        assert "first" in done[0]
        await clock.advance(30)
