"""Several stores in one database: which of them a command takes, and what it says of the others."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import forebay

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from db_servers import Postgres


async def status(url: str) -> str:
    """Give what `forebay cluster status` says, or its error. Nobody owns the stores."""
    command = [sys.executable, "-m", "forebay.cli", "cluster", "status", "--store", url]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    return done.stdout + done.stderr


async def test_stores_in_schemas_of_any_name_are_listed(
    own_server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store in a schema of another name was shown nowhere, and an error left out the schema that it had looked for."""
    monkeypatch.setenv("FOREBAY_RUN_DIR", str(tmp_path / "run"))
    url = f"{own_server.url}?sslmode=disable"

    async def make(app: str, schema: str = "") -> None:
        async with forebay.App(app, store=f"{url}{schema}"):
            pass

    own_server.sql("CREATE SCHEMA foreign_one; CREATE TABLE foreign_one.format (version text)")
    await make("shop", "&schema=other")
    assert "app shop on " in await status(url), "it is the only one"
    await make("shop")
    seen = await status(url)
    assert "(schema forebay_shop)" in seen
    assert "its database has other stores, in the schemas other (?schema=NAME in the URL)" in seen
    missing = await status(f"{url}&schema=forebay_bill")
    assert "(schema forebay_bill): the app that makes it" in missing
    assert "The database has stores in the schemas forebay_shop, other" in missing
    await make("billing")
    assert "holds several stores, in the schemas forebay_billing, forebay_shop, other" in await status(url)
    assert "app shop on " in await status(f"{url}&schema=other")
