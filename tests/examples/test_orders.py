"""A FIFO queue's day: order, retries, a dead letter and its redrive."""

import subprocess
import sys
from pathlib import Path

ORDERS = Path(__file__).parents[2] / "examples" / "orders.py"


def test_every_order_is_shipped_once_and_in_order():
    command = [sys.executable, "-W", "ignore::RuntimeWarning", str(ORDERS)]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "one dead letter, after 3 tries" in done.stdout
    assert "every order was shipped once" in done.stdout
