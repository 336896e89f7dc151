"""`forebay bus` and `forebay rule`: look at event buses and rules, put events, test patterns."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from forebay._core import test_event_pattern
from forebay.cli.connect import connect, store_option
from forebay.cli.show import output_option, show, table, unpacked
from forebay.cli.store_place import StorePlace  # noqa: TC001
from forebay.errors import InvalidParameterValue, ResourceNotFound

if TYPE_CHECKING:
    from forebay.cli.connect import StoreConnection

_HINTS = {
    "MalformedDetail": """; DETAIL is the text of a JSON object, such as '{"id": 1}'""",
    "NotAuthorizedForSourceException": "; a source that begins with 'aws.' is AWS's own",
}
bus_option = click.option("--bus", default="default", show_default=True, metavar="NAME", help="The bus.")


@click.group()
def bus() -> None:
    """Look at event buses, put events, test patterns."""


@bus.command("list")
@store_option
@output_option
def list_(store: StorePlace, output: str) -> None:
    """List the buses of a store."""
    with connect(store) as connection:
        buses = connection.ask("bus.list")
    show(unpacked(buses), output, text=table(buses, _BUSES))


@bus.command()
@click.argument("name")
@click.argument("detail", default="-")
@click.option("--source", required=True, metavar="TEXT", help="Who says it.")
@click.option("--detail-type", required=True, metavar="TEXT", help="What kind of event it is.")
@click.option("--resource", "resources", multiple=True, metavar="ARN", help="What it is about; repeatable.")
@store_option
@output_option
def put(
    *, name: str, detail: str, source: str, detail_type: str, resources: tuple[str, ...], store: StorePlace, output: str
) -> None:
    """Put an event on bus NAME, whose DETAIL is a JSON object (default: standard input)."""
    entry = {
        "source": source,
        "detail_type": detail_type,
        "detail": sys.stdin.read() if detail == "-" else detail,
        "resources": resources,
    }
    with connect(store) as connection:
        [result] = connection.ask("bus.put", bus=name, entries=[entry])
    if "error_code" in result:
        text = f"{result['error_code']}: {result['error_message']}"
        raise click.ClickException(text.removesuffix(".") + _HINTS.get(result["error_code"], "."))
    event_id = result["event_id"]
    show({"bus": name, "event_id": event_id}, output, text=f"put {event_id} on {name}")


@bus.command("test")
@click.argument("pattern")
@click.argument("event", default="-")
@output_option
def test_(*, pattern: str, event: str, output: str) -> None:
    """Hold EVENT (default: standard input) against PATTERN, and say which conditions it fails. No store is needed.

    Each is a JSON text, or @FILE. Exit status 1: it does not match.
    """
    matches, failing = test_event_pattern(_text(pattern), _text(event))
    failures = [dict(zip(("path", "condition", "value", "reason"), one, strict=True)) for one in failing]
    verdict = "matches" if matches else "does not match"
    details = [f"  {one['path']}: {one['reason']}" for one in failures]
    show({"matches": matches, "failures": failures}, output, text="\n".join([verdict, *details]))
    if not matches:
        raise SystemExit(1)


@bus.command()
@click.argument("name")
@store_option
@output_option
def delete(*, name: str, store: StorePlace, output: str) -> None:
    """Delete a bus that has no rules."""
    with connect(store) as connection:
        connection.ask("bus.delete", name=name)
    show({"bus": name}, output, text=f"deleted bus {name}")


@click.group()
def rule() -> None:
    """Look at the rules of a bus; enable, disable, delete them."""


@rule.command("list")
@click.option("--bus", metavar="NAME", help="Those of this bus alone.")
@store_option
@output_option
def list_rules(*, bus: str | None, store: StorePlace, output: str) -> None:
    """List the rules of all buses, or of one."""
    with connect(store) as connection:
        buses = [bus] if bus is not None else [one["name"] for one in connection.ask("bus.list")]
        rules = [rule for name in buses for rule in connection.ask("rule.list", name=name)]
    show(unpacked(rules), output, text=table(rules, _RULES))


@rule.command()
@click.argument("name")
@bus_option
@store_option
@output_option
def describe(*, name: str, bus: str, store: StorePlace, output: str) -> None:
    """Show a rule's pattern and targets."""
    with connect(store) as connection:
        described = _described(connection, bus, name)
    lines = [f"arn: {described['arn']}", f"pattern: {described['pattern']}", f"enabled: {described['enabled']}"]
    if "schedule_expression" in described:
        lines.insert(2, f"schedule: {described['schedule_expression']}")
    head = "\n".join(lines)
    show(unpacked(described), output, text=f"{head}\n\n{table(described['targets'], _TARGETS)}")


@rule.command()
@click.argument("name")
@bus_option
@store_option
@output_option
def enable(*, name: str, bus: str, store: StorePlace, output: str) -> None:
    """Let a rule route events."""
    _enable(name, bus, store, output, enabled=True)


@rule.command()
@click.argument("name")
@bus_option
@store_option
@output_option
def disable(*, name: str, bus: str, store: StorePlace, output: str) -> None:
    """Stop a rule; a program that declares it as enabled starts it again when it starts."""
    _enable(name, bus, store, output, enabled=False)


def _enable(name: str, bus: str, store: StorePlace, output: str, *, enabled: bool) -> None:
    with connect(store) as connection:
        _described(connection, bus, name)
        described = connection.ask("rule.enable", bus=bus, name=name, enabled=enabled)
    show(unpacked(described), output, text=f"{'enabled' if enabled else 'disabled'} rule {name} of bus {bus}")


@rule.command("delete")
@click.argument("name")
@bus_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@store_option
@output_option
def delete_rule(*, name: str, bus: str, yes: bool, store: StorePlace, output: str) -> None:
    """Delete a rule with its listed failures."""
    with connect(store) as connection:
        _described(connection, bus, name)
        if not yes:
            click.confirm(f"Delete rule {name} of bus {bus} and its listed failures?", abort=True, err=True)
        connection.ask("rule.delete", bus=bus, name=name)
    show({"bus": bus, "rule": name}, output, text=f"deleted rule {name} of bus {bus}")


def _described(connection: StoreConnection, bus: str, name: str) -> dict[str, Any]:
    """Describe a rule; where this bus does not have it, say which one has."""
    try:
        return dict(connection.ask("rule.describe", bus=bus, name=name))
    except ResourceNotFound as error:
        meant = name.rpartition("/")[2]
        buses = [one["name"] for one in connection.ask("bus.list")]
        having = [one for one in buses if any(rule["name"] == meant for rule in connection.ask("rule.list", name=one))]
        if having:
            error.add_note(f"there is a rule {meant} of bus {having[0]}: give `{meant} --bus {having[0]}`")
        raise


def _text(given: str) -> str:
    if given == "-":
        return sys.stdin.read()
    if not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidParameterValue(f"{given}: {getattr(error, 'strerror', None) or error}") from None


KINDS = ("function", "queue", "topic", "stream", "bus", "rule", "workflow", "api_destination")


def target(row: dict[str, Any]) -> str:
    """Say what is given events."""
    return next(f"{kind} {row[kind]}" for kind in KINDS if kind in row)


_BUSES = [("BUS", lambda row: row["name"]), ("RULES", lambda row: row["rules"]), ("ARN", lambda row: row["arn"])]
_RULES = [
    ("BUS", lambda row: row["bus"]),
    ("RULE", lambda row: row["name"]),
    ("STATE", lambda row: "ENABLED" if row["enabled"] else "DISABLED"),
    ("TARGETS", lambda row: [target(one) for one in row["targets"]]),
    ("PATTERN", lambda row: row["pattern"] or row["schedule_expression"]),
]
_TARGETS = [
    ("ID", lambda row: row["id"]),
    ("TARGET", target),
    ("DEAD-LETTER QUEUE", lambda row: row["dead_letter_queue"] or "-"),
]
