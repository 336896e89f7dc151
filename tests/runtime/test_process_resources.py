"""What is attached to the app is opened in each process before its first event, and closed at its end."""

import asyncio
import os
import resource
import time
from pathlib import Path

import pytest

from forebay import FunctionError


@pytest.fixture
def attached(import_app):
    return import_app("process_attached")


def lines():
    return [line.rsplit(" ", 1) for line in Path(os.environ["FOREBAY_TEST_ATTEMPTS"]).read_text().splitlines()]


def told_by(pid):
    return [what for what, who in lines() if who == str(pid)]


ALL = ["opened first", "opened second", "closed second", "closed first"]


async def test_resources_are_opened_before_the_first_event_and_closed_when_the_app_stops(attached):
    async with attached.app:
        [pid, *opened_in] = await attached.used.invoke()
        assert opened_in == [pid, pid]
        assert pid != os.getpid()
        assert told_by(pid) == ALL[:2]
    assert told_by(pid) == ALL
    assert told_by(os.getpid()) == ALL


async def test_a_process_that_is_not_needed_any_more_closes_its_resources(attached):
    async with attached.app:
        [pid, *_] = await attached.used.invoke()
        async with asyncio.timeout(100):
            while told_by(pid) != ALL:  # noqa: ASYNC110  what is waited for happens in another process
                await asyncio.sleep(0.02)
        assert (await attached.used.invoke())[0] != pid


async def test_a_resource_that_cannot_be_opened_fails_the_invocation(attached, monkeypatch):
    monkeypatch.setenv("FOREBAY_TEST_REFUSES", "second")
    async with attached.app:
        for _ in range(2):
            with pytest.raises(FunctionError) as caught:
                await attached.used.invoke()
            assert caught.value.payload["errorType"] == "ConnectionRefusedError"
            assert caught.value.payload["errorMessage"] == "nobody there"
    pids = {who for _, who in lines()} - {str(os.getpid())}
    assert len(pids) == 2
    assert all(told_by(pid) == ["opened first", "closed first"] for pid in pids), "what had been opened is closed"


async def test_a_resource_that_never_closes_is_given_two_seconds(attached, monkeypatch):
    monkeypatch.setenv("FOREBAY_TEST_NEVER_CLOSES", "second")
    await attached.app.start()
    [pid, *_] = await attached.used.invoke()
    began = time.monotonic()
    await attached.app.stop()
    assert time.monotonic() - began >= 2
    assert told_by(pid) == ALL[:2]


async def test_a_process_that_is_killed_closes_nothing(attached):
    async with attached.app:
        pid = await attached.hangs.invoke(0)
        with pytest.raises(FunctionError, match="timed out"):
            await attached.hangs.invoke(60)
    assert told_by(pid) == ALL[:2]


def most_resident_mebibytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


async def test_what_a_process_sends_while_it_closes_is_not_kept(import_app, capfd):
    """Nonsense was read for the whole time that a process may take to close, and kept: hundreds of MiB of the engine's memory."""
    flooding = import_app("process_flooding")
    async with flooding.app:
        await flooding.floods.invoke()
        before = most_resident_mebibytes()
    assert most_resident_mebibytes() - before < 64
    told = "killed while it closed: Runtime gave an answer that cannot be used: a frame of 4294967295 bytes"
    assert told in capfd.readouterr().err
