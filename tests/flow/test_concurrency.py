"""Who may start when: the account's places, what functions reserve of them, growth, rates, and changes of them."""

import asyncio
from collections import Counter

import pytest

from forebay import App, Batch, InvalidParameterValue, ResourceNotFound, Scaling, TooManyRequests

ACCOUNT_FULL = "ConcurrentInvocationLimitExceeded"
RESERVED_FULL = "ReservedFunctionConcurrentInvocationLimitExceeded"
RATE = "FunctionInvocationRateLimitExceeded"
RESERVED_RATE = "ReservedFunctionInvocationRateLimitExceeded"


def sleeper(app, clock, name="f", takes=1.0, **options):
    """Declare a function that takes some time, and remember when its attempts began."""
    began = []

    @app.function(name, timeout=900, **options)
    async def handler(event, context):
        began.append(clock.monotonic())
        await clock.sleep(takes)
        return event

    handler.began = began
    return handler


async def invoke_many(clock, function, times):
    """Begin so many invocations at once; give their tasks."""
    calls = [asyncio.create_task(function.invoke(number)) for number in range(times)]
    await clock.settle()
    return calls


async def refusals(calls):
    """Say which of the calls that have ended were refused, and why."""
    errors = [call.exception() for call in calls if call.done()]
    return [(error.reason, error.retry_after) for error in errors if isinstance(error, TooManyRequests)]


async def end(calls, clock, after=1000):
    await clock.advance(after)
    return await asyncio.gather(*calls, return_exceptions=True)


# --- synchronous invocations


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (({"concurrency": 3}, {}), ACCOUNT_FULL),
        (({"concurrency": 9}, {"reserved_concurrency": 3}), RESERVED_FULL),
        (({"concurrency": 9}, {"reserved_concurrency": 0}), RESERVED_FULL),
        (({"concurrency": 3}, {"provisioned_concurrency": 2}), ACCOUNT_FULL),
        (({"concurrency": 9}, {"reserved_concurrency": 3, "provisioned_concurrency": 3}), RESERVED_FULL),
    ],
)
async def test_an_invocation_without_a_place_is_refused_with_the_limit_that_was_in_the_way(make, clock, limits, reason):
    account, function = limits
    app = make(**account)
    handler, times = sleeper(app, clock, **function), 5
    most = function.get("reserved_concurrency", account["concurrency"])
    async with app:
        calls = await invoke_many(clock, handler, times)
        assert await refusals(calls) == [(reason, 1.0)] * (times - most)
        assert len(handler.began) == most
        assert app.metrics.statistic("Throttles", "Sum") == times - most
        await end(calls, clock)
    with pytest.raises(TooManyRequests, match=r"^Rate Exceeded\.$"):
        calls[-1].result()


async def test_a_reservation_is_a_floor_that_others_cannot_take(make, clock):
    app = make(concurrency=4)
    other, kept = sleeper(app, clock, "other"), sleeper(app, clock, "kept", reserved_concurrency=2)
    async with app:
        calls = await invoke_many(clock, other, 4)
        assert await refusals(calls) == [(ACCOUNT_FULL, 1.0)] * 2
        calls += await invoke_many(clock, kept, 2)
        assert len(kept.began) == 2
        assert "forebay_claimed_concurrency 4" in app.metrics.page()
        await end(calls, clock)


async def test_provisioned_places_go_first_and_what_spills_over_is_counted(make, clock):
    app = make(concurrency=9)
    handler = sleeper(app, clock, provisioned_concurrency=2)
    async with app:
        calls = await invoke_many(clock, handler, 3)
        await clock.advance(0.5)
        text = app.metrics.page()
        assert 'forebay_provisioned_concurrency_utilization_ratio{function="f"} 1' in text
        assert "forebay_unreserved_concurrent_executions 1" in text
        assert "forebay_claimed_concurrency 3" in text
        await end(calls, clock)
        assert app.metrics.statistic("ProvisionedConcurrencyInvocations", "Sum", period=3600) == 2
        assert app.metrics.statistic("ProvisionedConcurrencySpilloverInvocations", "Sum", period=3600) == 1
        await handler.update(provisioned_concurrency=0)
        await end(await invoke_many(clock, handler, 3), clock)
        assert app.metrics.statistic("ProvisionedConcurrencySpilloverInvocations", "Sum", period=3600) == 1


@pytest.mark.parametrize(
    ("scaling", "began"),
    [
        ("2019", {0: 1000, 6: 50}),
        ("2023", {0: 1000, 6: 600}),
        (Scaling(burst=7, per_minute=10), {0: 7, 6: 1, 12: 1}),
    ],
)
async def test_concurrency_grows_as_fast_as_the_profile_says(make, clock, scaling, began):
    app = make(concurrency=60_000, scaling=scaling)
    handler = sleeper(app, clock, takes=100)
    async with app:
        calls = []
        for second in began:
            await clock.advance(second - clock.monotonic())
            calls += await invoke_many(clock, handler, 1700)
        assert Counter(handler.began) == began
        assert all(reason == RATE and 0 < after <= 6 for reason, after in await refusals(calls))
        await end(calls, clock)


async def test_a_burst_is_one_functions_or_the_whole_accounts(make, clock):
    for per_account, expected in ((False, [5, 5]), (True, [5, 0])):
        app = make(scaling=Scaling(burst=5, per_minute=1, per_account=per_account))
        functions = [sleeper(app, clock, name) for name in "ab"]
        async with app:
            calls = [call for function in functions for call in await invoke_many(clock, function, 8)]
            assert [len(function.began) for function in functions] == expected
            await end(calls, clock)


async def test_requests_are_limited_by_the_second_and_only_those_that_are_synchronous(make, clock):
    app = make(requests_per_second=2)
    handler = sleeper(app, clock, takes=0)
    async with app:
        for _ in range(3):
            await handler.invoke_async()
        calls = await invoke_many(clock, handler, 3)
        assert await refusals(calls) == [(RATE, 0.5)]
        assert len(handler.began) == 5
        await clock.advance(0.5)
        assert await refusals(await invoke_many(clock, handler, 1)) == []
        await end(calls, clock)


async def test_a_functions_rate_holds_for_all_that_starts_it(make, clock):
    app = make()
    handler = sleeper(app, clock, takes=0, rate_limit=2, reserved_concurrency=9)
    async with app:
        for _ in range(6):
            await handler.invoke_async()
        await clock.settle()
        calls = await invoke_many(clock, handler, 1)
        assert await refusals(calls) == [(RESERVED_RATE, 0.5)]
        await clock.advance(10)
        assert handler.began == [0, 0, 0.5, 1, 1.5, 2]


# --- what waits


async def test_a_function_that_is_switched_off_keeps_its_batches_and_ends_its_events(make, clock):
    app = make()
    stream, queue, done = app.stream("s", shards=1), app.queue("q"), []

    @app.on_stream("s")
    @app.on_queue("q")
    @app.function("f", reserved_concurrency=0)
    async def handler(event, context):
        done.append(event["Records"][0]["eventSource"])

    async with app:
        await handler.invoke_async()
        await stream.put(1, "k")
        await queue.send("m")
        await clock.advance(60)
        assert done == []
        assert queue.depth().visible == 1, "it was not received"
        [failure] = await handler.failed()
        record = failure["record"]
        assert record["requestContext"]["condition"] == "ZeroReservedConcurrency"
        assert record["requestContext"]["approximateInvokeCount"] == 0
        await handler.update(reserved_concurrency=None)
        await clock.settle()
        assert sorted(done) == ["aws:kinesis", "aws:sqs"]


async def test_a_throttled_event_waits_without_using_a_retry_and_ends_at_its_maximum_age(make, clock):
    app = make()
    handler = sleeper(app, clock, takes=50, reserved_concurrency=1, maximum_event_age=120)
    async with app:
        for number in range(4):
            await handler.invoke_async(number)
        await clock.advance(300)
        assert handler.began == [0, 50, 100]
        [failure] = await handler.failed()
        context = failure["record"]["requestContext"]
        assert (context["condition"], context["approximateInvokeCount"]) == ("EventAgeExceeded", 0)


async def test_a_handler_past_its_timeout_keeps_its_place_until_it_ends(make, clock):
    app = make(concurrency=1)
    release = asyncio.Event()

    @app.function(timeout=1)
    async def stubborn(event, context):
        while not release.is_set():
            try:
                await clock.sleep(5)
            except asyncio.CancelledError:
                continue

    async with app:
        [call] = await invoke_many(clock, stubborn, 1)
        await clock.advance(2)
        assert call.done()
        assert [reason for reason, _ in await refusals(await invoke_many(clock, stubborn, 1))] == [ACCOUNT_FULL]
        release.set()
        await clock.advance(5)
        assert await stubborn.invoke() is None
        call.exception()


async def test_mappings_of_one_function_take_its_only_place_in_turns(make, clock):
    app = make()
    stream, queue, order = app.stream("s", shards=1), app.queue("q"), []

    @app.on_stream("s", batch_size=1, parallelization_factor=10)
    @app.on_queue("q", batch_size=1)
    @app.function("f", reserved_concurrency=1)
    async def handler(event, context):
        order.append(event["Records"][0]["eventSource"])
        await clock.sleep(1)

    async with app:
        await stream.put_many([(number, f"key{number}") for number in range(40)])
        for _ in range(6):
            await queue.send("m")
        await clock.advance(13)
        assert Counter(order[1:13]) == {"aws:kinesis": 6, "aws:sqs": 6}
        await clock.advance(60)
        assert len(order) == 46


async def test_a_noisy_function_delays_another_by_no_more_than_one_turn(make, clock):
    app = make(concurrency=1)
    stream, quiet = app.stream("noise", shards=1), app.stream("quiet", shards=1)
    order = []

    @app.on_stream("noise", batch_size=1, parallelization_factor=10)
    async def noisy(batch: Batch, context):
        order.append("noisy")
        await clock.sleep(1)

    @app.on_stream("quiet", batch_size=1)
    async def other(batch: Batch, context):
        order.append("other")
        await clock.sleep(1)

    async with app:
        await stream.put_many([(number, f"key{number}") for number in range(50)])
        await clock.advance(5)
        await quiet.put(1, "k")
        await clock.advance(3)
        assert "other" in order[:8]
        await clock.advance(60)
        assert Counter(order) == {"noisy": 50, "other": 1}


# --- changes while it runs


async def test_limits_are_changed_while_the_app_runs(make, clock):
    app = make(concurrency=2)
    handler = sleeper(app, clock)
    async with app:
        calls = await invoke_many(clock, handler, 3)
        assert len(await refusals(calls)) == 1
        await app.update(concurrency=4)
        calls += await invoke_many(clock, handler, 3)
        assert len(await refusals(calls)) == 2
        await handler.update(reserved_concurrency=2)
        await clock.advance(1)
        calls += await invoke_many(clock, handler, 3)
        assert (await refusals(calls))[2:] == [(RESERVED_FULL, 1.0)]
        assert (app.settings.concurrency, handler.settings.reserved_concurrency) == (4, 2)
        await end(calls, clock)


async def test_limits_that_are_changed_at_once_are_all_in_the_settings(no_task_is_left):
    """The last to be answered left out what the others had changed meanwhile."""
    app = App("t", store=":memory:", concurrency=9, unreserved_minimum=0)
    handler = app.function(name="f", isolation="thread")(lambda event, context: event)
    async with app:
        await asyncio.gather(handler.update(reserved_concurrency=2), handler.update(rate_limit=7))
        await asyncio.gather(app.update(concurrency=8), app.update(requests_per_second=6))
        assert (handler.settings.reserved_concurrency, handler.settings.rate_limit) == (2, 7)
        assert (app.settings.concurrency, app.settings.requests_per_second) == (8, 6)


async def test_what_the_app_declares_applies_when_it_starts_next(make, clock):
    app = make(concurrency=9)
    handler = sleeper(app, clock, reserved_concurrency=5)
    async with app:
        await handler.update(reserved_concurrency=2, rate_limit=7)
        await app.update(concurrency=8)
    async with app:
        assert (app.settings.concurrency, handler.settings.reserved_concurrency, handler.settings.rate_limit) == (
            9,
            5,
            None,
        )
        [told] = await app._caller.ask("functions.list")
        assert (told["reserved_concurrency"], told["rate_limit"]) == (5, None)
        assert (await app._caller.ask("account.describe"))["concurrency"] == 9
    assert app.function("f", timeout=900, reserved_concurrency=5)(handler) is handler, "no other settings"


async def test_a_mapping_that_is_added_undoes_no_change_of_an_operator(make, clock):
    app = make(concurrency=9)
    handler = sleeper(app, clock, reserved_concurrency=5)
    app.stream("s", shards=1)
    async with app:
        await handler.update(reserved_concurrency=2)
        await app._caller.ask("function.update", name="f", reserved_concurrency=3)
        app.on_stream("s", report_batch_item_failures=True)(handler)
        await clock.settle()
        [told] = await app._caller.ask("functions.list")
        assert told["reserved_concurrency"] == 3


async def test_what_waits_starts_when_a_limit_is_raised(make, clock):
    app = make(concurrency=5)
    handler = sleeper(app, clock, takes=100, reserved_concurrency=1)
    async with app:
        for number in range(4):
            await handler.invoke_async(number)
        await clock.advance(1)
        await handler.update(reserved_concurrency=3)
        await clock.advance(1)
        assert handler.began == [0, 1, 1]
        await clock.advance(1000)


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        (
            {"reserved_concurrency": 10},
            (
                "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its "
                "minimum value of [3]."
            ),
        ),
        (
            {"reserved_concurrency": 1},
            " ReservedConcurrentExecutions  1 should not be lower than function's total provisioned concurrency [2].",
        ),
        ({"rate_limit": -1}, "rate_limit=-1: allowed are 1e-9 to 1e9 a second, or None"),
        ({"timeout": 3}, "timeout: there is no such setting; there are provisioned_concurrency, rate_limit, reserved"),
    ],
)
async def test_a_change_that_cannot_be_kept_is_refused_and_changes_nothing(make, clock, limits, text):
    app = make(concurrency=10, unreserved_minimum=3)
    handler = sleeper(app, clock, provisioned_concurrency=2)
    before = handler.settings
    async with app:
        with pytest.raises(InvalidParameterValue) as caught:
            await handler.update(**limits)
        assert text in str(caught.value)
        assert handler.settings == before
        with pytest.raises(
            InvalidParameterValue, match="functions have 2 reserved or provisioned; allowed are a concur"
        ):
            await app.update(concurrency=4)


async def test_a_declaration_that_is_refused_leaves_nothing_behind_and_the_others_are_told(make, clock):
    """Its name stayed, with nobody to run it: the next work for it took every other attempt of its exchange with it."""
    app = make(unreserved_minimum=100)
    sleeper(app, clock, "big")
    async with app:
        # An operator does it, unseen by the code.
        await app._caller.ask("function.update", name="big", reserved_concurrency=850)
        refused, other = sleeper(app, clock, "refused", reserved_concurrency=200), sleeper(app, clock, "other")
        with pytest.raises(InvalidParameterValue, match=r"^Specified ReservedConcurrentExecutions for function"):
            await refused.invoke()
        with pytest.raises(ResourceNotFound, match="refused"):
            await refused.invoke()
        assert await end(await invoke_many(clock, other, 1), clock) == [0]


@pytest.mark.parametrize(("given", "shown"), [(60_001, "60001"), (-1, "-1"), (1.5, "1.5"), (None, "null")])
async def test_provisioned_concurrency_outside_its_range_is_refused_from_the_command_line_too(
    make, clock, given, shown
):
    app = make()
    sleeper(app, clock)
    text = f"^provisioned_concurrency={shown}: allowed are whole numbers from 0 to 60,000$"
    async with app:
        with pytest.raises(InvalidParameterValue, match=text):
            await app._caller.ask("function.update", name="f", provisioned_concurrency=given)


async def test_what_is_declared_applies_again_at_the_next_start(durable_app, clock):
    for _ in range(2):
        app = durable_app()
        handler = sleeper(app, clock, reserved_concurrency=2)
        async with app:
            calls = await invoke_many(clock, handler, 3)
            assert len(await refusals(calls)) == 1
            await end(calls, clock)
            await handler.update(reserved_concurrency=1)


async def test_a_function_that_does_not_exist_cannot_be_limited(make, clock):
    app = make()
    async with app:
        with pytest.raises(ResourceNotFound, match="there is no function"):
            await app._caller.ask("function.update", name="nobody", rate_limit=1)
