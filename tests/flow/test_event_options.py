"""`Function.invoke_async` with a delay, a deduplication id or a result that is kept."""

import asyncio
import re
import subprocess
import sys
import threading
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from forebay import (
    App,
    FunctionError,
    InvalidParameterValue,
    RequestTooLarge,
    ResourceNotFound,
    ResultNotReady,
    TooManyRequests,
)

HOUR = 3_600
ROOT = Path(__file__).parents[2]


@pytest.fixture
def runs(app, clock):
    """A function `f` that remembers when it was given what, and fails on "bad"."""
    runs = []

    @app.function("f", maximum_retry_attempts=0)
    async def f(event, context):
        runs.append((round(clock.monotonic(), 3), event))
        if event == "bad":
            raise ValueError("no paper")
        if event == "large":
            return "x" * 2_000_000
        return {"got": event, "number": 2**70}

    return f, runs


def test_the_page_does_what_it_says(tmp_path):
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "events.md").read_text(), re.DOTALL)
    (tmp_path / "page.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False
    )
    assert (done.returncode, done.stdout) == (0, "{'reminded': 8}\n"), done.stderr


async def test_an_event_begins_when_it_is_due(app, clock, runs):
    f, seen = runs
    async with app:
        start = clock.monotonic()
        await f.invoke_async(1, delay=HOUR)
        await f.invoke_async(2, delay=timedelta(minutes=90))
        now = datetime.fromtimestamp(clock.time(), UTC)
        await f.invoke_async(3, at=now + timedelta(hours=2))
        await f.invoke_async(4, at=clock.time() + 3 * HOUR)
        await f.invoke_async(5, at=now - timedelta(days=1))
        await clock.settle()
        await clock.advance(4 * HOUR)
        await clock.settle()
        assert [(round(when - start), event) for when, event in seen] == [
            (0, 5),
            (HOUR, 1),
            (1.5 * HOUR, 2),
            (2 * HOUR, 3),
            (3 * HOUR, 4),
        ]


async def test_the_age_of_an_event_counts_from_when_it_is_due(app, clock):
    tried = []

    @app.function("late", maximum_event_age=120, maximum_retry_attempts=2)
    async def late(event, context):
        tried.append(clock.monotonic())
        raise ValueError("no")

    async with app:
        start = clock.monotonic()
        await late.invoke_async(1, delay=HOUR)
        await clock.advance(2 * HOUR)
        await clock.settle()
        assert [round(when - start) for when in tried] == [HOUR, HOUR + 60]
        [failure] = await late.failed()
        assert failure["record"]["requestContext"]["condition"] == "EventAgeExceeded"


async def test_options_that_make_no_sense_are_refused(app, clock, runs):
    f, _ = runs
    async with app:
        for options, told in [
            ({"delay": 1, "at": 1}, "not both"),
            ({"delay": -1}, r"0 to 31536000 seconds|0 to 31,536,000 seconds"),
            ({"delay": 366 * 86_400}, "seconds"),
            ({"at": datetime.fromtimestamp(0, UTC).replace(tzinfo=None)}, "time zone"),
            ({"at": clock.time() * 1000}, "365 days"),
            ({"deduplication_id": ""}, "1 to 128"),
            ({"deduplication_id": "x" * 129}, "1 to 128"),
            ({"deduplication_id": 7}, "1 to 128"),
            ({"deduplication_window": 60}, "deduplication_id"),
            ({"deduplication_id": "x", "deduplication_window": 0.5}, "1 to 86"),
            ({"deduplication_id": "x", "deduplication_window": 86_401}, "1 to 86"),
            ({"keep_result": 1}, "keep_result"),
        ]:
            with pytest.raises(InvalidParameterValue, match=told):
                await f.invoke_async(1, **options)
        plain = await f.invoke_async(1, deduplication_id="plain")
        with pytest.raises(InvalidParameterValue, match=f"keep_result: no result is kept of request {plain}"):
            await f.invoke_async(1, deduplication_id="plain", keep_result=True)
        with pytest.raises(InvalidParameterValue, match="wait"):
            await f.result(str(uuid.uuid4()), wait=86_401)
        with pytest.raises(InvalidParameterValue, match="request id"):
            await f.result("order-7")


async def test_one_event_is_accepted_for_an_id(app, clock, runs):
    f, seen = runs

    @app.function("g")
    async def g(event, context):
        seen.append((0, f"g{event}"))

    f.publish_version()
    live = app.alias("live", f, "1")
    async with app:
        first = await f.invoke_async(1, deduplication_id="order-7")
        assert await f.invoke_async(2, deduplication_id="order-7") == first
        assert await live.invoke_async(3, deduplication_id="order-7", delay=60) == first, "over all versions"
        assert await g.invoke_async(4, deduplication_id="order-7") != first
        day = await f.invoke_async(5, deduplication_id="day", deduplication_window=timedelta(days=1))
        await clock.advance(299)
        await clock.settle()
        assert await f.invoke_async(6, deduplication_id="order-7") == first
        await clock.advance(2)
        assert await f.invoke_async(7, deduplication_id="order-7") != first
        await clock.advance(23 * HOUR)
        assert await f.invoke_async(8, deduplication_id="day") == day
        await clock.settle()
        assert sorted(str(event) for _, event in seen) == ["1", "5", "7", "g4"]


async def test_the_result_of_an_event_is_told(app, clock, runs):
    f, _ = runs
    f.publish_version()
    live = app.alias("live", f, "1")
    async with app:
        good = await f.invoke_async({"a": 1}, keep_result=True)
        bad = await live.invoke_async("bad", keep_result=True)
        large = await f.invoke_async("large", keep_result=True)
        plain = await f.invoke_async(1)
        with pytest.raises(ResultNotReady, match=good):
            await f.result(good)
        await clock.settle()
        assert await f.result(good) == {"got": {"a": 1}, "number": 2**70}
        with pytest.raises(FunctionError, match="ValueError: no paper") as failed:
            await live.result(bad)
        assert failed.value.payload["errorType"] == "ValueError"
        assert (failed.value.condition, failed.value.executed_version) == ("RetriesExhausted", "1")
        with pytest.raises(RequestTooLarge, match="2000002 bytes"):
            await f.result(large)
        for unknown in (plain, str(uuid.uuid4())):
            with pytest.raises(ResourceNotFound, match="keep_result"):
                await f.result(unknown)
        await clock.advance(86_400 + 60)
        with pytest.raises(ResourceNotFound, match="over a day ago"):
            await f.result(good)


async def test_whoever_waits_is_woken_by_the_end(app, clock, runs):
    f, _ = runs
    async with app:
        request = await f.invoke_async(1, delay=60, keep_result=True)
        short = asyncio.create_task(f.result(request, wait=30))
        long = [asyncio.create_task(f.result(request, wait=timedelta(minutes=2))) for _ in range(3)]
        await clock.settle()
        await clock.advance(59)
        await clock.settle()
        with pytest.raises(ResultNotReady):
            await short
        with pytest.raises(TimeoutError):
            await f.result(request)
        assert not any(one.done() for one in long)
        await clock.advance(1)
        await clock.settle()
        assert [(await one)["got"] for one in long] == [1, 1, 1]


async def test_calls_that_were_cancelled_soon_take_no_place_among_those_that_wait(app, clock, runs):
    """They had it until their wait was over, up to a day."""
    f, _ = runs
    async with app:
        request = await f.invoke_async(1, delay=2 * HOUR, keep_result=True)
        waiting = [asyncio.create_task(f.result(request, wait=HOUR)) for _ in range(10_000)]
        await clock.settle()
        with pytest.raises(TooManyRequests, match="10000 calls wait"):
            await f.result(request, wait=HOUR)
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await clock.advance(20)
        late = asyncio.create_task(f.result(request, wait=3 * HOUR))
        await clock.settle()
        await clock.advance(2 * HOUR)
        await clock.settle()
        assert (await late)["got"] == 1


async def test_what_never_ran_has_the_reason_for_its_error(app, clock):
    @app.function("off", reserved_concurrency=0)
    async def off(event, context):
        pass

    async with app:
        request = await off.invoke_async(1, keep_result=True)
        with pytest.raises(FunctionError, match="ZeroReservedConcurrency") as failed:
            await off.result(request, wait=10)
        assert failed.value.payload["requestId"] == request


def test_a_restart_keeps_delays_ids_and_results(store):
    """Over real time: the app stops while one event waits."""
    seen = []

    def app():
        app = App("shop", store=store)

        @app.function("f")
        async def f(event, context):
            seen.append(event)
            return event

        return app, f

    async def first():
        one, f = app()
        async with one:
            ended = await f.invoke_async(1, keep_result=True, deduplication_id="a")
            assert await f.result(ended, wait=10) == 1
            return ended, await f.invoke_async(2, delay=1, keep_result=True)

    async def second(ended, open_):
        one, f = app()
        async with one:
            assert await f.result(ended) == 1
            assert await f.invoke_async(3, deduplication_id="a") == ended
            answer = []
            thread = threading.Thread(target=lambda: answer.append(f.result_sync(open_, wait=20)))
            thread.start()
            await asyncio.to_thread(thread.join)
            assert answer == [2]
            late = await asyncio.to_thread(lambda: f.invoke_async_sync(4, delay=0.01, keep_result=True))
            assert await f.result(late, wait=10) == 4

    asyncio.run(second(*asyncio.run(first())))
    assert seen == [1, 2, 4]


def test_a_client_asks_through_the_socket(store):
    async def run():
        owner = App("shop", store=store)

        @owner.function("f")
        async def f(event, context):
            return event

        client = App("shop", store=store, serve=False)

        @client.function("f")
        async def theirs(event, context):
            raise AssertionError("a client runs nothing")

        async with owner, client:
            request = await theirs.invoke_async({"n": 2**70}, delay=0.2, deduplication_id="a", keep_result=True)
            assert await theirs.invoke_async(2, deduplication_id="a") == request
            assert await theirs.result(request, wait=20) == {"n": 2**70}
            assert await f.result(request) == {"n": 2**70}

    asyncio.run(run())
