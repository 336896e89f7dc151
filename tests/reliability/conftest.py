"""The crash tests: a process under load, killed and started again, and a ledger of what it saw."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from forebay.testing import Ledger

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))


class Nursery:
    """Starts lives of the app, kills them, and reads their ledger."""

    def __init__(self, path: Path, victim: str = "victim.py") -> None:
        self.store, self.ledger, self.errors = path / "data", path / "ledger.db", path / "errors"
        self._seen = Ledger(self.ledger)
        self.lives = 0
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(HERE / victim)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._children: set[int] = set()

    def _ask(self, **question) -> int:
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def start(self, **how) -> int:
        """Start a life; give its process id."""
        self.lives += 1
        paths = {"store": str(self.store), "ledger": str(self.ledger), "errors": str(self.errors)}
        child = self._ask(life=self.lives, **paths, **how)
        self._children.add(child)
        return child

    def wait(self, child: int) -> int:
        """Give the exit status; negative: the signal that ended it."""
        self._children.discard(child)
        return self._ask(wait=child)

    def kill(self, child: int, number=signal.SIGKILL) -> None:
        os.kill(child, number)

    def freeze(self, child: int) -> None:
        """Stop a process at a moment at which it does not hold the ledger, which everybody else writes to."""
        while True:
            os.kill(child, signal.SIGSTOP)
            self.until(lambda: b") T" in Path(f"/proc/{child}/stat").read_bytes(), "a process that stands still")
            ledger = sqlite3.connect(self.ledger, timeout=0.02, isolation_level=None)
            with contextlib.closing(ledger), contextlib.suppress(sqlite3.OperationalError):
                ledger.execute("BEGIN IMMEDIATE")
                return
            os.kill(child, signal.SIGCONT)
            time.sleep(0.001)

    def said(self) -> str:
        """Give what the lives complained about."""
        return self.errors.read_text()[-2_000:] if self.errors.exists() else ""

    def facts(self) -> list:
        """Give what all lives saw."""
        return self._seen.facts()

    def count(self, kind: str, life: int | None = None) -> int:
        """Count facts of a kind without reading them all."""
        return self._seen.count(kind, life)

    def until(self, condition, what: str, within: float = 100) -> None:
        """Wait for what the child does."""
        ends = time.monotonic() + within
        while not condition():
            assert time.monotonic() < ends, f"not within {within} s: {what}\n{self.said()}"
            time.sleep(0.005)

    def close(self) -> None:
        """End everything."""
        for child in self._children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._process.stdin.close()
        self._process.wait(100)
        self._process.stdout.close()
        self._seen.close()


@pytest.fixture
def nursery(tmp_path, request):
    """Give a nursery of the victim that the module names, of `victim.py` where it names none."""
    nursery = Nursery(tmp_path, getattr(request.module, "VICTIM", "victim.py"))
    yield nursery
    nursery.close()
