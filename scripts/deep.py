"""Run the reliability tests far beyond the ordinary run, in pieces, and write down what was run.

Usage: python scripts/deep.py                     every part, until each is whole for the files that it tests
       python scripts/deep.py kill --count 200    so many of one part, and no more
       python scripts/deep.py --list              what has been run on this commit
       python scripts/deep.py --write             only write RESULTS.md from results.jsonl

Each piece that ends appends a line to tests/reliability/results.jsonl; a run that is interrupted goes on after the last of them.
As many parts run side by side as there are cores; then, one after the other, those that need the machine for themselves.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from deep_parts import PARTS, Part
from recorded import ROOT, commit

RESULTS = ROOT / "tests" / "reliability" / "results.jsonl"
PAGE = ROOT / "tests" / "reliability" / "RESULTS.md"
LOGS = ROOT / "target" / "deep"
WRITING = threading.Lock()

HEAD = """# Deep runs

The newest run of each part of `make deep`, which tests far more than the ordinary test run. A part without a row was never run. A
commit with a `+` had changes that were not committed. A part of which deep_parts.py names the files that it tests has the last
commit that changed one of them. `results.jsonl` has a line for each piece of every run, with all figures.

| part | what | run | result | on commit | until |
|---|---|---|---|---|---|
"""
FIGURES_SHOWN = 4


def read() -> list[dict]:
    """Give every line that was ever written."""
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []


def add(total: dict[str, float], figures: dict[str, float]) -> None:
    """Take more figures into a sum."""
    for name, value in figures.items():
        total[name] = max(total.get(name, 0), value) if name.endswith("_most") else total.get(name, 0) + value


def run(part: Part, count: int, seed: int) -> dict:
    """Run a piece; give its line."""
    words, variables = part.words(count, seed)
    LOGS.mkdir(parents=True, exist_ok=True)
    log, begun, tested = LOGS / f"{part.name}.log", time.monotonic(), commit(*part.tests)
    with log.open("w") as output:
        ended = subprocess.run(
            words, cwd=ROOT, env=os.environ | variables, stdout=output, stderr=subprocess.STDOUT, check=False
        )
    figures: dict[str, float] = {}
    for line in log.read_text(errors="replace").splitlines():
        if said := re.search(r"figures (\{.*\})$", line):  # pytest's dots may stand before it
            add(figures, json.loads(said[1]))
        elif line.startswith('{"seeds"'):
            ended_with = json.loads(line)
            add(figures, ended_with["counts"])
            add(figures, {f"fault {name}": count for name, count in ended_with["faults"].items()})
            rate = round(ended_with["counts"]["deliveries"] / ended_with["seconds"])
            add(figures, {"deliveries_a_second_most": rate})
    is_skipped = any(name.startswith("skipped") for name in figures)
    return {
        "part": part.name,
        "title": part.title,
        "unit": part.unit,
        "count": 0 if is_skipped else count,
        "seed": seed,
        "passed": ended.returncode == 0,
        "figures": figures,
        "commit": tested,
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M"),
        "seconds": round(time.monotonic() - begun, 1),
    }


def passed(part: Part, tested: str) -> int:
    """Count what was run of a part on a commit, and passed."""
    lines = (line for line in read() if (line["part"], line["commit"], line["passed"]) == (part.name, tested, True))
    return sum(line["count"] for line in lines)


def go_on(part: Part, wanted: int | None, first: int | None) -> bool:
    """Run pieces of a part until there are enough of them; tell whether all passed."""
    tested = commit(*part.tests)
    left = part.goal - passed(part, tested) if wanted is None else wanted
    while left > 0:
        count = min(part.piece, left)
        # No seed is run twice, on whatever commit, unless one is asked for.
        seed = first or 1 + sum(line["count"] for line in read() if line["part"] == part.name)
        first = first and first + count
        line = run(part, count, seed)
        with WRITING:
            with RESULTS.open("a") as results:
                results.write(json.dumps(line) + "\n")
            write()
        if line["count"] == 0:
            print(f"{part.name}: NOT RUN, see {LOGS / part.name}.log: {shown(line['figures'])}")
            return False
        left -= count
        print(f"{part.name}: {count} {part.unit} in {line['seconds']:.0f} s, {left} left", flush=True)
        if not line["passed"]:
            again = f"{part.name} --count {count} --seed {seed}"
            print(f"{part.name} FAILED, see {LOGS / part.name}.log; once more: make deep ARGS='{again}'")
            return False
    return True


def every(parts: list[Part], wanted: int | None, first: int | None) -> bool:
    """Run parts, those first that can share the machine; one that fails keeps no other from its run."""

    def ended(part: Part) -> bool:
        return go_on(part, wanted, first)

    with ThreadPoolExecutor(os.cpu_count()) as beside:
        passed = list(beside.map(ended, [part for part in parts if not part.alone]))
    return all(passed + [ended(part) for part in parts if part.alone])


def shown(figures: dict[str, float]) -> str:
    """Write figures as words."""
    return ", ".join(f"{name.replace('_', ' ')} {value:,.10g}" for name, value in figures.items())


def newest(lines: list[dict], part: Part) -> list[dict]:
    """Give the pieces of a part's newest run: those on its last commit, of one kind. A part may have been another one before."""

    def run_of(line: dict) -> tuple[str, str, str]:
        return line["commit"], line.get("title", part.title), line.get("unit", part.unit)

    of_part = [line for line in lines if line["part"] == part.name]
    return [line for line in of_part if run_of(line) == run_of(of_part[-1])]


def row(part: Part, pieces: list[dict]) -> str:
    """Write the row of a run."""
    figures: dict[str, float] = {}
    passed = [piece for piece in pieces if piece["passed"]]
    for piece in passed:
        add(figures, piece["figures"])
    failed, done = len(pieces) - len(passed), sum(piece["count"] for piece in passed)
    result = f"**{failed} of {len(pieces)} pieces failed**" if failed else "passed" if done else "not run"
    said = f"{result}; {shown(dict(list(figures.items())[:FIGURES_SHOWN]))}" if figures else result
    last = pieces[-1]
    count = f"{done:,} {last.get('unit', part.unit)}"
    title = last.get("title", part.title)
    return f"| {part.name} | {title} | {count} | {said} | {last['commit']} | {last['date']} |"


def failures(part: Part, pieces: list[dict]) -> list[str]:
    """Name each failed piece of a run, with what was found out about it (`explained` in its line of results.jsonl)."""
    return [
        f"- {part.name} --count {piece['count']} --seed {piece['seed']} on {piece['commit']}: "
        f"{piece.get('explained', 'open: nobody has explained it')}"
        for piece in pieces
        if not piece["passed"]
    ]


def table(lines: list[dict]) -> str:
    """Write a row for each part that was ever run, and the pieces that failed in these runs."""
    runs = [(part, pieces) for part in PARTS if (pieces := newest(lines, part))]
    text = "".join(f"{row(part, pieces)}\n" for part, pieces in runs)
    failed = [line for part, pieces in runs for line in failures(part, pieces)]
    return text + ("\nPieces that failed in these runs:\n\n" + "\n".join(failed) + "\n" if failed else "")


def write() -> None:
    """Write the page."""
    PAGE.write_text(HEAD + table(read()))


def main() -> int:
    """Run what the command line says."""
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(prog="make deep")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(names)}; without: all of them")
    parser.add_argument("--count", type=int, help="run so many of each part, whatever was run before")
    parser.add_argument("--seed", type=int, help="begin there: repeat what failed")
    parser.add_argument("--list", action="store_true", help="show what has been run on this commit")
    parser.add_argument("--write", action="store_true", help="only write RESULTS.md")
    asked = parser.parse_args()
    if unknown := set(asked.parts) - set(names):
        parser.error(f"there is no part {', '.join(sorted(unknown))}: there are {', '.join(names)}")
    if asked.write:
        write()
        return 0
    chosen = [part for part in PARTS if not asked.parts or part.name in asked.parts]
    if asked.list:
        for part in chosen:
            print(
                f"{part.name:10} {passed(part, commit(*part.tests)):>9,} of {part.goal:>9,} {part.unit}: {part.title}"
            )
        return 0
    return 0 if every(chosen, asked.count, asked.seed) else 1


if __name__ == "__main__":
    sys.exit(main())
