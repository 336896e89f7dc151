"""What a process says when the owner of its store has changed."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest

from forebay._app.shared_store import SharedStore


@pytest.mark.parametrize(
    ("running", "level", "text"),
    [
        (0, logging.INFO, "Nothing is interrupted"),
        (1, logging.WARNING, "1 attempt is interrupted"),
        (2, logging.WARNING, "2 attempts are interrupted"),
    ],
)
def test_a_process_warns_of_what_it_interrupts(
    running: int, level: int, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It was told at the level of information, with an "or" that left open what had happened, and at each ordinary end."""

    async def let_go() -> None:
        runner = SimpleNamespace(
            loop=asyncio.get_running_loop(),
            attempts=lambda: iter([None] * running),
            flush=lambda: None,
            detach=lambda _: None,
        )
        shared = SharedStore(
            cast("Any", runner), cast("Any", SimpleNamespace(name="shop", place="postgresql://db/shop"))
        )
        shared.member = cast("Any", SimpleNamespace())
        await shared.let_go(None)

    with caplog.at_level(logging.INFO, "forebay.app"):
        asyncio.run(let_go())
    [record] = caplog.records
    assert record.levelno == level
    assert record.getMessage().startswith(
        "this process was a client of the store postgresql://db/shop, and looks for its owner anew"
    )
    assert record.getMessage().endswith(text)
