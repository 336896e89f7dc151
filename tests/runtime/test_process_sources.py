"""Functions in processes behind queues, streams and asynchronous events: as tasks and threads are."""

import asyncio
import json
import os
import re
from pathlib import Path

import pytest

from forebay import FunctionError


def told():
    path = Path(os.environ["FOREBAY_TEST_ATTEMPTS"])
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


async def until(condition):
    async with asyncio.timeout(100):
        while not condition():  # noqa: ASYNC110  what is waited for happens in another process
            await asyncio.sleep(0.02)


def let_go():
    Path(os.environ["FOREBAY_TEST_STORE"], "go").touch()


def is_empty(queue):
    depth = queue.depth()
    return depth.visible == depth.in_flight == depth.delayed == 0


async def test_messages_of_a_queue_come_as_lambdas_event(sources):
    async with sources.app:
        ids = await sources.events.send_many([{"body": "é", "attributes": {"kind": "a", "size": 1}}, {"body": "two"}])
        await until(lambda: sum(map(len, told())) == 2)
        await until(lambda: is_empty(sources.events))
    first, second = [record for batch in told() for record in batch]
    assert [first["messageId"], second["messageId"]] == ids
    assert (first["body"], second["body"]) == ("é", "two")
    assert first["messageAttributes"]["size"] == {
        "stringValue": "1",
        "stringListValues": [],
        "binaryListValues": [],
        "dataType": "Number",
    }
    assert (first["eventSource"], first["eventSourceARN"]) == ("aws:sqs", sources.events.arn)
    assert first["attributes"]["ApproximateReceiveCount"] == "1"


async def test_a_start_after_a_clean_stop_finds_nothing_in_flight(import_app, caplog):
    """It said that an attempt was in flight when the process before it died, though that attempt had ended long before."""
    for number in range(1, 3):
        sources = import_app("process_sources")
        async with sources.app:
            await sources.events.send("one")
            await until(lambda number=number: len(told()) == number)
            await until(lambda sources=sources: is_empty(sources.events))
    assert "in flight when" not in caplog.text


async def test_only_the_messages_that_a_response_names_come_back(sources):
    async with sources.app:
        await sources.shares.send_many(["good", "bad", "fine"])
        await until(lambda: sum(map(len, told())) == 4)
        await until(lambda: is_empty(sources.shares))
    assert sorted(body for batch in told() for body in batch) == ["bad", "bad", "fine", "good"]
    assert told()[-1] == ["bad"]


async def test_failures_that_nobody_reads_are_told_once_and_those_that_are_read_are_not(sources, capfd):
    """They were deleted without a word."""
    async with sources.app:
        for number in range(3):
            await sources.unread.send("bad")
            await until(lambda number=number: len(told()) == number + 1)
        await sources.shares.send("bad")
        await until(lambda: len(told()) == 5)
        await until(lambda: is_empty(sources.unread) and is_empty(sources.shares))
    [line] = [line for line in capfd.readouterr().err.splitlines() if "batchItemFailures" in line]
    assert f"function is_not_read: it returned batchItemFailures for a batch of {sources.unread.arn}" in line


async def test_a_batch_of_messages_is_the_same_inside_a_process(sources):
    attributes = {"n": 7, "raw": b"\x00\x01"}
    async with sources.app:
        await sources.groups.send("bad", group_id="a", attributes=attributes)
        await sources.groups.send("after", group_id="a")
        await sources.groups.send("other", group_id="b")
        await until(lambda: is_empty(sources.groups))
    seen = [message for message in told() if message[0] == "a"]
    assert seen[0] == ["a", "bad", 1, {"n": 7, "raw": [0, 1]}]
    assert [message[1] for message in seen[-2:]] == ["bad", "after"], "what follows in the group waits for it"
    assert [message[2] for message in seen if message[1] == "bad"] == [1, 2]
    assert [message[1:3] for message in told() if message[0] == "b"] == [["other", 1]]


async def test_a_message_that_kills_its_process_becomes_a_dead_letter(sources):
    async with sources.app:
        [identity] = await sources.poison.send_many(["x"])
        await until(lambda: sources.dead.depth().visible == 1)
        [message] = await sources.dead.receive()
    assert told() == ["1", "2"]
    assert (message.message_id, message.dead_letter_source) == (identity, "poison")


async def test_what_would_only_wait_for_an_environment_is_not_received(sources):
    async with sources.app:
        await sources.slow.send_many([str(number) for number in range(8)])
        await until(lambda: sources.slow.depth().in_flight == 2)
        await asyncio.sleep(0.3)
        assert (sources.slow.depth().in_flight, sources.slow.depth().visible) == (2, 6)
        let_go()
        await until(lambda: is_empty(sources.slow))
    assert sorted(told()) == [str(number) for number in range(8)]


async def test_a_paused_mapping_gives_back_what_no_environment_has_begun(sources):
    [mapping] = [mapping for mapping in sources.app.mappings if mapping.queue == "slow"]
    async with sources.app:
        await sources.slow.send_many([str(number) for number in range(8)])
        await until(lambda: sources.slow.depth().in_flight == 2)
        await mapping.pause()
        let_go()
        await until(lambda: sources.slow.depth().in_flight == 0)
        begun = len(told())
        assert sources.slow.depth().visible == 8 - begun
        await mapping.resume()
        await until(lambda: is_empty(sources.slow))
    assert sorted(told()) == [str(number) for number in range(8)]


async def test_a_program_takes_the_messages_of_a_queue(sources):
    async with sources.app:
        await sources.commands.send_many([str(number) for number in range(10)])
        await until(lambda: is_empty(sources.commands))
        statistic = sources.app.metrics.statistic("Invocations", "Sum", function="program")
        assert statistic >= 2


async def test_a_batch_of_records_reports_failures_from_inside_a_process(sources):
    async with sources.app:
        await sources.numbers.put_many([(number, "k") for number in range(4)])
        await until(lambda: told() and told()[-1][-1:] == [3] and len(told()) > 1)
    assert told() == [[0, 1, 2, 3], [2, 3]]


async def test_a_process_asks_for_a_delay_an_id_and_a_result(sources):
    async with sources.app:
        await sources.asks_later.invoke_async(21)
        await until(told)
    assert told() == [[1, 42]]


async def test_a_function_that_calls_itself_from_a_process_is_stopped_at_the_sixteenth_hop(sources):
    async with sources.app:
        await sources.calls_itself.invoke_async(1)
        failures = []
        async with asyncio.timeout(100):
            while not failures:
                failures = await sources.calls_itself.failed()
                await asyncio.sleep(0.02)
    assert failures[0]["record"]["requestContext"]["condition"] == "RecursiveInvocation"
    assert told() == list(range(1, 17))


NUMBERS = re.compile(r"[0-9]+(\.[0-9]+)?(?= (ms|MB))")


async def test_report_lines_have_lambdas_form(sources, capfd):
    async with sources.app:
        await sources.reported.invoke("cold")
        await sources.reported.invoke("warm")
        await sources.ready.invoke()
        for event in ("raises", "dies", "hangs"):
            with pytest.raises(FunctionError):
                await sources.reported.invoke(event)
    lines = capfd.readouterr().out.splitlines()
    requests = list(dict.fromkeys(line.split(" ", 2)[1] for line in lines if line.startswith("reported ")))
    plain = [NUMBERS.sub("N", line.split(" ", 2)[2].replace(line.split(" ", 2)[1], "ID")) for line in lines]
    report = "REPORT RequestId: ID\tDuration: N ms\tBilled Duration: N ms\tMemory Size: N MB\tMax Memory Used: N MB"
    start, end, cold = "START RequestId: ID Version: $LATEST", "END RequestId: ID", "\tInit Duration: N ms"
    by_function = {
        name: [text for line, text in zip(lines, plain, strict=True) if line.startswith(f"{name} ")]
        for name in ("reported", "ready")
    }
    assert by_function["ready"] == [start, end, report]
    assert len(requests) == 5
    assert by_function["reported"] == [
        *(start, "cold", end, report + cold),
        *(start, "warm", end, report),
        *(start, "raises", end, report),
        *(start, "dies", end, report + "\tStatus: error\tError Type: Runtime.ExitError"),
        *(start, "hangs", end, report + cold + "\tStatus: timeout"),
    ]
    [memory] = {
        re.search(r"Memory Size: ([0-9]+)", line)[1] for line in lines if "REPORT" in line and "reported" in line
    }
    assert memory == "100"
    used = [int(re.search(r"Max Memory Used: ([0-9]+)", line)[1]) for line in lines if "REPORT" in line]
    assert all(5 < mebibytes < 100 for mebibytes in used), used
