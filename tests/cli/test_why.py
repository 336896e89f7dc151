"""`forebay why`, and the ids that it takes, on a store that no app runs on."""

import asyncio

import pytest
from cli_commands import asked, forebay, refused

from forebay import App, Backoff, FunctionError
from forebay.cli.why import error_text, lines


@pytest.fixture
def place(tmp_path):
    """A store with a batch and an event that were given up."""

    async def make():
        app = App("shop", store=tmp_path / "data")
        orders = app.stream("orders", shards=3)

        @app.on_stream("orders", maximum_retry_attempts=0, retry_backoff=Backoff(base=0.01, cap=0.01))
        async def ship(event, context):
            raise ValueError("no\npaper")

        @app.function(maximum_retry_attempts=0)
        async def bill(event, context):
            raise KeyError("ada")

        async with app:
            await orders.put(1, partition_key="ada")
            await bill.invoke_async(1)
            for _ in range(1_000):
                if len((await app._caller.ask("failed.list", limit=9))["failures"]) == 2:
                    break
                await asyncio.sleep(0.01)

    asyncio.run(make())
    return tmp_path


def test_what_was_given_up_is_told_by_its_id_in_the_list(place):
    """The one id that the list shows was refused."""
    failures = {failure["function"]: failure for failure in asked(place, "dlq", "list")["failures"]}
    batch, event = failures["ship"], failures["bill"]
    number = batch["record"]["KinesisBatchInfo"]["startSequenceNumber"]
    lives = [asked(place, "why", one) for one in (batch["id"], number)]
    assert lives[0]["kept"] == lives[1]["kept"] != []
    told = forebay(place, "why", batch["id"]).stdout
    assert f"now: listed as {batch['id']} (RetryAttemptsExhausted)" in told
    assert f"last error: ValueError: no paper ({__file__}:" in told
    assert asked(place, "why", event["id"])["id"] == event["record"]["requestContext"]["requestId"]
    assert "last error: KeyError: 'ada'" in forebay(place, "why", event["id"]).stdout
    assert "no failure" in refused(place, "why", "9-9-9")


def test_the_id_of_an_attempt_at_a_batch_is_refused_with_the_ids_that_are_kept(place):
    """Logs and failure records show that id first, and nothing said that it names nothing."""
    [failure] = asked(place, "dlq", "list", "--stream", "orders")["failures"]
    text = refused(place, "why", failure["record"]["requestContext"]["requestId"])
    assert text.count("\n") == 1
    assert "single attempts at batches" in text and "Synchronous invocations that no API asked for are not kept" in text
    assert "give the message id, the sequence number, or the id in `forebay dlq list`" in text
    assert "attempts" not in refused(place, "why", "17999999999999999999")


def test_put_gives_the_numbers_that_why_takes(place):
    """It said how many records it had put, and not as what."""
    lines = "".join(f'{{"id": {number}}}\n' for number in range(600))
    put = asked(place, "stream", "put", "orders", "--key", "id", stdin=lines)
    first, last = put["first_sequence_number"], put["last_sequence_number"]
    assert put["shards"] == [f"shardId-00000000000{shard}" for shard in range(3)]
    [fact] = asked(place, "why", first)["facts"]
    assert (fact["partition_key"], fact["shard_id"]) == ("0", put["shards"][int(first[-6:])])
    assert "599" in [fact["partition_key"] for fact in asked(place, "why", last)["facts"]]
    told, one = forebay(place, "stream", "put", "orders", "--partition-key", "k", stdin="1\n").stdout.splitlines()
    assert told == "put 1 record into orders"  # its rate was that of starting the command
    assert forebay(place, "why", one.split()[1]).stdout.split(" ", 2)[2].startswith("put stream=orders shard_id=")
    empty = asked(place, "stream", "put", "orders", "--partition-key", "k", stdin="")
    assert (empty["first_sequence_number"], empty["shards"]) == (None, [])


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ({"errorType": "E", "errorMessage": "a\n b", "stackTrace": ['File "m.py", line 3, in f\n']}, "E: a b (m.py:3)"),
        ('{"errorType": "E", "errorMessage": "m", "stackTrace": []}', "E: m"),
        ('{"errorType": "E", "errorMess', '{"errorType": "E", "errorMess'),
        ({"a": 1}, '{"a":1}'),
        ("the file is full", "the file is full"),
    ],
)
def test_an_error_is_one_line(error, text):
    assert error_text(error) == text


def test_where_no_app_runs_it_is_said_that_only_the_store_was_asked(place):
    """A handled record had its put alone, and nothing said that this is all that a store keeps."""
    put = asked(place, "stream", "put", "orders", "--partition-key", "k", stdin="1\n")["first_sequence_number"]
    assert "no app runs: only the store was asked" in forebay(place, "why", put).stdout
    assert "no app runs: only the store was asked" in refused(place, "why", "17999999999999999999")


def test_a_record_that_a_lane_has_passed_is_not_called_handled():
    row = {
        "where": "record",
        "stream": "orders",
        "shard_id": "shardId-0",
        "function": "ship",
        "lane": 2,
        "on_failure": None,
    }
    life = {"facts": [], "running": False, "remembered_since_ms": 0}

    def told(**changes):
        return lines({**life, "kept": [{**row, "state": "passed", "is_in_stream": True, **changes}]})[0]

    assert told(state="handled") == "now: handled in lane 2 of ship (orders, shardId-0)"
    assert told().startswith(
        "now: passed in lane 2 of ship (orders, shardId-0): handled, left out or given up; what happened"
    )
    assert "before 1970-01-01 00:00:00Z is not kept, and `forebay dlq list` does not have it" in told()
    assert told(on_failure="queue:dead").endswith("what was given up was told to queue dead")
    assert told(on_failure="on_failure:orders/ship").endswith("told to the mapping's on_failure")
    assert "retention has dropped it since" in told(lane=None, is_in_stream=False)
    assert told(state="lost").startswith("now: lost (orders, shardId-0): it was damaged")


def test_the_result_of_an_event_is_told_with_its_id_and_when_it_is_due(tmp_path):
    async def make():
        app = App("shop", store=tmp_path / "data")

        @app.function(maximum_retry_attempts=0)
        async def bill(event, context):
            if event == 2:
                raise KeyError("ada")
            return {"paid": 2**70}

        async with app:
            paid, failed = [
                await bill.invoke_async(event, keep_result=True, deduplication_id=f"order-{event}") for event in (1, 2)
            ]
            await bill.result(paid, wait=20)
            with pytest.raises(FunctionError):
                await bill.result(failed, wait=20)
            await bill.invoke_async(1, deduplication_id="order-1")
            later = await bill.invoke_async(3, delay=3_600, deduplication_id="order-3")
            running = await app._caller.ask("why", id=paid)
            return paid, failed, later, "\n".join(lines(running))

    paid, failed, later, running = asyncio.run(make())
    assert "accepted function=bill deduplication_id=order-1" in running
    assert "asked for again" in running
    told = forebay(tmp_path, "why", paid).stdout
    assert "result: Success of bill at " in told
    assert f'{{"paid":{2**70}}}' in told
    assert "result: RetriesExhausted of bill at " in (told := forebay(tmp_path, "why", failed).stdout)
    assert "KeyError: 'ada'" in told
    assert "now: waits for bill, due " in (told := forebay(tmp_path, "why", later).stdout)
    assert "deduplication id order-3" in told


def test_executions_of_one_name_are_all_told(tmp_path):
    """Names are unique in a workflow: that of one workflow was told, and the others' were not mentioned."""

    async def make():
        app = App("shop", store=tmp_path / "data")
        rest = {"StartAt": "Rest", "States": {"Rest": {"Type": "Wait", "Seconds": 60, "End": True}}}
        flows = [app.workflow(name, rest) for name in ("bill", "order", "ship")]
        async with app:
            for flow in flows[1:]:
                await flow.start(name="order-1")

    asyncio.run(make())
    told = forebay(tmp_path, "why", "order-1").stdout
    assert "execution order-1 of workflow order: RUNNING" in told
    assert "execution order-1 of workflow ship: RUNNING" in told
    assert [one["workflow"] for one in asked(tmp_path, "why", "order-1")] == ["order", "ship"]
    arn = "arn:aws:states:local:000000000000:execution:ship:order-1"
    assert asked(tmp_path, "why", arn)["workflow"] == "ship"
