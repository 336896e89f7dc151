"""`forebay run --workers N` on a store that processes share: one that is killed is replaced, and all end together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from members import until

from forebay.cli.workers import worker_command

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
WORKERS = 3


class Workers:
    """The processes of the app in worker_app.py."""

    def __init__(self, url: str, folder: Path) -> None:
        self._notes, self._log = folder / "notes", folder / "log"
        self._notes.touch()
        self._url = url
        run = str(folder / "run")
        self._environment = {**os.environ, "STORE_URL": url, "NOTES": str(self._notes), "FOREBAY_RUN_DIR": run}
        command = self._command("run", "worker_app:app", "--workers", str(WORKERS), "--metrics-port", "0")
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=HERE, env=self._environment, stdout=log, stderr=log)

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "forebay.cli", *words]

    def log(self) -> str:
        """Give what they said."""
        return self._log.read_text()

    def pids(self) -> list[int]:
        """Give the processes that run the app."""
        return [
            int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ]

    def are_ready(self, *, without: int | None = None) -> bool:
        """Whether one of them owns the store, but for the process `without`, and all the others stand by."""
        command = self._command("cluster", "members", "--output", "json", "--store", self._url)
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        seen = json.loads(done.stdout) if done.returncode == 0 else []
        living = [member for member in seen if member["silent_ms"] < 3_000]
        owners = [int(member["name"].split("/")[1]) for member in living if member["owns"]]
        return len(living) == WORKERS and len(owners) == 1 and owners[0] != without

    def handled_by(self, number: int) -> int:
        """Put a number; give the process that has handled it."""
        command = self._command("stream", "put", "numbers", "--partition-key", "key", "--store", self._url)
        done = subprocess.run(
            command, env=self._environment, input=f"{number}\n", text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr + self.log()

        def lines() -> list[list[str]]:
            return [line.split() for line in self._notes.read_text().splitlines()]

        until(lambda: any(words[2:] == [str(number)] for words in lines()), self.log)
        return next(int(words[0]) for words in lines() if words[2] == str(number))


def lives(pid: int) -> bool:
    """Whether a process runs; nobody may have asked how it ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def workers(url: str, tmp_path: Path) -> Iterator[Workers]:
    running = Workers(url, tmp_path)
    yield running
    if running.process.poll() is None:
        running.process.kill()
    running.process.wait()


def test_a_worker_that_is_killed_is_replaced_and_all_end_together(workers: Workers) -> None:
    until(workers.are_ready, workers.log)
    owner = workers.handled_by(1)
    before = workers.pids()
    assert owner in before
    # All write into one log, in which nobody found who owns the store.
    said = [json.loads(line) for line in workers.log().splitlines() if line.startswith("{")]
    assert [line["processId"] for line in said if "is the owner of store" in line["message"]] == [owner]
    os.kill(owner, signal.SIGKILL)
    until(lambda: workers.are_ready(without=owner), workers.log)
    assert len(workers.pids()) == WORKERS
    next_owner = workers.handled_by(2)
    # On a busy machine the one that was started anew may be the one that takes over.
    assert next_owner in workers.pids()
    assert next_owner != owner

    workers.process.terminate()
    assert workers.process.wait(100) == 0, workers.log()
    assert not any(map(lives, before))


def test_workers_that_cannot_start_end_with_their_status() -> None:
    command = [sys.executable, "-m", "forebay.cli", "run", "no_such_module:app", "--workers=2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no module 'no_such_module'" in done.stderr


def test_workers_end_when_who_started_them_is_killed(workers: Workers) -> None:
    until(workers.are_ready, workers.log)
    pids = workers.pids()
    workers.process.kill()
    until(lambda: not any(map(lives, pids)), workers.log)


def test_a_worker_has_the_command_of_the_whole_without_the_number_of_workers() -> None:
    for given in (["run", "--workers", "4", "m:a", "--grace", "3"], ["run", "m:a", "--workers=4", "--grace", "3"]):
        assert worker_command(given, 7)[3:] == ["run", "m:a", "--grace", "3", "--worker-of", "7"]


def test_workers_need_an_app(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "forebay.cli", "run", "--workers", "2", "--store", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--workers needs MODULE:APP" in done.stderr
