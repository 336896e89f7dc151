"""Why a process does not reach the server of its store is in the error of its start, and in its log."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

import forebay
from forebay._app import shared_store

if TYPE_CHECKING:
    from db_servers import Postgres

# Longer than an owner may run without having reached the server.
STANDS_DOWN_AFTER = 4.5


async def test_a_start_whose_beats_are_refused_says_why(own_server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """It said that no process owned the store at the moment, and to ask again."""
    monkeypatch.setattr(shared_store, "FIRST_SECONDS", 1.0)
    url = f"{own_server.url}?sslmode=disable"
    async with forebay.App("shop", store=url):
        pass
    own_server.sql("CREATE ROLE weak LOGIN PASSWORD 'w'")
    own_server.sql("GRANT USAGE ON SCHEMA forebay_shop TO weak")
    own_server.sql("GRANT SELECT ON ALL TABLES IN SCHEMA forebay_shop TO weak")
    _, _, host = url.partition("@")
    app = forebay.App("shop", store=f"postgresql://weak:w@{host}")
    with pytest.raises(forebay.OwnerLost, match="beats do not get through: permission denied for table") as caught:
        await app.start()
    assert "Next: connect as the user who made the store" in str(caught.value)


async def test_an_owner_that_has_lost_its_server_says_why(
    own_server: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    """The log said that the server was not reached, or that another process had taken the store."""
    async with forebay.App("shop", store=f"{own_server.url}?sslmode=disable"):
        own_server.pause()
        try:
            await asyncio.sleep(STANDS_DOWN_AFTER)
        finally:
            own_server.resume()
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    why = [text for text in told if "has not reached the store's server for too long" in text]
    assert why, told
    assert "beats do not get through: the store cannot be reached" in why[0]
