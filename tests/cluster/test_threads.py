"""A handler in a thread cannot be stopped. The store goes to another process all the same; what the thread returns is lost."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from members import now, until

import forebay

if TYPE_CHECKING:
    from db_servers import Postgres
    from members import Members, Process

log = logging.getLogger("figures")

PROGRAM = Path(__file__).parent / "thread_app.py"
GOES_ON_SECONDS = 15.0
"""How long the thread goes on after the store was lost. Others take the store within less."""
PUT_WITHIN = 20.0
"""Others own the store by then, and the thread is left behind only later."""
SEES_SECONDS = 10.0
"""An owner looks at the head four times a second."""


class Shop:
    """The processes of the app, and commands."""

    def __init__(self, members: Members, url: str, run: Path) -> None:
        self._members, self._url, self._run = members, url, run

    def start(self, goes_on: float = GOES_ON_SECONDS) -> Process:
        """Start one more process of the app, whose threads go on so long."""
        process = self._members.start(self._url, str(goes_on), program=PROGRAM)
        until(lambda: process.lines("started") != [], self._members.logs)
        return process

    def command(self, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command on the store, on the same machine."""
        command = [sys.executable, "-m", "forebay.cli", *words, "--store", self._url]
        environment = {**os.environ, "FOREBAY_RUN_DIR": str(self._run)}
        return subprocess.run(command, input=given, capture_output=True, text=True, check=False, env=environment)

    def put(self, stream: str, data: str) -> None:
        """Put one record."""
        put = self.command("stream", "put", stream, "--key", "name", given=json.dumps({"name": data}))
        assert put.returncode == 0, put.stderr + self._members.logs()


def lines(members: Members, what: str) -> list[list[str]]:
    return [words for process in members.all for words in process.lines(what)]


@pytest.fixture(name="shop")
def shop_of_threads(members: Members, own_server: Postgres, tmp_path: Path) -> Shop:
    return Shop(members, f"{own_server.url}?sslmode=disable", tmp_path / "run-here")


def stand_still(server: Postgres, owner: Process, members: Members) -> float:
    """Have the server stand still until the owner has stood down."""
    server.pause()
    try:
        until(lambda: owner.lines("lost") != [], members.logs)
    finally:
        server.resume()
    return now()


def test_a_former_owner_whose_thread_goes_on_lets_others_have_the_store(
    members: Members, own_server: Postgres, shop: Shop
) -> None:
    """It kept the store as long as the thread ran: the head named a process that lived, so nobody else took it."""
    owner, other = shop.start(), shop.start()
    shop.put("slow", "one")
    until(lambda: owner.lines("begun") != [], members.logs)
    went_on = stand_still(own_server, owner, members)
    until(lambda: members.owner(shop._url) is other, members.logs)
    log.info("%s: %.1f s until another owned the store", "a former owner's thread", now() - went_on)
    shop.put("quick", "two")
    until(lambda: other.lines("quick") != [], members.logs)
    assert owner.lines("ended") == [], "the thread was not waited for"
    # The record of the thread ran again, and once.
    until(lambda: owner.lines("ended") != [], members.logs)
    shop.put("quick", "three")
    until(lambda: len(lines(members, "quick")) == 2, members.logs)
    assert [words[0] for words in other.lines("begun")] == ["one"]
    assert len(owner.lines("begun")) == 1
    until(lambda: shop.command("cluster", "members").stdout.count("stands by") == 1, members.logs)


def test_a_store_whose_only_process_has_stood_down_is_told_to_have_no_owner(
    members: Members, own_server: Postgres, shop: Shop
) -> None:
    """`forebay cluster status` said that it owned the store, and that it had beaten less than a second ago."""
    alone = shop.start()
    shop.put("slow", "one")
    until(lambda: alone.lines("begun") != [], members.logs)
    stand_still(own_server, alone, members)
    until(lambda: "nobody owns it" in shop.command("cluster", "status").stdout, members.logs)
    assert alone.lines("ended") == []
    assert shop.command("cluster", "status").returncode == 1
    assert "cannot own it now" in shop.command("cluster", "members").stdout
    until(lambda: alone.lines("ended") != [], members.logs)
    ended = now()
    until(lambda: len(alone.lines("begun")) == 2, members.logs)
    assert now() - ended < 10, "it takes the store again at once, and not when 30 s have passed"


def test_a_store_is_moved_although_a_thread_goes_on(members: Members, shop: Shop) -> None:
    """The owner waited for the thread, begun nothing more meanwhile, and `cluster move` gave up after a minute."""
    owner, other = shop.start(), shop.start()
    shop.put("slow", "one")
    until(lambda: owner.lines("begun") != [], members.logs)
    asked = now()
    moved = shop.command("cluster", "move", str(other.child.pid))
    assert moved.returncode == 0, moved.stderr + members.logs()
    log.info("%s: %.1f s until the other owned the store", "moved from a thread", now() - asked)
    until(lambda: other.lines("begun") != [], members.logs)
    assert owner.lines("ended") == [], "the thread was not waited for"
    assert len(owner.lines("lost")) == 1
    assert "although these have not ended" in members.logs()
    assert "in_thread (" in members.logs()
    # If the thread ends the process yet, the next owner here finds out what ran.
    assert len(list(shop._run.glob("*.1.attempts"))) == 1
    until(lambda: owner.lines("ended") != [], members.logs)
    # Its outcome is nobody's: the record was handled by the other process, once.
    shop.put("slow", "two")
    until(lambda: "two" in [words[0] for words in lines(members, "ended")], members.logs)
    time.sleep(1)
    assert sorted(words[0] for words in lines(members, "begun")) == ["one", "one", "two"]
    until(lambda: not list(shop._run.glob("*.1.attempts")), members.logs)
    members.owner(shop._url)
    until(lambda: "stands by" in shop.command("cluster", "members").stdout, members.logs)


def test_a_thread_is_told_when_its_process_ends(members: Members, shop: Shop) -> None:
    """The record ran again under the next owner, while the thread had no word of it until its process was gone."""
    owner, other = shop.start(), shop.start()
    shop.put("slow", "one")
    until(lambda: owner.lines("begun") != [], members.logs)
    owner.signal(signal.SIGTERM)
    until(lambda: other.lines("begun") != [], members.logs)
    until(lambda: owner.lines("lost") != [], members.logs)
    assert float(owner.lines("lost")[0][0]) < float(other.lines("begun")[0][2])


def test_threads_of_all_processes_are_told_when_the_store_is_moved(members: Members, shop: Shop) -> None:
    """Only the former owner's threads were told; those of others ran on beside the next attempts of their records."""
    processes = [shop.start() for _ in range(3)]
    # Nobody is given anything before the owner knows that it lives.
    until(lambda: shop.command("cluster", "handlers").stdout.count("process") == len(processes), members.logs)
    for name in "abcdef":
        shop.put("slow", name)
    until(lambda: all(process.lines("begun") for process in processes), members.logs)
    owner = members.owner(shop._url)
    wanted = next(process for process in processes if process is not owner)
    moved = shop.command("cluster", "move", str(wanted.child.pid))
    # A thread goes on there, too. It said that the process owned the store.
    assert moved.returncode == 1
    assert "took the store, and does not own it any more: its log says why" in moved.stderr, moved.stdout + moved.stderr
    until(lambda: any(int(words[1]) > 1 for words in lines(members, "begun")), members.logs)
    again = min(float(words[2]) for words in lines(members, "begun") if int(words[1]) > 1)
    for process in processes:
        told = [float(words[0]) for words in process.lines("lost")]
        assert len(told) == sum(words[1] == "1" for words in process.lines("begun")) > 0
        assert max(told) < again


def test_a_thread_that_hangs_does_not_keep_the_store_from_an_owner(
    members: Members, own_server: Postgres, shop: Shop
) -> None:
    """Its process waited for it for ever. Where each process had one, all puts failed until a restart."""
    alone = shop.start(goes_on=600)
    shop.put("slow", "one")
    until(lambda: alone.lines("begun") != [], members.logs)
    stand_still(own_server, alone, members)
    until(lambda: "nobody owns it" in shop.command("cluster", "status").stdout, members.logs)
    until(lambda: len(alone.lines("begun")) == 2, members.logs)
    assert "are not waited for any more" in members.logs()
    until(lambda: [words[0] for words in alone.lines("ended")] == ["one"], members.logs)
    shop.put("quick", "two")
    until(lambda: alone.lines("quick") != [], members.logs)
    alone.signal(signal.SIGKILL)


def test_a_thread_is_told_when_another_process_has_the_store_after_a_failover(
    members: Members, own_server: Postgres, shop: Shop
) -> None:
    """The owner's take was lost. It ran on beside the next owner until it committed something, within about a minute."""
    owner = shop.start()
    shop.put("slow", "one")
    until(lambda: owner.lines("begun") != [], members.logs)
    # The head as a standby may have it that lagged, when another process has taken the store there.
    own_server.sql("UPDATE forebay_threads.unit SET owner = 'elsewhere/1/0', epoch = epoch + 1")
    seen = now()
    until(lambda: owner.lines("lost") != [], members.logs)
    assert float(owner.lines("lost")[0][0]) - seen < SEES_SECONDS
    until(lambda: "another process has the store, and this one has not given it up" in members.logs(), members.logs)


async def test_who_asked_a_former_owner_asks_the_next_one_although_a_thread_goes_on(
    members: Members, own_server: Postgres, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The former owner hung up on nobody before its thread had ended: a put of a web process took as long, 33 s at most."""
    owner, other = shop.start(goes_on=600), shop.start(goes_on=600)
    shop.put("slow", "one")
    await asyncio.to_thread(until, lambda: owner.lines("begun") != [], members.logs)
    monkeypatch.setenv("FOREBAY_RUN_DIR", str(shop._run))
    web = forebay.App("threads", store=shop._url, serve=False)
    quick = web.stream("quick")
    async with web:
        await quick.put({"name": "two"}, "key")
        began = await asyncio.to_thread(stand_still, own_server, owner, members)
        while now() - began < PUT_WITHIN:
            try:
                await quick.put({"name": "three"}, "key")
                break
            except (forebay.OwnerLost, forebay.StoreFailed):
                await asyncio.sleep(0.1)
        log.info("%s: %.1f s until a put", "a former owner's thread hangs", now() - began)
        assert now() - began < PUT_WITHIN, members.logs()
    until(lambda: "three" in [words[0] for words in other.lines("quick")], members.logs)
    for process in (owner, other):
        process.signal(signal.SIGKILL)
