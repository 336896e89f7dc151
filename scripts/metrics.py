"""Write docs/metrics.md from the catalogue that is compiled into forebay.

Usage: python scripts/metrics.py          write the page (build the extension first: `make docs` does both)
       python scripts/metrics.py --check  only tell (exit code 1) whether it is up to date
"""

import json
import sys
from pathlib import Path

from forebay._core import Engine

PAGE = Path(__file__).resolve().parent.parent / "docs" / "metrics.md"

HEAD = """# Metrics

This page is written by `make docs` from the catalogue in `rust/engine/src/metrics/catalogue.rs`; nothing is measured
that is not in it.

Everything is at `/metrics` of `forebay run` (text 0.0.4, OpenMetrics 1.0, and native histograms in OpenMetrics 2.0),
in `forebay metrics list` and `forebay metrics get NAME`, and in `app.metrics.statistic(NAME, "p99.9")`. A NAME is
Prometheus's, or CloudWatch's: the answer is then in CloudWatch's unit. What has no twin in CloudWatch has a name of
the same style in the namespace `Forebay`, or none.

**Kinds.** A *counter* only grows. A *gauge* goes up and down. A *histogram* keeps every value to 0.1%, so any
percentile can be asked of it later; beside its buckets, a gauge of its own (`..._percentile_...`) shows p50, p90,
p95, p99 and p99.9 of the last one to two minutes. *Info* is always 1.

**Points.** Every second each counter's growth, each gauge's greatest level and each histogram's values become a
point: seconds are kept for 3 hours, minutes for 15 days, five minutes for 63 days, hours for 455 days, all of them
together in 64 MiB at most. Minutes and longer ones survive a restart. A value that is NaN, infinite or negative is
not recorded but counted in `forebay_metric_values_refused_total`.

**Labels** have few values by design: names that were declared, reasons out of a list. Partition keys, message ids and
payloads are never one. A metric has at most 10,000 series, a histogram 1,000; everything past that is counted
together under the value `other`.

**Buckets** are the classic ones. Percentiles worked out of them are as coarse as they are; those of native histograms
and of the gauges are not.
"""


def catalogue() -> list[dict]:
    """Read the catalogue out of an engine that keeps nothing."""
    settings = {
        "app": "docs",
        "store": ":memory:",
        "region": "local",
        "account": "000000000000",
        "durability": "memory",
    }
    engine = Engine(json.dumps(settings).encode())
    try:
        return json.loads(engine.request_sync("metrics.list", b"{}"))
    finally:
        engine.close()


def part(metric: dict) -> str:
    """Name the part of forebay that a metric is about: the word after `forebay_`, for what has a heading of its own."""
    word = metric["name"].split("_")[1]
    return {
        "dbproxy": "Database proxy",
        "queue": "Queues",
        "async": "Asynchronous invocations",
        "store": "Store and engine",
        "build": "Store and engine",
        "metric": "Store and engine",
    }.get(word, "Streams and mappings" if {"stream", "mapping"} & set(metric["labels"]) else "Functions")


def row(metric: dict) -> str:
    """Write one metric as a line of a table."""
    aws = f"{metric['aws_namespace']} `{metric['aws_name']}` ({metric['aws_unit']})" if metric["aws_name"] else ""
    labels = ", ".join(f"`{label}`" for label in metric["labels"])
    return (
        f"| `{metric['name']}` | {aws} | {metric['kind']} | {metric['unit'] or 'count'} | {labels} | {metric['help']} |"
    )


def page(metrics: list[dict]) -> str:
    """Write the whole page."""
    parts: dict[str, list[dict]] = {}
    for metric in metrics:
        parts.setdefault(part(metric), []).append(metric)
    text = HEAD
    for name in sorted(parts):
        text += f"\n## {name}\n\n| name | in CloudWatch | kind | unit | labels | meaning |\n|---|---|---|---|---|---|\n"
        text += "".join(f"{row(metric)}\n" for metric in parts[name])
    buckets = [metric for metric in metrics if metric["kind"] == "histogram"]
    text += "\n## Classic buckets\n\n| name | upper bounds |\n|---|---|\n"
    for metric in buckets:
        bounds = ", ".join(f"{bound:g}" for bound in metric["buckets"])
        text += f"| `{metric['name']}` | {bounds} |\n"
    return text


def main() -> None:
    """Write the page, or compare it."""
    text = page(catalogue())
    if "--check" in sys.argv[1:]:
        same = PAGE.exists() and PAGE.read_text() == text
        sys.exit(0 if same else "docs/metrics.md is not what the catalogue says: run `make docs`")
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
