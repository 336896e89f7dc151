"""A real Prometheus reads what forebay shows, and promtool finds nothing to complain about."""

import asyncio
import base64
import json
import math
import random
import re
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from ports import free_port

from forebay import App, Backoff, Batch, Histogram

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "monitoring"
DASHBOARD = json.loads((MONITORING / "grafana.json").read_text())
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
OPENMETRICS = "application/openmetrics-text;version="


def get(url, accept="*/*"):
    request = urllib.request.Request(url, headers={"Accept": accept})  # noqa: S310  an address of this test
    with urllib.request.urlopen(request, timeout=100) as answer:  # noqa: S310
        return answer.read().decode()


class Prometheus:
    """A Prometheus that scrapes one address."""

    def __init__(self, directory, target):
        self.address = f"127.0.0.1:{free_port()}"
        (directory / "prometheus.yml").write_text(
            f"""
global: {{scrape_interval: 500ms, evaluation_interval: 1s}}
rule_files: [{MONITORING / "alerts.yml"}]
scrape_configs:
  - job_name: forebay
    static_configs: [{{targets: ["{target}"]}}]
"""
        )
        command = [shutil.which("prometheus"), f"--config.file={directory / 'prometheus.yml'}"]
        command += [f"--storage.tsdb.path={directory / 'tsdb'}", f"--web.listen-address={self.address}"]
        self.log = directory / "prometheus.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=directory)

    def ask(self, what, **parameters):
        answer = json.loads(get(f"http://{self.address}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"))
        assert answer["status"] == "success", answer
        return answer["data"]

    def value(self, query):
        """Give the one number of a query, or None."""
        try:
            result = self.ask("query", query=query)["result"]
        except OSError:  # it does not listen yet
            return None
        return float(result[0]["value"][1]) if result else None

    def stop(self):
        self.process.terminate()
        self.process.wait(100)


@pytest.fixture
async def demo(tmp_path, need, no_task_is_left):
    """A running app that has handled 400 invocations of 1 to 60 ms and some records, with a Prometheus beside it."""
    need("prometheus")
    port = free_port()
    app = App("demo", store=tmp_path / "data")
    stream = app.stream("numbers", shards=2)
    chance, done = random.Random(7), []

    @app.function(timeout=30)
    async def handler(event, context):
        await asyncio.sleep(event)

    @app.on_stream("numbers", batch_size=10, maximum_retry_attempts=1, retry_backoff=Backoff(base=0.01, cap=0.01))
    async def numbers(batch: Batch, context):
        done.extend(record.json() for record in batch)
        if 13 in done[-len(batch) :]:
            raise ValueError("an unlucky number")

    @app.function()
    async def later(event, context):
        pass

    waiting = app.queue("waiting")
    until_midnight = 86_400 - time.time() % 86_400
    if until_midnight < 40:  # what is compared below must lie in one day
        await asyncio.sleep(until_midnight)
    await app.start(metrics_port=port)
    prometheus = Prometheus(tmp_path, f"127.0.0.1:{port}")
    try:
        await waiting.send("a message")
        await later.invoke_async()
        await stream.put_many([(number, f"k{number}") for number in range(40)])
        for _ in range(20):
            naps = [min(chance.lognormvariate(-4.6, 0.8), 0.06) for _ in range(20)]
            await asyncio.gather(*(handler.invoke(nap) for nap in naps))
        yield app, prometheus, f"http://127.0.0.1:{port}/metrics"
    finally:
        await asyncio.to_thread(prometheus.stop)
        await app.stop()


async def until(condition, within=100):
    ends = time.monotonic() + within
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < ends, "it did not happen in time"
        await asyncio.sleep(0.1)


async def told(tmp_path, statistic):
    """Ask `forebay metrics get` for the statistic of all durations."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "forebay.cli",
        "metrics",
        "get",
        "forebay_invocation_duration_seconds",
    ]
    command += ["--statistic", statistic, "--period", "1d", "--since", "1d", "--label", "function=handler"]
    command += ["--store", str(tmp_path / "data"), "--output", "json"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True, text=True, timeout=200)
    [[_, value]] = json.loads(done.stdout)["points"]
    return value


async def test_prometheus_and_the_command_give_the_same_percentiles(demo, tmp_path):
    app, prometheus, _ = demo
    name = "forebay_invocation_duration_seconds"
    selector = '{function="handler"}'
    percents = (50, 90, 95, 99, 99.9)
    await until(lambda: prometheus.value(f"{name}_count{selector}") == 400)
    # Before anything slow: the gauges show the last one to two minutes.
    shown = {percent: await asyncio.to_thread(prometheus.value, gauge(percent)) for percent in percents}
    assert await told(tmp_path, "SampleCount") == 400
    assert prometheus.value(f"{name}_sum{selector}") == pytest.approx(await told(tmp_path, "Sum"), rel=1e-9)
    [described] = [metric for metric in app.metrics.catalogue() if metric["name"] == name]
    bounds = [0.0, *described["buckets"], math.inf]
    for percent in percents:
        exact = await told(tmp_path, f"p{percent}")
        share = percent / 100
        classic = prometheus.value(f"histogram_quantile({share}, sum by (le) ({name}_bucket{selector}))")
        upper = next(bound for bound in bounds if exact <= bound)
        lower = bounds[bounds.index(upper) - 1]
        assert lower <= classic <= upper, percent
        assert shown[percent] == pytest.approx(exact, rel=0.001), percent


def gauge(percent):
    return f'forebay_invocation_duration_percentile_seconds{{function="handler",percentile="{percent:g}"}}'


async def test_the_dashboard_and_the_alerts_are_understood(demo):
    _, prometheus, _ = demo
    await until(lambda: (prometheus.value("sum_over_time(up[1m])") or 0) >= 3)
    await until(
        lambda: prometheus.value('sum(forebay_records_discarded_total{condition="RetryAttemptsExhausted"})') > 0
    )
    shown = 0
    for expression in EXPRESSIONS:
        query = expression.replace("$__rate_interval", "1m").replace("$instance", ".*").replace("$function", ".*")
        shown += bool(prometheus.ask("query", query=query)["result"])
    assert shown > len(EXPRESSIONS) / 2
    groups = prometheus.ask("rules")["groups"]
    await until(lambda: all(rule["health"] == "ok" for rule in prometheus.ask("rules")["groups"][0]["rules"]))
    assert len(groups[0]["rules"]) == 15
    assert "err=" not in prometheus.log.read_text()


async def test_native_histograms_hold_the_same_values(demo, tmp_path):
    app, _, url = demo
    page = await asyncio.to_thread(get, url, f"{OPENMETRICS}2.0.0")
    native = parse_native(page, 'forebay_invocation_duration_seconds{function="handler"}')
    assert page.endswith("# EOF\n")
    assert native["count"] == 400 == native["zero_count"] + sum(count for _, _, count in native["buckets"])
    assert native["sum"] == pytest.approx(await told(tmp_path, "Sum"))
    for percent in (50, 90, 99, 99.9):
        exact = app.metrics.statistic(
            "forebay_invocation_duration_seconds", f"p{percent}", period=3600, function="handler"
        )
        low, high = quantile(native, percent / 100)
        assert low <= exact * 1.001 and exact * 0.999 <= high
        assert math.sqrt(low * high) == pytest.approx(exact, rel=0.0024)
    assert native["classic"] == [
        (float(bound), int(count))
        for bound, count in re.findall(
            r'^forebay_invocation_duration_seconds_bucket\{function="handler",le="([^"]+)"\} (\d+)$',
            app.metrics.page(),
            re.MULTILINE,
        )
    ]


def parse_native(page, series):
    """Read the composite value of a native histogram as OpenMetrics 2.0 writes it."""
    [line] = [line for line in page.splitlines() if line.startswith(series + " ")]
    body = line.removeprefix(series + " ")
    assert body[0] == "{" and body[-1] == "}"
    fields = dict(re.findall(r"(\w+):(\[[^]]*\]|[^,\[]+)", body[1:-1]))
    schema, at, buckets = int(fields["schema"]), 0, []
    counts = iter(map(int, fields["positive_buckets"][1:-1].split(",")))
    for span in fields["positive_spans"][1:-1].split(","):
        offset, length = map(int, span.split(":"))
        at += offset
        for _ in range(length):
            base = 2.0 ** (2.0**-schema)
            buckets.append((base ** (at - 1), base**at, next(counts)))
            at += 1
    assert next(counts, None) is None
    classic = [pair.split(":") for pair in fields["bucket"][1:-1].split(",")]
    return {
        "count": int(fields["count"]),
        "sum": float(fields["sum"]),
        "zero_count": int(fields["zero_count"]),
        "buckets": buckets,
        "classic": [(float(bound), int(count)) for bound, count in classic],
    }


def quantile(native, share):
    """Give the bounds of the bucket in which a quantile lies, by nearest rank."""
    rank = math.ceil(native["count"] * share) - native["zero_count"]
    for low, high, count in native["buckets"]:
        rank -= count
        if rank <= 0:
            return low, high
    raise AssertionError("fewer values than counted")


async def test_promtool_finds_nothing_in_a_page_of_every_metric_there_is(need):
    need("prometheus")
    """Each metric of the catalogue has a series, so that each name, unit and help is looked at."""
    app = App("everything", store=":memory:")
    values = Histogram()
    values.record_many([0.001, 0.25, 30])
    encoded = base64.b64encode(values.to_bytes()).decode()
    async with app:
        listed = app.metrics.catalogue()
        samples = [
            [
                metric["name"],
                ['odd "value"\\\n'] * len(metric["labels"]),
                encoded if metric["kind"] == "histogram" else 1,
            ]
            for metric in listed
            if metric["kind"] != "info"
        ]
        await app._caller.ask("metrics.tell", source="test", samples=samples)
        page = app.metrics.page()
    families = set(re.findall(r"^# TYPE (\S+)", page, re.MULTILINE))
    assert families >= {metric["name"] for metric in listed}
    command = [shutil.which("promtool"), "check", "metrics"]
    checked = await asyncio.to_thread(subprocess.run, command, input=page, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_alerts_fire_when_they_should(need):
    need("prometheus")
    for command in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]):
        checked = subprocess.run(
            [shutil.which("promtool"), *command], cwd=MONITORING, capture_output=True, text=True, check=False
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr


async def test_dashboard_and_alerts_name_only_what_there_is():
    app = App("names", store=":memory:")
    async with app:
        listed = app.metrics.catalogue()
    names = set()
    for metric in listed:
        names.add(metric["name"])
        if metric["kind"] == "histogram":
            unit = f"_{metric['unit']}" if metric["unit"] else ""
            names |= {f"{metric['name']}_{suffix}" for suffix in ("bucket", "sum", "count")}
            names.add(f"{metric['name'].removesuffix(unit)}_percentile{unit}")
    texts = [*EXPRESSIONS, (MONITORING / "alerts.yml").read_text()]
    used = set(re.findall(r"\bforebay_\w+", "\n".join(texts)))
    assert used - names == set()
    assert len(used) > 20
