"""What an operator finds in the log: timeouts, what was given up and where it went, dead letters, what retention dropped."""

import asyncio
import time

import orjson
import pytest

import forebay
from forebay import App, JSONLines
from forebay._runtime.operator_events import OperatorEvents
from forebay.testing import VirtualClock

HIDDEN = "a-hidden-key"


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def app(clock):
    return App("logs", store=":memory:", clock=clock)


@pytest.fixture
def lines(caplog):
    """Give the lines of the runtime, and see that none tells a payload or a key."""

    def told(what):
        written = [record.getMessage() for record in caplog.records]
        assert not any(HIDDEN in line for line in written)
        return [line for line in written if what in line]

    return told


async def test_what_was_given_up_is_in_the_log_with_where_it_went(app, clock, tmp_path, lines):
    """The log had the first failed attempt, and never that the record was given up, unless that was written to a file."""
    path = tmp_path / "failed.jsonl"
    orders, flights = app.stream("orders", shards=1), app.stream("flights", shards=1)

    @app.on_stream("orders", batch_size=1, maximum_retry_attempts=1, on_failure=JSONLines(path))
    async def ship(event, context):
        raise ValueError("no paper")

    @app.on_stream("flights", maximum_retry_attempts=0)
    async def depart(event, context):
        raise ValueError("no fuel")

    @app.function(maximum_retry_attempts=0)
    async def bill(event, context):
        raise ValueError("no ink")

    async with app:
        numbers = await orders.put_many([(HIDDEN, HIDDEN)] * 3)
        flight = await flights.put(HIDDEN, partition_key=HIDDEN)
        request = await bill.invoke_async(HIDDEN)
        await clock.advance(3600)
        [listed] = await depart.failed()
        [event] = await bill.failed()
    [depart_told] = lines("function depart: gave up")
    assert depart_told == (
        f"function depart: gave up a batch of 1 of flights (shardId-000000000000, lane 0, {flight}) after 1 attempt "
        f"(RetryAttemptsExhausted), listed as {listed['id']} in `forebay dlq list`: `forebay why {flight}` tells its life"
    )
    [bill_told] = lines("function bill: gave up")
    assert bill_told == (
        f"function bill: gave up an event after 1 attempt (RetriesExhausted), listed as {event['id']} in `forebay dlq list`: "
        f"`forebay why {request}` tells its life"
    )
    told = lines("function ship: gave up a batch of 1 of orders")
    assert all(f"after 2 attempts (RetryAttemptsExhausted), goes to JSONLines({str(path)!r})" in line for line in told)
    assert f"`forebay why {numbers[2]}`" in told[-1]
    missed = sum(int(line.rpartition(" (")[2].split()[0]) for line in told if " more " in line)
    assert len(told) + missed == 3


async def test_an_attempt_that_timed_out_is_in_the_log(app, clock, lines):
    """What took too long was only counted: the log was silent while a function hung."""
    orders, mail = app.stream("orders", shards=1), app.queue("mail")

    @app.on_stream("orders")
    @app.on_queue("mail")
    @app.function(timeout=2)
    async def ship(event, context):
        await clock.sleep(60)

    async with app:
        number = await orders.put(HIDDEN, partition_key=HIDDEN)
        await clock.advance(2.1)
        await mail.send(HIDDEN)
        await clock.advance(2.1)
        call = asyncio.ensure_future(ship.invoke(HIDDEN))
        await clock.advance(2.1)
        with pytest.raises(forebay.FunctionError):
            await call
    batch = f"function ship: attempt 1 at a batch of 1 of orders (shardId-000000000000, lane 0, {number}) timed out after 2 s"
    assert lines("timed out")[0] == batch


async def test_dead_letters_and_what_retention_dropped_are_in_the_log(app, clock, lines):
    """Messages went to the dead-letter queue, and records out of their stream, without a word."""
    dead = app.queue("dead.fifo", content_based_deduplication=True)
    mail = app.queue("mail.fifo", content_based_deduplication=True, dead_letter_queue=dead, maximum_receive_count=1)
    orders, old = app.stream("orders", shards=1, retention=3600), app.queue("old", retention=60)

    @app.on_queue("mail.fifo", batch_size=1)
    async def read(event, context):
        raise ValueError("torn")

    @app.on_stream("orders", enabled=False)
    async def ship(event, context):
        pass

    async with app:
        await old.send(HIDDEN)
        message = await mail.send(HIDDEN, group_id=HIDDEN)
        numbers = [await orders.put(number, partition_key=HIDDEN) for number in range(3)]
        await clock.advance(7200)
        [listed] = await ship.failed()
    [told] = lines("dead-letter")
    assert told == (
        "queue mail.fifo: a message was received 1 time, and is now in the dead-letter queue dead.fifo: "
        f"`forebay why {message}` tells its life"
    )
    assert lines("queue old") == ["queue old: its retention dropped 1 message that nobody had handled"]
    [told] = lines("the stream's retention")
    assert f"a batch of 3 of orders (shardId-000000000000, {numbers[0]} to {numbers[2]}) before it was handled" in told
    assert told.endswith(f", listed as {listed['id']} in `forebay dlq list`")


async def test_a_stream_that_no_mapping_reads_loses_nothing_without_a_word(app, clock, lines):
    """Records of a stream without a mapping were gone after its retention, and no line told of it."""
    forgotten, orders = app.stream("forgotten", shards=2, retention=60), app.stream("orders", shards=1, retention=60)

    @app.on_stream("orders")
    async def ship(event, context):
        pass

    async with app:
        for stream in (forgotten, orders):
            await stream.put_many([(HIDDEN, f"{HIDDEN}-{number}") for number in range(10)])
        await clock.advance(600)
        await clock.settle()
    told = lines("stream forgotten")
    assert told[-1] == (
        "stream forgotten: its retention dropped 10 records, and nothing that runs reads this stream: bind a function to it with "
        "`app.on_stream`"
    )
    assert not lines("stream orders")


async def test_a_stream_whose_only_mapping_is_gone_from_the_code_loses_nothing_without_a_word(tmp_path, clock, lines):
    """The mapping stood in the store still, so that no line told of what retention dropped."""

    def program(*, is_mapped):
        app = App("gone", store=tmp_path / "data", clock=clock)
        stream = app.stream("forgotten", shards=1, retention=60)
        if is_mapped:

            @app.on_stream("forgotten", enabled=False)
            async def ship(event, context):
                pass

        return app, stream

    app, _ = program(is_mapped=True)
    async with app:
        pass
    app, stream = program(is_mapped=False)
    async with app:
        await stream.put(1, "k")
        await clock.advance(600)
        await clock.settle()
    assert "its retention dropped 1 record, and nothing that runs reads this stream" in lines("stream forgotten")[-1]


def test_a_storm_is_one_line_a_second_for_each_kind_and_function(lines):
    now, loop = time.monotonic_ns(), asyncio.new_event_loop()
    events = OperatorEvents(loop, lambda: now)
    one = {"what": "dead letter", "of": "mail", "count": 1_000, "to": "dead", "received": 3, "message": "m"}
    for _ in range(1_000):
        events.write(orjson.dumps([one, {**one, "of": "other"}]))
    events.close()
    loop.close()
    told = lines("queue mail:")
    assert len(told) == len(lines("queue other:")) == 2
    assert [line.rpartition(" (")[2] for line in told] == [
        "999 more since the last line)",
        "998,999 more since the last line)",
    ]


def test_one_reason_of_an_api_hides_no_other(lines):
    """Of three routes that failed in one second the log told the first one's reason and the last one's."""
    loop, now = asyncio.new_event_loop(), 0
    events = OperatorEvents(loop, lambda: now)
    for text in ("one", "two", "three", "two"):
        events.write(orjson.dumps([{"what": "api", "of": "a", "count": 1, "text": text}]))
    events.close()
    told = lines("API a:")
    assert [line.removeprefix("API a: ") for line in told] == ["one", "two", "three", "two"]
    now = 10**10
    for number in range(1_000):
        events.write(orjson.dumps([{"what": "api", "of": "a", "count": 1, "text": f"new {number}"}]))
    events.close()
    loop.close()
    told = lines("API a: new")
    assert len(told) == 18, "16 have a line each, and the others two for all of them"
    assert told[-1] == "API a: new 999 (982 more since the last line)"


LOST = {
    "what": "lost",
    "of": "ship",
    "count": 1,
    "stream": "orders",
    "shard_id": "shardId-0",
    "first": "100",
    "last": "102",
    "records": 3,
    "sums": {"runs": 1, "records": 3},
    "id": "1-0-100:unread",
}


def test_scattered_damage_is_one_line_a_second_with_all_that_was_lost(lines):
    """Each run was of a kind of its own: ten thousand damaged chunks were as many lines at once."""
    now, loop = time.monotonic_ns(), asyncio.new_event_loop()
    events = OperatorEvents(loop, lambda: now)
    for _ in range(10_000):
        events.write(orjson.dumps([LOST]))
    events.close()
    loop.close()
    why = "lost to damage, the store was salvaged without them"
    first, others = lines("function ship:")
    assert first == (
        "function ship: stepped over 3 records of orders (shardId-0, 100 to 102): "
        f"{why}; listed as 1-0-100:unread in `forebay dlq list`"
    )
    assert others == (
        "function ship: stepped over 29,997 records in 9,999 runs, the last of them of orders (shardId-0, 100 to 102): "
        f"{why}; the last listed as 1-0-100:unread in `forebay dlq list`; `forebay stream list` says where all are"
    )


def test_messages_that_retention_dropped_are_counted_one_by_one(lines):
    """The line said that 1,000 were dropped, and one more: that one was another thousand."""
    now, loop = time.monotonic_ns(), asyncio.new_event_loop()
    events = OperatorEvents(loop, lambda: now)
    for _ in range(3):
        events.write(
            orjson.dumps([{"what": "expired", "of": "q", "queue": "q", "count": 1, "sums": {"messages": 1_000}}])
        )
    events.close()
    loop.close()
    dropped = "queue q: its retention dropped {} messages that nobody had handled"
    assert lines("queue q:") == [dropped.format("1,000"), dropped.format("2,000")]


@pytest.mark.parametrize(
    ("notice", "text"),
    [
        (
            {"what": "disk", "of": "", "error": "no room"},
            "what is put and sent is refused, what was accepted goes on: no room",
        ),
        ({"what": "disk", "of": "", "error": None}, "the store takes what is put and sent again"),
        (
            {"what": "interrupted", "of": "", "attempts": 2},
            # It said that the process before this one had died, though another machine may have owned the store since.
            "2 attempts were in flight when a process died here: what they held runs again unless it was handled since, each",
        ),
        (
            {"what": "interrupted", "of": "", "attempts": 1},
            "1 attempt was in flight when a process died here: what it held runs again unless it was handled since, each",
        ),
        (
            {"what": "undelivered", "of": "bill", "destinations": ["queue:q"], "tries": 9, "id": "1-0-2"},
            "function bill: its destination queue q was not told of a failure, after 9 tries: listed as 1-0-2",
        ),
        (
            {
                "what": "undelivered",
                "of": "orders/bill",
                "routed": True,
                "destinations": ["queue:q"],
                "tries": 1,
                "id": "1-0-2",
            },
            "rule orders/bill: its target queue q did not take an event, after 1 try: listed as 1-0-2",
        ),
        (
            {
                "what": "undelivered",
                "of": "schedules",
                "routed": True,
                "destinations": ["queue:q"],
                "tries": 1,
                "id": "0-0-2",
            },
            "a schedule: its target queue q did not take an event, after 1 try: listed as 0-0-2",
        ),
        (
            {"what": "expired", "of": "q", "queue": "q", "sums": {"messages": 7}},
            "queue q: its retention dropped 7 messages that nobody had handled",
        ),
        (
            {"what": "timed out", "of": "ship", "seconds": 3, "attempt": 2, "queue": "mail", "records": 9},
            "function ship: attempt 2 at 9 messages of queue mail timed out after 3 s",
        ),
        (
            {
                "what": "events left out",
                "of": "w",
                "arn": "arn:x:express:w:one:1",
                "text": "an execution keeps 25,000 events",
            },
            "workflow w: the history of arn:x:express:w:one:1 has not all of its events: an execution keeps 25,000 events",
        ),
        (
            {"what": "history long", "of": "w", "arn": "arn:one", "name": "one", "events": 20_000, "most": 25_000},
            "workflow w: the history of arn:one has 20,000 events, and at 25,000 the execution fails",
        ),
        (
            {
                "what": "execution failed",
                "of": "w",
                "name": "one",
                "arn": "arn:one",
                "status": "FAILED",
                "state": "A\nWARNING a forged line",
                "error": "B\r\nWARNING another",
            },
            "workflow w: execution one failed in state A WARNING a forged line (B WARNING another): `forebay why arn:one`",
        ),
        (
            {"what": "timed out", "of": "on_failure:bill", "seconds": 60, "destinations": ["on_failure:bill"]},
            "destination Books: a delivery timed out after 60 s",
        ),
    ],
)
def test_each_notice_has_its_words(lines, notice, text):
    loop = asyncio.new_event_loop()
    events = OperatorEvents(loop, time.monotonic_ns)
    events.destinations["on_failure:bill"] = "Books"
    events.write(orjson.dumps([{**notice, "count": 1}]))
    loop.close()
    assert lines(text)[0].startswith(text)


@pytest.mark.parametrize(
    ("notice", "function"),
    [
        ({"what": "undelivered", "of": "bill", "destinations": ["queue:q"], "tries": 9, "id": "1-0-2"}, "bill"),
        ({"what": "undelivered", "of": "bill:2", "destinations": ["queue:q"], "tries": 9, "id": "1-0-2"}, "bill"),
        (
            {
                "what": "undelivered",
                "of": "orders/bill",
                "routed": True,
                "destinations": ["queue:q"],
                "tries": 1,
                "id": "1",
            },
            None,
        ),
        ({"what": "timed out", "of": "on_failure:bill", "seconds": 60, "destinations": ["on_failure:bill"]}, None),
        ({"what": "process", "of": "process 7 on shop-1", "text": "it has taken the store over"}, None),
    ],
)
def test_a_line_names_the_function_that_it_is_of_and_nothing_else_as_one(caplog, notice, function):
    loop = asyncio.new_event_loop()
    OperatorEvents(loop, time.monotonic_ns).write(orjson.dumps([{**notice, "count": 1}]))
    loop.close()
    (line,) = caplog.records
    assert line.function_name == function


async def test_a_handler_that_times_out_again_and_again_is_told_which_option_to_change(app, clock, lines):
    """The log said for hours that attempts timed out after 3 s, and not that 3 s are a default."""

    @app.function(maximum_retry_attempts=0)
    async def slow(event, context):
        await clock.sleep(60)

    async with app:
        for _ in range(4):
            await slow.invoke_async(1)
            await clock.advance(10)
    told = lines("timed out after 3 s")
    assert [line.count("@app.function(timeout=…)") for line in told] == [0, 0, 1, 1]
    assert (
        "; that makes 4 timeouts since the app started: if it needs longer, give it @app.function(timeout=…)" in told[3]
    )


async def test_an_execution_that_fails_is_in_the_log(app, clock, lines):
    """Nothing told of it: each workflow had to be listed to find what had failed."""
    fail = {"Type": "Fail", "Error": "Odd\nerror", "Cause": HIDDEN}
    flow = app.workflow("ship", {"StartAt": "No", "States": {"No": fail}})
    slow = {"StartAt": "Rest", "TimeoutSeconds": 5, "States": {"Rest": {"Type": "Wait", "Seconds": 60, "End": True}}}
    late = app.workflow("late", slow)
    async with app:
        execution = await flow.start(HIDDEN, name="one")
        await clock.settle()
        await flow.start(HIDDEN, name="two")
        await flow.start(HIDDEN, name="three")
        other = await late.start(HIDDEN, name="four")
        await clock.advance(10)
    first, *others = lines("workflow ship: execution")
    assert first == (
        f"workflow ship: execution one failed in state No (Odd error): `forebay why {execution.arn}` tells its life"
    )
    told = len(others) + sum(int(line.rpartition(" (")[2].split()[0]) for line in others if " more " in line)
    assert told == 2
    [timed_out] = lines("workflow late: execution")
    assert timed_out == (
        f"workflow late: execution four timed out in state Rest: `forebay why {other.arn}` tells its life"
    )


@pytest.mark.parametrize("expected", [True, False])
def test_a_process_that_has_left_is_no_warning_and_one_that_has_died_is(caplog, expected):
    loop = asyncio.new_event_loop()
    notice = {"what": "process", "of": "process 7 on shop-1", "text": "it is gone", "expected": expected, "count": 1}
    with caplog.at_level("INFO", "forebay.runtime"):
        OperatorEvents(loop, time.monotonic_ns).write(orjson.dumps([notice]))
    loop.close()
    (line,) = caplog.records
    assert (line.levelname, line.getMessage()) == ("INFO" if expected else "WARNING", "it is gone")


def test_what_is_wrong_with_the_server_of_a_store_is_a_line(lines):
    """A process that had lost its server stopped everything, and the log did not say why."""
    loop = asyncio.new_event_loop()
    events = OperatorEvents(loop, time.monotonic_ns)
    texts = {
        "lease": "this process has not reached its server: no route",
        "commits": "no commit has got through for 10 s",
    }
    for of, text in texts.items():
        events.write(orjson.dumps([{"what": "store", "of": of, "text": text, "count": 1}]))
    events.close()
    loop.close()
    assert lines(" ") == list(texts.values())
