"""Modules of handlers that run in processes."""

import importlib
import sys
from pathlib import Path

import pytest


@pytest.fixture
def import_app(monkeypatch, tmp_path):
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
