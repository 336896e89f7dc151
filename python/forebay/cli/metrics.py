"""`forebay metrics`: what there is to measure, and any statistic of it over time."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from forebay.cli.chart import chart
from forebay.cli.connect import connect, store_option
from forebay.cli.show import show, table, whole_seconds
from forebay.errors import InvalidParameterValue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from forebay.cli.store_place import StorePlace

output_option = click.option(
    "--output",
    type=click.Choice(["text", "json", "csv"]),
    default="text",
    show_default=True,
    help="Text for people, one JSON value, or CSV.",
)


@click.group()
def metrics() -> None:
    """Look at what is counted and measured."""


@metrics.command("list")
@click.option("--all", "every", is_flag=True, help="Also those of which nothing is known yet.")
@store_option
@output_option
def list_(every: bool, store: StorePlace, output: str) -> None:
    """List metrics by their names in Prometheus and in CloudWatch."""
    with connect(store) as connection:
        listed = connection.ask("metrics.list")
    chosen = [metric for metric in listed if every or metric["series"]]
    columns: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
        ("NAME", lambda metric: metric["name"]),
        ("CLOUDWATCH", lambda metric: metric["aws_name"]),
        ("KIND", lambda metric: metric["kind"]),
        ("UNIT", lambda metric: metric["unit"] or None),
        ("LABELS", lambda metric: metric["labels"]),
        ("SERIES", lambda metric: metric["series"]),
    ]
    if output == "csv":
        rows = ([_plain(read(metric)) for _, read in columns] for metric in chosen)
        click.echo(_csv([heading.lower() for heading, _ in columns], rows), nl=False)
    else:
        show(chosen, output, text=table(chosen, columns))


@metrics.command()
@click.argument("name")
@click.option(
    "--statistic", help="As in CloudWatch: Sum, p99.9, TM(10%:90%), ...  [default: Sum of a counter, else Average]"
)
@click.option(
    "--period", default="60", show_default=True, metavar="DURATION", help="What one number covers: 1s, 60, 5m, 1h."
)
@click.option(
    "--since", default="1h", show_default=True, metavar="DURATION", help="How far to look back: 90, 30m, 2h, 7d."
)
@click.option(
    "--label", "labels", multiple=True, metavar="NAME=VALUE", help="Only what has this label, such as function=handler."
)
@store_option
@output_option
def get(
    *,
    name: str,
    statistic: str | None,
    period: str,
    since: str,
    labels: tuple[str, ...],
    store: StorePlace,
    output: str,
) -> None:
    """Show a statistic of the metric NAME over time.

    NAME is CloudWatch's ("Duration", in milliseconds) or Prometheus's ("forebay_invocation_duration_seconds").
    """
    seconds = whole_seconds("period", period)
    fields = {
        "name": name,
        "period": seconds,
        "since": whole_seconds("since", since),
        "labels": dict(_label(text) for text in labels),
    }
    with connect(store) as connection:
        if statistic is None:  # the average of what is counted says little
            counted = (one for one in connection.ask("metrics.list") if one["kind"] == "counter")
            statistic = "Sum" if any(name in (one["name"], one["aws_name"]) for one in counted) else "Average"
        fields["statistic"] = statistic
        answer = connection.ask("metrics.series", **fields)
    points, unit = answer["points"], _unit(statistic, answer["unit"])
    if output == "csv":
        rows = (
            [datetime.fromtimestamp(start, UTC).isoformat().replace("+00:00", "Z"), value] for start, value in points
        )
        click.echo(_csv(["start", "value"], rows), nl=False)
        return
    value = {"name": name, "statistic": statistic, "period": seconds, "unit": unit, "points": points}
    title = f"{name}, {statistic}" + (f", {unit}" if unit else "") + f", for each {_spoken(seconds)}"
    show(value, output, text=chart(title, points, seconds))


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InvalidParameterValue(f"label={text!r}: give NAME=VALUE, such as function=handler")
    return name, value


def _unit(statistic: str, unit: str) -> str:
    """Give the unit of the statistic: counts and shares are not in the metric's."""
    word = statistic.strip().lower()
    if word == "samplecount" or word.startswith("tc"):
        return "values"
    return "percent" if word.startswith("pr") else unit.lower()


def _spoken(seconds: int) -> str:
    for unit, name in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds % unit == 0:
            return name if seconds == unit else f"{seconds // unit} {name}s"
    return "second" if seconds == 1 else f"{seconds} seconds"


def _plain(value: Any) -> object:
    return " ".join(value) if isinstance(value, list) else value


def _csv(heading: list[str], rows: Iterable[list[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heading)
    writer.writerows(rows)
    return text.getvalue()
