"""What the records of `make deep` and `make compat` have in common: the commit that was tested."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECORDS = [
    f":!tests/{folder}/{name}" for folder in ("reliability", "compat") for name in ("RESULTS.md", "results.jsonl")
]


def git(*words: str) -> str:
    """Ask git."""
    command = ["git", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout.strip()


def commit(*paths: str) -> str:
    """Name the last commit that changed one of these paths; with none, the last that changed more than records.

    A `+` follows when something there is not committed.
    """
    where = paths or (".", *RECORDS)
    return git("log", "-1", "--format=%h", "--", *where) + "+" * bool(git("status", "--porcelain", "--", *where))
