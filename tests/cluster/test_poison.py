"""A record that kills its process is given up, whichever machines it goes through."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from members import Members, Process, need_machines, until

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger("figures")

POISON_APP = Path(__file__).parent / "poison_app.py"
KILLED = 9
# Each machine knows what its own processes died of: once beside other work, and three times of the record alone.
DEATHS_MAX = 2 * 4


def handled(members: Members) -> Iterator[str]:
    return (words[0] for process in members.all for words in process.lines("ran"))


@pytest.mark.timeout(240)
def test_a_record_that_kills_the_processes_of_two_machines_in_turn_is_given_up(members: Members, url: str) -> None:
    need_machines()

    def ends(process: Process) -> bool:
        until(lambda: not process.lives or "after" in handled(members), members.logs)
        return process.lives

    deaths = 0
    while not ends(members.start(url, machine=("one", "other")[deaths % 2], program=POISON_APP)):
        assert members.all[-1].child.returncode == KILLED, members.logs()
        deaths += 1
        assert deaths <= DEATHS_MAX, members.logs()
    log.info("%s: %d deaths", "a poison record on two machines", deaths)
    assert deaths > 2
    listed = [sys.executable, "-m", "forebay.cli", "dlq", "list", "--output", "json", "--store", url]
    said = subprocess.run(listed, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    assert "RuntimeInterrupted" in said.stdout
    assert set(handled(members)) == {"before", "after"}
