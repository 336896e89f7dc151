"""`forebay cluster move` and `drain` under load: another process owns the store soon, and nothing is refused or run twice."""

from __future__ import annotations

import collections
import json
import logging
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from ledger import check_ledger
from members import Process, need_machines, now, until

if TYPE_CHECKING:
    from pathlib import Path

    from db_servers import Postgres
    from members import Members

log = logging.getLogger("figures")

# It takes a moment of what runs, a look of the next owner and the opening; beside other tests all of it takes longer.
MOVED_WITHIN = 6.0 if os.environ.get("FOREBAY_COUNT") else 20.0
HANDED_OVER = "the owner gave the store up, and nobody waited for its lease to run out"


def cluster(*words: str, url: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "forebay.cli", "cluster", *words, "--store", url]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def others(members: Members, owner: Process) -> list[Process]:
    return [process for process in members.all if process is not owner]


def test_a_store_is_moved_and_a_process_drained_under_load(members: Members, url: str) -> None:
    for _ in range(3):
        members.start(url)
    members.working(0.0)
    first = members.owner(url)
    until(lambda: all(len(process.lines("acked")) > 5 for process in members.all), members.logs)

    wanted = others(members, first)[0]
    begun = now()
    moved = cluster("move", str(wanted.child.pid), url=url)
    assert moved.returncode == 0, moved.stderr + members.logs()
    assert f"owned by process {wanted.child.pid} on " in moved.stdout
    _, moment = members.working(begun, anew=True)
    log.info("%s: %.1f s until the next handler began", "moved", moment - begun)
    assert moment - begun < MOVED_WITHIN
    assert members.deaths(url) == 0, HANDED_OVER
    # It gave three reasons for a planned change, and said that nothing runs here any more.
    assert "and looks for its owner anew: the connection was lost, the owner has given the store up" in members.logs()
    listed = json.loads(cluster("members", "--output", "json", url=url).stdout)
    assert [one["role"] for one in listed if one["address"] is not None] == ["owner"], (
        "nobody listens at a former owner's"
    )
    several = cluster("move", os.uname().nodename, url=url)
    assert f"there are several processes {os.uname().nodename}: name one of " in several.stderr
    again = cluster("move", f"{os.uname().nodename}/{wanted.child.pid}", url=url)
    assert "owns it already" in again.stdout

    begun = now()
    drained = cluster("drain", str(wanted.child.pid), url=url)
    assert drained.returncode == 0, drained.stderr + members.logs()
    _, moment = members.working(begun, anew=True)
    assert moment - begun < MOVED_WITHIN
    assert members.deaths(url) == 0, HANDED_OVER
    assert "drained" in cluster("members", url=url).stdout
    refused = cluster("move", str(wanted.child.pid), url=url)
    assert refused.returncode == 1
    assert "--undo" in refused.stderr
    assert cluster("drain", str(wanted.child.pid), "--undo", url=url).returncode == 0
    assert cluster("move", str(wanted.child.pid), url=url).returncode == 0

    before = [len(process.lines("acked")) for process in members.all]
    until(
        lambda: all(len(one.lines("acked")) > n + 5 for one, n in zip(members.all, before, strict=True)), members.logs
    )
    check_ledger(members)
    assert [words for process in members.all for words in process.lines("refused")] == []
    times = collections.Counter(name for run in members.runs() for name, _ in run.records)
    assert [name for name, count in times.items() if count > 1] == []


def test_a_process_that_cannot_open_the_store_gives_it_back(members: Members, url: str, tmp_path: Path) -> None:
    need_machines()
    first = members.start(url)
    members.working(0.0)
    unfit = members.start(url, machine="unfit")
    until(lambda: len(unfit.lines("acked")) > 5, members.logs)
    # Where its attempts file is to be, others can write by now. A client needs none.
    (tmp_path / "run-unfit").chmod(0o777)

    begun = now()
    cluster("move", str(unfit.child.pid), "--timeout", "0", url=url)
    until(lambda: "cannot own it now" in cluster("members", url=url).stdout, members.logs)
    _, moment = members.working(begun, [first], anew=True)
    log.info("%s: %.1f s until the next handler began", "given back", moment - begun)
    assert moment - begun < MOVED_WITHIN
    assert members.deaths(url) == 0, HANDED_OVER
    acked = len(unfit.lines("acked"))
    until(lambda: len(unfit.lines("acked")) > acked + 20, members.logs)
    assert unfit.lines("ran") != [], "it runs handlers for the owner all the same"
    assert "must be a directory of mode 0700" in members.logs()
    check_ledger(members)


def test_a_look_tells_what_keeps_a_store_from_a_newer_format(members: Members, own_server: Postgres) -> None:
    url = f"{own_server.url}?sslmode=disable"
    old = members.start(url)
    members.working(0.0)
    assert "its format is 1\n" in cluster("status", url=url).stdout
    own_server.sql(
        "INSERT INTO forebay_shared.member (name, beat, version, format) VALUES ('there/7/0', 1, '9.0', 2) "
        "ON CONFLICT (name) DO UPDATE SET seen = clock_timestamp()"
    )
    said = cluster("status", url=url).stdout
    assert "its format is 1, and becomes 2 when these have the new release: process" in said
    assert f"process {old.child.pid} on " in said.splitlines()[-1]


def test_what_cannot_own_a_store_is_told_and_not_waited_for(members: Members, own_server: Postgres) -> None:
    """`drain` waited for it for a minute, and `move` said that it was drained."""
    url = f"{own_server.url}?sslmode=disable"
    owner = members.start(url)
    members.working(0.0)

    def beat() -> None:
        own_server.sql(
            "INSERT INTO forebay_shared.member (name, beat, version, format) VALUES ('there/7/0', 1, '0.9', 0) "
            "ON CONFLICT (name) DO UPDATE SET seen = clock_timestamp()"
        )

    beat()
    refused = cluster("move", "there/7", url=url)
    assert refused.returncode == 1
    assert "process 7 on there runs release 0.9, which does not understand the store's format" in refused.stderr
    beat()
    refused = cluster("drain", str(owner.child.pid), url=url)
    assert refused.returncode == 1
    assert "start one first" in refused.stderr


def test_the_only_process_is_not_drained(members: Members, url: str) -> None:
    alone = members.start(url)
    members.working(0.0)
    refused = cluster("drain", str(alone.child.pid), url=url)
    assert refused.returncode == 1
    assert "start one first" in refused.stderr
    nobody = cluster("move", "999999999", url=url)
    assert nobody.returncode == 1
    assert "no living process '999999999'" in nobody.stderr
