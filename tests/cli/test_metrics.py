"""`forebay metrics`, as a user types it."""

import asyncio
import csv
import io
import json
import re
import time
from datetime import UTC, datetime

import pytest
from cli_commands import forebay

from forebay import App, InvalidParameterValue
from forebay.cli.chart import bar, chart, number
from forebay.cli.show import whole_seconds
from forebay.testing import VirtualClock


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Give a store that an app has filled: 3 invocations of 0.2 s in one minute, 1 of 0.8 s two minutes later."""
    path, clock = tmp_path_factory.mktemp("metrics") / "data", VirtualClock()

    async def fill():
        begun = time.time() // 60 * 60 - 3600
        clock.jump_wall(begun - clock.time())
        app = App("filled", store=path, clock=clock)

        @app.function(timeout=10)
        async def handler(event, context):
            await clock.sleep(event)

        async with app:
            for seconds in (0.2, 0.2, 0.2, 120, 0.8):
                if seconds > 1:
                    await clock.advance(seconds)
                    continue
                call = asyncio.ensure_future(handler.invoke(seconds))
                await clock.advance(seconds)
                await call
        return int(begun)

    return path, asyncio.run(fill())


def metrics(path, *arguments, **options):
    return forebay(path.parent, "metrics", *arguments, "--store", str(path), **options)


def test_metrics_that_have_values_are_listed(store):
    path, _ = store
    text = metrics(path, "list").stdout
    assert re.search(
        r"^forebay_invocation_duration_seconds +Duration +histogram +seconds +function +1$", text, re.MULTILINE
    )
    assert "forebay_throttles_total" not in text
    assert "forebay_throttles_total" in metrics(path, "list", "--all").stdout
    listed = json.loads(metrics(path, "list", "--output", "json").stdout)
    assert all(metric["series"] for metric in listed)
    rows = list(csv.DictReader(io.StringIO(metrics(path, "list", "--output", "csv", "--all").stdout)))
    [row] = [row for row in rows if row["cloudwatch"] == "Throttles"]
    assert row == {
        "name": "forebay_throttles_total",
        "cloudwatch": "Throttles",
        "kind": "counter",
        "unit": "",
        "labels": "function reason",
        "series": "0",
    }


def test_a_statistic_is_given_as_json_and_csv(store):
    path, begun = store
    options = (
        "get",
        "Duration",
        "--statistic",
        "p99.9",
        "--period",
        "1m",
        "--since",
        "2h",
        "--label",
        "function=handler",
    )
    answer = json.loads(metrics(path, *options, "--output", "json").stdout)
    assert answer.pop("points") == [[begun, 200.0], [begun + 120, 800.0]]
    assert answer == {"name": "Duration", "statistic": "p99.9", "period": 60, "unit": "milliseconds"}
    stamps = [datetime.fromtimestamp(start, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for start in (begun, begun + 120)]
    told = metrics(path, *options, "--output", "csv").stdout
    assert told == f"start,value\n{stamps[0]},200.0\n{stamps[1]},800.0\n"
    lines = metrics(path, *options).stdout.splitlines()
    assert lines[0] == "Duration, p99.9, milliseconds, for each minute"
    assert [line.split()[1] for line in lines[1:]] == ["200", "-", "800"]
    refused = metrics(path, "get", "Duration", "--since", "2d", status=1)
    assert "exceeds the limit of 1,440" in refused.stderr


def test_a_counter_is_summed_unless_another_statistic_is_asked_for(store):
    """Its average was shown: 1.0 of the attempts of any minute."""
    path, begun = store
    for name in ("Invocations", "forebay_invocations_total"):
        answer = json.loads(metrics(path, "get", name, "--since", "2h", "--output", "json").stdout)
        assert (answer["statistic"], answer["points"]) == ("Sum", [[begun, 3.0], [begun + 120, 1.0]])
    answer = json.loads(metrics(path, "get", "Invocations", "--statistic", "Average", "--output", "json").stdout)
    assert answer["statistic"] == "Average"
    answer = json.loads(metrics(path, "get", "Duration", "--output", "json").stdout)
    assert answer["statistic"] == "Average"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("get", "Duratio"), "did you mean Duration"),
        (("get", "Duration", "--statistic", "p99,9"), "there is no statistic"),
        (("get", "Duration", "--period", "61s"), "try 60 or 120"),
        (("get", "Duration", "--period", "soon"), "allowed are seconds, or a number with s, m, h or d"),
        (("get", "Duration", "--since", "-1h"), "allowed are seconds"),
        (("get", "Duration", "--label", "function"), "give NAME=VALUE"),
        (("get", "Duration", "--label", "shard=1"), "has no label"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(store, arguments, why):
    path, _ = store
    done = metrics(path, *arguments, status=1)
    assert why in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_store_that_is_not_there_is_named(tmp_path):
    assert "there is no store in" in metrics(tmp_path / "none", "list", status=1).stderr


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("5m", 300), ("1h", 3600), ("7d", 604_800), (" 1m ", 60)]
)
def test_durations_are_read(text, seconds):
    assert whole_seconds("since", text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0s", "1.5h", "h", "1w", "-5", "1 h", "9" * 10])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(InvalidParameterValue):
        whole_seconds("since", text)


def test_a_chart_has_a_bar_for_each_period_and_a_gap_where_nothing_happened():
    drawn = chart("Duration, p99, for each minute", [(0, 200.0), (120, 800.5)], 60, width=42)
    assert drawn.splitlines() == [
        "Duration, p99, for each minute",
        "00:00Z    200  ██████▌",
        "00:01Z      -",
        "00:02Z  800.5  " + "█" * 26,
    ]


def test_a_chart_shows_the_newest_periods_and_says_how_many_it_leaves_out():
    lines = chart("many", [(60 * at, 1.0) for at in range(100)], 60, width=60).splitlines()
    assert lines[0] == "many (40 earlier points left out)"
    assert len(lines) == 61
    assert chart("none", [], 60) == "none\n(no values)"
    assert chart("zero", [(0, 0.0)], 60, width=50).splitlines()[1] == "00:00Z  0"


@pytest.mark.parametrize(
    ("value", "greatest", "drawn"), [(0, 5, ""), (1e-9, 5, "▏"), (5, 5, "██████████"), (2.5, 5, "█████")]
)
def test_a_bar_is_as_long_as_its_value(value, greatest, drawn):
    assert bar(value, greatest, 10) == drawn


@pytest.mark.parametrize(
    ("value", "text"),
    [(3.0, "3"), (1234567.0, "1,234,567"), (0.12345, "0.1235"), (1234.56, "1,234.6"), (800.5, "800.5")],
)
def test_numbers_are_written_for_people(value, text):
    assert number(value) == text
