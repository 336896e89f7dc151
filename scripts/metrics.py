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

`make docs` writes this page from the catalogue in `rust/metrics/src/catalogue.rs`. forebay measures nothing else.

You can read a metric in three places: at `/metrics` of `forebay run` (Prometheus text 0.0.4, OpenMetrics 1.0, and
native histograms in OpenMetrics 2.0), with `forebay metrics list` and `forebay metrics get NAME`, and in code with
`app.metrics.statistic(NAME, "p99.9")`. NAME is the name in Prometheus or in CloudWatch. By its CloudWatch name a
metric has CloudWatch's unit. A metric that CloudWatch does not know has a name of the same style in the namespace
`Forebay`, or none.

**From another machine** a scraper needs a token: `--metrics-host 0.0.0.0 --metrics-token-file FILE` (or
`FOREBAY_METRICS_TOKEN`, or `App.start(metrics_token=...)`), and in Prometheus's scrape configuration `authorization:
{ credentials_file: FILE }`. `/healthz` and `/readyz` answer without a token. Only a caller with the token is told why
an app is not ready. The connection is not encrypted: put TLS in front of it across networks that are not yours.

**Kinds.** A *counter* only grows. A *gauge* goes up and down. A *histogram* keeps every value to 0.1%, so you can ask
for any percentile later; a gauge beside its buckets (`..._percentile_...`) shows p50, p90, p95, p99 and p99.9 of the
last one to two minutes. *Info* is always 1.

**Points.** Every second forebay records a point: each counter's growth, each gauge's greatest level and each
histogram's values. Seconds are kept for 3 hours, minutes for 15 days, five minutes for 63 days, and hours for 455
days, all together in 64 MiB at most. Minutes and longer points survive a restart. A value that is NaN, infinite or
negative is not recorded; `forebay_metric_values_refused_total` counts it.

**Labels** have few values: declared names, and reasons out of a list. A partition key, a message id or a payload is
never a label. A metric has at most 10,000 series, a histogram 1,000. Everything beyond that counts under the value
`other`. `proxy` is the `name=` of a `DBProxy`, or its database's name; the second proxy of an app with the same one
has `-2` behind it.

**Buckets** are the classic ones. A percentile from classic buckets is as coarse as they are. Native histograms and
the gauges are exact to 0.1%.
"""


# What AWS measures of the services that forebay stands in for and forebay does not, and why. A test holds this and the
# catalogue to AWS's lists of names.
NOT_MEASURED = {
    "AWS/Lambda": {
        "OffsetLag": "it is Kafka's; a stream's is `forebay_shard_lag_records`",
        "OversizedRecordCount": "a record that no batch could hold is refused when it is put",
        "PostRuntimeExtensionsDuration": "there are no extensions",
        "ProvisionedPollers": "a mapping has one poller for each shard, always",
    },
    "AWS/Events": {
        "DeadLetterInvocations": "`InvocationsSentToDlq` counts them",
        "Events": "it counts the events of AWS's partners, of which there are none",
        "IngestionToInvocationStartLatency": "an event and what its targets get are one commit",
        "Invocations": "AWS/Lambda has a metric of that name; this one is `forebay_rule_invocations_total`",
        "InvocationsFailedToBeSentToDlq": "what a dead-letter queue does not take is listed, and counted by `FailedInvocations`",
    },
    "AWS/States": {
        "ExecutionTime": "`forebay workflow list` has the times of each execution",
    },
    "AWS/SQS": {
        "ApproximateNumberOfGroupsWithInflightMessages": "groups are not counted, their messages are",
    },
    "AWS/Kinesis": {
        "GetRecords.Bytes": "mappings read chunks, and from memory where they can; `PolledEventCount` counts the records",
        "GetRecords.IteratorAgeMilliseconds": "`IteratorAge` is the mapping's; `forebay_shard_iterator_age_seconds` the shard's",
        "GetRecords.Latency": "a read waits for no network; a batch's wait for its turn is in `IteratorAge`",
        "GetRecords.Records": "`PolledEventCount` of the mapping says it",
        "GetRecords.Success": "a read that fails stops the store: `forebay_store_errors_total`",
        "PutRecord.Bytes": "`IncomingBytes` counts both ways of putting",
        "PutRecord.Latency": "`forebay_store_commit_duration_seconds` is what a put waits for",
        "PutRecord.Success": "a put that is not accepted raises; `IncomingRecords` counts those that are",
        "PutRecords.Bytes": "`IncomingBytes` counts both ways of putting",
        "PutRecords.FailedRecords": "a `put_many` is accepted whole or not at all",
        "PutRecords.Latency": "`forebay_store_commit_duration_seconds` is what a put waits for",
        "PutRecords.Success": "a put that is not accepted raises; `IncomingRecords` counts those that are",
        "PutRecords.SuccessfulRecords": "`IncomingRecords` says it",
        "PutRecords.ThrottledRecords": "a shard has no limit of throughput",
        "PutRecords.TotalRecords": "`IncomingRecords` says it",
        "ReadProvisionedThroughputExceeded": "a shard has no limit of throughput",
        "WriteProvisionedThroughputExceeded": "a shard has no limit of throughput",
        "SubscribeToShard.RateExceeded": "a consumer may subscribe as often as it likes",
        "SubscribeToShard.Success": "`forebay_aws_requests_total` counts subscriptions by their outcome",
        "SubscribeToShardEvent.Bytes": "only the subscription is counted, by `forebay_aws_requests_total`",
        "SubscribeToShardEvent.MillisBehindLatest": "as for `SubscribeToShardEvent.Bytes`; each event has it for its consumer",
        "SubscribeToShardEvent.Records": "as for `SubscribeToShardEvent.Bytes`",
        "SubscribeToShardEvent.Success": "as for `SubscribeToShardEvent.Bytes`",
    },
}


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
        return json.loads(engine.waiting().request("metrics.list", b"{}"))
    finally:
        engine.close()


def part(metric: dict) -> str:
    """Name the part of forebay that a metric is about: the word after `forebay_`, for what has a heading of its own."""
    if "queue" in metric["labels"]:
        return "Queues"
    word = metric["name"].split("_")[1]
    return {
        "dbproxy": "Database proxy",
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
        bounds = ", ".join(f"{bound:.15g}" for bound in metric["buckets"])
        text += f"| `{metric['name']}` | {bounds} |\n"
    text += "\n## Not measured\n\nAWS measures this of Lambda, SQS and Kinesis, and forebay does not:\n"
    text += "\n| in CloudWatch | because |\n|---|---|\n"
    for namespace, names in NOT_MEASURED.items():
        text += "".join(f"| {namespace} `{name}` | {reason} |\n" for name, reason in sorted(names.items()))
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
