"""Shared by every test."""

import asyncio
import contextlib
import gc
import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import settings

# A test is never judged by its speed; a seed that failed is printed with the way to repeat it.
settings.register_profile("quick", deadline=None, print_blob=True)
settings.register_profile("deep", settings.get_profile("quick"), max_examples=10_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

LEAK_CHECKED = {"app", "cli", "flow", "runtime"}


@pytest.fixture(autouse=True)
def nothing_is_left_behind(request):
    """Fail a test that leaves a thread or a descriptor: a service would leak it at every restart."""
    if request.path.parent.name not in LEAK_CHECKED:
        yield
        return
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
    return threads | files


@pytest.fixture
async def no_task_is_left():
    """Fail a test whose app leaves a task running."""
    yield
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
