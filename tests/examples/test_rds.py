"""The proxy's own picture, in full: a thousand handlers, ten connections, a real MariaDB; and what breaks without a proxy."""

import re
import subprocess
import sys
from pathlib import Path

RDS = Path(__file__).parents[2] / "examples" / "rds.py"


def test_a_thousand_handlers_are_served_by_ten_connections_and_are_not_without(need):
    need("mariadb-server")
    command = [sys.executable, "-W", "ignore::RuntimeWarning", str(RDS)]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "with the proxy, 10 connections: 1,000 of 1,000 handlers were served" in done.stdout
    served = re.search(r"without: ([\d,]+) of 1,000 handlers", done.stdout)
    assert served, done.stdout
    assert int(served[1].replace(",", "")) < 1000, done.stdout
    # uvloop closes the socket before the driver has read the refusal: 791 of 792 refusals were shown as a RuntimeError.
    refused = re.search(r"([\d,]+) times? turned away by the server: Too many connections \(1040\)", done.stdout)
    assert refused, done.stdout
    assert "RuntimeError" not in done.stdout
    assert "OperationalError: (1040" not in done.stdout
