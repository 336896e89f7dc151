"""The order saga: a retry, a compensation, an approval by e-mail over a restart, and clicks that are enriched."""

import subprocess
import sys
from pathlib import Path

SAGA = Path(__file__).parents[2] / "examples" / "saga.py"


def test_orders_are_shipped_refused_and_approved():
    command = [sys.executable, "-W", "ignore::RuntimeWarning", str(SAGA)]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "order 2: OrderRefused" in done.stdout
    assert "the link is followed: 200 thank you, ada" in done.stdout
    assert "order 3: approved by ada" in done.stdout
    assert "the link is followed again: 410 this order is already decided" in done.stdout
    assert "every step was made as often as it had to be" in done.stdout
