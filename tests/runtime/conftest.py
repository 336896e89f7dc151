"""Processes that outlive a test are as bad as threads that do."""

import importlib
import os
import sys
import time
from pathlib import Path

import pytest


def descendants():
    """Give the pids of everything that this process and its children started."""
    found, waiting = set(), [os.getpid()]
    while waiting:
        pid = waiting.pop()
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                pids = {int(child) for child in children.read_text().split()}
            except (FileNotFoundError, ProcessLookupError):
                continue
            waiting += pids - found
            found |= pids
    return found


@pytest.fixture
def no_process_is_left():
    before = descendants()
    yield
    until = time.monotonic() + 2
    while descendants() - before and time.monotonic() < until:
        time.sleep(0.01)  # the kernel takes a moment to bury a killed group
    assert descendants() - before == set()


@pytest.fixture
def import_app(monkeypatch, tmp_path, no_process_is_left):
    """Import a module of handlers anew, with a store of its own."""
    imported = []

    def import_anew(name):
        imported.append(name)
        sys.modules.pop(name, None)
        return importlib.import_module(name)

    monkeypatch.setenv("FOREBAY_TEST_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("FOREBAY_TEST_ATTEMPTS", str(tmp_path / "attempts"))
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    yield import_anew
    for name in imported:
        sys.modules.pop(name, None)


@pytest.fixture
def processes(import_app):
    return import_app("process_app")


@pytest.fixture
def sources(import_app):
    return import_app("process_sources")
