"""Run scenarios, each run in a process of its own, and keep what came out. Never decides what a scenario does."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from forebay import _core
from forebay_bench import machine, servers

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

RUNS = 5
DEBUG_BUILD = (
    "This build of forebay has its assertions on: figures would mean nothing. "
    "Use a release build, as `make bench` does."
)
SATURATED = 0.9  # of all cores


@dataclass(frozen=True, slots=True)
class Figure:
    """One number that a scenario gives.

    Attributes:
        name: its key in what the scenario returns.
        title: what it is, for a person.
        unit: of a rate (`.../s`) more is better, of anything else less.
        question: what is asked of several programs, word for word the same for each, so that their answers stand side by side.
        limit: the figure of the family `limits` that bounds it, as `scenario:name`; its share of that is told with it.
        each: how many of this go with one of the limit's: a task for ten messages, two processes that each answer.
        series: the curve it is a point of, if the scenario tells how something grows.
        at: where on that curve.

    """

    name: str
    title: str
    unit: str
    limit: str | None = None
    each: float = 1.0
    series: str | None = None
    at: float = 0.0
    question: str | None = None


def curve(title: str, steps: Sequence[int], what: str, *, name: str = "us", unit: str = "µs") -> tuple[Figure, ...]:
    """Give the figures of something that grows: one for each step."""
    return tuple(
        Figure(f"{name}_{step}", f"{title}, {step:,} {what}", unit, series=f"{title}, by {what}", at=step)
        for step in steps
    )


@dataclass(frozen=True, slots=True)
class Scenario:
    """A question, and the work that answers it."""

    name: str
    run: Callable[[Stage], Coroutine[Any, Any, Mapping[str, float]]]
    """Does the work on a stage and gives a value for each figure."""
    figures: tuple[Figure, ...]
    durability: str = "power-loss"
    warm_up: float = 0.05
    """Share of the work that is done before it is done again and measured."""
    seconds: float = 3.0
    """About how long a run takes, for the budget that is told before the work."""
    who: str = "forebay"
    """The program that is measured."""
    note: str = ""
    """Its settings, where they matter, and what it does not do."""
    servers: tuple[str, ...] = ()
    """Servers that it needs, by their names in `forebay_bench.servers`."""
    starts: tuple[str, ...] = ()
    """Servers that each of its runs starts for itself."""
    packages: tuple[str, ...] = ()
    """Python packages that it needs, by the names under which they are installed."""


@dataclass(slots=True)
class Stage:
    """Where a scenario runs: its own directory, how much work it is to do, and the meter it reads."""

    directory: Path
    scale: float = 1.0
    meter: machine.Meter = field(default_factory=machine.Meter)

    def share(self, amount: int) -> int:
        """Give as much of the work as this run is to do."""
        return max(1, round(amount * self.scale))


def run_once(scenario: Scenario, scale: float) -> dict[str, Any]:
    """Run a scenario in this process, after its warm-up."""
    with (
        tempfile.TemporaryDirectory(prefix="forebay-bench-") as root,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop,
    ):
        for name, share in (("warm-up", scenario.warm_up * scale), ("measured", scale)):
            if share:
                stage = Stage(Path(root, name), share)
                stage.directory.mkdir()
                values = loop.run(scenario.run(stage))
    return {"values": dict(values), "cores": stage.meter.cores, "others": stage.meter.others}


def measure(
    scenario: Scenario,
    *,
    runs: int = RUNS,
    scale: float = 1.0,
    limits: Mapping[str, float] | None = None,
    program: Sequence[str] = ("-m", "forebay_bench.once"),
) -> dict[str, Any]:
    """Run a scenario several times, each time in a new process; give one result: medians, spread, machine.

    `limits` has the medians of this session's figures of the family `limits`, as `{"scenario:name": median}`; `program` is what
    Python is to run with the scenario's name and the scale.
    """
    command = [sys.executable, *program, scenario.name, str(scale)]
    began = time.perf_counter()
    samples = [json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout) for _ in range(runs)]
    took = (time.perf_counter() - began) / runs
    beside = {"servers": list(scenario.servers)} if scenario.servers else {}
    described = machine.describe(scenario.packages)
    described["versions"] |= {name: servers.version(name) for name in scenario.servers + scenario.starts}
    return {
        "scenario": scenario.name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "who": scenario.who,
        "note": scenario.note,
        "durability": scenario.durability,
        "runs": runs,
        "scale": scale,
        "seconds": round(took, 1),
        "figures": [
            _figure(figure, [sample["values"][figure.name] for sample in samples], limits or {})
            for figure in scenario.figures
        ],
        "cores": _median(sample["cores"] for sample in samples),
        "others": _median(sample["others"] for sample in samples if sample["others"] is not None),
        **beside,
        **described,
    }


def _figure(figure: Figure, values: Sequence[float], limits: Mapping[str, float]) -> dict[str, Any]:
    rounded = [_significant(value) for value in values]
    median = statistics.median(values)
    told: dict[str, Any] = {
        "name": figure.name,
        "title": figure.title,
        "unit": figure.unit,
        "median": _significant(median),
        "least": min(rounded),
        "most": max(rounded),
        "values": rounded,
    }
    if figure.question is not None:
        told["question"] = figure.question
    if figure.series is not None:
        told |= {"series": figure.series, "at": figure.at}
    limit = _significant(limits.get(figure.limit or "", 0.0) * figure.each)
    if limit:
        share = median / limit if more_is_better(figure.unit) else limit / median
        told |= {"limit": figure.limit, "limit_median": limit, "share_of_limit": _significant(share)}
    return told


def more_is_better(unit: str) -> bool:
    """Tell rates from times, sizes and ratios."""
    return unit.endswith("/s")


def medians(result: Mapping[str, Any]) -> dict[str, float]:
    """Give the medians of a result under the names by which `Figure.limit` refers to them."""
    return {f"{result['scenario']}:{figure['name']}": figure["median"] for figure in result["figures"]}


def _significant(value: float) -> float:
    return float(f"{value:.4g}")


def _median(values: Any) -> float | None:
    known = list(values)
    return round(statistics.median(known), 2) if known else None


def keep(result: Mapping[str, Any], directory: Path) -> None:
    """Append a result, one line, to the file of its scenario's family."""
    directory.mkdir(parents=True, exist_ok=True)
    family = result["scenario"].partition(".")[0]
    with (directory / f"{family}.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(result) + "\n")


def table(result: Mapping[str, Any]) -> str:
    """Write a result as lines for a person."""
    others = "" if result["others"] is None else f", others {result['others']:.2f}"
    full = ", machine saturated" if saturated(result) else ""
    lines = [f"{result['scenario']}  ({result['runs']} runs, cores {result['cores']:.2f}{others}{full})"]
    for figure in result["figures"]:
        spread = f"{shown(figure['least'])} .. {shown(figure['most'])}"
        share = f"  {figure['share_of_limit']:.0%} of the limit" if "share_of_limit" in figure else ""
        lines.append(f"  {figure['title']:<58} {shown(figure['median']):>12} {figure['unit']:<14} {spread}{share}")
    return "\n".join(lines)


def saturated(result: Mapping[str, Any]) -> bool:
    """Tell whether the machine had next to nothing left while a result was measured."""
    return bool(result["cores"] + (result["others"] or 0.0) > SATURATED * result["machine"]["cores"])


def shown(value: float) -> str:
    """Write a number as a person reads it: three digits that mean something."""
    return f"{float(f'{value:.3g}'):,.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004


def refuse_debug_build() -> None:
    """Stop where figures would mean nothing."""
    if _core.debug_build:
        sys.exit(DEBUG_BUILD)
