"""The main job, on a part of its flights, by four processes on one store of which two are killed: it ends equal to the file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest
    from db_servers import Postgres

FLIGHTS = Path(__file__).parents[2] / "examples" / "flights.py"


def test_four_processes_of_which_two_are_killed_end_equal_to_the_file(
    server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOREBAY_RUN_DIR", str(tmp_path / "run"))
    store = f"{server.url}?sslmode=disable"
    command = [sys.executable, "-W", "ignore::RuntimeWarning", str(FLIGHTS), "--flights", "30000", "--store", store]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NOT EQUAL" not in done.stdout
    assert "2 of 4 processes, all of which handled" in done.stdout
    assert "app-S3cret" not in done.stdout + done.stderr
