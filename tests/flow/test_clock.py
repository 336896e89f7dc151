"""The virtual clock keeps its rules: nothing starts by itself, everything due happens, time waits for handlers."""

import asyncio
import threading

import pytest

from forebay import App, Backoff, Batch, ClockStalled, ForebayError, FunctionError, InvalidParameterValue
from forebay.testing import VirtualClock

ONCE = {"maximum_retry_attempts": 0}


def test_it_starts_with_2020_and_stands():
    clock = VirtualClock()
    assert (clock.time(), clock.monotonic()) == (1_577_836_800.0, 0.0)


async def test_a_put_resolves_at_once_and_starts_no_handler(app, clock, stream, seen):
    @app.on_stream("numbers")
    async def handler(batch: Batch, context):
        seen.take(batch)

    async with app:
        assert (await stream.put(1, "k")).isdecimal()
        for _ in range(10):
            await asyncio.sleep(0)
        assert seen.calls == []
        await clock.settle()
        assert seen.calls == [(0.0, [1])]


async def test_invoke_runs_its_handler_and_nothing_else(app, clock, stream, seen):
    @app.on_stream("numbers")
    async def handler(batch: Batch, context):
        seen.take(batch)

    @app.function()
    async def double(event, context):
        return event * 2

    async with app:
        await stream.put(1, "k")
        assert await double.invoke(21) == 42
        assert seen.calls == []


async def test_time_waits_for_the_tasks_that_a_handler_started(app, clock, stream):
    done = []

    async def child(number):
        await asyncio.sleep(0.001 * number)  # real time: the handler is at work
        await clock.sleep(number)
        done.append((number, clock.monotonic()))

    @app.on_stream("numbers", **ONCE)
    @app.function(timeout=100)
    async def handler(event, context):
        async with asyncio.TaskGroup() as group:
            for number in (1, 2, 3):
                group.create_task(child(number))
        await asyncio.gather(child(4), child(5))
        await asyncio.wait({asyncio.ensure_future(child(6))})
        await asyncio.wait_for(child(7), timeout=60)
        done.append(("end", clock.monotonic()))

    async with app:
        await stream.put(1, "k")
        await clock.advance(60)
    assert done == [(1, 1), (2, 2), (3, 3), (4, 7), (5, 8), (6, 14), (7, 21), ("end", 21)]


async def test_a_child_that_nobody_awaits_holds_time_too(app, clock, stream):
    done = []

    @app.on_stream("numbers", **ONCE)
    async def handler(event, context):
        async def child():
            await asyncio.sleep(0.02)
            done.append(clock.monotonic())

        task = asyncio.create_task(child())
        await clock.sleep(1)
        await task

    async with app:
        await stream.put(1, "k")
        await clock.advance(2)
    assert done == [0.0]


async def test_handlers_may_wait_for_each_other_through_a_lock(app, clock, stream):
    lock, order = asyncio.Lock(), []

    @app.on_stream("numbers", batch_size=1, parallelization_factor=10, **ONCE)
    @app.function(timeout=100)
    async def handler(event, context):
        async with lock:
            await clock.sleep(1)
            order.append(clock.monotonic())

    async with app:
        await stream.put_many([("1", f"k{number}") for number in range(5)])
        await clock.advance(10)
    assert order == [1.0, 2.0, 3.0, 4.0, 5.0]


async def test_a_thread_holds_time_until_it_has_ended(app, clock, stream):
    released, ended = threading.Event(), []

    @app.on_stream("numbers", **ONCE)
    @app.function(isolation="thread")
    def handler(event, context):
        released.wait(100)
        ended.append(clock.monotonic())

    async with app:
        await stream.put(1, "k")
        asyncio.get_running_loop().call_later(0.02, released.set)
        await clock.advance(2)
    assert ended == [0.0]


async def test_a_thread_that_waits_for_another_function_lets_time_move(app, clock, stream):
    answers = []

    @app.function(timeout=30)
    async def slow(event, context):
        await clock.sleep(5)
        return clock.monotonic()

    @app.on_stream("numbers", **ONCE)
    @app.function(timeout=30, isolation="thread")
    def handler(event, context):
        answers.append(slow.invoke_sync())

    async with app:
        await stream.put(1, "k")
        await clock.advance(10)
    assert answers == [5.0]


async def test_a_handler_that_hangs_is_named_after_the_stall(app, stream):
    clock = VirtualClock(stall=0.1)
    app = App("hangs", store=":memory:", clock=clock)
    stream, gate = app.stream("numbers", shards=1), asyncio.Event()

    @app.on_stream("numbers", **ONCE)
    async def stuck(event, context):
        await gate.wait()

    async with app:
        await stream.put(1, "k")
        with pytest.raises(ClockStalled, match=r"function 'stuck', request [0-9a-f-]{36} at .*locks\.py") as caught:
            await clock.advance(1)
        assert "0.1 real seconds" in str(caught.value)
        gate.set()


async def test_a_timeout_runs_on_the_virtual_clock(app, clock):
    cancelled = []

    @app.function(timeout=2)
    async def slow(event, context):
        try:
            await clock.sleep(10)
        except asyncio.CancelledError:
            cancelled.append(clock.monotonic())
            raise

    async with app:
        call = asyncio.create_task(slow.invoke())
        await clock.advance(5)
        with pytest.raises(FunctionError) as caught:
            await call
    assert cancelled == [2.0]
    assert caught.value.payload["errorType"] == "Sandbox.Timedout"
    assert caught.value.payload["errorMessage"].endswith("Error: Task timed out after 2.00 seconds")


async def test_a_task_that_swallows_its_cancellation_keeps_its_lane(app, clock, stream, seen):
    @app.on_stream("numbers", batch_size=1, **ONCE)
    @app.function(timeout=1)
    async def handler(batch: Batch, context):
        seen.take(batch)
        try:
            await clock.sleep(10)
        except asyncio.CancelledError:
            await clock.sleep(5)

    async with app:
        await stream.put_many([("1", "k"), ("2", "k")])
        await clock.advance(4)
        assert seen.data == [[1]]
        await clock.advance(4)
        assert seen.calls == [(0.0, [1]), (6.0, [2])]


async def test_stop_advances_by_itself_up_to_the_grace(app, clock, stream):
    ends = []

    @app.on_stream("numbers", **ONCE)
    @app.function(timeout=100)
    async def handler(event, context):
        try:
            await clock.sleep(20)
            ends.append("slept")
        except asyncio.CancelledError:
            ends.append("interrupted")
            raise

    await app.start()
    await stream.put(1, "k")
    await clock.settle()
    await app.stop(grace=30)
    assert ends == ["slept"]
    assert 20 <= clock.monotonic() < 21


async def test_stop_interrupts_what_outlasts_the_grace(app, clock, stream):
    ends = []

    @app.on_stream("numbers", **ONCE)
    @app.function(timeout=100)
    async def handler(event, context):
        try:
            await clock.sleep(50)
        except asyncio.CancelledError:
            ends.append("interrupted")
            raise

    await app.start()
    await stream.put(1, "k")
    await clock.settle()
    await app.stop(grace=30)
    assert (ends, clock.monotonic()) == (["interrupted"], 30.0)


async def test_a_jump_of_wall_time_moves_no_duration(app, clock, stream, seen):
    @app.on_stream("numbers", maximum_retry_attempts=1, retry_backoff=Backoff(base=10, cap=10, jitter=0))
    async def handler(batch: Batch, context):
        seen.take(batch)
        raise ValueError("no")

    async with app:
        await stream.put(1, "k")
        await clock.settle()
        clock.jump_wall(-3600)
        await clock.advance(20)
    assert seen.times == [0.0, 10.0]
    assert clock.time() == 1_577_836_800 - 3600 + 20


async def test_the_context_counts_the_remaining_time_on_the_virtual_clock(app, clock):
    left = []

    @app.function(timeout=10)
    async def handler(event, context):
        left.append(context.get_remaining_time_in_millis())
        await clock.sleep(4)
        left.append(context.get_remaining_time_in_millis())

    async with app:
        call = asyncio.create_task(handler.invoke())
        await clock.advance(5)
        await call
    assert left == [10_000, 6_000]


async def test_a_background_task_of_the_test_takes_part(app, clock, stream, seen):
    @app.on_stream("numbers", batch_size=1)
    async def handler(batch: Batch, context):
        seen.take(batch)

    async def producer():
        for number in range(3):
            await clock.sleep(10)
            await stream.put(number, "k")

    async with app:
        task = asyncio.create_task(producer())
        await clock.advance(60)
        await task
    assert seen.calls == [(10.0, [0]), (20.0, [1]), (30.0, [2])]


async def test_a_handler_may_not_move_the_clock(app, clock):
    @app.function()
    async def handler(event, context):
        await clock.advance(1)

    async with app:
        with pytest.raises(FunctionError, match="already being moved"):
            await handler.invoke()


async def test_the_loops_own_clock_is_not_touched(app, clock):
    async with app:
        await clock.advance(86_400 * 7)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.get_running_loop().create_future(), 0.01)


@pytest.mark.parametrize("seconds", [-1, float("nan"), "1"])
async def test_time_does_not_go_back(clock, seconds):
    with pytest.raises(InvalidParameterValue, match="seconds"):
        await clock.advance(seconds)


async def test_a_second_mover_is_refused(app, clock):
    async with app:
        first = asyncio.create_task(clock.advance(1))
        await asyncio.sleep(0)
        with pytest.raises(ForebayError, match="already being moved"):
            await clock.advance(1)
        await first


async def test_the_loop_gets_its_task_factory_back(app, clock):
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    async with app:
        assert loop.get_task_factory() is not before
    assert loop.get_task_factory() is before
