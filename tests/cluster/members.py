"""Processes of one app, and what each of them wrote down: the truth about them from outside forebay."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from notes import now

from forebay._core import look_at_server

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAM = Path(__file__).parent / "shared_app.py"
PATIENCE_SECONDS = 100.0
# What a server that keeps data has, and the tests of the database proxy do without.
DURABLE = ("-cfsync=on", "-cfull_page_writes=on", "-csynchronous_commit=on")


@dataclass
class Process:
    """One process of the app."""

    child: subprocess.Popen[bytes]
    notes: Path
    paused: list[tuple[float, float]] = field(default_factory=list)
    killed: float = math.inf
    """When it was killed."""

    def lines(self, what: str) -> list[list[str]]:
        """Give what it has written down of one kind; a line that was cut off by a kill is left out."""
        text = self.notes.read_text() if self.notes.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        return [words[1:] for words in map(str.split, whole.splitlines()) if words and words[0] == what]

    def signal(self, number: int) -> None:
        """Give it a signal."""
        if number == signal.SIGKILL:
            self.killed = min(self.killed, now())
        self.child.send_signal(number)

    @property
    def lives(self) -> bool:
        """Whether it runs."""
        return self.child.poll() is None


@dataclass(frozen=True)
class Run:
    """One batch that a process has handled."""

    token: int
    begun: float
    ended: float
    records: tuple[tuple[str, int], ...]
    """Their names and sequence numbers."""
    stopped: float
    """When its process was stopped first while it owned the store."""
    killed: float
    """When its process was killed."""


def on(machine: str | None) -> tuple[str, ...]:
    """Give what a command begins with that runs on a made-up machine: one of another name, whose sockets are not here."""
    if machine is None:
        return ()
    return ("unshare", "--uts", "sh", "-c", f'hostname {machine} && exec "$@"', "sh")


def need_machines() -> None:
    """Skip the test where no machine can be made up."""
    if subprocess.run([*on("elsewhere"), "true"], capture_output=True, check=False).returncode:
        pytest.skip("no machine can be made up here: unshare --uts needs root")


class Members:
    """The processes of a test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.all: list[Process] = []
        self.cuts: list[tuple[float, float]] = []
        """From when to when a link between its machines lost packets, or all of them."""

    def start(
        self,
        url: str,
        *arguments: str,
        machine: str | None = None,
        inside: tuple[str, ...] = (),
        program: Path = PROGRAM,
        python: str = sys.executable,
        **variables: str,
    ) -> Process:
        """Start one more, on a machine that is made up, if one is named; its notes begin with the numbers that it puts.

        `inside` is what its command begins with.
        """
        notes = self._folder / f"notes-{len(self.all)}"
        command = [*inside, *on(machine), python, str(program), str(notes), str(len(self.all)), *arguments]
        log = (self._folder / f"log-{len(self.all)}").open("wb")
        run = str(self._folder / f"run-{machine or 'here'}")
        environment = {**os.environ, "STORE_URL": url, "FOREBAY_RUN_DIR": run, **variables}
        child = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        log.close()
        self.all.append(Process(child, notes))
        return self.all[-1]

    def working(self, since: float, among: list[Process] | None = None, *, anew: bool = False) -> tuple[Process, float]:
        """Wait until one has handled something that it began after a moment; give it and when. `anew`: for another owner."""
        found: list[tuple[float, Process]] = []
        begun = [run for run in self.runs() if run.begun < since]
        former = max((run.token for run in begun), default=0) if anew else 0

        def look() -> bool:
            for process in self.all if among is None else among:
                begun = [float(words[1]) for words in process.lines("ran") if int(words[0]) > former]
                found.extend((moment, process) for moment in begun if moment > since)
            return bool(found)

        until(look, self.logs)
        moment, process = min(found, key=lambda one: one[0])
        return process, moment

    def owner(self, url: str) -> Process:
        """Wait until one of them owns the store; give it."""
        found: list[Process] = []

        def look() -> bool:
            owner = json.loads(look_at_server(url))["store"]["owner"] or "//"
            number = owner.split("/")[1]
            found.extend(process for process in self.all if str(process.child.pid) == number and process.lives)
            return bool(found)

        until(look, self.logs)
        return found[0]

    def deaths(self, url: str) -> int:
        """Give how often in a row the store was taken from an owner that had not given it up; 0: the last one handed it over."""
        return json.loads(look_at_server(url))["store"]["deaths"]

    def logs(self) -> str:
        """Give the ends of what they said."""
        return "\n".join(path.read_text()[-2_000:] for path in sorted(self._folder.glob("log-*")))

    def acknowledged(self) -> list[str]:
        """Give the numbers whose puts were acknowledged."""
        return [words[0] for process in self.all for words in process.lines("acked")]

    def runs(self) -> list[Run]:
        """Give what ran, in the order in which it began under each owner."""
        found = []
        for process in self.all:
            lines = process.lines("ran")
            # It may have been stopped, and then have owned the store again.
            owned = {token: float(begun) for token, begun, *_ in reversed(lines)}
            for token, begun, ended, *ids in lines:
                stopped = min((low for low, _ in process.paused if low > owned[token]), default=math.inf)
                pairs = tuple((name, int(number)) for name, number in (word.split("@") for word in ids))
                found.append(Run(int(token), float(begun), float(ended), pairs, stopped, process.killed))
        return sorted(found, key=lambda run: (run.token, run.begun))

    def end(self) -> None:
        """End them all."""
        for process in self.all:
            if process.lives:
                with contextlib.suppress(ProcessLookupError):
                    process.signal(signal.SIGCONT)
                    process.signal(signal.SIGKILL)
            process.child.wait()


def until(done: Callable[[], bool], said: Callable[[], str] = str) -> None:
    """Wait for something that other processes do."""
    ends = now() + PATIENCE_SECONDS
    while not done():
        assert now() < ends, said()
        time.sleep(0.05)
