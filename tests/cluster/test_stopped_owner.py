"""An owner that is stopped as a whole: its kernel answers for it, so whoever only asks it has to look at the store."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from members import Members, need_machines, now, on, until

import forebay
from forebay._core import look_at_server

if TYPE_CHECKING:
    from pathlib import Path

    from db_servers import Postgres

log = logging.getLogger("figures")

# The owner is dead after 5 s, and it is looked twice, a second apart; a busy machine takes longer for all of it.
NOTICED_WITHIN = 15.0 if os.environ.get("FOREBAY_COUNT") else 30.0


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FOREBAY_RUN_DIR", str(tmp_path / "run-here"))


def looked(url: str) -> dict[str, Any]:
    return json.loads(look_at_server(url))


def lag(url: str, *inside: str) -> subprocess.Popen[str]:
    command = [*inside, sys.executable, "-m", "forebay.cli", "lag", "--store", url]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_process_that_only_asks_goes_to_the_next_owner(members: Members, url: str) -> None:
    """It waited for as long as the former owner was stopped, and so did `forebay lag`."""
    owner = members.start(url)
    members.working(0.0)
    members.start(url)
    until(lambda: all(process.lines("started") for process in members.all), members.logs)

    async def put_on() -> tuple[float, list[str]]:
        app = forebay.App("shared", store=url, serve=False)
        numbers, refused = app.stream("numbers", shards=2), []
        async with app:
            await numbers.put("before", "k")
            stopped = now()
            owner.signal(signal.SIGSTOP)
            owner.paused.append((stopped, float("inf")))
            async with asyncio.timeout(NOTICED_WITHIN):
                for count in range(3):
                    try:
                        await numbers.put(f"after:{count}", "k")
                    except forebay.OwnerLost as error:
                        refused.append(str(error))
            return now() - stopped, refused

    took, refused = asyncio.run(put_on())
    assert took < NOTICED_WITHIN
    # The first was on its way, and may have been accepted.
    assert len(refused) == 1
    assert "it may or may not have accepted the request" in refused[0]


def test_a_process_that_only_asks_is_nobody_who_could_take_the_store_over(members: Members, url: str) -> None:
    """It stayed among the members once it had found no owner: it was counted as a standby, and given the store by a drain."""
    owner = members.start(url, "quiet")
    until(lambda: owner.lines("started") != [], members.logs)

    async def put_on() -> list[str]:
        app = forebay.App("shared", store=url, serve=False)
        numbers = app.stream("numbers", shards=2)
        async with app:
            await numbers.put("before", "k")
            owner.signal(signal.SIGKILL)
            next_one = await asyncio.to_thread(members.start, url, "quiet")
            async with asyncio.timeout(NOTICED_WITHIN):
                while not (next_one.lines("started") and str(next_one.child.pid) in str(looked(url)["store"]["owner"])):
                    with contextlib.suppress(forebay.OwnerLost):
                        await numbers.put("after", "k")
                    await asyncio.sleep(0.1)
                await numbers.put("at last", "k")
            return [one["name"] for one in looked(url)["store"]["members"]]

    names = asyncio.run(put_on())
    assert names
    assert not any(f"/{os.getpid()}/" in name for name in names)


def test_a_process_that_only_asks_takes_a_store_whose_only_owner_has_died(members: Members, url: str) -> None:
    """A command works without an app, also where the app has just been killed."""
    owner = members.start(url, "quiet")
    until(lambda: owner.lines("started") != [], members.logs)
    owner.signal(signal.SIGKILL)
    command = [sys.executable, "-m", "forebay.cli", "stream", "put", "numbers", "--partition-key", "k", "--store", url]
    put = subprocess.run(command, input='{"late": 1}\n', capture_output=True, text=True, check=False)
    assert put.returncode == 0, put.stderr


def test_a_process_that_only_asks_logs_in_seldom_while_there_is_no_owner(
    members: Members, own_server: Postgres
) -> None:
    """Each logged in eight times a second, just when the next owner had to connect: a hundred of them filled the server."""
    url = f"{own_server.url}?sslmode=disable"
    owner = members.start(url, "quiet")
    until(lambda: owner.lines("started") != [], members.logs)

    def logins() -> int:
        return int(own_server.sql("SELECT sessions FROM pg_stat_database WHERE datname = current_database()"))

    owner.signal(signal.SIGKILL)
    owner.child.wait()
    before, begun = logins(), now()
    command = [sys.executable, "-m", "forebay.cli", "stream", "put", "numbers", "--partition-key", "k", "--store", url]
    put = subprocess.run(command, input='{"late": 1}\n', capture_output=True, text=True, check=False)
    assert put.returncode == 0, put.stderr
    took, many = now() - begun, logins() - before
    log.info("an owner killed: %d logins in %.1f s until the next one had answered", many, took)
    # A member's connections, and those of the owner that it becomes, beside a look a second, and where the owner listens.
    assert many < 15 + 2.5 * took


@pytest.mark.parametrize("machine", [None, "elsewhere"])
def test_a_command_does_not_wait_for_an_owner_that_is_stopped(members: Members, url: str, machine: str | None) -> None:
    """It took the beats of the process that had taken the store for signs of life of the one that it had asked."""
    if machine is not None:
        need_machines()
    owner = members.start(url)
    members.working(0.0)
    other = members.start(url, "quiet")
    until(lambda: other.lines("started") != [], members.logs)
    owner.signal(signal.SIGSTOP)
    begun = now()
    asked = lag(url, *on(machine))
    _, said = asked.communicate(timeout=2 * NOTICED_WITHIN)
    log.info("stopped, and asked from %s: %.1f s until the command ended: %s", machine or "here", now() - begun, said)
    if machine is None:
        # It had asked, and cannot know whether that was heard. From elsewhere it does not get so far: it asks the next owner.
        assert "went away before it answered" in said
    else:
        assert asked.returncode == 0, said
