"""What the judge of the database proxy costs for one statement: one that it knows, and a new one of 300 characters."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from forebay._core import StatementJudge
from forebay.dbproxy.effect import Effect
from forebay_bench.harness import Figure, Scenario, Stage

if TYPE_CHECKING:
    from collections.abc import Mapping

STATEMENT = (
    "SELECT o.id, o.total, c.name, upper(c.country) AS country FROM orders AS o JOIN customers AS c ON c.id = o.customer_id "
    "WHERE o.created_at >= '2026-01-01' AND o.status IN ('paid', 'sent') AND c.email LIKE '%example%' "
    "AND coalesce(o.discount, 0) < 10 ORDER BY o.created_at DESC LIMIT 50 OFFSET "
)


def told(engine: str) -> StatementJudge:
    """Make a judge that knows the names in the statement."""
    judge = StatementJudge(engine, Effect, [])
    while needs := judge.judge(STATEMENT + "1").needs:
        judge.learn(judge.generation(), 0, list(needs), [])
    return judge


async def judged(stage: Stage) -> Mapping[str, float]:
    """Judge one statement again and again, then many that differ in a number."""
    figures = {}
    count, new = stage.share(1_000_000), stage.share(50_000)
    with stage.meter:
        for engine in ("mysql", "postgresql"):
            judge = told(engine).judge
            known = f"{STATEMENT}{1:06}".ljust(300)
            judge(known, 0, False)
            began = time.perf_counter()
            for _ in range(count):
                judge(known, 0, False)
            figures[f"{engine}_known"] = (time.perf_counter() - began) / count * 1e6
            texts = [f"{STATEMENT}{number:06}".ljust(300) for number in range(2, new + 2)]
            began = time.perf_counter()
            for text in texts:
                judge(text, 0, False)
            figures[f"{engine}_new"] = (time.perf_counter() - began) / new * 1e6
    return figures


SCENARIOS = (
    Scenario(
        "dbproxy.judge",
        judged,
        tuple(
            Figure(f"{engine}_{kind}", f"judge a statement, {name}: {text}", "µs")
            for engine, name in (("mysql", "MariaDB"), ("postgresql", "PostgreSQL"))
            for kind, text in (("known", "seen before"), ("new", "new, of 300 characters"))
        ),
        durability="none",
        seconds=3,
    ),
)
