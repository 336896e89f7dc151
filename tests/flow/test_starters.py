"""`Workflow.starter`: each message and each record starts an execution, and none of them is lost or holds up the others."""

import pytest

from forebay import ExecutionAlreadyExists, InvalidParameterValue

KEEP = {"StartAt": "Keep", "States": {"Keep": {"Type": "Pass", "End": True}}}
TOO_LARGE = "x" * 200_000  # as base64 in a record, and with a few more in a message, over 262,144 bytes
EXPRESS_CALL = {"StartAt": "See", "States": {"See": {"Type": "Task", "Resource": "${see}", "End": True}}}


async def executions(app, workflow):
    listed = await app._caller.ask("execution.list", workflow=workflow, limit=100)
    return [one["name"] for one in listed["executions"]]


async def test_messages_and_records_start_executions_once(app, clock):
    flow = app.workflow("intake", KEEP)
    queue, stream = app.queue("orders"), app.stream("clicks")
    starter = flow.starter()
    app.on_stream("clicks")(app.on_queue("orders", batch_size=10)(starter))
    async with app:
        await queue.send_many([f"order {n}" for n in range(3)])
        await stream.put("lamp", "a")
        await clock.settle()
        names = []
        for record in ({"messageId": "m-1", "body": "again"}, {"messageId": "m-1", "body": "again"}):
            await starter({"Records": [record]}, None)
            await clock.settle()
            names.append((await flow.execution("m-1").describe()).input["body"])
        assert names == ["again", "again"]
        inputs = await executions(app, "intake")
    assert len(inputs) == 5
    assert [name for name in inputs if name.startswith("clicks-shardId-")]


async def test_streams_of_one_workflow_lose_no_record_to_each_other(app, clock):
    """Two streams number their records alike: the second one's counted as started already, and was lost."""
    flow = app.workflow("intake", KEEP)
    name = "one-with-a-name-of-many-more-characters-than-a-name-of-an-execution-has-room-for"
    streams = [app.stream(of, shards=1) for of in ("clicks", name, f"{name}-too")]
    starter = app.on_stream("clicks")(flow.starter())
    app.on_stream(name)(starter)
    app.on_stream(f"{name}-too")(app.function(name="another")(flow.starter()))
    async with app:
        for stream in streams:
            await stream.put("lamp", "a")
        await clock.settle()
        started = await executions(app, "intake")
        inputs = [(await flow.execution(one).describe()).input["eventSourceARN"] for one in started]
    assert sorted(inputs) == sorted(stream.arn for stream in streams)
    assert max(map(len, started)) <= 80


async def test_a_stream_that_was_made_again_starts_executions_again(app, clock):
    """Its sequence numbers begin anew, and its records counted as those of the stream that was deleted."""
    flow = app.workflow("intake", KEEP)
    record = {
        "eventID": "shardId-000000000001:10000000000000000001",
        "eventSourceARN": "arn:aws:kinesis:local:000000000000:stream/clicks",
        "kinesis": {
            "sequenceNumber": "10000000000000000001",
            "partitionKey": "a",
            "data": "MQ==",
            "approximateArrivalTimestamp": 1.5,
        },
    }
    later = {**record, "kinesis": {**record["kinesis"], "approximateArrivalTimestamp": 2.5}}
    async with app:
        for one in (record, record, later, later):
            await flow.starter()({"Records": [one]}, None)
            await clock.settle()
        assert len(await executions(app, "intake")) == 2


async def test_a_name_that_somebody_else_took_fails_the_record(app, clock):
    """It counted as started, whatever the execution of that name was."""
    flow = app.workflow("intake", KEEP)
    async with app:
        await flow.start({"mine": True}, name="m-1")
        await clock.settle()
        with pytest.raises(ExecutionAlreadyExists, match="its input is another one"):
            await flow.starter()({"Records": [{"messageId": "m-1", "body": "lamp"}]}, None)
        # A message that comes again has another receipt.
        for receipt in ("r-1", "r-2"):
            message = {"messageId": "m-2", "body": "lamp", "receiptHandle": receipt}
            await flow.starter()({"Records": [message]}, None)
            await clock.settle()


async def test_what_cannot_be_an_input_comes_back_alone(app, clock):
    """One message that was too large brought its whole batch back: each return started the other Express executions again."""
    seen = []

    @app.function()
    async def see(event, context):
        seen.append(event.get("body") or event["kinesis"]["partitionKey"])

    flow = app.workflow("intake", EXPRESS_CALL, type="EXPRESS")
    dead = app.queue("dead")
    queue = app.queue("orders", dead_letter_queue=dead, maximum_receive_count=3)
    stream, letters = app.stream("clicks", shards=1), app.queue("letters")
    app.on_queue("orders", batch_size=10, maximum_batching_window=1)(flow.starter())
    app.on_stream("clicks", maximum_batching_window=1, maximum_retry_attempts=2, on_failure=letters)(
        app.function(name="of-records")(flow.starter())
    )
    async with app:
        await queue.send_many(["a", "b", f"large{TOO_LARGE}{TOO_LARGE[:62_000]}", "c"])
        await stream.put_many([("1", key) for key in "de"])
        await stream.put(TOO_LARGE, "large")
        await stream.put_many([("1", key) for key in "fg"])
        await clock.advance(600)
        assert sorted(seen) == ["a", "b", "c", "d", "e", "f", "g"]
        assert (dead.depth().visible, letters.depth().visible) == (1, 1)


async def test_a_fifo_group_waits_for_what_cannot_be_an_input(app):
    flow = app.workflow("intake", KEEP)
    arn = "arn:aws:sqs:local:000000000000:orders.fifo"

    def message(of, group, body="lamp"):
        return {"messageId": of, "body": body, "eventSourceARN": arn, "attributes": {"MessageGroupId": group}}

    records = [message("1", "a"), message("2", "a", TOO_LARGE * 2), message("3", "b"), message("4", "a")]
    async with app:
        with pytest.raises(Exception, match="message 2 starts no execution") as failed:
            await flow.starter()({"Records": records}, None)
        assert failed.value.items == ["2", "4"]
        assert sorted(await executions(app, "intake")) == ["1", "3"]


async def test_a_mapping_that_reads_no_failures_gets_the_whole_batch_back(app, clock):
    """The option was switched off, or another program made the mapping: a response that nobody reads would count as done."""
    flow = app.workflow("intake", KEEP)
    queue = app.queue("orders")
    start = app.on_queue("orders", batch_size=10, maximum_batching_window=1)(flow.starter())
    async with app:
        (mapping,) = app.mappings
        await mapping.update(report_batch_item_failures=False)
        await queue.send_many(["a", TOO_LARGE * 2])
        await clock.advance(60)
        assert len(await executions(app, "intake")) == 1
        depth = queue.depth()
        assert depth.visible + depth.in_flight + depth.delayed == 2
        assert start.name == "start-intake"


async def test_a_handler_that_calls_a_starter_loses_nothing(app, clock):
    """What failed may not be a mere answer: a handler around a starter may leave it unread."""
    flow = app.workflow("intake", KEEP)
    queue = app.queue("orders")
    start = flow.starter()

    @app.on_queue("orders", batch_size=10, maximum_batching_window=1)
    async def around(event, context):
        await start(event, context)

    async with app:
        await queue.send_many(["a", TOO_LARGE * 2])
        await clock.advance(60)
        depth = queue.depth()
        # The other one may have come back without it.
        assert depth.visible + depth.in_flight + depth.delayed >= 1
        assert len(await executions(app, "intake")) == 1


async def test_what_cannot_be_an_input_says_why(app):
    flow = app.workflow("intake", KEEP)
    async with app:
        with pytest.raises(
            InvalidParameterValue, match=r"message m starts no execution of workflow 'intake': .*262,144"
        ):
            await flow.starter()({"Records": [{"messageId": "m", "body": TOO_LARGE * 2}]}, None)
