"""Run forebay against what others wrote and `make test` has no place for, and write down what was run.

Usage: python scripts/compat.py            every suite of tests/compat
       python scripts/compat.py SUITE...   only these
       python scripts/compat.py --write    only write RESULTS.md from results.jsonl

A suite is a file of tests that needs more than Debian and PyPI have (Go, Node, a JDK) or takes minutes. Its first line says
what it is; the versions of what it met are properties that it records (pytest's `record_testsuite_property`). Each run appends
a line to tests/compat/results.jsonl. A suite of which a test was skipped was not run.
"""

from __future__ import annotations

import argparse
import ast
import datetime as dt
import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from recorded import ROOT, commit

if TYPE_CHECKING:
    from pathlib import Path

SUITES = ROOT / "tests" / "compat"
RESULTS = SUITES / "results.jsonl"
PAGE = SUITES / "RESULTS.md"
REPORTS = ROOT / "target" / "compat"

HEAD = """# Compatibility

What forebay was tried against beside the ordinary test run. `make compat` writes this page from `results.jsonl`, which has a line
for each run; here is the last one of each suite. A commit with a `+` had changes beside it.

| suite | what | with | result | on commit | date | seconds |
|---|---|---|---|---|---|---|
"""


def suites() -> dict[str, Path]:
    """Give every suite by its name."""
    return {path.stem: path for path in sorted(SUITES.glob("*.py")) if path.stem != "conftest"}


def run(name: str, path: Path) -> dict:
    """Run a suite; give its line."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    report, begun, tested = REPORTS / f"{name}.xml", time.monotonic(), commit()
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={report}", str(path)]
    ended = subprocess.run(command, cwd=ROOT, check=False)
    suite = ET.parse(report).getroot().find("testsuite")  # noqa: S314  pytest has just written it
    skipped, tests = int(suite.get("skipped")), int(suite.get("tests"))
    failed = int(suite.get("failures")) + int(suite.get("errors"))
    return {
        "suite": name,
        "title": ast.get_docstring(ast.parse(path.read_text())).splitlines()[0],
        "with": {each.get("name"): each.get("value") for each in suite.iterfind("properties/property")},
        "result": "failed" if ended.returncode else "not run" if skipped or not tests else "passed",
        "tests": tests,
        "failed": failed,
        "skipped": skipped,
        "commit": tested,
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M"),
        "seconds": round(time.monotonic() - begun, 1),
    }


def read() -> list[dict]:
    """Give every line that was ever written."""
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []


def page(lines: list[dict]) -> str:
    """Write the last run of each suite."""
    rows = []
    for line in {line["suite"]: line for line in lines}.values():
        met = ", ".join(f"{name} {version}" for name, version in line["with"].items())
        result = (
            f"**{line['failed']} of {line['tests']} tests failed**" if line["result"] == "failed" else line["result"]
        )
        counted = f"{result}, tests: {line['tests']}" if line["result"] == "passed" else result
        cells = [line["suite"], line["title"], met, counted, line["commit"], line["date"], f"{line['seconds']:.0f}"]
        rows.append(f"| {' | '.join(cells)} |\n")
    return HEAD + "".join(rows)


def main() -> int:
    """Run what the command line says."""
    found = suites()
    parser = argparse.ArgumentParser(prog="make compat")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(found)}; without: all of them")
    parser.add_argument("--write", action="store_true", help="only write RESULTS.md")
    asked = parser.parse_args()
    if unknown := set(asked.suites) - set(found):
        parser.error(f"there is no suite {', '.join(sorted(unknown))}: there are {', '.join(found)}")
    results = []
    for name in [] if asked.write else asked.suites or found:
        line = run(name, found[name])
        with RESULTS.open("a") as written:
            written.write(json.dumps(line) + "\n")
        results.append(line["result"])
        print(f"{name}: {line['result']}")
    PAGE.write_text(page(read()))
    return 0 if set(results) <= {"passed"} else 1


if __name__ == "__main__":
    sys.exit(main())
