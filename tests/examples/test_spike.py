"""A cold and a provisioned spike side by side."""

import subprocess
import sys
from pathlib import Path

SPIKE = Path(__file__).parents[2] / "examples" / "spike.py"


def test_a_provisioned_spike_feels_no_cold_start():
    command = [sys.executable, "-W", "ignore::RuntimeWarning", str(SPIKE), "--invocations", "40"]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 of 5 were refused beyond two reserved places: ReservedFunctionConcurrent" in done.stdout
    assert "the provisioned spike felt no cold start" in done.stdout
