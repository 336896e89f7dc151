"""`Function.invoke_async`: durable when it returns, tried as Lambda tries it, and never gone without a record."""

import asyncio
import uuid

import pytest

from forebay import AppClosed, Batch, FunctionError, InvalidParameterValue, RequestTooLarge, ResourceNotFound


class Flaky:
    """A handler that fails its first attempts, and remembers when it ran and for which request."""

    def __init__(self, app, clock, failures=0, takes=0.0, **options):
        self.runs = []
        self.requests = set()

        @app.function("flaky", **options)
        async def handler(event, context):
            self.runs.append((clock.monotonic(), event))
            self.requests.add(context.aws_request_id)
            if takes:
                await clock.sleep(takes)
            if len(self.runs) <= failures:
                raise ValueError(f"no {len(self.runs)}")
            return {"done": event}

        self.function = handler

    @property
    def times(self):
        start = self.runs[0][0]
        return [when - start for when, _ in self.runs]


async def test_an_event_runs_once_later_and_with_the_request_id_that_was_given(app, clock):
    flaky = Flaky(app, clock)
    async with app:
        request = await flaky.function.invoke_async({"n": 1})
        assert flaky.runs == [], "nothing starts before the clock is moved"
        await clock.settle()
        await clock.advance(30_000)
        assert await flaky.function.failed() == []
    assert [event for _, event in flaky.runs] == [{"n": 1}]
    assert flaky.requests == {request}
    assert uuid.UUID(request).version == 4


async def test_events_run_in_the_order_in_which_they_were_accepted(app, clock):
    flaky = Flaky(app, clock)
    async with app:
        for number in range(20):
            await flaky.function.invoke_async(number)
        await clock.settle()
    assert [event for _, event in flaky.runs] == list(range(20))


async def test_a_failing_event_is_tried_after_one_minute_and_two_more_and_then_listed(app, clock):
    flaky = Flaky(app, clock, failures=9)
    async with app:
        request = await flaky.function.invoke_async({"n": 1})
        await clock.advance(7_200)
        [failure] = await flaky.function.failed()
        assert await clock_is_quiet(clock, flaky)
    assert flaky.times == [0, 60, 180]
    assert flaky.requests == {request}
    record = failure["record"]
    assert record["requestContext"] == {
        "requestId": request,
        "functionArn": f"{flaky.function.arn}:$LATEST",
        "condition": "RetriesExhausted",
        "approximateInvokeCount": 3,
    }
    assert record["requestPayload"] == {"n": 1}
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}
    assert record["responsePayload"]["errorMessage"] == "no 3"
    assert record["responsePayload"]["requestId"] == request
    assert record["version"] == "1.0" and record["timestamp"] == "2020-01-01T00:03:00.000Z"
    assert (failure["function"], failure["stream"], failure["destination"]) == ("flaky", None, None)


async def clock_is_quiet(clock, flaky):
    runs = len(flaky.runs)
    await clock.advance(86_400)
    return len(flaky.runs) == runs


@pytest.mark.parametrize(
    ("options", "times", "condition"),
    [
        ({"maximum_retry_attempts": 0}, [0], "RetriesExhausted"),
        ({"maximum_retry_attempts": 1}, [0, 60], "RetriesExhausted"),
        ({"maximum_event_age": 60}, [0], "EventAgeExceeded"),
        ({"maximum_event_age": 90}, [0, 60], "EventAgeExceeded"),
        ({"retry_delays": [0.5, 1]}, [0, 0.5, 1.5], "RetriesExhausted"),
        ({"retry_delays": [2]}, [0, 2, 4], "RetriesExhausted"),
    ],
)
async def test_the_settings_say_how_often_and_for_how_long_an_event_is_tried(app, clock, options, times, condition):
    flaky = Flaky(app, clock, failures=9, **options)
    async with app:
        await flaky.function.invoke_async(1)
        await clock.advance(3_600)
        [failure] = await flaky.function.failed()
    assert flaky.times == times
    assert failure["record"]["requestContext"]["condition"] == condition
    assert failure["record"]["requestContext"]["approximateInvokeCount"] == len(times)


async def test_a_function_that_never_failed_has_nothing_to_redrive(app, clock):
    # It was told that no app which runs has the function, while this one did.
    flaky = Flaky(app, clock)
    async with app:
        assert await flaky.function.redrive() == 0
        with pytest.raises(ResourceNotFound, match="nothing that runs has the function"):
            await app._caller.ask("failed.redrive", function="unknown", ids=None)


async def test_a_started_attempt_has_the_functions_timeout_and_a_timeout_is_a_failed_attempt(app, clock):
    flaky = Flaky(app, clock, takes=10, timeout=2, maximum_retry_attempts=1)
    async with app:
        request = await flaky.function.invoke_async(1)
        await clock.advance(300)
        [failure] = await flaky.function.failed()
    assert flaky.times == [0, 62]
    assert failure["record"]["responsePayload"] == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {request} Error: Task timed out after 2.00 seconds",
    }


async def test_events_survive_a_restart_and_go_on_where_they_were(durable_app, clock):
    app = durable_app()
    flaky = Flaky(app, clock, failures=1)
    async with app:
        request = await flaky.function.invoke_async({"n": 1})
        await clock.advance(10)
        assert len(flaky.runs) == 1
    app = durable_app()
    flaky_again = Flaky(app, clock, failures=9)
    async with app:
        await clock.advance(49)
        assert flaky_again.runs == []
        await clock.advance(3_600)
        [failure] = await flaky_again.function.failed()
    assert flaky_again.requests == {request}
    assert flaky_again.times == [0, 120], "two of three attempts were left"
    assert failure["record"]["requestContext"]["approximateInvokeCount"] == 3


async def test_what_is_accepted_while_the_app_stops_runs_after_the_next_start(durable_app, clock):
    app = durable_app()
    flaky = Flaky(app, clock)

    @app.function()
    async def last(event, context):
        await clock.sleep(1)
        await flaky.function.invoke_async("from the last one")

    async with app:
        await last.invoke_async()
        await clock.settle()
    assert flaky.runs == []
    app = durable_app()
    flaky = Flaky(app, clock)
    async with app:
        await clock.settle()
    assert [event for _, event in flaky.runs] == ["from the last one"]


async def test_an_event_whose_function_is_gone_waits_for_it(durable_app, clock):
    app = durable_app()
    flaky = Flaky(app, clock, failures=1)
    async with app:
        await flaky.function.invoke_async(1)
        await clock.settle()
    async with durable_app():
        await clock.advance(3_600)
    app = durable_app()
    flaky = Flaky(app, clock)
    async with app:
        await clock.settle()
    assert [event for _, event in flaky.runs] == [1]


async def test_more_events_than_are_held_in_memory_all_run_once(app, clock):
    flaky = Flaky(app, clock)
    async with app:
        await asyncio.gather(*(flaky.function.invoke_async(number) for number in range(6_000)))
        await clock.settle()
    assert [event for _, event in flaky.runs] == list(range(6_000))


async def test_more_failing_events_than_are_held_in_memory_are_all_tried_again_and_listed(app, clock):
    flaky = Flaky(app, clock, failures=10**9, maximum_retry_attempts=1)
    async with app:
        await asyncio.gather(*(flaky.function.invoke_async(number) for number in range(5_000)))
        await clock.advance(120)
        failures = await flaky.function.failed(10_000)
    assert sorted(event for _, event in flaky.runs) == sorted([*range(5_000), *range(5_000)])
    assert sorted(failure["record"]["requestPayload"] for failure in failures) == list(range(5_000))


async def test_a_jump_of_the_wall_clock_makes_no_retry_earlier_or_later(app, clock):
    flaky = Flaky(app, clock, failures=9)
    async with app:
        await flaky.function.invoke_async(1)
        await clock.advance(10)
        clock.jump_wall(365 * 86_400)
        await clock.advance(40)
        assert flaky.times == [0]
        clock.jump_wall(-730 * 86_400)
        await clock.advance(300)
    assert flaky.times == [0, 60, 180]


async def test_a_plain_function_takes_events_and_gives_them_from_its_thread(app, clock):
    events = []

    @app.function(isolation="thread")
    def second(event, context):
        events.append(event)

    @app.function(isolation="thread")
    def first(event, context):
        assert len(second.invoke_async_sync({"from": event})) == 36

    async with app:
        await first.invoke_async("first")
        await clock.settle()
    assert events == [{"from": "first"}]


async def test_a_loop_of_functions_is_stopped_at_the_sixteenth_hop(app, clock):
    hops = []

    @app.function()
    async def loop(event, context):
        hops.append(event)
        await loop.invoke_async(event + 1)

    async with app:
        await loop.invoke_async(0)
        await clock.advance(60)
        [failure] = await loop.failed()
    assert hops == list(range(16))
    assert failure["record"]["requestContext"]["condition"] == "RecursiveInvocation"
    assert "responseContext" not in failure["record"] and "responsePayload" not in failure["record"]


async def test_a_failed_event_can_be_run_again_with_its_request_id(app, clock):
    flaky = Flaky(app, clock, failures=3)
    async with app:
        request = await flaky.function.invoke_async({"n": 1})
        await clock.advance(600)
        [failure] = await flaky.function.failed()
        assert await flaky.function.redrive([failure["id"]]) == 1
        assert await flaky.function.failed() == []
        await clock.settle()
    assert len(flaky.runs) == 4
    assert flaky.requests == {request}


async def test_redriven_events_come_at_the_rate_that_was_asked_for(app, clock):
    flaky = Flaky(app, clock, failures=5, maximum_retry_attempts=0)
    async with app:
        for number in range(5):
            await flaky.function.invoke_async(number)
        await clock.advance(1)
        assert await flaky.function.redrive(rate=2) == 5
        await clock.advance(60)
        assert await flaky.function.failed() == []
    again = [when for when, _ in flaky.runs[5:]]
    assert [when - again[0] for when in again] == [0, 0.5, 1, 1.5, 2]


async def test_what_is_listed_stays_for_two_weeks(app, clock):
    flaky = Flaky(app, clock, failures=1, maximum_retry_attempts=0)
    async with app:
        await flaky.function.invoke_async(1)
        await clock.advance(13.9 * 86_400)
        assert len(await flaky.function.failed()) == 1
        await clock.advance(0.3 * 86_400)
        assert await flaky.function.failed() == []


async def test_a_failure_that_does_not_exist_cannot_be_redriven(app, clock):
    flaky = Flaky(app, clock, failures=1, maximum_retry_attempts=0)
    async with app:
        await flaky.function.invoke_async(1)
        await clock.settle()
        [failure] = await flaky.function.failed()
        number, *rest = failure["id"].split("-")
        with pytest.raises(ResourceNotFound, match="no failure"):
            await flaky.function.redrive(["-".join([number, *rest[:-1], "999999"])])


async def test_a_handler_that_takes_a_batch_cannot_be_given_an_event(app, clock):
    @app.function(maximum_retry_attempts=0)
    async def handler(batch: Batch, context):
        raise AssertionError("never reached")

    async with app:
        await handler.invoke_async(1)
        await clock.settle()
        [failure] = await handler.failed()
    assert failure["record"]["responsePayload"]["errorType"] == "Runtime.UnmarshalError"


async def test_a_payload_has_a_mebibyte_at_most_and_is_json(app, clock):
    flaky = Flaky(app, clock)
    async with app:
        await flaky.function.invoke_async("x" * (1024 * 1024 - 2))
        with pytest.raises(
            RequestTooLarge,
            match=r"^1048577 byte payload is too large for the Event invocation type \(limit 1048576 bytes\)$",
        ):
            await flaky.function.invoke_async("x" * (1024 * 1024 - 1))
        with pytest.raises(InvalidParameterValue, match="any JSON value"):
            await flaky.function.invoke_async(b"bytes")
        await clock.settle()
    assert len(flaky.runs) == 1


async def test_an_app_that_does_not_run_accepts_nothing(app, clock):
    flaky = Flaky(app, clock)
    with pytest.raises(AppClosed):
        await flaky.function.invoke_async(1)


async def test_invoke_and_invoke_async_do_not_disturb_each_other(app, clock):
    flaky = Flaky(app, clock, failures=1, maximum_retry_attempts=0)
    async with app:
        with pytest.raises(FunctionError):
            await flaky.function.invoke(1)
        await flaky.function.invoke_async(2)
        assert await flaky.function.invoke(3) == {"done": 3}
        await clock.settle()
        assert await flaky.function.failed() == []
    assert [event for _, event in flaky.runs] == [1, 3, 2]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"maximum_retry_attempts": 3}, "maximum_retry_attempts=3: allowed are whole numbers from 0 to 2"),
        ({"maximum_retry_attempts": -1}, "maximum_retry_attempts=-1"),
        ({"maximum_event_age": 59}, "maximum_event_age=59: allowed are 60 to 21,600 seconds"),
        ({"maximum_event_age": 21_601}, "maximum_event_age=21601"),
        ({"retry_delays": []}, "retry_delays=.*: one delay or 2"),
        ({"retry_delays": [1, 2, 3]}, "retry_delays"),
        ({"retry_delays": [-1]}, "retry_delays=-1"),
        ({"retry_delays": "12"}, "retry_delays"),
        (
            {"on_success": "a queue"},
            "on_success='a queue': a function, an alias, a queue, a topic, a forebay.JSONLines",
        ),
        ({"on_failure": object()}, "on_failure="),
        ({"dead_letter_queue": 5}, "dead_letter_queue=5"),
    ],
)
def test_settings_outside_their_range_are_refused(app, options, text):
    with pytest.raises(InvalidParameterValue, match=text):

        @app.function(**options)
        async def handler(event, context):
            return None


async def test_an_event_that_waits_for_its_retry_is_told_with_its_last_error(app, clock):
    flaky = Flaky(app, clock, failures=1)
    async with app:
        request = await flaky.function.invoke_async({"n": 1})
        await clock.settle()
        told, page = [], {}
        while page is not None:
            life = await app._caller.ask("why", id=request, **page)
            told += life["kept"]
            page = {"cursor": life["cursor"]} if life["cursor"] is not None else None
        [event] = told
        assert (event["where"], event["function"], event["failures"]) == ("queue", "flaky", 1)
        assert event["due_ms"] - event["accepted_ms"] == 60_000
        assert "no 1" in event["last_error"]
