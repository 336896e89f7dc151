"""`forebay top`, rendered against an app that runs."""

import asyncio
import subprocess
import sys
import time

import pytest
from textual.widgets import DataTable, Static

from forebay import App, Backoff, Batch
from forebay.cli import snapshot
from forebay.cli.screen import Screen


@pytest.fixture
async def store(tmp_path):
    """A running app of one stream with two shards, of which one is blocked by a record that fails."""
    path = tmp_path / "data"
    app = App("watched", store=path)
    numbers = app.stream("numbers", shards=2)

    @app.on_stream(
        "numbers",
        batch_size=1,
        parallelization_factor=3,
        retry_backoff=Backoff(base=60, cap=60),
        maximum_retry_attempts=5,
    )
    @app.function(name="careful")
    async def careful(batch: Batch, context):
        if batch[0].data == b"bad":
            raise ValueError("a bad one")

    @app.on_stream("numbers", maximum_retry_attempts=0)
    @app.function(name="hasty")
    async def hasty(batch: Batch, context):
        if b"bad" in [record.data for record in batch]:
            raise ValueError("a bad one")

    async with app:
        await numbers.put("bad", "k")
        await numbers.put_many([(number, "k") for number in range(4)])
        ends = time.monotonic() + 20
        while (await asyncio.to_thread(snapshot.take_snapshot, path)).headline.split()[-1] != "1":
            assert time.monotonic() < ends
            await asyncio.sleep(0.05)
        yield path


async def test_the_screen_shows_lag_lanes_functions_and_dead_letters(store):
    screen = Screen(store, 0.2)
    async with screen.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        headline = str(screen.query_one("#headline", Static).render())
        assert " ready " in headline
        assert headline.endswith("dead letters 1")
        shards = screen.query_one("#shards", DataTable)
        rows = [shards.get_row_at(at) for at in range(shards.row_count)]
        assert [row[:3] for row in rows] == [
            ["numbers", "careful", "0"],
            ["numbers", "careful", "1"],
            ["numbers", "hasty", "0"],
            ["numbers", "hasty", "1"],
        ]
        assert sorted(row[3] for row in rows if row[1] == "careful") == ["0", "5"]
        assert sorted(row[5] for row in rows if row[1] == "careful") == ["···", "▒··"]
        functions = screen.query_one("#functions", DataTable)
        careful = functions.get_row_at(0)
        assert careful[:3] == ["careful", "0", "0"]
        assert float(careful[3]) > 0
        assert careful[4] == careful[3], "every attempt failed"
        assert all(text.endswith("ms") for text in careful[5:])
        await pilot.press("p")
        held = str(screen.query_one("#headline", Static).render())
        await pilot.pause(1.2)
        assert str(screen.query_one("#headline", Static).render()) == held
        await pilot.press("q")


async def test_where_no_app_runs_it_says_so_and_does_not_hold_the_store(tmp_path):
    path = tmp_path / "data"
    async with App("shop", store=path):
        pass
    assert "no app runs on" in (await asyncio.to_thread(snapshot.take_snapshot, path)).headline
    async with App("shop", store=path, serve=True):
        assert "ready" in (await asyncio.to_thread(snapshot.take_snapshot, path)).headline
    assert "there is no store in" in (await asyncio.to_thread(snapshot.take_snapshot, tmp_path / "none")).headline


def test_the_command_names_the_extra_that_it_needs(tmp_path):
    script = """
import sys
sys.modules["textual"] = None
import importlib.util
importlib.util.find_spec = lambda name: None
from forebay.cli import main
main(["top"])
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "Error: `forebay top` needs the extra `top`: pip install 'forebay[top]'\n"


@pytest.mark.parametrize(
    ("running", "waiting", "total", "drawn"), [(2, 1, 5, "██▒··"), (0, 0, 1, "·"), (1, 0, 1, "█"), (3, 0, 1, "███")]
)
def test_lanes_are_drawn(running, waiting, total, drawn):
    assert snapshot.lanes(running, waiting, total) == drawn
