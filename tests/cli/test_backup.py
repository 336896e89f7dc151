"""A backup is made while the app runs, holds what was acknowledged before it began, and is started like any store."""

import asyncio
import json
import sqlite3
import subprocess
import sys
import textwrap
import time

import pytest
from cli_commands import asked, forebay, refused

from forebay import App, Batch

PROGRAM = """
    import forebay

    app = forebay.App("shop", store="./data")
    orders = app.stream("orders", shards=2)
    jobs = app.queue("jobs")

    @app.on_stream("orders", batch_size=100)
    async def ship(batch: forebay.Batch[forebay.Record], context: forebay.Context) -> None:
        with open("shipped", "a") as file:
            file.writelines(f"{record.json()}\\n" for record in batch)
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "shop.py").write_text(textwrap.dedent(PROGRAM))
    return tmp_path


class Serving:
    """`forebay run`, until the block ends."""

    def __init__(self, place, *arguments, store="data"):
        self._command = [sys.executable, "-W", "ignore", "-m", "forebay.cli", "run", "shop:app", *arguments]
        self._place, self._socket = place, place / store / "forebay.sock"

    def __enter__(self):
        settings = ["--metrics-port", "0", "--grace", "5"]
        self._process = subprocess.Popen([*self._command, *settings], cwd=self._place, stderr=subprocess.DEVNULL)
        until(lambda: self._socket.exists() or self._process.poll() is not None)
        assert self._process.poll() is None
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(100)


def until(condition, within=100):
    ends = time.monotonic() + within
    while not condition():
        assert time.monotonic() < ends, "it did not happen in time"
        time.sleep(0.02)


def put(place, numbers, *, store="data"):
    lines = "".join(f"{number}\n" for number in numbers)
    forebay(place, "stream", "put", "orders", "--partition-key", "k", "--store", store, stdin=lines)


async def test_a_copy_under_load_holds_all_that_was_acknowledged_before_and_an_app_goes_on_with_it(place):
    """Ten thousand records are put while the copies are made; each copy is started, and hands out what it must hold."""
    app = App("shop", store=place / "data")
    orders = app.stream("orders", shards=2)
    jobs = app.queue("jobs")
    acknowledged = []

    async def load():
        for begin in range(0, 10_000, 50):
            await orders.put_many([(number, str(number % 7)) for number in range(begin, begin + 50)])
            acknowledged.extend(range(begin, begin + 50))

    async with app:
        await jobs.send("a job")
        loading = asyncio.create_task(load())
        promised = []
        for number in range(3):
            await asyncio.to_thread(until, lambda least=1_000 * (number + 1): len(acknowledged) >= least)
            promised.append(set(acknowledged))
            copied = await asyncio.to_thread(asked, place, "backup", f"copy{number}")
            assert copied["whole"], copied
        await loading

    for number, before in enumerate(promised):
        copy, seen = App("shop", store=place / f"copy{number}"), []
        copy.stream("orders", shards=2)

        @copy.on_stream("orders", batch_size=500, starting_position="TRIM_HORIZON")
        async def ship(batch: Batch, context, seen=seen):
            seen.extend(record.json() for record in batch)

        async with copy:
            await asyncio.to_thread(until, lambda before=before, seen=seen: before <= set(seen))
            assert copy.queue("jobs").depth().visible == 1


def test_forebay_run_goes_on_with_a_copy(place):
    with Serving(place):
        put(place, range(5))
        until(lambda: (place / "shipped").exists() and len((place / "shipped").read_text().split()) == 5)
        forebay(place, "mapping", "pause", "orders", "ship")
        put(place, range(5, 9))
        told = forebay(place, "backup", "copy").stdout
        assert f"{place / 'copy'} has " in told and "is whole" in told
        (place / "shipped").unlink()
    with Serving(place, "--store", "copy", store="copy"):
        forebay(place, "mapping", "resume", "orders", "ship", "--store", "copy")
        until(lambda: (place / "shipped").exists() and len((place / "shipped").read_text().split()) == 4)
        assert sorted(map(int, (place / "shipped").read_text().split())) == [5, 6, 7, 8]
    assert forebay(place, "stream", "list", "--store", "copy").stderr == "", "the copy is not a damaged store"


def test_a_copy_overwrites_nothing_and_needs_a_store(place):
    put_into_new_store(place)
    forebay(place, "backup", "copy")
    before = {path.name: path.read_bytes() for path in (place / "copy").iterdir()}
    for into in ("copy", "data"):
        assert "is not empty, it holds " in refused(place, "backup", into)
    assert {path.name: path.read_bytes() for path in (place / "copy").iterdir()} == before
    assert "there is no store in" in refused(place, "backup", "other", "--store", "nowhere")
    assert not (place / "other").exists()


def test_a_damaged_store_gives_a_copy_that_is_told_as_damaged(place):
    put_into_new_store(place)
    with sqlite3.connect(place / "data" / "forebay.db") as file:
        assert file.execute("UPDATE chunk SET body = zeroblob(length(body))").rowcount > 0
    file.close()
    told = forebay(place, "backup", "copy", status=1).stdout
    assert "is damaged, as the store is" in told
    assert f"forebay doctor --store {place / 'data'}" in told
    unchecked = json.loads(forebay(place, "backup", "again", "--no-check", "--output", "json").stdout)
    assert unchecked["whole"] is None


def put_into_new_store(place):
    with Serving(place):
        put(place, range(3))


def test_a_server_is_backed_up_by_its_own_tools_and_needs_no_keys(tmp_path):
    url = "postgresql://user:hidden@127.0.0.1:1/shop"
    said = forebay(tmp_path, "backup", "copy", "--store", url, status=2).stderr
    assert "pg_basebackup" in said
    assert "hidden" not in said
    # Where the wire API is does not depend on the store.
    assert "AWS_ENDPOINT_URL=http://127.0.0.1:4566" in forebay(tmp_path, "aws", "env", "--store", url).stdout
