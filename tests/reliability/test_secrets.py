"""What nobody may see: payloads and keys in logs, metrics and errors; files of a store for anybody but their owner."""

import asyncio
import logging
import stat
import time

import pytest

from forebay import App, Batch, ForebayError, FunctionError

CANARY = "canary-4f9c1b"


async def test_no_payload_or_key_is_in_logs_metrics_or_failure_records(tmp_path, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    app, said = App("secrets", store=tmp_path / "data"), []
    stream = app.stream("events", shards=1)

    @app.on_stream("events", batch_size=1, maximum_retry_attempts=0)
    async def fails(batch: Batch, context):
        raise ValueError("the handler's own words")

    @app.function(name="asked")
    async def asked(event, context):
        raise ValueError("no")

    async with app:
        await stream.put({"password": CANARY}, f"key-{CANARY}")
        for refused in (stream.put(CANARY * 200_000, "k"), stream.put(CANARY, CANARY * 100)):
            with pytest.raises(ForebayError) as refusal:
                await refused
            said.append(str(refusal.value))
        with pytest.raises(FunctionError) as failure:
            await asked.invoke({"password": CANARY})
        said.append(str(failure.value))
        ends = time.monotonic() + 20
        while not (failures := await fails.failed()):
            assert time.monotonic() < ends
            await asyncio.sleep(0.005)
        said += [repr(failures), repr(app), repr(stream), repr(await app._caller.ask("lag"))]
    said += [record.getMessage() for record in caplog.records] + list(capfd.readouterr())
    assert [text[:200] for text in said if CANARY in text] == []


async def test_no_body_group_or_attribute_of_a_message_is_in_logs_metrics_or_errors(tmp_path, caplog, capfd):
    """Queues, topics, asynchronous events and their destinations, each on its worst day.

    Who asks for a message, a dead letter or a record gets what was sent: that is what they are kept for. Nobody else does.
    (What is refused for itself, a group id or a receipt, is named in the refusal, as AWS does.)
    """
    caplog.set_level(logging.DEBUG)
    app, said = App("secrets", store=tmp_path / "data"), []
    dead = app.queue("dead.fifo")
    queue = app.queue("orders.fifo", dead_letter_queue=dead, maximum_receive_count=1, visibility_timeout=1)
    plain, topic = app.queue("plain"), app.topic("told")
    topic.subscribe(plain, filter_policy={"kind": [{"exists": True}]})

    class Deaf:
        async def deliver(self, record):
            raise ConnectionError("nobody listens")

    @app.on_queue("orders.fifo")
    async def fails(event, context):
        raise ValueError("the handler's own words")

    @app.function(on_failure=Deaf(), dead_letter_queue=plain, maximum_retry_attempts=0)
    async def asked(event, context):
        raise ValueError("no")

    async with app:
        message = {"group_id": f"g-{CANARY}", "deduplication_id": f"d-{CANARY}", "attributes": {"token": CANARY}}
        await queue.send({"password": CANARY}, **message)
        await topic.publish(CANARY, attributes={"kind": CANARY})
        await asked.invoke_async({"password": CANARY})
        for refused in (
            queue.send(CANARY * 200_000, group_id="g", deduplication_id="1"),
            plain.send("x", attributes={"token": CANARY * 200_000}),
            topic.publish(CANARY * 200_000),
            asked.invoke_async(CANARY * 200_000),
        ):
            with pytest.raises(ForebayError) as refusal:
                await refused
            said.append(str(refusal.value))
        ends = time.monotonic() + 20
        while dead.depth().visible == 0 or plain.depth().visible < 2:
            assert time.monotonic() < ends, (dead.depth(), plain.depth())
            await asyncio.sleep(0.005)
        said += [repr(await app._caller.ask(verb)) for verb in ("queue.list", "topic.list", "lag", "functions.list")]
        said += [(await app._caller.ask("metrics.text"))["text"], repr([app, queue, topic, asked])]
        [letter] = await dead.receive()
        assert letter.json() == {"password": CANARY}
        said.append(repr(letter))
    said += [record.getMessage() for record in caplog.records] + list(capfd.readouterr())
    assert [text for text in said if CANARY in text] == [], "each of these shows it"


async def test_every_file_and_folder_of_a_store_is_its_owners_alone(tmp_path):
    app = App("secrets", store=tmp_path / "data")
    app.stream("events", shards=1)
    async with app:
        await app.stream("events").put(b"x", "k")
        found = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in (tmp_path / "data").iterdir()}
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert {"forebay.db", "forebay.sock", "lock", "attempts"} <= found.keys()
    assert {name: oct(mode) for name, mode in found.items() if mode & 0o077} == {}
