"""`app.metrics`: any statistic of any metric, as its user asks for it."""

import asyncio
import subprocess
import sys
import threading

import pytest

from forebay import App, AppClosed, InvalidParameterValue
from forebay.metrics import Point

USUAL = [120, 190, 200, 250, 300, 330, 370, 420, 530, 700]
ONE_IS_STUCK = [*USUAL[:-1], 60_000]


async def run_for(app, clock, milliseconds):
    """Run a function once for each number of milliseconds of virtual time."""

    @app.function(timeout=120)
    async def handler(event, context):
        await clock.sleep(event / 1000)

    async with app:
        invocations = [asyncio.ensure_future(handler.invoke(duration)) for duration in milliseconds]
        await clock.advance(61)
        await asyncio.gather(*invocations)
        yield


@pytest.mark.parametrize(("durations", "mean"), [(USUAL, 341), (ONE_IS_STUCK, 6271)])
async def test_a_stuck_invocation_moves_the_mean_and_not_the_ninetieth_percentile(app, clock, durations, mean):
    async for _ in run_for(app, clock, durations):
        ask = app.metrics.statistic
        assert ask("Duration", "p90", period=120) == 530
        assert ask("Duration", "Average", period=120) == pytest.approx(mean, rel=1e-9)
        assert ask("Duration", "Maximum", period=120) == durations[-1]
        assert ask("Duration", "SampleCount", period=120) == 10
        assert ask("Duration", "p50", period=120, function="handler") == 300
        assert ask("Duration", "PR(:330)", period=120) == 60
        assert ask("Duration", "IQM", period=120) == pytest.approx(
            (0.5 * 200 + 250 + 300 + 330 + 370 + 0.5 * 420) / 5, rel=0.001
        )
        assert ask("forebay_invocation_duration_seconds", "p90", period=120) == 0.53
        assert ask("Invocations", "Sum", period=120) == 10
        assert ask("Errors", "Sum", period=120) is None


async def test_a_series_has_a_point_for_each_minute_in_which_something_happened(app, clock):
    @app.function()
    async def handler(event, context):
        return event

    async with app:
        begun = clock.time()
        for count in (2, 0, 3):
            for _ in range(count):
                await handler.invoke(None)
            await clock.advance(60)
        series = app.metrics.series("Invocations", "Sum", since=600)
        assert series == [Point(begun, 2.0), Point(begun + 120, 3.0)]
        assert app.metrics.series("Invocations", "Sum", period=300, since=600) == [Point(begun, 5.0)]
        assert app.metrics.series("Invocations", "Sum", period=1, since=30) == []
        assert app.metrics.series("Invocations", "Sum", function="another") == []


async def test_minutes_are_kept_over_a_restart(tmp_path, clock, no_task_is_left):
    for _ in range(2):
        app = App("kept", store=tmp_path / "data", clock=clock)

        @app.function()
        async def handler(event, context):
            return event

        async with app:
            await handler.invoke(None)
            await clock.advance(60)
            counts = [point.value for point in app.metrics.series("Invocations", "Sum", since=600)]
    assert counts == [1.0, 1.0]


async def test_it_may_be_asked_on_the_loop_in_a_thread_and_in_a_client(tmp_path, no_task_is_left):
    owner = App("owner", store=tmp_path / "data")
    client = App("client", store=tmp_path / "data", store_app="owner", serve=False)
    asked = "forebay_invocations_total"

    @owner.function()
    async def handler(event, context):
        return event

    async with owner, client:
        await handler.invoke(None)
        for app in (owner, client):
            assert app.metrics.statistic(asked, "Sum", function="handler") == 1
            assert await asyncio.to_thread(app.metrics.statistic, asked, "Sum") == 1
        assert [point.value for point in await asyncio.to_thread(client.metrics.series, asked, "Sum")] == [1.0]


async def test_another_process_is_answered_by_the_owner(tmp_path, no_task_is_left):
    owner = App("owner", store=tmp_path / "data")

    @owner.function()
    async def handler(event, context):
        return event

    script = f"""
import asyncio, forebay
async def main():
    async with forebay.App("client", store={str(tmp_path / "data")!r}, store_app="owner", serve=False) as app:
        print(app.metrics.statistic("Invocations", "Sum"))
asyncio.run(main())
"""
    async with owner:
        await handler.invoke(None)
        command = [sys.executable, "-W", "ignore", "-c", script]
        answer = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
    assert answer.stdout == "1.0\n"


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (("Durations", "p90", {}), "did you mean Duration"),
        (("forebay_invocation_total", "Sum", {}), "did you mean forebay_invocations_total"),
        (("zzzzzzzzzzzzzzz", "Sum", {}), "`forebay metrics list` names what there is"),
        (("Duration", "avg", {}), 'there is no statistic "avg"'),
        (("Duration", "Averag", {}), "did you mean Average"),
        (("Duration", "p101", {}), 'there is no statistic "p101"'),
        (("Duration", "p-1", {}), "there is no statistic"),
        (("Duration", "p90", {"period": 61}), "try 60 or 120"),
        (("Duration", "p90", {"period": 7}), "try 5 or 10"),
        (("Duration", "p90", {"period": 0.5}), "period=0.5"),
        (("Duration", "p90", {"period": 1.5}), "multiples of 60"),
        (("Duration", "p90", {"period": 0}), "period=0"),
        (("Duration", "p90", {"period": -60}), "period=-60"),
        (("Duration", "p90", {"period": float("nan")}), "period=nan"),
        (("Duration", "p90", {"period": float("inf")}), "period=inf"),
        (("Duration", "p90", {"funktion": "handler"}), 'has no label "funktion": it has function'),
        (("Duration", "p90", {"function": 3}), "function=3: it must be a str"),
        ((7, "p90", {}), "name=7: it must be a str"),
    ],
)
async def test_what_does_not_exist_is_refused_with_what_is_near(app, call, why):
    name, statistic, options = call
    async with app:
        with pytest.raises(InvalidParameterValue) as refused:
            app.metrics.statistic(name, statistic, **options)
        assert why in str(refused.value)
        with pytest.raises(InvalidParameterValue):
            app.metrics.series(name, statistic, **options)


async def test_too_many_points_are_refused_as_cloudwatch_does(app):
    async with app:
        with pytest.raises(InvalidParameterValue, match="exceeds the limit of 1,440"):
            app.metrics.series("Duration", "p90", period=1, since=86_400)


def test_an_app_that_does_not_run_has_no_metrics():
    app = App("still", store=":memory:")
    with pytest.raises(AppClosed):
        app.metrics.statistic("Duration", "p90")


async def test_handlers_in_threads_may_ask_too(tmp_path, no_task_is_left):
    app = App("asks", store=":memory:")

    @app.function(name="asks", isolation="thread")
    def asks(event, context):
        return [app.metrics.statistic("ConcurrentExecutions", "Maximum", period=1), threading.current_thread().name]

    async with app:
        level, thread = await asks.invoke(None)
    assert level == 1
    assert thread.startswith("forebay-handler")
