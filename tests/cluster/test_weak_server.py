"""A server that promises less than a power cut needs: what an app that is content with it can do, commands can, too."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import forebay

if TYPE_CHECKING:
    from pathlib import Path

    from db_servers import Postgres


async def test_commands_and_the_way_out_take_what_the_server_promises(
    own_server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They asked for more than the app did, and told of an option that they do not have."""
    monkeypatch.setenv("FOREBAY_RUN_DIR", str(tmp_path / "run"))
    url = f"{own_server.url}?sslmode=disable"
    own_server.sql(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$"
    )
    with pytest.raises(forebay.InvalidParameterValue, match="synchronous_commit is off"):
        await forebay.App("shop", store=url).start()
    async with forebay.App("shop", store=url, durability="process-crash") as app:
        await app.stream("orders", shards=1).put("one", "key")
        # Where an app runs, what is acknowledged is its own matter.
        listed = forebay_command("stream", "list", "--store", url)
        assert listed.returncode == 0, listed.stderr
        assert "synchronous_commit" not in listed.stderr

    for words in (("stream", "list", "--store", url), ("migrate", url, str(tmp_path / "copy"))):
        done = forebay_command(*words)
        assert done.returncode == 0, done.stderr
        assert "Warning: " in done.stderr
        assert "synchronous_commit is off" in done.stderr
        assert "say durability" not in done.stderr
    assert "orders" in forebay_command("stream", "list", "--store", str(tmp_path / "copy")).stdout
    back = forebay_command("migrate", str(tmp_path / "copy"), f"{url}&schema=another")
    assert back.returncode == 1, "what is copied there may be lost in a power cut, and no app has asked for that"


async def test_a_pooler_that_drops_options_is_refused_while_an_app_runs(
    own_server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever only asked used it without our timeouts, and so did `move` and `drain`. No command said that it cannot be used."""
    monkeypatch.setenv("FOREBAY_RUN_DIR", str(tmp_path / "run"))
    url = f"{own_server.url}?sslmode=disable"
    # What a session has then.
    pooled = f"{url}&options=-cforebay.session%3D"
    async with forebay.App("shop", store=url) as app:
        await app.stream("orders", shards=1).put("one", "key")
        with pytest.raises(forebay.InvalidParameterValue, match="did not reach the server"):
            await forebay.App("shop", store=pooled, serve=False).start()
        for words in (("stream", "list"), ("cluster", "status"), ("cluster", "drain", "nobody"), ("doctor",)):
            done = await asyncio.to_thread(forebay_command, *words, "--store", pooled)
            assert done.returncode != 0, words
            assert "A pooler that shares the server's sessions" in done.stderr, (words, done.stdout, done.stderr)
            assert "Next: give the URL of the server itself" in done.stderr, words


def forebay_command(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-m", "forebay.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)
