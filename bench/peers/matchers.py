"""forebay's matcher of event patterns and event-ruler, AWS's own, over the same rules and events; what discovery costs.

Rates are per second of one thread's processor time, so that a busy machine does not count; the time to add a rule is wall time.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from forebay_bench import questions, servers
from forebay_bench.harness import Figure, Scenario

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forebay_bench.harness import Stage

ROOT = Path(__file__).resolve().parents[2]
SIZES = (1_000, 10_000)
CARGO = ("cargo", "https://rustup.rs")
JAVA = ("java", "apt-get install openjdk-17-jdk")
MAVEN = ("mvn", "apt-get install maven")


def _ran(stage: Stage, program: tuple[str, str], *arguments: str, rules: Path | None = None) -> str:
    """Run a program in the repository, and give what it prints."""
    command = [servers.program(*program), *arguments]
    extra = {} if rules is None else {"FOREBAY_BENCH_RULES": str(rules)}
    with stage.meter:
        return subprocess.run(
            command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | extra
        ).stdout


def _bench(stage: Stage, name: str, *, rules: Path | None = None) -> str:
    """Run one of the core's benches, built for it first."""
    return _ran(stage, CARGO, "bench", "--locked", "-q", "-p", "forebay-core", "--bench", name, rules=rules)


def mixed(lines: str, *, added: int) -> dict[str, float]:
    """Read the rates and the times to add a rule for the mixed rules from a table; `added` is the column of the latter."""
    values = {}
    for words in map(str.split, lines.splitlines()):
        if words[1:2] == ["mixed"] and int(words[0]) in SIZES:
            values |= {f"rate_{words[0]}": float(words[2]), f"add_{words[0]}": float(words[added])}
    return values


async def forebay_rules(stage: Stage) -> Mapping[str, float]:
    """Match 5,000 different events of 568 bytes with forebay's index, 80 times in each of three rounds."""
    return mixed(_bench(stage, "bus_rules"), added=5)


async def event_ruler(stage: Stage) -> Mapping[str, float]:
    """Match the same events with event-ruler; the best of three rounds."""
    _bench(stage, "bus_rules", rules=stage.directory)
    built = stage.directory / "ruler"
    goals = ("package", "dependency:copy-dependencies")
    _ran(stage, MAVEN, "-q", "-f", "bench/ruler/pom.xml", f"-Dtarget={built}", *goals)
    return mixed(
        _ran(stage, JAVA, "-cp", f"{built}/classes:{built}/dependency/*", "Ruler", str(stage.directory)), added=4
    )


async def shapes(stage: Stage) -> Mapping[str, float]:
    """Check events of 600 bytes whose shape discovery knows."""
    lines = _bench(stage, "schemas").splitlines()
    [known] = [line for line in lines if "shape known" in line]
    return {"rate": float(known.split()[-2])}


FIGURES = tuple(
    figure
    for size in SIZES
    for figure in (
        Figure(f"rate_{size}", f"match with {size:,} mixed rules", "events/s", question=questions.MATCH[size]),
        Figure(f"add_{size}", f"add one of {size:,} mixed rules", "µs", question=questions.ADD[size]),
    )
)
SCENARIOS = (
    Scenario(
        "peers.rules.forebay",
        forebay_rules,
        FIGURES,
        durability="memory",
        warm_up=0,
        seconds=60,
        note="from the event's bytes, one thread, per second of its processor time; the median to add a rule",
    ),
    Scenario(
        "peers.rules.event-ruler",
        event_ruler,
        FIGURES,
        durability="memory",
        warm_up=0,
        seconds=90,
        who="event-ruler",
        note="2.1.0 on Java, from the event's text, one thread, per second of its processor time; the mean to add a rule",
    ),
    Scenario(
        "peers.shapes.forebay",
        shapes,
        (Figure("rate", "events whose shape discovery knows, checked", "events/s"),),
        durability="memory",
        warm_up=0,
        seconds=10,
        note="600 bytes each, one thread",
    ),
)
