"""A command waits for the owner of a store as long as that one lives."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from forebay.cli import owner_timeout
from forebay.cli.connect import connect

OWNER = """
import asyncio, forebay
app = forebay.App("shop", store="data")

@app.function(timeout=60)
async def slow(event, context):
    await asyncio.sleep(event)
    return "done"

async def main():
    async with app:
        print("runs", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.fixture
def owner(tmp_path, monkeypatch):
    """A process that owns a store, and commands of little owner_timeout."""
    monkeypatch.setattr(owner_timeout, "CHECK_SECONDS", 0.3)
    monkeypatch.setattr(owner_timeout, "SILENT_SECONDS", 4.0)
    command = [sys.executable, "-W", "ignore", "-c", OWNER]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "runs\n"
        yield process
        process.kill()


def stop(process):
    """Stop a process; until its last thread stands still it may answer."""
    os.kill(process.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)


def test_an_owner_that_is_stopped_is_named_and_not_waited_for_without_end(owner, tmp_path, capsys):
    """Every command hung, without a word."""
    stop(owner)
    begun = time.monotonic()
    with (
        pytest.raises(
            owner_timeout.OwnerNotAnswering,
            match=f"process {owner.pid} that owns .*data has not answered for 4 s.*kill -CONT",
        ),
        connect(tmp_path / "data") as connection,
    ):
        connection.ask("stream.list")
    assert time.monotonic() - begun < 20
    assert f"waiting for the process {owner.pid} that owns" in capsys.readouterr().err
    os.kill(owner.pid, signal.SIGCONT)
    with connect(tmp_path / "data") as connection:
        assert connection.ask("stream.list") == []


def test_an_answer_that_takes_its_time_is_waited_for(owner, tmp_path):
    with connect(tmp_path / "data") as connection:
        assert connection.invoke("slow", b"5") == (b'"done"', None)


def test_an_owner_that_goes_on_in_time_is_waited_for(owner, tmp_path, capsys):
    with connect(tmp_path / "data") as connection:
        stop(owner)
        threading.Timer(1.6, os.kill, (owner.pid, signal.SIGCONT)).start()
        assert connection.ask("stream.list") == []
    assert "it does not answer" in capsys.readouterr().err


def test_a_command_that_opens_a_great_store_itself_waits_for_nobody(tmp_path, monkeypatch, capsys):
    """It said that it waited for a process that does not answer, and gave up on itself."""
    monkeypatch.setattr(owner_timeout, "CHECK_SECONDS", 0.1)
    monkeypatch.setattr(owner_timeout, "SILENT_SECONDS", 1.5)
    (tmp_path / "lock").write_text(f"{os.getpid()}\n")
    opened = owner_timeout.wait_for_owner(lambda: time.sleep(3) or "opened", threading.Event().wait, tmp_path)
    assert (opened, capsys.readouterr().err) == ("opened", "")
