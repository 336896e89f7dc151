"""The EMR sample on a fake cluster: both nights end with a terminated cluster."""

import subprocess
import sys
from pathlib import Path

EMR = Path(__file__).parents[2] / "examples" / "emr.py"


def test_both_clusters_are_terminated():
    command = [sys.executable, "-W", "ignore::RuntimeWarning", str(EMR)]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "both clusters were terminated" in done.stdout
