"""One session: scenarios one after the other, their servers beside them; what is missing is named and skipped."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

from forebay_bench import harness, servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from forebay_bench.harness import Scenario

SKIPPED: Final = 3
"""Exit status of a run for which something is missing."""


def once(scenario: Scenario, scale: float) -> None:
    """Run a scenario in this process and print its values; leave with `SKIPPED` where something is missing."""
    try:
        print(json.dumps(harness.run_once(scenario, scale)))
    except (servers.MissingError, ModuleNotFoundError) as error:
        print(error, file=sys.stderr)
        sys.exit(SKIPPED)


def missing(scenario: Scenario) -> str:
    """Name the packages that a scenario needs and that are not installed."""
    installed = {canonical(distribution.name) for distribution in importlib.metadata.distributions()}
    return ", ".join(name for name in scenario.packages if canonical(name) not in installed)


def canonical(name: str) -> str:
    """Give the one spelling of a package's name."""
    return name.lower().replace("_", "-")


def run_session(
    picked: Sequence[Scenario],
    *,
    runs: int,
    scale: float,
    program: Sequence[str] = ("-m", "forebay_bench.once"),
    skipped: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    """Measure scenarios in their order and give each result; tell `skipped` of those that cannot be measured, and why."""
    limits: dict[str, float] = {}
    with servers.Rack() as rack:
        for scenario in picked:
            absent = missing(scenario)
            if absent:
                skipped(f"{scenario.name}  skipped: not installed: {absent}")
                continue
            try:
                rack.start(scenario.servers)
                result = harness.measure(scenario, runs=runs, scale=scale, limits=limits, program=program)
            except servers.MissingError as error:
                skipped(f"{scenario.name}  skipped: {error}")
                continue
            except subprocess.CalledProcessError as error:
                # One that fails takes no other with it; its line says so instead of a figure.
                why = "something it needs is missing" if error.returncode == SKIPPED else "it failed"
                skipped(f"{scenario.name}  skipped: {why}, as told above")
                continue
            if scenario.name.startswith("limits."):
                limits |= harness.medians(result)
            yield result
