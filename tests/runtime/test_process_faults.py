"""Whatever a handler does to its own process: the exact number of attempts, the right error, and a runtime that goes on.

`FOREBAY_COUNT` says how often: `make deep ARGS=poison` does each a hundred times.
"""

import asyncio
import json
import os
from collections import Counter
from pathlib import Path

import pytest

TIMES = int(os.environ.get("FOREBAY_COUNT", "2"))
EXIT, TIMEOUT, UNKNOWN = "Runtime.ExitError", "Sandbox.Timedout", "Runtime.Unknown"

EXPECTED = {
    "exit": (EXIT, "Runtime exited with error: exit status 3"),
    "exit 0": (EXIT, "Runtime exited without providing a reason"),
    "sys.exit": (EXIT, "Runtime exited with error: exit status 5"),
    "segmentation fault": (EXIT, "Runtime exited with error: signal: segmentation fault"),
    "abort": (EXIT, "Runtime exited with error: signal: aborted"),
    "loop": (TIMEOUT, "Task timed out after 0.70 seconds"),
    "blocking call": (TIMEOUT, "Task timed out after 0.70 seconds"),
    "children": (EXIT, "Runtime exited with error: exit status 9"),
    "closed socket": (EXIT, "Runtime exited without providing a reason"),
    "flood": (TIMEOUT, "Task timed out after 0.70 seconds"),
    "memory": (EXIT, "Runtime exited with error: signal: killed"),
    "nonsense": (UNKNOWN, "Runtime gave an answer that cannot be used: no JSON"),
    "a frame too long": (UNKNOWN, "Runtime gave an answer that cannot be used: a frame of 2147483648 bytes"),
    "an unknown kind": (UNKNOWN, "Runtime gave an answer that cannot be used: a frame of kind 77"),
}


async def until(condition):
    async with asyncio.timeout(50 + 3 * TIMES):
        while not await condition():  # noqa: ASYNC110  what is waited for happens in another process
            await asyncio.sleep(0.02)


def seen(attempts):
    return attempts.read_text().split() if attempts.exists() else []


@pytest.mark.timeout(240 + 10 * TIMES)
@pytest.mark.parametrize("fault", EXPECTED)
async def test_a_handler_that_breaks_its_process_costs_exactly_its_attempts(processes, fault, capfd):
    kind, text = EXPECTED[fault]
    is_stuck = kind == TIMEOUT
    inbox, faulty = (processes.stuck_inbox, processes.stuck) if is_stuck else (processes.inbox, processes.faulty)
    attempts = Path(os.environ["FOREBAY_TEST_ATTEMPTS"])
    async with processes.app:
        numbers = [await inbox.put("x", partition_key=fault) for _ in range(TIMES)]
        last = await inbox.put("x", partition_key="nothing wrong")

        async def all_failed():
            return len(await faulty.failed()) >= TIMES

        async def last_ran():
            return last in seen(attempts)

        await until(all_failed)
        await until(last_ran)
        failures = await faulty.failed()
        assert (await processes.echo.invoke("unharmed"))["event"] == "unharmed"
    assert Counter(seen(attempts)) == Counter(dict.fromkeys(numbers, 2) | {last: 1})
    assert [failure["record"]["KinesisBatchInfo"]["startSequenceNumber"] for failure in failures] == numbers
    for failure in failures:
        assert failure["record"]["responseContext"]["functionError"] == "Unhandled"
        error = json.loads(failure["last_error"])
        assert error["errorType"] == kind
        assert text in error["errorMessage"]
    assert len(capfd.readouterr().out) < 2_500_000 * (TIMES + 1), "what is written is bounded"
    with capfd.disabled():
        print(f'\nfigures {{"failure_records": {len(failures)}}}')  # noqa: T201  what `make deep` writes down
