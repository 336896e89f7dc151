"""Handlers run in every process that shares the store, and what a process ran that is lost runs again elsewhere, once."""

from __future__ import annotations

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

if TYPE_CHECKING:
    from pathlib import Path

    from members import Process

log = logging.getLogger("figures")

# The owner holds a process for dead after 5 s; beside other tests a machine takes longer for all of it.
RUNS_AGAIN_WITHIN = 12.0 if os.environ.get("FOREBAY_COUNT") else 30.0


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
