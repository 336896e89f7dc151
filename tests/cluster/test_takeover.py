"""Several processes on one store of a PostgreSQL server: whichever of them dies, stops or leaves, the others go on."""

from __future__ import annotations

import collections
import logging
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest
from ledger import check_ledger
from members import DURABLE, Members, now, until

if TYPE_CHECKING:
    from db_servers import Postgres

log = logging.getLogger("figures")

# An owner is dead after 5 s, and what it left is opened; beside other tests a machine takes longer for all of it.
TAKEN_WITHIN = 12.0 if os.environ.get("FOREBAY_COUNT") else 30.0
# Of some five seconds, with those of the process's own connections.
LOGINS_MOST = 25
OTHER_PYTHON = os.environ.get("FOREBAY_OTHER_PYTHON") or sys.executable


def test_an_owner_that_is_killed_or_stopped_is_followed_by_another(members: Members, url: str) -> None:
    for _ in range(3):
        members.start(url)
    members.working(0.0)
    owner = members.owner(url)
    until(lambda: all(len(process.lines("acked")) > 5 for process in members.all), members.logs)

    killed = now()
    owner.signal(signal.SIGKILL)
    left = [process for process in members.all if process is not owner]
    _, moment = members.working(killed, left, anew=True)
    successor = members.owner(url)
    log.info("%s: %.1f s until the next handler began", "killed", moment - killed)
    assert moment - killed < TAKEN_WITHIN
    assert members.deaths(url) == 1
    # No log told which machine was gone.
    taken = f"has taken the store over from process {owner.child.pid} on {os.uname().nodename}, which has not beaten for 5 s"
    until(lambda: taken in members.logs(), members.logs)

    stopped = now()
    successor.signal(signal.SIGSTOP)
    _, moment = members.working(stopped, [process for process in left if process is not successor], anew=True)
    log.info("%s: %.1f s until the next handler began", "stopped", moment - stopped)
    assert moment - stopped < TAKEN_WITHIN
    assert members.deaths(url) == 2
    successor.paused.append((stopped, now()))
    successor.signal(signal.SIGCONT)

    # The one that was stopped is a client of the new owner by now: its puts are acknowledged again.
    before = len(successor.lines("acked"))
    until(lambda: len(successor.lines("acked")) > before + 5, members.logs)
    tokens = [run.token for run in members.runs()]
    assert len(set(tokens)) == 3
    check_ledger(members)


def test_a_rolling_upgrade_refuses_nothing_and_runs_nothing_twice(members: Members, url: str) -> None:
    """Processes of two releases serve one app beside each other, where FOREBAY_OTHER_PYTHON is the Python of another one."""
    owner = members.start(url, python=OTHER_PYTHON)
    members.working(0.0)
    standby = members.start(url, python=OTHER_PYTHON)
    until(lambda: len(standby.lines("acked")) > 5, members.logs)
    # The owner comes last.
    for process in (standby, owner):
        newer = members.start(url)
        until(lambda newer=newer: len(newer.lines("acked")) > 5, members.logs)
        left = now()
        process.signal(signal.SIGTERM)
        assert process.child.wait(100) == 0, members.logs()
    _, moment = members.working(left, members.all[2:], anew=True)
    log.info("%s: %.1f s until the next handler began", "left", moment - left)
    assert moment - left < TAKEN_WITHIN
    assert members.deaths(url) == 0, "the owner gave the store up, and nobody waited for its lease to run out"
    check_ledger(members)
    assert [words for process in members.all for words in process.lines("refused")] == []
    times = collections.Counter(name for run in members.runs() for name, _ in run.records)
    assert [name for name, count in times.items() if count > 1] == []


def test_a_server_that_crashes_or_stands_still_loses_nothing(members: Members, own_server: Postgres) -> None:
    url = f"{own_server.url}?sslmode=disable"
    for _ in range(2):
        members.start(url)
    members.working(0.0)
    own_server.kill()
    own_server.start(*DURABLE)
    began = now()
    members.working(began)
    # Longer than an owner may run without having reached the server.
    own_server.pause()
    time.sleep(6)
    went_on = now()
    own_server.resume()
    _, moment = members.working(went_on)
    log.info("%s: %.1f s until the next handler began", "the server went on", moment - went_on)
    check_ledger(members)


@pytest.mark.parametrize("machine", [os.uname().nodename, "elsewhere"])
def test_a_process_leaves_the_server_alone_while_the_owner_does_not_listen(
    members: Members, own_server: Postgres, machine: str
) -> None:
    """An owner listens when it has opened the store. Until then each process beside it logged in some thirty times a second.

    With the connections of many processes the server was full, and the owner had none.
    """
    url = f"{own_server.url}?sslmode=disable"
    maker = members.start(url, "quiet")
    until(lambda: maker.lines("started") != [], members.logs)
    maker.signal(signal.SIGTERM)
    assert maker.child.wait(100) == 0, members.logs()
    owner = f"{machine}/1/0"
    own_server.sql(
        f"INSERT INTO forebay_shared.member (name, beat, version) VALUES ('{owner}', 1, '0'); "
        f"UPDATE forebay_shared.unit SET owner = '{owner}', epoch = epoch + 1"
    )
    members.start(url, "quiet")
    logins: list[int] = []
    for beat in range(2, 24):
        own_server.sql(
            f"UPDATE forebay_shared.member SET beat = {beat}, seen = clock_timestamp() WHERE name = '{owner}'"
        )
        logins.append(int(own_server.sql("SELECT sessions FROM pg_stat_database WHERE datname = current_database()")))
        time.sleep(0.25)
    seen = len(own_server.sql("SELECT name FROM forebay_shared.member").splitlines())
    # Two of each round are those of this test.
    many = logins[-1] - logins[0] - 2 * (len(logins) - 1)
    log.info("%s: %d logins in %.0f s beside an owner that does not listen", machine, many, 0.25 * len(logins))
    assert (seen, many < LOGINS_MOST) == (2, True), f"{many}\n{members.logs()}"
