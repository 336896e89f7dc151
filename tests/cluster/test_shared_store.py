"""One process of an app whose store is on a PostgreSQL server: what it keeps, what it refuses, what commands see of it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from db_servers import PASSWORD
from ports import free_port

import forebay
from forebay.testing import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from db_servers import Postgres


# What is the same in the password and in its form in a URL.
SECRET = PASSWORD.partition("!")[0]


@pytest.fixture(autouse=True)
def own_run_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FOREBAY_RUN_DIR", str(tmp_path / "run"))


def command(*words: str, url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "forebay.cli", *words, "--store", url], capture_output=True, text=True, check=False
    )


def test_what_a_store_on_a_server_cannot_keep_is_refused_by_name() -> None:
    url = "postgresql://me:secret@one/db"
    refused = [
        ({"store": url, "durability": "memory"}, "durability='memory'"),
        ({"store": url, "clock": VirtualClock()}, "clock="),
        ({"store": "postgresql:/me@one/db"}, "store="),
        ({"store": "mysql://me:secret@one/db"}, "postgresql://user@host/database"),
    ]
    for options, text in refused:
        with pytest.raises(forebay.InvalidParameterValue) as caught:
            forebay.App("shop", **options)
        assert text in str(caught.value)


async def test_a_server_that_cannot_be_reached_is_told_without_the_password() -> None:
    app = forebay.App("shop", store="postgresql://me:secret@127.0.0.1:1/db?connect_timeout=1")
    with pytest.raises(forebay.StoreError) as caught:
        await app.start()
    assert "127.0.0.1:1/db" in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_a_server_that_promises_less_than_is_asked_for_is_refused(own_server: Postgres) -> None:
    own_server.kill()
    own_server.start("-cfsync=off")
    url = f"{own_server.url}?sslmode=disable"
    with pytest.raises(forebay.InvalidParameterValue, match="fsync is off"):
        await forebay.App("shop", store=url).start()
    app = forebay.App("shop", store=url, durability="process-crash")
    async with app:
        await app.stream("s").put("1", "key")
    looked = await asyncio.to_thread(command, "doctor", url=url)
    assert looked.returncode == 1
    assert "fsync off" in looked.stdout
    assert "is more than the server promises" in looked.stdout


async def test_of_several_stores_none_is_named_as_the_next_step(own_server: Postgres) -> None:
    """The error named the first one, so what was copied from it went to an app that was not meant."""
    url = f"{own_server.url}?sslmode=disable"
    for name in ("shop", "other"):
        async with forebay.App(name, store=url):
            pass
    asked = await asyncio.to_thread(command, "stream", "list", url=url)
    assert asked.returncode == 1
    assert (
        "in the schemas forebay_other, forebay_shop. Next: name one in the store's URL (?schema=NAME)" in asked.stderr
    )


async def wait_for(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(100):
        while not done():  # noqa: ASYNC110  what other processes and threads do, too
            await asyncio.sleep(0.02)


async def test_what_could_not_be_handled_is_handled_after_a_restart(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    handled: list[str] = []
    tokens: list[int | None] = []

    def declare(*, fails: bool) -> tuple[forebay.App, forebay.Function[..., Any]]:
        app = forebay.App("shop", store=url)
        app.stream("stream")
        app.queue("queue")

        def take(found: list[str]) -> None:
            if fails:
                raise ValueError("not yet")
            handled.extend(found)

        @app.on_stream("stream", batch_size=1)
        async def of_stream(batch: forebay.Batch[forebay.Record], context: forebay.Context) -> None:
            assert not context.lease_lost
            tokens.append(context.fencing_token)
            take([record.data.decode() for record in batch])

        @app.on_queue("queue", batch_size=1, retry_delay=forebay.Backoff(base=0.05, cap=0.1))
        async def of_queue(batch: forebay.Batch[forebay.Message], context: forebay.Context) -> None:
            take([message.body for message in batch])

        @app.function(retry_delays=(0.1, 0.1))
        async def work(event: Any, context: forebay.Context) -> None:
            take(["topic" if "Records" in event else event["detail"]["name"] if "detail" in event else event["name"]])

        app.topic("topic").subscribe(work)
        app.bus("bus").rule("rule", {"source": ["test"]}, work)
        return app, work

    app, work = declare(fails=True)
    async with app:
        await app.stream("stream").put("record", "key")
        await app.queue("queue").send("message")
        await work.invoke_async({"name": "event"})
        await app.topic("topic").publish("published")
        await app.bus("bus").put({"name": "put"}, source="test", detail_type="test")
        await wait_for(lambda: bool(tokens))
    before = len(tokens)
    everything = {"record", "message", "event", "topic", "put"}
    app, _ = declare(fails=False)
    async with app:
        await wait_for(lambda: everything <= set(handled))
        lagging = await asyncio.to_thread(command, "lag", url=url)
    assert lagging.returncode == 0, lagging.stderr
    assert sorted(handled) == sorted(everything)
    earlier, later = set(tokens[:before]), set(tokens[before:])
    assert max(one or 0 for one in earlier) < min(one or 0 for one in later)
    assert SECRET not in caplog.text


async def test_a_function_in_a_process_reaches_the_store_and_knows_the_fencing_token(
    url: str, import_app: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE_URL", url)
    shared = import_app("process_shared")
    async with shared.app:
        answer = await shared.put_from_process.invoke("from a process")
        commands = await asyncio.to_thread(Path(f"/proc/{answer['pid']}/cmdline").read_bytes)
        await wait_for(lambda: shared.handled == [("from a process", answer["fencing_token"])])
    assert answer["fencing_token"] >= 1
    assert not answer["lease_lost"]
    assert SECRET.encode() not in commands
    assert SECRET not in answer["environment"]


async def test_a_thread_is_told_that_the_lease_is_lost(url: str, own_server: Postgres) -> None:
    app = forebay.App("shop", store=f"{own_server.url}?sslmode=disable")
    began, told, ends = threading.Event(), threading.Event(), threading.Event()

    @app.function(isolation="thread", timeout=60)
    def work(event: str, context: forebay.Context) -> None:
        began.set()
        while not context.lease_lost and not ends.is_set():
            time.sleep(0.01)
        if context.lease_lost:
            told.set()

    async with app:
        await work.invoke_async("once")
        for _ in range(2):
            # The second time it has stood by, taken the store again, and runs what had not ended.
            assert await asyncio.to_thread(began.wait, 30)
            told.clear()
            own_server.pause()
            assert await asyncio.to_thread(told.wait, 20)
            began.clear()
            own_server.resume()
        ends.set()


def page(port: int, path: str) -> tuple[int, str]:
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=100) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


async def test_the_owner_shows_whether_it_may_run_the_store_and_who_could_be_next(own_server: Postgres) -> None:
    app = forebay.App("shop", store=f"{own_server.url}?sslmode=disable")
    port = free_port()
    await app.start(metrics_port=port)

    async def shows(path: str, is_it: Callable[[int, str], bool]) -> None:
        async with asyncio.timeout(100):
            while not is_it(*await asyncio.to_thread(page, port, path)):  # noqa: ASYNC110
                await asyncio.sleep(0.2)

    def gauges(epoch: int) -> Callable[[int, str], bool]:
        texts = [
            rf"^forebay_store_epoch {epoch}(\.0)?$",
            r"^forebay_store_standbys 0(\.0)?$",
            r'^forebay_process_attempts\{process="owner"\} 0(\.0)?$',
        ]
        return lambda status, text: status == 200 and all(re.search(one, text, re.MULTILINE) for one in texts)

    try:
        await shows("/metrics", gauges(1))
        await shows("/readyz", lambda status, _: status == 200)
        own_server.pause()
        # Red for a moment, then not served: the process stands by.
        await shows("/readyz", lambda status, _: status != 200)
        own_server.resume()
        await shows("/readyz", lambda status, _: status == 200)
        await shows("/metrics", gauges(2))
    finally:
        own_server.resume()
        await app.stop()


async def test_the_gauges_of_the_store_are_right_from_the_first_second_on(url: str) -> None:
    """They were worked out once a minute: until then a new owner's epoch and its standbys were averages with many zeros."""
    async with forebay.App("shop", store=url) as app:
        app.stream("orders")
        for number in range(30):
            await app.stream("orders").put(str(number), "key")
            await asyncio.sleep(0.1)
        words = ("metrics", "get", "forebay_store_epoch", "--statistic", "Minimum", "--output", "json")
        asked = await asyncio.to_thread(command, *words, url=url)
        assert asked.returncode == 0, asked.stderr
        assert {value for _, value in json.loads(asked.stdout)["points"] if value is not None} == {1}


async def test_commands_work_with_and_without_an_app(url: str) -> None:
    async with forebay.App("shop", store=url) as app:
        app.stream("orders")
        await app.stream("orders").put("1", "key")
        put = await asyncio.to_thread(command, "stream", "describe", "orders", url=url)
        assert put.returncode == 0, put.stderr
        status = await asyncio.to_thread(command, "cluster", "status", "--output", "json", url=url)
        assert status.returncode == 0, status.stderr
        held = json.loads(status.stdout)["store"]
        assert held["owner_process"].startswith(f"process {os.getpid()} on ")
        for what in ("members", "units"):
            listed = await asyncio.to_thread(command, "cluster", what, url=url)
            assert held["owner_process"] in listed.stdout, listed.stderr
        examined = await asyncio.to_thread(command, "doctor", url=url)
        assert examined.returncode == 0, examined.stderr
        assert "fsync on" in examined.stdout
    without = await asyncio.to_thread(command, "cluster", "status", url=url)
    assert without.returncode == 1
    assert "nobody owns it" in without.stdout
    described = await asyncio.to_thread(command, "stream", "describe", "orders", "--output", "json", url=url)
    assert described.returncode == 0, described.stderr
    for refused in ("backup", "deploy"):
        said = await asyncio.to_thread(command, refused, "somewhere", url=url)
        assert said.returncode == 2
        assert "needs a store in a directory" in said.stderr


async def test_a_store_of_another_app_is_refused(url: str) -> None:
    async with forebay.App("shop", store=url):
        pass
    with pytest.raises(
        forebay.InvalidParameterValue, match=r'holds the store of app "shop"\. Next: give store_app="shop"'
    ):
        await forebay.App("other", store=url).start()
    async with forebay.App("other", store=url, store_app="shop"):
        pass


async def test_whoever_must_own_the_store_is_refused_while_another_does(url: str) -> None:
    async with forebay.App("shop", store=url):
        with pytest.raises(forebay.StoreLocked):
            await forebay.App("shop", store=url, serve=True).start()
        client = forebay.App("shop", store=url, serve=False)
        async with client:
            await client.stream("numbers").put("1", "key")
