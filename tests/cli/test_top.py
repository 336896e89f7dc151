"""`forebay top`, rendered against an app that runs."""

import asyncio
import json
import os
import pty
import re
import subprocess
import sys
import time

import pytest
from cli_commands import forebay
from textual.widgets import DataTable, Static

from forebay import App, AppClosed, Backoff, Batch, ForebayError
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
        ends = time.monotonic() + 100
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
        shards = screen.query_one("#streams", DataTable)
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
    with pytest.raises(AppClosed, match="no app runs on"):
        await asyncio.to_thread(snapshot.take_snapshot, path)
    screen = Screen(path, 0.2)
    async with screen.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        assert "no app runs on" in str(screen.query_one("#headline", Static).render())
        async with App("shop", store=path, serve=True):
            await pilot.pause(1)
            assert " ready " in str(screen.query_one("#headline", Static).render()), "the app that started is shown"
            await pilot.press("p")
            await pilot.pause(1)  # a look that is under way ends
    with pytest.raises(ForebayError, match="there is no store in"):
        await asyncio.to_thread(snapshot.take_snapshot, tmp_path / "none")


def command(place, name, *options):
    return asyncio.to_thread(forebay, place, name, *options)


async def test_everything_that_waits_is_in_top_and_in_lag(tmp_path):
    # An app with `on_queue` ended `top` with KeyError: 'stream', and the status was 0. Queues and events were in neither command.
    app = App("all", store=tmp_path / "data")
    numbers = app.stream("numbers", shards=1)
    dead = app.queue("dead")
    jobs = app.queue("jobs", dead_letter_queue=dead, maximum_receive_count=1)
    app.queue("later")
    app.topic("news").subscribe(jobs)
    started, go_on = asyncio.Event(), asyncio.Event()

    @app.on_queue("jobs", enabled=False)
    @app.function(name="work")
    async def work(batch: Batch, context):
        pass

    @app.on_stream("numbers", enabled=False)
    @app.function(name="count")
    async def count(batch: Batch, context):
        pass

    @app.function(name="bill", timeout=60, reserved_concurrency=1)
    async def bill(event, context):
        started.set()
        await go_on.wait()

    async with app:
        await numbers.put("1", "k")
        await jobs.send_many(["a", "b", "c"])
        await dead.send("given up")
        for event in range(3):
            await bill.invoke_async(event)
        await asyncio.wait_for(started.wait(), 20)
        await asyncio.sleep(0.01)
        lag = json.loads((await command(tmp_path, "lag", "--output", "json")).stdout)
        [shard] = lag["streams"]
        assert (shard["stream"], shard["records"]) == ("numbers", 1)
        assert shard["iterator_age_ms"] > 0, "the mapping is paused, and its record grows old"
        queues = {row["queue"]: row for row in lag["queues"]}
        assert list(queues) == ["dead", "jobs", "later"]
        assert (queues["jobs"]["visible"], queues["jobs"]["functions"]) == (3, {"work": "Disabled"})
        assert (queues["dead"]["visible"], queues["dead"]["dead_letter_sources"]) == (1, ["jobs"])
        assert lag["topics"] == [{"topic": "news", "subscribers": {"queue jobs": 3}}]
        [events] = lag["events"]
        assert (events["function"], events["waiting"], events["running"], events["more"]) == ("bill", 2, 1, False)
        assert events["oldest_age_ms"] > 0
        only = json.loads((await command(tmp_path, "lag", "--function", "work", "--output", "json")).stdout)
        assert [row["queue"] for row in only.pop("queues")] == ["jobs"]
        assert set(map(len, only.values())) == {0}

        text = (await command(tmp_path, "lag")).stdout
        assert re.search(r"^jobs +3 +0 +0 .* work \(paused\) +-$", text, re.MULTILINE)
        assert re.search(r"^news +queue jobs \(3\)$", text, re.MULTILINE)
        assert re.search(r"^bill +2 +1 .*yes$", text, re.MULTILINE)
        top = (await command(tmp_path, "top")).stdout
        assert "\x1b" not in top, "it is not a terminal"
        assert top.splitlines()[0].endswith("dead letters 1")
        assert re.search(r"^jobs +3 +0 +0 ", top, re.MULTILINE)
        assert re.search(r"^bill +1 +0 ", top, re.MULTILINE), "its row among the functions"
        screen = Screen(tmp_path / "data", 0.2)
        async with screen.run_test(size=(140, 50)) as pilot:
            await pilot.pause()
            shown = screen.query_one("#queues", DataTable)
            assert [shown.get_row_at(at)[:2] for at in range(shown.row_count)] == [
                ["dead", "1"],
                ["jobs", "3"],
                ["later", "0"],
            ]
            assert not screen.query_one("#environments", DataTable).display, "there are no processes"
        go_on.set()


def test_top_fails_where_no_app_runs(tmp_path):
    # Its status was 0.
    assert "there is no store in" in forebay(tmp_path, "top", status=1).stderr


def test_the_command_names_the_extra_that_it_needs(tmp_path):
    script = """
import sys
sys.modules["textual"] = None
import importlib.util
importlib.util.find_spec = lambda name: None
from forebay.cli import main
main(["top"])
"""
    ours, terminal = pty.openpty()
    command = [sys.executable, "-W", "ignore", "-c", script]
    done = subprocess.run(command, stdout=terminal, stderr=subprocess.PIPE, text=True, check=False)
    os.close(ours)
    os.close(terminal)
    assert done.returncode == 1
    assert done.stderr == "Error: `forebay top` needs the extra `top`: pip install 'forebay[top]'\n"


@pytest.mark.parametrize(
    ("running", "waiting", "total", "drawn"), [(2, 1, 5, "██▒··"), (0, 0, 1, "·"), (1, 0, 1, "█"), (3, 0, 1, "███")]
)
def test_lanes_are_drawn(running, waiting, total, drawn):
    assert snapshot.lanes(running, waiting, total) == drawn
