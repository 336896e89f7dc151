"""`make compat` itself: it runs what `make test` leaves out, and writes down what it ran."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUITE = '''"""Somebody's client. It is not ours."""

import pytest


def test_the_client(record_testsuite_property):
    record_testsuite_property("client", "1.2")
    {}
'''


@pytest.fixture
def compat(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    compat = importlib.import_module("compat")
    for name, path in {"RESULTS": "results.jsonl", "PAGE": "RESULTS.md", "REPORTS": "reports", "SUITES": "."}.items():
        monkeypatch.setattr(compat, name, tmp_path / path)
    monkeypatch.setattr(compat, "ROOT", tmp_path)
    monkeypatch.setattr(compat, "commit", lambda: "c0ffee")

    def run(body, *arguments):
        (tmp_path / "client.py").write_text(SUITE.format(body))
        monkeypatch.setattr(sys, "argv", ["compat", *arguments])
        return compat.main(), [line.split(" | ")[:5] for line in compat.PAGE.read_text().splitlines()[7:]]

    compat.try_ = run
    return compat


@pytest.mark.parametrize(
    ("body", "code", "told"),
    [
        ("pass", 0, "passed, tests: 1"),
        ("assert False", 1, "**1 of 1 tests failed**"),
        ("pytest.skip('there is no client')", 1, "not run"),
    ],
    ids=["passes", "fails", "skips"],
)
def test_what_was_run_is_written_down_and_what_was_not_is_no_success(compat, body, code, told):
    assert compat.try_(body) == (
        code,
        [["| client", "Somebody's client. It is not ours.", "client 1.2", told, "c0ffee"]],
    )


def test_the_last_run_of_a_suite_is_shown_and_every_one_is_kept(compat):
    compat.try_("assert False")
    _, rows = compat.try_("pass", "client")
    assert [row[3] for row in rows] == ["passed, tests: 1"]
    assert [line["result"] for line in compat.read()] == ["failed", "passed"]


def test_the_page_says_what_the_results_say(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    compat = importlib.import_module("compat")
    assert compat.PAGE.read_text() == compat.page(compat.read()), "write it: python scripts/compat.py --write"
    assert {line["suite"] for line in compat.read()} == set(compat.suites()), "make compat"


def test_the_ordinary_run_leaves_the_suites_out():
    command = [sys.executable, "-m", "pytest", "--collect-only", "tests/compat"]
    collected = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, text=True)
    assert collected.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, collected.stdout
