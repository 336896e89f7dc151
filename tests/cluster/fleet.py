"""Processes of one app on several machines, looked at while faults come over them."""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING

from members import Members, Process, now, until

from forebay._core import look_at_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Watched:
    """A process, and what it has written down until now, each line of which is read once."""

    def __init__(self, process: Process, machine: str) -> None:
        self.process = process
        self.machine = machine
        self.acknowledged = 0
        self.begun: list[tuple[int, float]] = []
        """The token of each batch, and when it began."""
        self._read = 0

    def look(self) -> None:
        """Read on."""
        if not self.process.notes.exists():
            return
        with self.process.notes.open("rb") as notes:
            notes.seek(self._read)
            text = notes.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode().splitlines():
            words = line.split()
            if words[0] == "acked":
                self.acknowledged += 1
            elif words[0] == "ran":
                self.begun.append((int(words[1]), float(words[2])))


class Fleet:
    """The processes, one on each machine."""

    def __init__(self, members: Members, url: str, machines: Iterable[str], begin: Callable[[str], Process]) -> None:
        self._members = members
        self._url = url
        self._begin = begin
        self.running = {machine: self.start(machine) for machine in machines}

    def start(self, machine: str) -> Watched:
        """Start a process on a machine."""
        return Watched(self._begin(machine), machine)

    def owner(self) -> tuple[Watched, int]:
        """Give the process that owns the store, and its token."""
        process = self._members.owner(self._url)
        token = json.loads(look_at_server(self._url))["store"]["epoch"]
        return next(watched for watched in self.running.values() if watched.process is process), token

    def taken(self, victim: Watched, former: int) -> float:
        """Wait until another process runs handlers with a newer token; give when that began."""
        found: list[float] = []

        def look() -> bool:
            for watched in self.running.values():
                if watched is not victim:
                    watched.look()
                    found.extend(moment for token, moment in watched.begun if token > former)
                    watched.begun.clear()
            return bool(found)

        until(look, self._members.logs)
        return min(found)

    def all_put(self) -> float:
        """Wait until the puts of all processes are acknowledged, whoever owns the store now; give the seconds that it took."""
        begun = now()
        for watched in self.running.values():
            watched.look()
        before = {machine: watched.acknowledged for machine, watched in self.running.items()}

        def look() -> bool:
            for watched in self.running.values():
                watched.look()
            return all(watched.acknowledged > before[machine] + 3 for machine, watched in self.running.items())

        until(look, self._members.logs)
        return now() - begun


def percentile(times: list[float], share: float) -> int:
    """Give a percentile, in ms."""
    return round(1000 * statistics.quantiles(times, n=1000, method="inclusive")[round(1000 * share) - 1])
