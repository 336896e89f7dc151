"""The screen of `forebay top`, by Textual. What it shows is worked out in `forebay.cli.snapshot`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from textual.app import App
from textual.containers import VerticalScroll
from textual.widgets import DataTable, Footer, Static

from forebay.cli import snapshot
from forebay.cli.connect import format_error
from forebay.errors import ForebayError

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.binding import BindingType

    from forebay.cli.store_place import StorePlace


class Screen(App[None]):
    """Shows one snapshot after the other. What is not there has no table."""

    CSS = """
    #headline { height: 1; background: $primary; color: $text; padding: 0 1; }
    DataTable { height: auto; margin-bottom: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [("q", "quit", "Quit"), ("p", "hold", "Hold or go on")]
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, store: StorePlace, interval: float) -> None:
        super().__init__()
        self._store = store
        self._interval = interval
        self._held = False
        self._refreshing = False

    def compose(self) -> ComposeResult:
        """Lay the screen out."""
        yield Static(id="headline", markup=False)
        with VerticalScroll():
            for kind in snapshot.ALL_COLUMNS:
                yield DataTable(id=kind, cursor_type="none", zebra_stripes=True)
        yield Footer()

    async def on_mount(self) -> None:
        """Head the tables and begin to refresh."""
        for kind, columns in snapshot.ALL_COLUMNS.items():
            self.query_one(f"#{kind}", DataTable).add_columns(*(heading for heading, _ in columns))
        self.set_interval(self._interval, self.refresh_tables)
        await self.refresh_tables()

    async def refresh_tables(self) -> None:
        """Take a snapshot and show it; one that takes longer than the interval is not overtaken."""
        if self._held or self._refreshing:
            return
        self._refreshing = True
        try:
            seen = await asyncio.to_thread(snapshot.take_snapshot, self._store)
        except ForebayError as error:  # the app may be starting anew: the next look shows it again
            seen = snapshot.Snapshot(f"{snapshot.stamp()}  {format_error(error)}", {})
        finally:
            self._refreshing = False
        self.query_one("#headline", Static).update(seen.headline)
        for kind in snapshot.ALL_COLUMNS:
            table = self.query_one(f"#{kind}", DataTable)
            rows = seen.cells(kind)
            table.display = bool(rows)
            table.clear()
            table.add_rows(rows)

    def action_hold(self) -> None:
        """Hold the picture, or go on."""
        self._held = not self._held
