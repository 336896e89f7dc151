"""The main job, on a part of its flights: it ends equal to the file, killed halfway or not, and says so when it does not."""

import subprocess
import sys
from pathlib import Path

import pytest

FLIGHTS = Path(__file__).parents[2] / "examples" / "flights.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore::RuntimeWarning", str(FLIGHTS), *arguments]
    return subprocess.run(command, capture_output=True, check=False, text=True, timeout=200)


@pytest.mark.parametrize("arguments", [[], ["--kill"]], ids=["undisturbed", "killed halfway"])
def test_it_ends_equal_to_the_file(arguments):
    done = run("--flights", "30000", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NOT EQUAL" not in done.stdout
    # After the kill the count went back without a word about it.
    assert ("what is left and counts that from 0" in done.stdout) == ("--kill" in arguments)


def test_a_store_that_cannot_be_used_is_told_in_a_line():
    """It was a traceback of thirty lines."""
    done = run("--flights", "10", "--store", "postgresq://shop:hidden@127.0.0.1:1/shop")
    assert done.returncode == 1
    assert done.stderr.startswith("flights: store='postgresq://…': ")
    assert done.stderr.count("\n") == 1


def test_it_says_so_when_something_is_not_equal(tmp_path):
    broken = tmp_path / "flights.py"
    broken.write_text(
        FLIGHTS.read_text().replace("start = self.delay // 2", "start = self.delay // (2 + bool(sequence_number))")
    )
    done = subprocess.run(
        [sys.executable, str(broken), "--flights", "2000"], capture_output=True, check=False, text=True, timeout=200
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "NOT EQUAL" in done.stdout
