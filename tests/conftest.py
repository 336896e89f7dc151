"""Shared by every test."""

import asyncio
import contextlib
import gc
import inspect
import os
import threading
import time
from pathlib import Path

import pytest
import uvloop
from hypothesis import settings

# A test is never judged by its speed; a seed that failed is printed with the way to repeat it.
settings.register_profile("quick", deadline=None, print_blob=True)
settings.register_profile("deep", settings.get_profile("quick"), max_examples=10_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

# What is opened once and kept: by matplotlib its fonts, by the first loop of libuv a pipe for signals, by whatever starts the
# database servers of a whole run their input.
KEPT_OPEN = ("site-packages", "/dev/null")
uvloop.new_event_loop().close()


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    """Fail a test that leaves a thread or a descriptor: a service would leak it at every restart."""
    before = left_behind()
    yield
    for _ in range(100):
        gc.collect()
        left = left_behind() - before
        if not left:
            return
        time.sleep(0.02)  # a thread that was told to end needs a moment
    assert left == set()


def left_behind():
    threads = {f"thread {thread.name}" for thread in threading.enumerate() if thread.name.startswith("forebay")}
    files = set()
    for path in Path("/dev/fd").iterdir():
        with contextlib.suppress(OSError):  # the one that lists the folder
            files.add(f"descriptor {path.name}: {path.readlink()}")
    return threads | {file for file in files if not any(kept in file for kept in KEPT_OPEN)}


def pytest_collection_modifyitems(items):
    """Hold every test on an event loop to `no_task_is_left`."""
    for item in items:
        if inspect.iscoroutinefunction(getattr(item, "function", None)):
            item.fixturenames.insert(0, no_task_is_left.__name__)


@pytest.fixture
async def no_task_is_left():
    """Fail a test that leaves a task running."""
    yield
    ours = {asyncio.current_task()}
    for _ in range(50):
        if asyncio.all_tasks() == ours:
            return
        await asyncio.sleep(0.01)  # one that was cancelled needs a moment
    assert asyncio.all_tasks() == ours
