"""Processes that the bench starts find it where pytest does."""

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def on_the_path(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2] / "bench"), prepend=os.pathsep)
