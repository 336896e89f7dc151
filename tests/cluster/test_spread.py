"""Handlers run in every process that shares the store, and what a process ran that is lost runs again elsewhere, once."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from ledger import check_ledger
from members import Members, now, until

import forebay

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from members import Process

log = logging.getLogger("figures")

# The owner holds a process for dead after 5 s; beside other tests a machine takes longer for all of it.
RUNS_AGAIN_WITHIN = 12.0 if os.environ.get("FOREBAY_COUNT") else 30.0


# Responses that are more than a frame may have where one of two processes returns its share of them.
RESPONSES, RESPONSE_BYTES, FRAME_MAX = 28, 5_500_000, 64 << 20


def handlers(url: str) -> list[dict[str, object]]:
    """Give the processes that run handlers."""
    command = [sys.executable, "-m", "forebay.cli", "cluster", "handlers", "--store", url, "--output", "json"]
    return list(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))


def ran_since(process: Process, moment: float) -> bool:
    return any(float(words[1]) > moment for words in process.lines("ran"))


def test_a_process_that_runs_handlers_for_the_owner_may_be_killed_and_stopped(
    members: Members, url: str, tmp_path: Path
) -> None:
    for _ in range(2):
        # With few keys one lane may follow the other, and the owner runs all of it.
        members.start(url, "busy")
    members.working(0.0)
    owner = members.owner(url)
    runner = next(process for process in members.all if process is not owner)
    until(lambda: all(len(process.lines("ran")) > 5 for process in members.all), members.logs)
    listed = [sys.executable, "-m", "forebay.cli", "cluster", "handlers", "--store", url]
    here = {**os.environ, "FOREBAY_RUN_DIR": str(tmp_path / "run-here")}
    said = subprocess.run(listed, capture_output=True, text=True, check=True, env=here).stdout
    assert re.search(rf"process {owner.child.pid} on \S+ +owner +\d", said), said
    assert re.search(rf"process {runner.child.pid} on \S+ +client +\d", said), said

    runner.signal(signal.SIGKILL)
    third = members.start(url, "busy")
    until(lambda: len(third.lines("ran")) > 5, members.logs)

    stopped = now()
    third.signal(signal.SIGSTOP)
    time.sleep(7)
    went_on = now()
    third.paused.append((stopped, went_on))
    third.signal(signal.SIGCONT)
    until(lambda: ran_since(third, went_on + 0.5), members.logs)
    log.info("%s: %.1f s until it ran handlers again", "a runner was stopped for 7 s", now() - went_on)
    assert now() - went_on < RUNS_AGAIN_WITHIN
    assert {run.token for run in members.runs()} == {1}
    check_ledger(members)


async def test_large_responses_that_end_together_do_not_end_the_connection(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They went in one frame, which was too large: all that the process ran had failed, and what is retried ran on and on."""
    monkeypatch.setenv("FOREBAY_RUN_DIR", str(tmp_path / "run"))
    ran, ends = [0, 0], asyncio.Event()

    def shop(number: int) -> tuple[forebay.App, forebay.Function]:
        app = forebay.App("shop", store=url)

        @app.function(timeout=60)
        async def large(event: None, context: forebay.Context) -> str:
            ran[number] += 1
            await ends.wait()
            return "x" * RESPONSE_BYTES

        return app, large

    (owner, invoked), (other, _) = shop(0), shop(1)
    async with owner, other:
        async with asyncio.timeout(100):
            while len(await asyncio.to_thread(handlers, url)) < 2:  # noqa: ASYNC110  what another process sees
                await asyncio.sleep(0.05)
            asked = []
            for number in range(RESPONSES):
                # One after the other, so that both processes get some.
                asked.append(asyncio.create_task(invoked.invoke(None)))
                while sum(ran) <= number:  # noqa: ASYNC110  what another app of this process does
                    await asyncio.sleep(0.01)
            ends.set()
            answers = await asyncio.gather(*asked)
    assert {len(answer) for answer in answers} == {RESPONSE_BYTES}
    assert sum(ran) == RESPONSES, "none ran again"
    assert ran[1] * RESPONSE_BYTES > FRAME_MAX
