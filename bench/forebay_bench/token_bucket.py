"""What asking a token bucket costs from Python."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import forebay
from forebay_bench import questions
from forebay_bench.harness import Figure, Scenario, Stage

if TYPE_CHECKING:
    from collections.abc import Mapping


def asked(bucket: forebay.TokenBucket, count: int) -> float:
    """Ask again and again; give how often that can be done in a second."""
    ask = bucket.try_acquire
    began = time.perf_counter()
    for _ in range(count):
        ask()
    return count / (time.perf_counter() - began)


async def acquire(stage: Stage) -> Mapping[str, float]:
    """Ask a bucket that has tokens, and one that has none."""
    count = stage.share(1_000_000)
    full = forebay.TokenBucket(rate=1_000_000_000, burst=1_000_000_000)
    empty = forebay.TokenBucket(rate=0.001, burst=1)
    empty.try_acquire()
    with stage.meter:
        return {"granted": asked(full, count), "refused": asked(empty, count)}


SCENARIOS = (
    Scenario(
        "token_bucket.acquire",
        acquire,
        (
            Figure(
                "granted",
                "TokenBucket.try_acquire, granted",
                "calls/s",
                limit="limits.call:rate",
                question=questions.BUCKET,
            ),
            Figure("refused", "TokenBucket.try_acquire, refused", "calls/s", limit="limits.call:rate"),
        ),
        durability="none",
        seconds=1,
    ),
)
