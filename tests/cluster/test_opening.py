"""Openings of a store on a server that fail late, and where their sockets are."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING

import pytest

import forebay
from forebay._core import look_at_server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from db_servers import Postgres

# Longer than an owner may run without having reached the server.
STANDS_DOWN_AFTER = 4.0
# What an opening and the declarations of a small app ask a server, one after the other.
QUESTIONS_MAX = 30
PUTS = 50


async def wait_for(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(100):
        while not done():  # noqa: ASYNC110  what other threads do, too
            await asyncio.sleep(0.02)


def standby(url: str) -> str:
    """Name the one process that shares the store and does not own it."""
    (name,) = [one["name"] for one in json.loads(look_at_server(url))["store"]["members"] if not one["owns"]]
    return str(name)


async def refused(app: forebay.App) -> str:
    """Say why a put is refused."""
    with pytest.raises(forebay.OwnerLost) as caught:
        await app.stream("numbers").put("refused", "key")
    return str(caught.value)


async def test_a_process_alone_that_fails_late_in_opening_the_store_owns_it_when_it_can(
    own_server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What it had taken it gave up with the opening, took it for its own for ever, and opened in vain.

    While it failed it could be told to stand down, and waited for ever until somebody said that it had.
    """
    monkeypatch.setenv("FOREBAY_RUN_DIR", str(tmp_path / "run"))
    url = f"{own_server.url}?sslmode=disable"
    handled: list[bytes] = []
    first, second = forebay.App("shop", store=url), forebay.App("shop", store=url)
    second.stream("numbers")

    @second.on_stream("numbers")
    async def handle(batch: forebay.Batch[forebay.Record], context: forebay.Context) -> None:
        handled.extend(record.data for record in batch)

    await first.start()
    await second.start()
    try:
        # Where its socket is to be there is something else. It finds out after it has read the store.
        blocks = tmp_path / "run" / f"{standby(url).rpartition('/')[2]}.sock"
        blocks.mkdir()
        await first.stop()
        for _ in range(2):
            assert "cannot listen at" in await refused(second)
        own_server.pause()
        await asyncio.sleep(STANDS_DOWN_AFTER)
        own_server.resume()
        blocks.rmdir()
        async with asyncio.timeout(100):
            while handled != [b"accepted"]:
                try:
                    await second.stream("numbers").put("accepted", "key")
                except forebay.OwnerLost:
                    continue
                await wait_for(lambda: bool(handled))
    finally:
        own_server.resume()
        await second.stop()
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len([text for text in told if "cannot listen at" in text]) <= 2, "it is told once, not with each attempt"


async def test_an_opening_asks_its_server_little_however_much_it_has_stored(own_server: Postgres) -> None:
    """It read some eighty things, each for itself, and the heads of all chunks for each process that declared their stream."""
    url = f"{own_server.url}?sslmode=disable"
    handled: list[bytes] = []
    first, second = forebay.App("shop", store=url), forebay.App("shop", store=url)
    for app in (first, second):
        app.queue("orders")
        app.stream("numbers", shards=2)

    @second.on_stream("numbers")
    async def handle(batch: forebay.Batch[forebay.Record], context: forebay.Context) -> None:
        handled.extend(record.data for record in batch)

    async with first:
        for number in range(PUTS):
            await first.stream("numbers").put(str(number), str(number))
    own_server.sql("ALTER SYSTEM SET log_statement = 'all'")
    own_server.sql("SELECT pg_reload_conf()")
    before = (own_server.folder / "log").stat().st_size
    async with second:
        await second.stream("numbers").put("last", "key")
        await wait_for(lambda: b"last" in handled)
    said = (own_server.folder / "log").read_bytes()[before:].decode()
    asked = [line for line in said.splitlines() if "LOG:  execute" in line]
    # A beat is nobody's question, and what is committed depends on the work.
    asked = [line for line in asked if ".member" not in line and ".commit_1(" not in line]
    assert len(asked) < QUESTIONS_MAX, "\n".join(asked)
    assert not [line for line in asked if "LIMIT $2) c ON true" in line], "the heads of a log's chunks"


async def test_a_socket_whose_path_would_be_too_long_is_where_everybody_finds_it(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner could not listen, so nobody owned the store."""
    monkeypatch.setenv("FOREBAY_RUN_DIR", str(tmp_path / ("long" * 30)))
    async with forebay.App("shop", store=url) as owner:
        owner.stream("numbers")
        async with forebay.App("shop", store=url, serve=False) as client:
            assert await client.stream("numbers").put("1", "key")
