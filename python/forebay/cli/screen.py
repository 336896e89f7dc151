"""The screen of `forebay top`, by Textual. What it shows is worked out in `forebay.cli.snapshot`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from textual.app import App
from textual.widgets import DataTable, Footer, Static

from forebay.cli import snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from textual.app import ComposeResult
    from textual.binding import BindingType


class Screen(App[None]):
    """Shows one snapshot after the other."""

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
        self._refreshing = False

    def compose(self) -> ComposeResult:
        """Lay the screen out."""
        yield Static(id="headline", markup=False)
        yield DataTable(id="shards", cursor_type="none", zebra_stripes=True)
        yield DataTable(id="functions", cursor_type="none", zebra_stripes=True)
        yield Footer()

    async def on_mount(self) -> None:
        """Head the tables and begin to refresh."""
        self.query_one("#shards", DataTable).add_columns(*snapshot.SHARD_COLUMNS)
        self.query_one("#functions", DataTable).add_columns(*snapshot.FUNCTION_COLUMNS)
        self.set_interval(self._interval, self.refresh_tables)
        await self.refresh_tables()

    async def refresh_tables(self) -> None:
        """Take a snapshot and show it; one that takes longer than the interval is not overtaken."""
        if self._held or self._refreshing:
            return
        self._refreshing = True
        try:
            seen = await asyncio.to_thread(snapshot.take_snapshot, self._store)
        finally:
            self._refreshing = False
        self.query_one("#headline", Static).update(seen.headline)
        for name, rows in (("#shards", seen.shards), ("#functions", seen.functions)):
            table = self.query_one(name, DataTable)
            table.clear()
            table.add_rows(rows)

    def action_hold(self) -> None:
        """Hold the picture, or go on."""
        self._held = not self._held
