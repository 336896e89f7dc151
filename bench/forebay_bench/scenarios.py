"""Every scenario there is, by family. A new family is one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forebay_bench import (
    aws,
    aws_polls,
    bus,
    cluster,
    cluster_processes,
    concurrency,
    dbproxy,
    dbproxy_judge,
    destinations,
    environments,
    gateway,
    growth,
    histogram,
    invoke,
    limits,
    metrics,
    queue,
    schedule,
    stacks,
    startup,
    stream,
    token_bucket,
    workflow,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forebay_bench.harness import Scenario

FAMILIES = (
    limits.SCENARIOS,
    dbproxy.LIMITS,
    stream.SCENARIOS,
    cluster.SCENARIOS,
    cluster_processes.SCENARIOS,
    queue.SCENARIOS,
    invoke.SCENARIOS,
    bus.SCENARIOS,
    schedule.SCENARIOS,
    workflow.SCENARIOS,
    stacks.SCENARIOS,
    aws.SCENARIOS,
    gateway.SCENARIOS,
    aws_polls.SCENARIOS,
    destinations.SCENARIOS,
    startup.SCENARIOS,
    histogram.SCENARIOS,
    token_bucket.SCENARIOS,
    metrics.SCENARIOS,
    environments.SCENARIOS,
    concurrency.SCENARIOS,
    dbproxy.SCENARIOS,
    dbproxy_judge.SCENARIOS,
    growth.SCENARIOS,
)
SCENARIOS: dict[str, Scenario] = {scenario.name: scenario for family in FAMILIES for scenario in family}
LONG = "growth."
"""What begins so is measured only when it is asked for: it takes its time."""


def named(name: str) -> Scenario:
    """Give the scenario with exactly this name."""
    return SCENARIOS[name]


def chosen(wanted: Sequence[str]) -> list[Scenario]:
    """Give the scenarios whose names begin so, or have such a part ("memory"); without any, all that a day's run measures.

    The limits that they are compared with come first.

    Raises:
        LookupError: when there is none for one of the names.

    """
    unknown = [word for word in wanted if not any(is_meant(known, word) for known in SCENARIOS)]
    if unknown:
        message = f"no scenario begins with {', '.join(unknown)}; there are {', '.join(SCENARIOS)}"
        raise LookupError(message)
    picked = [
        scenario
        for name, scenario in SCENARIOS.items()
        if any(is_meant(name, word) for word in wanted) or (not wanted and not name.startswith(LONG))
    ]
    compared = {figure.limit.partition(":")[0] for scenario in picked for figure in scenario.figures if figure.limit}
    return [SCENARIOS[name] for name in SCENARIOS if name in compared | {scenario.name for scenario in picked}]


def is_meant(name: str, word: str) -> bool:
    """Tell whether a scenario is what a word names: the beginning of its name, or a part of it."""
    plain, asked = name.replace("_", "-"), word.replace("_", "-")
    return plain.startswith(asked) or asked in plain.split(".")


def budget(picked: Sequence[Scenario], runs: int, scale: float) -> float:
    """Give about how many seconds these will take."""
    return sum(scenario.seconds * max(scale, 0.2) for scenario in picked) * runs
