"""What a histogram costs from Python, and how far its percentiles are from the exact ones."""

from __future__ import annotations

import random
import time
from array import array
from typing import TYPE_CHECKING, Any

import forebay
from forebay_bench import machine, questions
from forebay_bench.harness import Figure, Scenario, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VALUES = 1_000_000
PERCENTS = (50.0, 90.0, 99.0, 99.9, 99.99)
DISTRIBUTIONS: dict[str, Callable[[random.Random], float]] = {
    "uniform": lambda chance: chance.uniform(0.001, 1),
    "exponential": lambda chance: chance.expovariate(20),
    "lognormal": lambda chance: chance.lognormvariate(-3, 1),
    "pareto": lambda chance: 0.001 * chance.paretovariate(1.1),
    "bimodal": lambda chance: chance.gauss(0.005, 0.0005) if chance.random() < 0.9 else chance.gauss(2, 0.1),  # noqa: PLR2004
}


def drawn(name: str, count: int) -> list[float]:
    """Draw numbers by a fixed seed."""
    chance, draw = random.Random(7), DISTRIBUTIONS[name]  # noqa: S311  repeatable on purpose
    return [abs(draw(chance)) for _ in range(count)]


async def record(stage: Stage) -> Mapping[str, float]:
    """Record log-normal numbers one by one in a `for` loop, and as one buffer."""
    values = drawn("lognormal", stage.share(VALUES))
    buffer = array("d", values)
    one, many = forebay.Histogram(), forebay.Histogram()
    take: Callable[[Any], None] = one.record
    with stage.meter:
        began = time.perf_counter()
        for value in values:
            take(value)
        singly = time.perf_counter() - began
        began = time.perf_counter()
        many.record_many(buffer)
        together = time.perf_counter() - began
    if one != many:
        raise AssertionError("both ways must give the same histogram")
    return {"one": len(values) / singly, "many": len(values) / together, "rust": together / len(values) * 1e9}


async def percentile(stage: Stage) -> Mapping[str, float]:
    """Ask a histogram of 100,000 log-normal numbers for p99.9."""
    histogram = forebay.Histogram()
    histogram.record_many(drawn("lognormal", 100_000))
    count = stage.share(100_000)
    ask = histogram.percentile
    with stage.meter:
        began = time.perf_counter()
        for _ in range(count):
            ask(99.9)
        seconds = time.perf_counter() - began
    return {"us": seconds / count * 1e6}


async def error(stage: Stage) -> Mapping[str, float]:
    """Compare percentiles of each distribution with those of the sorted numbers; the worst of p50 to p99.99, in percent."""
    worst = {}
    with stage.meter:
        for name in DISTRIBUTIONS:
            values = drawn(name, stage.share(VALUES))
            histogram = forebay.Histogram()
            histogram.record_many(array("d", values))
            values.sort()
            exact = {percent: machine.percentile(values, percent) for percent in PERCENTS}
            off = [abs((histogram.percentile(percent) or 0.0) / exact[percent] - 1) for percent in PERCENTS]
            worst[name] = max(off) * 100
    return worst


SCENARIOS = (
    Scenario(
        "histogram.record",
        record,
        (
            Figure(
                "one",
                "Histogram.record, one by one",
                "values/s",
                limit="limits.call:rate",
                question=questions.RECORD,
            ),
            Figure("many", "Histogram.record_many of a buffer", "values/s"),
            Figure("rust", "one value of that buffer, in Rust", "ns"),
        ),
        durability="none",
        seconds=4,
    ),
    Scenario(
        "histogram.percentile",
        percentile,
        (Figure("us", "Histogram.percentile(99.9)", "µs", limit="limits.call:us"),),
        durability="none",
        seconds=1,
    ),
    Scenario(
        "histogram.error",
        error,
        tuple(Figure(name, f"worst error of p50 to p99.99, {name}", "%") for name in DISTRIBUTIONS),
        durability="none",
        warm_up=0,
        seconds=8,
    ),
)
