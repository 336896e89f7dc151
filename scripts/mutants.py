"""Let cargo-mutants plant faults in `rust/core`, one at a time, and tell which of them no test finds.

Usage: python scripts/mutants.py [COUNT] [--seed N]     so many faults of a fixed random order, from the Nth on
       python scripts/mutants.py COUNT --room stream    only faults of this room; it may be given more than once

A fault that survives must be answered by a test, or be named in `tests/reliability/equivalents.toml` with the reason why no test
can find it. A survivor that is not named fails the run.

The faults are planted in a copy of the repository, `target/mutants/tree`, which has a build of its own. The tests that must find
a fault are those of its room: the room's own modules, and its folder in `rust/core/tests`. Random tests run the same cases as in
the ordinary test run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter, defaultdict
from dataclasses import dataclass

from recorded import ROOT

VERSION = "27.1.0"  # of cargo-mutants
WORK = ROOT / "target" / "mutants"
TREE, TOOL = WORK / "tree", WORK / "tool"
NAMED = ROOT / "tests" / "reliability" / "equivalents.toml"
SOURCES = "rust/core/src/"
# Parts of a room whose faults are planted for themselves: they have binaries of tests that take longer.
PARTS = ["workflow/jsonata"]
# The tests of a room, or of such a part, in `rust/core/tests`, where they have another name or there are several.
TESTS = {
    "alias": ["aliases"],
    "environment": ["environments"],
    "pattern": ["filters", "filter_policies", "bus_patterns"],
    "workflow": ["workflow_machine"],
    "workflow/jsonata": ["workflow_machine", "jsonata_hostile", "jsonata_stuck", "jsonata_stuck_once"],
}
# The tests of these modules take a second or more.
SLOW = ["cluster", "concurrency", "gateway", "histogram", "pattern", "workflow"]
SETTINGS = {
    "CARGO_INCREMENTAL": "1",
    "CARGO_TARGET_DIR": str(WORK / "build"),
    # The same random cases each time: `make deep` looks for new ones elsewhere.
    "PROPTEST_RNG_SEED": "1",
}
# What the core uses is optimised, so that its tests are quick; the core is not: one fault would have half of it built anew.
CONFIG = """
[profile.dev]
debug = 0
[profile.dev.package."*"]
opt-level = 1
"""
# The shortest time that a test run gets. A fault that makes a loop endless takes this long to be found.
SECONDS_MIN = 40


@dataclass(frozen=True)
class Fault:
    """One fault that can be planted.

    Attributes:
        name: as cargo-mutants has it, with line and column.
        what: the same without them, so that it stays what it is when lines above it come and go.
        line: the source line on which it begins.

    """

    name: str
    what: str
    line: str

    @property
    def room(self) -> str:
        """The module of the core that it is in, or the part of one."""
        path = self.what.removeprefix(SOURCES)
        return next((part for part in PARTS if path.startswith(f"{part}/")), path.split("/")[0].split(".rs:")[0])

    def is_in(self, rooms: list[str]) -> bool:
        """Whether it is in one of these rooms, or in a part of one."""
        return any(self.room == room or self.room.startswith(f"{room}/") for room in rooms)

    def order(self) -> str:
        """Give the place in the random order, which depends on the fault alone."""
        return hashlib.sha256(f"{self.what} {self.line}".encode()).hexdigest()


def copy() -> None:
    """Make the copy equal to the repository, and leave what is equal alone: its build stays good."""
    asked = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(asked, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    wanted = {name for name in names if name and (ROOT / name).is_file()}
    for name in wanted:
        source, target = ROOT / name, TREE / name
        if not target.is_file() or target.read_bytes() != source.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    for path in TREE.rglob("*"):
        if path.is_file() and str(path.relative_to(TREE)) not in wanted:
            path.unlink()
    (WORK / ".cargo").mkdir(exist_ok=True)
    (WORK / ".cargo" / "config.toml").write_text(CONFIG)
    shared = WORK / "shared"  # where tests look for the corpora: beside the repository
    if (ROOT.parent / "shared").is_dir() and not shared.exists():
        shared.symlink_to(ROOT.parent / "shared")


def cargo_mutants(*words: str) -> subprocess.CompletedProcess[str]:
    """Run cargo-mutants on the copy; install it first where it is missing."""
    if not (TOOL / "bin" / "cargo-mutants").exists():
        install = ["cargo", "install", "--locked", "--root", str(TOOL), f"cargo-mutants@{VERSION}"]
        subprocess.run(install, check=True)
    command = [str(TOOL / "bin" / "cargo-mutants"), "mutants", "--package", "forebay-core", "--no-config", *words]
    return subprocess.run(command, cwd=TREE, env=os.environ | SETTINGS, stdout=subprocess.PIPE, text=True, check=False)


def faults() -> list[Fault]:
    """List every fault, in the random order."""
    found = []
    for fault in json.loads(cargo_mutants("--list", "--json").stdout):
        first = (TREE / fault["file"]).read_text().splitlines()[fault["span"]["start"]["line"] - 1]
        found.append(Fault(fault["name"], re.sub(r":\d+:\d+: ", ": ", fault["name"], count=1), first.strip()))
    return sorted(found, key=lambda fault: (fault.order(), fault.name))


def binaries_of(room: str) -> list[str]:
    """Choose the binaries of tests that are to find the faults of a room; no other one is built."""
    folder = ROOT / "rust" / "core" / "tests"
    own = TESTS.get(room, [room] if (folder / room).is_dir() else [])
    return ["--lib", *(f"--test={name}" for name in own)]


def plant(room: str, count: int, others: list[str]) -> list[tuple[str, str]]:
    """Plant faults of one room, so many; give the name of each, and what came of it.

    cargo-mutants is told that all `others` were caught before: its choice by name (`--re`) lets every fault of one kind through.
    """
    output = WORK / "logs" / room
    shutil.rmtree(output, ignore_errors=True)
    (told := output / "mutants.out").mkdir(parents=True)
    (told / "caught.txt").write_text("\n".join(others))
    where = [
        "--in-place",
        "--iterate",
        "--output",
        str(output),
        "--no-times",
        "--minimum-test-timeout",
        str(SECONDS_MIN),
        *(f"--cargo-arg={word}" for word in binaries_of(room)),
    ]
    skipped = [word for slow in SLOW if not room.startswith(slow) for word in ("--skip", f"{slow}::")]
    ended = cargo_mutants(*where, "--", "--", *skipped)
    told /= "outcomes.json"
    outcomes = json.loads(told.read_text())["outcomes"] if told.exists() else []
    tried = [(one["scenario"]["Mutant"]["name"], one["summary"]) for one in outcomes if one["scenario"] != "Baseline"]
    if len(tried) != count:
        sys.exit(f"{room}: the tests fail without a fault, or cargo-mutants was ended:\n{ended.stdout[-3000:]}")
    return tried


def named() -> dict[tuple[str, str], str]:
    """Read the faults that no test can find, with the reasons."""
    listed = tomllib.loads(NAMED.read_text())["fault"]
    return {(SOURCES + one["what"], one["line"]): one["why"] for one in listed}


def main() -> int:
    """Plant what the command line says."""
    parser = argparse.ArgumentParser(prog="make mutants")
    parser.add_argument("count", nargs="?", type=int, default=400, help="so many faults; without: 400")
    parser.add_argument("--seed", type=int, default=1, help="where in the random order to begin, from 1")
    parser.add_argument("--room", action="append", help="only faults of this module of the core")
    asked = parser.parse_args()
    copy()
    everything = faults()
    equivalents = named()
    if gone := set(equivalents) - {(fault.what, fault.line) for fault in everything}:
        sys.exit(f"{NAMED} names what cargo-mutants does not plant any more: {sorted(gone)}")
    order = [fault for fault in everything if asked.room is None or fault.is_in(asked.room)]
    if not order:
        sys.exit(f"there is no fault in {asked.room}: there are {sorted({fault.room for fault in everything})}")
    chosen = [order[number % len(order)] for number in range(asked.seed - 1, asked.seed - 1 + asked.count)]
    by_name = {fault.name: fault for fault in chosen}
    rooms: dict[str, set[str]] = defaultdict(set)
    for fault in by_name.values():
        rooms[fault.room].add(fault.name)
    counted: Counter[str] = Counter()
    unnamed = 0
    for room, planted in sorted(rooms.items()):
        others = [fault.name for fault in everything if fault.name not in planted]
        for name, summary in plant(room, len(planted), others):
            counted[summary] += 1
            if summary == "MissedMutant":
                fault = by_name[name]
                why = equivalents.get((fault.what, fault.line))
                unnamed += why is None
                print(f"survived: {name}\n    {fault.line}\n    {why or 'nobody has named it'}", flush=True)
        print(f"{room}: {len(planted)} planted", flush=True)
    figures = {
        "caught": counted["CaughtMutant"],
        "ended by the time limit": counted["Timeout"],
        "survived": counted["MissedMutant"],
        "survived and not named": unnamed,
        "not compiled": counted["Unviable"],
    }
    print("figures " + json.dumps(figures))
    return 1 if unnamed else 0


if __name__ == "__main__":
    sys.exit(main())
