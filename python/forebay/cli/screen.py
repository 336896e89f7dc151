"""The screen of `forebay top`, by Textual. What it shows is worked out in `forebay.cli.glance`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from textual.app import App
from textual.widgets import DataTable, Footer, Static

from forebay.cli import glance

if TYPE_CHECKING:
    from pathlib import Path

    from textual.app import ComposeResult
    from textual.binding import BindingType


class Screen(App[None]):
    """Shows one look after the other."""

    CSS = """
    #headline { height: 1; background: $primary; color: $text; padding: 0 1; }
    DataTable { height: auto; max-height: 60%; margin-bottom: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [("q", "quit", "Quit"), ("p", "hold", "Hold or go on")]
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, store: Path, interval: float) -> None:
        super().__init__()
        self._store = store
        self._interval = interval
        self._held = False
        self._looking = False

    def compose(self) -> ComposeResult:
        """Lay the screen out."""
        yield Static(id="headline", markup=False)
        yield DataTable(id="shards", cursor_type="none", zebra_stripes=True)
        yield DataTable(id="functions", cursor_type="none", zebra_stripes=True)
        yield Footer()

    async def on_mount(self) -> None:
        """Head the tables and begin to look."""
        self.query_one("#shards", DataTable).add_columns(*glance.SHARD_COLUMNS)
        self.query_one("#functions", DataTable).add_columns(*glance.FUNCTION_COLUMNS)
        self.set_interval(self._interval, self.look)
        await self.look()

    async def look(self) -> None:
        """Look once, and show it; a look that takes longer than the interval is not overtaken."""
        if self._held or self._looking:
            return
        self._looking = True
        try:
            seen = await asyncio.to_thread(glance.look, self._store)
        finally:
            self._looking = False
        self.query_one("#headline", Static).update(seen.headline)
        for name, rows in (("#shards", seen.shards), ("#functions", seen.functions)):
            table = self.query_one(name, DataTable)
            table.clear()
            table.add_rows(rows)

    def action_hold(self) -> None:
        """Hold the picture, or go on."""
        self._held = not self._held
