"""Where a scenario's time goes: one run under py-spy, as a flame graph."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from forebay_bench.harness import Scenario

MISSING = "A profile needs py-spy: pip install py-spy."


def flame_graph(scenario: Scenario, scale: float, directory: Path) -> Path:
    """Run a scenario once under py-spy; give the file of the flame graph.

    Raises:
        FileNotFoundError: without py-spy.
        RuntimeError: when py-spy did not do it, with what it said.

    """
    spy = shutil.which("py-spy")
    if spy is None:
        raise FileNotFoundError(MISSING)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{scenario.name}.svg"
    work = [sys.executable, "-m", "forebay_bench.once", scenario.name, str(scale)]
    record = [spy, "record", "--native", "--threads", "--rate", "500", "--output", str(path), "--", *work]
    told = subprocess.run(record, check=False, capture_output=True, text=True)
    if told.returncode != 0 or not path.exists():
        message = f"py-spy did not profile {scenario.name}: {told.stderr.strip()}"
        raise RuntimeError(message)
    return path
