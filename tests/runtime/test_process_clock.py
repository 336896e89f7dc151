"""Processes under a virtual clock: time stands while one of them works, starts or ends, and everything due happens in order."""

import os
from pathlib import Path

import pytest

from forebay import ClockStalled, FunctionError, InvalidParameterValue


@pytest.fixture
def clocked(import_app):
    return import_app("process_clock")


def told():
    path = Path(os.environ["FOREBAY_TEST_ATTEMPTS"])
    return path.read_text().split() if path.exists() else []


async def test_a_settled_clock_has_let_every_process_end(clocked):
    async with clocked.app:
        await clocked.numbers.put_many([(number, "k") for number in (1, 2, 3)])
        assert told() == []
        await clocked.clock.settle()
        assert told() == ["1", "2"]
        await clocked.clock.advance(9.9)
        assert told() == ["1", "2"], "the failed one waits ten seconds of the clock"
        await clocked.clock.advance(0.2)
        assert told() == ["1", "2", "2", "3"]


async def test_messages_are_taken_by_processes_while_time_stands(clocked):
    async with clocked.app:
        await clocked.letters.send("now")
        await clocked.letters.send("later", delay=60)
        await clocked.clock.settle()
        assert told() == ["now"]
        await clocked.clock.advance(61)
        assert told() == ["now", "later"]
        assert clocked.letters.depth().visible == clocked.letters.depth().in_flight == 0


async def test_an_invocation_runs_while_it_is_awaited_and_has_its_time(clocked):
    async with clocked.app:
        [event, pid, left] = await clocked.echo.invoke("now")
        assert event == "now"
        assert 2000 < left <= 3000
        await clocked.clock.advance(59)
        assert (await clocked.echo.invoke("again"))[1] == pid
        await clocked.clock.advance(61)
        assert (await clocked.echo.invoke("idle too long"))[1] != pid


async def test_asynchronous_events_are_retried_on_the_clock(clocked):
    async with clocked.app:
        await clocked.dies.invoke_async(None)
        await clocked.clock.settle()
        assert len(told()) == 1
        await clocked.clock.advance(60)
        assert len(told()) == 2
        await clocked.clock.advance(121)
        assert len(told()) == 3
        [failure] = await clocked.dies.failed()
        assert failure["record"]["requestContext"]["approximateInvokeCount"] == 3


async def test_a_process_that_does_not_end_stalls_the_clock_and_is_named(clocked):
    await clocked.app.start()
    await clocked.hangs.invoke_async(None)
    with pytest.raises(ClockStalled, match=r"function 'hangs', request [0-9a-f-]{36}"):
        await clocked.clock.advance(1)
    with pytest.raises(ClockStalled):
        await clocked.app.stop(grace=1)


async def test_a_process_that_dies_fails_the_invocation(clocked):
    async with clocked.app:
        with pytest.raises(FunctionError) as caught:
            await clocked.dies.invoke()
    assert caught.value.payload["errorType"] == "Runtime.ExitError"


async def test_a_reservation_that_is_all_provisioned_takes_an_invocation_before_its_process_is_ready(import_app):
    """It was refused as throttled, with nothing running, until all were ready: for ever if they could not start."""
    module = import_app("process_provisioned")
    async with module.app:
        [function] = [one for one in await module.app._caller.ask("functions.list") if one["name"] == "all_kept"]
        assert function["provisioned_ready"] == 0
        assert await module.all_kept.invoke("at once") == "at once"


@pytest.mark.parametrize("given", [3, 900, -1, None])
async def test_no_more_is_provisioned_than_may_run(import_app, given):
    """An operator's typo started hundreds of processes, though `Environments(maximum=2)` was declared."""
    module = import_app("process_provisioned")
    async with module.app:
        shown = "null" if given is None else given
        text = f"provisioned_concurrency={shown}: allowed are whole numbers from 0 to 2"
        with pytest.raises(InvalidParameterValue, match=f"^{text}$"):
            await module.app._caller.ask("function.update", name="kept", provisioned_concurrency=given)
        assert (await module.app._caller.ask("functions.list"))[-1]["provisioned_concurrency"] == 2
