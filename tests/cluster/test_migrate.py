"""`forebay migrate`: an app goes on where it was, from a directory to a server and back."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from db_servers import PASSWORD
from members import DURABLE

import forebay
from forebay._core import look_at_server, migrate_store

if TYPE_CHECKING:
    from pathlib import Path

    from db_servers import Postgres


@pytest.fixture(autouse=True)
def own_run_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FOREBAY_RUN_DIR", str(tmp_path / "run"))


def migrate(source: str, target: str) -> subprocess.CompletedProcess[str]:
    return forebay_command("migrate", source, target)


def forebay_command(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "forebay.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def app_on(store: str, handled: list[str]) -> forebay.App:
    """Give an app that notes what it handles."""
    app = forebay.App("shop", store=store)
    app.stream("orders", shards=2)
    app.queue("jobs")

    @app.on_stream("orders")
    async def ship(batch: forebay.Batch[forebay.Record], _: forebay.Context) -> None:
        handled.extend(record.data.decode() for record in batch)

    return app


def place(url: str) -> str:
    """Give a store on the server as errors have it."""
    scheme, _, rest = url.partition("?")[0].rpartition("@")
    return f"{scheme.partition('://')[0]}://{rest}"


async def handle_all(app: forebay.App) -> None:
    async with asyncio.timeout(100):
        while any(shard["records"] for shard in (await app.mappings[0].describe())["shards"]):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def put(app: forebay.App, *names: str) -> list[str]:
    return [await app.stream("orders").put(name, name) for name in names]


async def test_an_app_goes_on_where_it_was_there_and_back(
    url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    handled: list[str] = []
    async with app_on(str(first), handled) as app:
        before = await put(app, *(f"a{n}" for n in range(200)))
        await handle_all(app)
        await app.queue("jobs").send("message")
        await app.mappings[0].pause()
        await put(app, "while paused")
    assert sorted(handled) == sorted(f"a{n}" for n in range(200))

    moved = await asyncio.to_thread(migrate, str(first), url)
    assert moved.returncode == 0, moved.stderr
    assert "app 'shop'" in moved.stdout
    # Who started the app on the place as it was told got another store.
    schema = url.partition("schema=")[2]
    assert f"{place(url)}?schema={schema}: " in moved.stdout
    seen = await asyncio.to_thread(forebay_command, "cluster", "status", "--store", url)
    assert f"on {place(url)} (schema {schema})" in seen.stdout
    told = await asyncio.to_thread(forebay_command, "doctor", str(first))
    assert f"it was migrated to {place(url)} (schema {schema}): no app opens it" in told.stdout
    directory = await asyncio.to_thread(forebay_command, "cluster", "status", "--store", str(first))
    assert "`forebay doctor` looks at it" in directory.stderr
    assert PASSWORD.partition("!")[0] not in moved.stdout + moved.stderr
    again = await asyncio.to_thread(migrate, str(first), url)
    assert again.returncode == 1
    assert f"the source cannot be copied once more: this store was migrated to {place(url)}" in again.stderr
    other = await asyncio.to_thread(migrate, url, str(first))
    assert other.returncode == 1
    assert "not empty" in other.stderr
    assert f"delete the directory {first}. Then run this again" in other.stderr

    handled.clear()
    async with app_on(url, handled) as app:
        assert (await app.mappings[0].describe())["state"] == "Disabled"
        # With the URL as it is shown, without its user, the command was refused.
        assert "to go on: forebay mapping resume orders ship" in caplog.text
        assert "--store postgresql" not in caplog.text
        await app.mappings[0].resume()
        after = await put(app, "b0", "b1")
        await handle_all(app)
        assert sorted(handled) == ["b0", "b1", "while paused"]
        assert set(before).isdisjoint(after)
        refused = await asyncio.to_thread(migrate, url, str(second))
        assert refused.returncode == 1
        assert "stop the processes of its app first" in refused.stderr

    moved = await asyncio.to_thread(migrate, url, str(second))
    assert moved.returncode == 0, moved.stderr
    # Neither error nor docs said how to go back to a server that was left.
    again = await asyncio.to_thread(migrate, str(second), url)
    assert "the target is not empty. Next: name a directory or a schema that no app has used" in again.stderr
    assert f'delete the schema, in the database of {place(url)}: DROP SCHEMA "{schema}" CASCADE' in again.stderr
    handled.clear()
    async with app_on(str(second), handled) as app:
        await put(app, "c0")
        await handle_all(app)
        messages = await app.queue("jobs").receive()
        assert [message.body for message in messages] == ["message"]
    assert handled == ["c0"]


class Stopped(Exception):
    """An operator has pressed Ctrl-C."""


async def test_no_app_opens_what_is_half_copied_and_the_copy_goes_on(url: str, tmp_path: Path) -> None:
    store = tmp_path / "store"
    handled: list[str] = []
    async with app_on(str(store), handled) as app:
        await put(app, "one", "two")
        await handle_all(app)
    calls = 0

    def stop(_records: int, _rows: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Stopped

    with pytest.raises(Stopped):
        await asyncio.to_thread(migrate_store, str(store), url, None, stop)
    with pytest.raises(forebay.InvalidParameterValue, match="has not ended"):
        await app_on(url, handled).start()
    looked = await asyncio.to_thread(forebay_command, "cluster", "status", "--store", url)
    assert "a migration into it has not ended: run the same `forebay migrate` again" in looked.stdout
    ended = await asyncio.to_thread(migrate, str(store), url)
    assert ended.returncode == 0, ended.stderr
    # It told of what the second run had copied alone, which read like a loss.
    assert "2 records and " in ended.stdout
    assert "of them by earlier runs of this command), and all was compared" in ended.stdout
    looked = await asyncio.to_thread(forebay_command, "cluster", "status", "--store", url)
    assert "migrat" not in looked.stdout
    async with app_on(url, handled) as app:
        await put(app, "three")
        await handle_all(app)
    assert sorted(handled) == ["one", "three", "two"]


async def test_ctrl_c_is_heard_while_the_server_is_away(own_server: Postgres, tmp_path: Path) -> None:
    """A read from a server that had gone was waited for without end, and whether to go on was asked after commits alone."""
    url, copy = f"{own_server.url}?sslmode=disable", tmp_path / "copy"
    handled: list[str] = []
    async with app_on(url, handled) as app:
        await put(app, *(f"a{n}" for n in range(20)))
        await handle_all(app)
    calls = 0
    ended: list[str] = []

    def stop(_records: int, _rows: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise Stopped
        own_server.kill()

    def run() -> None:
        try:
            migrate_store(url, str(copy), None, stop)
        except Stopped:
            ended.append("stopped")

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    await asyncio.to_thread(thread.join, 60)
    assert ended == ["stopped"]
    own_server.start(*DURABLE)
    again = await asyncio.to_thread(migrate, url, str(copy))
    assert again.returncode == 0, again.stderr
    assert "20 records" in again.stdout


async def test_no_app_starts_on_what_was_migrated_until_the_mark_is_taken_back(url: str, tmp_path: Path) -> None:
    """An old start script had the app handle its backlog once more, beside the one on the server."""
    store, back = tmp_path / "store", tmp_path / "back"
    handled: list[str] = []
    async with app_on(str(store), handled) as app:
        await put(app, "one")
        await handle_all(app)
        running = await asyncio.to_thread(migrate, str(store), url)
        assert running.returncode == 1
        assert "stop the processes of its app first" in running.stderr
    moved = await asyncio.to_thread(migrate, str(store), url)
    assert moved.returncode == 0, moved.stderr
    assert "is marked, so that no app opens it any more" in moved.stdout
    with pytest.raises(forebay.InvalidParameterValue) as caught:
        await app_on(str(store), handled).start()
    assert f"this store was migrated to {place(url)}" in str(caught.value)
    assert "forebay migrate --unmark STORE" in str(caught.value)
    assert PASSWORD.partition("!")[0] not in str(caught.value)
    asked = await asyncio.to_thread(forebay_command, "stream", "list", "--store", str(store))
    assert asked.returncode == 1
    assert "was migrated to" in asked.stderr

    home = await asyncio.to_thread(migrate, url, str(back))
    assert home.returncode == 0, home.stderr
    with pytest.raises(forebay.InvalidParameterValue, match=f"this store was migrated to {back}"):
        await app_on(url, handled).start()
    looked = await asyncio.to_thread(forebay_command, "cluster", "status", "--store", url)
    assert f"it was migrated to {back}: no app opens it" in looked.stdout
    for marked, where in ((str(store), place(url)), (url, str(back))):
        taken = await asyncio.to_thread(forebay_command, "migrate", "--unmark", marked)
        assert taken.returncode == 0, taken.stderr
        assert f"again, which was migrated to {where}" in taken.stdout
        again = await asyncio.to_thread(forebay_command, "migrate", "--unmark", marked)
        assert "has no mark of a migration" in again.stdout
        async with app_on(marked, handled) as app:
            await put(app, "two")
            await handle_all(app)
    assert handled == ["one", "two", "two"]
    wrong = await asyncio.to_thread(forebay_command, "migrate", str(store))
    assert wrong.returncode == 2
    assert "--unmark" in wrong.stderr


async def test_a_fencing_token_is_above_all_that_were_given_before_a_migration(
    server: Postgres, tmp_path: Path
) -> None:
    """In a new schema the tokens began at 1: a system that fences by them refused all that the handlers wrote."""
    first, second, third = (f"{server.url}?sslmode=disable&schema=fence_{name}" for name in ("a", "b", "c"))
    tokens: list[int | None] = []

    async def run(store: str) -> None:
        app = forebay.App("shop", store=store)
        app.stream("orders")

        @app.on_stream("orders")
        async def note(_: forebay.Batch[forebay.Record], context: forebay.Context) -> None:
            tokens.append(context.fencing_token)

        async with app:
            await app.stream("orders").put("one", "one")
            await handle_all(app)

    for _ in range(3):
        await run(first)
    ways = [(first, str(tmp_path / "there")), (str(tmp_path / "there"), second), (second, third)]
    for source, target in ways:
        moved = await asyncio.to_thread(migrate, source, target)
        assert moved.returncode == 0, moved.stderr
        await run(target)
    given = [token for token in tokens if token is not None]
    assert given[:3] == [1, 2, 3]
    assert [token is None for token in tokens] == [False, False, False, True, False, False]
    assert given == sorted(set(given)), tokens


async def test_a_target_whose_tokens_cannot_be_raised_yet_is_refused(server: Postgres, tmp_path: Path) -> None:
    """Whoever owns a store would lose it: its fencing token is left alone until it is free."""
    source, target = (f"{server.url}?sslmode=disable&schema=raise_{name}" for name in ("a", "b"))
    async with app_on(source, []) as app:
        await put(app, "one")

    def stop(_records: int, _rows: int) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        await asyncio.to_thread(migrate_store, source, target, None, stop)
    server.sql("UPDATE raise_b.unit SET owner = 'gone/1/x', epoch = 0")
    refused = await asyncio.to_thread(migrate, source, target)
    assert refused.returncode == 1
    assert "the target had an owner that has just died: run this again" in refused.stderr
    again = await asyncio.to_thread(migrate, source, target)
    assert again.returncode == 0, again.stderr


def test_what_cannot_be_migrated_is_refused(url: str, tmp_path: Path) -> None:
    both = migrate(str(tmp_path / "a"), str(tmp_path / "b"))
    assert both.returncode == 2
    assert "forebay backup" in both.stderr
    nothing = migrate(str(tmp_path / "a"), url)
    assert nothing.returncode == 1
    assert "there is no store" in nothing.stderr
    (tmp_path / "stacks.db").touch()
    stacks = migrate(str(tmp_path), url)
    assert stacks.returncode == 2
    assert "forebay stack delete" in stacks.stderr
    same = migrate(url, url)
    assert same.returncode == 2
    assert "the same store" in same.stderr
    of_a_directory = subprocess.run(
        [sys.executable, "-m", "forebay.cli", "migrate", "--app", "shop", str(tmp_path / "a"), url],
        capture_output=True,
        text=True,
        check=False,
    )
    assert of_a_directory.returncode == 2
    assert "says itself whose it is" in of_a_directory.stderr


async def test_a_store_that_is_not_on_the_server_is_not_made_there_and_copied(server: Postgres, tmp_path: Path) -> None:
    """A wrong name of the app made an empty store, which was copied and called whole."""
    url = f"{server.url}?sslmode=disable"
    command = [sys.executable, "-m", "forebay.cli", "migrate", "--app", "misspelt", url, str(tmp_path / "copy")]
    asked = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert asked.returncode == 1
    assert "there is no store of app 'misspelt' in" in asked.stderr
    assert not (tmp_path / "copy").exists()
    assert json.loads(look_at_server(url, "misspelt"))["store"] is None


def test_the_password_may_be_in_the_environment(
    server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheme, _, rest = server.url.partition("://")
    user, host = rest.partition(":")[0], rest.rpartition("@")[2]
    url = f"{scheme}://{user}@{host}?sslmode=disable&schema=nobodys"
    monkeypatch.delenv("PGPASSWORD", raising=False)
    without = migrate(url, str(tmp_path / "copy"))
    assert without.returncode == 1
    assert "the store's URL has none. Next: give it in the URL, or in the variable PGPASSWORD" in without.stderr
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    asked = migrate(url, str(tmp_path / "copy"))
    assert asked.returncode == 1
    assert "there is no store of forebay in" in asked.stderr, "the server has let it in"
    monkeypatch.setenv("PGPASSWORD", "another")
    refused = migrate(url, str(tmp_path / "copy"))
    assert "password authentication failed" in refused.stderr
