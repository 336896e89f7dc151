"""Token buckets and percentile recorders, called from Python in one thread. Nothing here is durable."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from forebay_bench import questions
from forebay_bench.harness import Figure, Scenario, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

CALLS = 1_000_000


def calls(make: Callable[[], Callable[[], object]]) -> Callable[[Stage], Coroutine[Any, Any, Mapping[str, float]]]:
    """Make a scenario's work: call what `make` gives, again and again."""

    async def run(stage: Stage) -> Mapping[str, float]:
        call, count = make(), stage.share(CALLS)
        with stage.meter:
            for _ in range(count):
                call()
        return {"rate": count / stage.meter.seconds}

    return run


def values(
    make: Callable[[], Callable[[float], object]],
) -> Callable[[Stage], Coroutine[Any, Any, Mapping[str, float]]]:
    """Make a scenario's work: record values, all different, in what `make` gives."""

    async def run(stage: Stage) -> Mapping[str, float]:
        record, count = make(), stage.share(CALLS)
        seeded = random.Random(1)
        some = [seeded.lognormvariate(3, 1) + 1 for _ in range(10_000)]
        with stage.meter:
            for _ in range(0, count, len(some)):
                for value in some:
                    record(value)
        return {"rate": -(-count // len(some)) * len(some) / stage.meter.seconds}

    return run


def _token_bucket() -> Callable[[], object]:
    import token_bucket

    limiter = token_bucket.Limiter(1e9, 1_000_000_000, token_bucket.MemoryStorage())
    return lambda: limiter.consume("key")


def _throttled() -> Callable[[], object]:
    from throttled import RateLimiterType, Throttled, per_sec

    limiter = Throttled(key="key", using=RateLimiterType.TOKEN_BUCKET.value, quota=per_sec(1_000_000_000))
    return limiter.limit


def _aiolimiter() -> Callable[[], object]:
    import aiolimiter

    limiter = aiolimiter.AsyncLimiter(1e9, 1)
    return limiter.has_capacity


def _fastdigest() -> Callable[[float], object]:
    from fastdigest import TDigest

    return TDigest().update


def _ddsketch() -> Callable[[float], object]:
    from ddsketch import DDSketch

    return DDSketch(0.01).add


def _hdrhistogram() -> Callable[[float], object]:
    from hdrh.histogram import HdrHistogram

    return HdrHistogram(1, 60_000_000, 3).record_value


def _prometheus() -> Callable[[float], object]:
    from prometheus_client import CollectorRegistry, Histogram

    return Histogram("bench", "bench", registry=CollectorRegistry()).observe


def _bucket(who: str, make: Callable[[], Callable[[], object]], note: str = "") -> Scenario:
    figure = Figure("rate", f"{who}: ask a token bucket", "calls/s", question=questions.BUCKET)
    return Scenario(f"peers.token-bucket.{who}", calls(make), (figure,), "none", who=who, note=note, packages=(who,))


def _recorder(who: str, make: Callable[[], Callable[[float], object]], note: str) -> Scenario:
    figure = Figure("rate", f"{who}: record a value", "values/s", question=questions.RECORD)
    return Scenario(f"peers.histogram.{who}", values(make), (figure,), "none", who=who, note=note, packages=(who,))


SCENARIOS = (
    _bucket("token-bucket", _token_bucket),
    _bucket("throttled-py", _throttled, "in-memory store"),
    _bucket("aiolimiter", _aiolimiter, "has_capacity only: it takes tokens in a coroutine"),
    _recorder("fastdigest", _fastdigest, "t-digest: error depends on the data"),
    _recorder("ddsketch", _ddsketch, "relative error 1%"),
    _recorder("hdrhistogram", _hdrhistogram, "three digits, integers"),
    _recorder("prometheus-client", _prometheus, "classic buckets: error is the bucket's width"),
)
