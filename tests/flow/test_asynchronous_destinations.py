"""What became of an asynchronous event is told where its function says: once here, until it is confirmed elsewhere."""

import json

import pytest

from forebay import App, InvalidParameterValue, JSONLines


class Collector:
    """A destination that refuses its first deliveries."""

    def __init__(self, clock, refusals=0):
        self.clock = clock
        self.refusals = refusals
        self.records = []
        self.tries = []

    async def deliver(self, record):
        self.tries.append(self.clock.monotonic())
        if len(self.tries) <= self.refusals:
            raise ConnectionError("not now")
        self.records.append(record)


def working(app, **options):
    @app.function("working", **options)
    async def handler(event, context):
        return {"got": event}

    return handler


def failing(app, **options):
    @app.function("failing", maximum_retry_attempts=0, **options)
    async def handler(event, context):
        raise ValueError("no")

    return handler


def recording(app, name="recording"):
    records = []

    @app.function(name)
    async def handler(record, context):
        records.append(record)

    return handler, records


async def test_a_success_is_told_with_exactly_lambdas_record(app, clock):
    target, records = recording(app)
    function = working(app, on_success=target)
    async with app:
        request = await function.invoke_async({"n": 1})
        await clock.advance(1)
        assert await function.failed() == []
    assert records == [
        {
            "version": "1.0",
            "timestamp": "2020-01-01T00:00:00.000Z",
            "requestContext": {
                "requestId": request,
                "functionArn": f"{function.arn}:$LATEST",
                "condition": "Success",
                "approximateInvokeCount": 1,
            },
            "requestPayload": {"n": 1},
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
            "responsePayload": {"got": {"n": 1}},
        }
    ]


async def test_a_failure_is_told_and_not_listed_once_its_destination_knows(app, clock):
    target, records = recording(app)
    function = failing(app, on_failure=target)
    async with app:
        await function.invoke_async(1)
        await clock.advance(1)
        assert await function.failed() == []
    [record] = records
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["responseContext"]["functionError"] == "Unhandled"
    assert record["responsePayload"]["errorType"] == "ValueError"


async def test_a_success_goes_to_no_failure_destination_and_a_failure_to_no_success_destination(app, clock):
    target, records = recording(app)
    good, bad = working(app, on_failure=target, dead_letter_queue=target), failing(app, on_success=target)
    async with app:
        await good.invoke_async(1)
        await bad.invoke_async(1)
        await clock.advance(1)
        assert len(await bad.failed()) == 1
    assert records == []


async def test_numbers_of_the_payload_reach_a_destination_as_they_were_given(app, clock):
    target, records = recording(app)
    function = working(app, on_success=target)
    async with app:
        await function.invoke_async([2**80 + 1, 0.1, 1e300])
        await clock.advance(1)
    assert records[0]["requestPayload"] == [2**80 + 1, 0.1, 1e300]
    assert records[0]["responsePayload"] == {"got": [2**80 + 1, 0.1, 1e300]}


async def test_a_file_gets_one_line_for_each_event(app, clock, tmp_path):
    path = tmp_path / "done.jsonl"
    function = working(app, on_success=JSONLines(path))
    async with app:
        for number in range(20):
            await function.invoke_async(number)
        await clock.advance(60)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted(record["requestPayload"] for record in records) == list(range(20))
    assert len({record["metadata"]["deliveryId"] for record in records}) == 20


async def test_a_destination_that_is_down_is_tried_with_back_off_and_the_event_is_seen_meanwhile(app, clock):
    collector = Collector(clock, refusals=3)
    function = failing(app, on_failure=collector)
    async with app:
        await function.invoke_async(1)
        await clock.advance(2)
        [failure] = await function.failed()
        assert failure["destination"] == "on_failure:failing"
        assert json.loads(failure["last_error"])["errorMessage"] == "not now"
        await clock.advance(60)
        assert await function.failed() == []
    start = collector.tries[0]
    assert [round(when - start) for when in collector.tries] == [0, 1, 3, 7]
    assert len(collector.records) == 1


async def test_after_24_hours_the_event_is_listed_and_can_be_run_again(app, clock):
    collector = Collector(clock, refusals=10**9)
    function = failing(app, on_failure=collector)
    async with app:
        await function.invoke_async({"n": 1})
        await clock.advance(25 * 3_600)
        [failure] = await function.failed()
        assert (failure["destination"], failure["undelivered_to"]) == (None, "on_failure:failing")
        tries = len(collector.tries)
        await clock.advance(3_600)
        assert len(collector.tries) == tries
        collector.refusals = 0
        assert await function.redrive() == 1
        await clock.advance(60)
        assert await function.failed() == []
    assert [record["requestPayload"] for record in collector.records] == [{"n": 1}]


async def test_a_success_that_could_not_be_told_is_told_again_and_not_run_again(app, clock):
    collector = Collector(clock, refusals=10**9)
    runs = []

    @app.function(on_success=collector)
    async def handler(event, context):
        runs.append(event)

    async with app:
        await handler.invoke_async(1)
        await clock.advance(25 * 3_600)
        [failure] = await handler.failed()
        assert failure["record"]["requestContext"]["condition"] == "Success"
        collector.refusals = 0
        await handler.redrive()
        await clock.advance(60)
        assert await handler.failed() == []
    assert runs == [1]
    assert collector.records[0]["requestContext"]["condition"] == "Success"


async def test_a_dead_letter_is_the_event_itself_with_lambdas_three_attributes(app, clock):
    collector = Collector(clock)
    function = failing(app, dead_letter_queue=collector)
    async with app:
        request = await function.invoke_async({"n": 1})
        await clock.advance(1)
        assert await function.failed() == []
    [letter] = collector.records
    assert json.loads(letter["body"]) == {"n": 1}
    assert letter["messageAttributes"] == {
        "RequestID": {"stringValue": request, "dataType": "String"},
        "ErrorCode": {"stringValue": "200", "dataType": "Number"},
        "ErrorMessage": {"stringValue": "no", "dataType": "String"},
    }


async def test_with_both_a_destination_and_a_dead_letter_queue_both_are_told(app, clock):
    letters, (target, records) = Collector(clock, refusals=1), recording(app)
    function = failing(app, dead_letter_queue=letters, on_failure=target)
    async with app:
        await function.invoke_async(1)
        await clock.advance(60)
        assert await function.failed() == []
    assert len(records) == len(letters.records) == 1


async def test_a_chain_of_functions_is_told_link_by_link(app, clock):
    last, records = recording(app, "last")
    middle = app.function("middle", on_success=last, isolation="thread")(
        lambda event, context: event["responsePayload"]
    )
    first = app.function("first", on_success=middle, isolation="thread")(lambda event, context: event + 1)
    async with app:
        await first.invoke_async(1)
        await clock.advance(1)
    assert [record["responsePayload"] for record in records] == [2]


async def test_two_functions_that_are_each_others_destination_stop_and_leave_a_record(app, clock):
    runs = []

    async def handler(event, context):
        runs.append(1)

    ping = app.function("ping")(handler)

    @app.function(on_success=ping)
    async def pong(event, context):
        runs.append(1)

    @app.function("ring", on_success=pong)
    async def ring(event, context):
        await ring.invoke_async(1)

    async with app:
        await ring.invoke_async(1)
        await clock.advance(60)
        failures = [*await ring.failed(), *await pong.failed(), *await ping.failed()]
    assert all(failure["record"]["requestContext"]["condition"] == "RecursiveInvocation" for failure in failures)
    assert failures


async def test_what_waits_for_a_destination_is_delivered_after_a_restart(durable_app, clock):
    down, up = Collector(clock, refusals=10**9), Collector(clock)
    app = durable_app()
    function = failing(app, on_failure=down)
    async with app:
        await function.invoke_async(1)
        await clock.advance(5)
    app = durable_app()
    function = failing(app, on_failure=up)
    async with app:
        await clock.advance(600)
        assert await function.failed() == []
    assert len(up.records) == 1


@pytest.mark.parametrize("option", ["on_success", "on_failure", "dead_letter_queue"])
def test_a_function_is_no_destination_for_itself(app, option):
    function = working(app)
    with pytest.raises(InvalidParameterValue, match=r"^You can't specify the function as a destination for itself\.$"):
        app.function("working", **{option: function})(function)


async def test_the_metrics_tell_what_lambdas_tell(app, clock):
    collector = Collector(clock, refusals=2)
    good, bad = working(app, on_success=collector), failing(app, dead_letter_queue=Collector(clock, refusals=1))
    async with app:
        for _ in range(3):
            await good.invoke_async(1)
        await bad.invoke_async(1)
        await clock.advance(30)
        of = app.metrics.statistic
        assert of("AsyncEventsReceived", "Sum", function="working", period=60) == 3
        assert of("AsyncEventsDropped", "Sum", function="working", period=60) in (None, 0)
        assert of("AsyncEventsDropped", "Sum", function="failing", period=60) == 1
        assert of("AsyncEventAge", "Maximum", function="failing", period=60) == 0
        assert of("DestinationDeliveryFailures", "Sum", function="working", period=60) == 2
        assert of("DeadLetterErrors", "Sum", function="failing", period=60) == 1


async def received(queue):
    return [(message.json(), message.attributes) for message in await queue.receive(maximum=10)]


async def test_a_queue_of_the_app_is_told_once_with_exactly_lambdas_record(app, clock):
    queue = app.queue("told")
    function = working(app, on_success=queue)
    async with app:
        request = await function.invoke_async({"n": 1})
        await clock.advance(1)
        assert await function.failed() == []
        [(record, attributes)] = await received(queue)
    assert list(record) == [
        "version",
        "timestamp",
        "requestContext",
        "requestPayload",
        "responseContext",
        "responsePayload",
    ]
    assert record["requestContext"]["requestId"] == request
    assert attributes == {}


async def test_a_dead_letter_queue_gets_the_event_and_lambdas_three_attributes(app, clock):
    queue, told = app.queue("dead"), app.queue("told")
    function = failing(app, dead_letter_queue=queue, on_failure=told)
    async with app:
        request = await function.invoke_async({"n": 1})
        await clock.advance(1)
        assert await function.failed() == []
        [(event, attributes)] = await received(queue)
        [(record, _)] = await received(told)
    assert event == {"n": 1}
    assert attributes == {"RequestID": request, "ErrorCode": 200, "ErrorMessage": "no"}
    assert record["requestContext"]["condition"] == "RetriesExhausted"


async def test_what_a_queue_cannot_take_is_listed_and_says_why(app, clock):
    queue = app.queue("told")

    @app.function(on_success=queue)
    async def handler(event, context):
        return "x" * (1024 * 1024)

    async with app:
        await handler.invoke_async(1)
        await clock.advance(1)
        [failure] = await handler.failed()
        assert await received(queue) == []
    assert (failure["destination"], failure["undelivered_to"]) == (None, "queue:told")
    assert "Message must be shorter than 1048576 bytes" in failure["last_error"]


async def test_a_batch_that_was_given_up_is_told_to_a_queue(app, clock):
    queue = app.queue("told")
    stream = app.stream("numbers", shards=1)

    @app.on_stream("numbers", batch_size=1, maximum_retry_attempts=0, on_failure=queue)
    async def handler(event, context):
        raise ValueError("no")

    async with app:
        await stream.put(1, "k")
        await clock.advance(1)
        assert await handler.failed() == []
        [(record, _)] = await received(queue)
    assert record["KinesisBatchInfo"]["streamArn"] == stream.arn


@pytest.mark.parametrize("option", ["on_success", "on_failure", "dead_letter_queue"])
def test_a_fifo_queue_is_no_destination(app, option):
    queue = app.queue("told.fifo")
    with pytest.raises(
        InvalidParameterValue, match=r"^The destination ARN arn:aws:sqs:local:000000000000:told.fifo is invalid\."
    ):
        working(app, **{option: queue})


async def test_a_queue_or_topic_of_another_app_is_no_destination(app):
    """It was told by its name: what failed went into the queue of the same name here, or into none."""
    other = App("audit", store=":memory:")
    queue, topic = other.queue("dead"), other.topic("told")
    dead, told, function = app.queue("dead"), app.topic("told"), working(app)
    app.stream("numbers"), app.on_stream("numbers")(function)

    def refused():
        return pytest.raises(InvalidParameterValue, match=r"=<forebay .*>: it belongs to another app$")

    for target in (queue, topic):
        for option in ("on_success", "on_failure", "dead_letter_queue"):
            with refused():
                failing(app, **{option: target})
        with refused():
            app.on_stream("numbers", on_failure=target)(function)
        with refused():
            await app.mappings[0].update(on_failure=target)
    with refused():
        app.queue("orders", dead_letter_queue=queue)
    with refused():
        await dead.redrive(to=queue)
    assert failing(app, on_failure=dead, on_success=told)


async def test_what_a_queue_was_told_is_there_after_a_restart_and_is_not_told_again(durable_app, clock):
    app = durable_app()
    queue = app.queue("told")
    function = working(app, on_success=queue)
    async with app:
        for number in range(5):
            await function.invoke_async(number)
        await clock.advance(1)
    app = durable_app()
    queue = app.queue("told")
    working(app, on_success=queue)
    async with app:
        await clock.advance(60)
        records = await received(queue)
    assert sorted(record["requestPayload"] for record, _ in records) == list(range(5))
