"""A record that kills its process is tried alone and given up, whichever machines it goes through.

`make deep` goes on until it is given up: FOREBAY_COUNT is set there.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from members import Members, Process, need_machines, until

POISON_APP = Path(__file__).parent / "poison_app.py"
TO_THE_END = bool(os.environ.get("FOREBAY_COUNT"))
KILLED = 9
# Each machine knows what its own processes died of: once beside other work, and three times of the record alone.
DEATHS_MAX = 2 * 4


def named(process: Process, what: str) -> list[str]:
    return [words[0] for words in process.lines(what)]


def most_at_once(process: Process) -> int:
    """Count what ran beside each other at most."""
    words = [line.split()[0] for line in process.notes.read_text().splitlines()]
    return max(itertools.accumulate({"began": 1, "ended": -1}.get(word, 0) for word in words))


@pytest.mark.timeout(240 if TO_THE_END else 90)
def test_a_record_that_kills_the_processes_of_two_machines_in_turn_is_tried_alone(members: Members, url: str) -> None:
    """A machine's second process did not know what its first had died of: another machine's had owned the store between."""
    need_machines()
    machines = itertools.cycle(("this", "that"))

    def start() -> Process:
        process = members.start(url, machine=next(machines), program=POISON_APP)
        until(lambda: process.lines("started") != [] or not process.lives, members.logs)
        return process

    def dies(process: Process) -> bool:
        until(lambda: not process.lives or "after" in named(process, "ended"), members.logs)
        assert process.lives or process.child.returncode == KILLED, members.logs()
        return not process.lives

    first, second = start(), start()
    Path(f"{first.notes}.go").touch()
    assert dies(first)
    third = start()
    assert dies(second)
    assert dies(third)
    assert all("poison" in named(process, "began") for process in (first, second, third))
    assert most_at_once(first) > 1
    assert most_at_once(second) > 1, "its machine knows nothing of the first"
    assert most_at_once(third) == 1
    if TO_THE_END:
        while dies(start()):
            assert len(members.all) <= DEATHS_MAX, members.logs()
        figures = {"given_up": 1, "deaths": len(members.all) - 1}
        sys.stdout.write(f"\nfigures {json.dumps(figures)}\n")
        listed = [sys.executable, "-m", "forebay.cli", "dlq", "list", "--output", "json", "--store", url]
        said = subprocess.run(listed, capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stderr
        assert "RuntimeInterrupted" in said.stdout
